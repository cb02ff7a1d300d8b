"""Teams: an administrator's program manages the accounts of this server with a token of its own.

All accounts are the one team. Tokens are made on the command line only.
"""

from __future__ import annotations

import secrets

from ntfyish.core.administration import Administration
from ntfyish.core.directory import Directory
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Add, Clock, PeopleStore, Remove
from ntfyish.model.errors import NotFound
from ntfyish.model.people import Account, Role
from ntfyish.model.team import TeamToken

HINT_LENGTH = 6


class Teams:
    """What a team's token is for."""

    def __init__(self, administration: Administration, directory: Directory) -> None:
        self._administration = administration
        self._directory = directory

    async def find(self, token: str) -> TeamToken | None:
        """Return the team with that token."""
        return await self._directory.find_team(hash_access_token(token)) if token else None

    def accounts(self) -> list[Account]:
        """Return everybody, by name."""
        return sorted(self._directory.people.accounts, key=lambda account: account.name)

    def find_account(self, email: str) -> Account | None:
        """Return the account that has, or is called by, an e-mail address; None if that is not just one."""
        named = self._directory.find_account(email)
        if named is not None:
            return named
        wanted = email.casefold()
        found = [one for one in self._directory.people.accounts if one.email.casefold() == wanted]
        return found[0] if wanted and len(found) == 1 else None

    async def add(self, email: str, *, password: str = "", is_admin: bool = False) -> Account:
        """Add an account that is called by its e-mail address. Without a password nobody can log in yet.

        Raises:
            as `Administration.add_account`.
        """
        account = await self._administration.add_account(
            email, password=password, role=Role.ADMIN if is_admin else Role.USER, email=email
        )
        await self._directory.refresh()
        return account

    async def remove(self, account: Account) -> None:
        """Remove an account.

        Raises:
            as `Administration.remove_account`.
        """
        await self._administration.remove_account(account.name)
        await self._directory.refresh()


async def add_team_token(store: PeopleStore, clock: Clock, name: str) -> tuple[TeamToken, str]:
    """Make a token for a team and return it with its secret, which is not kept."""
    secret = "T" + secrets.token_hex(20)
    token = TeamToken(
        token_hash=hash_access_token(secret),
        name=name,
        hint=secret[:HINT_LENGTH],
        created_at=int(clock.now()),
    )
    await store.apply(Add(token))
    return token, secret


async def remove_team_token(store: PeopleStore, hint: str) -> TeamToken:
    """Remove the token that begins with `hint`.

    Raises:
        NotFound: there is none, or more than one.
    """
    found = [one for one in (await store.load()).teams if one.hint == hint[:HINT_LENGTH]]
    if len(found) != 1 or len(hint) < HINT_LENGTH:
        raise NotFound(detail="there is no such team token")
    await store.apply(Remove(TeamToken, found[0].token_hash))
    return found[0]
