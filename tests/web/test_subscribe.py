"""Subscribing over HTTP: the form of each transport, history joined with live, filters, several topics."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tests.clock import FakeClock
from tests.conftest import USER_KEY, Server, StartServer

NOW = 1_700_000_000


async def test_a_json_stream_begins_with_open_and_carries_what_is_published(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /mytopic/json")
    status, headers = await wire.head()
    assert status == 200
    assert headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["access-control-allow-origin"] == "*"
    opening = await wire.json_line()
    assert list(opening) == ["id", "time", "event", "topic"]
    assert (opening["event"], opening["topic"], opening["time"]) == ("open", "mytopic", NOW)
    published = await server.publish("mytopic", "Disk full")
    assert await wire.json_line() == published
    assert list(published) == ["id", "time", "expires", "event", "topic", "message"]
    assert published["expires"] == NOW + 12 * 3600


async def test_an_sse_stream_names_only_open_and_keepalive_and_gives_messages_an_id(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /mytopic/sse")
    _, headers = await wire.head()
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert await wire.line() == b"event: open"
    assert json.loads((await wire.line()).removeprefix(b"data: "))["event"] == "open"
    assert await wire.line() == b""
    published = await server.publish("mytopic", "Hi!\nyou\u2028there")
    assert await wire.line() == b"id: " + published["id"].encode()
    assert json.loads((await wire.line()).removeprefix(b"data: ")) == published
    assert await wire.line() == b""
    await server.clock.advance(45)
    assert await wire.line() == b"event: keepalive"
    assert json.loads((await wire.line()).removeprefix(b"data: "))["event"] == "keepalive"
    assert await wire.line() == b""


async def test_a_raw_stream_has_one_line_a_message_and_empty_ones_for_the_rest(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /mytopic/raw")
    _, headers = await wire.head()
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert await wire.line() == b""
    await server.publish("mytopic", "two\nlines\r\nand three", Title="unseen")
    assert await wire.line() == b"two lines and three"
    await server.clock.advance(45)
    assert await wire.line() == b""


async def test_a_keepalive_comes_at_every_interval_and_names_the_topics_as_typed(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /b,a,b/json")
    await wire.head()
    assert (await wire.json_line())["topic"] == "b,a,b"
    for minute in (1, 2):
        await server.clock.advance(45)
        keepalive = await wire.json_line()
        assert list(keepalive) == ["id", "time", "event", "topic"]
        assert (keepalive["event"], keepalive["topic"]) == ("keepalive", "b,a,b")
        assert keepalive["time"] == NOW + minute * 45


async def test_a_topic_listed_twice_delivers_once(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /a,a/json")
    await wire.head()
    await wire.json_line()
    first = await server.publish("a", "1")
    second = await server.publish("a", "2")
    assert [await wire.json_line(), await wire.json_line()] == [first, second]
    assert await server.poll("a,a") == [first, second]


async def test_several_topics_arrive_in_one_order(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /a,b,c/json?since=all")
    await wire.head()
    await wire.json_line()
    sent = [await server.publish("abc"[number % 3], str(number)) for number in range(30)]
    assert [await wire.json_line() for _ in sent] == sent
    assert await server.poll("c,b,a") == sent


async def test_polling_an_empty_topic_is_an_empty_answer(server: Server) -> None:
    wire = await server.wire()
    for transport in ("json", "sse", "raw"):
        answer = await wire.request(f"GET /nothing/{transport}?poll=1")
        assert (answer.status, answer.body) == (200, b"")


async def test_a_connection_can_be_used_again_after_a_poll(server: Server) -> None:
    published = await server.publish("t")
    wire = await server.wire()
    for _ in range(3):
        assert (await wire.request("GET /t/json?poll=1")).json_lines() == [published]


async def test_since_an_id_returns_what_came_after_it_in_any_topic(server: Server) -> None:
    first = await server.publish("a", "1")
    second = await server.publish("b", "2")
    third = await server.publish("a", "3")
    assert await server.poll("a,b", f"since={first['id']}") == [second, third]
    assert await server.poll("a", f"since={second['id']}") == [third]
    assert await server.poll("a", "since=neverwasused") == [first, third]


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("all", [0, 1, 2]),
        ("0", [0, 1, 2]),
        ("1", [0, 1, 2]),
        ("none", []),
        ("latest", [2]),
        (str(NOW + 60), [1, 2]),
        (str(NOW + 61), [2]),
        ("1m", [1, 2]),
        ("59s", [2]),
        ("90m", [0, 1, 2]),
    ],
)
async def test_since_takes_words_times_and_durations(server: Server, since: str, expected: list[int]) -> None:
    sent = []
    for number in range(3):
        sent.append(await server.publish("t", str(number)))
        await server.clock.advance(60)
    server.clock.set_wall(NOW + 120)
    assert await server.poll("t", f"since={since}") == [sent[place] for place in expected]


@pytest.mark.parametrize("since", ["1d", "yesterday", "-", "10", "99999999999999999999999"][:3])
async def test_a_since_that_means_nothing_is_refused(server: Server, since: str) -> None:
    wire = await server.wire()
    answer = await wire.request(f"GET /t/json?since={since}")
    assert answer.status == 400
    assert answer.json()["code"] == 40008


async def test_latest_is_the_newest_of_each_topic(server: Server) -> None:
    await server.publish("a", "1")
    newest_a = await server.publish("a", "2")
    newest_b = await server.publish("b", "3")
    assert await server.poll("a,b", "since=latest") == [newest_a, newest_b]


async def test_history_and_live_join_without_gap_or_double_under_load(server: Server) -> None:
    """Subscribers come at every moment of a burst of publishes; each sees all of it, once, in order."""
    first = await server.publish("t", "0")
    sent: list[str] = []

    async def publish_many() -> None:
        for number in range(150):
            sent.append((await server.publish("t", str(number)))["id"])

    async def read_all() -> list[str]:
        wire = await server.wire()
        wire.send_request(f"GET /t/json?since={first['id']}")
        await wire.head()
        assert (await wire.json_line())["event"] == "open"
        return [(await wire.json_line())["id"] for _ in range(150)]

    publishing = asyncio.create_task(publish_many())
    readers = []
    while not publishing.done():
        readers.append(asyncio.create_task(read_all()))
        await asyncio.sleep(0)
        await server.publish("other")
    await publishing
    for reader in readers:
        assert await reader == sent
    assert len(readers) > 20


async def test_last_event_id_resumes_an_sse_stream_and_since_wins_over_it(server: Server) -> None:
    first = await server.publish("t", "1")
    second = await server.publish("t", "2")
    wire = await server.wire()
    wire.send_request("GET /t/sse", f"Last-Event-ID: {first['id']}")
    await wire.head()
    assert await wire.line() == b"event: open"
    assert [await wire.line(), await wire.line()][1] == b""
    assert await wire.line() == b"id: " + second["id"].encode()
    other = await server.wire()
    answer = await other.request("GET /t/sse?poll=1&since=none", f"Last-Event-ID: {first['id']}")
    assert answer.body == b""


async def test_what_is_expired_is_not_replayed(start_server: StartServer) -> None:
    server = await start_server(cache_duration="2m", manager_interval="1m")
    await server.publish("t", "old")
    await server.clock.advance(90)
    kept = await server.publish("t", "new")
    await server.clock.advance(31)
    assert await server.poll("t") == [kept]


@pytest.mark.parametrize("framing", ["HTTP/1.0", "HTTP/1.1"])
async def test_http_1_0_gets_a_stream_that_is_not_chunked(server: Server, framing: str) -> None:
    published = await server.publish("t")
    wire = await server.wire()
    wire.send(f"GET /t/json?poll=1 {framing}\r\nHost: test\r\nConnection: close\r\n\r\n")
    _, headers = await wire.head()
    assert ("transfer-encoding" in headers) is (framing == "HTTP/1.1")
    body = await wire.at_end()
    if framing == "HTTP/1.0":
        assert json.loads(body) == published
    else:
        assert body.endswith(b"\r\n0\r\n\r\n")


FILTERED = [
    ("id={0}", [0]),
    ("message=one", [0]),
    ("m=ONE", []),
    ("title=Backup", [1]),
    ("t=Backup", [1]),
    ("priority=high", [1]),
    ("prio=4,5", [1, 2]),
    ("p=3", [0]),
    ("p=default,urgent", [0, 2]),
    ("tags=zfs", [1, 2]),
    ("tag=zfs,error", [2]),
    ("ta=zfs,none", []),
    ("tags=zfs&p=5", [2]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERED)
@pytest.mark.parametrize("live", [False, True])
async def test_filters_apply_to_replay_and_live_alike(
    server: Server, query: str, expected: list[int], live: bool
) -> None:
    if live and "{0}" in query:
        query = "id=anotheranother"[:15]
        expected = []
    headers = [{}, {"Title": "Backup", "Priority": "4", "Tags": "zfs"}, {"p": "max", "ta": "error,zfs"}]
    wire = await server.wire()
    if live:
        wire.send_request(f"GET /t/json?{query}")
        await wire.head()
        await wire.json_line()
    sent = [
        await server.publish("t", text, **h) for text, h in zip(("one", "two", "three"), headers, strict=True)
    ]
    await server.clock.advance(45)
    wanted = [sent[place] for place in expected]
    if live:
        got = []
        while (line := await wire.json_line())["event"] != "keepalive":
            got.append(line)
        assert got == wanted
    else:
        assert await server.poll("t", query.format(sent[0]["id"])) == wanted


async def test_filters_may_be_headers_and_a_browsers_priority_header_is_none(server: Server) -> None:
    await server.publish("t", "1")
    wanted = await server.publish("t", "2", Title="x")
    wire = await server.wire()
    answer = await wire.request("GET /t/json", "X-Poll: yes", "X-Title: x", "Priority: u=1, i")
    assert answer.json_lines() == [wanted]


async def test_a_filter_that_means_nothing_is_refused(server: Server) -> None:
    wire = await server.wire()
    answer = await wire.request("GET /t/json?p=6")
    assert (answer.status, answer.json()["code"]) == (400, 40007)


async def test_scheduled_messages_are_hidden_until_due_unless_asked_for(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("GET /t/json")
    await wire.head()
    await wire.json_line()
    later = await server.publish("t", "later", Delay="30m")
    now = await server.publish("t", "now")
    assert later["time"] == NOW + 1800
    assert await server.poll("t") == [now]
    assert await server.poll("t", "sched=1") == [now, later]
    assert await wire.json_line() == now
    for _ in range(4):
        await server.clock.advance(450)
    lines = [await wire.json_line()]
    while lines[-1]["event"] == "keepalive":
        lines.append(await wire.json_line())
    assert lines[-1] == later
    assert await server.poll("t", f"since={now['id']}") == [later]


async def test_a_scheduled_message_survives_a_restart(start_server: StartServer) -> None:
    clock = FakeClock()
    server = await start_server(clock=clock)
    later = await server.publish("t", "later", Delay="30m")
    await server._stack.aclose()
    clock = FakeClock(now=NOW + 7200)
    server = await start_server(clock=clock, data_dir=server.data_dir)
    wire = await server.wire()
    wire.send_request("GET /t/json?since=all")
    await wire.head()
    await wire.json_line()
    assert await wire.json_line() == later


@pytest.mark.parametrize("padding", ["", "="])
async def test_auth_may_be_in_the_query(start_server: StartServer, padding: str) -> None:
    server = await start_server(auth_default_access="deny-all")
    header = "Basic " + base64.b64encode(b"phil:secret").decode()
    hidden = base64.urlsafe_b64encode(header.encode()).decode().rstrip("=") + padding
    wire = await server.wire()
    assert (await wire.request(f"GET /{USER_KEY}/json?poll=1&auth={hidden}")).status == 200
    assert (await wire.request(f"GET /{USER_KEY}/json?poll=1", f"Authorization: {header}")).status == 200
    assert (await wire.request(f"GET /{USER_KEY}/json?poll=1")).status == 403
    assert (await wire.request("GET /other/json?poll=1", f"Authorization: {header}")).status == 403


@pytest.mark.parametrize("hidden", ["%%%", "QmFzaWM", "!!!!", "QmFzaWMgZm9v", "w6Q"])
async def test_a_malformed_auth_parameter_is_unauthorized(server: Server, hidden: str) -> None:
    wire = await server.wire()
    answer = await wire.request(f"GET /t/json?poll=1&auth={hidden}")
    assert (answer.status, answer.json()["code"]) == (401, 40101)


async def test_wrong_credentials_are_401_and_missing_rights_403(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all")
    wire = await server.wire()
    wrong = base64.b64encode(b"phil:wrong").decode()
    unknown = base64.b64encode(b"nobody:secret").decode()
    for credentials in (f"Basic {wrong}", f"Basic {unknown}", "Bearer tk_unknown", "Basic ???"):
        answer = await wire.request("GET /t/json?poll=1", f"Authorization: {credentials}")
        assert (answer.status, answer.json()["code"]) == (401, 40101)
    assert (await wire.request("GET /t/auth")).json()["code"] == 40301
    assert (await wire.request("GET /t/json")).json()["code"] == 40301
    right = base64.b64encode(b"phil:secret").decode()
    answer = await wire.request(f"GET /{USER_KEY}/auth", f"Authorization: Basic {right}")
    assert answer.json() == {"success": True}


@pytest.mark.parametrize(
    "path",
    ["/a,/json", "/,a/json", "/a b/json", "/" + "x" * 65 + "/json", "/a/json/", "/a.b/json", "/a/JSON"],
)
async def test_what_is_no_topic_is_not_found(server: Server, path: str) -> None:
    wire = await server.wire()
    answer = await wire.request(f"GET {path.replace(' ', '%20')}")
    assert (answer.status, answer.json()["code"]) == (404, 40401)


async def test_a_reserved_name_is_no_topic(start_server: StartServer) -> None:
    server = await start_server(disallowed_topics=["internal"])
    wire = await server.wire()
    for topics in ("docs", "a,settings", "internal"):
        answer = await wire.request(f"GET /{topics}/json")
        assert (answer.status, answer.json()["code"]) == (400, 40010)


async def test_a_preflight_allows_what_browsers_ask_for(server: Server) -> None:
    wire = await server.wire()
    answer = await wire.request("OPTIONS /t/json", "Origin: https://example.org")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-max-age" in answer.headers
