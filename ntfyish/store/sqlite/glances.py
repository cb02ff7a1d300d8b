"""What the glances of inboxes show, in the message database: `GlanceStore`."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ntfyish.core.ports import NewGlance

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers

_PUT = """INSERT INTO glances (topic, device, state) VALUES (?, ?, ?)
          ON CONFLICT (topic, device) DO UPDATE SET state = excluded.state"""
_FIND = "SELECT state FROM glances WHERE topic = ? AND device = ?"


def put_glance(connection: sqlite3.Connection, glance: NewGlance) -> None:
    """Write what a glance shows now, within a transaction."""
    connection.execute(_PUT, (glance.topic, glance.device, glance.state))


class GlanceTable:
    """`GlanceStore` by the readers of the message database."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def find_glance(self, topic: str, device: str) -> bytes | None:
        """Return what was written last."""
        row = await self._readers.run(lambda raw: raw.execute(_FIND, (topic, device)).fetchone())
        return None if row is None else bytes(row[0])
