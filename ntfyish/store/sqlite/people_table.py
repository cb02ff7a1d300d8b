"""One kind of record and its table: how a record becomes a row, and a row a record again.

`people_tables` describes the kinds; `people` and `people_declared` say what is written when. Everything runs
in the connection's thread, within the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ntfyish.model.errors import NotFound, Reason, Unavailable

T = TypeVar("T")

Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A field of a record, kept in the column of the same name.

    Attributes:
        write: makes what SQLite keeps of the value; None if that is the value itself.
        read: the reverse.
        source: an SQL expression to read it by, if it is kept elsewhere; it is not written then.
    """

    name: str
    write: Callable[[Any], object] | None = None
    read: Callable[[Any], Any] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[T]):
    """One kind of record and its table.

    Attributes:
        make: makes a record from its fields.
        columns: all of them; those of the identity first.
        identity: how many columns make up the identity, which is the primary key.
        write_rest: writes what is kept elsewhere, once the row itself is there.
    """

    name: str
    make: Callable[..., T]
    columns: tuple[Column, ...]
    identity: int = 1
    write_rest: Callable[[sqlite3.Connection, T], None] | None = None

    def load(self, connection: sqlite3.Connection) -> tuple[T, ...]:
        """Return all records in the order of their identities.

        Raises:
            Unavailable: STORAGE_BROKEN if a value is one that this version does not know.
        """
        sources = ", ".join(column.source or column.name for column in self.columns)
        order = ", ".join(column.name for column in self.columns[: self.identity])
        rows = connection.execute(f"SELECT {sources} FROM {self.name} ORDER BY {order}").fetchall()
        try:
            return tuple(self._records(rows))
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(Reason.STORAGE_BROKEN, f"unknown value in the table {self.name}") from error

    def insert(self, connection: sqlite3.Connection, record: T) -> None:
        """Add a record."""
        self._insert(connection, record, "")

    def put(self, connection: sqlite3.Connection, record: T) -> None:
        """Add a record, or make the one of the same identity equal to it."""
        names = self._names()
        updates = ", ".join(f"{name} = excluded.{name}" for name in names[self.identity :])
        target = ", ".join(names[: self.identity])
        self._insert(connection, record, f"ON CONFLICT ({target}) DO UPDATE SET {updates}")

    def update(self, connection: sqlite3.Connection, record: T) -> None:
        """Make the record of the same identity equal to this one.

        Raises:
            NotFound: there is none.
        """
        values, names = self._row(record), self._names()
        updates = ", ".join(f"{name} = ?" for name in names[self.identity :])
        statement = f"UPDATE {self.name} SET {updates} WHERE {self._condition()}"
        arguments = (*values[self.identity :], *values[: self.identity])
        if connection.execute(statement, arguments).rowcount == 0:
            raise NotFound
        self._write_rest(connection, record)

    def delete(self, connection: sqlite3.Connection, identity: Identity) -> None:
        """Delete a record, and what refers to it.

        Raises:
            NotFound: there is none.
        """
        statement = f"DELETE FROM {self.name} WHERE {self._condition()}"
        if connection.execute(statement, identity).rowcount == 0:
            raise NotFound

    def declared(self, connection: sqlite3.Connection) -> list[Identity]:
        """Return the identities of the declared records."""
        names = ", ".join(column.name for column in self.columns[: self.identity])
        return connection.execute(f"SELECT {names} FROM {self.name} WHERE declared").fetchall()

    def identity_of(self, record: T) -> Identity:
        """Return the identity of a record."""
        return tuple(getattr(record, column.name) for column in self.columns[: self.identity])

    def _records(self, rows: list[tuple[object, ...]]) -> Iterator[T]:
        # By columns, not by rows: there may be tens of thousands of them.
        names = [column.name for column in self.columns]
        columns = [
            values if column.read is None else map(column.read, values)
            for column, values in zip(self.columns, zip(*rows, strict=True), strict=False)
        ]
        make = self.make
        return (make(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True))

    def _insert(self, connection: sqlite3.Connection, record: T, on_conflict: str) -> None:
        values, names = self._row(record), self._names()
        marks = ", ".join("?" * len(names))
        connection.execute(
            f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({marks}) {on_conflict}", values
        )
        self._write_rest(connection, record)

    def _write_rest(self, connection: sqlite3.Connection, record: T) -> None:
        if self.write_rest is not None:
            self.write_rest(connection, record)

    def _names(self) -> list[str]:
        return [column.name for column in self.columns if not column.source]

    def _row(self, record: T) -> list[object]:
        return [
            getattr(record, column.name)
            if column.write is None
            else column.write(getattr(record, column.name))
            for column in self.columns
            if not column.source
        ]

    def _condition(self) -> str:
        return " AND ".join(f"{column.name} = ?" for column in self.columns[: self.identity])
