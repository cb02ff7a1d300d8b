"""Who is asking, and what may they do: credentials -> `Principal`, principal and topics -> `Grant`.

Nothing reads or writes a topic without a `Grant`, and only this module makes one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import bcrypt

from ntfyish.core.directory import Directory
from ntfyish.core.ports import Clock
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Forbidden, Unauthenticated
from ntfyish.model.people import ANONYMOUS, App, Principal

MAX_PASSWORD_BYTES = 72  # bcrypt looks at no more

_REMEMBERED = 4096
_REMEMBERED_S = 60.0
# Unknown users cost as much as known ones: a hash of cost 10 that no password has.
_NOBODY = bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(10))


class DefaultAccess(Enum):
    """What everybody may do with a topic that no rule names (`auth-default-access`)."""

    READ_WRITE = "read-write"
    READ_ONLY = "read-only"
    WRITE_ONLY = "write-only"
    DENY_ALL = "deny-all"

    def allows(self, permission: Permission) -> bool:
        """Whether it includes `permission`."""
        return self is DefaultAccess.READ_WRITE or self.value == permission.value


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to do one thing with some topics. Made by `Access` only."""

    principal: Principal
    permission: Permission
    topics: tuple[str, ...]


class Access:
    """Authenticates and authorises.

    Passwords are verified in two threads, because bcrypt takes some 50 ms; a verified one is remembered
    for a minute as a keyed digest, so that Basic on every request costs that once.
    """

    def __init__(self, directory: Directory, clock: Clock, default: DefaultAccess) -> None:
        self._directory = directory
        self._clock = clock
        self._allowed_to_all = frozenset(one for one in Permission if default.allows(one))
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="bcrypt")
        self._secret = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, float] = OrderedDict()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def authenticate(self, authorization: str) -> Principal:
        """Return who sends this `Authorization` header (Basic or Bearer); "" and other schemes are nobody.

        Raises:
            Unauthenticated: unknown user, wrong password, unknown or expired token, or malformed.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, credentials = authorization.strip().partition(" ")
        credentials = credentials.strip()
        match scheme.lower():
            case "bearer":
                return await self._by_token(credentials)
            case "basic":
                name, password = _split_basic(credentials)
                if not name:
                    return await self._by_token(password)
                return await self._by_password(name, password)
        return ANONYMOUS

    def grant(self, principal: Principal, permission: Permission, topics: Sequence[str]) -> Grant:
        """Return leave for all of `topics`.

        Raises:
            Forbidden: one of them is not allowed.
        """
        for topic in topics:
            if not self.allows(principal, permission, topic):
                raise Forbidden
        return Grant(principal, permission, tuple(topics))

    def grant_app(self, app: App, topics: Sequence[str]) -> Grant:
        """Return leave for an app to write to the topics of recipients it has named by their keys."""
        account = self._directory.find_account(app.account)
        return Grant(Principal(account), Permission.WRITE, tuple(topics))

    def allows(self, principal: Principal, permission: Permission, topic: str) -> bool:
        """Decide about one topic."""
        account = principal.account
        if account is not None and (principal.is_admin or account.user_key == topic):
            return True
        return permission in self._allowed_to_all

    async def _by_token(self, token: str) -> Principal:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found = await self._directory.find_token(digest)
        if found is None or not hmac.compare_digest(found.token_hash, digest):
            raise Unauthenticated
        if found.expires_at and found.expires_at <= self._clock.now():
            raise Unauthenticated
        account = self._directory.find_account(found.account)
        if account is None:
            raise Unauthenticated
        return Principal(account)

    async def _by_password(self, name: str, password: str) -> Principal:
        secret = password.encode("utf-8", "surrogateescape")
        account = await self._directory.fetch_account(name)
        stored = account.password_hash.encode() if account is not None else b""
        proof = b"\0".join((name.encode("utf-8", "surrogateescape"), stored, secret))
        digest = hashlib.blake2b(proof, key=self._secret).digest()
        if not self._remembers(digest):
            right = await asyncio.get_running_loop().run_in_executor(
                self._threads, _check_password, secret, stored or _NOBODY
            )
            if not right or not stored:
                raise Unauthenticated
            self._remember(digest)
        return Principal(account)

    def _remembers(self, digest: bytes) -> bool:
        until = self._verified.get(digest)
        return until is not None and until > self._clock.monotonic()

    def _remember(self, digest: bytes) -> None:
        self._verified[digest] = self._clock.monotonic() + _REMEMBERED_S
        self._verified.move_to_end(digest)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)


def _split_basic(credentials: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(credentials, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise Unauthenticated from None
    name, colon, password = decoded.partition(":")
    if not colon:
        raise Unauthenticated
    return name, password


def _check_password(secret: bytes, stored: bytes) -> bool:
    # bcrypt refuses longer secrets and NULs; a password that could never have been set is just wrong.
    usable = len(secret) <= MAX_PASSWORD_BYTES and b"\0" not in secret
    try:
        return bcrypt.checkpw(secret if usable else b"", stored) and usable
    except ValueError:  # the stored hash is malformed
        return False
