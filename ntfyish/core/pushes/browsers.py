"""Browsers that are pushed to (Web Push): they register for topics, are warned if they stay away, and expire.

`web.ntfy.web_push` asks for the first, a duty of the timetable for the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from ntfyish.core.directory import Directory
from ntfyish.core.ports import BrowserSender, Change, Clock, DeadDevice, PeopleStore, Put, Remove
from ntfyish.core.pushes.registration import MOST_OF_NOBODY
from ntfyish.model.endpoint import endpoint_host, may_push_to
from ntfyish.model.errors import Invalid, LimitReached, NotFound, Reason
from ntfyish.model.push import PushDevice, PushKind, Verdict, new_push_device_id
from ntfyish.model.web_push_keys import read_subscription_keys

_log = logging.getLogger(__name__)

MOST_BROWSERS = 10

_REMOVED_AT_ONCE = 500
_WARNED_AT_ONCE = 50
_WARNED_IN_A_SWEEP = 100
_HOST_FAILS = frozenset({Verdict.UNAVAILABLE, Verdict.MISCONFIGURED})

T = TypeVar("T")


class Browsers:
    """Registers browsers, and sees to those that stay away.

    Args:
        allowed_hosts: of push services besides the known ones (`web-push-endpoint-allow`).
        warn_after_s, expire_after_s: seconds since a browser has registered last.
    """

    def __init__(
        self,
        store: PeopleStore,
        directory: Directory,
        clock: Clock,
        sender: BrowserSender,
        *,
        allowed_hosts: Collection[str],
        warn_after_s: float,
        expire_after_s: float,
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._sender = sender
        self._allowed_hosts = frozenset(allowed_hosts)
        self._warn_after_s = warn_after_s
        self._expire_after_s = expire_after_s
        self._lock = asyncio.Lock()

    def check_endpoint(self, endpoint: str) -> None:
        """Refuse what is no endpoint of a push service that the server may call.

        Raises:
            Invalid: WEB_PUSH_ENDPOINT_UNKNOWN.
        """
        if not may_push_to(endpoint_host(endpoint), self._allowed_hosts):
            raise Invalid(Reason.WEB_PUSH_ENDPOINT_UNKNOWN)

    async def register(
        self, endpoint: str, *, p256dh: str, auth: str, topics: tuple[str, ...], account: str, address: str
    ) -> None:
        """Push to a browser from now on, as it is now: its topics take the place of those it had.

        An endpoint belongs to whoever has registered it last. It counts for the address that it was
        registered from, and moves with its browser as long as there is room at the new one.

        Args:
            endpoint: one that `check_endpoint` has let pass.
            p256dh, auth: the keys of its subscription, in base64.
            topics: those it gets, all of which it may read; not empty.
            account: of whoever is logged in; "" for nobody.
            address: who registers it, as a visitor's key.

        Raises:
            Invalid: WEB_PUSH_INVALID: the keys are none.
            LimitReached: SUBSCRIPTION_LIMIT: there are too many from this address, or of nobody.
        """
        try:
            p256dh, auth = read_subscription_keys(p256dh, auth)
        except ValueError:
            raise Invalid(Reason.WEB_PUSH_INVALID, "the keys are invalid") from None
        browser = PushDevice(
            id=new_push_device_id(),
            kind=PushKind.WEB_PUSH,
            account=account,
            topics=topics,
            token=endpoint,
            p256dh=p256dh,
            auth=auth,
            address=address,
        )
        async with self._lock:
            known = self._find(endpoint)
            if known is not None and self._updated(known, browser) == known:
                if await self._store.touch_devices((known.id,), int(self._clock.now())):
                    return
            await self._directory.refresh()
            await self._store.apply(Put(self._record(browser)))
            await self._directory.refresh()

    async def remove(self, endpoint: str) -> None:
        """Push to a browser no more; nothing if it is not known."""
        async with self._lock:
            await self._directory.refresh()
            known = self._find(endpoint)
            if known is not None:
                with suppress(NotFound):
                    await self._store.apply(Remove(PushDevice, known.id))
                await self._directory.refresh()

    async def sweep(self) -> None:
        """Remove the browsers that have stayed away for too long, and warn those that soon will have."""
        await self._directory.refresh()
        expired_at = self._clock.now() - self._expire_after_s
        expired = [device for device in self._browsers() if device.registered_at <= expired_at]
        for some in _batches(expired, _REMOVED_AT_ONCE):
            await self._bury(some, "expired")
        await self._warn()

    def _find(self, endpoint: str) -> PushDevice | None:
        return self._directory.find_push_token(PushKind.WEB_PUSH, endpoint)

    def _browsers(self) -> Iterator[PushDevice]:
        devices = self._directory.people.push_devices
        return (device for device in devices if device.kind is PushKind.WEB_PUSH)

    def _record(self, browser: PushDevice) -> PushDevice:
        """Return the device that `browser` is from now on."""
        known = self._find(browser.token)
        if known is None and not self._has_room(browser.address):
            raise LimitReached(Reason.SUBSCRIPTION_LIMIT, "too many browsers from this address")
        if known is None and not browser.account and self._count_nobodys() >= MOST_OF_NOBODY:
            raise LimitReached(Reason.SUBSCRIPTION_LIMIT, "too many browsers without an account")
        record = browser if known is None else self._updated(known, browser)
        return replace(record, registered_at=int(self._clock.now()), warned_at=0)

    def _updated(self, known: PushDevice, browser: PushDevice) -> PushDevice:
        """Return `known` with what `browser` says; what concerns its time is as it was."""
        moves = browser.address != known.address and self._has_room(browser.address)
        return replace(
            browser,
            id=known.id,
            address=browser.address if moves else known.address,
            registered_at=known.registered_at,
            warned_at=known.warned_at,
        )

    def _has_room(self, address: str) -> bool:
        return sum(device.address == address for device in self._browsers()) < MOST_BROWSERS

    def _count_nobodys(self) -> int:
        return sum(not device.account for device in self._browsers())

    async def _warn(self) -> None:
        """Tell some of those who will expire, chosen at random: none can keep the others from their turn."""
        warned_at = self._clock.now() - self._warn_after_s
        waiting = [one for one in self._browsers() if not one.warned_at and one.registered_at <= warned_at]
        chosen = random.sample(waiting, min(len(waiting), _WARNED_IN_A_SWEEP))
        failing: set[str] = set()
        for some in _batches(chosen, _WARNED_AT_ONCE):
            told, gone = await self._tell(some, failing)
            await self._bury(gone, "gone")
            await self._mark(told)
        if failing:
            _log.info("Some browsers could not be told yet that they expire: %d hosts", len(failing))

    async def _tell(
        self, devices: Sequence[PushDevice], failing: set[str]
    ) -> tuple[list[PushDevice], list[PushDevice]]:
        """Send the warnings; return who got one (or never will), and who is gone.

        Args:
            failing: hosts that have failed in this sweep, which are asked no more; grows.
        """
        told: list[PushDevice] = []
        gone: list[PushDevice] = []
        for device in devices:
            host = endpoint_host(device.token)
            if host in failing:
                continue
            verdict = (await self._sender.warn(device)).verdict
            if verdict is Verdict.GONE:
                gone.append(device)
            elif verdict in _HOST_FAILS:
                failing.add(host)
            elif verdict is not Verdict.BUSY:  # else it is told another time
                told.append(device)
        return told, gone

    async def _mark(self, told: Sequence[PushDevice]) -> None:
        """Note who has been warned, but for those who have registered again meanwhile."""
        async with self._lock:
            await self._directory.refresh()
            now = int(self._clock.now())
            changes = [
                Change(replace(current, warned_at=now))
                for device in told
                if (current := self._directory.find_push_device(device.id)) is not None
                and current.registered_at == device.registered_at
            ]
            try:
                await self._store.apply(*changes)
            except NotFound:  # the command line has removed one just now
                for change in changes:
                    with suppress(NotFound):
                        await self._store.apply(change)

    async def _bury(self, devices: Sequence[PushDevice], reason: str) -> None:
        """Remove browsers, but for those that have registered again meanwhile."""
        now = self._clock.now()
        await self._store.bury_devices(
            [
                DeadDevice(one.id, token=one.token, gone_at=one.registered_at, at=now, reason=reason)
                for one in devices
            ]
        )


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
