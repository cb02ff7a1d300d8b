"""What went wrong in SQLite, in the product's own words.

`refusal` serves every read and write of a running server; `unusable` serves the start. Both go by
SQLite's result codes (https://www.sqlite.org/rescode.html), never by its texts.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from ntfyish.model.errors import Conflict, Invalid, NotFound, NtfyishError, Reason, Unavailable

_log = logging.getLogger(__name__)

# What the work of a thread may raise; anything else is a mistake in the program and ends in the task guard.
WORK_FAILURES = (sqlite3.Error, NtfyishError, MemoryError, OverflowError, UnicodeError)

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BROKEN = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_INTERNAL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_TAKEN = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    }
)
_UNUSABLE = {
    sqlite3.SQLITE_BUSY: "another program holds its lock",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_LOCKED: "another program holds its lock",
    sqlite3.SQLITE_NOTADB: "it is not a database",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_READONLY: "it is read-only",
}


class DatabaseUnusable(Exception):
    """The server cannot start with this file, and has not touched it.

    Attributes:
        path: the file or folder.
        why: what is wrong with it, as the rest of a sentence.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def _codes(error: BaseException) -> tuple[int, int]:
    """Return the extended and the primary result code; 0 and 0 if SQLite did not raise it."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended, extended & 0xFF


def _is_full(extended: int, primary: int) -> bool:
    # SQLite says FULL for ENOSPC only. A quota (EDQUOT) and a file size limit (EFBIG) are IOERR_WRITE; a
    # failing disk is not: its errors come with fsync, because a write only fills the page cache.
    return primary == sqlite3.SQLITE_FULL or extended in (
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    )


def is_about_storage(error: BaseException) -> bool:
    """Whether the error is the database's trouble, and not that of one piece of work."""
    primary = _codes(error)[1]
    if primary in _BUSY or primary in _BROKEN or primary == sqlite3.SQLITE_FULL:
        return True
    return isinstance(error, MemoryError)


def refusal(error: BaseException) -> NtfyishError:
    """Return a new error to raise to whoever asked.

    Conflict if something is taken, NotFound if what it refers to is missing, Invalid if a value does not
    fit into a column, else Unavailable with STORAGE_BUSY, STORAGE_FULL or STORAGE_BROKEN.
    """
    extended, primary = _codes(error)
    if isinstance(error, NtfyishError):
        return type(error)(error.reason, error.detail)
    if primary in _BUSY:
        return Unavailable(Reason.STORAGE_BUSY)
    if _is_full(extended, primary):
        return Unavailable(Reason.STORAGE_FULL)
    if extended in _TAKEN:
        return Conflict()
    if extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return NotFound()
    if isinstance(error, OverflowError | UnicodeError | sqlite3.DataError):
        return Invalid(Reason.REQUEST_INVALID)
    _log.error("The database does not work", exc_info=error)
    return Unavailable(Reason.STORAGE_BROKEN)


def unusable(path: Path, error: BaseException) -> DatabaseUnusable:
    """Return what to tell the person who starts the server."""
    extended, primary = _codes(error)
    if _is_full(extended, primary):
        primary = sqlite3.SQLITE_FULL
    return DatabaseUnusable(path, _UNUSABLE.get(primary) or f"it cannot be used: {error}")
