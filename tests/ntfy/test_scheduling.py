"""Scheduled delivery through the front door: what a delay may be, and what happens when its time comes."""

from __future__ import annotations

import json

import pytest

from tests.clock import FakeClock
from tests.conftest import Server, StartServer
from tests.ntfy.talking import NOW, error_of, hear, listen, tell

HOUR = 3600
DAY = 24 * HOUR
MIDNIGHT = 1_699_920_000  # of the day on which the tests' clock begins, a Tuesday, in UTC


@pytest.mark.parametrize(
    ("delay", "due"),
    [
        (str(NOW + 10), NOW + 10),
        (str(NOW + 3 * DAY), NOW + 3 * DAY),
        ("10s", NOW + 10),
        ("30m", NOW + 30 * 60),
        ("1h30m", NOW + 90 * 60),
        ("1.5h", NOW + 90 * 60),
        ("20000ms", NOW + 20),
        ("3d", NOW + 3 * DAY),
        ("2 days", NOW + 2 * DAY),
        ("1day", NOW + DAY),
        ("3 hours", NOW + 3 * HOUR),
        ("30 min", NOW + 30 * 60),
        ("45 mins", NOW + 45 * 60),
        ("20 secs", NOW + 20),
        ("in 2 hours", NOW + 2 * HOUR),
        ("tomorrow", NOW + DAY),
        ("tomorrow, 10am", MIDNIGHT + DAY + 10 * HOUR),
        ("Tomorrow 3:30 pm", MIDNIGHT + DAY + 15 * HOUR + 30 * 60),
        ("11pm", MIDNIGHT + 23 * HOUR),
        ("8am", MIDNIGHT + DAY + 8 * HOUR),
        ("today 8am", MIDNIGHT + DAY + 8 * HOUR),
        ("Thursday, 7am", MIDNIGHT + 2 * DAY + 7 * HOUR),
        ("next friday", NOW + 3 * DAY),
        ("2023-11-15T12:00:00Z", MIDNIGHT + DAY + 12 * HOUR),
        ("2023-11-15T12:00:00+02:00", MIDNIGHT + DAY + 10 * HOUR),
    ],
)
async def test_a_delay_may_be_said_in_many_ways(server: Server, delay: str, due: int) -> None:
    by_header = await tell(server, "POST /t", f"At: {delay}", "Timezone: UTC", body="later")
    assert by_header["time"] == due
    assert by_header["expires"] == due + 12 * HOUR
    body = json.dumps({"topic": "t", "message": "later", "delay": delay, "timezone": "UTC"})
    by_json = await tell(server, "POST /", body=body)
    assert by_json | {"id": ""} == by_header | {"id": ""}
    assert await server.poll("t") == []
    assert await server.poll("t", "sched=1") == [by_header, by_json]


async def test_the_time_zone_of_a_delay_can_be_named(server: Server) -> None:
    for line in ("POST /t?in=8am&timezone=America/New_York", "POST /t?in=8am&x-timezone=America/New_York"):
        assert (await tell(server, line))["time"] == MIDNIGHT + DAY + 13 * HOUR
    assert (await tell(server, "POST /t?in=8am", "Timezone: Asia/Tokyo"))["time"] == MIDNIGHT + 23 * HOUR
    assert await error_of(server, "POST /t?in=8am&timezone=Moon/Sea_of_Tranquility") == 40004
    assert await error_of(server, "POST /t?in=8am&timezone=../../etc/passwd") == 40004
    assert "time" in await tell(server, "POST /t?timezone=nonsense")  # without a delay it means nothing


@pytest.mark.parametrize(
    ("delay", "code"),
    [
        ("banana", 40004),
        ("2 Days", 40004),
        ("1w", 40004),
        ("-", 40004),
        ("1735689600.5", 40004),
        (str(NOW - 1), 40004),  # a moment that is past
        ("0", 40005),
        ("-1h", 40005),
        ("1s", 40005),
        ("9s", 40005),
        (str(NOW), 40005),
        (str(NOW + 9), 40005),
        ("2023-11-14T22:13:20Z", 40005),
        ("2020-01-01T00:00:00Z", 40005),
        ("99999h", 40006),
        ("73h", 40006),
        ("4d", 40006),
        (str(NOW + 3 * DAY + 1), 40006),
        ("99999999999999", 40006),
        ("next tuesday", 40006),
        ("tomorrow, but not before noon", 40004),
        ("9" * 400, 40004),
        ("in " * 1000, 40004),
    ],
)
async def test_a_delay_that_means_nothing_or_too_little_or_too_much_is_refused(
    server: Server, delay: str, code: int
) -> None:
    assert await error_of(server, "POST /t", f"Delay: {delay}", "Timezone: UTC") == code
    assert await server.poll("t", "sched=1") == []


async def test_how_far_ahead_is_a_setting(start_server: StartServer) -> None:
    server = await start_server(message_delay_limit="1h")
    assert (await tell(server, "POST /t?in=1h"))["time"] == NOW + HOUR
    assert await error_of(server, "POST /t?in=3601s") == 40006


async def test_what_is_due_is_delivered_once_as_it_was_answered_on_every_transport(server: Server) -> None:
    json_, sse, raw = [await server.wire() for _ in range(3)]
    for wire, transport in ((json_, "json"), (sse, "sse"), (raw, "raw")):
        wire.send_request(f"GET /t/{transport}")
        await wire.head()
        for _ in range(3 if transport == "sse" else 1):
            await wire.line()
    later = await tell(server, "POST /t", "In: 40s", "Title: T", body="later")
    await server.clock.advance(39)
    assert await server.poll("t") == []
    await server.clock.advance(1)
    assert await hear(json_) == later
    assert await sse.line() == b"id: " + later["id"].encode()
    assert json.loads((await sse.line()).removeprefix(b"data: ")) == later
    assert await raw.line() == b"later"
    assert await server.poll("t") == [later]
    assert await server.poll("t", "scheduled=1") == [later]
    after = await tell(server, "POST /t", body="after")
    assert await hear(json_) == after
    assert await server.poll("t", f"since={later['id']}") == [after]


async def test_what_is_due_comes_in_the_order_of_its_time(server: Server) -> None:
    reader = await listen(server, "a,b")
    last = await tell(server, "POST /a?in=30s", body="3")
    first = await tell(server, "POST /b?in=10s", body="1")
    middle = await tell(server, "POST /a?in=20s", body="2")
    assert await server.poll("a,b", "sched=1") == [first, middle, last]
    await server.clock.advance(30)
    assert [await hear(reader) for _ in range(3)] == [first, middle, last]
    assert await server.poll("a,b") == [first, middle, last]


async def test_a_reader_that_was_away_finds_what_was_delivered_meanwhile(server: Server) -> None:
    """ntfy loses it: there a scheduled message keeps its place from when it was asked for."""
    reader = await listen(server, "t")
    later = await tell(server, "POST /t?in=30s", body="later")
    now = await tell(server, "POST /t", body="now")
    assert await hear(reader) == now
    await server.clock.advance(30)
    assert await hear(reader) == later
    assert await server.poll("t", f"since={now['id']}") == [later]
    assert await server.poll("t", "since=latest") == [later]


async def test_a_scheduled_message_outlives_its_delivery_by_the_cache_duration(
    start_server: StartServer,
) -> None:
    server = await start_server(cache_duration="2m", manager_interval="1m")
    later = await tell(server, "POST /t?in=1h", body="later")
    assert later["expires"] == NOW + HOUR + 120
    await server.clock.advance(HOUR - 1)
    assert await server.poll("t", "sched=1") == [later]  # not pruned while it waits
    reader = await listen(server, "t")
    await server.clock.advance(1)
    assert await hear(reader) == later
    assert await server.poll("t") == [later]
    await server.clock.advance(121)
    assert await server.poll("t") == []


async def test_without_a_cache_a_scheduled_message_is_still_delivered(start_server: StartServer) -> None:
    """ntfy answers 200 and loses it."""
    server = await start_server(cache_duration="0")
    reader = await listen(server, "t")
    later = await tell(server, "POST /t?in=1m", body="later")
    await server.clock.advance(60)
    assert await hear(reader) == later


async def test_a_clock_that_is_set_forward_delivers_at_the_next_look(start_server: StartServer) -> None:
    clock = FakeClock()
    server = await start_server(clock=clock)
    reader = await listen(server, "t")
    later = await tell(server, "POST /t?in=2h", body="later")
    clock.set_wall(NOW + 2 * HOUR)
    await clock.advance(10)
    assert await hear(reader) == later


async def test_what_cannot_be_delayed_says_so_first(server: Server) -> None:
    assert await error_of(server, "POST /t?cache=no&in=banana") == 40002
    assert await error_of(server, "POST /t?poll-id=abc&in=1h") == 40002
    assert await error_of(server, "POST /t?in=banana&email=a@b.c") == 40001
    assert await error_of(server, "POST /t?in=banana&priority=9") == 40007
    assert await error_of(server, "POST /t?in=banana&actions=x") == 40004
