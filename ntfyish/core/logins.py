"""Who logs in, with a limit on failures; the dialects authenticate through here.

Only failures count, per network that the client's address belongs to. Beyond the limit

* tokens are still looked up, which costs next to nothing: a valid one passes, others are 429 instead of 401;
* a password that was right before passes on to be checked again (its header is remembered, as a keyed
  digest, for a day), whatever others do at the same address;
* a password that has not been seen here is still checked, so that nobody is locked out by what others got
  wrong; but each account name has a bucket of its own for that (four times as large as the network's, and no
  faster), and only one attempt of the network is checked at a time. Whether the account exists makes no
  difference to any of it.

So somebody who guesses at one name gets five times the failures at once, then two a minute, and learns no
more from a 429 than from a 401; whoever has that name must then wait, too, if they have never logged in
with that password. bcrypt's work is bounded by `_TOGETHER` attempts of one network at a time:
the others wait their turn, and neither the loop nor the networks of others wait for them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ntfyish.core.access import Access
from ntfyish.core.buckets import Buckets, Rate
from ntfyish.core.limits import Limits
from ntfyish.core.ports import Clock
from ntfyish.model.errors import LimitReached, Reason, Unauthenticated
from ntfyish.model.people import ANONYMOUS, Principal

_NAME_BURSTS = 4
_TOGETHER = 4
_MOST_WAITING = 256
_MOST_WAITING_BEYOND = 16
_WAIT_RETRY_S = 2
_REMEMBERED = 16_384
_REMEMBERED_S = 86_400.0


class _Queue:
    """The attempts of one network that are being checked or wait for that."""

    __slots__ = ("alone", "length", "together")

    def __init__(self) -> None:
        self.together = asyncio.Semaphore(_TOGETHER)
        self.alone = asyncio.Lock()
        self.length = 0


class Logins:
    """Authenticates, and counts failures."""

    def __init__(self, access: Access, limits: Limits, clock: Clock) -> None:
        self._access = access
        self._limits = limits
        self._clock = clock
        self._names = Buckets()
        failures = limits.values.auth_failures
        self._name_rate = Rate(_NAME_BURSTS * failures.burst, failures.interval_us)
        self._queues: dict[str, _Queue] = {}
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()

    async def authenticate(self, authorization: str, address: str) -> Principal:
        """Return who sends this `Authorization` header from `address`; see `Access.authenticate`.

        Raises:
            Unauthenticated: the credentials are wrong.
            LimitReached: AUTH_FAILURE_LIMIT: so are they, or they cannot be checked now; and there were too
                many failures from there.
        """
        if not authorization:
            return ANONYMOUS
        name = _account_name(authorization)
        if not name:
            return await self._check(authorization, address)
        digest = hashlib.blake2b(
            authorization.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=32
        ).digest()
        if self._was_right(digest):
            try:
                return await self._check(authorization, address)
            except (Unauthenticated, LimitReached):
                self._right.pop(digest, None)
                raise
        principal = await self._check_new(name, authorization, address)
        self._right[digest] = self._clock.monotonic() + _REMEMBERED_S
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return principal

    def fail(self, address: str) -> None:
        """Count something from `address` that was as wrong as a password.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT: there were too many.
        """
        self._limits.take_auth_failure(self._limits.place(address))

    async def _check(self, authorization: str, address: str) -> Principal:
        try:
            return await self._access.authenticate(authorization, address)
        except Unauthenticated:
            self.fail(address)
            raise

    async def _check_new(self, name: str, authorization: str, address: str) -> Principal:
        """Check a password that is not known to be right, when it is its turn."""
        place = self._limits.place(address)
        async with self._turn(place) as queue:
            if not self._wait_us(place):
                return await self._check(authorization, address)
            self._take_name(f"{place} {hash(name):x}")
            async with queue.alone:
                return await self._check(authorization, address)

    @asynccontextmanager
    async def _turn(self, place: str) -> AsyncIterator[_Queue]:
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue()
        if queue.length >= (_MOST_WAITING_BEYOND if self._wait_us(place) else _MOST_WAITING):
            raise LimitReached(Reason.AUTH_FAILURE_LIMIT, retry_after_s=_WAIT_RETRY_S)
        queue.length += 1
        try:
            async with queue.together:
                yield queue
        finally:
            queue.length -= 1
            if not queue.length:
                self._queues.pop(place, None)

    def _take_name(self, key: str) -> None:
        if missing_us := self._names.take(key, self._name_rate, self._limits.now_us()):
            raise LimitReached(Reason.AUTH_FAILURE_LIMIT, retry_after_s=missing_us / 1e6)

    def _wait_us(self, place: str) -> int:
        limits = self._limits
        return limits.auth_failures.wait_us(place, limits.values.auth_failures, limits.now_us())

    def _was_right(self, digest: bytes) -> bool:
        until = self._right.get(digest)
        return until is not None and until > self._clock.monotonic()


def _account_name(authorization: str) -> str:
    """Return whose password this is; "" if it is none, or malformed."""
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(b":")[0].decode("utf-8", "surrogateescape")
