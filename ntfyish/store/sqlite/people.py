"""Accounts, apps, topic keys and access tokens in SQLite: `PeopleStore`.

Opened by the composition root, and by the command line while a server runs: this file has no exclusive
owner. Everything is small, so one connection serves reads and writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ntfyish.core.ports import People
from ntfyish.model.errors import Conflict
from ntfyish.model.people import AccessToken, Account, App, TopicKey, UserKey, new_key
from ntfyish.store.sqlite.database import Database, connect_to_write
from ntfyish.store.sqlite.failures import WORK_FAILURES, refusal
from ntfyish.store.sqlite.people_tables import ACCOUNTS, APPS, KEYS, TOKENS, Table
from ntfyish.store.sqlite.schema import PEOPLE

FILE_NAME = "people.db"

T = TypeVar("T")


class PeopleDatabase:
    """`PeopleStore` in the file ``people.db``. See the port for what each method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Both belong to the thread.
        self._seen_version: int | None = None
        self._has_written = False

    @classmethod
    @asynccontextmanager
    async def open(cls, data_dir: Path, busy_timeout_s: float = 5.0) -> AsyncIterator[PeopleDatabase]:
        """Open or create the database, and close it on the way out.

        Raises:
            DatabaseUnusable: what is there cannot be used.
        """
        connect = partial(connect_to_write, data_dir / FILE_NAME, PEOPLE, busy_timeout_s)
        async with Database.open(connect) as database:
            yield cls(database)

    async def load(self) -> People:
        """Return a consistent snapshot, each kind in the order of its key."""
        return await self._run(self._load)

    async def changed(self) -> bool:
        """Whether anybody has written since the last `load`; True before the first."""
        return await self._run(lambda raw: self._has_written or _data_version(raw) != self._seen_version)

    async def add_account(self, account: Account) -> None:
        """Add an account; one without a user key gets a new one."""
        await self._write(lambda raw: _add_account(raw, account))

    async def remove_account(self, name: str) -> None:
        """Remove an account with its apps and tokens."""
        await self._write(lambda raw: ACCOUNTS.delete(raw, name))

    async def add_app(self, app: App) -> None:
        """Add an app; its account must exist."""
        await self._write(lambda raw: APPS.insert(raw, app))

    async def remove_app(self, token: str) -> None:
        """Remove an app."""
        await self._write(lambda raw: APPS.delete(raw, token))

    async def add_key(self, key: TopicKey) -> None:
        """Add a topic key."""
        await self._write(lambda raw: _add_key(raw, key))

    async def remove_key(self, key: str) -> None:
        """Remove a topic key."""
        await self._write(lambda raw: KEYS.delete(raw, key))

    async def add_token(self, token: AccessToken) -> None:
        """Add an access token; its account must exist."""
        await self._write(lambda raw: TOKENS.insert(raw, token))

    async def remove_token(self, token_hash: str) -> None:
        """Remove an access token."""
        await self._write(lambda raw: TOKENS.delete(raw, token_hash))

    async def reconcile(self, declared: People) -> None:
        """Make what is marked `declared` in the store equal to `declared`, in one transaction.

        What is declared is marked so, whatever it says itself. It takes over a row of the same name
        (account), token (app, access token) or key. An account that declares no user key or no password
        hash keeps what it has; without a user key it gets a new one. What is no longer declared goes, an
        account with all its apps and tokens.

        Raises:
            Conflict: something is declared twice, or a user key or topic key is somebody else's.
            NotFound: an app or a token names an account that does not exist.
        """
        await self._write(lambda raw: _reconcile(raw, declared))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.run(work)
        except WORK_FAILURES as error:
            raise refusal(error) from error

    async def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        await self._run(partial(self._write_in_thread, work))

    def _write_in_thread(
        self, work: Callable[[sqlite3.Connection], None], connection: sqlite3.Connection
    ) -> None:
        if connection.in_transaction:  # a rollback failed as well
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        try:
            work(connection)
            connection.execute("COMMIT")
            self._has_written = True
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _load(self, connection: sqlite3.Connection) -> People:
        # Before the snapshot: a change that falls in between is then seen as one.
        version = _data_version(connection)
        connection.execute("BEGIN")
        try:
            people = People(
                accounts=ACCOUNTS.load(connection),
                apps=APPS.load(connection),
                keys=KEYS.load(connection),
                tokens=TOKENS.load(connection),
            )
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._seen_version, self._has_written = version, False
        return people


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection has committed."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _add_account(connection: sqlite3.Connection, account: Account) -> None:
    if not account.user_key:
        account = replace(account, user_key=UserKey(new_key("u")))
    ACCOUNTS.insert(connection, account)
    _check_recipients(connection)


def _add_key(connection: sqlite3.Connection, key: TopicKey) -> None:
    KEYS.insert(connection, key)
    _check_recipients(connection)


def _check_recipients(connection: sqlite3.Connection) -> None:
    """Refuse a key that two things of different kinds share."""
    if connection.execute("SELECT 1 FROM recipients GROUP BY key HAVING count(*) > 1 LIMIT 1").fetchone():
        raise Conflict(detail="a key is both a user key and a topic key")


def _reconcile(connection: sqlite3.Connection, declared: People) -> None:
    # What refers to an account goes before the accounts, and comes after them.
    _forget(connection, TOKENS, declared.tokens)
    _forget(connection, KEYS, declared.keys)
    _forget(connection, APPS, declared.apps)
    _forget(connection, ACCOUNTS, declared.accounts)
    _put_accounts(connection, declared.accounts)
    for app in declared.apps:
        APPS.put(connection, replace(app, declared=True))
    for key in declared.keys:
        KEYS.put(connection, replace(key, declared=True))
    for token in declared.tokens:
        TOKENS.put(connection, replace(token, declared=True))
    _check_recipients(connection)


def _forget(connection: sqlite3.Connection, table: Table[T], declared: Sequence[T]) -> None:
    if len({table.key_of(value) for value in declared}) != len(declared):
        raise Conflict(detail=f"two of the declared {table.name.replace('_', ' ')} are the same")
    table.forget_declared(connection, declared)


def _put_accounts(connection: sqlite3.Connection, declared: Sequence[Account]) -> None:
    stored = {account.name: account for account in ACCOUNTS.load(connection)}
    final = [_completed(account, stored.get(account.name)) for account in declared]
    names = {account.name for account in final}
    taken = {account.user_key for name, account in stored.items() if name not in names}
    for account in final:
        if account.user_key in taken:
            raise Conflict(detail=f"the user key of the account {account.name} belongs to another account")
        taken.add(account.user_key)
    # Two accounts may exchange their keys, so all old ones are taken away first ("!" is in no key).
    for account in final:
        connection.execute("UPDATE accounts SET user_key = '!' || name WHERE name = ?", (account.name,))
    for account in final:
        ACCOUNTS.put(connection, account)


def _completed(account: Account, stored: Account | None) -> Account:
    """Return the account as it is to be stored, given what is stored under its name."""
    kept_key, kept_hash = ("", "") if stored is None else (stored.user_key, stored.password_hash)
    return replace(
        account,
        user_key=UserKey(account.user_key or kept_key or new_key("u")),
        password_hash=account.password_hash or kept_hash,
        declared=True,
    )
