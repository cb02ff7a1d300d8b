"""What a message to a topic causes besides the streams: entries in the queues of Open Client devices, and
errands to push it to other devices, and to tell another server of it.

`Publisher` asks for every message, and the store for every scheduled one when it is released (in the
writer's thread; everything here is memory only). It also knows what an account wants done to the messages of
its inbox: quiet hours, a default sound, no stream. When something has been queued, whoever serves connected
devices hears of it at once (`on_queued`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import orjson

from ntfyish.core.directory import Directory
from ntfyish.core.ports import Bus, Errand, QueueEntry, StoreExtra
from ntfyish.model.line import encode
from ntfyish.model.message import DEFAULT_PRIORITY, Content, Event, Message, Published, priority_from_pushover
from ntfyish.model.people import KEY_LENGTH, Account
from ntfyish.model.quiet import is_quiet

_SILENT = priority_from_pushover(-1)

PUSH = "push"
UPSTREAM = "upstream"
_PUSHED = frozenset({Event.MESSAGE, Event.POLL_REQUEST, Event.MESSAGE_DELETE, Event.MESSAGE_CLEAR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the publisher of a message wants done with it, besides what its readers want.

    Attributes:
        send: the id of the first message of a send to several topics; "" for the message by itself.
        owner, request: who may ask what became of its pushes, and by which id besides the message's own.
        queue: whether it goes into the queues of Open Client devices.
        push: whether it is pushed to devices.
        upstream: whether the other server is told.
    """

    send: str = ""
    owner: str = ""
    request: str = ""
    queue: bool = True
    push: bool = True
    upstream: bool = True


_NO_WISHES = Wishes()


class Deliveries:
    """Plans deliveries to the inboxes of accounts, and to devices of topics.

    Args:
        upstream: whether there is another server to tell of messages.
    """

    def __init__(self, directory: Directory, *, upstream: bool = False) -> None:
        self._directory = directory
        self._upstream = upstream
        self._callbacks: list[Callable[[Sequence[str]], None]] = []

    def on_queued(self, callback: Callable[[Sequence[str]], None]) -> None:
        """Have `callback` called on the event loop with the ids of devices that something was queued for."""
        self._callbacks.append(callback)

    def plan(self, message: Message, wishes: Wishes = _NO_WISHES) -> tuple[StoreExtra, ...]:
        """Return what is to be written along with `message`. Also called in the writer's thread.

        The errands have `message.time` as the time they are due, and nothing in them says to which devices:
        that is decided when they are done, so that a message to ten thousand devices is stored as quickly
        as one to none.
        """
        event = message.event
        extras: tuple[StoreExtra, ...] = ()
        if event is Event.MESSAGE and wishes.queue:
            extras = self._queue_entries(message, wishes.send)
        if event in _PUSHED and wishes.push and self._directory.has_push_devices(message.topic):
            extras = (*extras, _push_errand(message, wishes))
        # What cannot be read here need not be fetched.
        if self._upstream and wishes.upstream and event is Event.MESSAGE and self.has_stream(message.topic):
            extras = (*extras, _upstream_errand(message))
        return extras

    def plan_released(self, message: Message, wishes: str) -> tuple[StoreExtra, ...]:
        """Return what is to be written along with a scheduled message. Called in the writer's thread.

        Args:
            wishes: as `write_wishes` made it when the message was published.
        """
        return self.plan(message, _read_wishes(wishes))

    def _queue_entries(self, message: Message, send: str = "") -> tuple[QueueEntry, ...]:
        """Return the entries for the devices that the message names, or for all if it names none of them."""
        if (account := self._owner(message.topic)) is None:
            return ()
        devices = self._directory.client_devices(account)
        if not devices:
            return ()
        names = chosen_names(message.content.device, (*devices, *self._directory.push_names(account)))
        return tuple(QueueEntry(id, send) for name, id in devices.items() if name in names)

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
            entry.device_id
            for message in messages
            if message.event is Event.MESSAGE
            for entry in self._queue_entries(message)
        ]
        if queued:
            for callback in self._callbacks:
                callback(queued)

    def _owner(self, topic: str) -> Account | None:
        return self._directory.find_inbox_owner(topic) if len(topic) == KEY_LENGTH else None


def chosen_names(asked: str, names: Collection[str]) -> frozenset[str]:
    """Return which of an account's devices a message goes to.

    Args:
        asked: a comma list of names. If none of them is one of the account's devices, it goes to all.
        names: of all its devices, whatever their kind.
    """
    known = frozenset(names)
    return known.intersection(asked.split(",")) or known


def write_wishes(wishes: Wishes) -> str:
    """Return what is kept of the wishes for a scheduled message; "" for what is usual."""
    if wishes.push and wishes.upstream and not wishes.owner:
        return ""
    return orjson.dumps([wishes.owner, wishes.request, wishes.push, wishes.upstream]).decode()


def _read_wishes(text: str) -> Wishes:
    if not text:
        return _NO_WISHES
    owner, request, push, upstream = orjson.loads(text)
    return Wishes(owner=owner, request=request, push=push, upstream=upstream)


def read_push_errand(payload: bytes) -> tuple[str, str, bytes]:
    """Return (request, owner, line) of an errand of kind `PUSH`."""
    head, _, line = payload.partition(b"\n")
    request, owner = orjson.loads(head)
    return request, owner, line


def _push_errand(message: Message, wishes: Wishes) -> Errand:
    payload = orjson.dumps([wishes.request, wishes.owner]) + b"\n" + encode(message)
    return Errand(PUSH, message.id, payload, message.time)


def _upstream_errand(message: Message) -> Errand:
    return Errand(UPSTREAM, message.id, orjson.dumps([message.topic, message.id]), message.time)


class TellingBus:
    """A bus that also tells `Deliveries` what has become visible."""

    def __init__(self, bus: Bus, deliveries: Deliveries) -> None:
        self._bus = bus
        self._deliveries = deliveries

    def announce(self, published: Sequence[Published]) -> None:
        """Hand on, in order; then tell."""
        self._bus.announce(published)
        self._deliveries.tell([one.message for one in published])
