"""In-process fan-out: every announced message to every subscription of its topic, once and in order.

This is the hot path. What makes it cheap:

* Subscriptions that asked for the same topics form a *channel*; within it those of the same format, filter
  and topic text form a *lane*. A lane's bytes are made once and handed to every member: no task, queue or
  coroutine per subscriber, and one evaluation per filter, however many subscribe with it.
* Messages that arrive while a channel's fan-out is under way are joined into one write per member.
* A fan-out is cut into slices with the event loop in between, so that nobody else waits for it.

A channel has one batch in flight and takes messages in announce order, so each member sees one order, also
over several topics. The hub never waits for a reader: `Subscription.write` must not block, what it did not
take goes to `Subscription.owe`, and whoever owns the subscription unsubscribes it when its reader is too
slow.

All of it runs on the event loop; nothing here is thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ntfyish.core.counters import Counters
from ntfyish.model.message import Published
from ntfyish.model.query import Filter

SLICE = 100


class Format(Protocol):
    """How a subscription's bytes are written. Formats are compared by identity."""

    def frame(self, published: Published) -> bytes:
        """Return the complete bytes of one message on the wire."""

    def keepalive(self, topic_text: str) -> bytes:
        """Return the complete bytes of a keepalive."""


class Subscription:
    """One subscriber's place in the hub; subclass it to own the connection.

    Attributes:
        write: takes bytes without blocking and returns how many it took, or raises OSError for none;
            the owner may replace it at any time. It is called directly, ten thousand times a message, so
            it should be a function written in C.
    """

    __slots__ = ("index", "lane", "write")

    write: Callable[[bytes], int]
    lane: Lane | None
    index: int

    def __init__(self) -> None:
        self.lane = None
        self.index = -1

    def owe(self, data: bytes) -> None:
        """Take bytes that `write` has not taken; they come before anything written later."""
        raise NotImplementedError


class _Gone(Subscription):
    """Takes the place of a member that left during a fan-out."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.write = len

    def owe(self, data: bytes) -> None:
        """Nothing is owed to who has left."""


_GONE = _Gone()


def _write(data: bytes, subscriptions: Iterable[Subscription]) -> None:
    """Write `data` to each of `subscriptions`."""
    size = len(data)
    for subscription in subscriptions:
        try:
            taken = subscription.write(data)
        except OSError:  # full, or broken: the owner finds out which
            subscription.owe(data)
        else:
            if taken != size:
                subscription.owe(data[taken:])


class Lane:
    """The subscriptions of a channel that get the same bytes."""

    __slots__ = ("channel", "filter", "format", "holes", "joining", "members", "topic_text")

    def __init__(self, channel: _Channel, format: Format, filter: Filter | None, topic_text: str) -> None:
        self.channel = channel
        self.format = format
        self.filter = filter
        self.topic_text = topic_text
        self.members: list[Subscription] = []
        self.holes = 0
        # Who came while a fan-out was under way -> the announce number after which its messages begin
        self.joining: dict[Subscription, int] = {}

    def add(self, subscription: Subscription) -> None:
        """Make a full member; batches that have begun do not reach it."""
        subscription.index = len(self.members)
        self.members.append(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Remove a member or somebody still joining."""
        if self.joining.pop(subscription, None) is not None:
            return
        members, index = self.members, subscription.index
        if self.channel.running:
            members[index] = _GONE  # the batch in flight counts places, so nobody may move now
            self.holes += 1
        else:
            last = members.pop()
            if last is not subscription:
                members[index] = last
                last.index = index

    def close_holes(self) -> None:
        """Move up after a fan-out in which members left."""
        self.members = [member for member in self.members if member is not _GONE]
        for index, member in enumerate(self.members):
            member.index = index
        self.holes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return not self.joining and len(self.members) == self.holes


class _Channel:
    """The subscriptions that asked for the same set of topics."""

    __slots__ = (
        "_batch",
        "_counters",
        "_made",
        "_partial",
        "_waiting",
        "lanes",
        "queue",
        "running",
        "topics",
    )

    def __init__(self, topics: tuple[str, ...], counters: Counters) -> None:
        self.topics = topics
        self._counters = counters
        self.lanes: dict[tuple[Format, Filter | None, str], Lane] = {}
        self.queue: list[tuple[int, Published]] = []
        self.running = False
        # The batch in flight: its messages, their bytes in each format, the lanes it has not come to yet,
        # and of the lane it is in: (bytes, members, next place, end)
        self._batch: list[tuple[int, Published]] = []
        self._made: dict[Format, list[bytes]] = {}
        self._waiting: list[Lane] = []
        self._partial: tuple[bytes, list[Subscription], int, int] | None = None

    def advance(self, budget: int) -> int:
        """Do about `budget` writes of the batch in flight, or of a new one; return how much was done."""
        if not self.running:
            self._batch, self.queue = self.queue, []
            self._waiting = list(self.lanes.values())
            self.running = True
        done = 0
        while done < budget:
            if self._partial is None:
                if not self._waiting:
                    self._finish()
                    break
                done += self._enter(self._waiting.pop())
            else:
                data, members, place, end = self._partial
                stop = min(end, place + budget - done)
                _write(data, members[place:stop])
                done += stop - place
                self._partial = (data, members, stop, end) if stop < end else None
        return done

    def _enter(self, lane: Lane) -> int:
        """Make the lane's bytes and admit who came since the last batch; return how much work that was."""
        batch = self._batch
        if lane.filter is not None and len(batch) == 1 and not lane.joining:
            if not lane.filter.accepts(batch[0][1].message):
                return 1  # so no bytes have to be made: with many lanes this is the commonest case
        frames = self._made.get(lane.format)
        if frames is None:
            frame = lane.format.frame
            frames = self._made[lane.format] = [frame(published) for _, published in batch]
        count = len(lane.members)
        admitted = _admit(lane, batch, frames, self._counters) if lane.joining else 0
        if count:
            data, messages = _joined(lane.filter, batch, frames, 0)
            if data:
                self._partial = (data, lane.members, 0, count)
                self._counters.deliveries += messages * count
        return admitted + 1

    def _finish(self) -> None:
        self.running = False
        self._batch = []
        self._made = {}
        for lane in self.lanes.values():
            if lane.holes:
                lane.close_holes()
            if not self.queue and lane.joining:
                for subscription in lane.joining:
                    lane.add(subscription)
                lane.joining.clear()


def _admit(
    lane: Lane, batch: Sequence[tuple[int, Published]], frames: Sequence[bytes], counters: Counters
) -> int:
    """Make members of who came before the batch was complete, and write to each what came after it."""
    made: dict[int, tuple[bytes, int]] = {}
    last = batch[-1][0]
    admitted = {one: number for one, number in lane.joining.items() if number < last}
    for subscription, joined_at in admitted.items():
        del lane.joining[subscription]
        first = next(place for place, (number, _) in enumerate(batch) if number > joined_at)
        if first not in made:
            made[first] = _joined(lane.filter, batch, frames, first)
        data, messages = made[first]
        lane.add(subscription)
        if data:
            _write(data, (subscription,))
            counters.deliveries += messages
    return len(admitted)


def _joined(
    filter: Filter | None, batch: Sequence[tuple[int, Published]], frames: Sequence[bytes], first: int
) -> tuple[bytes, int]:
    """Return what passes `filter`, from place `first` of the batch on, as one piece, and how many that is."""
    if filter is not None:
        accepts = filter.accepts
        passing = [frames[place] for place in range(first, len(batch)) if accepts(batch[place][1].message)]
        return b"".join(passing), len(passing)
    return (frames[0], 1) if len(frames) == 1 else (b"".join(frames[first:]), len(frames) - first)


class Hub:
    """All live subscriptions of this process.

    Args:
        call_soon: schedules a callback on the event loop, after what is ready now.
        slice_size: how many writes are done before others get the loop.
        counters: where it is counted what subscribers are handed, a lane at a time.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        slice_size: int = SLICE,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._call_soon = call_soon
        self._slice_size = slice_size
        self._channels: dict[tuple[str, ...], _Channel] = {}
        self._by_topic: dict[str, list[_Channel]] = {}
        self._ready: deque[_Channel] = deque()
        self._turning = False
        self._number = 0

    def subscribe(
        self,
        subscription: Subscription,
        topics: tuple[str, ...],
        topic_text: str,
        format: Format,
        filter: Filter | None = None,
    ) -> None:
        """Add `subscription`: it gets every message announced from now on, and none from before."""
        key = topics if len(topics) == 1 else tuple(sorted(topics))
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(key, self._counters)
            for topic in key:
                self._by_topic.setdefault(topic, []).append(channel)
        lane_key = (format, filter, topic_text)
        lane = channel.lanes.get(lane_key)
        if lane is None:
            lane = channel.lanes[lane_key] = Lane(channel, format, filter, topic_text)
        subscription.lane = lane
        if channel.running or channel.queue:
            lane.joining[subscription] = self._number
        else:
            lane.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove `subscription`; does nothing if it is not there."""
        lane = subscription.lane
        if lane is None:
            return
        subscription.lane = None
        lane.discard(subscription)
        channel = lane.channel
        if not channel.running and not channel.queue and lane.is_empty:
            self._forget(lane)

    def announce(self, published: Sequence[Published]) -> None:
        """Queue messages for everybody who asked for their topics; the writes follow on the event loop."""
        for message in published:
            self._number += 1
            for channel in self._by_topic.get(message.message.topic, ()):
                if not channel.queue and not channel.running:
                    self._ready.append(channel)
                channel.queue.append((self._number, message))
        if self._ready and not self._turning:
            self._turning = True
            self._call_soon(self._turn)

    def subscriptions(self) -> Iterator[Subscription]:
        """Yield everybody; the hub must not change meanwhile (take a list to change it)."""
        for channel in self._channels.values():
            for lane in channel.lanes.values():
                yield from (member for member in lane.members if member is not _GONE)
                yield from lane.joining

    def is_heard(self, topic: str) -> bool:
        """Whether somebody listens to `topic`."""
        return topic in self._by_topic

    @property
    def topics(self) -> int:
        """How many topics somebody listens to."""
        return len(self._by_topic)

    async def keepalive(self, pause: Callable[[], Awaitable[object]]) -> None:
        """Send everybody a keepalive, awaiting `pause` between slices.

        Whoever subscribes meanwhile may be left out; nobody else is, though one may get two.
        """
        done = 0
        for channel in list(self._channels.values()):
            for lane in list(channel.lanes.values()):
                frame = lane.format.keepalive(lane.topic_text)
                # Backwards, because leaving moves the last member into the gap: one that has been served.
                place = len(lane.members)
                while place > 0:
                    start = max(0, place - self._slice_size)
                    _write(frame, lane.members[start:place])
                    done += place - start
                    place = start
                    if done >= self._slice_size:
                        done = 0
                        await pause()

    def _turn(self) -> None:
        """Advance the channels with work in turn, until a slice's worth of writes is done."""
        budget = self._slice_size
        ready = self._ready
        while ready and budget > 0:
            channel = ready.popleft()
            budget -= max(1, channel.advance(budget))
            if channel.running or channel.queue:
                ready.append(channel)
            else:
                self._tidy(channel)
        if ready:
            self._call_soon(self._turn)
        else:
            self._turning = False

    def _tidy(self, channel: _Channel) -> None:
        """Forget lanes that emptied during a fan-out."""
        for lane in [lane for lane in channel.lanes.values() if lane.is_empty]:
            self._forget(lane)

    def _forget(self, lane: Lane) -> None:
        channel = lane.channel
        channel.lanes.pop((lane.format, lane.filter, lane.topic_text), None)
        if channel.lanes or self._channels.get(channel.topics) is not channel:
            return
        del self._channels[channel.topics]
        for topic in channel.topics:
            listening = self._by_topic[topic]
            listening.remove(channel)
            if not listening:
                del self._by_topic[topic]
