"""Group commit: the one lane by which anything is written to the message database.

While a transaction is on its way to the disk, work queues up; then all of it goes into the next one. So
the commit order is one order, and the number of fsyncs does not grow with the number of publishers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from ntfyish.core.ports import Clock, Visible
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import NtfyishError, Reason, Unavailable
from ntfyish.store.sqlite.database import WAL_KEPT_BYTES, Database
from ntfyish.store.sqlite.transaction import Batch, Head, Piece, Transaction, WriteExtras, commit

_log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_WEIGHT = 1_000
QUEUE_WEIGHT = 20_000
CHECKPOINT_BYTES = WAL_KEPT_BYTES
TRUNCATE_BYTES = 8 * CHECKPOINT_BYTES
_TRUNCATE_WAIT_MS = 100


@dataclass(slots=True)
class _Job:
    piece: Piece
    weight: int
    future: asyncio.Future[object]


class Writer:
    """Takes work at any time, in any number, and commits it in the order it came.

    Everything but the work itself happens on the event loop.

    Attributes:
        head: the `seq` of the last message that became visible.
        commits, writes: transactions since the start, and pieces of work in them.
    """

    def __init__(
        self,
        database: Database,
        wal: Path,
        clock: Clock,
        visible: Visible,
        head: Head,
        write_extras: WriteExtras,
    ) -> None:
        self.head = head.seq
        self.commits = 0
        self.writes = 0
        self._database = database
        self._clock = clock
        self._visible = visible
        self._write_extras = write_extras
        self._position = head  # belongs to the thread from now on
        self._checkpoints = Checkpoints(wal)
        self._tasks = Tasks()
        self._queue: deque[_Job] = deque()
        self._queued_weight = 0
        self._draining: asyncio.Task[None] | None = None
        self._closing = False

    def submit(self, work: Callable[[Transaction], T], weight: int = 1) -> asyncio.Future[T]:
        """Queue `work`; the future ends when it is on disk, or with the error that kept it from there.

        Args:
            work: runs in the thread, maybe twice: it leaves no trace but in the transaction.
            weight: how many messages it stores, about.
        """
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(Unavailable(Reason.SHUTTING_DOWN))
        elif self._queue and self._queued_weight + weight > QUEUE_WEIGHT:
            future.set_exception(Unavailable(Reason.STORAGE_BUSY))
        else:
            self._queue.append(_Job(work, weight, future))
            self._queued_weight += weight
            self._wake()
        return cast("asyncio.Future[T]", future)

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for the next transaction."""
        return len(self._queue)

    async def close(self) -> None:
        """Refuse new work, commit what is queued, and empty the write-ahead log."""
        self._closing = True
        while self._draining is not None:
            await asyncio.wait([self._draining])
        await self._database.run(self._checkpoints.truncate)

    def _wake(self) -> None:
        if self._draining is None:
            self._draining = self._tasks.spawn(self._drain(), "store writer")
            self._draining.add_done_callback(self._drained)

    def _drained(self, _: asyncio.Task[None]) -> None:
        self._draining = None
        if self._queue:
            self._wake()

    async def _drain(self) -> None:
        while self._queue:
            waiting = len(self._queue)
            jobs = self._take()
            waiting -= len(jobs)
            batch = Batch([Unavailable(Reason.STORAGE_BROKEN) for _ in jobs], failed=True)
            try:
                now, pieces = self._clock.now(), [job.piece for job in jobs]
                work = partial(
                    commit,
                    head=self._position,
                    now=now,
                    pieces=pieces,
                    write_extras=self._write_extras,
                )
                batch = await self._database.run(work)
            finally:
                self._finish(jobs, batch)
            if batch.failed:
                self._give_up(len(self._queue) if self._closing else waiting, batch)
            elif self._checkpoints.due():
                await self._database.run(self._checkpoints.run)

    def _take(self) -> list[_Job]:
        jobs = [self._queue.popleft()]
        weight = jobs[0].weight
        while self._queue and weight + self._queue[0].weight <= BATCH_WEIGHT:
            job = self._queue.popleft()
            weight += job.weight
            jobs.append(job)
        self._queued_weight -= weight
        return jobs

    def _finish(self, jobs: Sequence[_Job], batch: Batch) -> None:
        """Announce, then answer: whoever is answered may rely on the announcement."""
        try:
            if not batch.failed:
                self.head = batch.head
                self.commits += 1
                self.writes += len(jobs)
            if batch.published:
                self._visible(batch.published)
        finally:
            for job, outcome in zip(jobs, batch.outcomes, strict=True):
                if job.future.done():  # its caller has left
                    continue
                if isinstance(outcome, NtfyishError):
                    job.future.set_exception(outcome)
                else:
                    job.future.set_result(outcome)

    def _give_up(self, count: int, batch: Batch) -> None:
        """Fail what has waited behind a failed batch for all of its time: it would only wait once more."""
        reason = next(error for error in batch.outcomes if isinstance(error, NtfyishError)).reason
        _log.warning("Could not write to the message database: %s", reason.name)
        for _ in range(min(count, len(self._queue))):
            job = self._queue.popleft()
            self._queued_weight -= job.weight
            if not job.future.done():
                job.future.set_exception(Unavailable(reason))


class Checkpoints:
    """When to copy the write-ahead log into the database, and doing so, between two batches.

    All from the writing connection: SQLite before 3.51.3 can damage a database if one connection writes
    while another check-points.
    """

    def __init__(self, wal: Path) -> None:
        self._wal = wal
        self._at_bytes = CHECKPOINT_BYTES

    def due(self) -> bool:
        """Whether so much has been written since the log last began anew."""
        size = self._size()
        if size <= CHECKPOINT_BYTES:
            self._at_bytes = CHECKPOINT_BYTES
            return False
        return size > self._at_bytes

    def run(self, connection: sqlite3.Connection) -> None:
        """Copy what no reader needs any more; a log that readers have kept growing for long is cut off."""
        size = self._size()
        # If a reader keeps the log from beginning anew, try again when it has grown, not at every commit.
        self._at_bytes = size + max(CHECKPOINT_BYTES // 4, size // 8)
        if size > TRUNCATE_BYTES:
            self.truncate(connection)
        else:
            _checkpoint(connection, "PASSIVE")

    def truncate(self, connection: sqlite3.Connection) -> None:
        """Copy everything and empty the log, unless a reader stands in the way for longer than a moment."""
        (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute(f"PRAGMA busy_timeout = {_TRUNCATE_WAIT_MS}")
        _checkpoint(connection, "TRUNCATE")
        connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")

    def _size(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except FileNotFoundError:
            return 0


def _checkpoint(connection: sqlite3.Connection, mode: str) -> None:
    try:
        connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as error:  # nothing is lost: the log keeps it until the next time
        _log.warning("Could not check-point the message database: %s", error)
