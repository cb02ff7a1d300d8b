"""The hub against a naive oracle, and its slicing."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ntfyish.core.counters import Counters
from ntfyish.core.hub import Hub, Subscription
from ntfyish.model.message import Content, Message, MessageId, Published
from ntfyish.model.query import Filter

TOPICS = ("a", "b", "c")
TOPIC_SETS = [("a",), ("b",), ("a", "b"), ("b", "a"), ("a", "b", "c")]
FILTERS = [None, Filter(title="yes"), Filter(title="no")]


class PlainFormat:
    def frame(self, published: Published) -> bytes:
        return b"%d;" % published.seq

    def keepalive(self, topic_text: str) -> bytes:
        return b"k;"


PLAIN = PlainFormat()


class Reader(Subscription):
    __slots__ = ("got",)

    def __init__(self) -> None:
        super().__init__()
        self.got: list[bytes] = []
        self.write = self._take

    def _take(self, data: bytes) -> int:
        self.got.append(data)
        return len(data)

    def seqs(self) -> list[int]:
        return [int(seq) for seq in b"".join(self.got).split(b";") if seq and seq != b"k"]


def published(seq: int, topic: str, title: str = "") -> Published:
    message = Message(id=MessageId(str(seq)), time=0, topic=topic, content=Content(title=title))
    return Published(seq, message, b"")


class Loop:
    """Runs what is scheduled one by one, when told to."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def turn(self) -> bool:
        if self.ready:
            self.ready.pop(0)()
        return bool(self.ready)

    def run(self) -> int:
        turns = 0
        while self.ready:
            self.turn()
            turns += 1
        return turns


class HubMachine(RuleBasedStateMachine):
    """Whoever subscribes gets exactly what is announced while subscribed, once and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.counters = Counters()
        self.hub = Hub(self.loop.ready.append, slice_size=2, counters=self.counters)
        self.seq = 0
        self.readers: list[tuple[Reader, tuple[str, ...], Filter | None]] = []
        self.expected: dict[Reader, list[int]] = {}
        self.left: dict[Reader, list[int]] = {}

    @rule(topics=st.sampled_from(TOPIC_SETS), filter=st.sampled_from(FILTERS), count=st.integers(1, 6))
    def subscribe(self, topics: tuple[str, ...], filter: Filter | None, count: int) -> None:
        for _ in range(count):
            reader = Reader()
            self.hub.subscribe(reader, topics, ",".join(topics), PLAIN, filter)
            self.readers.append((reader, topics, filter))
            self.expected[reader] = []

    @rule(place=st.integers(0, 30))
    def unsubscribe(self, place: int) -> None:
        if self.readers:
            reader, _, _ = self.readers.pop(place % len(self.readers))
            self.hub.unsubscribe(reader)
            self.hub.unsubscribe(reader)  # once more does no harm
            self.left[reader] = list(reader.got)

    @rule(batch=st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(["yes", "no", ""])), max_size=4))
    def announce(self, batch: list[tuple[str, str]]) -> None:
        messages = []
        for topic, title in batch:
            self.seq += 1
            messages.append(published(self.seq, topic, title))
            for reader, topics, filter in self.readers:
                if topic in topics and (filter is None or filter.accepts(messages[-1].message)):
                    self.expected[reader].append(self.seq)
        self.hub.announce(messages)

    @rule()
    def turn(self) -> None:
        self.loop.turn()

    @rule()
    def settle(self) -> None:
        self.loop.run()
        for reader, _, _ in self.readers:
            assert reader.seqs() == self.expected[reader]
        delivered = sum(map(len, self.expected.values()))
        written = sum(len(reader.seqs()) for reader in self.expected)
        # Who leaves during a fan-out may have been counted.
        assert written <= self.counters.deliveries <= delivered

    @invariant()
    def nobody_gets_anything_wrong(self) -> None:
        for reader, _, _ in self.readers:
            seqs = reader.seqs()
            assert seqs == self.expected[reader][: len(seqs)]
        for reader, got in self.left.items():
            assert reader.got == got
        assert {id(one) for one in self.hub.subscriptions()} == {id(reader) for reader, _, _ in self.readers}

    def teardown(self) -> None:
        self.settle()
        for reader, _, _ in self.readers:
            self.hub.unsubscribe(reader)
        assert not list(self.hub.subscriptions())
        assert self.hub.topics == 0


TestHub = HubMachine.TestCase
TestHub.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_large_fan_out_leaves_the_loop_to_others_between_slices() -> None:
    loop = Loop()
    hub = Hub(loop.ready.append, slice_size=10)
    readers = [Reader() for _ in range(100)]
    for reader in readers:
        hub.subscribe(reader, ("big",), "big", PLAIN)
    other = Reader()
    hub.subscribe(other, ("small",), "small", PLAIN)
    hub.announce([published(1, "big")])
    loop.turn()
    hub.announce([published(2, "small")])
    loop.turn()
    loop.turn()
    assert other.seqs() == [2]
    assert sum(len(reader.got) for reader in readers) <= 30
    loop.run()
    assert all(reader.seqs() == [1] for reader in readers)


def test_what_arrives_during_a_fan_out_is_joined_into_one_write() -> None:
    loop = Loop()
    hub = Hub(loop.ready.append, slice_size=10)
    readers = [Reader() for _ in range(30)]
    for reader in readers:
        hub.subscribe(reader, ("t",), "t", PLAIN)
    hub.announce([published(1, "t")])
    loop.turn()
    for seq in range(2, 12):
        hub.announce([published(seq, "t")])
    loop.run()
    assert all(reader.got == [b"1;", b"2;3;4;5;6;7;8;9;10;11;"] for reader in readers)


def test_equal_filters_are_evaluated_once_for_all_who_share_them() -> None:
    asked = 0

    class CountingFilter(Filter):
        def accepts(self, message: Message) -> bool:
            nonlocal asked
            asked += 1
            return False

    loop = Loop()
    hub = Hub(loop.ready.append)
    for _ in range(50):
        hub.subscribe(Reader(), ("t",), "t", PLAIN, CountingFilter(title="x"))
    hub.announce([published(1, "t")])
    loop.run()
    assert asked == 1


async def test_a_keepalive_reaches_everybody_in_slices() -> None:
    hub = Hub(lambda callback: None, slice_size=10)
    readers = [Reader() for _ in range(35)]
    for place, reader in enumerate(readers):
        hub.subscribe(reader, ("t",), "t", PLAIN, FILTERS[place % 2])
    pauses = 0

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        hub.unsubscribe(readers[pauses])  # leaving meanwhile leaves nobody out

    await hub.keepalive(pause)
    assert pauses >= 2
    assert all(reader.got for reader in readers if reader.lane is not None)


def test_who_leaves_during_a_fan_out_takes_nobody_elses_message_along() -> None:
    loop = Loop()
    hub = Hub(loop.ready.append, slice_size=2)
    readers = [Reader() for _ in range(9)]
    for reader in readers:
        hub.subscribe(reader, ("t",), "t", PLAIN)
    hub.announce([published(1, "t")])
    loop.turn()
    hub.unsubscribe(readers[0])
    loop.turn()
    hub.unsubscribe(readers[8])
    loop.run()
    assert [reader.seqs() for reader in readers] == [[1]] * 8 + [[]]
    hub.announce([published(2, "t")])
    loop.run()
    assert [reader.seqs() for reader in readers] == [[1], *[[1, 2]] * 7, []]
