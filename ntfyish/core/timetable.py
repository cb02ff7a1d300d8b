"""One loop that sleeps to the next due moment and starts what is due then.

A duty is either periodic (`every`) or names its own next moment (`when_due`). Each runs in a task of its
own, one at a time per duty, so that a slow one (a sweep, a locked store) does not hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks, race
from ntfyish.model.errors import Unavailable

_log = logging.getLogger(__name__)

# The wall clock may be set while we sleep: look again at least this often.
_LONGEST_SLEEP_S = 10.0
_AFTER_FAILURE_S = 1.0

Run = Callable[[], Awaitable[float]]


class _Duty:
    """Something to do at a time.

    Attributes:
        next_at: Unix seconds (wall clock) or monotonic seconds, as `wall` says.
        run: does it and returns the next moment, on the same clock.
    """

    __slots__ = ("name", "next_at", "run", "running", "wall")

    def __init__(self, name: str, run: Run, next_at: float, *, wall: bool) -> None:
        self.name = name
        self.run = run
        self.next_at = next_at
        self.wall = wall
        self.running = False


class Timetable:
    """Owns the duties; `run` is its loop."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._duties: dict[str, _Duty] = {}
        self._wake = asyncio.Event()

    def every(self, name: str, period_s: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` every `period_s` seconds, for the first time after one period."""

        async def run() -> float:
            await work()
            return self._clock.monotonic() + period_s

        self._duties[name] = _Duty(name, run, self._clock.monotonic() + period_s, wall=False)

    def when_due(self, name: str, work: Callable[[float], Awaitable[float | None]]) -> None:
        """Call ``work(now)`` at start, then at the Unix seconds that it returned last or `note` named."""

        async def run() -> float:
            due = await work(self._clock.now())
            return float("inf") if due is None else due

        self._duties[name] = _Duty(name, run, 0.0, wall=True)

    def note(self, name: str, due_at: float) -> None:
        """Tell that duty `name` has something to do at `due_at` (Unix seconds)."""
        duty = self._duties[name]
        if due_at < duty.next_at or duty.running:
            duty.next_at = min(duty.next_at, due_at)
            self._wake.set()

    async def run(self) -> None:
        """Start what is due, for ever."""
        while True:
            self._wake.clear()
            wait_s = _LONGEST_SLEEP_S
            for duty in self._duties.values():
                if duty.running:
                    continue
                left_s = duty.next_at - (self._clock.now() if duty.wall else self._clock.monotonic())
                if left_s <= 0:
                    duty.running = True
                    duty.next_at = float("inf")
                    self._tasks.spawn(self._do(duty), duty.name)
                else:
                    wait_s = min(wait_s, left_s)
            await self._sleep(wait_s)

    async def _do(self, duty: _Duty) -> None:
        clock = self._clock.now if duty.wall else self._clock.monotonic
        next_at = clock() + _AFTER_FAILURE_S
        try:
            next_at = await duty.run()
        except Unavailable as error:
            _log.warning("%s: %s; trying again", duty.name, error.reason.name)
        finally:
            duty.running = False
            duty.next_at = min(duty.next_at, next_at)  # `note` may have named an earlier one meanwhile
            self._wake.set()

    async def _sleep(self, seconds: float) -> None:
        """Return after `seconds` or when woken."""
        await race(self._clock.sleep(seconds), self._wake.wait(), name="timetable")
