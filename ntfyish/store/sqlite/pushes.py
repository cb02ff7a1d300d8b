"""The outbox of pushes in SQLite: `PushOutbox` over the writer and readers of the message database.

`put_pushes` runs in the transaction that ends the errand of a message. A message to ten thousand devices is
ten thousand rows, so rows travel as one JSON array per statement: a statement for each row would give up the
interpreter's lock as often, and win it back from a busy event loop at up to 5 ms a time.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from ntfyish.core.ports import ClaimedPush, NewPushes, PushedMessage, PushNote
from ntfyish.model.push import Delivery, PushKind, PushState

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

MOST_DELIVERIES = 10_000
_MOST_MESSAGES = 100
# How many messages of a sequence are looked at for pushes that a new one supersedes. A device waits for one
# of them, as a rule the last: each supersedes those before it.
_LOOK_BACK = 8

CLAIM = """SELECT json_group_array(json_array(entry, message, device, attempts, reason)) FROM
             (SELECT entry, message, device, attempts, reason FROM pushes
              WHERE destination = ? AND state = 'pending' AND due <= ? ORDER BY due, entry LIMIT ?)"""
_LEASE = """UPDATE pushes SET due = ?, attempts = attempts + 1
            WHERE entry IN (SELECT value FROM json_each(?))"""
MESSAGES = """SELECT entry, id, request, owner, topic, collapse_id, created_at, expires_at, line
              FROM pushed_messages WHERE entry IN (SELECT value FROM json_each(?))"""
_PUT_MESSAGE = """INSERT OR IGNORE INTO pushed_messages
                    (id, request, owner, topic, collapse_id, created_at, expires_at, line)
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT = """INSERT OR IGNORE INTO pushes (message, device, destination, kind, name, state, due, changed_at)
          SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
                 json_extract(value, '$[3]'), ?, ?, ? FROM json_each(?)"""
SEQUENCE = """SELECT entry, created_at FROM pushed_messages WHERE collapse_id = ? AND topic = ?
              ORDER BY entry DESC LIMIT ?"""
SUPERSEDE = """UPDATE pushes SET state = 'superseded', changed_at = ? WHERE entry IN
                 (SELECT theirs.entry FROM json_each(?) AS messages CROSS JOIN json_each(?) AS devices
                  CROSS JOIN pushes AS theirs ON message = messages.value AND device = devices.value
                  WHERE state = 'pending')"""
LATE = """UPDATE pushes SET state = 'superseded', changed_at = ? WHERE entry IN
            (SELECT mine.entry FROM json_each(?) AS messages CROSS JOIN json_each(?) AS devices
             CROSS JOIN pushes AS theirs ON theirs.message = messages.value AND theirs.device = devices.value
             CROSS JOIN pushes AS mine ON mine.message = ? AND mine.device = devices.value
             WHERE theirs.state <> 'dropped' AND mine.state = 'pending')"""
NOTE = """UPDATE pushes SET
            state = json_extract(note.value, '$[1]'), reason = json_extract(note.value, '$[2]'),
            changed_at = json_extract(note.value, '$[3]'), due = json_extract(note.value, '$[4]'),
            attempts = max(0, attempts - json_extract(note.value, '$[5]'))
          FROM json_each(?) AS note
          WHERE pushes.entry = json_extract(note.value, '$[0]') AND +pushes.state = 'pending'"""
_RECALL = "UPDATE pushes SET due = ? WHERE state = 'pending' AND due > ?"
_WAITING = "SELECT destination, min(due), count(*) FROM pushes WHERE state = 'pending' GROUP BY destination"
NEXT = "SELECT min(due) FROM pushes WHERE destination = ? AND state = 'pending'"
OLDEST = """SELECT created_at FROM pushed_messages
            WHERE entry = (SELECT min(message) FROM pushes WHERE state = 'pending')"""
# Goes from one message that is waited for to the next: there are many pushes of each.
OVER = """WITH RECURSIVE waiting (message) AS (
            SELECT min(message) FROM pushes WHERE state = 'pending'
            UNION ALL
            SELECT (SELECT min(message) FROM pushes WHERE state = 'pending' AND message > waiting.message)
            FROM waiting WHERE waiting.message IS NOT NULL)
          SELECT pushes.entry, pushes.kind FROM waiting
          CROSS JOIN pushed_messages ON pushed_messages.entry = waiting.message
          CROSS JOIN pushes ON pushes.message = waiting.message
          WHERE state = 'pending' AND (created_at < ? OR expires_at <= ?) AND due <= ? LIMIT ?"""
_EXPIRE = """UPDATE pushes SET state = 'expired', changed_at = ?
             WHERE entry IN (SELECT value FROM json_each(?)) AND +state = 'pending' AND due <= ?"""
OLD = """SELECT pushes.entry, pushes.message FROM pushed_messages
         CROSS JOIN pushes ON pushes.message = pushed_messages.entry
         WHERE created_at < ? AND state <> 'pending' ORDER BY created_at LIMIT ?"""
_DELETE = "DELETE FROM pushes WHERE entry IN (SELECT value FROM json_each(?))"
_DELETE_MESSAGES = """DELETE FROM pushed_messages WHERE entry IN (SELECT value FROM json_each(?))
                      AND NOT EXISTS (SELECT 1 FROM pushes WHERE message = pushed_messages.entry)"""
ASKED_FOR = """SELECT entry FROM pushed_messages WHERE id = ?1 AND owner = ?2
               UNION SELECT entry FROM pushed_messages WHERE request = ?1 AND request <> '' AND owner = ?2
               UNION SELECT entry FROM pushed_messages WHERE collapse_id = ?1 AND owner = ?2
               ORDER BY entry DESC LIMIT ?3"""
DELIVERIES = """SELECT pushed_messages.id, name, kind, state, attempts, reason, changed_at
                FROM pushed_messages
                CROSS JOIN pushes ON message = pushed_messages.entry
                WHERE pushed_messages.entry = ? ORDER BY pushes.entry DESC LIMIT ?"""


class PushTable:
    """`PushOutbox` in the message database. See the port for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def claim_pushes(
        self, destination: str, now: float, until: float, limit: int
    ) -> Sequence[ClaimedPush]:
        """Take pushes to a destination that are due."""
        return await self._writer.submit(
            lambda transaction: _claim(transaction.connection, destination, now, until, limit)
        )

    async def recall_pushes(self, now: float) -> int:
        """Make due what waits."""
        return await self._writer.submit(
            lambda transaction: transaction.connection.execute(_RECALL, (now, now)).rowcount
        )

    async def waiting_destinations(self) -> Sequence[tuple[str, float, int]]:
        """Return where pushes wait to go, since when they are due, and how many."""
        return await self._readers.run(lambda raw: raw.execute(_WAITING).fetchall())

    async def next_push(self, destination: str) -> float | None:
        """Return when the next push to a destination is due."""
        (due,) = await self._readers.run(lambda raw: raw.execute(NEXT, (destination,)).fetchone())
        return None if due is None else float(due)

    async def oldest_push(self) -> float | None:
        """Return when the oldest pending push was created."""
        row = await self._readers.run(lambda raw: raw.execute(OLDEST).fetchone())
        return None if row is None else float(row[0])

    async def note_pushes(self, notes: Sequence[PushNote]) -> None:
        """Write what became of tries."""
        rows = _json(
            [(one.entry, one.state.value, one.reason, one.at, one.due_at, not one.attempted) for one in notes]
        )
        await self._writer.submit(lambda transaction: transaction.connection.execute(NOTE, (rows,)).rowcount)

    async def expire_pushes(
        self, now: float, created_before: float, limit: int = 500
    ) -> Mapping[PushKind, int]:
        """End pending pushes that are over."""
        over = await self._readers.run(
            lambda raw: raw.execute(OVER, (created_before, now, now, limit)).fetchall()
        )
        if over:
            entries = _json([entry for entry, _ in over])
            await self._writer.submit(
                lambda transaction: transaction.connection.execute(_EXPIRE, (now, entries, now)).rowcount
            )
        return Counter(PushKind(kind) for _, kind in over)

    async def purge_pushes(self, created_before: float, limit: int = 500) -> int:
        """Delete pushes that are not pending, and messages without any."""
        old = await self._readers.run(lambda raw: raw.execute(OLD, (created_before, limit)).fetchall())
        if old:
            entries, messages = _json([row[0] for row in old]), _json([*{row[1] for row in old}])

            def work(transaction: Transaction) -> None:
                transaction.connection.execute(_DELETE, (entries,))
                transaction.connection.execute(_DELETE_MESSAGES, (messages,))

            await self._writer.submit(work)
        return len(old)

    async def find_deliveries(self, id: str, owner: str) -> Sequence[Delivery] | None:
        """Return the pushes of a message; the newest `MOST_DELIVERIES` if there are more."""
        return await self._readers.run(lambda raw: _deliveries(raw, id, owner))


def put_pushes(connection: sqlite3.Connection, new: NewPushes) -> None:
    """Enter pushes of a message, within a transaction."""
    message = new.message
    connection.execute(
        _PUT_MESSAGE,
        (
            message.id,
            message.request,
            message.owner,
            message.topic,
            message.collapse_id,
            message.created_at,
            message.expires_at,
            message.line,
        ),
    )
    (entry,) = connection.execute(
        "SELECT entry FROM pushed_messages WHERE id = ?", (message.id,)
    ).fetchone()  # fmt: skip
    rows = _json([(one.device_id, one.destination, one.kind.value, one.name) for one in new.targets])
    connection.execute(_PUT, (entry, new.state.value, new.due_at, new.due_at, rows))
    if new.state is PushState.PENDING:
        _supersede(connection, new, entry)


def _supersede(connection: sqlite3.Connection, new: NewPushes, entry: int) -> None:
    """Let the newest message of a sequence stand alone, also if one before it is entered after it."""
    message = new.message
    found = connection.execute(SEQUENCE, (message.collapse_id, message.topic, _LOOK_BACK + 1)).fetchall()
    if len(found) < 2:
        return
    place = (message.created_at, entry)
    earlier = [other for other, created_at in found if (created_at, other) < place]
    later = [other for other, created_at in found if (created_at, other) > place]
    devices = _json([one.device_id for one in new.targets])
    if earlier:
        connection.execute(SUPERSEDE, (new.due_at, _json(earlier), devices))
    if later:
        connection.execute(LATE, (new.due_at, _json(later), devices, entry))


def _claim(
    connection: sqlite3.Connection, destination: str, now: float, until: float, limit: int
) -> list[ClaimedPush]:
    rows = orjson.loads(connection.execute(CLAIM, (destination, now, limit)).fetchone()[0])
    if not rows:
        return []
    connection.execute(_LEASE, (until, _json([row[0] for row in rows])))
    found = connection.execute(MESSAGES, (_json([*{row[1] for row in rows}]),)).fetchall()
    messages = {row[0]: _message(*row[1:]) for row in found}
    return [
        ClaimedPush(entry, messages[message], device, attempts + 1, reason)
        for entry, message, device, attempts, reason in rows
    ]


def _message(
    id: str,
    request: str,
    owner: str,
    topic: str,
    collapse_id: str,
    created_at: float,
    expires_at: int,
    line: bytes,
) -> PushedMessage:
    return PushedMessage(
        id=id,
        request=request,
        owner=owner,
        topic=topic,
        collapse_id=collapse_id,
        created_at=created_at,
        expires_at=expires_at,
        line=line,
    )


def _deliveries(connection: sqlite3.Connection, id: str, owner: str) -> list[Delivery] | None:
    entries = connection.execute(ASKED_FOR, (id, owner, _MOST_MESSAGES)).fetchall() if owner else ()
    if not entries:
        return None
    rows: list[tuple[str, str, str, str, int, str, float]] = []
    for (entry,) in entries:
        rows += connection.execute(DELIVERIES, (entry, MOST_DELIVERIES - len(rows)))
    return [
        Delivery(
            message_id=message,
            device=name,
            kind=PushKind(kind),
            state=PushState(state),
            attempts=attempts,
            reason=reason,
            changed_at=changed_at,
        )
        for message, name, kind, state, attempts, reason, changed_at in reversed(rows)
    ]


def _json(values: Sequence[object]) -> str:
    return orjson.dumps(values).decode()
