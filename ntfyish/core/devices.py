"""Open Clients: their secrets, one-time codes, devices, and the queues they empty. The Pushover dialect asks.

A client logs in with a password and gets a secret; with that it registers a device under a name, downloads
what is queued for it, and confirms. The password itself is checked by `Logins`, as every other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ntfyish.core.buckets import Buckets, Rate
from ntfyish.core.directory import Directory
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Add, Clock, PeopleChange, PeopleStore, Queued, QueueStore, Remove
from ntfyish.model.errors import Conflict, LimitReached, Reason
from ntfyish.model.people import (
    Account,
    ClientSecret,
    Device,
    declared_device_id,
    new_client_secret,
    new_device_id,
)
from ntfyish.model.push import PushDevice
from ntfyish.model.quiet import is_quiet
from ntfyish.model.totp import decode_secret, find_step

MOST_DEVICES = 50
LONGEST_DOWNLOAD = 1_000

_MOST_SECRETS = 100
_CODES = Rate.of(10, 60.0)  # somebody who knows the password guesses once a minute, of a million codes
_PRUNE_BATCH = 500


@dataclass(frozen=True, slots=True)
class OpenClient:
    """Somebody who has shown a secret."""

    account: Account
    secret: ClientSecret


class Devices:
    """What Open Clients may do.

    Args:
        names: held while a device is given a name, for `PushDevices` gives names, too.
    """

    def __init__(
        self,
        store: PeopleStore,
        queues: QueueStore,
        directory: Directory,
        clock: Clock,
        names: asyncio.Lock | None = None,
    ) -> None:
        self._store = store
        self._queues = queues
        self._directory = directory
        self._clock = clock
        self._codes = Buckets()
        self._used_steps: dict[str, int] = {}
        self._names = names or asyncio.Lock()

    def find_login_name(self, email: str) -> str:
        """Return the name of the account that is meant by a name or an e-mail address; "" if none is.

        An address that several accounts have means none of them.
        """
        if self._directory.find_account(email) is not None:
            return email
        wanted = email.casefold()
        names = [one.name for one in self._directory.people.accounts if one.email.casefold() == wanted]
        return names[0] if wanted and len(names) == 1 else ""

    def is_code(self, account: Account, code: str) -> bool:
        """Whether that is the account's one-time code; each is good once.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT: too many wrong ones, wherever from.
        """
        now_us = int(self._clock.monotonic() * 1e6)
        if wait_us := self._codes.wait_us(account.name, _CODES, now_us):
            raise LimitReached(Reason.AUTH_FAILURE_LIMIT, retry_after_s=wait_us / 1e6)
        step = find_step(decode_secret(account.totp_secret), code, self._clock.now())
        if step is None or step <= self._used_steps.get(account.name, 0):
            self._codes.take(account.name, _CODES, now_us)
            return False
        self._used_steps[account.name] = step
        return True

    async def log_in(self, account: Account) -> str:
        """Return a new secret of the account. The oldest go, those of registered devices last."""
        secret = new_client_secret()
        record = ClientSecret(
            secret_hash=hash_access_token(secret), account=account.name, created_at=int(self._clock.now())
        )
        async with self._names:
            people = self._directory.people
            in_use = {device.secret_hash for device in people.devices}
            own = [one for one in people.secrets if one.account == account.name]
            own.sort(key=lambda one: (one.secret_hash in in_use, one.created_at))
            surplus = own[: max(0, len(own) + 1 - _MOST_SECRETS)]
            await self._store.apply(
                *(Remove(ClientSecret, one.secret_hash) for one in surplus), Add(record)
            )  # fmt: skip
            await self._directory.refresh()
        return secret

    async def find_client(self, secret: str) -> OpenClient | None:
        """Return whose secret that is."""
        found = await self._directory.find_secret(hash_access_token(secret))
        account = self._directory.find_account(found.account) if found is not None else None
        return None if found is None or account is None else OpenClient(account, found)

    def find_device(self, client: OpenClient, device_id: str) -> Device | None:
        """Return the client's device of that id."""
        device = self._directory.find_device(device_id)
        return device if device is not None and device.account == client.account.name else None

    def find_device_name(self, client: OpenClient) -> str:
        """Return the name of the device that was registered with the client's secret; "" if that is open."""
        names = [
            device.name
            for device in self._directory.people.devices
            if device.secret_hash == client.secret.secret_hash
        ]
        return names[0] if len(names) == 1 else ""

    def is_valid(self, secret_hash: str, device_id: str) -> bool:
        """Whether a secret and a device, once found, still hold."""
        secret, device = (
            self._directory.find_known_secret(secret_hash),
            self._directory.find_device(device_id),
        )
        return secret is not None and device is not None and secret.account == device.account

    async def register(self, client: OpenClient, name: str, *, force: bool) -> str:
        """Register a device and return its id; what is queued under its name becomes its own.

        Args:
            force: take the name over from the device that has it, which is a device no more.

        Raises:
            Conflict: another device has the name; DECLARED, one that is pushed to and comes from the
                configuration.
            LimitReached: there are too many.
        """
        account = client.account
        async with self._names:
            await self._directory.refresh()
            own = [one for one in self._directory.people.devices if one.account == account.name]
            known = next((one for one in own if one.name == name), None)
            pushed = self._find_pushed(account, name)
            if (known is not None or pushed) and not force:
                raise Conflict
            if any(one.declared for one in pushed):
                raise Conflict(Reason.DECLARED)
            if known is None and len(own) >= MOST_DEVICES:
                raise LimitReached(Reason.REQUEST_LIMIT)
            queued = known.id if known is not None else declared_device_id(account.user_key, name)
            is_free = known is None and name in account.devices
            device = Device(
                id=queued if is_free else new_device_id(),
                account=account.name,
                name=name,
                secret_hash=client.secret.secret_hash,
                created_at=int(self._clock.now()),
            )
            changes: list[PeopleChange] = [Remove(PushDevice, one.id) for one in pushed]
            changes += [Remove(Device, known.id)] if known is not None else []
            await self._store.apply(*changes, Add(device))
            await self._directory.refresh()
            if known is not None:
                await self._queues.move_queue(known.id, device.id)
        return device.id

    def _find_pushed(self, account: Account, name: str) -> list[PushDevice]:
        devices = self._directory.people.push_devices
        return [one for one in devices if (one.account, one.name) == (account.name, name)]

    async def download(self, device: Device) -> Sequence[Queued]:
        """Return what waits for a device, oldest first."""
        return await self._queues.queued(device.id, self._clock.now(), LONGEST_DOWNLOAD)

    async def has_messages(self, device_id: str) -> bool:
        """Whether anything waits for a device."""
        return bool(await self._queues.queued(device_id, self._clock.now(), 1))

    async def confirm(self, device: Device, upto: int) -> None:
        """Delete what a device has got: everything up to the message with that id."""
        await self._queues.confirm(device.id, upto)

    def is_quiet(self, account: Account) -> bool:
        """Whether the account has quiet hours now."""
        return is_quiet(account.quiet_hours, account.time_zone, self._clock.now())

    async def prune(self) -> None:
        """Delete what nobody has fetched in time."""
        now = self._clock.now()
        while await self._queues.prune_queues(now, _PRUNE_BATCH) == _PRUNE_BATCH:
            pass
