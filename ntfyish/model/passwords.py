"""What may be a password: bcrypt's rules, for settings and the command line."""

from __future__ import annotations

import re

MAX_PASSWORD_BYTES = 72  # bcrypt looks at no more

BCRYPT_PATTERN = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


def find_password_fault(password: str) -> str:
    """Return what is wrong with `password`, as the rest of a sentence ("is empty"), or ""."""
    if not password:
        return "is empty"
    if len(password.encode("utf-8", "surrogateescape")) > MAX_PASSWORD_BYTES:
        return f"is too long: at most {MAX_PASSWORD_BYTES} bytes of UTF-8 are allowed"
    if "\0" in password:
        return "contains a NUL character"
    return ""
