"""What a client wants to say (`Draft`), what the server made of it (`Message`), what both carry (`Content`).

Priorities are ntfy's 1..5 with 0 for "not set"; Pushover's -2..2 map one to one (`priority_from_pushover`).
"""

from __future__ import annotations

import os
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

MessageId = NewType("MessageId", str)

ID_LENGTH = 12
# For every byte a letter or digit: 256 % 62 favours eight of them by 25 %, which leaves an identifier of 12
# 71.0 of 71.4 bits.
_TO_ALPHABET = ((string.ascii_letters + string.digits) * 5).encode()[:256]

DEFAULT_PRIORITY = 3
MAX_PRIORITY = 5

FILE_MESSAGE = "You received a file: "  # and its name: what a message with a file says that says nothing


class Event(StrEnum):
    """The `event` of a message JSON, by its wire name (ntfy's subscribe API)."""

    OPEN = "open"
    KEEPALIVE = "keepalive"
    MESSAGE = "message"
    POLL_REQUEST = "poll_request"
    MESSAGE_DELETE = "message_delete"
    MESSAGE_CLEAR = "message_clear"
    GLANCE = "glance"  # ours: what a widget shows (Pushover's glances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action button. `action` is view, http, broadcast or copy; unset texts are ""."""

    id: str
    action: str
    label: str
    clear: bool = False
    url: str = ""
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    intent: str = ""
    extras: tuple[tuple[str, str], ...] = ()
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that belongs to a message.

    `type`, `size_bytes` and `expires_at` (Unix seconds) are set only for files that this server keeps.
    """

    name: str
    url: str
    type: str = ""
    size_bytes: int = 0
    expires_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file that this server keeps for one or several messages.

    Attributes:
        id: 12 letters and digits; also the `id` of the first of the messages.
        owner: key of the visitor whose limits it counts against.
        type: by its bytes (see `model.media_types`).
        expires_at: Unix seconds.
    """

    id: str
    owner: str
    name: str
    type: str
    size_bytes: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message says, whichever dialect it came in by. Unset fields are "", 0, (), False or None."""

    title: str = ""
    message: str = ""
    priority: int = 0
    tags: tuple[str, ...] = ()
    click: str = ""
    icon: str = ""
    actions: tuple[Action, ...] = ()
    attachment: Attachment | None = None
    content_type: str = ""
    encoding: str = ""
    # Pushover's and NZBClient's
    app: str = ""
    device: str = ""
    url_title: str = ""
    sound: str = ""
    subtitle: str = ""
    timestamp: int = 0
    html: bool = False
    monospace: bool = False
    ttl_s: int = 0
    encrypted: bool = False
    encryption_type: str = ""
    nzb_app: str = ""
    nzb_id: str = ""
    glance: tuple[tuple[str, str | int], ...] = ()  # text, subtext, count, percent of a glance


EMPTY = Content()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a client asks the server to publish.

    Attributes:
        content: what it says.
        event: MESSAGE, or MESSAGE_DELETE / MESSAGE_CLEAR for a sequence, or POLL_REQUEST.
        sequence_id: the sequence it belongs to; "" for one of its own.
        due_at: Unix seconds at which to deliver; 0 for now.
        cache: False keeps it out of the cache (delivered live, to whoever listens).
        poll_id: only for POLL_REQUEST.
        email: the address that the message is also sent to; "" for none.
        file: the file that `content.attachment` describes, complete and on disk; None for none of ours.
        variants: what it says instead to some of its topics.
        owner: who may ask what became of it, as `core.receipts` names owners; "" for nobody.
        request: the id of the publisher's request, by which the owner can ask, too; "" for none.
        push: whether devices are pushed to (ntfy's ``Firebase: no`` and UnifiedPush say no).
        unifiedpush: it is for an app on a phone, by way of UnifiedPush.
    """

    content: Content = field(default=EMPTY)
    event: Event = Event.MESSAGE
    sequence_id: str = ""
    due_at: int = 0
    cache: bool = True
    poll_id: str = ""
    email: str = ""
    file: KeptFile | None = None
    variants: Mapping[str, Content] = field(default_factory=dict)
    owner: str = ""
    request: str = ""
    push: bool = True
    unifiedpush: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the server decided: a draft with an identity, a time and a topic.

    Attributes:
        time: Unix seconds of delivery (for a scheduled message: in the future).
        expires: Unix seconds until which it is cached; 0 if it is not cached.
        sequence_id: "" if it equals `id`.
        receipt: the receipt of an emergency message, "" otherwise.
    """

    id: MessageId
    time: int
    topic: str
    expires: int = 0
    event: Event = Event.MESSAGE
    sequence_id: str = ""
    poll_id: str = ""
    receipt: str = ""
    content: Content = field(default=EMPTY)


@dataclass(frozen=True, slots=True)
class Published:
    """A message that has become visible, as the store hands it to the bus.

    Attributes:
        seq: its place in the global order; 0 for a message that is not cached.
        message: the message.
        line: its canonical JSON (see `model.line`), without a newline.
    """

    seq: int
    message: Message
    line: bytes


def new_id(length: int = ID_LENGTH) -> MessageId:
    """Return a random identifier of `length` letters and digits."""
    # `secrets.choice` for each character costs fifty times as much, and this is on the publish path.
    return MessageId(os.urandom(length).translate(_TO_ALPHABET).decode())


def priority_from_pushover(priority: int) -> int:
    """Map Pushover's -2..2 to 1..5."""
    return priority + DEFAULT_PRIORITY


def priority_to_pushover(priority: int) -> int:
    """Map 0 (unset) and 1..5 to Pushover's -2..2."""
    return (priority or DEFAULT_PRIORITY) - DEFAULT_PRIORITY
