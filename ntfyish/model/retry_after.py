"""HTTP's ``Retry-After`` (RFC 9110, section 10.2.3), as other servers write it to us."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST_S = 86_400.0
_LONGEST_TEXT = 64


def parse_retry_after(text: str, now: float, longest_s: float = _LONGEST_S) -> float:
    """Return the seconds to wait that a number or a date means; 0 for neither, at most `longest_s`.

    Args:
        now: Unix seconds.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:20]), longest_s)
    try:
        date = parsedate_to_datetime(text[:_LONGEST_TEXT])
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return min(max(0.0, at - now), longest_s)
