"""What a reader asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.durations import parse_duration, parse_go_duration
from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.query import (
    NO_FILTER,
    SINCE_ALL,
    SINCE_LATEST,
    SINCE_NONE,
    Filter,
    Query,
    Since,
    SinceKind,
)
from ntfyish.web.http import Request
from ntfyish.web.ntfy.queries import parse_since, query_from_request
from tests.ntfy.asking import NOW, ask, reason_of


def query(request: Request) -> Query:
    return query_from_request(request, ("a", "b"), "a,b,a", NOW)


def at(seconds: int) -> Since:
    return Since(SinceKind.TIME, time=seconds)


def after(id: str) -> Since:
    return Since(SinceKind.ID, id=id)


def test_nothing_asked_for_is_live_only_and_unfiltered() -> None:
    assert query(ask()) == Query(topics=("a", "b"), topic_text="a,b,a")


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("all", SINCE_ALL),
        ("none", SINCE_NONE),
        ("latest", SINCE_LATEST),
        ("nFS3knfcQ1xe", after("nFS3knfcQ1xe")),
        ("163552875712", after("163552875712")),
        ("1635528757", at(1635528757)),
        ("+1635528757", at(1635528757)),
        ("1635528757000", at(1635528757000)),
        ("1", at(1)),
        ("10", at(10)),
        ("0", SINCE_ALL),
        ("-5", SINCE_ALL),
        ("9223372036854775807", at(2**63 - 1)),
        ("10m", at(int(NOW) - 600)),
        ("1h30m", at(int(NOW) - 5400)),
        ("500ms", at(int(NOW) - 1)),
        ("1.5h", at(int(NOW) - 5400)),
        ("-1h", at(int(NOW) + 3600)),
        ("2000000h", SINCE_ALL),
    ],
)
def test_since_is_a_word_an_id_a_moment_or_a_duration(text: str, since: Since) -> None:
    assert parse_since(text, NOW) == since


@pytest.mark.parametrize(
    "text",
    [
        "All",
        "1d",
        "2 days",
        "10 m",
        "INVALID",
        "nFS3knfcQ1x",
        "nFS3knfcQ1xé",
        "1.5",
        "9223372036854775808",
        "9" * 5000,
        "٣",
        "1635528757 ",
        "2025-01-01T00:00:00Z",
        "9999999999h",
        "\0",
    ],
)
def test_any_other_since_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_since(text, NOW)
    assert caught.value.reason is Reason.SINCE_INVALID


@given(st.text(max_size=30))
def test_any_text_is_a_since_or_refused(text: str) -> None:
    assert reason_of(lambda: parse_since(text, NOW)) in (None, Reason.SINCE_INVALID)


@given(st.integers(-(2**62), 2**62))
def test_an_integer_is_a_moment_unless_it_has_twelve_digits(seconds: int) -> None:
    text = str(seconds)
    expected = (
        after(text) if len(text) == 12 and text.isdigit() else at(seconds) if seconds > 0 else SINCE_ALL
    )
    assert parse_since(text, NOW) == expected


@given(st.integers(0, 10**9))
def test_a_duration_reaches_back_from_now(seconds: int) -> None:
    assert parse_since(f"{seconds}s", NOW) == at(int(NOW) - seconds)
    assert parse_since(f"{seconds // 60}m{seconds % 60}.0s", NOW) == at(int(NOW) - seconds)


def test_what_has_the_form_of_an_id_is_one_as_with_ntfy() -> None:
    assert parse_since("37746h13m10s", NOW) == after("37746h13m10s")


@pytest.mark.parametrize("text", ["1d", "2 days", "3 hours", ""])
def test_ntfys_words_are_no_go_durations(text: str) -> None:
    with pytest.raises(Invalid):
        parse_go_duration(text)


@pytest.mark.parametrize("text", ["1h30m", "-0.5s", "0"])
def test_go_durations_are_durations(text: str) -> None:
    assert parse_go_duration(text) == parse_duration(text)


@pytest.mark.parametrize("name", ["poll", "x-poll", "po"])
def test_a_poll_begins_with_everything_unless_it_says_otherwise(name: str) -> None:
    polling = query(ask(f"/t?{name}=1"))
    assert polling.poll
    assert polling.since == SINCE_ALL
    assert query(ask(f"/t?{name}=1&since=none")).since == SINCE_NONE


def test_scheduled_messages_are_shown_on_demand() -> None:
    assert query(ask("/t?sched=1")).scheduled
    assert not query(ask("/t?sched=0")).scheduled


@pytest.mark.parametrize(
    ("request_", "since"),
    [
        (ask(last_event_id="nFS3knfcQ1xe"), after("nFS3knfcQ1xe")),
        (ask("/t?lastEventId=nFS3knfcQ1xe"), after("nFS3knfcQ1xe")),
        (ask("/t?poll=1", last_event_id="nFS3knfcQ1xe"), after("nFS3knfcQ1xe")),
        (ask("/t?since=10m", last_event_id="nFS3knfcQ1xe"), at(int(NOW) - 600)),
        (ask("/t?since=none", last_event_id="nFS3knfcQ1xe"), SINCE_NONE),
        (ask("/t?since=", last_event_id="nFS3knfcQ1xe"), after("nFS3knfcQ1xe")),
        (ask(last_event_id="12345"), SINCE_NONE),
        (ask(last_event_id="all"), SINCE_NONE),
        (ask("/t?poll=1", last_event_id="nonsense"), SINCE_ALL),
        (ask("/t?lasteventid=nFS3knfcQ1xe"), SINCE_NONE),
    ],
)
def test_the_last_event_id_resumes_unless_since_says_otherwise(request_: Request, since: Since) -> None:
    assert query(request_).since == since


@pytest.mark.parametrize(
    ("target", "filter"),
    [
        ("/t?id=nFS3knfcQ1xe", Filter(id="nFS3knfcQ1xe")),
        ("/t?m=Disk+full", Filter(message="Disk full")),
        ("/t?t=Some+title", Filter(title="Some title")),
        ("/t?p=high,urgent", Filter(priorities=frozenset({4, 5}))),
        ("/t?prio=HIGH,%204,,3", Filter(priorities=frozenset({3, 4}))),
        ("/t?priority=,%20,", NO_FILTER),
        ("/t?tags=error,alert", Filter(tags=frozenset({"error", "alert"}))),
        ("/t?ta=error,%20alert,", Filter(tags=frozenset({"error", " alert"}))),
        ("/t?id=%20", NO_FILTER),
        ("/t?Priority=9", NO_FILTER),
        ("/t?tag=a&id=x&p=1", Filter(id="x", priorities=frozenset({1}), tags=frozenset({"a"}))),
    ],
)
def test_filters_are_read(target: str, filter: Filter) -> None:
    assert query(ask(target)).filter == filter


def test_a_browsers_transfer_priority_is_no_filter() -> None:
    assert query(ask(priority="u=1, i")).filter is NO_FILTER


@pytest.mark.parametrize("value", ["6", "0", "high,nope", "-1", "3.0"])
def test_an_unknown_priority_in_a_filter_is_refused(value: str) -> None:
    with pytest.raises(Invalid) as caught:
        query(ask(f"/t?priority={value}"))
    assert caught.value.reason is Reason.PRIORITY_INVALID


def test_a_bad_since_is_told_before_a_bad_filter() -> None:
    with pytest.raises(Invalid) as caught:
        query(ask("/t?priority=9&since=1d"))
    assert caught.value.reason is Reason.SINCE_INVALID
