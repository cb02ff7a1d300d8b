"""Which devices get a message: by topic and name, as long as they may read it.

`fan_out` asks when a message is expanded, `maker` again when it is sent: in between a device may have gone,
or its account may have lost its right to the topic.
"""

from __future__ import annotations

from collections.abc import Sequence

from ntfyish.core.access import Access
from ntfyish.core.deliveries import chosen_names
from ntfyish.core.directory import Directory
from ntfyish.model.acl import Permission
from ntfyish.model.message import Message
from ntfyish.model.people import ANONYMOUS, Principal
from ntfyish.model.push import PushDevice, PushKind, apns_destination, web_push_destination


class PushRecipients:
    """Finds devices. Memory only."""

    def __init__(self, directory: Directory, access: Access) -> None:
        self._directory = directory
        self._access = access

    def find(self, message: Message) -> Sequence[PushDevice]:
        """Return the devices that the message goes to, if they may read it (`may_get`).

        Of the devices of the account whose inbox the topic is, those are left out that the message does not
        mean; it means all if it names none of them.
        """
        directory = self._directory
        devices = directory.push_devices(message.topic)
        owner = directory.find_inbox_owner(message.topic)
        if owner is None or not message.content.device:
            return devices
        own = (*directory.client_devices(owner), *directory.push_names(owner))
        names = chosen_names(message.content.device, own)
        return [
            device
            for device in devices
            if device.account != owner.name or not device.name or device.name in names
        ]

    def find_device(self, device_id: str) -> PushDevice | None:
        """Return the device of that id as it is now, if it is alive."""
        device = self._directory.find_push_device(device_id)
        return None if device is None or device.dead_at else device

    def may_get(self, device: PushDevice, topic: str) -> bool:
        """Whether the device gets what comes to that topic, and its account (or nobody) may read it."""
        account = self._directory.find_account(device.account) if device.account else None
        if account is None:
            if device.account:
                return False
        elif device.name and account.user_key == topic:
            return True
        if topic not in device.topics or self._is_private(topic, device):
            return False
        principal = ANONYMOUS if account is None else Principal(account)
        return self._access.allows(principal, Permission.READ, topic)

    def _is_private(self, topic: str, device: PushDevice) -> bool:
        """Whether the topic is the inbox of somebody else, who keeps it to their own devices."""
        owner = self._directory.find_inbox_owner(topic)
        return owner is not None and not owner.stream and owner.name != device.account


def destination_of(device: PushDevice) -> str:
    """Return where pushes to the device go: one destination is one service, known by one identity of ours."""
    if device.kind is PushKind.WEB_PUSH:
        return web_push_destination(device.token)
    return apns_destination(device.bundle_id, sandbox=device.sandbox)
