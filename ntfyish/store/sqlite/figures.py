"""How much there is in the message database: `FigureStore`, by its readers; and what its writer has done."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ntfyish.core.figures import StoredRows, Waiting

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.writer import Writer

# Each is answered by an index alone, but for one row of each kind of errand.
MESSAGES = "SELECT count(*) FROM messages"
SCHEDULED = "SELECT count(*) FROM scheduled"
RECEIPTS = "SELECT count(*) FROM receipts WHERE next_at > 0"
ERRANDS = """SELECT waiting.kind, waiting.number, errands.created_at
             FROM (SELECT kind, count(*) AS number, min(entry) AS first FROM errands GROUP BY kind) AS waiting
             JOIN errands ON errands.entry = waiting.first"""


class RowCounts:
    """`FigureStore` for the message database; what it says of the writer is since the start."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    @property
    def commits(self) -> int:
        """Transactions that were committed."""
        return self._writer.commits

    @property
    def writes(self) -> int:
        """Pieces of work in them."""
        return self._writer.writes

    @property
    def write_queue(self) -> int:
        """Pieces of work that wait."""
        return self._writer.waiting

    async def count_rows(self) -> StoredRows:
        """Count."""
        return await self._readers.run(_count)


def _count(connection: sqlite3.Connection) -> StoredRows:
    return StoredRows(
        messages=_one(connection, MESSAGES),
        scheduled=_one(connection, SCHEDULED),
        receipts=_one(connection, RECEIPTS),
        errands={kind: Waiting(count, at) for kind, count, at in connection.execute(ERRANDS).fetchall()},
    )


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
