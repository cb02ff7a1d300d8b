"""Quiet hours: when messages are to come silently. Pure; the settings check them, `core.deliveries` asks."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_HOURS = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-3]):([0-5][0-9])")


@lru_cache(maxsize=256)
def parse_quiet_hours(text: str) -> tuple[int, int]:
    """Return when quiet hours written as "22:00-07:00" begin and end, in minutes after midnight.

    The end is not part of them; an end before the beginning is on the next day.

    Raises:
        ValueError: that is not how they are written, or they begin when they end.
    """
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be written like 22:00-07:00")
    begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if begin == end:
        raise ValueError("must not begin when they end")
    return begin, end


def is_quiet(text: str, time_zone: str, now: float) -> bool:
    """Whether `now` (Unix seconds) is within the quiet hours `text` ("": never) of a time zone ("": UTC)."""
    if not text:
        return False
    begin, end = parse_quiet_hours(text)
    local = datetime.fromtimestamp(now, ZoneInfo(time_zone or "UTC"))
    minute = local.hour * 60 + local.minute
    return begin <= minute < end if begin < end else minute >= begin or minute < end
