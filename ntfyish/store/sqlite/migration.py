"""Looks at a database file before anything is changed, and brings it to the newest schema version.

`database` calls both when it opens a file to write to it. They run in the connection's thread.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ntfyish.store.sqlite.failures import DatabaseUnusable
from ntfyish.store.sqlite.schema import Schema, Step

# Reading through 64 MiB takes some 0.2 s. A larger file is trusted until SQLite stumbles over it.
QUICK_CHECK_BYTES = 64 * 1024 * 1024
_HEADER_BYTES = 100


def inspect(path: Path, schema: Schema) -> None:
    """Refuse the file unless it is empty or an undamaged database of ours that we understand.

    Raises:
        DatabaseUnusable: see there.
        sqlite3.Error: it is not a database, is damaged or locked.
    """
    size = path.stat().st_size
    if 0 < size < _HEADER_BYTES:  # SQLite takes a file of one byte for an empty one
        raise DatabaseUnusable(path, "it is not a database")
    if size == 0:
        if _size(path.with_name(path.name + "-wal")):  # SQLite would take the file for new, and drop the log
            raise DatabaseUnusable(path, "it is empty, but its write-ahead log is not")
        return
    try:
        _inspect(path, schema, "ro")
    except sqlite3.Error as error:
        # After a crash amid a commit only a connection that may write can roll the journal back.
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        if not _size(path.with_name(path.name + "-journal")):
            raise
        _inspect(path, schema, "rw")


def migrate(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Run the steps that are missing, each in a transaction of its own, so that a cut-off run goes on later.

    An existing file of an older version is first copied to ``<name>.bak-v<version>``.
    """
    version = _pragma(connection, "user_version")
    if 0 < version < len(schema.steps):
        _back_up(connection, path.with_name(f"{path.name}.bak-v{version}"))
    while version < len(schema.steps):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _pragma(connection, "user_version")  # another process may have been faster
            if version < len(schema.steps):
                _run(connection, schema.steps[version])
                version += 1
                connection.execute(f"PRAGMA application_id = {schema.application_id}")
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _inspect(path: Path, schema: Schema, mode: str) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        owner = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner != schema.application_id and (owner or version or tables):
            raise DatabaseUnusable(path, f"it is not a {schema.name} of ntfyish")
        if version > len(schema.steps):
            raise DatabaseUnusable(
                path,
                f"its schema version {version} is newer than {len(schema.steps)}, the newest that this "
                "ntfyish knows; install a newer ntfyish",
            )
        if path.stat().st_size <= QUICK_CHECK_BYTES:
            (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if finding != "ok":
                raise DatabaseUnusable(path, f"it is damaged: {' '.join(finding.split())}")


def _run(connection: sqlite3.Connection, step: Step) -> None:
    if callable(step):
        step(connection)
        return
    for statement in step:
        connection.execute(statement)


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the database; `target` is either whole or not there, and nobody else may read it."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(partial)) as copy:
        connection.backup(copy)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
