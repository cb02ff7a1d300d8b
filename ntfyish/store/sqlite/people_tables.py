"""The tables of the people database, one for each kind of record.

What their rows refer to, and what goes along when a row goes, is in the schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from ntfyish.core.ports import Record
from ntfyish.model.acl import AclEntry, Permission, TopicAccess
from ntfyish.model.people import (
    AccessToken,
    Account,
    App,
    ClientSecret,
    Device,
    Flavour,
    Group,
    MailAlias,
    Member,
    Role,
    Tier,
    TopicKey,
)
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.model.sound import CustomSound, SoundKind
from ntfyish.model.subscription import Subscriber, Subscription
from ntfyish.model.team import TeamToken
from ntfyish.store.sqlite.people_table import Column, Table

_ACCESS_BY_WORD = {access.value: access for access in TopicAccess}
_PERMISSIONS_BY_WORD = {
    word: frozenset(one for one in Permission if access.allows(one))
    for word, access in _ACCESS_BY_WORD.items()
}
_WORD_BY_PERMISSIONS = {permissions: word for word, permissions in _PERMISSIONS_BY_WORD.items()}


def note_use(connection: sqlite3.Connection, token_hash: str, used_at: int, origin: str) -> None:
    """Note a use of a token, unless there is no such token or it was used later, too."""
    connection.execute(
        "INSERT INTO token_uses SELECT token_hash, ?, ? FROM access_tokens WHERE token_hash = ?"
        " ON CONFLICT (token_hash) DO UPDATE SET used_at = excluded.used_at, origin = excluded.origin"
        " WHERE excluded.used_at >= used_at",
        (used_at, origin, token_hash),
    )


def _value_of(member: Any) -> object:
    return member.value


def _list_text(texts: tuple[str, ...]) -> str:
    return orjson.dumps(texts).decode()


def _list_of(text: str) -> tuple[str, ...]:
    return tuple(orjson.loads(text))


def _null_if_blank(text: str) -> str | None:
    return text or None


def _blank_if_null(text: str | None) -> str:
    return text or ""


def _members_of(text: str) -> tuple[Member, ...]:
    return tuple(
        Member(account=account, device=device, memo=memo, enabled=bool(enabled))
        for account, device, memo, enabled in orjson.loads(text)
    )


def _write_use(connection: sqlite3.Connection, token: AccessToken) -> None:
    if token.last_access_at:
        note_use(connection, token.token_hash, token.last_access_at, token.last_origin)


def _write_members(connection: sqlite3.Connection, group: Group) -> None:
    connection.execute("DELETE FROM group_members WHERE group_key = ?", (group.key,))
    connection.executemany(
        "INSERT INTO group_members (group_key, account, device, memo, enabled) VALUES (?, ?, ?, ?, ?)",
        ((group.key, one.account, one.device, one.memo, one.enabled) for one in group.members),
    )


def _write_sound(connection: sqlite3.Connection, sound: CustomSound) -> None:
    connection.execute(
        "INSERT INTO custom_sound_files VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data",
        (sound.name, sound.data),
    )


_DECLARED = Column(name="declared", read=bool)

TIERS = Table(
    name="tiers",
    make=Tier,
    columns=(
        Column(name="code"),
        Column(name="name"),
        Column(name="message_limit"),
        Column(name="message_expiry_s"),
        Column(name="email_limit"),
        Column(name="call_limit"),
        Column(name="reservation_limit"),
        Column(name="attachment_file_size_bytes"),
        Column(name="attachment_total_size_bytes"),
        Column(name="attachment_expiry_s"),
        Column(name="attachment_bandwidth_bytes"),
    ),
)
ACCOUNTS = Table(
    name="accounts",
    make=Account,
    columns=(
        Column(name="name"),
        Column(name="user_key"),
        Column(name="password_hash"),
        Column(name="role", write=_value_of, read={role.value: role for role in Role}.__getitem__),
        Column(name="email"),
        Column(name="emails", write=_list_text, read=_list_of),
        Column(name="devices", write=_list_text, read=_list_of),
        Column(name="stream", read=bool),
        Column(name="tier", write=_null_if_blank, read=_blank_if_null),
        Column(name="sync_topic"),
        Column(name="preferences"),
        Column(name="created_at"),
        Column(name="totp_secret"),
        Column(name="quiet_hours"),
        Column(name="time_zone"),
        Column(name="default_sound"),
        _DECLARED,
    ),
)
SECRETS = Table(
    name="client_secrets",
    make=ClientSecret,
    columns=(Column(name="secret_hash"), Column(name="account"), Column(name="created_at")),
)
DEVICES = Table(
    name="devices",
    make=Device,
    columns=(
        Column(name="id"),
        Column(name="account"),
        Column(name="name"),
        Column(name="secret_hash"),
        Column(name="created_at"),
    ),
)
ALIASES = Table(
    name="mail_aliases",
    make=MailAlias,
    columns=(
        Column(name="name"),
        Column(name="account"),
        Column(name="sound"),
        Column(name="priority"),
        Column(name="device"),
        Column(name="ignore_timestamps", read=bool),
        _DECLARED,
    ),
)
APPS = Table(
    name="apps",
    make=App,
    columns=(
        Column(name="token"),
        Column(name="name"),
        Column(name="account"),
        Column(name="flavour", write=_value_of, read=Flavour),
        Column(name="monthly_limit"),
        Column(name="enabled", read=bool),
        _DECLARED,
    ),
)
KEYS = Table(name="topic_keys", make=TopicKey, columns=(Column(name="key"), Column(name="topic"), _DECLARED))
TOKENS = Table(
    name="access_tokens",
    make=AccessToken,
    columns=(
        Column(name="token_hash"),
        Column(name="account"),
        Column(name="label"),
        Column(name="hint"),
        Column(
            name="permissions",
            write=_WORD_BY_PERMISSIONS.__getitem__,
            read=_PERMISSIONS_BY_WORD.__getitem__,
        ),
        Column(name="patterns", write=_list_text, read=_list_of),
        Column(name="created_at"),
        Column(name="expires_at"),
        Column(
            name="last_access_at",
            source="ifnull((SELECT used_at FROM token_uses AS u"
            " WHERE u.token_hash = access_tokens.token_hash), 0)",
        ),
        Column(
            name="last_origin",
            source="ifnull((SELECT origin FROM token_uses AS u"
            " WHERE u.token_hash = access_tokens.token_hash), '')",
        ),
        _DECLARED,
    ),
    write_rest=_write_use,
)
ENTRIES = Table(
    name="access_entries",
    make=AclEntry,
    columns=(
        Column(name="account"),
        Column(name="pattern"),
        Column(name="access", write=_value_of, read=_ACCESS_BY_WORD.__getitem__),
        Column(name="owner", write=_null_if_blank, read=_blank_if_null),
        _DECLARED,
    ),
    identity=2,
)
GROUPS = Table(
    name="delivery_groups",
    make=Group,
    columns=(
        Column(name="key"),
        Column(name="name"),
        Column(name="account"),
        Column(
            name="members",
            read=_members_of,
            source="(SELECT json_group_array(json_array(account, device, memo, enabled)) FROM"
            " (SELECT * FROM group_members WHERE group_key = delivery_groups.key ORDER BY place))",
        ),
        _DECLARED,
    ),
    write_rest=_write_members,
)

SUBSCRIPTIONS = Table(
    name="subscriptions", make=Subscription, columns=(Column(name="code"), Column(name="app"), _DECLARED)
)
SUBSCRIBERS = Table(
    name="subscribers",
    make=Subscriber,
    columns=(
        Column(name="key"),
        Column(name="code"),
        Column(name="account"),
        Column(name="device"),
        Column(name="sound"),
    ),
)
TEAMS = Table(
    name="team_tokens",
    make=TeamToken,
    columns=(Column(name="token_hash"), Column(name="name"), Column(name="hint"), Column(name="created_at")),
)
SOUNDS = Table(
    name="custom_sounds",
    make=CustomSound,
    columns=(
        Column(name="name"),
        Column(name="account"),
        Column(name="label"),
        Column(name="kind", write=_value_of, read=SoundKind),
    ),
    write_rest=_write_sound,
)
PUSH_DEVICES = Table(
    name="push_devices",
    make=PushDevice,
    columns=(
        Column(name="id"),
        Column(name="kind", write=_value_of, read={kind.value: kind for kind in PushKind}.__getitem__),
        Column(name="account", write=_null_if_blank, read=_blank_if_null),
        Column(name="name"),
        Column(name="topics", write=_list_text, read=_list_of),
        Column(name="token"),
        Column(name="bundle_id"),
        Column(name="sandbox", read=bool),
        Column(name="auth"),
        Column(name="p256dh"),
        Column(name="address"),
        Column(name="registered_at"),
        Column(name="warned_at"),
        Column(name="dead_at"),
        Column(name="dead_reason"),
        _DECLARED,
    ),
)

TABLES: Mapping[type[Record], Table[Any]] = {
    Account: ACCOUNTS,
    App: APPS,
    TopicKey: KEYS,
    AccessToken: TOKENS,
    AclEntry: ENTRIES,
    Tier: TIERS,
    Group: GROUPS,
    ClientSecret: SECRETS,
    Device: DEVICES,
    MailAlias: ALIASES,
    Subscription: SUBSCRIPTIONS,
    Subscriber: SUBSCRIBERS,
    TeamToken: TEAMS,
    CustomSound: SOUNDS,
    PushDevice: PUSH_DEVICES,
}
