"""Empties the outbox of pushes: a lane (`lane`) for each destination that there is a sender for.

The timetable calls `run_due` when a lane has named a time, and `fan_out` calls `wake` when it has entered
something. A destination that hangs, fails or refuses us holds up no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from ntfyish.core.ports import PushSender
from ntfyish.core.pushes.lane import LaneParts, PushLane
from ntfyish.model.errors import Unavailable

_log = logging.getLogger(__name__)

_MOST_IDLE = 64
_MOST_UNKNOWN = 256

FindSender = Callable[[str], PushSender | None]


class PushLanes:
    """Owns the lanes; a context manager. Leaving it cuts off what is under way, and writes what is known.

    Args:
        find_sender: returns what pushes to a destination; None for one that the configuration does not have.
    """

    def __init__(self, parts: LaneParts, find_sender: FindSender) -> None:
        self._parts = parts
        self._find_sender = find_sender
        self._lanes: dict[str, PushLane] = {}
        self._unknown: set[str] = set()
        self._early: set[str] = set()
        self._has_begun = False
        self._has_looked = False
        self._is_stopping = False

    async def __aenter__(self) -> PushLanes:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_stopping = True
        for lane in self._lanes.values():
            lane.end()
        await self._parts.tasks.drain(0)
        for lane in self._lanes.values():
            try:
                await lane.finish()
            except Unavailable as error:
                _log.warning("Some pushes are made again: %s", error.reason.name)

    async def run_due(self, now: float) -> float | None:
        """Do what is due; return when to be called again, in Unix seconds."""
        if not self._has_begun:
            await self._parts.backlog.recall()
            self._has_begun = True
        if not self._has_looked:
            await self._parts.backlog.look(self._expect)
            self._has_looked = True
            self.wake(self._early)
            self._early.clear()
        for lane in list(self._lanes.values()):
            lane.look()
        self._forget()
        return min((at for lane in self._lanes.values() if (at := lane.next_at) < float("inf")), default=None)

    def wake(self, destinations: Collection[str]) -> None:
        """Begin at once with what has been entered for these destinations."""
        now = self._parts.clock.now()
        if not self._has_looked:  # what is on its way to the store may be missed by the first look
            self._early.update(destinations)
        for destination in destinations:
            self._expect(destination, now)

    async def sweep(self) -> None:
        """End and delete what is old, and look after everything that waits."""
        await self._parts.backlog.sweep()
        await self._parts.backlog.look(self._expect)

    async def finish(self) -> None:
        """Begin no more pushes, and return when those under way have ended and are written down."""
        self._is_stopping = True
        for lane in self._lanes.values():
            lane.stop()
        while not all(lane.is_quiet for lane in self._lanes.values()):
            await self._parts.ended.wait()
            self._parts.ended.clear()

    def _expect(self, destination: str, due_at: float) -> None:
        if self._is_stopping or not self._has_begun:  # what is there at the start is found then
            return
        lane = self._lanes.get(destination)
        if lane is None:
            sender = self._find_sender(destination)
            if sender is None:
                self._warn(destination)
                return
            lane = self._lanes[destination] = PushLane(destination, sender, self._parts)
        lane.expect(due_at)

    def _warn(self, destination: str) -> None:
        if destination not in self._unknown and len(self._unknown) < _MOST_UNKNOWN:
            self._unknown.add(destination)
            _log.warning("Pushes to %s wait: the configuration has no such app or service", destination)

    def _forget(self) -> None:
        """Drop lanes without work: there may be as many as hosts of browsers' push services."""
        if len(self._lanes) > _MOST_IDLE:
            for lane in list(self._lanes.values()):
                if lane.is_forgettable:
                    del self._lanes[lane.destination]
