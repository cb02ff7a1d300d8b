"""Runs the errands of the outbox: claims what is due, hands it to whoever does that kind, and tries again.

Of each kind so many are under way at once, and to each destination one, so that a mail server or another
server that hangs delays nobody but itself. A kind whose errands would all fail can be paused; then one goes
alone, to see whether the others may follow. A claim is a lease, and what a crash interrupts is what the next
server begins with, so an errand is done at least once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from ntfyish.core.ports import ClaimedErrand, Clock, Outbox, StoreExtra
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Unavailable

_log = logging.getLogger(__name__)

LEASE_S = 60.0
LONGEST_PAUSE_S = 3600.0
_AFTER_FAILURE_S = 60.0
_DROP_BATCH = 500
_NO_PATIENCE: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Done:
    """An errand needs no more attention: it has been done, or given up; `extras` are written with that."""

    extras: tuple[StoreExtra, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """An errand has failed and is due again at `due_at` (Unix seconds)."""

    due_at: float


@dataclass(frozen=True, slots=True)
class Pause:
    """An errand has failed, and so would all others of its kind: none is begun before `until` (Unix seconds).

    That is at most `LONGEST_PAUSE_S` away.
    """

    until: float


class ErrandRunner(Protocol):
    """Does the errands of one kind."""

    async def run(self, claimed: ClaimedErrand) -> Done | Again | Pause:
        """Do one, within `LEASE_S` seconds, and say what became of it."""


class Errands:
    """Does what is in the outbox.

    Args:
        runners: kind -> who does it. Errands of other kinds stay as they are, for a later version.
        due: called with the Unix seconds at which `run_due` is to be called.
        most: errands of one kind under way at once.
        patience_s: kind -> how many seconds after it was entered an errand is of no more use to anybody, and
            given up. Those of other kinds wait as long as it takes.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        tasks: Tasks,
        runners: Mapping[str, ErrandRunner],
        *,
        due: Callable[[float], None],
        most: int = 32,
        patience_s: Mapping[str, float] = _NO_PATIENCE,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._tasks = tasks
        self._lanes = {
            kind: _Lane(runner, most, patience_s.get(kind, float("inf"))) for kind, runner in runners.items()
        }
        self._due = due
        self._patience_s = patience_s
        self._has_begun = False

    async def run_due(self, now: float) -> float | None:
        """Start what is due and has room; return when to be called again, in Unix seconds.

        Whatever waits for room, or for its destination, is started when there is: `due` is called then.
        """
        if not self._has_begun:  # a server that was killed has left claims behind
            await self._outbox.recall_errands(now, now + LEASE_S)
            self._has_begun = True
        rooms = self._rooms(now)
        if rooms:
            for claimed in await self._outbox.claim(now, now + LEASE_S, rooms, self._busy()):
                # It may be under way for longer than its lease, as by a clock that is set forward.
                if claimed.entry not in self._lanes[claimed.errand.kind].under_way:
                    self._begin(claimed)
        resumed = [lane.paused_until for lane in self._lanes.values() if lane.is_paused(now)]
        next_at = await self._outbox.next_errand(list(self._rooms(now)), self._busy())
        return min(resumed if next_at is None else (*resumed, next_at), default=None)

    async def drop_late(self) -> None:
        """Delete the errands that have waited for their turn for longer than their kind's patience."""
        now = self._clock.now()
        for kind, patience_s in self._patience_s.items():
            dropped = 0
            count = _DROP_BATCH
            while count == _DROP_BATCH:
                count = await self._outbox.drop_errands(kind, now - patience_s, _DROP_BATCH)
                dropped += count
            if lane := self._lanes.get(kind):
                dropped += lane.late
                lane.late = 0
            if dropped:
                _log.warning("%d errands of kind %s came too late and were dropped", dropped, kind)

    def _rooms(self, now: float) -> dict[str, int]:
        """Return how many errands may be begun, of the kinds that have room for any."""
        return {kind: room for kind, lane in self._lanes.items() if (room := lane.room(now)) > 0}

    def _busy(self) -> list[str]:
        return [one for lane in self._lanes.values() for one in lane.under_way.values() if one]

    def _begin(self, claimed: ClaimedErrand) -> None:
        errand = claimed.errand
        lane = self._lanes[errand.kind]
        lane.under_way[claimed.entry] = errand.destination
        self._tasks.spawn(self._do(lane, claimed, is_trial=lane.on_trial), f"{errand.kind} {claimed.entry}")

    async def _do(self, lane: _Lane, claimed: ClaimedErrand, is_trial: bool) -> None:
        outcome: Done | Again | Pause = Again(self._clock.now() + _AFTER_FAILURE_S)
        try:
            if self._clock.now() - claimed.created_at > lane.patience_s:
                lane.late += 1
                outcome, is_trial = Done(), False
            else:
                outcome = await lane.runner.run(claimed)
        finally:
            lane.note(outcome, is_trial)
            try:
                await self._note(claimed, outcome)
            finally:
                del lane.under_way[claimed.entry]
                self._due(self._clock.now())

    async def _note(self, claimed: ClaimedErrand, outcome: Done | Again | Pause) -> None:
        try:
            if isinstance(outcome, Done):
                await self._outbox.finish(claimed, outcome.extras)
            else:
                due_at = outcome.until if isinstance(outcome, Pause) else outcome.due_at
                await self._outbox.postpone(claimed, due_at)
        except Unavailable as error:  # its lease runs out, and it is done again
            _log.warning("%s %d is not noted: %s", claimed.errand.kind, claimed.entry, error.reason.name)


class _Lane:
    """The errands of one kind.

    Attributes:
        under_way: entry -> destination of those that are being done.
        paused_until: Unix seconds.
        on_trial: whether there has been a pause, and none has succeeded since.
        late: how many were given up because of `patience_s`, and not told of yet.
    """

    __slots__ = ("_most", "late", "on_trial", "patience_s", "paused_until", "runner", "under_way")

    def __init__(self, runner: ErrandRunner, most: int, patience_s: float) -> None:
        self.runner = runner
        self._most = most
        self.patience_s = patience_s
        self.late = 0
        self.under_way: dict[int, str] = {}
        self.paused_until = 0.0
        self.on_trial = False

    def is_paused(self, now: float) -> bool:
        """Whether none may be begun. A pause is over, too, if the clock has been set back before it."""
        return now < self.paused_until <= now + LONGEST_PAUSE_S

    def room(self, now: float) -> int:
        """Return how many may be begun."""
        if self.is_paused(now):
            return 0
        return (1 if self.on_trial else self._most) - len(self.under_way)

    def note(self, outcome: Done | Again | Pause, is_trial: bool) -> None:
        """Take in what became of one. What was begun before a pause says nothing about its end."""
        if isinstance(outcome, Pause):
            self.paused_until = max(self.paused_until, outcome.until)
            self.on_trial = True
        elif is_trial:
            self.on_trial = False
