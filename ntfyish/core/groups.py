"""Delivery groups: Pushover's group calls and the command line change them.

Like `Administration` it reads through the store, so it works with and without a running server; whoever runs
within the server refreshes the directory afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ntfyish.core.ports import Add, Change, People, PeopleStore, Remove
from ntfyish.model.errors import Conflict, Invalid, NotFound, Reason
from ntfyish.model.people import DEVICE_PATTERN, KEY_PATTERN, Group, Member, new_key

MAX_NAME_CHARS = 250
MAX_MEMO_CHARS = 200  # as with Pushover
MAX_GROUPS = 500  # of an account
MAX_MEMBERS = 1000  # of a group: each message is stored once for each

NOT_A_MEMBER = "user is not a member of this group"
ALREADY_A_MEMBER = "user is already a member of this group"


class Groups:
    """Changes to groups.

    All methods are coroutines. Besides what they name they raise NotFound if there is no such group, Conflict
    with DECLARED if it comes from the configuration, and Unavailable as `PeopleStore`. Changes made through
    one instance do not interleave.

    Args:
        load: returns everybody; by default from the store itself.
    """

    def __init__(self, store: PeopleStore, *, load: Callable[[], Awaitable[People]] | None = None) -> None:
        self._store = store
        self._load = load or store.load
        self._lock = asyncio.Lock()

    async def owned(self, account: str) -> list[Group]:
        """Return an account's groups, by name."""
        groups = (group for group in (await self._load()).groups if group.account == account)
        return sorted(groups, key=lambda group: (group.name, group.key))

    async def find(self, key: str, account: str) -> Group | None:
        """Return the account's group of that key."""
        return _find(await self._load(), key, account)

    async def add(self, name: str, account: str, *, key: str = "") -> Group:
        """Add an empty group, with a new key if none is given.

        Raises:
            Invalid: REQUEST_INVALID for the name or key, or because the account has `MAX_GROUPS`.
            NotFound: ACCOUNT_UNKNOWN.
            Conflict: CONFLICT; the key is taken.
        """
        _check_name(name)
        if key and not KEY_PATTERN.fullmatch(key):
            raise Invalid(Reason.REQUEST_INVALID, "a group's key has 30 letters and digits")
        async with self._lock:
            people = await self._load()
            if all(known.name != account for known in people.accounts):
                raise NotFound(Reason.ACCOUNT_UNKNOWN)
            if sum(group.account == account for group in people.groups) >= MAX_GROUPS:
                raise Invalid(Reason.REQUEST_INVALID, f"an account has at most {MAX_GROUPS} groups")
            group = Group(key=key or new_key("g"), name=name, account=account)
            await self._store.apply(Add(group))
            return group

    async def rename(self, key: str, name: str) -> Group:
        """Give a group another name.

        Raises:
            Invalid: REQUEST_INVALID for the name.
        """
        _check_name(name)
        return await self._change(key, lambda group: replace(group, name=name))

    async def remove(self, key: str) -> None:
        """Remove a group."""
        async with self._lock:
            await self._store.apply(Remove(Group, _own(await self._load(), key).key))

    async def add_member(self, key: str, account: str, *, device: str = "", memo: str = "") -> Group:
        """Add an account; the same one again only with another device ("" stands for all of them).

        Raises:
            Invalid: REQUEST_INVALID for the device or memo, or because the group has `MAX_MEMBERS`.
            Conflict: CONFLICT; it is a member already.
        """
        if device and not DEVICE_PATTERN.fullmatch(device):
            raise Invalid(Reason.REQUEST_INVALID, "a device's name has 1 to 25 of A-Z, a-z, 0-9, _ and -")
        if len(memo) > MAX_MEMO_CHARS:
            raise Invalid(Reason.REQUEST_INVALID, f"a memo has at most {MAX_MEMO_CHARS} characters")

        def added(group: Group) -> Group:
            if any((one.account, one.device) == (account, device) for one in group.members):
                raise Conflict(detail=ALREADY_A_MEMBER)
            if len(group.members) >= MAX_MEMBERS:
                raise Invalid(Reason.REQUEST_INVALID, f"a group has at most {MAX_MEMBERS} members")
            member = Member(account=account, device=device, memo=memo)
            return replace(group, members=(*group.members, member))

        return await self._change(key, added)

    async def remove_member(self, key: str, account: str, *, device: str = "") -> Group:
        """Remove an account's membership with that device; all of its memberships if `device` is "".

        Raises:
            Conflict: CONFLICT; it is not a member.
        """

        def left(group: Group) -> Group:
            named = _named(group, account, device)
            return replace(group, members=tuple(one for one in group.members if one not in named))

        return await self._change(key, left)

    async def enable_member(self, key: str, account: str, *, device: str = "", enabled: bool) -> Group:
        """Say whether an account's membership (see `remove_member`) gets what is sent to the group.

        Raises:
            Conflict: CONFLICT; it is not a member.
        """

        def set_(group: Group) -> Group:
            named = _named(group, account, device)
            members = (replace(one, enabled=enabled) if one in named else one for one in group.members)
            return replace(group, members=tuple(members))

        return await self._change(key, set_)

    async def _change(self, key: str, change: Callable[[Group], Group]) -> Group:
        async with self._lock:
            known = _own(await self._load(), key)
            changed = change(known)
            if changed != known:
                await self._store.apply(Change(changed))
            return changed


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise Invalid(
            Reason.REQUEST_INVALID, f"a group's name has 1 to {MAX_NAME_CHARS} printable characters"
        )


def _find(people: People, key: str, account: str) -> Group | None:
    return next((group for group in people.groups if (group.key, group.account) == (key, account)), None)


def _own(people: People, key: str) -> Group:
    group = next((group for group in people.groups if group.key == key), None)
    if group is None:
        raise NotFound(detail="there is no such group")
    if group.declared:
        raise Conflict(Reason.DECLARED, "the group")
    return group


def _named(group: Group, account: str, device: str) -> list[Member]:
    named = [one for one in group.members if one.account == account and device in ("", one.device)]
    if not named:
        raise Conflict(detail=NOT_A_MEMBER)
    return named
