"""What a message to a topic causes besides the streams: entries in the queues of Open Client devices.

`Publisher` asks for every message, and the store for every scheduled one when it is released (in the
writer's thread; everything here is memory only). It also knows what an account wants done to the messages of
its inbox: quiet hours, a default sound, no stream. When something has been queued, whoever serves connected
devices hears of it at once (`on_queued`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ntfyish.core.directory import Directory
from ntfyish.core.ports import Bus, QueueEntry, StoreExtra
from ntfyish.model.message import DEFAULT_PRIORITY, Content, Event, Message, Published, priority_from_pushover
from ntfyish.model.people import KEY_LENGTH, Account
from ntfyish.model.quiet import is_quiet

_SILENT = priority_from_pushover(-1)


class Deliveries:
    """Plans deliveries to the inboxes of accounts."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._callbacks: list[Callable[[Sequence[str]], None]] = []

    def on_queued(self, callback: Callable[[Sequence[str]], None]) -> None:
        """Have `callback` called on the event loop with the ids of devices that something was queued for."""
        self._callbacks.append(callback)

    def plan(self, message: Message, device: str = "", send: str = "") -> tuple[StoreExtra, ...]:
        """Return what is to be written along with `message`. Also called in the writer's thread.

        Args:
            device: a comma list of names; "" for those that the message names itself. If none of them is one
                of the account's devices, the message goes to all.
            send: the id of the first message of a send to several topics.
        """
        if message.event is not Event.MESSAGE or (account := self._owner(message.topic)) is None:
            return ()
        devices = self._directory.client_devices(account)
        if not devices:
            return ()
        named = (device or message.content.device).split(",")
        chosen = [devices[name] for name in named if name in devices] or devices.values()
        return tuple(QueueEntry(device_id, send) for device_id in chosen)

    def adapt(self, topic: str, content: Content, at: float) -> Content:
        """Return `content` as the owner of the inbox `topic` wants it at that time (Unix seconds)."""
        account = self._owner(topic)
        if account is None or not (account.quiet_hours or account.default_sound):
            return content
        if (
            _SILENT < (content.priority or DEFAULT_PRIORITY) <= DEFAULT_PRIORITY
            and is_quiet(account.quiet_hours, account.time_zone, at)
        ):  # fmt: skip
            content = replace(content, priority=_SILENT)
        if account.default_sound and not content.sound:
            content = replace(content, sound=account.default_sound)
        return content

    def has_stream(self, topic: str) -> bool:
        """Whether what is sent to `topic` can be read there; an account may keep its inbox to its devices."""
        account = self._owner(topic)
        return account is None or account.stream

    def tell(self, messages: Iterable[Message]) -> None:
        """Tell that `messages` are on disk, with all that was planned for them."""
        queued = [
            extra.device_id
            for message in messages
            if len(message.topic) == KEY_LENGTH
            for extra in self.plan(message)
            if isinstance(extra, QueueEntry)
        ]
        if queued:
            for callback in self._callbacks:
                callback(queued)

    def _owner(self, topic: str) -> Account | None:
        return self._directory.find_inbox_owner(topic) if len(topic) == KEY_LENGTH else None


class TellingBus:
    """A bus that also tells `Deliveries` what has become visible."""

    def __init__(self, bus: Bus, deliveries: Deliveries) -> None:
        self._bus = bus
        self._deliveries = deliveries

    def announce(self, published: Sequence[Published]) -> None:
        """Hand on, in order; then tell."""
        self._bus.announce(published)
        self._deliveries.tell([one.message for one in published])
