"""The protocols that the core needs and adapters implement.

One class per port, with what callers may rely on: units, order, errors, concurrency.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from ntfyish.model.acl import AclEntry
from ntfyish.model.message import KeptFile, Message, Published
from ntfyish.model.people import (
    AccessToken,
    Account,
    App,
    ClientSecret,
    Device,
    Group,
    MailAlias,
    Tier,
    TopicKey,
)
from ntfyish.model.push import Delivery, Push, PushDevice, PushKind, PushOutcome, PushState
from ntfyish.model.query import Since
from ntfyish.model.receipt import Receipt
from ntfyish.model.sound import CustomSound
from ntfyish.model.subscription import Subscriber, Subscription
from ntfyish.model.team import TeamToken


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
class NewReceipt:
    """The receipt of an emergency; it goes with the first of its messages."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class CalledBack:
    """The callback of a receipt has been answered, at `called_back_at` (Unix seconds)."""

    receipt: str
    called_back_at: int


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done outside of the database, which is kept until it is done (`core.errands`).

    Attributes:
        kind: who does it.
        key: its name among its kind; a second one of that name takes the place of the first.
        payload: what whoever does it needs to know; may hold secrets.
        due_at: Unix seconds.
        destination: only one errand to each destination is under way at a time; "" for no such bound.
    """

    kind: str
    key: str
    payload: bytes = field(repr=False)
    due_at: float
    destination: str = ""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """The message goes into the queue of an Open Client device, too.

    Attributes:
        send: names the send that the message belongs to; "" for the message by itself. An emergency's
            receipt goes before it.
    """

    device_id: str
    send: str = ""


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """The message carries a file, which is on disk. `stored`: the message itself is stored, too."""

    file: KeptFile
    stored: bool = True


@dataclass(frozen=True, slots=True)
class NewGlance:
    """What the glance of an inbox (`topic`) shows from now on, on one device or ("") all: a JSON object."""

    topic: str
    device: str
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedMessage:
    """A message that is pushed to devices.

    Attributes:
        request: the id of the publisher's request (`Draft.request`); "" for none.
        owner: who may ask what became of it (`Draft.owner`); "" for nobody.
        collapse_id: pushes of an earlier message of the same topic with this id that still wait are
            superseded.
        created_at, expires_at: Unix seconds.
        line: its canonical JSON.
    """

    id: str
    request: str
    owner: str
    topic: str
    collapse_id: str
    created_at: float
    expires_at: int
    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushTarget:
    """A device that a message is to be pushed to, as it is now; `name` is "" for one without."""

    device_id: str
    destination: str
    kind: PushKind
    name: str


@dataclass(frozen=True, slots=True)
class NewPushes:
    """Pushes of one message, to be entered; those that are there already stay as they are.

    Attributes:
        state: PENDING, or DROPPED for what there is no room for.
        due_at: Unix seconds.
    """

    message: PushedMessage
    targets: tuple[PushTarget, ...]
    due_at: float
    state: PushState = PushState.PENDING


StoreExtra = NewReceipt | CalledBack | Errand | QueueEntry | NewAttachment | NewGlance | NewPushes


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
    """

    message: Message
    line: bytes
    due_at: int = 0
    replaces: bool = False
    kept: bool = True
    extras: tuple[StoreExtra, ...] = ()


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


class PushSender(Protocol):
    """Pushes to the devices of some destinations. Never raises for what a service or network does."""

    @property
    def capacity(self) -> int:
        """How many pushes to one destination may be under way at once."""

    async def send(self, push: Push) -> PushOutcome:
        """Try once, within half a minute."""


class BrowserSender(PushSender, Protocol):
    """Pushes to browsers."""

    async def warn(self, device: PushDevice) -> PushOutcome:
        """Tell a browser that it will soon be pushed to no more. As `send`."""


Record = (
    Account
    | App
    | TopicKey
    | AccessToken
    | AclEntry
    | Tier
    | Group
    | ClientSecret
    | Device
    | MailAlias
    | Subscription
    | Subscriber
    | TeamToken
    | CustomSound
    | PushDevice
)


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

    The identity is an account's name, an app's token, a topic key's or group's key, a token's or secret's
    hash, a tier's code, a device's id, an
    alias's name, or (account, pattern). An account goes with its apps, tokens, access entries (also those
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
    secrets: tuple[ClientSecret, ...] = ()
    devices: tuple[Device, ...] = ()
    aliases: tuple[MailAlias, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    teams: tuple[TeamToken, ...] = ()
    sounds: tuple[CustomSound, ...] = ()
    push_devices: tuple[PushDevice, ...] = ()


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


@dataclass(frozen=True, slots=True)
class DeadDevice:
    """A push device that its service has disowned.

    Attributes:
        gone_at: Unix seconds since when; 0 if the service does not say.
        at: Unix seconds at which we heard.
        reason: the service's word.
    """

    device_id: str
    token: str = field(repr=False)
    gone_at: float
    at: float
    reason: str


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

    async def sound_file(self, name: str) -> bytes | None:
        """Return the file of the custom sound of that name; `load` leaves the files out."""

    async def touch_tokens(self, used: Sequence[tuple[str, int, str]]) -> None:
        """Note uses of tokens: (token hash, Unix seconds, address). Does not count as a change."""

    async def touch_devices(self, devices: Sequence[str], registered_at: int) -> int:
        """Note that push devices (ids) were registered again, unchanged. Does not count as a change.

        Returns how many of them there are: some may be gone by now.
        """

    async def bury_devices(self, dead: Sequence[DeadDevice]) -> int:
        """Remove push devices that their service has disowned, in one transaction; return how many.

        One with another token by now, or that was registered after `gone_at` (0: whenever), stays. One that
        is declared is marked dead instead.
        """

    async def reconcile(self, declared: People) -> None:
        """Make what is marked `declared` in the store equal to `declared`, in one transaction."""


class MailOutcome(Enum):
    """What became of an e-mail."""

    ACCEPTED = auto()
    REFUSED = auto()  # for good: this letter to this recipient will never be taken
    FAILED = auto()  # for now: nobody answers, or whoever does has a trouble of its own


class MailSender(Protocol):
    """Hands e-mail to a mail server."""

    async def send(self, recipient: str, letter: bytes) -> MailOutcome:
        """Send a complete letter (RFC 5322) to one address, within half a minute."""


class Bus(Protocol):
    """Carries visible messages to every hub."""

    def announce(self, published: Sequence[Published]) -> None:
        """Hand on, in order. Never blocks, never raises to the publisher."""
