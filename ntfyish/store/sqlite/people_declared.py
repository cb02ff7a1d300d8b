"""Makes what the configuration declares true in the people database: `PeopleStore.reconcile`.

`people` calls it in the connection's thread, within a transaction. What is so already is not written again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ntfyish.core.ports import People
from ntfyish.model.acl import EVERYONE, AclEntry
from ntfyish.model.errors import Conflict, NotFound, Reason
from ntfyish.model.people import AccessToken, Account, App, Group, MailAlias, UserKey, new_key
from ntfyish.model.push import PushDevice
from ntfyish.store.sqlite.people_push_devices import reconcile_push_devices
from ntfyish.store.sqlite.people_table import Identity, Table
from ntfyish.store.sqlite.people_tables import (
    ACCOUNTS,
    ALIASES,
    APPS,
    ENTRIES,
    GROUPS,
    KEYS,
    SUBSCRIPTIONS,
    TOKENS,
)

Stored = dict[Identity, Any]


def reconcile(connection: sqlite3.Connection, declared: People) -> None:
    """Make what is marked `declared` in the database equal to `declared`."""
    # What refers to an account goes before the accounts, and comes after them.
    dependent: tuple[tuple[Table[Any], Sequence[Any]], ...] = (
        (TOKENS, declared.tokens),
        (KEYS, declared.keys),
        (APPS, declared.apps),
        (ENTRIES, declared.access),
        (GROUPS, declared.groups),
        (ALIASES, declared.aliases),
        (SUBSCRIPTIONS, declared.subscriptions),
    )
    for table, records in dependent:
        _forget(connection, table, records)
    _forget(connection, ACCOUNTS, declared.accounts)
    _put_accounts(connection, declared.accounts)
    _check_accounts(connection, declared)
    for table, records in dependent:
        stored = _stored(connection, table) if records else {}
        for record in records:
            known = stored.get(table.identity_of(record))
            wanted = _token(record, known) if isinstance(record, AccessToken) else record
            wanted = replace(wanted, declared=True)
            if wanted != known:
                table.put(connection, wanted)
    reconcile_push_devices(connection, declared.push_devices)


def _stored(connection: sqlite3.Connection, table: Table[Any]) -> Stored:
    return {table.identity_of(record): record for record in table.load(connection)}


def _forget(connection: sqlite3.Connection, table: Table[Any], declared: Sequence[Any]) -> None:
    """Delete the declared records that are not declared any more."""
    kept = {table.identity_of(record) for record in declared}
    if len(kept) != len(declared):
        raise Conflict(detail=f"two of the declared {table.name.replace('_', ' ')} are the same")
    for identity in table.declared(connection):
        if identity not in kept:
            table.delete(connection, identity)


def _put_accounts(connection: sqlite3.Connection, declared: Sequence[Account]) -> None:
    stored = _stored(connection, ACCOUNTS)
    final = [_account(account, stored.get((account.name,))) for account in declared]
    names = {account.name for account in final}
    taken = {account.user_key for account in stored.values() if account.name not in names}
    for account in final:
        if account.user_key in taken:
            raise Conflict(detail=f"the user key of the account {account.name} belongs to another account")
        taken.add(account.user_key)
    changed = [account for account in final if account != stored.get((account.name,))]
    # Two accounts may exchange their keys, so all old ones are taken away first ("!" is in no key).
    for account in changed:
        connection.execute("UPDATE accounts SET user_key = '!' || name WHERE name = ?", (account.name,))
    for account in changed:
        ACCOUNTS.put(connection, account)


def _check_accounts(connection: sqlite3.Connection, declared: People) -> None:
    """Name the accounts that are missing, which a foreign key does not."""
    owned: tuple[App | AccessToken | AclEntry | Group | MailAlias | PushDevice, ...] = (
        *declared.apps,
        *declared.tokens,
        *declared.access,
        *declared.groups,
        *declared.aliases,
        *(device for device in declared.push_devices if device.account),
    )
    named = {record.account for record in owned} | {
        member.account for group in declared.groups for member in group.members
    }
    known = {name for (name,) in connection.execute("SELECT name FROM accounts")}
    if missing := sorted(named - known - {EVERYONE}):
        raise NotFound(
            Reason.ACCOUNT_UNKNOWN, f"there is no account of one of these names: {', '.join(missing)}"
        )


def _account(account: Account, known: Account | None) -> Account:
    """Return the account as it is to be stored, given what is stored under its name.

    It keeps what cannot be declared, and what it leaves open.
    """
    kept = known or Account(name=account.name, user_key=UserKey(""))
    return replace(
        account,
        user_key=UserKey(account.user_key or kept.user_key or new_key("u")),
        password_hash=account.password_hash or kept.password_hash,
        tier=account.tier or kept.tier,
        sync_topic=account.sync_topic or kept.sync_topic,
        preferences=account.preferences or kept.preferences,
        created_at=account.created_at or kept.created_at,
        totp_secret=account.totp_secret or kept.totp_secret,
        declared=True,
    )


def _token(token: AccessToken, known: AccessToken | None) -> AccessToken:
    if known is None:
        return token
    return replace(
        token,
        created_at=token.created_at or known.created_at,
        last_access_at=known.last_access_at,
        last_origin=known.last_origin,
    )
