"""Whom a Pushover-shaped publish may reach: what is written in `user` -> `Recipient`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ntfyish.core.access import Access
from ntfyish.core.directory import Directory
from ntfyish.model.acl import Permission
from ntfyish.model.people import ANONYMOUS, KEY_LENGTH, Account, App, Group, TopicKey
from ntfyish.model.subscription import Subscriber
from ntfyish.model.topic import DISALLOWED, is_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody to write to.

    Attributes:
        topics: where the message goes.
        devices: names of the devices that can be addressed.
        active: whether anything would receive it.
        user_count: how many users that is, for the quota; each member of a group counts.
        group: the key of the group that was named; "" for none.
        only: what some of the topics are written to for: topic -> comma list of devices.
        sound: of messages that have none; "" for what is usual.
    """

    kind: Literal["account", "group", "topic"]
    topics: tuple[str, ...]
    devices: tuple[str, ...] = ()
    active: bool = True
    user_count: int = 1
    group: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    sound: str = ""


class AddressBook:
    """Finds apps and recipients."""

    def __init__(
        self, directory: Directory, access: Access, disallowed_topics: frozenset[str] = DISALLOWED
    ) -> None:
        self._directory = directory
        self._access = access
        self._disallowed_topics = disallowed_topics

    async def find_app(self, token: str) -> App | None:
        """Return the app with that token, enabled or not."""
        return await self._directory.find_app(token)

    def sounds_of(self, account: str) -> Mapping[str, str]:
        """Return the custom sounds of an account: name -> label."""
        return self._directory.sounds_of(account)

    async def find_recipient(self, user: str, *, app: App) -> Recipient | None:
        """Return who is meant: a user, group or topic key, or, where everybody may write to it, a topic.

        A key of 30 letters and digits that nobody owns is None, not a topic of that name: it is far more
        often a mistyped key.
        """
        if len(user) == KEY_LENGTH and user.isascii() and user.isalnum():
            match await self._directory.find_by_key(user):
                case Account() as account:
                    return self._find_account(account)
                case Group() as group:
                    return self._find_members(group)
                case Subscriber() as subscriber:
                    return self._find_subscriber(subscriber, app)
                case TopicKey() as key:
                    return Recipient(kind="topic", topics=(key.topic,))
            return None
        if not is_topic(user) or user in self._disallowed_topics:
            return None
        if not self._access.allows(ANONYMOUS, Permission.WRITE, user):
            return None
        return Recipient(kind="topic", topics=(user,))

    def _find_account(self, account: Account) -> Recipient:
        directory = self._directory
        names = (*directory.client_devices(account), *directory.push_names(account))
        return Recipient(
            kind="account",
            topics=(account.user_key,),
            devices=tuple(dict.fromkeys(names)),
            active=self._is_active(account),
        )

    def _find_subscriber(self, subscriber: Subscriber, app: App) -> Recipient | None:
        """Return the account behind a subscribed user key, which works for its subscription's app only."""
        subscription = self._directory.find_known_subscription(subscriber.code)
        account = self._directory.find_account(subscriber.account)
        if subscription is None or subscription.app != app.token or account is None:
            return None
        only: dict[str, str] = {account.user_key: subscriber.device} if subscriber.device else {}
        return replace(self._find_account(account), only=only, sound=subscriber.sound)

    def _find_members(self, group: Group) -> Recipient:
        """Return the inboxes of a group's enabled members, each once, of those that receive anything.

        As with Pushover, a group shows no devices of its members.
        """
        chosen: dict[str, list[str]] = {}
        for member in group.members:
            account = self._directory.find_account(member.account) if member.enabled else None
            if account is not None and self._is_active(account):
                chosen.setdefault(account.user_key, []).append(member.device)
        return Recipient(
            kind="group",
            topics=tuple(chosen),
            active=bool(chosen),
            user_count=len(chosen),
            group=group.key,
            only={topic: ",".join(devices) for topic, devices in chosen.items() if all(devices)},
        )

    def _is_active(self, account: Account) -> bool:
        directory = self._directory
        return account.stream or bool(directory.client_devices(account) or directory.push_names(account))
