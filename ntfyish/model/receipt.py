"""The receipt of an emergency: a pure state machine. The store runs it, `core.receipts` asks it.

A receipt is pending until somebody acknowledges it, its app cancels it, its time is over, or it has been
sent 50 times. While it is pending, its message is sent again every `retry_s` seconds, on a grid that
begins with the first send. Whatever became of it can be read for a week.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from urllib.parse import urlsplit

from ntfyish.model.message import Action, Message, new_id

MAX_SENDS = 50
KEPT_S = 7 * 24 * 3600
ACKNOWLEDGE = "Acknowledge"
_ACTION_ID_LENGTH = 10


class State(Enum):
    """What has become of a receipt."""

    PENDING = auto()
    ACKNOWLEDGED = auto()
    EXPIRED = auto()
    CANCELLED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptDraft:
    """How an emergency message is to be repeated until somebody acknowledges it.

    Attributes:
        retry_s: seconds between two repeats.
        expire_s: seconds after which it is given up.
        callback: the URL to call when it is acknowledged; "" for none.
        tags: names by which it can be cancelled.
    """

    retry_s: int
    expire_s: int
    callback: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """A draft of a receipt, and whose it is.

    Attributes:
        owner: who may read and cancel it: `app_owner`, `account_owner`, or "" for whoever knows its name.
        groups: topic -> key of the group by which it is reached; without those reached by themselves.
    """

    draft: ReceiptDraft
    owner: str
    groups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """A topic (often somebody's inbox) to which the message goes.

    Attributes:
        message_id: of the first message there.
        secret: with it, whoever reads the topic can acknowledge.
        group: key of the group by which it was reached; "" if by itself.
        device, sound: what its message says instead of the receipt's; "" for the same.
    """

    topic: str
    message_id: str
    secret: str = field(repr=False)
    group: str = ""
    device: str = ""
    sound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An emergency, as it stands.

    Attributes:
        id: 30 letters and digits, beginning with r.
        owner: see `Emergency`.
        secret: with it, the command line can cancel.
        started_at: Unix seconds of the first send, with fractions: where the grid begins.
        retry_s: seconds between two sends.
        expires_at: Unix seconds; what readers are told.
        ends_at: Unix seconds from which it is not pending any more: `expires_at`, or less after 50 sends.
        next_at: Unix seconds of the next send, or of `ends_at` if there is none before; 0 if there is nothing
            to wait for.
        sends: how many there have been.
        last_delivered_at: Unix seconds of the last one.
        acknowledged_at, cancelled_at, called_back_at: Unix seconds; 0 if it has not happened.
        acknowledged_by: user key; "" for a reader of a topic that is nobody's inbox.
        acknowledged_by_device: name of a device.
        callback, tags: see `ReceiptDraft`.
        addressees: who gets it.
        line: canonical JSON of the first message to the first addressee, without the button.
    """

    id: str
    owner: str
    secret: str = field(repr=False, default="")
    started_at: float
    retry_s: int
    expires_at: int
    ends_at: float
    next_at: float
    sends: int = 1
    last_delivered_at: int
    acknowledged_at: int = 0
    acknowledged_by: str = ""
    acknowledged_by_device: str = ""
    cancelled_at: int = 0
    called_back_at: int = 0
    callback: str = ""
    tags: tuple[str, ...] = ()
    addressees: tuple[Addressee, ...] = ()
    line: bytes = field(default=b"", repr=False)

    @property
    def purge_at(self) -> int:
        """Unix seconds from which nobody can read it."""
        return int(self.started_at) + KEPT_S

    def state(self, now: float) -> State:
        """Return what has become of it by `now`."""
        if self.acknowledged_at:
            return State.ACKNOWLEDGED
        if self.cancelled_at:
            return State.CANCELLED
        return State.PENDING if now < self.ends_at else State.EXPIRED

    def has_expired(self, now: float) -> bool:
        """Whether its time is over; an acknowledged one has it come, too."""
        if self.cancelled_at:  # also if the clock has been set back since
            return True
        return now >= (self.expires_at if self.acknowledged_at else self.ends_at)

    def due(self, now: float) -> bool:
        """Whether its message is to be sent again."""
        return 0 < self.next_at <= now and self.state(now) is State.PENDING

    def sent(self, now: float) -> Receipt:
        """Return it after another send; the next one is on the grid, whatever has been missed."""
        sends = self.sends + 1
        next_at = self._slot_after(now)
        ends_at = min(self.ends_at, next_at) if sends >= MAX_SENDS else self.ends_at
        return replace(
            self,
            sends=sends,
            last_delivered_at=int(now),
            ends_at=ends_at,
            next_at=min(next_at, ends_at),
        )

    def acknowledge(self, now: float, by: str, device: str) -> Receipt | None:
        """Return it acknowledged: itself if it was already, None if it is too late."""
        match self.state(now):
            case State.ACKNOWLEDGED:
                return self
            case State.PENDING:
                return replace(
                    self,
                    acknowledged_at=int(now),
                    acknowledged_by=by,
                    acknowledged_by_device=device,
                    next_at=0,
                )
        return None

    def cancel(self, now: float) -> Receipt:
        """Return it cancelled, or itself if it is not pending."""
        if self.state(now) is not State.PENDING:
            return self
        moment = int(now)
        return replace(self, cancelled_at=moment, expires_at=moment, ends_at=moment, next_at=0)

    def _slot_after(self, now: float) -> float:
        passed = int((now - self.started_at) // self.retry_s)
        slot = self.started_at + (passed + 1) * self.retry_s
        return slot if slot > now else slot + self.retry_s  # the division may have been rounded down


def begin(
    draft: ReceiptDraft,
    *,
    id: str,
    owner: str,
    secret: str,
    now: float,
    addressees: tuple[Addressee, ...] = (),
    line: bytes = b"",
) -> Receipt:
    """Return the receipt of a message that is sent now for the first time; to nobody, without addressees."""
    expires_at = int(now) + draft.expire_s
    next_at = now + draft.retry_s
    return Receipt(
        id=id,
        owner=owner,
        secret=secret,
        started_at=now,
        retry_s=draft.retry_s,
        expires_at=expires_at,
        ends_at=expires_at,
        next_at=min(next_at, expires_at) if addressees else 0,
        sends=1 if addressees else 0,
        last_delivered_at=int(now) if addressees else 0,
        callback=draft.callback,
        tags=draft.tags,
        addressees=addressees,
        line=line,
    )


def without_button(message: Message) -> Message:
    """Return an emergency's message as its publisher may see it, who need not be one of its readers."""
    actions = tuple(
        action
        for action in message.content.actions
        if not (action.label == ACKNOWLEDGE and f"/receipts/{message.receipt}/ack/" in action.url)
    )
    return replace(message, content=replace(message.content, actions=actions))


def with_button(message: Message, url: str) -> Message:
    """Return an emergency's message with a button that acknowledges it at `url`; as it is if that is "".

    It is the first one, because clients show no more than three.
    """
    if not url:
        return message
    button = Action(
        id=new_id(_ACTION_ID_LENGTH), action="http", label=ACKNOWLEDGE, clear=True, url=url, method="POST"
    )
    return replace(message, content=replace(message.content, actions=(button, *message.content.actions)))


def is_callback_url(text: str) -> bool:
    """Whether an acknowledgement can be posted to that address."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
