"""Turns the accounts, apps, keys and tokens that the configuration declares into `People`."""

from __future__ import annotations

from ntfyish.core.passwords import hash_access_token, hash_password
from ntfyish.core.ports import People
from ntfyish.model.people import AccessToken, Account, App, AppToken, Flavour, Role, TopicKey, UserKey
from ntfyish.settings import AccountEntry, AppEntry, Settings, TokenEntry


def declared_people(settings: Settings) -> People:
    """Return everybody whom `settings` declare, for `PeopleStore.reconcile`.

    Hashes the passwords that are given in plain text: some 50 ms each. A `user_key` of "" asks the store to
    make one, or to keep the one it made before.
    """
    return People(
        accounts=tuple(_account(entry) for entry in (*settings.accounts, *settings.auth_users)),
        apps=tuple(_app(entry, settings.pushover_monthly_limit) for entry in settings.apps),
        keys=tuple(TopicKey(key=entry.key, topic=entry.topic, declared=True) for entry in settings.keys),
        tokens=tuple(_token(entry) for entry in settings.auth_tokens),
    )


def _account(entry: AccountEntry) -> Account:
    return Account(
        name=entry.name,
        user_key=UserKey(entry.user_key),
        password_hash=hash_password(entry.password) if entry.password else entry.password_hash,
        role=Role(entry.role),
        email=entry.email,
        devices=entry.devices,
        stream=entry.stream,
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


def _token(entry: TokenEntry) -> AccessToken:
    return AccessToken(
        token_hash=hash_access_token(entry.token),
        account=entry.account,
        label=entry.label,
        hint=entry.token[-4:],
        declared=True,
    )
