"""The message cache: what is stored, and how it is read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ntfyish.core.ports.extras import Count, StoreExtra
from ntfyish.model.message import Message, Published
from ntfyish.model.query import Since


@dataclass(frozen=True, slots=True)
class Post:
    """A message on its way into the store.

    Attributes:
        message: as it will be seen.
        line: its canonical JSON (`model.line.encode`).
        due_at: Unix seconds at which it becomes visible; 0 for at once.
        replaces: remove what is still pending under the same topic and `message.sequence_id` first.
        kept: store the message; if not, there is nothing to do but what `replaces` and `extras` say.
        extras: what is written in the same transaction, besides the message.
        wishes: what its publisher wants done with it when it is released, in the words of whoever plans
            that; "" for what is usual. Only for what is scheduled.
    """

    message: Message
    line: bytes
    due_at: int = 0
    replaces: bool = False
    kept: bool = True
    extras: tuple[StoreExtra, ...] = ()
    wishes: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the messages of a joined replay are written.

    Each becomes ``before_id + id + before_line + line + after_line``, or without the first two parts if
    `before_id` is "".
    """

    before_id: str
    before_line: str
    after_line: str


Visible = Callable[[Sequence[Published]], None]


class MessageStore(Protocol):
    """The message cache and the counters that are committed with it.

    Writes are durable (fsynced) when the call returns. Each message gets its `seq` when it becomes
    visible; `seq` order = commit order. The adapter calls `visible` (given at construction) on the event
    loop, in `seq` order, once per commit, before anybody who awaits that write resumes.

    Raises (all methods): Unavailable with STORAGE_BUSY (somebody else holds the lock for longer than the
    busy timeout), STORAGE_FULL, or STORAGE_BROKEN.
    """

    @property
    def head(self) -> int:
        """The `seq` of the last message handed to `visible` (at start: the last one ever assigned)."""

    def post(
        self, posts: Sequence[Post], counts: Sequence[Count] = (), extras: Sequence[StoreExtra] = ()
    ) -> Awaitable[None]:
        """Store all `posts`, add all `counts`, and write `extras` that go with no message.

        All in one transaction, also if the caller is cancelled.
        """

    async def release_due(self, now: float, limit: int = 500) -> int:
        """Make at most `limit` pending messages visible that are due, earliest first; return how many."""

    async def next_due(self) -> float | None:
        """Return the Unix seconds of the earliest pending message, or None."""

    async def prune(self, now: float, limit: int = 500) -> int:
        """Delete at most `limit` expired messages; return how many."""

    async def forget(self, topic: str, limit: int = 500) -> int:
        """Delete what is pending for a topic, and at most `limit` of its messages; return how many."""

    def replay(
        self, topics: Sequence[str], since: Since, upto: int, now: float, *, scheduled: bool = False
    ) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Yield chunks of (id, line) in `seq` order: visible, not expired at `now`, `seq` <= `upto`.

        With `scheduled`, what is pending follows, by the time it is due. The chunks are read one at a
        time, as the caller asks for them; no transaction stays open in between.
        """

    def replay_joined(
        self, topic: str, since: Since, upto: int, now: float, shape: Shape
    ) -> AsyncIterator[bytes]:
        """As `replay` for one topic, but each chunk is one piece of bytes, already joined in `shape`."""

    async def counter(self, subject: str, period: str) -> int:
        """Return what `counts` have added up to."""

    async def forget_counts(self, prefix: str, before: str, limit: int = 500) -> int:
        """Delete at most `limit` counters of subjects that begin with `prefix`; return how many.

        Only those of periods that sort before `before`.
        """

    async def topics(self, limit: int) -> Sequence[str]:
        """Return at most `limit` topics that have messages, visible or pending."""
