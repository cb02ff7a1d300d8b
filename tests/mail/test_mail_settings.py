"""What the settings about e-mail must be together."""

from __future__ import annotations

import pytest

from ntfyish.settings import SettingsError, load

IN = {"smtp-server-listen": ":25", "smtp-server-domain": "push.example.org"}
OUT = {
    "smtp-sender-addr": "mail.example.org:587",
    "smtp-sender-from": "a@b.example",
    "base-url": "http://push.test",
}


def account(**more: object) -> dict[str, object]:
    return {"accounts": [{"name": "phil", **more}]}


def test_what_is_complete_is_accepted() -> None:
    settings = load({**IN, **OUT}, {}, None)
    assert settings.smtp_sender_verify
    assert settings.smtp_server_message_size_limit_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"smtp-server-listen": ":25"}, "needs smtp-server-domain"),
        ({**IN, "smtp-server-domain": "a b"}, "is no domain"),
        ({**IN, "smtp-server-addr-prefix": "a@"}, "at most 32"),
        ({**IN, "smtp-server-key-file": "/k.pem"}, "smtp-server-cert-file"),
        ({**OUT, "smtp-sender-from": "nobody"}, "is no e-mail address"),
        ({**OUT, "smtp-sender-addr": ":25"}, "is no server"),
        ({key: value for key, value in OUT.items() if key != "smtp-sender-from"}, "needs smtp-sender-from"),
        ({key: value for key, value in OUT.items() if key != "base-url"}, "needs base-url"),
        ({**OUT, "smtp-sender-user": "me"}, "smtp-sender-pass"),
        (account(email="x\r\nBcc: y@z"), "e-mail address"),
        (account(aliases=[{"name": "Upper"}]), "a-z"),
        (account(aliases=[{"name": "a", "priority": "2"}]), "none of"),
        (account(aliases=[{"name": "a"}, {"name": "a"}]), "declared twice"),
    ],
)
def test_what_does_not_fit_is_reported(flags: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(flags, {}, None)
