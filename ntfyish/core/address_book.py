"""Whom a Pushover-shaped publish may reach: what is written in `user` -> `Recipient`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ntfyish.core.access import Access
from ntfyish.core.directory import Directory
from ntfyish.model.acl import Permission
from ntfyish.model.people import ANONYMOUS, KEY_LENGTH, Account, App, Group, TopicKey
from ntfyish.model.topic import DISALLOWED, is_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody to write to.

    Attributes:
        topics: where the message goes.
        devices: names of the devices that can be addressed.
        active: whether anything would receive it.
        user_count: how many users that is, for the quota; each member of a group counts.
    """

    kind: Literal["account", "group", "topic"]
    topics: tuple[str, ...]
    devices: tuple[str, ...] = ()
    active: bool = True
    user_count: int = 1


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

    async def find_recipient(self, user: str, *, app: App) -> Recipient | None:
        """Return who is meant: a user, group or topic key, or, where everybody may write to it, a topic.

        A key of 30 letters and digits that nobody owns is None, not a topic of that name: it is far more
        often a mistyped key.
        """
        if len(user) == KEY_LENGTH and user.isascii() and user.isalnum():
            match await self._directory.find_by_key(user):
                case Account() as account:
                    return Recipient(
                        kind="account",
                        topics=(account.user_key,),
                        devices=account.devices,
                        active=_is_active(account),
                    )
                case Group() as group:
                    return self._find_members(group)
                case TopicKey() as key:
                    return Recipient(kind="topic", topics=(key.topic,))
            return None
        if not is_topic(user) or user in self._disallowed_topics:
            return None
        if not self._access.allows(ANONYMOUS, Permission.WRITE, user):
            return None
        return Recipient(kind="topic", topics=(user,))

    def _find_members(self, group: Group) -> Recipient:
        """Return the inboxes of a group's enabled members, each once, of those that receive anything.

        As with Pushover, a group shows no devices of its members.
        """
        enabled = (self._directory.find_account(member.account) for member in group.members if member.enabled)
        inboxes = {member.user_key: None for member in enabled if member is not None and _is_active(member)}
        return Recipient(kind="group", topics=tuple(inboxes), active=bool(inboxes), user_count=len(inboxes))


def _is_active(account: Account) -> bool:
    return account.stream or bool(account.devices)
