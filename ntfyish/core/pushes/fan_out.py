"""Expands messages into pushes: the errands of kind "push", each a message to an unknown number of devices.

`core.errands` runs them. A message to ten thousand devices is entered in pieces, so that no publish waits for
all of them; the errand ends in the transaction of the last piece, so a crash in the middle has it done again,
and what was entered already stays as it is. `core.pushes.lanes` takes the pushes from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from ntfyish.core.counters import Counters
from ntfyish.core.deliveries import read_push_errand
from ntfyish.core.errands import Again, Done
from ntfyish.core.ports import ClaimedErrand, Clock, NewPushes, PushedMessage, PushTarget, StoreExtra
from ntfyish.core.pushes.backlog import PushBacklog
from ntfyish.core.pushes.recipients import PushRecipients, destination_of
from ntfyish.model.errors import NtfyishError, Unavailable
from ntfyish.model.line import decode
from ntfyish.model.message import Message
from ntfyish.model.push import PushDevice, PushState, collapse_id

_log = logging.getLogger(__name__)

_PIECE = 500
# The last piece comes with the end of the errand, and many errands may end at once.
_LAST_PIECE = 100
_AGAIN_S = 5.0

Write = Callable[[tuple[()], tuple[()], Sequence[StoreExtra]], Awaitable[None]]


class PushFanOut:
    """Enters the pushes of messages.

    Args:
        write: writes what goes with no message (`MessageStore.post`).
        expiry_s: how long a message without ttl is worth being delivered.
        wake: called with destinations that there is something for; the pushes are on their way to the store
            then, ahead of whatever is asked of it later.
    """

    def __init__(
        self,
        write: Write,
        clock: Clock,
        recipients: PushRecipients,
        backlog: PushBacklog,
        counters: Counters,
        *,
        expiry_s: float,
        wake: Callable[[Collection[str]], None],
    ) -> None:
        self._write = write
        self._clock = clock
        self._recipients = recipients
        self._backlog = backlog
        self._counters = counters
        self._expiry_s = int(expiry_s)
        self._wake = wake
        self._writing = asyncio.Lock()

    async def run(self, claimed: ClaimedErrand) -> Done | Again:
        """Enter the pushes of one message."""
        request, owner, line = read_push_errand(claimed.errand.payload)
        try:
            message = decode(line)
        except (KeyError, TypeError, ValueError, NtfyishError):
            _log.error("Message %s is not pushed: its stored form is damaged", claimed.errand.key)
            return Done()
        pushed = self._pushed_message(message, request, owner, line)
        if pushed.expires_at <= self._clock.now():
            return Done()
        try:
            return Done(await self._enter(pushed, self._recipients.find(message)))
        except Unavailable as error:
            _log.warning("Message %s is not pushed yet: %s", pushed.id, error.reason.name)
            return Again(self._clock.now() + _AGAIN_S)

    def _pushed_message(self, message: Message, request: str, owner: str, line: bytes) -> PushedMessage:
        return PushedMessage(
            id=message.id,
            request=request,
            owner=owner,
            topic=message.topic,
            collapse_id=collapse_id(message),
            created_at=message.time,
            expires_at=message.time + (message.content.ttl_s or self._expiry_s),
            line=line,
        )

    async def _enter(self, pushed: PushedMessage, devices: Sequence[PushDevice]) -> tuple[StoreExtra, ...]:
        """Enter all pushes but the last piece; return that."""
        start, last = 0, max(0, len(devices) - _LAST_PIECE)
        while start < last:
            piece = devices[start : min(start + _PIECE, last)]
            start += len(piece)
            extras, destinations = await self._extras(pushed, piece)
            if extras:
                async with self._writing:  # or the pieces of many messages would go into one transaction
                    await self._write((), (), extras)
                self._wake(destinations)
        extras, destinations = await self._extras(pushed, devices[last:])
        self._wake(destinations)
        return extras

    async def _extras(
        self, pushed: PushedMessage, devices: Sequence[PushDevice]
    ) -> tuple[tuple[StoreExtra, ...], Collection[str]]:
        """Return what enters pushes to those of the devices that may read the topic, and where they go."""
        topic, may_get = pushed.topic, self._recipients.may_get
        allowed = [device for device in devices if may_get(device, topic)]
        if not allowed:
            return (), ()
        entered, dropped = await self._make_room(allowed)
        now = self._clock.now()
        extras: list[StoreExtra] = []
        if entered:
            self._counters.pushes_entered.update(one.kind.value for one in entered)
            extras.append(NewPushes(pushed, entered, now))
        if dropped:
            state = PushState.DROPPED
            self._counters.push_results.update((one.kind.value, state.value) for one in dropped)
            extras.append(NewPushes(pushed, dropped, now, state))
        return tuple(extras), {one.destination for one in entered}

    async def _make_room(
        self, devices: Sequence[PushDevice]
    ) -> tuple[tuple[PushTarget, ...], tuple[PushTarget, ...]]:
        """Return the targets that there is room for, in their order, and the others."""
        strangers = sum(map(_is_strangers, devices))
        room = {False: await self._backlog.take(len(devices) - strangers)}
        room[True] = await self._backlog.take(strangers, is_strangers=True)
        entered: list[PushTarget] = []
        dropped: list[PushTarget] = []
        for device in devices:
            whose = _is_strangers(device)
            (entered if room[whose] > 0 else dropped).append(_target(device))
            room[whose] -= 1
        return tuple(entered), tuple(dropped)


def _is_strangers(device: PushDevice) -> bool:
    """Whether anybody may have registered the device."""
    return not device.account and not device.declared


def _target(device: PushDevice) -> PushTarget:
    return PushTarget(device.id, destination_of(device), device.kind, device.name)
