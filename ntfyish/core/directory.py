"""Everybody the server knows, in memory, and kept equal to the store.

The command line changes the store while the server runs: `refresh` is called four times a second, and at once
when something is asked for that is not known, so that a new app works from its first message on. Whoever
must know of changes (`Access`, live streams) leaves a callback.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import fields
from types import MappingProxyType

from ntfyish.core.access_list import AccessList
from ntfyish.core.passwords import COST
from ntfyish.core.ports import Clock, People, PeopleStore
from ntfyish.model.acl import AclEntry, TopicAccess
from ntfyish.model.people import (
    AccessToken,
    Account,
    App,
    ClientSecret,
    Device,
    Group,
    MailAlias,
    Tier,
    TopicKey,
    declared_device_id,
)
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.model.sound import CustomSound
from ntfyish.model.subscription import Subscriber, Subscription
from ntfyish.model.team import TeamToken

REFRESH_S = 0.25
_NO_DEVICES: Mapping[str, str] = MappingProxyType({})
_MISS_PAUSE_S = 0.05  # unknown names from outside must not make the store busy


class Directory:
    """Look-up by name, key and token.

    Attributes:
        revision: grows with every reload, but not when push devices alone have changed: nothing that is
            decided by who may do what depends on them.
    """

    def __init__(self, store: PeopleStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._missed_at = float("-inf")
        self._loading = asyncio.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._index = _Index(People())
        self.revision = 0

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called on the event loop when `revision` has grown, in the order of these calls."""
        self._callbacks.append(callback)

    async def load(self) -> None:
        """Read everything."""
        async with self._loading:
            await self._take(await self._store.load())

    async def refresh(self) -> None:
        """Read everything if anything has changed; what was written before this call is known after it.

        The store returns the same object as long as nothing changes. (`PeopleStore.changed` would not do:
        it tells what has changed since the last `load`, which may have been somebody else's.)
        """
        async with self._loading:
            people, known = await self._store.load(), self._index.people
            if people is known:
                return
            if _differ_in_push_devices_only(people, known):  # apps register again all the time
                self._index = await asyncio.to_thread(self._index.with_push_devices, people)
            else:
                await self._take(people)

    async def _take(self, people: People) -> None:
        # In a thread: with ten thousand accounts it takes longer than anybody should wait.
        self._index = await asyncio.to_thread(_Index, people)
        self.revision += 1
        for callback in self._callbacks:
            callback()

    @property
    def people(self) -> People:
        """Everybody, as read last."""
        return self._index.people

    @property
    def entries(self) -> Sequence[AclEntry]:
        """The access control list."""
        return self._index.people.access

    @property
    def password_cost(self) -> int:
        """The bcrypt cost of most passwords: what it takes to refuse somebody unknown as slowly."""
        return self._index.password_cost

    def find_account(self, name: str) -> Account | None:
        """Return the account of that name."""
        return self._index.accounts.get(name)

    async def fetch_account(self, name: str) -> Account | None:
        """Return the account of that name, also one made just now."""
        if name not in self._index.accounts:
            await self._missed()
        return self._index.accounts.get(name)

    async def find_app(self, token: str) -> App | None:
        """Return the app with that token."""
        if token not in self._index.apps:
            await self._missed()
        return self._index.apps.get(token)

    async def find_by_key(self, key: str) -> Account | TopicKey | Group | Subscriber | None:
        """Return what a key of 30 characters addresses."""
        if key not in self._index.keys:
            await self._missed()
        return self._index.keys.get(key)

    async def find_token(self, token_hash: str) -> AccessToken | None:
        """Return the access token with that SHA-256, also one made just now."""
        if token_hash not in self._index.tokens:
            await self._missed()
        return self._index.tokens.get(token_hash)

    def find_known_token(self, token_hash: str) -> AccessToken | None:
        """Return the access token with that SHA-256."""
        return self._index.tokens.get(token_hash)

    async def find_subscription(self, code: str) -> Subscription | None:
        """Return the subscription of that code, also one made just now."""
        if code not in self._index.subscriptions:
            await self._missed()
        return self._index.subscriptions.get(code)

    def find_known_subscription(self, code: str) -> Subscription | None:
        """Return the subscription of that code."""
        return self._index.subscriptions.get(code)

    async def find_team(self, token_hash: str) -> TeamToken | None:
        """Return the team whose token has that SHA-256, also one made just now."""
        if token_hash not in self._index.teams:
            await self._missed()
        return self._index.teams.get(token_hash)

    async def find_sound(self, name: str) -> CustomSound | None:
        """Return the custom sound of that name, also one made just now."""
        if name not in self._index.sounds:
            await self._missed()
        return self._index.sounds.get(name)

    def sounds_of(self, account: str) -> Mapping[str, str]:
        """Return the custom sounds of an account: name -> label, by name."""
        return {sound.name: sound.label for sound in self._index.people.sounds if sound.account == account}

    def find_inbox_owner(self, topic: str) -> Account | None:
        """Return the account whose inbox (user key) that topic is."""
        found = self._index.keys.get(topic)
        return found if type(found) is Account else None

    def client_devices(self, account: Account) -> Mapping[str, str]:
        """Return the account's Open Client devices: name -> id, those that the configuration names first."""
        return self._index.client_devices.get(account.name, _NO_DEVICES)

    def has_push_devices(self, topic: str) -> bool:
        """Whether messages to `topic` are pushed to any device. Also called in the writer's thread."""
        return topic in self._index.push_devices

    def push_devices(self, topic: str) -> Sequence[PushDevice]:
        """Return the devices that get what is sent to `topic`, as long as they may read it; no dead ones.

        What comes to an account's inbox goes to its devices with a name.
        """
        return self._index.push_devices.get(topic, ())

    def push_names(self, account: Account) -> Sequence[str]:
        """Return the names of the account's devices that are pushed to."""
        return tuple(device.name for device in self.push_devices(account.user_key) if device.name)

    def find_push_device(self, device_id: str) -> PushDevice | None:
        """Return the device of that id, dead or alive."""
        return self._index.push_devices_by_id.get(device_id)

    def find_push_token(self, kind: PushKind, token: str, bundle_id: str = "") -> PushDevice | None:
        """Return the device with that token, dead or alive."""
        return self._index.push_tokens.get((kind, token, bundle_id))

    def find_device(self, device_id: str) -> Device | None:
        """Return the registered device of that id."""
        return self._index.devices.get(device_id)

    def find_known_secret(self, secret_hash: str) -> ClientSecret | None:
        """Return the Open Client's secret with that SHA-256."""
        return self._index.secrets.get(secret_hash)

    async def find_secret(self, secret_hash: str) -> ClientSecret | None:
        """Return the Open Client's secret with that SHA-256, also one made just now."""
        if secret_hash not in self._index.secrets:
            await self._missed()
        return self._index.secrets.get(secret_hash)

    async def find_alias(self, name: str) -> MailAlias | None:
        """Return the e-mail alias of that name (in lower case), also one made just now."""
        if name not in self._index.aliases:
            await self._missed()
        return self._index.aliases.get(name)

    def find_tier(self, code: str) -> Tier | None:
        """Return the tier with that code."""
        return self._index.tiers.get(code)

    def find_sync_owner(self, topic: str) -> str:
        """Return the name of the account whose sync topic that is, or ""."""
        return self._index.sync_owners.get(topic, "")

    def find_reservation_owner(self, topic: str) -> str:
        """Return the name of the account that has reserved `topic`, or ""."""
        return self._index.reservation_owners.get(topic, "")

    def decide(self, account: str, topic: str) -> TopicAccess | None:
        """Return what the access control list says about `account` ("" for nobody) and `topic`."""
        return self._index.access_list.decide(account, topic)

    async def _missed(self) -> None:
        now = self._clock.monotonic()
        if now - self._missed_at >= _MISS_PAUSE_S:
            self._missed_at = now
            await self.refresh()


class _Index:
    """One snapshot, by whatever is looked up. Made in a thread, never changed."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.accounts = {account.name: account for account in people.accounts}
        self.apps: dict[str, App] = {app.token: app for app in people.apps}
        self.keys: dict[str, Account | TopicKey | Group | Subscriber] = {
            **{subscriber.key: subscriber for subscriber in people.subscribers},
            **{key.key: key for key in people.keys},
            **{group.key: group for group in people.groups},
            **{account.user_key: account for account in people.accounts},
        }
        self.tokens = {token.token_hash: token for token in people.tokens}
        self.subscriptions = {subscription.code: subscription for subscription in people.subscriptions}
        self.teams = {team.token_hash: team for team in people.teams}
        self.sounds = {sound.name: sound for sound in people.sounds}
        self.aliases = {alias.name: alias for alias in people.aliases}
        self.tiers = {tier.code: tier for tier in people.tiers}
        self.sync_owners = {
            account.sync_topic: account.name for account in people.accounts if account.sync_topic
        }
        self.secrets = {secret.secret_hash: secret for secret in people.secrets}
        self.devices = {device.id: device for device in people.devices}
        self.client_devices: dict[str, dict[str, str]] = {
            account.name: {name: declared_device_id(account.user_key, name) for name in account.devices}
            for account in people.accounts
            if account.devices
        }
        for device in people.devices:
            self.client_devices.setdefault(device.account, {})[device.name] = device.id
        self.access_list = AccessList(people.access)
        self.reservation_owners = {entry.pattern: entry.owner for entry in people.access if entry.owner}
        self.password_cost = _usual_cost(people.accounts)
        self._index_push_devices()

    def with_push_devices(self, people: People) -> _Index:
        """Return the same, but with the push devices of `people`, who differ in nothing else."""
        index = copy(self)
        index.people = people
        index._index_push_devices()
        return index

    def _index_push_devices(self) -> None:
        devices = self.people.push_devices
        self.push_devices_by_id = {device.id: device for device in devices}
        self.push_tokens = {(one.kind, one.token, one.bundle_id): one for one in devices}
        self.push_devices = _by_topic(devices, self.accounts)


def _differ_in_push_devices_only(people: People, known: People) -> bool:
    return all(
        field.name == "push_devices" or getattr(people, field.name) is getattr(known, field.name)
        for field in fields(People)
    )


def _by_topic(devices: Sequence[PushDevice], accounts: Mapping[str, Account]) -> dict[str, list[PushDevice]]:
    found: dict[str, list[PushDevice]] = {}
    for device in devices:
        if device.dead_at:
            continue
        account = accounts.get(device.account) if device.name else None
        inbox = () if account is None else (account.user_key,)
        for topic in dict.fromkeys((*inbox, *device.topics)):
            found.setdefault(topic, []).append(device)
    return found


def _usual_cost(accounts: Sequence[Account]) -> int:
    costs = Counter(cost for account in accounts if (cost := account.password_hash[4:6]).isdecimal())
    return int(costs.most_common(1)[0][0]) if costs else COST
