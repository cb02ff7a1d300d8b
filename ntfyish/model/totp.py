"""One-time codes from a shared secret and the time (RFC 6238: SHA-1, 6 digits, 30 seconds). Pure."""

from __future__ import annotations

import base64
import binascii
import hmac

STEP_S = 30
DIGITS = 6


def decode_secret(text: str) -> bytes:
    """Return the bytes of a base32 secret, as authenticator apps write it (blanks, case, no padding).

    Raises:
        ValueError: it is none.
    """
    letters = text.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except binascii.Error:
        raise ValueError("must be base32: letters and the digits 2 to 7") from None
    if len(secret) < 10:
        raise ValueError("must have at least 16 characters of base32")
    return secret


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time step (Unix seconds divided by `STEP_S`)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    place = digest[-1] & 0x0F
    number = int.from_bytes(digest[place : place + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(secret: bytes, code: str, now: float) -> int | None:
    """Return the time step of `code`: that of `now` (Unix seconds), or the one before or after."""
    step = int(now) // STEP_S
    for candidate in (step, step - 1, step + 1):
        if hmac.compare_digest(code_at(secret, candidate).encode(), code.encode()):
            return candidate
    return None
