"""The queues of Open Client devices in the message database: `QueueStore`.

`add_to_queue` runs in the transaction that stores the message. Each entry has the whole line: the message
cache forgets within hours, a queue after weeks.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ntfyish.core.ports import Queued, QueueEntry
from ntfyish.model.line import encode
from ntfyish.model.message import Message

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

KEPT_S = 21 * 86_400
LONGEST_QUEUE = 1_000

_NEXT = """INSERT INTO client_queue_heads (device, last_id) VALUES (?, 1)
           ON CONFLICT (device) DO UPDATE SET last_id = last_id + 1 RETURNING last_id"""
_ADD = """INSERT INTO client_queue (device, id, umid, queued, expires, receipt, line)
          VALUES (?, ?, ?, ?, ?, ?, ?)"""
_CONFIRM = "DELETE FROM client_queue WHERE device = ? AND id <= ?"
_QUEUED = """SELECT q.id, q.umid, q.queued, q.expires, ifnull(r.acknowledged_at, 0) > 0, q.line
             FROM client_queue AS q LEFT JOIN receipts AS r ON r.id = nullif(q.receipt, '')
             WHERE q.device = ? AND q.expires > ? ORDER BY q.id LIMIT ?"""
_PRUNE = """DELETE FROM client_queue WHERE (device, id) IN
              (SELECT device, id FROM client_queue WHERE expires <= ? ORDER BY expires LIMIT ?)"""


def add_to_queue(connection: sqlite3.Connection, message: Message, entry: QueueEntry) -> None:
    """Add `message` to the queue of a device, within a transaction; the oldest go when it is too long."""
    device = entry.device_id
    (id_,) = connection.execute(_NEXT, (device,)).fetchone()
    kept_s = min(message.content.ttl_s or KEPT_S, KEPT_S)
    connection.execute(
        _ADD,
        (
            device,
            id_,
            _umid(message.receipt or entry.send or message.id),
            message.time,
            message.time + kept_s,
            message.receipt,
            encode(message),
        ),
    )
    if id_ > LONGEST_QUEUE:
        connection.execute(_CONFIRM, (device, id_ - LONGEST_QUEUE))


class QueueTable:
    """`QueueStore` by the writer and the readers of the message database."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def queued(self, device_id: str, now: float, limit: int) -> Sequence[Queued]:
        """Return what waits for a device."""
        rows = await self._readers.run(
            lambda raw: raw.execute(_QUEUED, (device_id, now, limit)).fetchall()
        )  # fmt: skip
        return [
            Queued(
                id=id_,
                umid=umid,
                queued_at=queued,
                expires_at=expires,
                acknowledged=bool(acknowledged),
                line=line,
            )
            for id_, umid, queued, expires, acknowledged, line in rows
        ]

    async def confirm(self, device_id: str, upto: int) -> int:
        """Delete what a device has confirmed."""
        return await self._writer.submit(
            lambda transaction: transaction.connection.execute(_CONFIRM, (device_id, upto)).rowcount
        )

    async def move_queue(self, device_id: str, to: str) -> None:
        """Give the messages of one device to another."""

        def move(transaction: Transaction) -> None:
            for table in ("client_queue", "client_queue_heads"):
                transaction.connection.execute(
                    f"UPDATE OR REPLACE {table} SET device = ? WHERE device = ?", (to, device_id)
                )

        await self._writer.submit(move)

    async def prune_queues(self, now: float, limit: int = 500) -> int:
        """Delete expired messages."""
        return await self._writer.submit(
            lambda transaction: transaction.connection.execute(_PRUNE, (now, limit)).rowcount, limit
        )


def _umid(name: str) -> int:
    """Return the number of a send: 48 bits, which is exact in every client's JSON."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") or 1
