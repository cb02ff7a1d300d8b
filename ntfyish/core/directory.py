"""Everybody the server knows, in memory, and kept equal to the store.

The command line changes the store while the server runs: `refresh` is called twice a second, and at once
when something is asked for that is not known, so that a new app works from its first message on.
"""

from __future__ import annotations

from ntfyish.core.ports import Clock, People, PeopleStore
from ntfyish.model.people import AccessToken, Account, App, TopicKey

REFRESH_S = 0.5
_MISS_PAUSE_S = 0.05  # unknown names from outside must not make the store busy


class Directory:
    """Look-up by name, key and token."""

    def __init__(self, store: PeopleStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._missed_at = float("-inf")
        self._index(People())

    async def load(self) -> None:
        """Read everything."""
        self._index(await self._store.load())

    async def refresh(self) -> None:
        """Read everything if anything has changed."""
        if await self._store.changed():
            await self.load()

    def find_account(self, name: str) -> Account | None:
        """Return the account of that name."""
        return self._accounts.get(name)

    async def fetch_account(self, name: str) -> Account | None:
        """Return the account of that name, also one made just now."""
        if name not in self._accounts:
            await self._missed()
        return self._accounts.get(name)

    async def find_app(self, token: str) -> App | None:
        """Return the app with that token."""
        if token not in self._apps:
            await self._missed()
        return self._apps.get(token)

    async def find_by_key(self, key: str) -> Account | TopicKey | None:
        """Return what a key of 30 characters addresses."""
        if key not in self._keys:
            await self._missed()
        return self._keys.get(key)

    async def find_token(self, token_hash: str) -> AccessToken | None:
        """Return the access token with that SHA-256."""
        if token_hash not in self._tokens:
            await self._missed()
        return self._tokens.get(token_hash)

    async def _missed(self) -> None:
        now = self._clock.monotonic()
        if now - self._missed_at >= _MISS_PAUSE_S:
            self._missed_at = now
            await self.refresh()

    def _index(self, people: People) -> None:
        self._accounts = {account.name: account for account in people.accounts}
        self._apps: dict[str, App] = {app.token: app for app in people.apps}
        self._keys: dict[str, Account | TopicKey] = {key.key: key for key in people.keys}
        self._keys.update({account.user_key: account for account in people.accounts})
        self._tokens = {token.token_hash: token for token in people.tokens}
