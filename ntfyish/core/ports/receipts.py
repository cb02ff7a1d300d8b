"""Receipts of emergencies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ntfyish.core.ports.extras import StoreExtra
from ntfyish.core.ports.messages import Post
from ntfyish.model.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Transition:
    """What a receipt becomes, and what is written with it."""

    receipt: Receipt
    posts: Sequence[Post] = ()
    extras: tuple[StoreExtra, ...] = ()


class ReceiptStore(Protocol):
    """Receipts of emergencies, in the same database as the messages; they are made by `Post.extras`.

    Writes are durable when the call returns. Raises: Unavailable as `MessageStore`.
    """

    async def find_receipt(self, id: str) -> Receipt | None:
        """Return the receipt of that name, however old."""

    async def due_receipts(self, now: float, limit: int) -> Sequence[Receipt]:
        """Return at most `limit` receipts whose `next_at` has come, earliest first. Costs what it returns."""

    async def next_send(self) -> float | None:
        """Return the earliest `next_at` in Unix seconds, or None."""

    async def change_receipts(
        self, ids: Sequence[str], transition: Callable[[Receipt], Transition | None], posts: int = 0
    ) -> Sequence[Receipt | None]:
        """Put `transition` of each receipt in its place, in one transaction.

        Args:
            transition: is given the receipt as it is by then; None leaves it. Runs in another thread, maybe
                twice, and must be pure.
            posts: how many messages that makes, about.

        Returns for each the receipt as it is now; None for those that do not exist or were left.
        """

    async def tagged_receipts(self, owner: str, tag: str) -> Sequence[str]:
        """Return the names of the owner's receipts with that tag."""

    async def purge_receipts(self, before: float, limit: int = 500) -> int:
        """Delete at most `limit` receipts that started before `before`; return how many."""
