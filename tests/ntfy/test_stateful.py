"""A server against an oracle: whatever is published, scheduled, cancelled, read and restarted, in any order.

The oracle is a list of what is visible and a list of what is pending. It is told each answer of the server
and says what every reader must get from then on: exactly that, once, in one order.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ntfyish.app import running
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.ntfy.talking import PHIL
from tests.wire import Answer, Wire, open_wire

T = TypeVar("T")
Message = dict[str, Any]

KEPT_S = 600
ALL_TOPICS = "a,b,c"

topics = st.sampled_from(["a", "b", "c"])
topic_lists = st.lists(topics, min_size=1, max_size=3).map(",".join)
sequences = st.sampled_from(["", "", "s", "r"])
spans_s = st.integers(10, 1500)
fields = st.fixed_dictionaries(
    {},
    optional={"title": st.sampled_from("xy"), "p": st.integers(1, 5), "tags": st.sampled_from(["u", "u,v"])},
)
filters = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={"title": st.sampled_from("xy"), "p": st.sampled_from(["3,4", "5"]), "tags": st.just("u")},
    ),
)


def accepts(query: dict[str, str], message: Message) -> bool:
    """Whether a message passes the filters of a query."""
    if message["event"] != "message":
        return True
    if "title" in query and message.get("title") != query["title"]:
        return False
    if "p" in query and str(message.get("priority", 3)) not in query["p"].split(","):
        return False
    return set(query.get("tags", "").split(",")) <= {"", *message.get("tags", ())}


@dataclass
class Oracle:
    """What the server must know."""

    visible: list[Message] = field(default_factory=list)
    pending: list[Message] = field(default_factory=list)
    shown_at: dict[str, int] = field(default_factory=dict)

    def show(self, messages: Sequence[Message], now: float) -> None:
        self.visible += messages
        self.shown_at |= {message["id"]: int(now) for message in messages}

    def cancel(self, topic: str, sequence: str) -> None:
        self.pending = [
            message
            for message in self.pending
            if not (message["topic"] == topic and message.get("sequence_id", message["id"]) == sequence)
        ]

    def next_due(self) -> int | None:
        return min((message["time"] for message in self.pending), default=None)

    def release(self, now: float) -> list[Message]:
        due = sorted((m for m in self.pending if m["time"] <= now), key=lambda m: m["time"])
        self.pending = [message for message in self.pending if message["time"] > now]
        self.show(due, now)
        return due

    def replay(self, wanted: str, query: dict[str, str], now: float) -> list[Message]:
        """Return what a reader of `wanted` finds in the cache."""
        names = wanted.split(",")
        since = query.get("since", "all")
        shown = [m for m in self.visible if m["topic"] in names and m["expires"] > now]
        pending = sorted((m for m in self.pending if m["topic"] in names), key=lambda m: m["time"])
        if since == "none":
            return []
        if since == "latest":
            shown = [
                m for m in shown if all(n is m or n["topic"] != m["topic"] for n in shown[shown.index(m) :])
            ]
            pending = []
        elif since.isdigit() and len(since) != 12:
            shown = [message for message in shown if self.shown_at[message["id"]] >= int(since)]
            pending = [message for message in pending if message["time"] >= int(since)]
        elif since != "all":
            ids = [message["id"] for message in self.visible]
            if since in ids:
                later = self.visible[ids.index(since) + 1 :]
                shown = [message for message in shown if message in later]
        if "scheduled" in query:
            shown = shown + pending
        return [message for message in shown if accepts(query, message)]


@dataclass
class Reader:
    """A live stream, and what it has still to get."""

    wire: Wire
    topics: str
    query: dict[str, str]
    owed: list[Message]

    def owe(self, messages: Sequence[Message]) -> None:
        names = self.topics.split(",")
        self.owed += [m for m in messages if m["topic"] in names and accepts(self.query, m)]

    async def collect(self) -> None:
        """Read all that is owed and compare it."""
        for expected in self.owed:
            while (line := await self.wire.json_line())["event"] == "keepalive":
                pass
            assert line == expected
        self.owed.clear()


class Machine(RuleBasedStateMachine):
    """Drives a real server on a real socket and a real file; only its clock is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.oracle = Oracle()
        self.readers: list[Reader] = []
        self.count = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        self.do(self._start())

    @rule(topic=topics, sequence=sequences, values=fields)
    def publish(self, topic: str, sequence: str, values: dict[str, Any]) -> None:
        self.do(self._publish(topic, sequence, values))

    @rule(topic=topics, sequence=sequences, values=fields, span_s=spans_s)
    def schedule(self, topic: str, sequence: str, values: dict[str, Any], span_s: int) -> None:
        self.do(self._publish(topic, sequence, values | {"delay": f"{span_s}s"}))

    @rule(topic=topics, sequence=sequences)
    def publish_uncached(self, topic: str, sequence: str) -> None:
        self.do(self._publish(topic, sequence, {"cache": "no"}))

    @rule(topic=topics, sequence=st.sampled_from("sr"), how=st.sampled_from(["delete", "clear"]))
    def delete_or_clear(self, topic: str, sequence: str, how: str) -> None:
        self.do(self._end_sequence(topic, sequence, how))

    @precondition(lambda self: self.oracle.pending)
    @rule(data=st.data())
    def cancel_one(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.oracle.pending))
        sequence = message.get("sequence_id", message["id"])
        self.do(self._end_sequence(message["topic"], sequence, "delete"))

    @rule(seconds=st.one_of(st.integers(1, 100), st.integers(100, 1600)))
    def wait(self, seconds: int) -> None:
        self.do(self._advance(seconds))

    @precondition(lambda self: len(self.readers) < 8)
    @rule(wanted=topic_lists, query=filters, data=st.data())
    def subscribe(self, wanted: str, query: dict[str, str], data: st.DataObject) -> None:
        self.do(self._subscribe(wanted, query | {"since": data.draw(self._sinces())}))

    @rule(wanted=topic_lists, query=filters, scheduled=st.booleans(), data=st.data())
    def poll(self, wanted: str, query: dict[str, str], scheduled: bool, data: st.DataObject) -> None:
        query = query | {"since": data.draw(self._sinces())} | ({"scheduled": "1"} if scheduled else {})
        answer = self.do(self._ask(f"GET /{wanted}/json?poll=1&{urlencode(query)}"))
        assert answer.json_lines() == self.oracle.replay(wanted, query, self.clock.now())

    @precondition(lambda self: len(self.readers) > 1)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers[1:]))
        self.readers.remove(reader)
        reader.wire.writer.transport.abort()

    @rule(away_s=st.one_of(st.just(0), st.integers(1, KEPT_S - 10)))
    def restart(self, away_s: int) -> None:
        self.do(self._restart(away_s))

    @invariant()
    def every_reader_gets_what_it_is_owed(self) -> None:
        for reader in self.readers:
            self.do(reader.collect())

    def teardown(self) -> None:
        try:
            if self.readers:
                self.do(self._mark())
                self.every_reader_gets_what_it_is_owed()
        finally:
            self.do(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()

    def _sinces(self) -> st.SearchStrategy[str]:
        known = [message["id"] for message in self.oracle.visible + self.oracle.pending]
        now = int(self.clock.now())
        return st.one_of(
            st.sampled_from(["all", "none", "latest", "neverwasused", *known]),
            st.integers(now - 1000, now + 100).map(str),
        )

    async def _start(self) -> None:
        self.stack = AsyncExitStack()
        options = {
            "listen-http": "127.0.0.1:0",
            "data-dir": str(Path(self.folder.name)),
            "accounts": [PHIL],
            "cache-duration": KEPT_S,
        }
        server = await self.stack.enter_async_context(running(load(options, {}, None), self.clock))
        self.port = int(server.url.rsplit(":", 1)[1])
        self.readers = []
        # What fell due meanwhile is found in the cache or comes live, as it happens
        await self._subscribe(ALL_TOPICS, {"since": "all"})
        await self.readers[0].collect()

    async def _ask(self, line: str, body: bytes = b"") -> Answer:
        async with open_wire(self.port) as wire:
            answer = await wire.request(line, body=body)
        assert answer.status == 200, answer
        return answer

    async def _publish(self, topic: str, sequence: str, values: dict[str, Any]) -> None:
        self.count += 1
        path = f"/{topic}/{sequence}" if sequence else f"/{topic}"
        message = (await self._ask(f"PUT {path}?{urlencode(values)}", str(self.count).encode())).json()
        assert message["message"] == str(self.count)
        if sequence:
            self.oracle.cancel(topic, sequence)
        if "delay" in values:
            self.oracle.pending.append(message)
            return
        if "cache" not in values:
            self.oracle.show([message], self.clock.now())
        self._tell([message])

    async def _end_sequence(self, topic: str, sequence: str, how: str) -> None:
        message = (await self._ask(f"GET /{topic}/{sequence}/{how}")).json()
        assert (message["event"], message["sequence_id"]) == (f"message_{how}", sequence)
        if how == "delete":
            self.oracle.cancel(topic, sequence)
        self.oracle.show([message], self.clock.now())
        self._tell([message])

    async def _advance(self, seconds: float) -> None:
        """Stop at each moment at which something is due, until it has come."""
        end = self.clock.now() + seconds
        while (due := self.oracle.next_due()) is not None and due <= end:
            await self.clock.advance(due - self.clock.now())
            self._tell(self.oracle.release(due))
            await self.readers[0].collect()
        await self.clock.advance(end - self.clock.now())

    async def _subscribe(self, wanted: str, query: dict[str, str]) -> None:
        wire = await self.stack.enter_async_context(open_wire(self.port))
        wire.send_request(f"GET /{wanted}/json?{urlencode(query)}")
        await wire.head()
        opening = await wire.json_line()
        assert (opening["event"], opening["topic"]) == ("open", wanted)
        owed = self.oracle.replay(wanted, query, self.clock.now())
        self.readers.append(Reader(wire, wanted, query, owed))

    async def _restart(self, away_s: int) -> None:
        for reader in self.readers:
            await reader.collect()
        await self.stack.aclose()
        await self.clock.advance(away_s)
        self.oracle.release(self.clock.now())
        await self._start()

    async def _mark(self) -> None:
        """Send something to everybody, so that what came too much before it shows."""
        for topic in ALL_TOPICS.split(","):
            message = (await self._ask(f"PUT /{topic}/mark/clear")).json()
            self.oracle.show([message], self.clock.now())
            self._tell([message])

    def _tell(self, messages: Sequence[Message]) -> None:
        for reader in self.readers:
            reader.owe(messages)


def test_a_server_does_what_the_oracle_says() -> None:
    run: Callable[[], None] = partial(
        run_state_machine_as_test,
        Machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    run()
