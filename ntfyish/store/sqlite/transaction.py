"""What the writer does to the message database within one transaction; runs in the writer's thread.

`Transaction` is what a piece of work gets to see; `commit` runs a batch of pieces in one go.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ntfyish.core.ports import Count, Post, StoreExtra
from ntfyish.model.errors import Conflict, NtfyishError
from ntfyish.model.line import decode
from ntfyish.model.message import Message, Published
from ntfyish.store.sqlite.failures import WORK_FAILURES, is_about_storage, refusal

_log = logging.getLogger(__name__)

_COLUMNS = 6
# Many rows per statement: each statement gives up the interpreter's lock and must win it back from a busy
# event loop, at up to 5 ms a time. The sizes are few, so that all of them stay prepared.
INSERTS = tuple(
    (
        rows,
        "INSERT INTO messages (seq, id, topic, stored, expires, line) VALUES "
        + ",".join(["(?,?,?,?,?,?)"] * rows),
    )
    for rows in (128, 64, 32, 16, 8, 4, 2, 1)
)
DUE = """SELECT entry, id, topic, expires, line, wishes,
                EXISTS (SELECT 1 FROM messages WHERE messages.id = scheduled.id)
         FROM scheduled WHERE due <= ? ORDER BY due, entry LIMIT ?"""
PRUNE = """DELETE FROM messages WHERE seq IN
             (SELECT seq FROM messages WHERE expires <= ? ORDER BY expires LIMIT ?)"""
FORGET = """DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE topic = ? LIMIT ?)"""
FORGET_SCHEDULED = "DELETE FROM scheduled WHERE topic = ?"
CANCEL = "DELETE FROM scheduled WHERE topic = ? AND sequence_id = ?"
_SCHEDULE = """INSERT INTO scheduled (id, topic, sequence_id, due, expires, line, wishes)
               VALUES (?, ?, ?, ?, ?, ?, ?)"""
_COUNT = """INSERT INTO counters (subject, period, amount) VALUES (?, ?, ?)
            ON CONFLICT (subject, period) DO UPDATE SET amount = amount + excluded.amount"""
_FORGET_COUNTS = """DELETE FROM counters WHERE (subject, period) IN
                      (SELECT subject, period FROM counters
                       WHERE subject >= ? AND subject < ? AND period < ? LIMIT ?)"""
_KEEP_HEAD = """INSERT INTO meta (name, value) VALUES ('head', ?)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_READ_HEAD = """SELECT max(ifnull((SELECT max(seq) FROM messages), 0),
                           ifnull((SELECT value FROM meta WHERE name = 'head'), 0)),
                       ifnull((SELECT stored FROM messages ORDER BY seq DESC LIMIT 1), 0)"""


Plan = Callable[[Message, str], Sequence[StoreExtra]]  # of a message and `Post.wishes`


# Writes what goes with a message (None: with none) into other tables, in the same transaction
WriteExtras = Callable[[sqlite3.Connection, Message | None, Sequence[StoreExtra]], None]


@dataclass(slots=True)
class Head:
    """The end of the log, as the last commit left it.

    Attributes:
        seq: the last one ever assigned.
        stored: when the newest message became visible, in Unix seconds.
        known: whether both are what the database says; False after a failure.
    """

    seq: int = 0
    stored: int = 0
    known: bool = False

    def read(self, connection: sqlite3.Connection) -> int:
        """Read both from the database and return `seq`."""
        self.seq, self.stored = connection.execute(_READ_HEAD).fetchone()
        self.known = True
        return self.seq


class Transaction:
    """An open transaction; its methods are called by pieces of work, in the order of their commits.

    Attributes:
        published: what becomes visible with the commit, in `seq` order.
    """

    def __init__(
        self, connection: sqlite3.Connection, head: Head, now: float, write_extras: WriteExtras
    ) -> None:
        self.connection = connection
        self._write_extras = write_extras
        self.seq = head.seq
        self.stored = max(int(now), head.stored)
        self.published: list[Published] = []
        self._row_values: list[Any] = []
        self._counts: dict[tuple[str, str], int] = {}

    def post(self, posts: Sequence[Post], counts: Sequence[Count]) -> None:
        """Add `posts` and `counts` (see `MessageStore.post`)."""
        for post in posts:
            message = post.message
            if post.replaces and message.sequence_id:
                self.connection.execute(CANCEL, (message.topic, message.sequence_id))
            if post.extras:
                self._write_extras(self.connection, message, post.extras)
            if not post.kept:
                continue
            if post.due_at:
                self._schedule(post)
            else:
                # `message.time` is later than the clock only if the clock was set back meanwhile.
                self.stored = max(self.stored, message.time)
                self._append(message.id, message.topic, message.expires, post.line)
                self.published.append(Published(self.seq, message, post.line))
        for count in counts:
            key = (count.subject, count.period)
            self._counts[key] = self._counts.get(key, 0) + count.amount

    def write_extras(self, extras: Sequence[StoreExtra]) -> None:
        """Write what goes with no message."""
        self._write_extras(self.connection, None, extras)

    def release_due(self, now: float, limit: int, plan: Plan) -> int:
        """Move what is due to the visible messages (see `MessageStore.release_due`).

        Args:
            plan: says what else each of them causes.
        """
        self.flush()
        due = self.connection.execute(DUE, (now, limit)).fetchall()
        for _, id_, topic, expires, line, wishes, taken in due:
            if taken:  # must not keep everything behind it from being released
                _log.error("Scheduled message %s is dropped: there is a message with its id", id_)
                continue
            self._append(id_, topic, expires, line)
            if (message := _decoded(id_, line)) is not None:
                self.published.append(Published(self.seq, message, line))
                self._write_extras(self.connection, message, plan(message, wishes))
        self.connection.executemany("DELETE FROM scheduled WHERE entry = ?", [(row[0],) for row in due])
        return len(due)

    def prune(self, now: float, limit: int) -> int:
        """Delete expired messages (see `MessageStore.prune`)."""
        deleted = self.connection.execute(PRUNE, (now, limit)).rowcount
        if deleted:  # maybe the newest, and their numbers must not be given out again
            self.connection.execute(_KEEP_HEAD, (self.seq,))
        return deleted

    def forget_counts(self, prefix: str, before: str, limit: int) -> int:
        """Delete counters (see `MessageStore.forget_counts`)."""
        self.flush()
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # the first text that does not begin with it
        return self.connection.execute(_FORGET_COUNTS, (prefix, end, before, limit)).rowcount

    def forget(self, topic: str, limit: int) -> int:
        """Delete messages of a topic (see `MessageStore.forget`)."""
        self.flush()
        self.connection.execute(FORGET_SCHEDULED, (topic,))
        deleted = self.connection.execute(FORGET, (topic, limit)).rowcount
        if deleted:
            self.connection.execute(_KEEP_HEAD, (self.seq,))
        return deleted

    def flush(self) -> None:
        """Write what has been gathered."""
        values, start = self._row_values, 0
        for rows, statement in INSERTS:
            width = rows * _COLUMNS
            while len(values) - start >= width:
                self.connection.execute(statement, values[start : start + width])
                start += width
        self._row_values = []
        if self._counts:
            self.connection.executemany(_COUNT, [(*key, amount) for key, amount in self._counts.items()])
            self._counts = {}

    def attempt(self, work: Callable[[Transaction], object]) -> object:
        """Run one piece of work; if it fails, undo it alone and return its refusal.

        Raises:
            WORK_FAILURES: the database itself is in trouble.
        """
        seq, stored, published = self.seq, self.stored, len(self.published)
        self.connection.execute("SAVEPOINT work")
        try:
            result = work(self)
            self.flush()
        except WORK_FAILURES as error:
            if is_about_storage(error):
                raise
            self.connection.execute("ROLLBACK TO work")
            self.seq, self.stored = seq, stored
            del self.published[published:]
            self._row_values, self._counts = [], {}
            result = refusal(error)
        self.connection.execute("RELEASE work")
        return result

    def _append(self, id_: str, topic: str, expires: int, line: bytes) -> None:
        self.seq += 1
        self._row_values += (self.seq, id_, topic, self.stored, expires, line)

    def _schedule(self, post: Post) -> None:
        message = post.message
        self.flush()
        if self.connection.execute("SELECT 1 FROM messages WHERE id = ?", (message.id,)).fetchone():
            raise Conflict
        # A message without a sequence is the first of the sequence that its own id names.
        sequence_id = message.sequence_id or message.id
        self.connection.execute(
            _SCHEDULE,
            (
                message.id,
                message.topic,
                sequence_id,
                post.due_at,
                message.expires,
                post.line,
                post.wishes,
            ),
        )


Piece = Callable[[Transaction], object]


@dataclass(slots=True)
class Batch:
    """What became of a batch.

    Attributes:
        outcomes: for each piece of work its result, or the error to raise to its caller.
        published: what became visible, in `seq` order.
        head: the last `seq` ever assigned.
        failed: the whole batch failed, for want of a working database.
    """

    outcomes: list[object]
    published: list[Published] = field(default_factory=list)
    head: int = 0
    failed: bool = False


def commit(
    connection: sqlite3.Connection,
    head: Head,
    now: float,
    pieces: Sequence[Piece],
    write_extras: WriteExtras,
) -> Batch:
    """Run all pieces in one transaction and commit it.

    If one of them fails, all are run again, each so that it can be undone alone: the others succeed. If
    the database fails, so do all; nothing of them is stored, and the next call starts from what is.
    """
    try:
        try:
            return _commit(connection, head, now, pieces, write_extras, apart=False)
        except WORK_FAILURES as error:
            _roll_back(connection, head)
            if is_about_storage(error):
                raise
        return _commit(connection, head, now, pieces, write_extras, apart=True)
    except WORK_FAILURES as error:
        _roll_back(connection, head)
        outcomes: list[object] = [refusal(error) for _ in pieces]
        return Batch(outcomes, failed=True)
    except BaseException:  # a mistake in the program: let go of the lock before it is reported
        _roll_back(connection, head)
        raise


def _commit(
    connection: sqlite3.Connection,
    head: Head,
    now: float,
    pieces: Sequence[Piece],
    write_extras: WriteExtras,
    *,
    apart: bool,
) -> Batch:
    if connection.in_transaction:  # a rollback failed as well
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    if not head.known:
        head.read(connection)
    transaction = Transaction(connection, head, now, write_extras)
    if apart:
        outcomes = [transaction.attempt(piece) for piece in pieces]
    else:
        outcomes = [piece(transaction) for piece in pieces]
        transaction.flush()
    connection.execute("COMMIT")
    head.seq, head.stored = transaction.seq, transaction.stored
    return Batch(outcomes, transaction.published, transaction.seq)


def _roll_back(connection: sqlite3.Connection, head: Head) -> None:
    head.known = False
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        _log.warning("Could not roll back yet: %s", error)


def _decoded(id_: str, line: bytes) -> Message | None:
    try:
        return decode(line)
    except (KeyError, TypeError, ValueError, NtfyishError):
        _log.error("Scheduled message %s is not delivered live: its stored form is damaged", id_)
        return None
