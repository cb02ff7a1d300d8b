"""Sequences: updating, deleting and clearing notifications, and cancelling what is still scheduled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Server, StartServer
from tests.ntfy.talking import NOW, ask, error_of, hear, listen, tell
from tests.wire import Wire


async def pending(server: Server, topic: str = "t") -> list[str]:
    """Return the texts of what is scheduled, in the order of delivery."""
    shown = [message["id"] for message in await server.poll(topic)]
    everything = await server.poll(topic, "scheduled=1")
    return [message["message"] for message in everything if message["id"] not in shown]


@pytest.mark.parametrize(
    ("line", "header", "body"),
    [
        ("PUT /t/disk-1", "X-Other: x", "hi"),
        ("POST /t/disk-1", "X-Other: x", "hi"),
        ("POST /t", "X-Sequence-ID: disk-1", "hi"),
        ("POST /t", "Sequence-ID: disk-1", "hi"),
        ("PUT /t", "sid: disk-1", "hi"),
        ("PUT /t?sid=disk-1", "X-Other: x", "hi"),
        ("PUT /t?sequence-id=disk-1", "X-Other: x", "hi"),
        ("PUT /t?x-sequence-id=disk-1", "X-Other: x", "hi"),
        ("GET /t/publish?sid=disk-1&m=hi", "X-Other: x", ""),
        ("PUT /t/disk-1", "SID: other", "hi"),
        ("PUT /t/disk-1?sid=other", "X-Other: x", "hi"),
        ("POST /", "X-Other: x", '{"topic":"t","message":"hi","sequence_id":"disk-1"}'),
        ("POST /", "SID: disk-1", '{"topic":"t","message":"hi"}'),
        ("POST /", "SID: other", '{"topic":"t","message":"hi","sequence_id":"disk-1"}'),
    ],
)
async def test_a_sequence_can_be_named_in_many_places(
    server: Server, line: str, header: str, body: str
) -> None:
    message = await tell(server, line, header, body=body)
    assert list(message) == ["id", "sequence_id", "time", "expires", "event", "topic", "message"]
    assert (message["sequence_id"], message["message"], message["event"]) == ("disk-1", "hi", "message")
    assert message["id"] != "disk-1"
    assert await server.poll("t") == [message]


async def test_an_update_is_another_message_of_the_sequence(server: Server) -> None:
    first = await tell(server, "PUT /t/download", body="10 %")
    second = await tell(server, "PUT /t/download", body="20 %")
    assert first["id"] != second["id"]
    assert await server.poll("t") == [first, second]


async def test_a_message_without_a_sequence_can_be_updated_by_its_id(server: Server) -> None:
    first = await tell(server, "PUT /t", body="original")
    assert "sequence_id" not in first
    second = await tell(server, f"PUT /t/{first['id']}", body="updated")
    assert second["sequence_id"] == first["id"]
    gone = await tell(server, f"DELETE /t/{first['id']}")
    assert await server.poll("t") == [first, second, gone]


EVENTS = [
    ("DELETE /t/s", "message_delete"),
    ("GET /t/s/delete", "message_delete"),
    ("PUT /t/s/clear", "message_clear"),
    ("PUT /t/s/read", "message_clear"),
    ("GET /t/s/clear", "message_clear"),
    ("GET /t/s/read", "message_clear"),
]


@pytest.mark.parametrize(("line", "event"), EVENTS)
async def test_deleting_and_clearing_are_events_that_readers_get(
    server: Server, line: str, event: str
) -> None:
    live = await listen(server, "t")
    first = await tell(server, "PUT /t/s", body="original")
    told = await tell(server, line)
    assert list(told) == ["id", "sequence_id", "time", "expires", "event", "topic"]
    assert told | {"id": ""} == {
        "id": "",
        "sequence_id": "s",
        "time": NOW,
        "expires": NOW + 12 * 3600,
        "event": event,
        "topic": "t",
    }
    assert [await hear(live), await hear(live)] == [first, told]
    assert await server.poll("t") == [first, told]
    assert await server.poll("t", f"since={first['id']}") == [told]


async def test_such_events_pass_every_filter_and_look_like_messages_on_every_transport(
    server: Server,
) -> None:
    gone = await tell(server, "DELETE /t/s")
    assert await server.poll("t", "priority=5&tags=a&title=b&message=c&id=abcdefghijkl") == [gone]
    sse = await ask(server, "GET /t/sse?poll=1")
    assert sse.body == b"id: %b\ndata: %b\n\n" % (gone["id"].encode(), _line(gone))
    assert (await ask(server, "GET /t/raw?poll=1")).body == b"\n"
    live = await server.wire()
    live.send_request("GET /t/sse?priority=5")
    await live.head()
    for _ in range(3):
        await live.line()
    cleared = await tell(server, "PUT /t/s/clear")
    assert await live.line() == b"id: " + cleared["id"].encode()
    assert await live.line() == b"data: " + _line(cleared)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


async def test_a_sequence_need_not_exist_to_be_deleted_or_cleared(server: Server) -> None:
    for line, event in EVENTS:
        assert (await tell(server, line))["event"] == event


async def test_parameters_and_body_of_a_delete_do_not_matter(server: Server) -> None:
    gone = await tell(
        server, "DELETE /t/s?title=a&cache=no", "Delay: banana", "SID: other", body=b"\xff" * 5000
    )
    assert list(gone) == ["id", "sequence_id", "time", "expires", "event", "topic"]
    assert gone["sequence_id"] == "s"


@pytest.mark.parametrize("word", ["json", "sse", "raw", "ws", "auth", "publish", "clear", "delete", "x" * 64])
async def test_where_it_cannot_be_a_stream_any_word_is_a_sequence(server: Server, word: str) -> None:
    assert (await tell(server, f"PUT /t/{word}"))["sequence_id"] == word
    assert (await tell(server, f"DELETE /t/{word}"))["sequence_id"] == word
    assert (await tell(server, f"PUT /t/{word}/clear"))["sequence_id"] == word


@pytest.mark.parametrize("name", ["*%26?", "a%20b", "a.b", "%C3%A4", "x" * 65])
async def test_a_malformed_sequence_is_no_path_and_a_bad_parameter(server: Server, name: str) -> None:
    for line in (f"PUT /t/{name}", f"DELETE /t/{name}", f"PUT /t/{name}/clear", f"GET /t/{name}/delete"):
        assert (await ask(server, line.replace("?", "%3F"))).status == 404
    assert await error_of(server, f"POST /t?sid={name}") == 40049
    assert await error_of(server, "POST /", body=json.dumps({"topic": "t", "sequence_id": "a b"})) == 40049


# What is still scheduled


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("PUT /t/s?delay=2h", "new"),
        ("POST /t?delay=2h&sid=s", "new"),
        ("GET /t/publish?delay=2h&sid=s&m=new", ""),
        ("POST /", '{"topic":"t","message":"new","delay":"2h","sequence_id":"s"}'),
    ],
)
async def test_scheduling_again_replaces_what_is_pending(server: Server, line: str, body: str) -> None:
    await tell(server, "PUT /t/s?delay=1h", body="old")
    await tell(server, "PUT /t/other?delay=90m", body="other")
    await tell(server, "PUT /u/s?delay=1h", body="elsewhere")
    await tell(server, line, body=body)
    assert await pending(server) == ["other", "new"]
    assert await pending(server, "u") == ["elsewhere"]


@pytest.mark.parametrize(
    ("line", "headers", "cancels"),
    [
        ("PUT /t/s", (), True),
        ("POST /t", ("SID: s",), True),
        ("DELETE /t/s", (), True),
        ("GET /t/s/delete", (), True),
        ("PUT /t/s", ("Cache: no",), True),
        ("PUT /t/s/clear", (), False),
        ("GET /t/s/read", (), False),
        ("PUT /t/other", (), False),
        ("PUT /u/s", (), False),
        ("DELETE /u/s", (), False),
        ("PUT /t/S", (), False),
        ("POST /t", (), False),
        ("PUT /t/s", ("Delay: banana",), False),
        ("PUT /t/s", ("Poll-ID: abc",), False),
    ],
)
async def test_a_newer_message_or_a_delete_cancels_what_is_pending(
    server: Server, line: str, headers: tuple[str, ...], cancels: bool
) -> None:
    await tell(server, "PUT /t/s?delay=1h", body="old")
    await ask(server, line, *headers)
    assert await pending(server) == ([] if cancels else ["old"])
    reader = await listen(server, "t")
    await tell(server, "PUT /t/end?delay=3601s", body="end")
    await server.clock.advance(3601)
    assert await texts_until(reader, "end") == ([] if cancels else ["old"])


async def texts_until(reader: Wire, last: str) -> list[str]:
    """Read a live JSON stream up to a message and return the texts before it."""
    texts: list[str] = []
    while (line := await hear(reader)).get("message") != last:
        if line["event"] == "message":
            texts.append(line["message"])
    return texts


async def test_what_is_pending_can_be_cancelled_by_its_own_id(server: Server) -> None:
    first = await tell(server, "PUT /t?delay=1h", body="first")
    second = await tell(server, "PUT /t?delay=1h", body="second")
    await tell(server, f"DELETE /t/{first['id']}")
    assert await pending(server) == ["second"]
    await tell(server, f"PUT /t/{second['id']}?delay=30m", body="sooner")
    assert await pending(server) == ["sooner"]


async def test_what_has_been_delivered_is_not_taken_back(server: Server) -> None:
    reader = await listen(server, "t")
    later = await tell(server, "PUT /t/s?delay=10s", body="later")
    await server.clock.advance(10)
    assert await hear(reader) == later
    gone = await tell(server, "DELETE /t/s")
    assert await server.poll("t") == [later, gone]


async def test_without_a_cache_a_delete_still_cancels(start_server: StartServer) -> None:
    server = await start_server(cache_duration="0")
    await tell(server, "PUT /t/s?delay=1h", body="old")
    gone = await tell(server, "DELETE /t/s")
    assert list(gone) == ["id", "sequence_id", "time", "event", "topic"]
    assert await server.poll("t", "scheduled=1") == []


async def test_a_dead_mans_switch_fires_once_after_the_last_sign_of_life(server: Server) -> None:
    reader = await listen(server, "t")
    for sign in range(5):
        last = await tell(server, "PUT /t/alive?delay=1m", body=f"silent since sign {sign}")
        await server.clock.advance(40)
    assert last["time"] == NOW + 4 * 40 + 60
    await server.clock.advance(20)
    assert await hear(reader) == last
    await tell(server, "PUT /t", body="end")
    assert await texts_until(reader, "end") == []
    assert [message["message"] for message in await server.poll("t")] == ["silent since sign 4", "end"]
