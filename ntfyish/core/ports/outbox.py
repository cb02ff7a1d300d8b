"""What is to be done outside of the database until it is done: errands, and pushes to devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ntfyish.core.ports.extras import Errand, PushedMessage, StoreExtra
from ntfyish.model.push import Delivery, PushKind, PushState


@dataclass(frozen=True, slots=True)
class ClaimedErrand:
    """An errand that is being done.

    Attributes:
        entry: its number in the outbox.
        attempt: 1 for the first.
        created_at: Unix seconds at which it was entered.
    """

    entry: int
    errand: Errand
    attempt: int
    created_at: float


class Outbox(Protocol):
    """Errands, in the same database as the messages; they are entered by `Post.extras` and `Transition`.

    Writes are durable when the call returns. Raises: Unavailable as `MessageStore`.
    """

    async def claim(
        self, now: float, until: float, rooms: Mapping[str, int], busy: Sequence[str]
    ) -> Sequence[ClaimedErrand]:
        """Take errands that are due: of each kind in `rooms` at most so many, earliest first.

        None to the destinations in `busy`, and at most one to each other. They are due again at `until`,
        lest a crash lose them. Costs what it returns, and what waits for its destination.
        """

    async def recall_errands(self, now: float, until: float) -> None:
        """Make due now what is due by `until`. For a start: nobody is at work then.

        What a server that is no more had claimed cannot be told from what it had put off.
        """

    async def next_errand(self, kinds: Sequence[str], busy: Sequence[str]) -> float | None:
        """Return when the next errand of these kinds is due that does not go to one in `busy`, or None."""

    async def drop_errands(self, kind: str, due_before: float, limit: int = 500) -> int:
        """Delete at most `limit` errands that were due before then (Unix seconds); return how many."""

    async def finish(self, claimed: ClaimedErrand, extras: Sequence[StoreExtra] = ()) -> None:
        """Delete an errand that is done, and write `extras`; nothing if it has been replaced meanwhile."""

    async def postpone(self, claimed: ClaimedErrand, due_at: float) -> None:
        """Have an errand done again at `due_at`; nothing if it has been replaced meanwhile."""


@dataclass(frozen=True, slots=True)
class ClaimedPush:
    """A push that is being done.

    Attributes:
        entry: its number in the outbox.
        message: shared by all pushes of that message in one claim.
        attempt: 1 for the first.
        reason: the service's last word; "" before the first try.
    """

    entry: int
    message: PushedMessage
    device_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class PushNote:
    """What became of a try: `state` PENDING with `due_at` for another one, or how it ended.

    Attributes:
        attempted: whether the try counts; one that was interrupted before it began does not.
        at: Unix seconds.
    """

    entry: int
    state: PushState
    reason: str
    at: float
    due_at: float = 0.0
    attempted: bool = True


class PushOutbox(Protocol):
    """Pushes, in the same database as the messages; `NewPushes` among the extras enters them.

    Writes are durable when the call returns. Raises: Unavailable as `MessageStore`.
    """

    async def claim_pushes(
        self, destination: str, now: float, until: float, limit: int
    ) -> Sequence[ClaimedPush]:
        """Take at most `limit` pushes to a destination that are due, earliest first.

        They are due again at `until`, lest a crash lose them. Costs what it returns.
        """

    async def recall_pushes(self, now: float) -> int:
        """Make due now what is pending and was to wait; return how many. For a start: nobody is at work then.

        What a server that is no more had claimed cannot be told from what it had put off.
        """

    async def waiting_destinations(self) -> Sequence[tuple[str, float, int]]:
        """Return (destination, when its first pending push is due, how many are pending)."""

    async def next_push(self, destination: str) -> float | None:
        """Return when the first pending push to a destination is due, or None."""

    async def oldest_push(self) -> float | None:
        """Return when the oldest pending push was created (Unix seconds), or None."""

    async def note_pushes(self, notes: Sequence[PushNote]) -> None:
        """Write what became of tries; a push that is no longer pending (superseded) stays as it is."""

    async def expire_pushes(
        self, now: float, created_before: float, limit: int = 500
    ) -> Mapping[PushKind, int]:
        """End at most `limit` pending pushes that are over, as EXPIRED; return how many of which kind.

        Over is what was created before that time (Unix seconds) or whose message has expired at `now`, as
        far as nobody is at work on it.
        """

    async def purge_pushes(self, created_before: float, limit: int = 500) -> int:
        """Delete at most `limit` pushes that are not pending, of messages older than that; return how many.

        A message goes with its last push.
        """

    async def find_deliveries(self, id: str, owner: str) -> Sequence[Delivery] | None:
        """Return the pushes of a message, by its id, its request's, or its sequence's, oldest message first.

        The newest ten thousand, if there are more. None if there is no such message of that owner that was
        pushed.
        """
