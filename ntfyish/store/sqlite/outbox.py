"""The outbox in SQLite: `Outbox` over the writer and readers of the message database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import orjson

from ntfyish.core.ports import ClaimedErrand, Errand, StoreExtra

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

DUE = """SELECT entry, kind, key, destination, payload, created_at, due, attempts FROM errands
         WHERE kind = ? AND due <= ? AND destination NOT IN (SELECT value FROM json_each(?))
         ORDER BY due, entry"""
NEXT = """SELECT due FROM errands WHERE kind = ? AND destination NOT IN (SELECT value FROM json_each(?))
          ORDER BY due LIMIT 1"""
_DROP = """DELETE FROM errands WHERE entry IN
           (SELECT entry FROM errands WHERE kind = ? AND due < ? ORDER BY due LIMIT ?)"""
# A replacement is a new row, so that whoever is at work on the old one cannot delete it.
_PUT = """INSERT OR REPLACE INTO errands (kind, key, destination, payload, created_at, due)
          VALUES (?, ?, ?, ?, ?, ?)"""
_LEASE = "UPDATE errands SET due = ?, attempts = attempts + 1 WHERE entry = ?"
_FINISH = "DELETE FROM errands WHERE entry = ?"
_RECALL = "UPDATE errands SET due = ? WHERE due > ? AND due <= ?"
_POSTPONE = "UPDATE errands SET due = ? WHERE entry = ?"


class OutboxTable:
    """`Outbox` in the message database. See the port for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def claim(
        self, now: float, until: float, rooms: Mapping[str, int], busy: Sequence[str]
    ) -> Sequence[ClaimedErrand]:
        """Take errands that are due."""
        rooms, passed = dict(rooms), tuple(busy)
        return await self._writer.submit(
            lambda transaction: _claim(transaction.connection, now, until, rooms, passed)
        )

    async def recall_errands(self, now: float, until: float) -> None:
        """Make due what was to be done soon."""
        await self._writer.submit(
            lambda transaction: transaction.connection.execute(_RECALL, (now, now, until)).rowcount
        )

    async def next_errand(self, kinds: Sequence[str], busy: Sequence[str]) -> float | None:
        """Return when the next errand is due."""
        passed = _json(busy)

        def find(connection: sqlite3.Connection) -> list[float]:
            found = (connection.execute(NEXT, (kind, passed)).fetchone() for kind in kinds)
            return [float(row[0]) for row in found if row is not None]

        return min(await self._readers.run(find), default=None) if kinds else None

    async def drop_errands(self, kind: str, due_before: float, limit: int = 500) -> int:
        """Delete errands that have waited for too long."""
        return await self._writer.submit(
            lambda transaction: transaction.connection.execute(_DROP, (kind, due_before, limit)).rowcount
        )

    async def finish(self, claimed: ClaimedErrand, extras: Sequence[StoreExtra] = ()) -> None:
        """Delete an errand that is done."""
        also = tuple(extras)

        def work(transaction: Transaction) -> None:
            if transaction.connection.execute(_FINISH, (claimed.entry,)).rowcount:
                transaction.write_extras(also)

        await self._writer.submit(work)

    async def postpone(self, claimed: ClaimedErrand, due_at: float) -> None:
        """Have an errand done later."""
        await self._writer.submit(
            lambda transaction: transaction.connection.execute(_POSTPONE, (due_at, claimed.entry)).rowcount
        )


def put_errand(connection: sqlite3.Connection, errand: Errand) -> None:
    """Enter an errand, within a transaction."""
    values = (errand.kind, errand.key, errand.destination, errand.payload, errand.due_at, errand.due_at)
    connection.execute(_PUT, values)


def _claim(
    connection: sqlite3.Connection, now: float, until: float, rooms: Mapping[str, int], busy: Sequence[str]
) -> list[ClaimedErrand]:
    taken = set(busy)
    claimed: list[ClaimedErrand] = []
    for kind, room in rooms.items():
        claimed += _first(connection.execute(DUE, (kind, now, _json(tuple(taken)))), room, taken)
    connection.executemany(_LEASE, [(until, one.entry) for one in claimed])
    return claimed


def _first(rows: sqlite3.Cursor, room: int, taken: set[str]) -> Iterator[ClaimedErrand]:
    """Yield the first `room` errands of `rows`, one to each destination, and none to those in `taken`."""
    with closing(rows):
        for entry, kind, key, destination, payload, created_at, due, attempts in rows:
            if destination in taken:
                continue
            if destination:
                taken.add(destination)
            errand = Errand(kind, key, bytes(payload), due, destination)
            yield ClaimedErrand(entry, errand, attempts + 1, created_at)
            room -= 1
            if not room:
                return


def _json(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
