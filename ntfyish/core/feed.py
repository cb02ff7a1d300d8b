"""The one subscribe path: join the hub first, then read history up to where the hub began.

A message is either in the history (its `seq` is at most the head at the moment of joining) or announced
after joining, never both and never neither; so there is no gap and no duplicate between the two, without
looking at a single live message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ntfyish.core.hub import Format, Hub, Subscription
from ntfyish.core.ports import Clock, MessageStore, Shape
from ntfyish.model.line import decode
from ntfyish.model.query import Query, SinceKind


class HistoryFormat(Format, Protocol):
    """A format that can also write messages from their stored lines.

    Attributes:
        shape: how SQLite may join the lines of one topic; None if the lines must be looked at.
    """

    @property
    def shape(self) -> Shape | None:
        """How SQLite may join lines."""

    def rows(self, rows: Sequence[tuple[str, bytes]]) -> bytes:
        """Return the complete bytes of stored messages, given as (id, line)."""

    def joined(self, data: bytes) -> bytes:
        """Return the complete bytes of what was joined in `shape`."""


class Feed:
    """Subscribes readers and reads their history."""

    def __init__(self, store: MessageStore, hub: Hub, clock: Clock) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock

    def join(self, subscription: Subscription, query: Query, format: Format) -> int:
        """Make `subscription` live and return the head: everything later comes to it by itself."""
        filter = None if query.filter.passes_everything else query.filter
        self._hub.subscribe(subscription, query.topics, query.topic_text, format, filter)
        return self._store.head

    def leave(self, subscription: Subscription) -> None:
        """End a subscription; does nothing if it has ended."""
        self._hub.unsubscribe(subscription)

    @property
    def head(self) -> int:
        """The newest `seq` that has been announced."""
        return self._store.head

    async def history(self, query: Query, format: HistoryFormat, head: int) -> AsyncIterator[bytes]:
        """Yield what `query` asks for from the cache, up to `head`, in pieces ready for the wire.

        Raises:
            Unavailable: the store cannot be read.
        """
        if query.since.kind is SinceKind.NONE:
            return
        now = self._clock.now()
        unfiltered = query.filter.passes_everything
        if unfiltered and len(query.topics) == 1 and not query.scheduled and format.shape is not None:
            async for data in self._store.replay_joined(
                query.topics[0], query.since, head, now, format.shape
            ):
                yield format.joined(data)
            return
        accepts = query.filter.accepts
        async for rows in self._store.replay(query.topics, query.since, head, now, scheduled=query.scheduled):
            passed = rows if unfiltered else [row for row in rows if accepts(decode(row[1]))]
            if passed:
                yield format.rows(passed)
