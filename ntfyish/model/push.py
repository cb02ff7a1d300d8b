"""Devices that other services push to (Apple's, browsers'), a push to one of them, what became of it."""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from ntfyish.model.endpoint import endpoint_host
from ntfyish.model.message import ID_LENGTH, Message

# Apple: of variable length, do not assume one; 32 bytes today.
APNS_TOKEN_PATTERN = re.compile(r"(?:[0-9a-fA-F]{2}){8,100}")
BUNDLE_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,154}")

_MESSAGE_ID = re.compile(rf"[A-Za-z0-9]{{{ID_LENGTH}}}")
# A namespace of our own for ids of pushes (RFC 9562, version 5).
_PUSH_IDS = uuid.UUID("2a8b2c0e-5f3c-4f0e-9f63-0b6f3c6f1d53")


class PushKind(StrEnum):
    """Which service a device is pushed to by, by its name in the API and the configuration."""

    APNS = "apns"
    WEB_PUSH = "webpush"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushDevice:
    """A device that is pushed to.

    Attributes:
        id: 40 of ``[a-z0-9]``; random, and what a device without an account is removed with.
        account: whose it is; "" for nobody's, which reads only what everybody may.
        name: its name among the account's devices: it gets what comes to the account's inbox. "" for a
            device that gets only its `topics`.
        topics: further topics whose messages it gets, as long as its account may read them.
        token: APNs: the device token in lower-case hex. Web Push: the endpoint, a URL. One device has it.
        bundle_id: APNs: the app; "" for Web Push.
        sandbox: APNs: the token is of the development environment.
        auth, p256dh: Web Push: the subscription's keys, in base64url.
        address: Web Push, and whatever is nobody's: who registered it, as a visitor's key; limits how many
            somebody has.
        registered_at: Unix seconds at which it was last registered; what Apple says about a token that was
            gone before that is out of date.
        warned_at: Web Push: Unix seconds at which it was told that it is about to expire; 0 for not.
        dead_at: Unix seconds at which its service disowned it; 0 while it is alive. Only devices that the
            configuration declares are kept then.
        dead_reason: the service's word for that.
        declared: comes from the configuration.
    """

    id: str
    kind: PushKind
    account: str = ""
    name: str = ""
    topics: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    bundle_id: str = ""
    sandbox: bool = False
    auth: str = field(default="", repr=False)
    p256dh: str = field(default="", repr=False)
    address: str = field(default="", repr=False)
    registered_at: int = 0
    warned_at: int = 0
    dead_at: int = 0
    dead_reason: str = ""
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One message on its way to one device.

    Attributes:
        id: a UUID, the same whenever this message is pushed to this device.
        collapse_id: a push takes the place of an earlier one of the same.
        expires_at: Unix seconds until which it is worth being delivered.
        small: an earlier try was too large for the service: leave out what can be fetched.
    """

    message: Message
    device: PushDevice
    id: str
    collapse_id: str
    expires_at: int
    small: bool = False


class Verdict(Enum):
    """What a service said to a push, as far as it matters what is done next."""

    DELIVERED = auto()  # the service has it
    GONE = auto()  # the device is no more
    REFUSED = auto()  # this push will never be taken
    TOO_LARGE = auto()  # it might be, if it were smaller
    BUSY = auto()  # too much for this device for now
    UNAVAILABLE = auto()  # the service has trouble, or cannot be reached
    MISCONFIGURED = auto()  # our keys or names are wrong: no push to this destination will be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOutcome:
    """What became of a try.

    Attributes:
        reason: the service's own word ("Unregistered"), or ours for what happened instead ("timeout").
        gone_at: GONE: Unix seconds since when; 0 if the service does not say.
        retry_after_s: how long the service wants to be left alone; 0 if it does not say.
    """

    verdict: Verdict
    reason: str = ""
    gone_at: float = 0.0
    retry_after_s: float = 0.0


class PushState(StrEnum):
    """Where a push is, by its name in the API."""

    PENDING = "pending"
    DELIVERED = "delivered"  # handed over to the service
    FAILED = "failed"  # refused, or the device is gone
    EXPIRED = "expired"  # too old to be tried again
    SUPERSEDED = "superseded"  # a later message of the same sequence took its place
    DROPPED = "dropped"  # the outbox was full


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message on a device, for whoever published it.

    Attributes:
        device: the device's name; "" for one that has none.
        reason: the service's last word; "" if there was none.
        changed_at: Unix seconds.
    """

    message_id: str
    device: str
    kind: PushKind
    state: PushState
    attempts: int
    reason: str
    changed_at: float


def new_push_device_id() -> str:
    """Return a random id of a device."""
    return secrets.token_hex(20)


def push_id(message_id: str, device_id: str) -> str:
    """Return the id of the push of a message to a device: a UUID."""
    return str(uuid.uuid5(_PUSH_IDS, f"{message_id}/{device_id}"))


def collapse_id(message: Message) -> str:
    """Return what pushes of a message are collapsed by: its sequence, which emergency repeats share."""
    return message.sequence_id or message.id


def phone_collapse_id(topic: str, sequence: str) -> str:
    """Return what a phone collapses pushes by, which may have several topics with sequences of one name.

    Args:
        sequence: what `collapse_id` says of the message. An id of a message is nobody else's; what a
            publisher has made up ("status") may be.
    """
    return sequence if _MESSAGE_ID.fullmatch(sequence) else f"{topic}/{sequence}"


def apns_destination(bundle_id: str, *, sandbox: bool) -> str:
    """Return the destination of an app's pushes."""
    return f"apns:{bundle_id}:sandbox" if sandbox else f"apns:{bundle_id}"


def web_push_destination(endpoint: str) -> str:
    """Return the destination of a browser's pushes: its push service, by the host of its endpoint."""
    return f"webpush:{endpoint_host(endpoint)}"
