"""Receipts in SQLite: `ReceiptStore` over the writer and the readers of the message database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from ntfyish.core.ports import Transition
from ntfyish.model.errors import Conflict
from ntfyish.model.receipt import Addressee, Receipt

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

_COLUMNS = (
    "id", "owner", "secret", "started_at", "retry_s", "expires_at", "ends_at", "next_at", "sends",
    "last_delivered_at", "acknowledged_at", "acknowledged_by", "acknowledged_by_device", "cancelled_at",
    "called_back_at", "callback", "tags", "addressees", "line",
)  # fmt: skip
# Only what a transition can change: the message itself is not written again with every repeat.
_CHANGING = (
    "expires_at", "ends_at", "next_at", "sends", "last_delivered_at", "acknowledged_at", "acknowledged_by",
    "acknowledged_by_device", "cancelled_at", "called_back_at",
)  # fmt: skip

SELECT = f"SELECT {', '.join(_COLUMNS)} FROM receipts"
FIND = f"{SELECT} WHERE id = ?"
FIND_MANY = f"{SELECT} WHERE id IN (SELECT value FROM json_each(?))"
DUE = f"{SELECT} WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT ?"
NEWEST = f"{SELECT} ORDER BY started_at DESC LIMIT ?"
NEXT = "SELECT min(next_at) FROM receipts WHERE next_at > 0"
TAGGED = "SELECT receipt FROM receipt_tags WHERE owner = ? AND tag = ?"
PURGE = """DELETE FROM receipts WHERE rowid IN
             (SELECT rowid FROM receipts WHERE started_at < ? ORDER BY started_at LIMIT ?)"""
_INSERT = f"INSERT INTO receipts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_INSERT_TAG = "INSERT OR IGNORE INTO receipt_tags (owner, tag, receipt) VALUES (?, ?, ?)"
_UPDATE = f"UPDATE receipts SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE id = ?"
_CALLED_BACK = "UPDATE receipts SET called_back_at = ? WHERE id = ? AND called_back_at = 0"


class ReceiptTable:
    """`ReceiptStore` in the message database. See the port for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def find_receipt(self, id: str) -> Receipt | None:
        """Return the receipt of that name."""
        found = await self._readers.run(lambda raw: _read(raw, FIND, (id,)))
        return found[0] if found else None

    async def due_receipts(self, now: float, limit: int) -> Sequence[Receipt]:
        """Return receipts whose next send is due."""
        return await self._readers.run(lambda raw: _read(raw, DUE, (now, limit)))

    async def next_send(self) -> float | None:
        """Return when the next send is due."""
        (due,) = await self._readers.run(lambda raw: raw.execute(NEXT).fetchone())
        return None if due is None else float(due)

    async def change_receipts(
        self, ids: Sequence[str], transition: Callable[[Receipt], Transition | None], posts: int = 0
    ) -> Sequence[Receipt | None]:
        """Put the `transition` of each receipt in its place."""
        names = tuple(ids)
        return await self._writer.submit(
            lambda transaction: change(transaction, names, transition), max(1, posts)
        )

    async def tagged_receipts(self, owner: str, tag: str) -> Sequence[str]:
        """Return the names of receipts with that tag."""
        rows = await self._readers.run(lambda raw: raw.execute(TAGGED, (owner, tag)).fetchall())
        return [row[0] for row in rows]

    async def purge_receipts(self, before: float, limit: int = 500) -> int:
        """Delete old receipts."""
        return await self._writer.submit(
            lambda transaction: transaction.connection.execute(PURGE, (before, limit)).rowcount, limit
        )


def add_receipt(connection: sqlite3.Connection, receipt: Receipt) -> None:
    """Add a receipt, within a transaction.

    Raises:
        Conflict: there is one of that name.
    """
    try:
        connection.execute(_INSERT, _row(receipt))
    except sqlite3.IntegrityError:
        raise Conflict from None
    if receipt.tags:
        connection.executemany(_INSERT_TAG, [(receipt.owner, tag, receipt.id) for tag in receipt.tags])


def note_callback(connection: sqlite3.Connection, id: str, called_back_at: int) -> None:
    """Note when a callback has been answered, within a transaction."""
    connection.execute(_CALLED_BACK, (called_back_at, id))


def find_one(connection: sqlite3.Connection, id: str) -> Sequence[Receipt]:
    """Return the receipt of that name, if there is one; for the command line's own connection."""
    return _read(connection, FIND, (id,))


def newest_receipts(connection: sqlite3.Connection, limit: int) -> Sequence[Receipt]:
    """Return at most `limit` receipts, the newest first; for the command line's own connection."""
    return _read(connection, NEWEST, (limit,))


def change(
    transaction: Transaction, ids: Sequence[str], transition: Callable[[Receipt], Transition | None]
) -> Sequence[Receipt | None]:
    """Carry out the transitions of receipts; runs in the writer's thread."""
    found = {r.id: r for r in _read(transaction.connection, FIND_MANY, (orjson.dumps(list(ids)).decode(),))}
    changed: dict[str, Receipt] = {}
    updates: list[tuple[object, ...]] = []
    for id in dict.fromkeys(ids):
        before = found.get(id)
        after = None if before is None else transition(before)
        if before is None or after is None:
            continue
        changed[id] = after.receipt
        if after.receipt is not before:
            updates.append((*(getattr(after.receipt, name) for name in _CHANGING), id))
        transaction.post(after.posts, ())
        transaction.write_extras(after.extras)
    transaction.connection.executemany(_UPDATE, updates)
    return [changed.get(id) for id in ids]


def _row(receipt: Receipt) -> tuple[object, ...]:
    values: dict[str, Any] = {name: getattr(receipt, name) for name in _COLUMNS}
    values["tags"] = orjson.dumps(receipt.tags).decode()
    values["addressees"] = orjson.dumps(
        [
            (one.topic, one.message_id, one.secret, one.group, one.device, one.sound)
            for one in receipt.addressees
        ]
    ).decode()
    return tuple(values.values())


def _read(connection: sqlite3.Connection, statement: str, values: Iterable[object]) -> list[Receipt]:
    return [_receipt(row) for row in connection.execute(statement, tuple(values)).fetchall()]


def _receipt(row: Sequence[Any]) -> Receipt:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["tags"] = tuple(orjson.loads(values["tags"]))
    values["addressees"] = tuple(
        Addressee(topic=topic, message_id=message_id, secret=secret, group=group, device=device, sound=sound)
        for topic, message_id, secret, group, device, sound in orjson.loads(values["addressees"])
    )
    return Receipt(**values)
