"""Reads of the message database: connections of their own, so that no reader waits for the writer.

Reads that queue up while a connection is at work are done together in its next hop to the thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, cast

from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import NtfyishError, Reason, Unavailable
from ntfyish.store.sqlite.database import Database
from ntfyish.store.sqlite.failures import WORK_FAILURES, refusal
from ntfyish.store.sqlite.replay import Place

T = TypeVar("T")
C = TypeVar("C", covariant=True)
Work = Callable[[sqlite3.Connection], T]

# Whoever asks first waits for the others of the hop as well, some 0.3 ms each for a chunk of a replay.
_READS_PER_HOP = 16


@dataclass(slots=True)
class _Job:
    work: Work[object]
    future: asyncio.Future[object]


class Readers:
    """Runs reads on whichever connection is free; each sees what was committed before it was asked for."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._free = list(databases)
        self._tasks = Tasks()
        self._draining: set[asyncio.Task[None]] = set()
        self._queue: deque[_Job] = deque()
        self._closing = False

    def run(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work` in a thread; it ends no later than its statements do."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(Unavailable(Reason.SHUTTING_DOWN))
        else:
            self._queue.append(_Job(work, future))
            self._wake()
        return cast("asyncio.Future[T]", future)

    async def close(self) -> None:
        """Refuse new reads and finish those that are queued."""
        self._closing = True
        while self._draining:
            await asyncio.wait(self._draining)

    def _wake(self) -> None:
        if not self._free:
            return
        database = self._free.pop()
        task = self._tasks.spawn(self._drain(database), "store reader")
        self._draining.add(task)
        task.add_done_callback(lambda done: self._drained(done, database))

    def _drained(self, task: asyncio.Task[None], database: Database) -> None:
        self._draining.discard(task)
        self._free.append(database)
        if self._queue:
            self._wake()

    async def _drain(self, database: Database) -> None:
        while self._queue:
            jobs = [self._queue.popleft() for _ in range(min(_READS_PER_HOP, len(self._queue)))]
            jobs = [job for job in jobs if not job.future.done()]  # without those whose caller has left
            if not jobs:
                continue
            outcomes: list[object] = [Unavailable(Reason.STORAGE_BROKEN) for _ in jobs]
            try:
                outcomes = await database.run(partial(_outcomes, works=[job.work for job in jobs]))
            finally:
                _finish(jobs, outcomes)


class Step(Protocol[C]):
    """Reads the chunk at a place, and returns it (None for nothing) with the next place (None at the end)."""

    def __call__(self, connection: sqlite3.Connection, place: Place) -> tuple[C | None, Place | None]:
        """Read at `place`."""


class Chunks(AsyncIterator[T]):
    """Reads one chunk each time it is asked for the next, and holds nothing in between.

    Not a generator, so there is nothing to close when it is abandoned half way; and a read that is
    cancelled is simply done again.
    """

    def __init__(
        self,
        readers: Readers,
        step: Step[T],
        start: Place | None,
    ) -> None:
        """Begin at `start`, which is None if there is nothing to read."""
        self._readers = readers
        self._step = step
        self._place = start

    def __aiter__(self) -> Chunks[T]:
        return self

    async def __anext__(self) -> T:
        while (place := self._place) is not None:
            chunk, self._place = await self._readers.run(partial(self._step, place=place))
            if chunk:
                return chunk
        raise StopAsyncIteration


def _outcomes(raw: sqlite3.Connection, works: Sequence[Work[object]]) -> list[object]:
    return [_outcome(raw, work) for work in works]


def _outcome(raw: sqlite3.Connection, work: Work[object]) -> object:
    try:
        return work(raw)
    except WORK_FAILURES as error:
        return refusal(error)


def _finish(jobs: Sequence[_Job], outcomes: Sequence[object]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, NtfyishError):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
