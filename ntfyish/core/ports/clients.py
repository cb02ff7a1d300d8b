"""What Open Clients fetch: queues of their devices, and glances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A message in the queue of an Open Client device.

    Attributes:
        id: its place in this queue; grows, and is never given out again.
        umid: the same for all devices of one send, and for all repeats of an emergency.
        queued_at: Unix seconds.
        expires_at: Unix seconds.
        acknowledged: whether its receipt has been acknowledged.
        line: its canonical JSON.
    """

    id: int
    umid: int
    queued_at: int
    expires_at: int
    acknowledged: bool
    line: bytes


class QueueStore(Protocol):
    """The queues of Open Client devices, in the same database as the messages; `Post.extras` fill them.

    Writes are durable when the call returns. Raises: Unavailable as `MessageStore`.
    """

    async def queued(self, device_id: str, now: float, limit: int) -> Sequence[Queued]:
        """Return at most `limit` messages that have not expired at `now` (Unix seconds), oldest first."""

    async def confirm(self, device_id: str, upto: int) -> int:
        """Delete the messages whose `id` is at most `upto`; return how many."""

    async def move_queue(self, device_id: str, to: str) -> None:
        """Give the messages of one device to another, which had none."""

    async def prune_queues(self, now: float, limit: int = 500) -> int:
        """Delete at most `limit` expired messages; return how many."""


class GlanceStore(Protocol):
    """What glances show, in the same database as the messages; `NewGlance` among the extras changes it.

    Raises: Unavailable as `MessageStore`.
    """

    async def find_glance(self, topic: str, device: str) -> bytes | None:
        """Return the JSON object that was written last."""
