"""When a message is to be delivered, as people write it: ``30m``, ``1735689600``, ``tomorrow, 10am``.

ntfy's dialect calls `parse_delay`. The plain English is a small grammar of its own: what it does not
understand as a whole it refuses, so that "tomorrow, but not before noon" is an error and no surprise.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ntfyish.model.durations import parse_duration
from ntfyish.model.errors import Invalid, Reason

_LONGEST = 100  # characters
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]"
    r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS: dict[str, float] = {word: number for number, word in enumerate(_WORDS, start=1)}
_NUMBERS |= {"a": 1, "an": 1, "few": 3, "a few": 3, "half": 0.5, "half a": 0.5, "half an": 0.5}
_SECONDS = {"sec": 1, "min": 60, "hour": 3600, "hr": 3600}
_DAYS = {"day": 1, "week": 7}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PARTS = {"midnight": 0, "morning": 8, "noon": 12, "midday": 12, "afternoon": 15, "evening": 18, "night": 23}


@dataclass(slots=True)
class _Moment:
    """What the phrases found so far say.

    Attributes:
        at: the local moment, naive; moved by what names a day.
        clock: hour, minute, second, once a phrase has named them.
        day_given: whether a phrase has named the day, so that it is not up to us to take the next one.
        elapsed_s: seconds of real time from now, for "in 2 hours".
    """

    at: datetime
    clock: tuple[int, int, int] | None = None
    day_given: bool = False
    elapsed_s: float = 0


def parse_delay(
    text: str,
    now: float,
    timezone: tzinfo | None = None,
    *,
    min_s: float = 10,
    max_s: float = 3 * 24 * 3600,
) -> int:
    """Return the Unix seconds at which to deliver.

    In this order `text` is: Unix seconds that are not past; a duration (Go's, or ``2 days``); a timestamp
    (RFC 3339; without an offset it is local); or plain English such as ``tomorrow 10am``, ``8am``,
    ``Tuesday, 7am``, ``next friday``, ``in 2 hours``, ``3 days from now``. A time of day without a day is
    the next such time.

    Args:
        text: not empty.
        now: Unix seconds.
        timezone: whose days and clocks are meant; None for the machine's.
        min_s: at least so many seconds ahead.
        max_s: at most so many seconds ahead.

    Raises:
        Invalid: DELAY_UNPARSABLE, DELAY_TOO_SMALL or DELAY_TOO_LARGE.
    """
    due_at = _due_at(text.strip(), now, timezone)
    if due_at < math.floor(now + min_s):
        raise Invalid(Reason.DELAY_TOO_SMALL)
    if due_at > math.floor(now + max_s):
        raise Invalid(Reason.DELAY_TOO_LARGE)
    return due_at


def find_timezone(name: str) -> tzinfo:
    """Return the time zone of an IANA name such as ``Europe/Berlin``.

    Raises:
        Invalid: DELAY_UNPARSABLE if there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no relative path; a folder, or far too long
        raise Invalid(Reason.DELAY_UNPARSABLE, "timezone unknown") from None


def _due_at(text: str, now: float, timezone: tzinfo | None) -> int:
    if _INTEGER.fullmatch(text) and int(text) >= math.floor(now):
        return int(text)
    try:
        return math.floor(now + parse_duration(text))
    except Invalid:
        pass
    if len(text) > _LONGEST:
        raise Invalid(Reason.DELAY_UNPARSABLE)
    try:
        if _TIMESTAMP.fullmatch(text.upper()):
            return _timestamp(text.upper(), timezone)
        return _english(text, now, timezone)
    except (ValueError, OverflowError, OSError):  # no such date, or none that a datetime or time_t can hold
        raise Invalid(Reason.DELAY_UNPARSABLE) from None


def _timestamp(text: str, timezone: tzinfo | None) -> int:
    moment = datetime.fromisoformat(text)
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=timezone)).timestamp())


def _english(text: str, now: float, timezone: tzinfo | None) -> int:
    today = datetime.fromtimestamp(now, timezone).replace(tzinfo=None)
    moment = _Moment(today)
    left = " ".join(text.lower().replace(",", " ").split())
    understood = False
    for pattern, apply in _PHRASES:
        if match := pattern.search(left):
            apply(moment, match)
            left = f"{left[: match.start()]} {left[match.end() :]}".strip()
            understood = True
    if not understood or _FILLERS.sub("", left).strip():
        raise Invalid(Reason.DELAY_UNPARSABLE)
    if moment.clock is not None:
        _set_clock(moment, moment.clock, today)
    return math.floor(moment.at.replace(tzinfo=timezone).timestamp() + moment.elapsed_s)


def _set_clock(moment: _Moment, clock: tuple[int, int, int], today: datetime) -> None:
    if moment.elapsed_s:  # "in 2 hours at 8am" contradicts itself
        raise Invalid(Reason.DELAY_UNPARSABLE)
    hour, minute, second = clock
    moment.at = moment.at.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if not moment.day_given and moment.at <= today:
        moment.at += timedelta(days=1)


def _apply_spans(moment: _Moment, match: re.Match[str]) -> None:
    for amount, unit in _ONE_SPAN.findall(match[0]):
        count = _NUMBERS.get(amount) or int(amount)
        if unit in _SECONDS:
            moment.elapsed_s += count * _SECONDS[unit]
        elif unit in _DAYS:
            moment.at += timedelta(days=count * _DAYS[unit])
        else:
            # Half a year is six months; half a month has no calendar of its own and counts as two weeks.
            months = count * (12 if unit == "year" else 1)
            moment.at = _add_months(moment.at, int(months)) + timedelta(days=28 * (months % 1))
    moment.day_given = True


def _apply_weekday(moment: _Moment, match: re.Match[str]) -> None:
    ahead = (_WEEKDAYS.index(match["weekday"][:3]) - moment.at.weekday()) % 7
    _move(moment, ahead if match["which"] == "this" else ahead or 7)


def _apply_day(moment: _Moment, match: re.Match[str]) -> None:
    word = match[0]
    if word == "tonight":
        moment.clock = (23, 0, 0)
    elif word not in ("now", "today"):
        _move(moment, 2 if word.startswith("day after") else 1)
    # Said of today, a time of day that is past means tomorrow's, as with ntfy; so the day stays open.


def _apply_date(moment: _Moment, match: re.Match[str]) -> None:
    if moment.day_given:
        raise Invalid(Reason.DELAY_UNPARSABLE)
    day = int(_ORDINAL.sub("", match["day"] or match["day_after"]))
    month = _MONTHS.index((match["month"] or match["month_after"])[:3]) + 1
    today = moment.at.date()
    year = today.year if (month, day) >= (today.month, today.day) else today.year + 1
    moment.at = moment.at.replace(year=year, month=month, day=day)
    moment.day_given = True


def _apply_part(moment: _Moment, match: re.Match[str]) -> None:
    moment.clock = (_PARTS[match["part"]], 0, 0)


def _apply_clock(moment: _Moment, match: re.Match[str]) -> None:
    hour, half = int(match["hour"]), match["half"]
    if half is None and match["minute"] is None:  # just a number
        raise Invalid(Reason.DELAY_UNPARSABLE)
    if half is not None:
        if hour > 12:
            raise Invalid(Reason.DELAY_UNPARSABLE)
        hour = hour % 12 + (12 if half == "p" else 0)
    moment.clock = (hour, int(match["minute"] or 0), int(match["second"] or 0))


def _move(moment: _Moment, days: int) -> None:
    if moment.day_given:  # "tomorrow, Friday": one of them may be wrong
        raise Invalid(Reason.DELAY_UNPARSABLE)
    # By the calendar, not by 24 hours: "tomorrow 10am" is ten o'clock also on the day the clocks change.
    moment.at += timedelta(days=days)
    moment.day_given = True


def _add_months(at: datetime, months: int) -> datetime:
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    if year > 9999:
        raise OverflowError
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


_AMOUNT = r"(?:[0-9]{1,6}|half an?|half|a few|few|an?|" + "|".join(_WORDS) + ")"
_SPAN = rf"{_AMOUNT} ?(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?)\b"
_ONE_SPAN = re.compile(rf"\b({_AMOUNT}) ?(sec|min|hour|hr|day|week|month|year)")
_SPANS = rf"{_SPAN}(?:(?: and)? {_SPAN})*"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?"
_WEEKDAY = r"(?:mon|tue(?:s)?|wed(?:nes)?|thu(?:rs|r)?|fri|sat(?:ur)?|sun)(?:day)?\b"

# Each phrase is looked for once, in this order, and cut out of the text.
_PHRASES: tuple[tuple[re.Pattern[str], Callable[[_Moment, re.Match[str]], None]], ...] = (
    # A number needs "in" or "from now" (else "2 Days" would pass, which ntfy refuses); words do not.
    (re.compile(rf"\b(?:(?:in|within) {_SPANS}|{_SPANS} from now\b|(?![0-9]){_SPANS})"), _apply_spans),
    (re.compile(rf"\b(?:(?P<which>this|next) )?(?P<weekday>{_WEEKDAY})"), _apply_weekday),
    (re.compile(r"\b(?:day after tomorrow|tomorrow|tmr|now|today|tonight)\b"), _apply_day),
    (
        re.compile(
            rf"\b(?:(?P<day>{_DAY})(?: of)? (?P<month>{_MONTH})"
            rf"|(?P<month_after>{_MONTH}) (?P<day_after>{_DAY})(?![\w:.]))"
        ),
        _apply_date,
    ),
    (re.compile(rf"\b(?:this |in the )?(?P<part>{'|'.join(_PARTS)})\b"), _apply_part),
    (
        re.compile(
            r"\b(?P<hour>2[0-3]|[01]?[0-9])(?::(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?)?"
            r"(?: ?(?P<half>[ap])(?:\.m\.|\.|m)?)?(?![\w:])"
        ),
        _apply_clock,
    ),
)
_ORDINAL = re.compile("[a-z]+")
_FILLERS = re.compile(r"\b(?:at|on|by|the|and|of)\b")
