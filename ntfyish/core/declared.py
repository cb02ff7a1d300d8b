"""Turns what the configuration declares (accounts, apps, keys, tokens, access, groups) into `People`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ntfyish.core.passwords import hash_access_token, hash_password
from ntfyish.core.ports import People
from ntfyish.model.acl import AclEntry, Permission
from ntfyish.model.message import priority_from_pushover
from ntfyish.model.people import (
    AccessToken,
    Account,
    App,
    AppToken,
    Flavour,
    Group,
    MailAlias,
    Member,
    Role,
    TopicKey,
    UserKey,
)
from ntfyish.model.push import PushDevice, PushKind, new_push_device_id
from ntfyish.model.subscription import Subscription
from ntfyish.settings import (
    AccessEntry,
    AccountEntry,
    AliasEntry,
    AppEntry,
    GroupEntry,
    OwnedTokenEntry,
    PushDeviceEntry,
    Settings,
    TopicDeviceEntry,
    find_sandbox,
    owned_tokens,
)

_PERMISSIONS = {"publish": Permission.WRITE, "subscribe": Permission.READ}
_HINT_LENGTH = 11


def declared_people(settings: Settings, now: float) -> People:
    """Return everybody whom `settings` declare, for `PeopleStore.reconcile`.

    Hashes the passwords that are given in plain text: some 50 ms each. A `user_key` of "" asks the store to
    make one, or to keep the one it made before.

    Args:
        now: Unix seconds; when a push device that the store does not know yet was registered.
    """
    return People(
        accounts=tuple(_account(entry) for entry in (*settings.accounts, *settings.auth_users)),
        apps=tuple(_app(entry, settings.pushover_monthly_limit) for entry in settings.apps),
        keys=tuple(TopicKey(key=entry.key, topic=entry.topic, declared=True) for entry in settings.keys),
        tokens=tuple(_token(entry) for entry in owned_tokens(settings)),
        access=tuple(_entry(entry) for entry in settings.auth_access),
        groups=tuple(_group(entry) for entry in settings.groups),
        subscriptions=tuple(
            Subscription(code=entry.code, app=_app_token(settings, entry.app), declared=True)
            for entry in settings.subscriptions
        ),
        aliases=tuple(_alias(entry, alias) for entry in settings.accounts for alias in entry.aliases),
        push_devices=tuple(_push_devices(settings, int(now))),
    )


def _app_token(settings: Settings, name: str) -> AppToken:
    """Return the token of the one app that has that name or token."""
    return next(AppToken(app.token) for app in settings.apps if name in (app.name, app.token))


def _account(entry: AccountEntry) -> Account:
    return Account(
        name=entry.name,
        user_key=UserKey(entry.user_key),
        password_hash=hash_password(entry.password) if entry.password else entry.password_hash,
        role=Role(entry.role),
        email=entry.email,
        emails=entry.verified_emails,
        devices=entry.client_devices,
        stream=entry.stream,
        totp_secret=entry.totp_secret,
        quiet_hours=entry.quiet_hours,
        time_zone=entry.time_zone,
        default_sound=entry.default_sound,
        declared=True,
    )


def _alias(entry: AccountEntry, alias: AliasEntry) -> MailAlias:
    return MailAlias(
        name=alias.name,
        account=entry.name,
        sound=alias.sound,
        priority=0 if alias.priority is None else priority_from_pushover(alias.priority),
        device=alias.device,
        ignore_timestamps=alias.ignore_timestamps,
        declared=True,
    )


def _push_devices(settings: Settings, now: int) -> Iterator[PushDevice]:
    for account in settings.accounts:
        for entry in account.push_devices:
            yield replace(_push_device(settings, entry, now), account=account.name, name=entry.name)
    for topic_entry in settings.topic_devices:
        yield _push_device(settings, topic_entry, now)


def _push_device(settings: Settings, entry: PushDeviceEntry | TopicDeviceEntry, now: int) -> PushDevice:
    return PushDevice(
        id=new_push_device_id(),
        kind=PushKind(entry.kind),
        topics=tuple(dict.fromkeys(entry.topics)),
        token=entry.token,
        bundle_id=entry.bundle_id,
        sandbox=bool(find_sandbox(settings.apns, entry.bundle_id, entry.sandbox)),
        registered_at=now,
        declared=True,
    )


def _app(entry: AppEntry, monthly_limit: int) -> App:
    return App(
        token=AppToken(entry.token),
        name=entry.name,
        account=entry.account,
        flavour=Flavour(entry.flavour),
        monthly_limit=monthly_limit if entry.monthly_limit is None else entry.monthly_limit,
        enabled=entry.enabled,
        declared=True,
    )


def _token(entry: OwnedTokenEntry) -> AccessToken:
    token = entry.token
    return AccessToken(
        token_hash=hash_access_token(token.token),
        account=entry.account,
        label=token.label,
        hint=token.token[:_HINT_LENGTH],
        permissions=frozenset(_PERMISSIONS[name] for name in token.permissions),
        patterns=token.topics,
        declared=True,
    )


def _entry(entry: AccessEntry) -> AclEntry:
    return AclEntry(account=entry.account, pattern=entry.pattern, access=entry.access, declared=True)


def _group(entry: GroupEntry) -> Group:
    return Group(
        key=entry.key,
        name=entry.name,
        account=entry.account,
        members=tuple(
            Member(account=one.account, device=one.device, memo=one.memo, enabled=one.enabled)
            for one in entry.members
        ),
        declared=True,
    )
