"""What is said if a setting needs more than there is. Raised by whoever opens what it asks for."""

from __future__ import annotations

from importlib import import_module

from ntfyish.settings import Settings


class ExtraMissing(Exception):
    """A setting asks for what comes with an extra of the package that is not installed."""

    def __init__(self, key: str, extra: str) -> None:
        super().__init__(f"{key} needs a package that is not installed: pip install 'ntfyish[{extra}]'")


class SettingUnusable(Exception):
    """A setting names a file that cannot be used; the text says which, and why."""


def find_missing_extras(settings: Settings) -> list[str]:
    """Return which settings need a package that is not installed."""
    asked = (
        (settings.web_push_public_key, "web-push-public-key", "webpush", "http_ece"),
        (settings.smtp_server_listen, "smtp-server-listen", "mail", "aiosmtpd"),
        (settings.smtp_sender_addr, "smtp-sender-addr", "mail", "aiosmtplib"),
    )
    return [
        str(ExtraMissing(key, extra)) for value, key, extra, name in asked if value and not _is_there(name)
    ]


def _is_there(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return False
    return True
