"""Glances over real sockets: what apps say, and what the streams of an inbox show."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from ntfyish.model.line import decode, encode
from ntfyish.model.message import Content, Event, Message, MessageId
from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY, Server, StartServer
from tests.wire import Answer

E34 = {"errors": ["at least one of title, text, subtext, count, percent must be supplied"], "status": 0}
E2 = {
    "user": "invalid",
    "errors": ["user identifier is not a valid user, group, or subscribed user key"],
    "status": 0,
}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    account = {"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["watch"]}
    return await start_server(accounts=[account])


async def glance(server: Server, **fields: str) -> Answer:
    body = urlencode({"token": APP_TOKEN, "user": USER_KEY} | fields).encode()
    wire = await server.wire()
    form = "Content-Type: application/x-www-form-urlencoded"
    return await wire.request("POST /1/glances.json", form, body=body)


def said(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request"}


async def test_an_update_is_an_event_of_its_own_on_the_inbox(server: Server) -> None:
    wire = await server.wire()
    wire.send_request(f"GET /{USER_KEY}/json")
    await wire.head()
    assert (await wire.json_line())["event"] == "open"
    answer = await glance(server, title="Sales", text="up", subtext="today", count="-3", percent="100")
    assert (answer.status, said(answer)) == (200, {"status": 1})
    assert answer.headers["x-limit-app-remaining"] == "10000"
    assert {name for name in answer.headers if name.startswith("x-limit")} == {
        "x-limit-app-limit",
        "x-limit-app-remaining",
        "x-limit-app-reset",
    }
    event = await wire.json_line()
    shown = {"title": "Sales", "text": "up", "subtext": "today", "count": -3, "percent": 100}
    assert event.pop("id")
    assert event.pop("time")
    assert event.pop("expires")
    assert event == {"event": "glance", "topic": USER_KEY, "app": "Backups"} | shown


async def test_an_update_leaves_what_it_does_not_name_and_clears_what_is_blank(server: Server) -> None:
    for fields in (
        {"title": "a", "count": "1"},
        {"text": "b"},
        {"title": " ", "percent": "5"},
        {"count": ""},
    ):
        assert (await glance(server, **fields)).status == 200
    shown = [
        {name: event[name] for name in ("title", "text", "count", "percent") if name in event}
        for event in await server.poll(USER_KEY)
    ]
    assert shown == [
        {"title": "a", "count": 1},
        {"title": "a", "text": "b", "count": 1},
        {"text": "b", "count": 1, "percent": 5},
        {"text": "b", "percent": 5},
    ]


async def test_devices_have_glances_of_their_own(server: Server) -> None:
    await glance(server, title="all")
    await glance(server, text="t", device="watch")
    await glance(server, text="u", device="unknown")
    shown = [
        (event.get("device"), event.get("title"), event.get("text")) for event in await server.poll(USER_KEY)
    ]
    assert shown == [(None, "all", None), ("watch", None, "t"), (None, "all", "u")]


async def test_a_glance_says_nothing_in_plain_text(server: Server) -> None:
    await glance(server, title="a")
    wire = await server.wire()
    answer = await wire.request(f"GET /{USER_KEY}/raw?poll=1")
    assert answer.body.strip() == b""


async def test_what_a_glance_shows_survives_a_restart_and_a_server_without_a_cache(
    start_server: StartServer,
) -> None:
    server = await start_server(cache_duration=0)
    await glance(server, title="a")
    wire = await server.wire()
    wire.send_request(f"GET /{USER_KEY}/json")
    await wire.head()
    await wire.json_line()
    await glance(server, count="2")
    event = await wire.json_line()
    assert (event["title"], event["count"]) == ("a", 2)


LONG = "is too long (maximum is 100 characters)"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, E34),
        ({"device": "watch"}, E34),
        ({"user": TOPIC_KEY, "title": "a"}, E2),
        ({"user": "alerts", "title": "a"}, E2),
        ({"user": "", "title": "a"}, E2),
        (
            {"token": "x", "title": "a"},
            {"token": "invalid", "errors": ["application token is invalid"], "status": 0},
        ),
        *(
            ({name: "x" * 101}, {name: LONG, "errors": [f"{name} {LONG}"], "status": 0})
            for name in ("title", "text", "subtext")
        ),
        *(
            ({name: value}, {name: "is invalid", "errors": [f"{name} is invalid"], "status": 0})
            for name, value in (
                ("percent", "101"),
                ("percent", "-1"),
                ("percent", "half"),
                ("count", "1e3"),
                ("count", "9" * 30),
                ("count", "2147483648"),
            )
        ),
    ],
)
async def test_what_is_wrong_is_refused(
    server: Server, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    answer = await glance(server, **fields)
    assert (answer.status, said(answer)) == (400, expected)
    assert await server.poll(USER_KEY) == []


def test_the_line_of_a_glance_is_read_as_it_was_written() -> None:
    content = Content(title="a", app="A", glance=(("text", "b"), ("count", 0)))
    message = Message(id=MessageId("x" * 12), time=1, topic="t", event=Event.GLANCE, content=content)
    assert decode(encode(message)) == message
