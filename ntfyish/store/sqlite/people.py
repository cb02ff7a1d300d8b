"""Who is known, and who may do what, in SQLite: `PeopleStore`.

Opened by the composition root, and by the command line while a server runs: this file has no exclusive
owner. Everything is small, so one connection serves reads and writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ntfyish.core.ports import Add, Change, DeadDevice, People, PeopleChange, Put, Record, Remove
from ntfyish.model.errors import Conflict
from ntfyish.model.people import Account, Group, TopicKey, UserKey, new_key
from ntfyish.model.push import PushDevice
from ntfyish.model.subscription import Subscriber
from ntfyish.store.sqlite.database import Database, connect_to_write
from ntfyish.store.sqlite.failures import WORK_FAILURES, refusal
from ntfyish.store.sqlite.people_declared import reconcile
from ntfyish.store.sqlite.people_push_devices import bury_devices, touch_devices
from ntfyish.store.sqlite.people_tables import (
    ACCOUNTS,
    ALIASES,
    APPS,
    DEVICES,
    ENTRIES,
    GROUPS,
    KEYS,
    PUSH_DEVICES,
    SECRETS,
    SOUNDS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    TABLES,
    TEAMS,
    TIERS,
    TOKENS,
    note_use,
)
from ntfyish.store.sqlite.schema import PEOPLE

FILE_NAME = "people.db"

_KEY_SHARED = "a key is already that of another account, topic or group"

T = TypeVar("T")


class PeopleDatabase:
    """`PeopleStore` in the file ``people.db``. See the port for what each method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Both belong to the thread.
        self._seen_revision = 0
        self._snapshot: People | None = None
        self._touched: dict[str, int] = {}

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
        """Return a consistent snapshot, each kind in the order of its identities.

        As long as nothing has changed it is the same object, and costs next to nothing.
        """
        return await self._run(self._load)

    async def changed(self) -> bool:
        """Whether anybody has written since the last `load`; True before the first."""
        return await self._run(lambda raw: _revision(raw) != self._seen_revision)

    async def apply(self, *changes: PeopleChange) -> None:
        """Make all changes in their order, in one transaction: all or none.

        An account without a user key keeps the one it has, or gets a new one.
        """
        if changes:
            await self._write(partial(_apply, changes=changes))

    async def touch_tokens(self, used: Sequence[tuple[str, int, str]]) -> None:
        """Note uses of tokens: (token hash, Unix seconds, address). Does not count as a change.

        Tokens that are gone are passed over, and a use before the one already noted is, too. The next
        `load` returns the uses noted here; those that another process notes come with the next change.
        """
        if used:
            await self._note(partial(_note_uses, used=tuple(used)))

    async def touch_devices(self, devices: Sequence[str], registered_at: int) -> int:
        """Note that push devices (ids) were registered again, unchanged. Does not count as a change.

        Returns how many of them there are. As with tokens, it is in what this object loads next.
        """
        return await self._run(partial(self._touch, tuple(devices), registered_at)) if devices else 0

    async def bury_devices(self, dead: Sequence[DeadDevice]) -> int:
        """Remove push devices that their service has disowned, in one transaction; return how many.

        One with another token by now, or that was registered after `gone_at` (0: whenever), stays. One that
        is declared is marked dead instead, and counts.
        """
        return await self._write(partial(bury_devices, dead=tuple(dead))) if dead else 0

    async def sound_file(self, name: str) -> bytes | None:
        """Return the file of the custom sound of that name."""
        statement = "SELECT data FROM custom_sound_files WHERE name = ?"
        row = await self._run(lambda raw: raw.execute(statement, (name,)).fetchone())
        return None if row is None else bytes(row[0])

    async def reconcile(self, declared: People) -> None:
        """Make what is marked `declared` in the store equal to `declared`, in one transaction.

        What is declared is marked so, whatever it says itself. It takes over a record of the same identity.
        An account keeps what it does not declare: its user key (without one it gets a new one), password
        hash, tier, sync topic, preferences. What is no longer declared goes, an account with all it has. What
        a push device keeps: see `reconcile_push_devices`.

        Tiers are not declared: those in `declared` are ignored.

        Raises:
            Conflict: something is declared twice, or a key is somebody else's.
            NotFound: ACCOUNT_UNKNOWN; an app, token, access entry, group or member names an account that does
                not exist. The detail says which.
        """
        await self._write(partial(_reconcile, declared=declared))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.run(work)
        except WORK_FAILURES as error:
            raise refusal(error) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def counted(connection: sqlite3.Connection) -> T:
            before = connection.total_changes
            result = work(connection)
            if connection.total_changes != before:
                connection.execute("UPDATE revision SET number = number + 1")
            return result

        return await self._run(partial(_in_transaction, counted))

    def _touch(self, ids: tuple[str, ...], registered_at: int, connection: sqlite3.Connection) -> int:
        work = partial(touch_devices, ids=ids, registered_at=registered_at)
        count = _in_transaction(work, connection)
        self._touched.update(dict.fromkeys(ids, registered_at))
        return count

    async def _note(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Write what does not count as a change, but is to be in what is loaded next."""

        def noted(connection: sqlite3.Connection) -> None:
            _in_transaction(work, connection)
            self._snapshot = None

        await self._run(noted)

    def _load(self, connection: sqlite3.Connection) -> People:
        connection.execute("BEGIN")
        try:
            revision = _revision(connection)
            if self._snapshot is None or revision != self._seen_revision:
                self._snapshot = People(
                    accounts=ACCOUNTS.load(connection),
                    apps=APPS.load(connection),
                    keys=KEYS.load(connection),
                    tokens=TOKENS.load(connection),
                    access=ENTRIES.load(connection),
                    tiers=TIERS.load(connection),
                    groups=GROUPS.load(connection),
                    secrets=SECRETS.load(connection),
                    devices=DEVICES.load(connection),
                    aliases=ALIASES.load(connection),
                    subscriptions=SUBSCRIPTIONS.load(connection),
                    subscribers=SUBSCRIBERS.load(connection),
                    teams=TEAMS.load(connection),
                    sounds=SOUNDS.load(connection),
                    push_devices=PUSH_DEVICES.load(connection),
                )
            elif self._touched:
                # Apps register whenever they start: reading everything again each time would be too slow.
                devices = tuple(_touched(one, self._touched) for one in self._snapshot.push_devices)
                self._snapshot = replace(self._snapshot, push_devices=devices)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._seen_revision = revision
        self._touched.clear()
        return self._snapshot


def _in_transaction(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    if connection.in_transaction:  # a rollback failed as well
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
        return result
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _revision(connection: sqlite3.Connection) -> int:
    """Return a number that grows with each change, whoever makes it."""
    (number,) = connection.execute("SELECT number FROM revision").fetchone()
    return int(number)


def _touched(device: PushDevice, times: Mapping[str, int]) -> PushDevice:
    if (registered_at := times.get(device.id)) is None:
        return device
    return replace(device, registered_at=max(device.registered_at, registered_at), warned_at=0)


def _note_uses(connection: sqlite3.Connection, used: Sequence[tuple[str, int, str]]) -> None:
    for token_hash, used_at, origin in used:
        note_use(connection, token_hash, used_at, origin)


def _apply(connection: sqlite3.Connection, changes: Sequence[PeopleChange]) -> None:
    written = []
    for change in changes:
        if isinstance(change, Remove):
            identity = change.identity if isinstance(change.identity, tuple) else (change.identity,)
            TABLES[change.kind].delete(connection, identity)
            continue
        record = _completed(connection, change.record)
        table = TABLES[type(record)]
        match change:
            case Add():
                table.insert(connection, record)
            case Change():
                table.update(connection, record)
            case Put():
                table.put(connection, record)
        written.append(record)
    _check_recipients(connection, written)


def _reconcile(connection: sqlite3.Connection, declared: People) -> None:
    reconcile(connection, declared)
    shared = "SELECT 1 FROM recipients GROUP BY key HAVING count(*) > 1 LIMIT 1"
    if connection.execute(shared).fetchone():
        raise Conflict(detail=_KEY_SHARED)


def _completed(connection: sqlite3.Connection, record: Record) -> Record:
    if not isinstance(record, Account) or record.user_key:
        return record
    statement = "SELECT user_key FROM accounts WHERE name = ?"
    (kept,) = connection.execute(statement, (record.name,)).fetchone() or ("",)
    return replace(record, user_key=UserKey(kept or new_key("u")))


def _check_recipients(connection: sqlite3.Connection, written: Sequence[Record]) -> None:
    """Refuse a key that things of different kinds share."""
    keys: list[str] = [record.user_key for record in written if isinstance(record, Account)]
    keys += [record.key for record in written if isinstance(record, TopicKey | Group | Subscriber)]
    shared = "SELECT 1 FROM recipients WHERE key = ? LIMIT 1 OFFSET 1"
    if any(connection.execute(shared, (key,)).fetchone() for key in keys):
        raise Conflict(detail=_KEY_SHARED)
