"""A clock that moves only when a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


# Turns of the event loop that whoever wakes may need to sleep again
_TURNS = 30


class FakeClock:
    """The `Clock` of a server under test."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._numbers), future))
        await future

    def set_wall(self, now: float) -> None:
        """Set the wall clock, as an administrator would; nobody wakes from it."""
        self._now = now

    async def advance(self, seconds: float) -> None:
        """Move time and wake who slept until then, in order, giving each its turn."""
        target = self._monotonic + seconds
        await _turns()  # somebody may be awake already, and about to sleep again
        while True:
            if not self._is_due(target):
                await _turns()
                if not self._is_due(target):
                    break
            due, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._now += due - self._monotonic
            self._monotonic = due
            future.set_result(None)
            await _turns()
        if target > self._monotonic:
            self._now += target - self._monotonic
            self._monotonic = target
        await _turns()

    def _is_due(self, target: float) -> bool:
        # Sums of floats miss by a hair
        return bool(self._sleepers) and self._sleepers[0][0] <= target + 1e-6


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
