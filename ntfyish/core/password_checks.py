"""Verifies passwords off the event loop. Owned by `Access`; hashing is `core.passwords`'s.

bcrypt takes some 50 ms of CPU. Two threads do it, with a bounded number of attempts waiting, few of them
from one address; a right password is remembered for a minute as a keyed digest, so that Basic on every
request costs that once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import bcrypt

from ntfyish.core.ports import Clock
from ntfyish.model.errors import LimitReached, Reason
from ntfyish.model.passwords import MAX_PASSWORD_BYTES

_THREADS = 2
_MOST_WAITING = 256
_MOST_OF_ONE_ADDRESS = 64
_ATTEMPT_S = 0.05
_REMEMBERED = 16_384
_REMEMBERED_S = 60.0
# No password has this hash; what is checked against it takes as long as any other.
_NOBODY = "$2b${:02d}$" + "." * 53


class PasswordChecks:
    """Tells whether passwords are right, in the same time whether the account exists or not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bcrypt")
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._working: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def is_right(self, name: str, password: str, stored: str, *, cost: int, address: str) -> bool:
        """Whether `password` is that of the account.

        Args:
            stored: the account's bcrypt hash; "" if there is no account or it has no password.
            cost: for the work to do in that case.
            address: who asks.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT: too many attempts wait already.
        """
        secret = password.encode("utf-8", "surrogateescape")
        # With the stored hash in it, a password that was changed is not remembered any more.
        proof = b"\0".join((name.encode("utf-8", "surrogateescape"), stored.encode(), secret))
        digest = hashlib.blake2b(proof, key=self._secret, digest_size=32).digest()
        if self._right.get(digest, 0.0) > self._clock.monotonic():
            return True
        work = self._working.get(digest)
        if work is None:
            work = self._begin(digest, secret, stored or _NOBODY.format(cost), address)
        return await asyncio.shield(work) and bool(stored)

    def _begin(self, digest: bytes, secret: bytes, stored: str, address: str) -> asyncio.Future[bool]:
        waiting = len(self._working)
        if waiting >= _MOST_WAITING or self._waiting[address] >= _MOST_OF_ONE_ADDRESS:
            raise LimitReached(Reason.AUTH_FAILURE_LIMIT, retry_after_s=waiting * _ATTEMPT_S / _THREADS)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, _check_password, secret, stored.encode()
        )
        self._working[digest] = work
        self._waiting[address] += 1
        work.add_done_callback(partial(self._ended, digest, address))
        return work

    def _ended(self, digest: bytes, address: str, work: asyncio.Future[bool]) -> None:
        del self._working[digest]
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]
        if not work.cancelled() and work.result():
            self._right[digest] = self._clock.monotonic() + _REMEMBERED_S
            self._right.move_to_end(digest)
            if len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)


def _check_password(secret: bytes, stored: bytes) -> bool:
    # bcrypt refuses longer secrets and NULs; a password that could never have been set is just wrong.
    usable = len(secret) <= MAX_PASSWORD_BYTES and b"\0" not in secret
    try:
        return bcrypt.checkpw(secret if usable else b"", stored) and usable
    except ValueError:  # the stored hash is malformed
        return False
