"""Connections that carry a feed, detached from the HTTP server once the header is out.

A live subscription costs a transport and one object with slots: no task, queue or timer. As long as its
reader keeps up, its `write` goes straight to the socket, past the transport; what the kernel does not take
goes to the transport, and so does everything after it until that is empty again. A reader that owes more
than the cap is cut by aborting the connection: nobody else waits, and it resumes with `since=`.

A stream keeps the grant it was opened by. When people change, all streams are looked at again, in slices,
and those whose grant does not hold any more are aborted; so are those whose token expires.

Streams end by aborting. A WebSocket Close frame from the server would make ntfy's apps stay away; only a
client that breaks the protocol or says goodbye itself gets one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ntfyish.core.access import Access, Grant
from ntfyish.core.counters import Counters
from ntfyish.core.feed import Feed
from ntfyish.core.hub import Subscription
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Unavailable
from ntfyish.model.query import Query, SinceKind
from ntfyish.web.formats import Format
from ntfyish.web.websocket import ClientFrames, Goodbye

_log = logging.getLogger(__name__)

EXPIRE_S = 1.0

_REPLAY_HIGH_WATER = 512 * 1024
_SLICE = 200


class Streams:
    """What all stream connections of a server share.

    Args:
        now: Unix seconds.
        backlog_bytes: what a reader may owe before it is cut.
        counters: where it is counted who is cut.
    """

    def __init__(
        self,
        feed: Feed,
        tasks: Tasks,
        access: Access,
        now: Callable[[], float],
        backlog_bytes: int,
        counters: Counters,
    ) -> None:
        self.feed = feed
        self.tasks = tasks
        self.access = access
        self.backlog_bytes = backlog_bytes
        self.open: set[StreamConnection] = set()
        self.counters = counters
        self._now = now
        self._expires_at = float("inf")
        self._stale = False
        self._checking = False

    def enter(self, connection: StreamConnection) -> None:
        """Take in a stream that begins."""
        self.open.add(connection)
        self._expires_at = min(self._expires_at, connection.grant.expires_at)

    def recheck(self) -> None:
        """Look at the grants of all streams again, soon; for when people have changed."""
        self._stale = True
        if not self._checking:
            self._checking = True
            self.tasks.spawn(self._recheck(), "recheck")

    async def expire(self) -> None:
        """End the streams whose token has expired. Costs nothing while there are none."""
        if self._expires_at <= self._now():
            self.recheck()

    async def _recheck(self) -> None:
        try:
            while self._stale:
                self._stale = False
                # Those that come meanwhile say themselves when they expire, and have the newest grants.
                self._expires_at = float("inf")
                connections = list(self.open)
                for start in range(0, len(connections), _SLICE):
                    for connection in connections[start : start + _SLICE]:
                        self._check(connection)
                    await asyncio.sleep(0)
        finally:
            self._checking = False

    def _check(self, connection: StreamConnection) -> None:
        grant = self.access.renew(connection.grant)
        if grant is None:
            connection.abort()
        elif connection in self.open:
            connection.grant = grant
            self._expires_at = min(self._expires_at, grant.expires_at)

    def abort_all(self) -> None:
        """End every stream, for the server's end."""
        for connection in list(self.open):
            connection.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A handler's answer to a subscribe request: what to send, and how.

    Attributes:
        grant: leave to read the query's topics.
        head: the response header (status line to blank line).
        websocket: whether the client sends WebSocket frames.
        keeps_alive: whether the connection can take another request after a poll.
        released: called once when the stream has ended.
    """

    streams: Streams
    grant: Grant
    query: Query
    format: Format
    head: bytes
    websocket: bool = False
    keeps_alive: bool = False
    released: Callable[[], None] | None = None

    def begin(self, transport: asyncio.Transport, then: Callable[[], None] | None) -> None:
        """Take over `transport`, whose request has been read completely.

        `then` is called after a poll that leaves the connection usable, with reading paused; without it
        the connection ends, and the header says so.
        """
        # People may have changed since the handler asked.
        grant = self.streams.access.renew(self.grant)
        if grant is None:
            transport.abort()
            if self.released is not None:
                self.released()
            return
        kind = WebSocketConnection if self.websocket else StreamConnection
        kind(self, grant, transport, then if self.keeps_alive else None)


class StreamConnection(asyncio.Protocol, Subscription):
    """One subscriber's connection: live, or still reading its history.

    While the history is being written, what is announced is held back and follows it.

    Attributes:
        grant: leave to read.
    """

    __slots__ = ("_drained", "_held", "_held_bytes", "_released", "_streams", "_transport", "grant")

    def __init__(
        self,
        stream: Stream,
        grant: Grant,
        transport: asyncio.Transport,
        then: Callable[[], None] | None,
    ) -> None:
        Subscription.__init__(self)
        self.grant = grant
        self._transport = transport
        self._streams = stream.streams
        self._released = stream.released
        self._drained: asyncio.Future[None] | None = None
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._streams.enter(self)
        transport.set_protocol(self)
        query = stream.query
        if query.poll:
            # What follows belongs to the next request; and who has no more to say may still listen.
            transport.pause_reading()
            head = self._streams.feed.head
            opening = stream.head
            if then is None and stream.keeps_alive:
                opening = opening.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
        else:
            transport.resume_reading()
            opening = stream.head + stream.format.opening(query.topic_text)
            self.write = self._hold
            self._held = []
            head = self._streams.feed.join(self, query, stream.format)
        if not query.poll and query.since.kind is SinceKind.NONE:
            self._go_live(opening)
        else:
            transport.set_write_buffer_limits(high=min(_REPLAY_HIGH_WATER, self._streams.backlog_bytes // 2))
            transport.write(opening)
            self._streams.tasks.spawn(self._replay(stream, head, then), "replay")

    @property
    def _is_replaying(self) -> bool:
        return self.lane is None or self._held is not None

    def abort(self) -> None:
        """End the stream at once."""
        self._end()
        self._transport.abort()

    def owe(self, data: bytes) -> None:
        """Leave to the transport what the socket has not taken."""
        self.write = self._write_behind
        self._write_behind(data)

    def _go_live(self, first: bytes) -> None:
        """Write `first` and what was held back, and from then on straight to the socket."""
        held = self._held or ()
        self._held = None
        # Any byte the transport keeps "pauses" us, so that it tells when it is empty again.
        self._transport.set_write_buffer_limits(high=0)
        self.write = self._write_behind
        self._transport.write(b"".join((first, *held)))
        if not self._transport.get_write_buffer_size():
            self._catch_up()

    def _catch_up(self) -> None:
        """Write past the transport, which has nothing left to write."""
        descriptor = self._transport.get_extra_info("socket").fileno()
        self.write = partial(os.write, descriptor)

    def _write_behind(self, data: bytes) -> int:
        """Write after what the transport still has; cut the reader if that is too much."""
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._streams.backlog_bytes:
            self._cut()
        return len(data)

    def _hold(self, data: bytes) -> int:
        if self._held is not None:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._streams.backlog_bytes:
                self._cut()
        return len(data)

    def _cut(self) -> None:
        self._streams.counters.streams_dropped += 1
        _log.debug("Cutting a reader that owes more than %d bytes", self._streams.backlog_bytes)
        self.abort()

    async def _replay(self, stream: Stream, head: int, then: Callable[[], None] | None) -> None:
        transport = self._transport
        complete = False
        try:
            async for data in self._streams.feed.history(stream.query, stream.format, head):
                if transport.is_closing():
                    return
                transport.write(data)
                if self._drained is not None:
                    await self._drained
            complete = not transport.is_closing()
        except Unavailable as error:
            _log.warning("A replay failed: %s", error.reason.name)
        finally:
            if not complete:
                self.abort()  # the header is out: this is the only error that the client can see
        if not complete:
            return
        if not stream.query.poll:
            self._go_live(b"")
            return
        transport.write(stream.format.end)
        self._end()
        if then is not None:
            then()
        else:
            transport.close()

    def _end(self) -> None:
        """Forget the subscription; its socket may live on."""
        self._streams.feed.leave(self)
        self._streams.open.discard(self)
        self._held = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        released, self._released = self._released, None
        if released is not None:
            released()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Ignore what a subscriber says."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the subscription."""
        self._end()

    def pause_writing(self) -> None:
        """Make a replay wait; a live stream does not, `_write_behind` counts what it owes."""
        if self._is_replaying:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let a replay go on; let a live stream write past the transport again."""
        drained, self._drained = self._drained, None
        if drained is not None:
            if not drained.done():
                drained.set_result(None)
        elif self.lane is not None and not self._is_replaying:
            self._catch_up()


class WebSocketConnection(StreamConnection):
    """A subscriber that speaks WebSocket: answers pings and goodbyes, ignores what else it says."""

    __slots__ = ("_frames",)

    def __init__(
        self,
        stream: Stream,
        grant: Grant,
        transport: asyncio.Transport,
        then: Callable[[], None] | None,
    ) -> None:
        self._frames = ClientFrames()
        super().__init__(stream, grant, transport, then)

    def data_received(self, data: bytes) -> None:
        """Take frames from the client."""
        try:
            replies = self._frames.feed(data, asyncio.get_running_loop().time())
        except Goodbye as goodbye:
            self._end()
            self._transport.write(goodbye.frame)
            self._transport.close()
            return
        if replies:
            # Not beside `write`: of a frame that the transport has begun, the socket may have a part only.
            (self.owe if self._held is None else self._hold)(replies)
