"""Devices that register themselves over HTTP to be pushed to: who may, with what. Pushover's dialect asks.

An account's device with a name gets what comes to the account's inbox; every device gets the messages of its
topics. A device that was registered without an account is nobody's: it gets only what everybody may read, and
whoever knows its id may remove it. Whether a device may still read its topics is decided again when a message
is delivered (`core.pushes.fan_out`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from ntfyish.core.access import Access, is_within
from ntfyish.core.directory import Directory
from ntfyish.core.ports import Clock, DeadDevice, PeopleStore, Remove
from ntfyish.core.pushes.registration import check_topics, is_same, register_push_device
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Conflict, Forbidden, Invalid, NotFound, Reason, Unauthenticated
from ntfyish.model.people import Principal
from ntfyish.model.push import PushDevice, PushKind, new_push_device_id
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings import ApnsEntry, find_sandbox

KEPT_S = 60 * 86_400
STAYED_AWAY = "stayed away"
NAME_FORBIDDEN = "this token is limited, and cannot manage devices that have a name or more topics than it"

_SWEEP_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What an app asks for, checked for its form.

    Attributes:
        token: in lower-case hex.
        name: "" for a device that gets only its topics.
        sandbox: None for what the app's configuration says.
        id: of the device that has got another token; "" for none.
        force: take the name over from the account's device that has it.
    """

    token: str = field(repr=False)
    bundle_id: str
    name: str = ""
    topics: tuple[str, ...] = ()
    sandbox: bool | None = None
    id: str = ""
    force: bool = False


class PushDevices:
    """What apps may do with their APNs devices.

    Args:
        apps: those whose devices can be pushed to.
        names: held while a device is given a name; `Devices` holds the same.
    """

    def __init__(
        self,
        store: PeopleStore,
        directory: Directory,
        access: Access,
        clock: Clock,
        apps: Sequence[ApnsEntry],
        names: asyncio.Lock,
        disallowed_topics: frozenset[str] = DISALLOWED,
    ) -> None:
        self._store = store
        self._directory = directory
        self._access = access
        self._clock = clock
        self._apps = tuple(apps)
        self._names = names
        self._disallowed_topics = disallowed_topics

    def has_app(self, bundle_id: str) -> bool:
        """Whether devices of that app can be pushed to."""
        return self.find_sandbox(bundle_id, None) is not None

    def find_sandbox(self, bundle_id: str, asked: bool | None) -> bool | None:
        """Return whether a device is of the sandbox; None if it cannot be pushed to there."""
        return find_sandbox(self._apps, bundle_id, asked)

    def owned(self, principal: Principal) -> list[PushDevice]:
        """Return the devices of whoever has logged in, by name.

        A limited token does not see those with a name, or with topics that are none of the token's.
        A declared device that its service has disowned is not among them: it has to be registered again.

        Raises:
            Unauthenticated: nobody has.
        """
        if principal.account is None:
            raise Unauthenticated
        found = [
            device
            for device in self._directory.people.push_devices
            if device.account == principal.account.name
            and device.kind is PushKind.APNS
            and not device.dead_at
            and _may_manage(principal, device)
        ]
        return sorted(found, key=lambda device: (not device.name, device.name, device.id))

    async def register(self, principal: Principal, wanted: Registration, address: str) -> PushDevice:
        """Register a device, new or again; see `register_push_device`.

        Args:
            address: key of the network that the request comes from.

        Raises:
            Unauthenticated: the name needs an account; or the account is no more.
            Forbidden: one of the topics may not be read; or a limited token may not do this.
            Invalid: REQUEST_INVALID, TOPIC_INVALID, TOPIC_DISALLOWED.
            Conflict: CONFLICT, the name is taken; DECLARED.
            LimitReached: TOPIC_LIMIT; REQUEST_LIMIT, there are too many devices.
        """
        device = self._check(principal, wanted, address)
        async with self._names:
            if not all(_may_manage(principal, one) for one in self._formers(device, wanted.id)):
                raise Forbidden(detail=NAME_FORBIDDEN)
            registered = await self._register_again(device, wanted.id)
            while registered is None:
                await self._directory.refresh()
                registered = await register_push_device(
                    self._store, self._directory.people, device, replaces=wanted.id, force=wanted.force
                )
                await self._directory.refresh()
        return registered

    async def remove(self, principal: Principal, id: str) -> None:
        """Remove a device: an account's for that account, nobody's for whoever knows its id.

        Raises:
            NotFound: there is none, or it is somebody else's.
            Forbidden: a limited token may not do this.
            Conflict: DECLARED.
        """
        async with self._names:
            await self._directory.refresh()
            device = self._directory.find_push_device(id)
            owner = "" if principal.account is None else principal.account.name
            if device is None or device.kind is not PushKind.APNS or device.account not in ("", owner):
                raise NotFound
            if device.declared:
                raise Conflict(Reason.DECLARED)
            if device.account and not _may_manage(principal, device):
                raise Forbidden(detail=NAME_FORBIDDEN)
            await self._store.apply(Remove(PushDevice, id))
            await self._directory.refresh()

    async def sweep(self) -> None:
        """Remove devices that registered themselves without an account, and have stayed away."""
        now = self._clock.now()
        late = [
            DeadDevice(one.id, one.token, gone_at=one.registered_at, at=now, reason=STAYED_AWAY)
            for one in self._directory.people.push_devices
            if one.kind is PushKind.APNS
            and one.address  # only who has registered over HTTP, without an account, has one
            and one.registered_at <= now - KEPT_S
        ]
        for start in range(0, len(late), _SWEEP_BATCH):
            await self._store.bury_devices(late[start : start + _SWEEP_BATCH])
        if late:
            await self._directory.refresh()

    def _check(self, principal: Principal, wanted: Registration, address: str) -> PushDevice:
        """Return the device that is asked for, if that may be asked for."""
        account = principal.account
        if not wanted.name and not wanted.topics:
            raise Invalid(Reason.REQUEST_INVALID, "a device without a name needs topics")
        if wanted.name and account is None:
            raise Unauthenticated
        if wanted.name and _is_limited(principal):
            raise Forbidden(detail=NAME_FORBIDDEN)
        sandbox = self.find_sandbox(wanted.bundle_id, wanted.sandbox)
        if sandbox is None:
            raise Invalid(Reason.REQUEST_INVALID, "there is no such app")
        check_topics(wanted.topics, self._disallowed_topics)
        self._access.grant(principal, Permission.READ, wanted.topics)
        return PushDevice(
            id=new_push_device_id(),
            kind=PushKind.APNS,
            account="" if account is None else account.name,
            name=wanted.name,
            topics=wanted.topics,
            token=wanted.token,
            bundle_id=wanted.bundle_id,
            sandbox=sandbox,
            address="" if account is not None else address,
            registered_at=int(self._clock.now()),
        )

    async def _register_again(self, device: PushDevice, id: str) -> PushDevice | None:
        """Note that a device is still there, which apps tell at every start; None if there is more to it."""
        known = self._directory.find_push_token(device.kind, device.token, device.bundle_id)
        if known is None or known.dead_at or id not in ("", known.id) or not is_same(known, device):
            return None
        return known if await self._store.touch_devices([known.id], device.registered_at) else None

    def _formers(self, device: PushDevice, id: str) -> list[PushDevice]:
        """Return the account's devices that this one is, or takes the place of."""
        directory = self._directory
        found = (
            directory.find_push_device(id),
            directory.find_push_token(device.kind, device.token, device.bundle_id),
        )
        return [one for one in found if one is not None and one.account and one.account == device.account]


def _may_manage(principal: Principal, device: PushDevice) -> bool:
    """Whether an account's device is a matter of the token that its account is logged in by."""
    token = principal.token
    if token is None or not token.is_limited:
        return True
    return not device.name and all(is_within(token, Permission.READ, topic) for topic in device.topics)


def _is_limited(principal: Principal) -> bool:
    return principal.token is not None and principal.token.is_limited
