"""The protocols that the core needs and adapters implement.

One class per port, with what callers may rely on: units, order, errors, concurrency.
"""

from ntfyish.core.ports.clients import GlanceStore, Queued, QueueStore
from ntfyish.core.ports.extras import (
    CalledBack,
    Count,
    Errand,
    NewAttachment,
    NewGlance,
    NewPushes,
    NewReceipt,
    PushedMessage,
    PushTarget,
    QueueEntry,
    StoreExtra,
)
from ntfyish.core.ports.messages import MessageStore, Post, Shape, Visible
from ntfyish.core.ports.outbox import ClaimedErrand, ClaimedPush, Outbox, PushNote, PushOutbox
from ntfyish.core.ports.outside import BrowserSender, Bus, Clock, MailOutcome, MailSender, PushSender
from ntfyish.core.ports.people import (
    Add,
    Change,
    DeadDevice,
    People,
    PeopleChange,
    PeopleStore,
    Put,
    Record,
    Remove,
)
from ntfyish.core.ports.receipts import ReceiptStore, Transition

__all__ = [
    "Add",
    "BrowserSender",
    "Bus",
    "CalledBack",
    "Change",
    "ClaimedErrand",
    "ClaimedPush",
    "Clock",
    "Count",
    "DeadDevice",
    "Errand",
    "GlanceStore",
    "MailOutcome",
    "MailSender",
    "MessageStore",
    "NewAttachment",
    "NewGlance",
    "NewPushes",
    "NewReceipt",
    "Outbox",
    "People",
    "PeopleChange",
    "PeopleStore",
    "Post",
    "PushNote",
    "PushOutbox",
    "PushSender",
    "PushTarget",
    "PushedMessage",
    "Put",
    "QueueEntry",
    "QueueStore",
    "Queued",
    "ReceiptStore",
    "Record",
    "Remove",
    "Shape",
    "StoreExtra",
    "Transition",
    "Visible",
]
