"""Databases full of messages: made by ntfyish itself, filled past it, counted past it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from bench.machine import BenchError

NUMBER_MARK = "row-"
_ALPHABET = string.ascii_letters + string.digits
_LIFE_S = 40_000


def row_text(number: int) -> str:
    """Return the text of a topic's message: 100 bytes that begin with its number."""
    return f"{NUMBER_MARK}{number:08d} ".ljust(100, "x")


def fill(data: Path, counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Add `counts[topic]` messages to each topic of the database in the folder `data`.

    Returns:
        the ids of the last three messages of each topic, in order.
    """
    last: dict[str, list[str]] = {topic: [] for topic in counts}
    with closing(sqlite3.connect(find_database(data), isolation_level=None)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(messages)")]
        database.execute("PRAGMA synchronous=OFF")
        database.execute("BEGIN")
        first = database.execute("SELECT coalesce(max(seq), 0) + 1 FROM messages").fetchone()[0]
        statement = (
            f"INSERT INTO messages ({','.join(columns)}) VALUES ({','.join(f':{name}' for name in columns)})"
        )
        database.executemany(statement, _rows(first, counts, last, columns))
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA optimize")
    return last


def _rows(
    seq: int, counts: Mapping[str, int], last: dict[str, list[str]], columns: list[str]
) -> Iterator[dict[str, object]]:
    now = int(time.time())
    for topic, count in counts.items():
        for number in range(count):
            message_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
            values = {
                "id": message_id,
                "time": now,
                "expires": now + _LIFE_S,
                "event": "message",
                "topic": topic,
                "message": row_text(number),
            }
            line = json.dumps(values, separators=(",", ":")).encode()
            if number >= count - 3:
                last[topic].append(message_id)
            row: dict[str, object] = dict.fromkeys(columns)
            row |= {"seq": seq, "id": message_id, "topic": topic, "stored": now, "expires": now + _LIFE_S}
            row["line"] = line
            yield row
            seq += 1


def count(data: Path) -> int:
    """Return how many messages are in the database in the folder `data`."""
    with closing(sqlite3.connect(find_database(data))) as database:
        return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])


def find_database(data: Path) -> Path:
    """Return the database in the folder `data` that has the messages."""
    for path in sorted(data.rglob("*")):
        if path.is_file() and _head(path) == b"SQLite format 3":
            with closing(sqlite3.connect(path)) as database:
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchone():
                    return path
    raise BenchError(f"no database with a table of messages in {data}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(15)
