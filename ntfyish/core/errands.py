"""Runs the errands of the outbox: claims what is due, hands it to whoever does that kind, and tries again.

One errand to each destination is under way at a time, and so many altogether, so that a destination that
hangs delays nobody but itself. A claim is a lease: what a crash interrupts is done again, so an errand is
done at least once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ntfyish.core.ports import ClaimedErrand, Clock, Outbox, StoreExtra
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Unavailable

_log = logging.getLogger(__name__)

LEASE_S = 60.0
_AFTER_FAILURE_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """An errand needs no more attention: it has been done, or given up; `extras` are written with that."""

    extras: tuple[StoreExtra, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """An errand has failed and is due again at `due_at` (Unix seconds)."""

    due_at: float


class ErrandRunner(Protocol):
    """Does the errands of one kind."""

    async def run(self, claimed: ClaimedErrand) -> Done | Again:
        """Do one, within `LEASE_S` seconds, and say what became of it."""


class Errands:
    """Does what is in the outbox.

    Args:
        runners: kind -> who does it. Errands of other kinds are put off, in case a later version knows them.
        due: called with the Unix seconds at which `run_due` is to be called.
        most: errands under way at once.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        tasks: Tasks,
        runners: Mapping[str, ErrandRunner],
        *,
        due: Callable[[float], None],
        most: int = 64,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._tasks = tasks
        self._runners = runners
        self._due = due
        self._most = most
        self._under_way: dict[int, str] = {}

    async def run_due(self, now: float) -> float | None:
        """Start what is due and has room; return when to be called again, in Unix seconds.

        Whatever waits for room, or for its destination, is started when there is: `due` is called then.
        """
        while (room := self._most - len(self._under_way)) > 0:
            found = await self._outbox.claim(now, now + LEASE_S, self._busy(), room)
            for claimed in found:
                self._under_way[claimed.entry] = claimed.errand.destination
                self._tasks.spawn(self._do(claimed), f"{claimed.errand.kind} {claimed.entry}")
            if len(found) < room:
                return await self._outbox.next_errand(self._busy())
        return None

    def _busy(self) -> list[str]:
        return [destination for destination in self._under_way.values() if destination]

    async def _do(self, claimed: ClaimedErrand) -> None:
        outcome: Done | Again = Again(self._clock.now() + _AFTER_FAILURE_S)
        try:
            if (runner := self._runners.get(claimed.errand.kind)) is not None:
                outcome = await runner.run(claimed)
        finally:
            try:
                await self._note(claimed, outcome)
            finally:
                del self._under_way[claimed.entry]
                self._due(self._clock.now())

    async def _note(self, claimed: ClaimedErrand, outcome: Done | Again) -> None:
        try:
            if isinstance(outcome, Done):
                await self._outbox.finish(claimed, outcome.extras)
            else:
                await self._outbox.postpone(claimed, outcome.due_at)
        except Unavailable as error:  # its lease runs out, and it is done again
            _log.warning("%s %d is not noted: %s", claimed.errand.kind, claimed.entry, error.reason.name)
