"""What each account has: its tokens, reservations and access entries, for the account and user APIs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from ntfyish.core.directory import Directory
from ntfyish.core.ports import People
from ntfyish.model.acl import EVERYONE, AclEntry, rank
from ntfyish.model.people import AccessToken


@dataclass(frozen=True, slots=True)
class Holding:
    """What one account has.

    Attributes:
        tokens: in the order in which they were made.
        reservations: the entries that say what everybody else may do with a reserved topic, by topic.
        grants: its access entries, the one that decides first.
    """

    tokens: tuple[AccessToken, ...] = ()
    reservations: tuple[AclEntry, ...] = ()
    grants: tuple[AclEntry, ...] = ()


_NOTHING = Holding()


class Holdings:
    """Sorts the directory's people by owner when somebody asks, and again when they have changed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._revision = -1
        self._by_account: dict[str, Holding] = {}
        self._sorting = asyncio.Lock()

    async def of(self, account: str) -> Holding:
        """Return what an account, or `EVERYONE`, has."""
        async with self._sorting:
            revision = self._directory.revision
            if revision != self._revision:
                # In a thread, because there may be tens of thousands of entries
                self._by_account = await asyncio.to_thread(_sorted, self._directory.people)
                self._revision = revision
        return self._by_account.get(account, _NOTHING)


def _sorted(people: People) -> dict[str, Holding]:
    tokens: dict[str, list[AccessToken]] = {}
    for token in people.tokens:
        tokens.setdefault(token.account, []).append(token)
    grants = _grouped((entry.account, entry) for entry in people.access)
    reserved = _grouped((entry.owner, entry) for entry in people.access if entry.account == EVERYONE)
    return {
        name: Holding(
            tokens=tuple(sorted(tokens.get(name, ()), key=lambda token: (token.created_at, token.hint))),
            reservations=tuple(sorted(reserved.get(name, ()), key=lambda entry: entry.pattern)),
            grants=tuple(sorted(grants.get(name, ()), key=lambda entry: (rank(entry), entry.pattern))),
        )
        for name in tokens.keys() | grants.keys() | reserved.keys()
        if name
    }


def _grouped(pairs: Iterable[tuple[str, AclEntry]]) -> dict[str, list[AclEntry]]:
    groups: dict[str, list[AclEntry]] = {}
    for name, entry in pairs:
        groups.setdefault(name, []).append(entry)
    return groups
