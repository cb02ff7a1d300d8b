"""What is written along with a message, in its transaction: one class per kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from ntfyish.model.message import KeptFile
from ntfyish.model.push import PushKind, PushState
from ntfyish.model.receipt import Receipt


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
