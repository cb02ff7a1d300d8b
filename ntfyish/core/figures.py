"""What the server can say of itself at any time besides what it counts: read from memory, or from the store.

`web.metrics` asks. What the store knows is read at most once a second, and rarer if reading takes long; who
asks waits for that a second at most, and gets what was read last while the store is slow or locked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ntfyish.core.ports import Clock, PushOutbox
from ntfyish.core.tasks import Tasks, race
from ntfyish.model.errors import Unavailable

_log = logging.getLogger(__name__)

PATIENCE_S = 1.0
_FRESH_S = 1.0
# Of all time, reading takes this part at most: some of it goes through whole tables.
_SHARE = 1 / 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFigures:
    """What is in memory.

    Attributes:
        visitors: accounts and networks that have used some of their limits lately, or read now.
        topics: those in use.
        subscribers: open streams.
        open_clients: connected Open Clients.
        attachments_bytes: all files.
        push_devices: kind -> devices, dead ones left out.
        commits, writes: transactions of the message database since the start, and what was in them.
        write_queue: writes that wait for the next transaction.
    """

    visitors: int
    accounts: int
    topics: int
    subscribers: int
    open_clients: int
    attachments_bytes: int
    push_devices: Mapping[str, int]
    commits: int
    writes: int
    write_queue: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Some that wait, and the Unix seconds at which the oldest of them was entered."""

    count: int
    oldest_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """What is in the message database.

    Attributes:
        messages: those that can be read.
        scheduled: those that are still to come.
        receipts: emergencies that nobody has acknowledged yet, and that have not ended otherwise.
        errands: kind -> errands that wait or are being done.
    """

    messages: int
    scheduled: int
    receipts: int
    errands: Mapping[str, Waiting]


class FigureStore(Protocol):
    """Counts what is in the message database. Raises: Unavailable as `ports.MessageStore`."""

    async def count_rows(self) -> StoredRows:
        """Count. Costs more the more there is, but holds up no writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFigures:
    """What the store knows.

    Attributes:
        read_at: Unix seconds.
        pushes: kind of service -> pushes that wait.
        oldest_push_at: Unix seconds at which the oldest of them was entered; None if none waits.
    """

    read_at: float
    rows: StoredRows
    pushes: Mapping[str, int]
    oldest_push_at: float | None


class StoredFigureReader:
    """Reads what the store knows, one reading at a time, whoever asks.

    Args:
        tasks: owns the reading, which goes on when who asked has gone.
    """

    def __init__(self, store: FigureStore, pushes: PushOutbox, clock: Clock, tasks: Tasks) -> None:
        self._store = store
        self._pushes = pushes
        self._clock = clock
        self._tasks = tasks
        self._newest: StoredFigures | None = None
        self._stale_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def newest(self) -> StoredFigures | None:
        """Return what the store knows, or what was read last if that takes too long; None for nothing."""
        reading = self._reading
        if reading is None and self._clock.monotonic() >= self._stale_at:
            reading = self._reading = self._tasks.spawn(self._read(), "figures")
        if reading is not None:
            await race(_ended(reading), self._clock.sleep(PATIENCE_S), name="figures")
        return self._newest

    async def _read(self) -> None:
        began = self._clock.monotonic()
        try:
            self._newest = await self._ask()
        except Unavailable as error:
            _log.warning("The figures of the store cannot be read: %s", error.reason.name)
        finally:
            now = self._clock.monotonic()
            self._stale_at = now + max(_FRESH_S, (now - began) / _SHARE)
            self._reading = None

    async def _ask(self) -> StoredFigures:
        rows = await self._store.count_rows()
        pushes: Counter[str] = Counter()
        for destination, _, count in await self._pushes.waiting_destinations():
            pushes[destination.partition(":")[0]] += count
        oldest = await self._pushes.oldest_push() if pushes else None
        return StoredFigures(read_at=self._clock.now(), rows=rows, pushes=pushes, oldest_push_at=oldest)


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait((task,))
