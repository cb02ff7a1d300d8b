"""What an e-mail address may look like: one plain address, nothing that a mail header could misread."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_LOCAL = 64
_LONGEST = 254


def is_mail_address(text: str) -> bool:
    """Whether `text` is one address (RFC 5321, without quoted and non-ASCII names)."""
    local, at, host = text.rpartition("@")
    return (
        bool(at)
        and len(text) <= _LONGEST
        and len(local) <= _LONGEST_LOCAL
        and _LOCAL.fullmatch(local) is not None
        and HOST.fullmatch(host) is not None
    )
