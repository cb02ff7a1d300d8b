"""How much a Pushover request may hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ntfyish.web.body import BODY_LIMIT_BYTES


class OverLength(StrEnum):
    """What to do with a text that is too long."""

    REJECT = "reject"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushoverLimits:
    """Limits of the Pushover API. Lengths are code points, as Pushover counts them.

    Attributes:
        combined_chars: for title and message together; 0 for no such limit.
        relax_when_encrypted: ciphertext may be four times as long (and is never cut).
        users: keys in one `user` list.
        expire_max_s: longest time that an emergency message is repeated.
        expire_tolerated_s: up to this, a longer `expire` is shortened; beyond, it is an error. Several
            clients send 86400 by default, though Pushover documents 10800.
        device_strict: an unknown device name is an error; otherwise the message goes to all devices.
        body_bytes: the whole request body.
        attachment_bytes: the file that comes with a message.
        spool_dir: the folder for large requests on their way; None for the system's.
    """

    message_chars: int = 1024
    title_chars: int = 250
    combined_chars: int = 0
    url_chars: int = 512
    url_title_chars: int = 100
    over_length: OverLength = OverLength.REJECT
    relax_when_encrypted: bool = True
    users: int = 50
    retry_min_s: int = 30
    expire_max_s: int = 10_800
    expire_tolerated_s: int = 86_400
    device_strict: bool = False
    body_bytes: int = BODY_LIMIT_BYTES
    attachment_bytes: int = 5_242_880
    spool_dir: Path | None = None


CURRENT = PushoverLimits()
