"""The outbox in SQLite: `Outbox` over the writer and readers of the message database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from ntfyish.core.ports import ClaimedErrand, Errand, StoreExtra

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

# The group's other columns are those of the row with the least `due` (SQLite's rule for a lone min()).
CLAIM = """SELECT entry, kind, key, destination, payload, created_at, min(due), attempts FROM errands
           WHERE due <= ? AND destination NOT IN (SELECT value FROM json_each(?))
           GROUP BY iif(destination = '', 'e' || entry, 'd' || destination)
           ORDER BY 7, entry LIMIT ?"""
NEXT = """SELECT due FROM errands WHERE destination NOT IN (SELECT value FROM json_each(?))
          ORDER BY due LIMIT 1"""
# A replacement is a new row, so that whoever is at work on the old one cannot delete it.
_PUT = """INSERT OR REPLACE INTO errands (kind, key, destination, payload, created_at, due)
          VALUES (?, ?, ?, ?, ?, ?)"""
_LEASE = "UPDATE errands SET due = ?, attempts = attempts + 1 WHERE entry = ?"
_FINISH = "DELETE FROM errands WHERE entry = ?"
_POSTPONE = "UPDATE errands SET due = ? WHERE entry = ?"


class OutboxTable:
    """`Outbox` in the message database. See the port for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def claim(
        self, now: float, until: float, busy: Sequence[str], limit: int
    ) -> Sequence[ClaimedErrand]:
        """Take errands that are due."""
        passed = _json(busy)
        return await self._writer.submit(
            lambda transaction: _claim(transaction.connection, now, until, passed, limit)
        )

    async def next_errand(self, busy: Sequence[str]) -> float | None:
        """Return when the next errand is due."""
        passed = _json(busy)
        row = await self._readers.run(lambda raw: raw.execute(NEXT, (passed,)).fetchone())
        return None if row is None else float(row[0])

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
    connection: sqlite3.Connection, now: float, until: float, busy: str, limit: int
) -> list[ClaimedErrand]:
    rows = connection.execute(CLAIM, (now, busy, limit)).fetchall()
    connection.executemany(_LEASE, [(until, row[0]) for row in rows])
    return [
        ClaimedErrand(
            entry,
            Errand(kind, key, bytes(payload), due, destination),
            attempts + 1,
            created_at,
        )
        for entry, kind, key, destination, payload, created_at, due, attempts in rows
    ]


def _json(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
