"""A clock that moves only when a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any

# Turns of the event loop that whoever wakes may need to sleep again
_TURNS = 30


class FakeClock:
    """The `Clock` of a server under test. Counts whole microseconds, so that sums come out exactly."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._wall = now
        self._passed_us = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> float:
        return self._wall + self._passed_us / 1e6

    def monotonic(self) -> float:
        return 1_000.0 + self._passed_us / 1e6

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        # The seconds count from the call, not from when whoever called gets round to awaiting: in between
        # the clock may have jumped, and nobody would move it again.
        return self._sleep_until(self._passed_us + (max(1, round(seconds * 1e6)) if seconds > 0 else 0))

    async def _sleep_until(self, due_us: int) -> None:
        if due_us <= self._passed_us:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due_us, next(self._numbers), future))
        await future

    def set_wall(self, now: float) -> None:
        """Set the wall clock, as an administrator would; nobody wakes from it."""
        self._wall = now - self._passed_us / 1e6

    async def leap(self, seconds: float) -> None:
        """Move time in one step, as when a machine slept: who would have woken ten times wakes once."""
        self._passed_us += round(seconds * 1e6)
        self._sleepers = [(max(due_us, self._passed_us), place, one) for due_us, place, one in self._sleepers]
        heapq.heapify(self._sleepers)
        await self.advance(0)

    async def advance(self, seconds: float) -> None:
        """Move time and wake who slept until then, in order, giving each its turn."""
        target_us = self._passed_us + round(seconds * 1e6)
        await self._let_run()
        while await self._is_due(target_us):
            self._passed_us, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                await self._let_run()
        self._passed_us = target_us
        await self._let_run()

    async def _is_due(self, target_us: int) -> bool:
        """Whether anybody sleeps until then or less, also if they are awake and only about to sleep again."""
        for _ in range(2):
            if self._sleepers and self._sleepers[0][0] <= target_us:
                return True
            await self._let_run()
        return bool(self._sleepers) and self._sleepers[0][0] <= target_us

    async def _let_run(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
