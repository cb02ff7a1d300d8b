"""When to deliver: integers, durations, timestamps and plain English."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.delays import find_timezone, parse_delay
from ntfyish.model.errors import Invalid, Reason
from tests.ntfy.asking import reason_of

BERLIN = ZoneInfo("Europe/Berlin")
YEAR_S = 366 * 86400


def due(text: str, now: str, zone: tzinfo = UTC, max_s: float = 10 * YEAR_S) -> str:
    """Return the local time of delivery of `text`, said at the local time `now`."""
    moment = datetime.fromisoformat(now).replace(tzinfo=zone)
    seconds = parse_delay(text, moment.timestamp(), zone, max_s=max_s)
    return datetime.fromtimestamp(seconds, zone).isoformat(sep=" ")[:19]


def refusal(text: str, now: str = "2021-12-10 10:17:23", max_s: float = 3 * 86400) -> Reason:
    with pytest.raises(Invalid) as caught:
        due(text, now, max_s=max_s)
    return caught.value.reason


# Said on Friday 2021-12-10 at 10:17:23
ENGLISH = {
    "11am": "2021-12-10 11:00:00",
    "9am": "2021-12-11 09:00:00",
    "9 AM": "2021-12-11 09:00:00",
    "4 p.m.": "2021-12-10 16:00:00",
    "4p": "2021-12-10 16:00:00",
    "12am": "2021-12-11 00:00:00",
    "12pm": "2021-12-10 12:00:00",
    "10:17": "2021-12-11 10:17:00",
    "10:18": "2021-12-10 10:18:00",
    "10:30am": "2021-12-10 10:30:00",
    "10:30:15 pm": "2021-12-10 22:30:15",
    "23:59": "2021-12-10 23:59:00",
    "at 11am": "2021-12-10 11:00:00",
    "tomorrow": "2021-12-11 10:17:23",
    "Tomorrow": "2021-12-11 10:17:23",
    "tmr 8am": "2021-12-11 08:00:00",
    "tomorrow 10am": "2021-12-11 10:00:00",
    "tomorrow, 10am": "2021-12-11 10:00:00",
    "tomorrow at 10am": "2021-12-11 10:00:00",
    "10am tomorrow": "2021-12-11 10:00:00",
    "day after tomorrow": "2021-12-12 10:17:23",
    "the day after tomorrow, 7:05": "2021-12-12 07:05:00",
    "today 8pm": "2021-12-10 20:00:00",
    "today 8am": "2021-12-11 08:00:00",
    "tonight": "2021-12-10 23:00:00",
    "tonight at 9pm": "2021-12-10 21:00:00",
    "noon": "2021-12-10 12:00:00",
    "midnight": "2021-12-11 00:00:00",
    "this afternoon": "2021-12-10 15:00:00",
    "tomorrow morning": "2021-12-11 08:00:00",
    "tomorrow in the evening": "2021-12-11 18:00:00",
    "tomorrow evening, 7pm": "2021-12-11 19:00:00",
    "Monday, 10:30pm": "2021-12-13 22:30:00",
    "Tuesday, 7am": "2021-12-14 07:00:00",
    "on sat at 9:00": "2021-12-11 09:00:00",
    "friday": "2021-12-17 10:17:23",
    "next friday": "2021-12-17 10:17:23",
    "this friday 5pm": "2021-12-10 17:00:00",
    "next thurs": "2021-12-16 10:17:23",
    "in 2 hours": "2021-12-10 12:17:23",
    "In Two Hours": "2021-12-10 12:17:23",
    "in 2hours": "2021-12-10 12:17:23",
    "within 90 seconds": "2021-12-10 10:18:53",
    "in 5 mins": "2021-12-10 10:22:23",
    "in a few minutes": "2021-12-10 10:20:23",
    "in an hour": "2021-12-10 11:17:23",
    "an hour": "2021-12-10 11:17:23",
    "half an hour": "2021-12-10 10:47:23",
    "in half a day": "2021-12-10 22:17:23",
    "in 2 hours 30 minutes": "2021-12-10 12:47:23",
    "in an hour and two minutes": "2021-12-10 11:19:23",
    "3 days from now": "2021-12-13 10:17:23",
    "in 2 days at 9am": "2021-12-12 09:00:00",
    "in 1 week": "2021-12-17 10:17:23",
    "in 3 months": "2022-03-10 10:17:23",
    "in half a month": "2021-12-24 10:17:23",
    "in half a year": "2022-06-10 10:17:23",
    "in one year": "2022-12-10 10:17:23",
    "december 24 6pm": "2021-12-24 18:00:00",
    "24th of December, 18:00": "2021-12-24 18:00:00",
    "dec 10 11am": "2021-12-10 11:00:00",
    "jan. 1st": "2022-01-01 10:17:23",
    "1 may": "2022-05-01 10:17:23",
}


@pytest.mark.parametrize("text", ENGLISH)
def test_plain_english_is_understood(text: str) -> None:
    assert due(text, "2021-12-10 10:17:23") == ENGLISH[text]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1639183911", "2021-12-11 00:51:51"),
        ("+1639183911", "2021-12-11 00:51:51"),
        ("30m", "2021-12-10 10:47:23"),
        ("30min", "2021-12-10 10:47:23"),
        ("1h30m", "2021-12-10 11:47:23"),
        ("1.5h", "2021-12-10 11:47:23"),
        ("1 day", "2021-12-11 10:17:23"),
        (" 2d ", "2021-12-12 10:17:23"),
        ("10s", "2021-12-10 10:17:33"),
        ("2021-12-10T12:00:00Z", "2021-12-10 12:00:00"),
        ("2021-12-10t12:00:00.999999999z", "2021-12-10 12:00:00"),
        ("2021-12-10T14:00:00+02:00", "2021-12-10 12:00:00"),
        ("2021-12-10 12:00", "2021-12-10 12:00:00"),
    ],
)
def test_integers_durations_and_timestamps_are_understood(text: str, moment: str) -> None:
    assert due(text, "2021-12-10 10:17:23") == moment


@pytest.mark.parametrize(
    "text",
    [
        "banana",
        "2 Days",
        "10",
        "1639131442",  # one second ago
        "tomorrow banana",
        "tomorrow, but not before noon",
        "yesterday",
        "2 hours ago",
        "last friday",
        "8am 9am",
        "tomorrow friday",
        "in 2 days friday",
        "in 2 hours at 8am",
        "in 2 days in 2 days",
        "at 8",
        "13pm",
        "24:00",
        "8:5",
        "10:60",
        "february 30",
        "32 may",
        "5/12",
        "2021-12-32T10:00:00Z",
        "2021-13-01T10:00:00Z",
        "20211212T100000Z",
        "2021-12-12",
        "in 999999 years",
        "in",
        "at",
        ",",
        "-",
        "٣٠m",
        "1e3",
        "nan",
        "inf",
        "8am" + " " * 200 + "tomorrow",
        "9" * 400,
        "\0",
    ],
)
def test_what_is_not_understood_as_a_whole_is_refused(text: str) -> None:
    assert refusal(text) is Reason.DELAY_UNPARSABLE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9s", Reason.DELAY_TOO_SMALL),
        ("0", Reason.DELAY_TOO_SMALL),
        ("-1h", Reason.DELAY_TOO_SMALL),
        ("now", Reason.DELAY_TOO_SMALL),
        ("today", Reason.DELAY_TOO_SMALL),
        ("1639131443", Reason.DELAY_TOO_SMALL),  # this very second
        ("2020-01-01T00:00:00Z", Reason.DELAY_TOO_SMALL),
        ("72h1s", Reason.DELAY_TOO_LARGE),
        ("tuesday", Reason.DELAY_TOO_LARGE),
        ("in 2 months", Reason.DELAY_TOO_LARGE),
        ("9999999999", Reason.DELAY_TOO_LARGE),
        ("9" * 19, Reason.DELAY_TOO_LARGE),
        ("9999-12-31T23:59:59Z", Reason.DELAY_TOO_LARGE),
        ("100000d", Reason.DELAY_TOO_LARGE),
    ],
)
def test_delays_have_limits(text: str, reason: Reason) -> None:
    assert refusal(text) is reason


def test_a_time_of_day_that_is_just_now_is_tomorrows() -> None:
    assert due("10:17", "2021-12-10 10:17:00") == "2021-12-11 10:17:00"


def test_the_limits_themselves_are_allowed() -> None:
    assert due("10s", "2021-12-10 10:17:23") == "2021-12-10 10:17:33"
    assert due("3d", "2021-12-10 10:17:23", max_s=3 * 86400) == "2021-12-13 10:17:23"


@pytest.mark.parametrize(
    ("text", "now", "moment"),
    [
        # the clocks go forward at 2:00 on 2025-03-30 and back at 3:00 on 2025-10-26
        ("tomorrow 10am", "2025-03-29 23:30:00", "2025-03-30 10:00:00"),
        ("tomorrow 10am", "2025-10-25 23:30:00", "2025-10-26 10:00:00"),
        ("tomorrow", "2025-03-29 12:00:00", "2025-03-30 12:00:00"),
        ("tomorrow 2:30", "2025-03-29 12:00:00", "2025-03-30 03:30:00"),
        ("in 24 hours", "2025-03-29 12:00:00", "2025-03-30 13:00:00"),
        ("24h", "2025-10-25 12:00:00", "2025-10-26 11:00:00"),
        ("8am", "2025-10-25 20:00:00", "2025-10-26 08:00:00"),
        # leap days and the end of the year
        ("tomorrow 8am", "2024-02-28 12:00:00", "2024-02-29 08:00:00"),
        ("tomorrow 8am", "2025-02-28 12:00:00", "2025-03-01 08:00:00"),
        ("8am", "2025-12-31 12:00:00", "2026-01-01 08:00:00"),
        ("january 1 0:15", "2025-12-31 12:00:00", "2026-01-01 00:15:00"),
        ("in 1 month", "2025-01-31 12:00:00", "2025-02-28 12:00:00"),
        ("in 12 months", "2024-02-29 12:00:00", "2025-02-28 12:00:00"),
    ],
)
def test_days_follow_the_local_calendar_and_hours_real_time(text: str, now: str, moment: str) -> None:
    assert due(text, now, BERLIN) == moment


def test_real_time_is_not_lost_in_the_hour_that_comes_twice() -> None:
    second_230 = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN, fold=1).timestamp()
    assert parse_delay("in 5 minutes", second_230, BERLIN) == second_230 + 300


@pytest.mark.parametrize(
    "name", ["Unknown/Timezone", "../etc/passwd", "+09:00", "Europe", "a\0b", "x" * 5000]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        find_timezone(name)
    assert caught.value.reason is Reason.DELAY_UNPARSABLE


def test_a_time_zone_decides_which_ten_o_clock_is_meant() -> None:
    now = datetime(2025, 11, 19, 12, 0, tzinfo=UTC).timestamp()
    tokyo = parse_delay("tomorrow 10am", now, find_timezone("Asia/Tokyo"))
    new_york = parse_delay("tomorrow 10am", now, find_timezone("America/New_York"))
    assert new_york - tokyo == 14 * 3600


MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(BERLIN))


@given(MOMENTS, st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_the_next_one(now: datetime, hour: int, minute: int) -> None:
    seconds = parse_delay(f"{hour}:{minute:02}", now.timestamp(), BERLIN, min_s=-1)
    moment = datetime.fromtimestamp(seconds, BERLIN)
    ahead_s = seconds - now.timestamp()
    assert -1 < ahead_s <= 25 * 3600 + 1
    # in the hour that spring skips, the clock shows an hour more
    assert moment.minute == minute
    assert moment.hour == hour or (hour in (1, 2) and moment.hour == hour + 1)


@given(st.integers(0, 4 * 10**9), st.integers(10, 3 * 86400))
def test_all_ways_to_say_the_same_span_agree(now: int, span_s: int) -> None:
    expected = parse_delay(f"{span_s}s", now, UTC)
    assert parse_delay(f"in {span_s} seconds", now, UTC) == expected
    assert parse_delay(f"{span_s} secs from now", now, UTC) == expected
    assert parse_delay(str(expected), now, UTC) == expected


WORDS = [
    "in",
    "at",
    "8am",
    "10:30",
    "tomorrow",
    "friday",
    "next",
    "2",
    "hours",
    "half",
    "an",
    "from",
    "now",
    "may",
    "5",
    "noon",
    ",",
    "3pm",
    "days",
    "ago",
]


@given(st.lists(st.sampled_from(WORDS), max_size=8), MOMENTS)
def test_any_words_give_a_time_within_the_limits_or_a_refusal(words: list[str], now: datetime) -> None:
    try:
        seconds = parse_delay(" ".join(words), now.timestamp(), BERLIN)
    except Invalid:
        return
    assert 9 <= seconds - now.timestamp() <= 3 * 86400


@given(st.text(max_size=120))
def test_any_text_gives_a_time_or_a_refusal(text: str) -> None:
    reason = reason_of(lambda: parse_delay(text, 1.7e9, BERLIN))
    assert reason is None or reason.name.startswith("DELAY_")
