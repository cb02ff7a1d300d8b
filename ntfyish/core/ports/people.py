"""Who is known, and who may do what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ntfyish.model.acl import AclEntry
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
)
from ntfyish.model.push import PushDevice
from ntfyish.model.sound import CustomSound
from ntfyish.model.subscription import Subscriber, Subscription
from ntfyish.model.team import TeamToken

Record = (
    Account
    | App
    | TopicKey
    | AccessToken
    | AclEntry
    | Tier
    | Group
    | ClientSecret
    | Device
    | MailAlias
    | Subscription
    | Subscriber
    | TeamToken
    | CustomSound
    | PushDevice
)


@dataclass(frozen=True, slots=True)
class Add:
    """A new record; Conflict if its identity is taken."""

    record: Record


@dataclass(frozen=True, slots=True)
class Change:
    """A record that takes the place of the one of the same identity; NotFound if there is none."""

    record: Record


@dataclass(frozen=True, slots=True)
class Put:
    """A record, new or in the place of the one of the same identity."""

    record: Record


@dataclass(frozen=True, slots=True)
class Remove:
    """The record of that kind and identity goes; NotFound if there is none.

    The identity is an account's name, an app's token, a topic key's or group's key, a token's or secret's
    hash, a tier's code, a device's id, an
    alias's name, or (account, pattern). An account goes with its apps, tokens, access entries (also those
    it owns), groups and memberships; a tier is taken off its accounts.
    """

    kind: type[Record]
    identity: str | tuple[str, str]


PeopleChange = Add | Change | Put | Remove


@dataclass(frozen=True, slots=True)
class People:
    """Everybody and everything that may publish or be written to, as one snapshot."""

    accounts: tuple[Account, ...] = ()
    apps: tuple[App, ...] = ()
    keys: tuple[TopicKey, ...] = ()
    tokens: tuple[AccessToken, ...] = ()
    access: tuple[AclEntry, ...] = ()
    tiers: tuple[Tier, ...] = ()
    groups: tuple[Group, ...] = ()
    secrets: tuple[ClientSecret, ...] = ()
    devices: tuple[Device, ...] = ()
    aliases: tuple[MailAlias, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    teams: tuple[TeamToken, ...] = ()
    sounds: tuple[CustomSound, ...] = ()
    push_devices: tuple[PushDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadDevice:
    """A push device that its service has disowned.

    Attributes:
        gone_at: Unix seconds since when; 0 if the service does not say.
        at: Unix seconds at which we heard.
        reason: the service's word.
    """

    device_id: str
    token: str = field(repr=False)
    gone_at: float
    at: float
    reason: str


class PeopleStore(Protocol):
    """Who is known, and who may do what. Other processes (the command line) write to it too.

    Raises: Conflict if a name, token or key is taken (user keys, topic keys and group keys share one name
    space); NotFound if there is no such thing, or an owner does not exist; Unavailable as `MessageStore`.
    """

    async def load(self) -> People:
        """Return a consistent snapshot."""

    async def changed(self) -> bool:
        """Whether anybody has written since the last `load`. Cheap."""

    async def apply(self, *changes: PeopleChange) -> None:
        """Make all changes in their order, in one transaction: all or none."""

    async def sound_file(self, name: str) -> bytes | None:
        """Return the file of the custom sound of that name; `load` leaves the files out."""

    async def touch_tokens(self, used: Sequence[tuple[str, int, str]]) -> None:
        """Note uses of tokens: (token hash, Unix seconds, address). Does not count as a change."""

    async def touch_devices(self, devices: Sequence[str], registered_at: int) -> int:
        """Note that push devices (ids) were registered again, unchanged. Does not count as a change.

        Returns how many of them there are: some may be gone by now.
        """

    async def bury_devices(self, dead: Sequence[DeadDevice]) -> int:
        """Remove push devices that their service has disowned, in one transaction; return how many.

        One with another token by now, or that was registered after `gone_at` (0: whenever), stays. One that
        is declared is marked dead instead.
        """

    async def reconcile(self, declared: People) -> None:
        """Make what is marked `declared` in the store equal to `declared`, in one transaction."""
