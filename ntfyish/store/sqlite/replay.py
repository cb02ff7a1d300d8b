"""What a replay reads: pure functions of a connection and a place, run by `reader.Chunks`.

Each step reads one chunk and says where the next one begins; between two steps there is nothing but that
place. Chunks are bounded in rows and, from the second on, about so in bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ntfyish.core.ports import Shape
from ntfyish.model.query import Since, SinceKind

CHUNK_ROWS = 500
CHUNK_BYTES = 512 * 1024
# How far one look at many topics reaches, in `seq`. It bounds what a look costs where messages are dense;
# it grows up to the limit where they are sparse.
_FIRST_SPAN = 4_096
_MAX_SPAN = 65_536
_LOOKS_PER_HOP = 16
_ENTRIES_PER_LOOK = 50_000

_JOINED = """SELECT CAST(group_concat({line}, '') AS BLOB), max(seq), count(*)
             FROM (SELECT seq, id, line FROM messages
                   WHERE topic = :topic AND seq > :after AND seq <= :upto AND expires > :now
                   ORDER BY seq {order} LIMIT :rows)"""
_ID_SHAPE = ":before_id || id || :before_line || line || :after_line"
_PLAIN_SHAPE = "line || :after_line"
JOINED = {
    (with_id, latest): _JOINED.format(
        line=_ID_SHAPE if with_id else _PLAIN_SHAPE, order="DESC" if latest else "ASC"
    )
    for with_id in (False, True)
    for latest in (False, True)
}
ONE_TOPIC = """SELECT seq, id, line FROM messages
               WHERE topic = ? AND seq > ? AND seq <= ? AND expires > ? ORDER BY seq LIMIT ?"""
MANY_TOPICS = """SELECT seq, messages.id, line FROM json_each(?) AS wanted
                 CROSS JOIN messages ON topic = wanted.value
                 WHERE seq > ? AND seq <= ? AND expires > ? ORDER BY seq LIMIT ?"""
LATEST = """SELECT (SELECT seq FROM messages WHERE topic = wanted.value AND seq <= ? AND expires > ?
                    ORDER BY seq DESC LIMIT 1) FROM json_each(?) AS wanted"""
MESSAGES_BY_SEQ = """SELECT seq, messages.id, line FROM json_each(?) AS wanted
                     CROSS JOIN messages ON seq = wanted.value"""
PENDING = """SELECT due, entry FROM json_each(?) AS wanted
             CROSS JOIN scheduled ON topic = wanted.value
             WHERE due >= ? AND (due, entry) > (?, ?) ORDER BY due, entry LIMIT ?"""
PENDING_BY_ENTRY = """SELECT entry, scheduled.id, line FROM json_each(?) AS wanted
                      CROSS JOIN scheduled ON entry = wanted.value"""
BY_ID = "SELECT seq FROM messages WHERE id = ?"
STORED_FROM = "SELECT seq, stored FROM messages WHERE seq >= ? ORDER BY seq LIMIT 1"
_ENDS = "SELECT (SELECT min(seq) FROM messages), (SELECT max(seq) FROM messages)"

Lines = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Start:
    """Nothing is read yet, and `since` is not resolved."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Among the visible messages.

    Attributes:
        after: the last `seq` that is done.
        rows: how many to read at most.
        span: how far to look at once, in `seq`.
    """

    after: int
    rows: int = CHUNK_ROWS
    span: int = _FIRST_SPAN


@dataclass(frozen=True, slots=True)
class Chosen:
    """Among visible messages that are chosen already (the newest of each topic)."""

    seqs: tuple[int, ...]
    rows: int = CHUNK_ROWS


@dataclass(frozen=True, slots=True)
class Pending:
    """Among the scheduled messages.

    Attributes:
        due, entry: where the last look ended.
        entries: what it found and is still to be read.
    """

    due: int = -(2**63)
    entry: int = 0
    entries: tuple[int, ...] = ()
    rows: int = CHUNK_ROWS


Place = Start | Visible | Chosen | Pending


def beginning(connection: sqlite3.Connection, since: Since) -> int:
    """Return the `seq` after which a replay begins; 0, so everything, if the id is unknown."""
    if since.kind is SinceKind.ID:
        row = connection.execute(BY_ID, (since.id,)).fetchone()
        return int(row[0]) if row else 0
    if since.kind is SinceKind.TIME:
        return first_stored(connection, since.time) - 1
    return 0


def first_stored(connection: sqlite3.Connection, time: float) -> int:
    """Return a `seq` from which on messages became visible at `time` or later, and before which none did."""
    low, newest = connection.execute(_ENDS).fetchone()
    if newest is None:
        return 0
    high = newest + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(STORED_FROM, (middle,)).fetchone()
        if row is None or row[1] >= time:  # None: pruned just now
            high = middle
        else:
            low = row[0] + 1
    return int(low)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedReplay:
    """`MessageStore.replay_joined`: SQLite joins the lines, so that a row costs no Python at all."""

    topic: str
    since: Since
    upto: int
    now: float
    shape: Shape

    def start(self) -> Place | None:
        """Return the first place."""
        return None if self.since.kind is SinceKind.NONE else Start()

    def step(self, connection: sqlite3.Connection, place: Place) -> tuple[bytes | None, Place | None]:
        """Read the chunk at `place`."""
        latest = self.since.kind is SinceKind.LATEST
        if not isinstance(place, Visible):
            place = Visible(beginning(connection, self.since), 1 if latest else CHUNK_ROWS)
        parameters = {
            "topic": self.topic,
            "after": place.after,
            "upto": self.upto,
            "now": self.now,
            "rows": place.rows,
            "before_line": self.shape.before_line,
            "after_line": self.shape.after_line,
            "before_id": self.shape.before_id,
        }
        statement = JOINED[bool(self.shape.before_id), latest]
        chunk, last, count = connection.execute(statement, parameters).fetchone()
        if latest or count < place.rows:
            return chunk, None
        return chunk, Visible(last, _next_rows(count, len(chunk)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReplay:
    """`MessageStore.replay`: the lines one by one, of any number of topics, then what is pending."""

    topics: tuple[str, ...]
    since: Since
    upto: int
    now: float
    scheduled: bool

    def start(self) -> Place | None:
        """Return the first place."""
        return Start() if self.topics and self.since.kind is not SinceKind.NONE else None

    def step(self, connection: sqlite3.Connection, place: Place) -> tuple[Lines | None, Place | None]:
        """Read the chunk at `place`."""
        if isinstance(place, Start):
            if self.since.kind is SinceKind.LATEST:
                place = self._newest(connection)
            else:
                place = Visible(beginning(connection, self.since))
        if isinstance(place, Chosen):
            return self._chosen(connection, place)
        if isinstance(place, Pending):
            return self._pending(connection, place)
        if len(self.topics) == 1:
            return self._visible_of_one(connection, place)
        return self._visible_of_many(connection, place)

    def _visible_of_one(
        self, connection: sqlite3.Connection, place: Visible
    ) -> tuple[Lines | None, Place | None]:
        rows = connection.execute(
            ONE_TOPIC, (self.topics[0], place.after, self.upto, self.now, place.rows)
        ).fetchall()
        if len(rows) < place.rows:
            return _lines(rows), self._after_visible()
        return _lines(rows), Visible(rows[-1][0], _next_rows_of(rows))

    def _visible_of_many(
        self, connection: sqlite3.Connection, place: Visible
    ) -> tuple[Lines | None, Place | None]:
        """Look at all topics over a stretch of `seq`, so that only that needs sorting."""
        topics = json.dumps(self.topics)
        for _ in range(_LOOKS_PER_HOP):
            end = min(place.after + place.span, self.upto)
            rows = connection.execute(
                MANY_TOPICS, (topics, place.after, end, self.now, place.rows)
            ).fetchall()
            if len(rows) == place.rows:  # there may be more of them in this stretch
                last = rows[-1][0]
                return _lines(rows), Visible(last, _next_rows_of(rows), max(1, last - place.after))
            if end >= self.upto:
                return _lines(rows), self._after_visible()
            place = replace(place, after=end, span=min(2 * place.span, _MAX_SPAN))
            if rows:
                return _lines(rows), replace(place, rows=_next_rows_of(rows))
        return None, place

    def _newest(self, connection: sqlite3.Connection) -> Chosen:
        found = connection.execute(LATEST, (self.upto, self.now, json.dumps(self.topics))).fetchall()
        return Chosen(tuple(sorted(seq for (seq,) in found if seq is not None)))

    def _chosen(self, connection: sqlite3.Connection, place: Chosen) -> tuple[Lines | None, Place | None]:
        wanted, rest = place.seqs[: place.rows], place.seqs[place.rows :]
        rows = connection.execute(MESSAGES_BY_SEQ, (json.dumps(wanted),)).fetchall()
        return _lines(rows), Chosen(rest, _next_rows_of(rows)) if rest else None

    def _after_visible(self) -> Place | None:
        return Pending() if self.scheduled else None

    def _pending(self, connection: sqlite3.Connection, place: Pending) -> tuple[Lines | None, Place | None]:
        """Find out the order of what is pending in one go, and read the lines in chunks."""
        if not place.entries:
            earliest = self.since.time if self.since.kind is SinceKind.TIME else place.due
            parameters = (json.dumps(self.topics), earliest, place.due, place.entry, _ENTRIES_PER_LOOK)
            found = connection.execute(PENDING, parameters).fetchall()
            if not found:
                return None, None
            place = replace(
                place, due=found[-1][0], entry=found[-1][1], entries=tuple(entry for _, entry in found)
            )
        wanted, rest = place.entries[: place.rows], place.entries[place.rows :]
        rows = connection.execute(PENDING_BY_ENTRY, (json.dumps(wanted),)).fetchall()
        return _lines(rows), replace(place, entries=rest, rows=_next_rows_of(rows))


def _lines(rows: Sequence[tuple[int, str, bytes]]) -> Lines:
    return [(id_, line) for _, id_, line in rows]


def _next_rows_of(rows: Sequence[tuple[int, str, bytes]]) -> int:
    return _next_rows(len(rows), sum(len(row[2]) for row in rows))


def _next_rows(count: int, size_bytes: int) -> int:
    """Return how many rows make a chunk, going by the last one."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES * max(count, 1) // max(size_bytes, 1)))
