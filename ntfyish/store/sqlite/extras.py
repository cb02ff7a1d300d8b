"""What is written in a message's transaction: each kind of `StoreExtra` by its own table's module."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ntfyish.core.ports import (
    CalledBack,
    Errand,
    NewAttachment,
    NewGlance,
    NewPushes,
    NewReceipt,
    QueueEntry,
    StoreExtra,
)
from ntfyish.model.message import Message
from ntfyish.store.sqlite.attachments import add_attachment
from ntfyish.store.sqlite.glances import put_glance
from ntfyish.store.sqlite.outbox import put_errand
from ntfyish.store.sqlite.pushes import put_pushes
from ntfyish.store.sqlite.queues import add_to_queue
from ntfyish.store.sqlite.receipts import add_receipt, note_callback


def write_extras(
    connection: sqlite3.Connection, message: Message | None, extras: Sequence[StoreExtra]
) -> None:
    """Write `extras` in their order.

    Args:
        message: the message that they go with; None for those that go with none.
    """
    for extra in extras:
        match extra:
            case NewReceipt():
                add_receipt(connection, extra.receipt)
            case CalledBack():
                note_callback(connection, extra.receipt, extra.called_back_at)
            case Errand():
                put_errand(connection, extra)
            case QueueEntry():
                assert message is not None
                add_to_queue(connection, message, extra)
            case NewGlance():
                put_glance(connection, extra)
            case NewPushes():
                put_pushes(connection, extra)
            case NewAttachment():
                assert message is not None
                add_attachment(connection, message, extra)
