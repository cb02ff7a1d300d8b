"""A SQLite connection and its thread: opens files, and runs whole functions in the thread.

`writer`, `reader` and `people` hand it functions of a `sqlite3.Connection`; one hop to the thread and back
is what a piece of work costs, whatever it does there. Nobody else talks to aiosqlite.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from ntfyish.model.errors import Reason, Unavailable
from ntfyish.store.sqlite.failures import DatabaseUnusable, unusable
from ntfyish.store.sqlite.migration import inspect, migrate
from ntfyish.store.sqlite.schema import Schema

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# A log that was longer is cut back to this when SQLite begins it anew: the file is longer than this only
# while that much awaits a check-point, and blocks of the disk that were allocated once are used again.
WAL_KEPT_BYTES = 8 * 1024 * 1024
_CACHE_KIB = 16 * 1024


class Database:
    """One open connection. Its functions run one after another, in the order they were handed in."""

    def __init__(self, connection: aiosqlite.Connection, raw: sqlite3.Connection) -> None:
        self._connection = connection
        self._raw = raw
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """Run `work` in the thread. It runs to its end even if the caller is cancelled.

        Raises:
            Unavailable: SHUTTING_DOWN if the connection is closed.
        """
        if self._closed:
            raise Unavailable(Reason.SHUTTING_DOWN)
        # aiosqlite offers single statements only, a hop each. A contract test pins this name.
        execute = cast(Callable[..., Coroutine[Any, Any, T]], self._connection._execute)
        return await execute(work, self._raw)

    @classmethod
    @asynccontextmanager
    async def open(cls, connect: Callable[[], sqlite3.Connection]) -> AsyncIterator[Database]:
        """Call `connect` in a new thread; close the connection and end the thread on the way out."""
        opened: list[sqlite3.Connection] = []
        failures: list[Exception] = []

        def attempt() -> sqlite3.Connection:
            # If this raised, aiosqlite would not wait for its thread, which could then outlive the loop.
            try:
                opened.append(connect())
            except (DatabaseUnusable, sqlite3.Error, OSError) as error:
                failures.append(error)
                opened.append(sqlite3.connect(":memory:"))
            return opened[0]

        connection = await aiosqlite.Connection(attempt, 64)
        database = cls(connection, opened[0])
        try:
            if failures:
                raise failures[0]
            yield database
        finally:
            database._closed = True
            await connection.close()


def connect_to_write(path: Path, schema: Schema, busy_timeout_s: float) -> sqlite3.Connection:
    """Open or create a database of ours and bring it to the newest version.

    Raises:
        DatabaseUnusable: the file has not been touched.
    """
    try:
        _prepare(path)
        inspect(path, schema)
        connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    try:
        _configure(connection, path, schema)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open a database, that some connection has open to write, for reading only."""
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_timeout_s, isolation_level=None
        )
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, so that one server at a time uses what it stands for.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        DatabaseUnusable: somebody else holds it, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatabaseUnusable(path.parent, "another ntfyish server is using this folder") from error
        except OSError as error:
            raise _refused(path, error) from error
        yield
    finally:
        os.close(descriptor)


def _prepare(path: Path) -> None:
    """Make folder and file, for the owner only, or find out that they cannot be written to."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise _refused(path, error) from error
    if not path.is_file():
        raise DatabaseUnusable(path, "it is not a file")
    # SQLite would open it all the same, and refuse the first write only.
    for needed in (path.parent, path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if needed.exists() and not os.access(needed, os.R_OK | os.W_OK):
            raise DatabaseUnusable(needed, "it is read-only, or belongs to somebody else")


def _configure(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    # EXTRA makes the end of a rollback journal durable too; with a write-ahead log it equals FULL.
    connection.execute("PRAGMA synchronous = EXTRA")
    (journal,) = connection.execute(f"PRAGMA journal_mode = {schema.journal}").fetchone()
    if journal.upper() != schema.journal:
        raise DatabaseUnusable(path, f"its file system does not allow the journal mode {schema.journal}")
    for pragma in (
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "secure_delete = FAST",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {WAL_KEPT_BYTES}",
        f"cache_size = -{_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    migrate(connection, path, schema)


def _refused(path: Path, error: OSError) -> DatabaseUnusable:
    return DatabaseUnusable(path, f"it cannot be opened: {error.strerror or error}")
