"""How many pushes wait, and the end of those that have waited for too long.

The number is kept in memory, as exactly as is needed to know when the outbox is full, and read anew with
every sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ntfyish.core.counters import Counters
from ntfyish.core.ports import Clock, PushOutbox
from ntfyish.model.push import PushState

_log = logging.getLogger(__name__)

_BATCH = 500
_ALARM_S = 60.0
_LOOK_S = 1.0
_SET_BACK_S = 10.0

Waiting = Callable[[str, float], None]


class PushBacklog:
    """Knows how many pushes wait; ends and deletes old ones.

    Args:
        limit: pushes that may wait.
        retry_s: how long a push may wait.
        kept_s: how long it is known what became of it.

    Attributes:
        pending: how many wait, about.
    """

    def __init__(
        self,
        outbox: PushOutbox,
        clock: Clock,
        counters: Counters,
        *,
        limit: int,
        retry_s: float,
        kept_s: float,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._counters = counters
        self._limit = limit
        self._retry_s = retry_s
        self._kept_s = kept_s
        self._looked_at = float("-inf")
        self._alarmed_at = float("-inf")
        self._dropped = 0
        self._wall_ahead_s = float("-inf")
        self.pending = 0

    async def take(self, count: int, *, is_strangers: bool = False) -> int:
        """Return for how many of `count` more pushes there is room; they count as waiting from now on.

        Args:
            is_strangers: they are for devices that anybody can register, which may name services that never
                answer: they get no more than half of the room, or those whom the operator knows had none.

        Raises:
            Unavailable: as the outbox.
        """
        if not count:
            return 0
        limit = (self._limit + 1) // 2 if is_strangers else self._limit
        if self.pending + count > limit and self._clock.monotonic() >= self._looked_at + _LOOK_S:
            await self.look()
        room = min(count, max(0, limit - self.pending))
        self.pending += room
        if room < count:
            self._alarm(count - room)
        return room

    def give(self, count: int) -> None:
        """Note that so many do not wait any more."""
        self.pending = max(0, self.pending - count)

    async def recall(self) -> None:
        """Have everything that waits tried at once: a server that was killed has left claims behind.

        What had been put off for its failures is tried early once, as the cause may have gone with a restart.
        """
        self._wall_ahead_s = self._clock.now() - self._clock.monotonic()
        if count := await self._outbox.recall_pushes(self._clock.now()):
            _log.info("%d pushes were left when the server last ended; they are made now", count)

    async def look(self, tell: Waiting = lambda destination, due_at: None) -> None:
        """Count what waits.

        Args:
            tell: called with each destination, and when (Unix seconds) the first push to it is due.
        """
        self._looked_at = self._clock.monotonic()
        waiting = await self._outbox.waiting_destinations()
        self.pending = sum(count for _, _, count in waiting)
        for destination, due_at, _ in waiting:
            tell(destination, due_at)

    def is_over(self, created_at: float, expires_at: float, now: float) -> bool:
        """Whether a push of a message is of no more use."""
        return expires_at <= now or created_at < now - self._retry_s

    async def sweep(self) -> None:
        """End what has waited for too long, and forget what ended long ago.

        If the wall clock has been set back, what waits is due long after it was meant to be: then it is all
        made due first.
        """
        wall_ahead_s = self._clock.now() - self._clock.monotonic()
        if wall_ahead_s < self._wall_ahead_s - _SET_BACK_S:
            await self._outbox.recall_pushes(self._clock.now())
        self._wall_ahead_s = wall_ahead_s
        now = self._clock.now()
        count = _BATCH
        while count == _BATCH:
            ended = await self._outbox.expire_pushes(now, now - self._retry_s, _BATCH)
            count = sum(ended.values())
            for kind, amount in ended.items():
                self._counters.push_results[kind.value, PushState.EXPIRED.value] += amount
        while await self._outbox.purge_pushes(now - self._kept_s, _BATCH) == _BATCH:
            pass

    def _alarm(self, dropped: int) -> None:
        self._dropped += dropped
        now = self._clock.monotonic()
        if now >= self._alarmed_at + _ALARM_S:
            _log.error(
                "push-queue-limit: %d pushes wait already, %d more are dropped", self.pending, self._dropped
            )
            self._alarmed_at = now
            self._dropped = 0
