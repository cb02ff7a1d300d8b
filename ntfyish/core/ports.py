"""The protocols that the core needs and adapters implement.

One class per port, with what callers may rely on: units, order, errors, concurrency.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ntfyish.model.acl import AclEntry
from ntfyish.model.message import Message, Published
from ntfyish.model.people import AccessToken, Account, App, Group, Tier, TopicKey
from ntfyish.model.query import Since


class Clock(Protocol):
    """All time comes from here; tests move it."""

    def now(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that never jump, from an arbitrary origin."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once if they are not positive."""


@dataclass(frozen=True, slots=True)
class Count:
    """An increment of a persistent counter: `amount` more for `subject` (an app) in `period` (a month)."""

    subject: str
    period: str
    amount: int


@dataclass(frozen=True, slots=True)
class Post:
    """A message on its way into the store.

    Attributes:
        message: as it will be seen.
        line: its canonical JSON (`model.line.encode`).
        due_at: Unix seconds at which it becomes visible; 0 for at once.
        replaces: remove what is still pending under the same topic and `message.sequence_id` first.
        kept: store the message; if not, there is nothing to do but what `replaces` says.
    """

    message: Message
    line: bytes
    due_at: int = 0
    replaces: bool = False
    kept: bool = True


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

    def post(self, posts: Sequence[Post], counts: Sequence[Count] = ()) -> Awaitable[None]:
        """Store all `posts` and add all `counts`, in one transaction, also if the caller is cancelled."""

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


Record = Account | App | TopicKey | AccessToken | AclEntry | Tier | Group


@dataclass(frozen=True, slots=True)
class Add:
    """A new record; Conflict if its identity is taken."""

    record: Record


@dataclass(frozen=True, slots=True)
class Change:
    """A record that takes the place of the one of the same identity; NotFound if there is none."""

    record: Record


@dataclass(frozen=True, slots=True)
class Put:
    """A record, new or in the place of the one of the same identity."""

    record: Record


@dataclass(frozen=True, slots=True)
class Remove:
    """The record of that kind and identity goes; NotFound if there is none.

    The identity is an account's name, an app's token, a topic key's or group's key, a token's hash, a
    tier's code, or (account, pattern). An account goes with its apps, tokens, access entries (also those
    it owns), groups and memberships; a tier is taken off its accounts.
    """

    kind: type[Record]
    identity: str | tuple[str, str]


PeopleChange = Add | Change | Put | Remove


@dataclass(frozen=True, slots=True)
class People:
    """Everybody and everything that may publish or be written to, as one snapshot."""

    accounts: tuple[Account, ...] = ()
    apps: tuple[App, ...] = ()
    keys: tuple[TopicKey, ...] = ()
    tokens: tuple[AccessToken, ...] = ()
    access: tuple[AclEntry, ...] = ()
    tiers: tuple[Tier, ...] = ()
    groups: tuple[Group, ...] = ()


class PeopleStore(Protocol):
    """Who is known, and who may do what. Other processes (the command line) write to it too.

    Raises: Conflict if a name, token or key is taken (user keys, topic keys and group keys share one name
    space); NotFound if there is no such thing, or an owner does not exist; Unavailable as `MessageStore`.
    """

    async def load(self) -> People:
        """Return a consistent snapshot."""

    async def changed(self) -> bool:
        """Whether anybody has written since the last `load`. Cheap."""

    async def apply(self, *changes: PeopleChange) -> None:
        """Make all changes in their order, in one transaction: all or none."""

    async def touch_tokens(self, used: Sequence[tuple[str, int, str]]) -> None:
        """Note uses of tokens: (token hash, Unix seconds, address). Does not count as a change."""

    async def reconcile(self, declared: People) -> None:
        """Make what is marked `declared` in the store equal to `declared`, in one transaction."""


class Bus(Protocol):
    """Carries visible messages to every hub."""

    def announce(self, published: Sequence[Published]) -> None:
        """Hand on, in order. Never blocks, never raises to the publisher."""
