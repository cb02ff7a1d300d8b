"""The client against a small scripted server that breaks connections on purpose."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntfyish.address import parse_address, split_base_url
from ntfyish.client import Client, Messages, Refused, Unreachable
from ntfyish.resume import COMMIT_MARGIN_S, Cursor, MessageJson, parse_event

T0 = 1_800_000_000


class SteppedClock:
    """A clock that stands still until somebody waits for it and `step` is called."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleeps = 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    def now(self) -> float:
        return T0 + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.seconds + seconds, self._sleeps, future))
        self._sleeps += 1
        self._arrived.set()
        await future

    def step(self, seconds: float) -> None:
        self.seconds += seconds
        while self._waiting and self._waiting[0][0] <= self.seconds:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def pause(self) -> float:
        """Wait until the client pauses between two connections, pass that time, and return it."""
        pause = await self._timer(lambda seconds: seconds not in (30.0, 77.0))
        self.step(pause)
        return pause

    async def pass_timeout(self, seconds: float, *, but: float = 0) -> None:
        """Wait until somebody waits for at most `seconds` from now, and pass that time (`but` so much)."""
        await self._timer(lambda left: left == seconds)
        self.step(seconds - but)

    async def _timer(self, wanted: Callable[[float], bool]) -> float:
        while True:
            lefts = [due - self.seconds for due, _, future in self._waiting if not future.done()]
            for left in filter(wanted, lefts):
                return left
            self._arrived.clear()
            await self._arrived.wait()


@dataclass
class Connection:
    """One request that the scripted server has received, and the way to answer it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def begin(self, content_type: str = "application/x-ndjson; charset=utf-8") -> None:
        self.writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    def send(self, *events: dict[str, Any] | bytes) -> None:
        lines = [
            event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n" for event in events
        ]
        data = b"".join(lines)
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def open(self, time: int = T0) -> None:
        self.begin()
        self.send(opened(time))

    def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")

    def cut(self) -> None:
        self.writer.transport.abort()


@dataclass
class Script:
    """The server's side of a test."""

    port: int = 0
    arrivals: asyncio.Queue[Connection] = field(default_factory=asyncio.Queue)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def next(self) -> Connection:
        async with asyncio.timeout(10):
            return await self.arrivals.get()

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *rest = head.strip().split("\r\n")
                method, target, _ = first.split(" ")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.arrivals.put_nowait(Connection(method, target, headers, body, writer))


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    yield script
    server.close()
    await script.close()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@asynccontextmanager
async def subscribed(
    script: Script, clock: SteppedClock, **options: Any
) -> AsyncIterator[Callable[[], Awaitable[MessageJson]]]:
    """A subscription to topic "t"; call what it gives for the next message."""
    messages: Messages
    async with (
        Client(script.url, clock=clock, chance=lambda: 0.5) as client,
        aclosing(client.subscribe("t", **options)) as messages,
    ):
        pending: list[asyncio.Task[MessageJson]] = []

        async def first() -> MessageJson:
            return await anext(messages)

        def following() -> Awaitable[MessageJson]:
            if not pending or pending[0].done():
                pending[:] = [asyncio.create_task(first())]
            return asyncio.wait_for(asyncio.shield(pending[0]), 10)

        try:
            yield following
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


def opened(time: int = T0) -> dict[str, Any]:
    return {"id": "opened000000", "time": time, "event": "open", "topic": "t"}


def keepalive(time: int) -> dict[str, Any]:
    return {"id": "keepalive000", "time": time, "event": "keepalive", "topic": "t"}


def message(number: int, time: int = T0, **more: Any) -> dict[str, Any]:
    return {
        "id": f"message{number:05d}",
        "time": time,
        "expires": time + 43200,
        "event": "message",
        "topic": "t",
        "message": f"number {number}",
    } | more


async def test_messages_arrive_in_order_without_open_and_keepalive(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        assert connection.target == "/t/json"
        connection.open()
        connection.send(message(1), keepalive(T0), message(2))
        assert (await waiting)["id"] == "message00001"
        assert (await following())["message"] == "number 2"


async def test_after_a_break_it_asks_for_what_came_after_the_last_message(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        connection.send(message(1))
        assert (await waiting)["id"] == "message00001"
        waiting = asyncio.ensure_future(following())
        connection.cut()
        await clock.pause()
        again = await script.next()
        assert again.query == {"since": "message00001"}
        again.open(T0 + 5)
        again.send(message(2))
        assert (await waiting)["id"] == "message00002"


async def test_a_line_that_was_cut_in_half_is_fetched_again_whole(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        connection.send(json.dumps(message(1)).encode()[:40])
        await connection.writer.drain()
        connection.cut()
        await clock.pause()
        again = await script.next()
        again.open()
        again.send(message(1))
        assert (await waiting)["message"] == "number 1"


async def test_before_the_first_message_it_resumes_from_the_first_open_event(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open(T0 + 1)
        connection.send(keepalive(T0 + 46))
        await connection.writer.drain()
        connection.end()
        await clock.pause()
        second = await script.next()
        assert second.query == {"since": str(T0 + 1)}
        second.open(T0 + 60)
        second.cut()
        await clock.pause()
        third = await script.next()
        assert third.query == {"since": str(T0 + 1)}
        third.open(T0 + 70)
        third.send(message(1))
        assert (await waiting)["id"] == "message00001"


async def test_without_any_answer_yet_nothing_older_is_asked_for(script: Script, clock: SteppedClock) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        (await script.next()).answer(503)
        await clock.pause()
        connection = await script.next()
        assert connection.query == {}
        connection.open()
        connection.send(message(1))
        await waiting


async def test_what_is_replayed_twice_is_returned_once(script: Script, clock: SteppedClock) -> None:
    async with subscribed(script, clock, since="all") as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        assert connection.query == {"since": "all"}
        connection.open()
        connection.send(message(1), message(2))
        await waiting
        assert (await following())["id"] == "message00002"
        waiting = asyncio.ensure_future(following())
        connection.cut()
        await clock.pause()
        again = await script.next()
        again.open()
        again.send(message(1), message(2), message(3))
        assert (await waiting)["id"] == "message00003"


async def test_a_message_that_is_not_cached_is_no_place_to_resume_from(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        uncached = message(2)
        del uncached["expires"]
        connection.send(message(1), uncached)
        await waiting
        assert (await following())["id"] == "message00002"
        waiting = asyncio.ensure_future(following())
        connection.cut()
        await clock.pause()
        assert (await script.next()).query == {"since": "message00001"}
        waiting.cancel()


async def test_77_silent_seconds_end_a_connection_and_a_byte_before_does_not(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        connection.send(message(1))
        await waiting
        waiting = asyncio.ensure_future(following())
        await clock.pass_timeout(77, but=1)
        connection.send(message(2))
        await waiting
        waiting = asyncio.ensure_future(following())
        await clock.pass_timeout(77)
        await clock.pause()
        again = await script.next()
        assert again.query == {"since": "message00002"}
        again.open()
        again.send(message(3))
        assert (await waiting)["id"] == "message00003"


async def test_pauses_double_from_one_second_to_thirty_and_begin_anew_after_success(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        pauses = []
        for _ in range(7):
            (await script.next()).answer(503)
            pauses.append(await clock.pause())
        assert pauses == pytest.approx([0.75, 1.5, 3, 6, 12, 22.5, 22.5])
        connection = await script.next()
        connection.open()
        connection.send(message(1))
        await waiting
        waiting = asyncio.ensure_future(following())
        connection.cut()
        assert await clock.pause() == pytest.approx(0.75)
        waiting.cancel()


async def test_jitter_spreads_a_pause_over_its_upper_half() -> None:
    shortest = Client("http://h", chance=lambda: 0.0)._pause_s(3, 0)
    longest = Client("http://h", chance=lambda: 0.999)._pause_s(3, 0)
    assert (shortest, longest) == (4.0, pytest.approx(8, abs=0.01))


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("asked", ["120", "Fri, 15 Jan 2027 08:02:00 GMT"])
async def test_it_stays_away_for_as_long_as_retry_after_says(
    script: Script, clock: SteppedClock, status: int, asked: str
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        (await script.next()).answer(status, Retry_After=asked)
        assert 120 <= await clock.pause() <= 121
        connection = await script.next()
        connection.open()
        connection.send(message(1))
        await waiting


@pytest.mark.parametrize("asked", ["999999999999999999", "-5", "soon", "²", "Fri, 99 Jan 2027 08:02:00 GMT"])
async def test_a_silly_retry_after_keeps_nobody_away_for_ever(
    script: Script, clock: SteppedClock, asked: str
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.writer.write(
            f"HTTP/1.1 429 No\r\nContent-Length: 0\r\nRetry-After: {asked}\r\n\r\n".encode("latin-1")
        )
        assert await clock.pause() <= 3601
        await script.next()
        waiting.cancel()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
async def test_a_refusal_ends_the_subscription_with_the_servers_words(
    script: Script, clock: SteppedClock, status: int
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        body = {"code": 40301, "http": status, "error": "forbid\x1b[2Jden"}
        (await script.next()).answer(status, json.dumps(body).encode(), Location="https://elsewhere.example/")
        with pytest.raises(Refused) as refused:
            await waiting
        assert refused.value.status == status
        assert refused.value.code == 40301
        assert str(refused.value).isprintable()
        assert ("elsewhere" if status == 301 else "forbid [2Jden") in str(refused.value)


async def test_a_portal_page_is_not_taken_for_a_stream(script: Script, clock: SteppedClock) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.begin("text/html")
        connection.send(b"<p>Please log in</p>\n")
        await clock.pause()
        again = await script.next()
        again.open()
        again.send(message(1))
        await waiting


async def test_lines_that_are_no_messages_are_passed_over(
    script: Script, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        connection.send(b"\n", b"{\n", b"[]\n", b'{"id":1}\n', message(1) | {"time": "x"}, message(2))
        assert (await waiting)["id"] == "message00002"
    assert len(caplog.records) == 4


async def test_the_same_bytes_in_any_pieces_are_the_same_messages(
    script: Script, clock: SteppedClock
) -> None:
    async with subscribed(script, clock) as following:
        waiting = asyncio.ensure_future(following())
        connection = await script.next()
        connection.open()
        whole = json.dumps(message(1, title="Größe 📦"), ensure_ascii=False).encode() + b"\n"
        for start in range(0, len(whole), 3):
            connection.send(whole[start : start + 3])
            await connection.writer.drain()
        assert (await waiting)["title"] == "Größe 📦"


class HastyClock(SteppedClock):
    """Pauses take no time; nothing ever times out."""

    async def sleep(self, seconds: float) -> None:
        if seconds in (30.0, 77.0):
            await asyncio.Event().wait()
        self.seconds += seconds


@dataclass
class Round:
    """What happens around one connection: so many are published before it, and during it, then it is cut."""

    before: int
    during: int
    cut_at: int
    clean: bool = True


async def play(script: Script, rounds: list[Round], kept: list[dict[str, Any]]) -> None:
    """Be a server that keeps messages and honours `since`, and cuts each connection after some bytes."""

    def publish(count: int) -> None:
        for _ in range(count):
            kept.append(message(len(kept), time=T0 + len(kept) // 3))

    for turn in [*rounds, Round(1, 1, 10**9)]:
        connection = await script.next()
        publish(turn.before)
        since = connection.query.get("since", "none")
        ids = [item["id"] for item in kept]
        if since in ids:
            history = kept[ids.index(since) + 1 :]
        elif since == "none":
            history = []
        else:
            history = [item for item in kept if since == "all" or item["time"] >= int(since)]
        start = T0 + len(kept) // 3
        first_live = len(kept)
        publish(turn.during)
        events = [opened(start), *history, keepalive(start), *kept[first_live:]]
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)[: turn.cut_at]
        connection.begin()
        if data:
            connection.send(data)
        with suppress(ConnectionError):
            await connection.writer.drain()
        if turn.cut_at < 10**9 and turn.clean:
            connection.end()
        elif turn.cut_at < 10**9:
            connection.writer.close()


@settings(max_examples=60, deadline=None)
@given(
    rounds=st.lists(
        st.builds(Round, st.integers(0, 4), st.integers(0, 4), st.integers(0, 1500), st.booleans()),
        max_size=6,
    ),
    since=st.sampled_from(["all", ""]),
)
def test_wherever_connections_are_cut_each_message_comes_once_and_in_order(
    rounds: list[Round], since: str
) -> None:
    kept: list[dict[str, Any]] = []

    async def run() -> list[str]:
        script = Script()
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        script.port = server.sockets[0].getsockname()[1]
        got: list[str] = []
        async with Client(script.url, clock=HastyClock(), chance=lambda: 0.0) as client:
            playing = asyncio.create_task(play(script, rounds, kept))
            async with asyncio.timeout(10), aclosing(client.subscribe("t", since=since)) as messages:
                async for item in messages:
                    got.append(item["id"])
                    if playing.done() and got[-1] == kept[-1]["id"]:
                        break
            await playing
        server.close()
        await script.close()
        return got

    got = asyncio.run(run())
    everything = [item["id"] for item in kept]
    assert got == everything[everything.index(got[0]) :]
    if since == "all":
        assert got == everything
    elif rounds and rounds[0].clean and len(json.dumps(opened())) < rounds[0].cut_at:
        # Nothing is missing from the first open event on. Time is in seconds: what is little older may come.
        assert everything.index(got[0]) in (rounds[0].before, rounds[0].before // 3 * 3)


async def test_a_poll_ends_after_what_is_cached(script: Script, clock: SteppedClock) -> None:
    async with Client(script.url, clock=clock) as client:
        polling = asyncio.ensure_future(_all(client.subscribe("t", poll=True, filters={"priority": "4,5"})))
        connection = await script.next()
        assert connection.query == {"poll": "1", "priority": "4,5"}
        connection.begin()
        connection.send(message(1), message(2))
        connection.end()
        assert [item["id"] for item in await polling] == ["message00001", "message00002"]


async def test_a_poll_that_breaks_says_so(script: Script, clock: SteppedClock) -> None:
    async with Client(script.url, clock=clock) as client:
        polling = asyncio.ensure_future(_all(client.subscribe("t", poll=True)))
        connection = await script.next()
        connection.begin()
        connection.send(message(1))
        await connection.writer.drain()
        connection.cut()
        with pytest.raises(Unreachable):
            await polling


async def _all(messages: Messages) -> list[MessageJson]:
    return [item async for item in messages]


async def test_publish_sends_json_to_the_root_and_only_what_is_set(
    script: Script, clock: SteppedClock
) -> None:
    async with Client(f"{script.url}/below/", clock=clock, user="phil", password="pä:ß") as client:
        publishing = asyncio.ensure_future(
            client.publish(
                "t",
                "line one\nline two",
                title="Größe",
                priority=4,
                tags=["a", "b"],
                markdown=True,
                cache=False,
            )
        )
        request = await script.next()
        assert (request.method, request.target) == ("POST", "/below/")
        assert request.headers["authorization"] == "Basic cGhpbDpww6Q6w58="
        assert json.loads(request.body) == {
            "topic": "t",
            "message": "line one\nline two",
            "title": "Größe",
            "priority": 4,
            "tags": ["a", "b"],
            "markdown": True,
            "cache": "no",
        }
        request.answer(200, json.dumps(message(7)).encode() + b"\n", Content_Type="application/json")
        assert (await publishing)["id"] == "message00007"


@pytest.mark.parametrize(
    ("actions", "in_body", "in_query"),
    [
        ("view, Öffnen, https://x.example", None, "view, Öffnen, https://x.example"),
        (
            '[{"action":"copy","label":"c","value":"v"}]',
            [{"action": "copy", "label": "c", "value": "v"}],
            None,
        ),
        ([{"action": "copy"}], [{"action": "copy"}], None),
    ],
)
async def test_actions_go_as_objects_or_in_their_short_form(
    script: Script, clock: SteppedClock, actions: Any, in_body: Any, in_query: str | None
) -> None:
    async with Client(script.url, clock=clock, token="tk_x") as client:
        publishing = asyncio.ensure_future(client.publish("t", actions=actions))
        request = await script.next()
        assert request.headers["authorization"] == "Bearer tk_x"
        assert json.loads(request.body).get("actions") == in_body
        assert request.query.get("actions") == in_query
        request.answer(200, json.dumps(message(7)).encode())
        await publishing


async def test_publish_tells_a_refusal_from_trouble_that_passes(script: Script, clock: SteppedClock) -> None:
    async with Client(script.url, clock=clock) as client:
        publishing = asyncio.ensure_future(client.publish("t", "x"))
        (await script.next()).answer(400, b'{"code":40009,"error":"topic invalid"}')
        with pytest.raises(Refused, match=r"^topic invalid \(HTTP 400, code 40009\)$"):
            await publishing
        publishing = asyncio.ensure_future(client.publish("t", "x"))
        (await script.next()).answer(429, b"no json", Retry_After="7")
        with pytest.raises(Unreachable) as unreachable:
            await publishing
        assert unreachable.value.retry_after_s == 7
        publishing = asyncio.ensure_future(client.publish("t", "x"))
        (await script.next()).answer(200, b"<html>")
        with pytest.raises(Refused, match="not a message"):
            await publishing


async def test_publish_gives_up_after_thirty_silent_seconds(script: Script, clock: SteppedClock) -> None:
    async with Client(script.url, clock=clock) as client:
        publishing = asyncio.ensure_future(client.publish("t", "x"))
        await script.next()
        clock.step(30)
        with pytest.raises(Unreachable, match="30 s"):
            await publishing


async def test_a_closed_port_is_unreachable(script: Script, clock: SteppedClock, unused_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_port}", clock=clock) as client:
        with pytest.raises(Unreachable):
            await client.publish("t", "x")


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_what_is_wrong_with_the_call_is_said_before_any_request(clock: SteppedClock) -> None:
    client = Client("http://h", clock=clock)
    with pytest.raises(ValueError, match="list of topics"):
        client.subscribe("a,,b")
    with pytest.raises(ValueError, match="no filter"):
        client.subscribe("a", filters={"since": "all"})
    with pytest.raises(ValueError, match="topic name"):
        await client.publish("a/b", "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mytopic", ("http://d/", "mytopic")),
        ("a,b", ("http://d/", "a,b")),
        ("host/mytopic", ("https://host", "mytopic")),
        ("host:8080/x/mytopic", ("https://host:8080/x", "mytopic")),
        ("http://127.0.0.1:1/mytopic", ("http://127.0.0.1:1", "mytopic")),
    ],
)
def test_a_topic_is_written_bare_with_a_host_or_as_a_url(text: str, expected: tuple[str, str]) -> None:
    assert parse_address(text, "http://d/") == expected


@pytest.mark.parametrize("text", ["", "/", "host/", "a b", "https:///t", "http://h/t?x=1", "t\x1b[2J", "ä"])
def test_anything_else_is_not_an_address(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_address(text, "http://d")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "url",
    ["", "h", "ftp://h", "http://", "http://h:x", "http://h?q", "http://h/#f", "http://h h", "http://a..b"],
)
def test_what_is_not_the_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        Client(url)


def test_a_password_in_a_url_is_used_but_never_shown() -> None:
    assert split_base_url("https://phil:p%40ss@h:8/x/") == ("https://h:8/x", "phil", "p@ss")
    with pytest.raises(ValueError) as error:
        split_base_url("https://phil:secret@h:99999")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "credentials", [{"token": "a", "user": "b"}, {"token": "a\r\nX: y"}, {"token": "ä"}, {"user": "a:b"}]
)
def test_credentials_that_contradict_or_do_not_fit_a_header_are_refused(credentials: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Client("http://h", **credentials)


def _event(**fields: Any) -> MessageJson:
    event = parse_event(json.dumps(message(1) | fields).encode())
    assert event is not None
    return event


def test_a_duration_grows_with_the_time_that_has_passed() -> None:
    cursor = Cursor(asked="10m", scheduled=False)
    assert cursor.since(100.0) == "10m"
    assert cursor.since(135.0) == "10m35.000s"


@pytest.mark.parametrize("asked", ["all", "1800000000", "message00001", "1234567890ms"])
def test_any_other_since_is_asked_again_until_a_message_has_come(asked: str) -> None:
    cursor = Cursor(asked=asked, scheduled=False)
    cursor.accepts(_event(event="open"), 5.0)
    assert cursor.since(35.0) == asked


def test_latest_is_not_asked_again_once_the_server_has_answered() -> None:
    cursor = Cursor(asked="latest", scheduled=False)
    assert cursor.since(1.0) == "latest"
    cursor.accepts(_event(event="open"), 2.0)
    assert cursor.since(3.0) == str(T0)


def test_an_id_that_the_server_has_forgotten_is_replaced_by_a_time() -> None:
    cursor = Cursor(asked="", scheduled=False)
    cursor.accepts(_event(event="open"), 0.0)
    assert cursor.accepts(_event(expires=T0 + 30), 1.0)
    assert cursor.since(29.0) == "message00001"
    assert cursor.since(31.0) == str(T0)
    cursor.accepts(_event(event="keepalive", time=T0 + 450), 450.0)
    assert cursor.since(460.0) == str(T0 + 450 - COMMIT_MARGIN_S)


def test_a_pending_message_is_returned_once_as_pending_and_once_when_it_is_due() -> None:
    cursor = Cursor(asked="all", scheduled=True)
    cursor.accepts(_event(event="open"), 0.0)
    assert cursor.accepts(_event(id="delivered001"), 0.0)
    pending = _event(time=T0 + 60)
    assert cursor.accepts(pending, 1.0)
    assert not cursor.accepts(pending, 2.0)
    assert cursor.since(3.0) == "delivered001"
    assert cursor.accepts(pending, 60.5)
    assert not cursor.accepts(pending, 61.0)
    assert cursor.since(62.0) == "message00001"
