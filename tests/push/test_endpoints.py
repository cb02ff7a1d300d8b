"""Which URLs are endpoints of push services, and which keys are keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.endpoint import endpoint_host, may_push_to
from ntfyish.model.push import web_push_destination
from ntfyish.model.web_push_keys import new_vapid_keys, read_subscription_keys, read_vapid_keys

ALLOWED = frozenset({"push.example", "10.0.0.5:8443"})
LONG_LABEL = "a" * 64


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/abc:APA91bE-_%3D",
        "https://fcm.googleapis.com/",
        "https://fcm.googleapis.com:443/x",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://push.mozaws.net/x",
        "https://wns2-par02p.notify.windows.com/w/?token=BQY%2b%3d%3d",
        "https://web.push.apple.com/QGuQyavXutnMH",
        "https://a.b.c.microsoft.com/x",
        "https://android.google.com/x/@y//..",
        "https://push.example/x",
        "https://10.0.0.5:8443/x",
    ],
)
def test_endpoints_of_known_services_and_of_allowed_hosts_may_be_called(endpoint: str) -> None:
    assert may_push_to(endpoint_host(endpoint), ALLOWED)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://fcm.googleapis.com/x",
        "https:///x",
        "https://fcm.googleapis.com",
        "HTTPS://fcm.googleapis.com/x",
        "https://FCM.googleapis.com/x",
        " https://fcm.googleapis.com/x",
        "https://fcm.googleapis.com/x\n",
        "https://fcm.googleapis.com/a b",
        "https://fcm.googleapis.com/a\r\nX: y",
        "https://fcm.googleapis.com/ä",
        "https://fcm.googleapis.com/x#y",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com:0443/x",
        "https://fcm.googleapis.com:/x",
        "https://fcm.googleapis.com:99999/x",
        "https://fcm.googleapis.com./x",
        "https://fcm..googleapis.com/x",
        "https://-a.googleapis.com/x",
        f"https://{LONG_LABEL}.googleapis.com/x",
        "https://user@fcm.googleapis.com/x",
        "https://user:pass@fcm.googleapis.com/x",
        "https://127.0.0.1\\@fcm.googleapis.com/x",
        "https://127.0.0.1#.googleapis.com/",
        "https://127.0.0.1?.googleapis.com/",
        "https://127.0.0.1/.googleapis.com/",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilgoogleapis.com/x",
        "https://googleapis.com/x",
        "https://googleapis.com@evil.example/x",
        "https://evil.example/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://[::1]/x",
        "https://localhost/x",
        "https://push.example:8443/x",
        "https://sub.push.example/x",
        "https://10.0.0.5/x",
        "https://fcm.googleapis.com/" + "x" * 2048,
        "https://" + "a." * 130 + "google.com/x",
    ],
)
def test_nothing_else_may(endpoint: str) -> None:
    assert not may_push_to(endpoint_host(endpoint), ALLOWED)


@given(st.text(max_size=60))
def test_no_text_leads_anywhere_else(text: str) -> None:
    for endpoint in (text, f"https://{text}", f"https://{text}.google.com/", f"https://a.google.com{text}"):
        host = endpoint_host(endpoint)
        if may_push_to(host, ()):
            assert endpoint.startswith((f"https://{host}/", f"https://{host}:443/"))


def test_a_destination_is_the_host_of_the_push_service() -> None:
    assert web_push_destination("https://fcm.googleapis.com:443/x") == "webpush:fcm.googleapis.com"
    assert web_push_destination("https://10.0.0.5:8443/x") == "webpush:10.0.0.5:8443"


# RFC 8291, section 5
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


def test_the_keys_of_a_browser_are_taken_in_any_spelling_of_base64() -> None:
    expected = (P256DH, AUTH)
    assert read_subscription_keys(*expected) == expected
    assert read_subscription_keys(P256DH + "=", AUTH + "==") == expected
    standard = [key.replace("-", "+").replace("_", "/") for key in expected]
    assert read_subscription_keys(*standard) == expected


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (P256DH, ""),
        (P256DH[:-4], AUTH),
        ("A" * 87, AUTH),  # no point at all
        ("BAAA" + "A" * 83, AUTH),  # not on the curve
        (P256DH, AUTH[:-2]),
        (P256DH, AUTH + "AAAA"),
        (P256DH, "ä" * 22),
        (P256DH + "\n", AUTH),
        ("A" * 10_000, AUTH),
    ],
)
def test_what_is_no_key_is_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):
        read_subscription_keys(p256dh, auth)


def test_the_pair_of_the_server_must_belong_together() -> None:
    public, private = new_vapid_keys()
    assert read_vapid_keys(public, private).public == public
    assert private not in repr(read_vapid_keys(public, private))
    for one, other, word in (
        (new_vapid_keys()[0], private, "pair"),
        (public, private[:-2], "private"),
        (public, "A" * 43, "private"),
        (public[:-2], private, "public"),
        ("A" * 87, private, "public"),
    ):
        with pytest.raises(ValueError, match=word):
            read_vapid_keys(one, other)
