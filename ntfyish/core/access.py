"""Who is asking, and what may they do: credentials -> `Principal`, principal and topics -> `Grant`.

Nothing reads or writes a topic without a `Grant`, and only this module makes one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from ntfyish.core.directory import Directory
from ntfyish.core.password_checks import PasswordChecks
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Clock, PeopleStore
from ntfyish.model.acl import Permission, TopicAccess, matches
from ntfyish.model.errors import Forbidden, Unauthenticated
from ntfyish.model.people import ANONYMOUS, AccessToken, App, Principal, Role

NOTE_USES_S = 60.0

_REMEMBERED = 16_384
_MOST_SHARED_TOPICS = 4  # a visitor must not fill the memory with long lists


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to do one thing with some topics. Made by `Access` only.

    Attributes:
        revision: the directory's when this was decided.
    """

    principal: Principal
    permission: Permission
    topics: tuple[str, ...]
    revision: int = 0

    @property
    def expires_at(self) -> float:
        """Unix seconds at which the token behind it ends; infinity if nothing ends by itself."""
        token = self.principal.token
        return (token.expires_at if token is not None else 0) or float("inf")


class Access:
    """Authenticates and authorises.

    Every decision is made by the newest people; what was decided is remembered until they change.

    Args:
        default: what everybody may do with a topic that no entry names (`auth-default-access`).
    """

    def __init__(self, directory: Directory, clock: Clock, default: TopicAccess) -> None:
        self._directory = directory
        self._clock = clock
        self._default = default
        self._passwords = PasswordChecks(clock)
        self._readable: dict[tuple[str, str, str], bool] = {}
        self._writable: dict[tuple[str, str, str], bool] = {}
        self._granted: dict[tuple[str, str, bool, tuple[str, ...]], Grant] = {}
        self._used: dict[str, tuple[int, str]] = {}
        directory.on_change(self._forget)

    def close(self) -> None:
        """End the threads that check passwords."""
        self._passwords.close()

    async def authenticate(self, authorization: str, address: str) -> Principal:
        """Return who sends this `Authorization` header (Basic or Bearer); "" and other schemes are nobody.

        Args:
            address: of the client; noted with a token, and has only so many passwords checked at a time.

        Raises:
            Unauthenticated: unknown user, wrong password, unknown or expired token, or malformed.
            LimitReached: AUTH_FAILURE_LIMIT: too many passwords wait to be checked.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, credentials = authorization.strip().partition(" ")
        credentials = credentials.strip()
        match scheme.lower():
            case "bearer":
                return await self._by_token(credentials, address)
            case "basic":
                name, password = _split_basic(credentials)
                if not name:
                    return await self._by_token(password, address)
                return await self._by_password(name, password, address)
        return ANONYMOUS

    def grant(self, principal: Principal, permission: Permission, topics: Sequence[str]) -> Grant:
        """Return leave for all of `topics`. Equal ones may be one object.

        Raises:
            Unauthenticated: the principal's account, password or token is no more.
            Forbidden: one of the topics is not allowed.
        """
        newest = self._renew_principal(principal)
        if newest is None:
            raise Unauthenticated
        grant = self._find_grant(newest, permission, tuple(topics))
        if grant is None:
            raise Forbidden
        return grant

    def grant_app(self, app: App, topics: Sequence[str]) -> Grant:
        """Return leave for an app to write to the topics of recipients it has named by their keys."""
        account = self._directory.find_account(app.account)
        return Grant(Principal(account), Permission.WRITE, tuple(topics))

    def renew(self, grant: Grant) -> Grant | None:
        """Decide again by the newest people: return the grant as it is now, or None if it does not hold.

        It ends with its account, its token, the password it was given for, and the rights to a topic.
        """
        if grant.revision == self._directory.revision and grant.expires_at > self._clock.now():
            return grant
        newest = self._renew_principal(grant.principal)
        return None if newest is None else self._find_grant(newest, grant.permission, grant.topics)

    def allows(self, principal: Principal, permission: Permission, topic: str) -> bool:
        """Decide about one topic."""
        name, token_hash = _identity(principal)
        decided = self._writable if permission is Permission.WRITE else self._readable
        key = (name, token_hash, topic)
        decision = decided.get(key)
        if decision is None:
            decision = self._decide(name, token_hash, permission, topic)
            if len(decided) >= _REMEMBERED:
                decided.clear()
            decided[key] = decision
        return decision

    async def note_uses(self, store: PeopleStore) -> None:
        """Write down when tokens were last used, and from where.

        Raises:
            Unavailable: it is kept for the next time.
        """
        used = self._used
        if used:
            await store.touch_tokens([(token_hash, *use) for token_hash, use in used.items()])
            for token_hash, use in list(used.items()):
                if used[token_hash] == use:
                    del used[token_hash]

    def _decide(self, name: str, token_hash: str, permission: Permission, topic: str) -> bool:
        directory = self._directory
        if token_hash:
            token = directory.find_known_token(token_hash)
            if token is None or not is_within(token, permission, topic):
                return False
        account = directory.find_account(name) if name else None
        if name and account is None:
            return False
        if owner := directory.find_sync_owner(topic):
            return owner == name
        if account is not None and (account.role is Role.ADMIN or account.user_key == topic):
            return True
        return (directory.decide(name, topic) or self._default).allows(permission)

    def _find_grant(
        self, principal: Principal, permission: Permission, topics: tuple[str, ...]
    ) -> Grant | None:
        key = (*_identity(principal), permission is Permission.WRITE, topics)
        grant = self._granted.get(key)
        if grant is None:
            for topic in topics:
                if not self.allows(principal, permission, topic):
                    return None
            grant = Grant(principal, permission, topics, self._directory.revision)
            if len(topics) <= _MOST_SHARED_TOPICS:
                if len(self._granted) >= _REMEMBERED:
                    self._granted.clear()
                self._granted[key] = grant
        return grant

    def _renew_principal(self, principal: Principal) -> Principal | None:
        """Return the principal as the directory knows it now; None if it is no more."""
        account, token = principal.account, principal.token
        if account is None:
            return principal
        newest = self._directory.find_account(account.name)
        if newest is None:
            return None
        if token is None:
            if newest is account:
                return principal
            return Principal(newest) if newest.password_hash == account.password_hash else None
        known = self._directory.find_known_token(token.token_hash)
        if known is None or known.account != account.name or self._has_expired(known):
            return None
        return principal if known is token and newest is account else Principal(newest, known)

    def _has_expired(self, token: AccessToken) -> bool:
        return 0 < token.expires_at <= self._clock.now()

    def _forget(self) -> None:
        self._readable.clear()
        self._writable.clear()
        self._granted.clear()

    async def _by_token(self, secret: str, address: str) -> Principal:
        digest = hash_access_token(secret)
        token = self._directory.find_known_token(digest) or await self._directory.find_token(digest)
        if token is None or not hmac.compare_digest(token.token_hash, digest) or self._has_expired(token):
            raise Unauthenticated
        account = self._directory.find_account(token.account)
        if account is None:
            raise Unauthenticated
        self._used[digest] = (int(self._clock.now()), address)
        return Principal(account, token)

    async def _by_password(self, name: str, password: str, address: str) -> Principal:
        account = await self._directory.fetch_account(name)
        stored = account.password_hash if account is not None else ""
        right = await self._passwords.is_right(
            name, password, stored, cost=self._directory.password_cost, address=address
        )
        # That took a while: the account may be gone, or have another password.
        newest = self._directory.find_account(name)
        if newest is None or not right or newest.password_hash != stored:
            raise Unauthenticated
        return Principal(newest)


def _identity(principal: Principal) -> tuple[str, str]:
    account, token = principal.account, principal.token
    return ("" if account is None else account.name, "" if token is None else token.token_hash)


def is_within(token: AccessToken, permission: Permission, topic: str) -> bool:
    """Whether the token's own limits allow that; whether its account may is another question."""
    if permission not in token.permissions:
        return False
    return not token.patterns or any(matches(pattern, topic) for pattern in token.patterns)


def _split_basic(credentials: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(credentials, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise Unauthenticated from None
    name, colon, password = decoded.partition(":")
    if not colon:
        raise Unauthenticated
    return name, password
