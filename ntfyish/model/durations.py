"""Lengths of time and sizes as people write them, and back. Settings, delays and the command line use it.

Durations are Go's (``1h30m``, ``1.5h``, ``500ms``) and ntfy's words (``2d``, ``2 days``); sizes are ntfy's
``N[bkmg]`` in powers of 1024. Nothing here knows the time.
"""

from __future__ import annotations

import re

from ntfyish.model.errors import Invalid, Reason

_LONGEST = 64  # characters; what is longer is no honest duration, and is not worth parsing
_MAX_INT64 = 2**63 - 1  # Go counts nanoseconds, and ntfy counts bytes, in 64 bits

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DAY_NS = 24 * _NANOSECONDS["h"]
_GO_TERM = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_GO = re.compile(rf"[+-]?(?:0|(?:{_GO_TERM})+)")
_TERM = re.compile(r"([0-9]*)\.?([0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_WORDS = re.compile(r"([0-9]+)[ \t\r\n\f]*([a-zA-Z]+)")
_WORD_UNITS = {
    "d": ("d", "day", "days"),
    "h": ("h", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}
_SIZE = re.compile(r"([0-9]+)([bkmg]?)", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration (may have a sign) or of ntfy's words (``2d``, ``2 days``).

    A number without a unit is no duration, but for 0.

    Raises:
        Invalid: REQUEST_INVALID if `text` is neither, or longer than 2^63 nanoseconds (292 years).
    """
    nanoseconds = None
    if len(text) <= _LONGEST:
        nanoseconds = _go_nanoseconds(text)
        if nanoseconds is None:
            nanoseconds = _word_nanoseconds(text)
    if nanoseconds is None:
        raise Invalid(Reason.REQUEST_INVALID, "not a duration")
    if abs(nanoseconds) > _MAX_INT64:
        raise Invalid(Reason.REQUEST_INVALID, "too long a duration")
    return nanoseconds / 1_000_000_000


def parse_go_duration(text: str) -> float:
    """Return the seconds of a Go duration (may have a sign); ntfy's words are none here.

    Raises:
        Invalid: REQUEST_INVALID if `text` is none, or longer than 2^63 nanoseconds (292 years).
    """
    nanoseconds = _go_nanoseconds(text) if len(text) <= _LONGEST else None
    if nanoseconds is None or abs(nanoseconds) > _MAX_INT64:
        raise Invalid(Reason.REQUEST_INVALID, "not a duration")
    return nanoseconds / 1_000_000_000


def parse_size(text: str) -> int:
    """Return the bytes of ``<n>``, ``<n>b``, ``<n>k``, ``<n>m`` or ``<n>g`` (either case; 1024 to the next).

    Raises:
        Invalid: REQUEST_INVALID if `text` is not of that form, or the size does not fit into 63 bits.
    """
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise Invalid(Reason.REQUEST_INVALID, "not a size")
    size_bytes = int(match[1]) * _SIZE_UNITS[match[2].lower()]
    if size_bytes > _MAX_INT64:
        raise Invalid(Reason.REQUEST_INVALID, "too large a size")
    return size_bytes


def format_duration(seconds: float) -> str:
    """Return `seconds` to the nanosecond, without zeroes: ``3d``, ``12h``, ``1h30m``, ``1s500ms``.

    `parse_duration` reads it back.
    """
    left = round(abs(seconds) * 1_000_000_000)
    if seconds > 0 and left >= 2 * _DAY_NS and left % _DAY_NS == 0:
        return f"{left // _DAY_NS}d"
    parts = []
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, left = divmod(left, _NANOSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds < 0 and parts else "") + ("".join(parts) or "0s")


def format_size(size_bytes: int) -> str:
    """Return `size_bytes` in the largest unit that leaves a whole number: ``4K``, ``1M``, ``1500``."""
    for unit in ("g", "m", "k"):
        count, left = divmod(size_bytes, _SIZE_UNITS[unit])
        if count and not left:
            return f"{count}{unit.upper()}"
    return str(size_bytes)


def _go_nanoseconds(text: str) -> int | None:
    if _GO.fullmatch(text) is None:
        return None
    total = 0
    for whole, fraction, unit in _TERM.findall(text):
        scale = _NANOSECONDS[unit]
        total += int(whole or 0) * scale + int(fraction or 0) * scale // 10 ** len(fraction)
    return -total if text[0] == "-" else total


def _word_nanoseconds(text: str) -> int | None:
    match = _WORDS.fullmatch(text)
    if match is None:
        return None
    word = match[2]
    # ntfy ignores the case of these words, but not that of their first letter.
    if word.lower() not in _WORD_UNITS.get(word[0], ()):
        return None
    return int(match[1]) * (_DAY_NS if word[0] == "d" else _NANOSECONDS[word[0]])
