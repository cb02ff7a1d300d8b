"""The tables of the people database: how a value becomes a row, and a row a value again.

`people` decides what is written when, within which transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from ntfyish.model.errors import NotFound, Reason, Unavailable
from ntfyish.model.people import AccessToken, Account, App, AppToken, Flavour, Role, TopicKey, UserKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[T]):
    """One kind of value and its table.

    Attributes:
        columns: all of them; the first is the primary key. There is one more, `declared`.
        to_row: returns the columns of a value, in that order, and then `declared`.
        from_row: the reverse, from as many arguments.
    """

    name: str
    columns: tuple[str, ...]
    to_row: Callable[[T], tuple[object, ...]]
    from_row: Callable[..., T]

    def load(self, connection: sqlite3.Connection) -> tuple[T, ...]:
        """Return all rows in the order of their key.

        Raises:
            Unavailable: STORAGE_BROKEN if a value is one that this version does not know.
        """
        columns = ", ".join(self.columns)
        rows = connection.execute(f"SELECT {columns}, declared FROM {self.name} ORDER BY 1").fetchall()
        try:
            return tuple(self.from_row(*row) for row in rows)
        except (TypeError, ValueError) as error:
            raise Unavailable(Reason.STORAGE_BROKEN, f"unknown value in the table {self.name}") from error

    def insert(self, connection: sqlite3.Connection, value: T) -> None:
        """Add a row."""
        self._write(connection, value, "")

    def put(self, connection: sqlite3.Connection, value: T) -> None:
        """Add a row, or make the one with the same key equal to it."""
        updates = ", ".join(f"{name} = excluded.{name}" for name in (*self.columns[1:], "declared"))
        self._write(connection, value, f"ON CONFLICT ({self.columns[0]}) DO UPDATE SET {updates}")

    def delete(self, connection: sqlite3.Connection, key: str) -> None:
        """Delete a row, and what refers to it.

        Raises:
            NotFound: there is none.
        """
        statement = f"DELETE FROM {self.name} WHERE {self.columns[0]} = ?"
        if connection.execute(statement, (key,)).rowcount == 0:
            raise NotFound

    def forget_declared(self, connection: sqlite3.Connection, kept: Sequence[T]) -> None:
        """Delete the declared rows whose key is not among `kept`."""
        keys = orjson.dumps([self.key_of(value) for value in kept]).decode()
        connection.execute(
            f"DELETE FROM {self.name} "
            f"WHERE declared AND {self.columns[0]} NOT IN (SELECT value FROM json_each(?))",
            (keys,),
        )

    def key_of(self, value: T) -> object:
        """Return the primary key of a value."""
        return self.to_row(value)[0]

    def _write(self, connection: sqlite3.Connection, value: T, on_conflict: str) -> None:
        columns, marks = ", ".join(self.columns), ", ".join("?" * len(self.columns))
        connection.execute(
            f"INSERT INTO {self.name} ({columns}, declared) VALUES ({marks}, ?) {on_conflict}",
            self.to_row(value),
        )


def _account_to_row(account: Account) -> tuple[object, ...]:
    return (
        account.name,
        account.user_key,
        account.password_hash,
        account.role.value,
        account.email,
        orjson.dumps(account.devices).decode(),
        account.stream,
        account.declared,
    )


def _account_from_row(
    name: str,
    user_key: str,
    password_hash: str,
    role: str,
    email: str,
    devices: str,
    stream: int,
    declared: int,
) -> Account:
    return Account(
        name=name,
        user_key=UserKey(user_key),
        password_hash=password_hash,
        role=Role(role),
        email=email,
        devices=tuple(orjson.loads(devices)),
        stream=bool(stream),
        declared=bool(declared),
    )


def _app_to_row(app: App) -> tuple[object, ...]:
    return (
        app.token,
        app.name,
        app.account,
        app.flavour.value,
        app.monthly_limit,
        app.enabled,
        app.declared,
    )


def _app_from_row(
    token: str, name: str, account: str, flavour: str, monthly_limit: int, enabled: int, declared: int
) -> App:
    return App(
        token=AppToken(token),
        name=name,
        account=account,
        flavour=Flavour(flavour),
        monthly_limit=monthly_limit,
        enabled=bool(enabled),
        declared=bool(declared),
    )


def _key_to_row(key: TopicKey) -> tuple[object, ...]:
    return (key.key, key.topic, key.declared)


def _key_from_row(key: str, topic: str, declared: int) -> TopicKey:
    return TopicKey(key=key, topic=topic, declared=bool(declared))


def _token_to_row(token: AccessToken) -> tuple[object, ...]:
    return (token.token_hash, token.account, token.label, token.hint, token.expires_at, token.declared)


def _token_from_row(
    token_hash: str, account: str, label: str, hint: str, expires_at: int, declared: int
) -> AccessToken:
    return AccessToken(
        token_hash=token_hash,
        account=account,
        label=label,
        hint=hint,
        expires_at=expires_at,
        declared=bool(declared),
    )


ACCOUNTS = Table(
    name="accounts",
    columns=("name", "user_key", "password_hash", "role", "email", "devices", "stream"),
    to_row=_account_to_row,
    from_row=_account_from_row,
)
APPS = Table(
    name="apps",
    columns=("token", "name", "account", "flavour", "monthly_limit", "enabled"),
    to_row=_app_to_row,
    from_row=_app_from_row,
)
KEYS = Table(name="topic_keys", columns=("key", "topic"), to_row=_key_to_row, from_row=_key_from_row)
TOKENS = Table(
    name="access_tokens",
    columns=("token_hash", "account", "label", "hint", "expires_at"),
    to_row=_token_to_row,
    from_row=_token_from_row,
)
