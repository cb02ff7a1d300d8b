"""What is known of the files that messages carry: `AttachmentTable`, in the message database.

A file belongs to the messages that `attachment_messages` names, and is known as long as one of them exists;
the name "" stands for a message that is not stored. So whatever deletes messages need not know of files.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ntfyish.core.ports import NewAttachment
from ntfyish.model.message import KeptFile, Message

if TYPE_CHECKING:
    from ntfyish.store.sqlite.reader import Readers
    from ntfyish.store.sqlite.transaction import Transaction
    from ntfyish.store.sqlite.writer import Writer

_COLUMNS = "id, owner, name, type, size, expires"
_ADD = f"INSERT OR IGNORE INTO attachments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
_LINK = "INSERT OR IGNORE INTO attachment_messages (attachment, message) VALUES (?, ?)"
_LIVES = """EXISTS (
    SELECT 1 FROM attachment_messages AS link WHERE link.attachment = attachments.id AND (
        link.message = ''
        OR EXISTS (SELECT 1 FROM messages WHERE messages.id = link.message)
        OR EXISTS (SELECT 1 FROM scheduled WHERE scheduled.id = link.message)))"""
FIND = f"SELECT {_COLUMNS} FROM attachments WHERE id = ? AND {_LIVES}"
EXPIRED = f"SELECT {_COLUMNS} FROM attachments WHERE expires <= ? ORDER BY expires LIMIT ?"
NEXT = f"SELECT {_COLUMNS}, {_LIVES} FROM attachments WHERE id > ? ORDER BY id LIMIT ?"
_KEY = "attachment-key"
_KEY_BYTES = 32


def add_attachment(connection: sqlite3.Connection, message: Message, extra: NewAttachment) -> None:
    """Note that `message` carries a file; with the first message, the file."""
    file = extra.file
    connection.execute(_ADD, (file.id, file.owner, file.name, file.type, file.size_bytes, file.expires_at))
    connection.execute(_LINK, (file.id, message.id if extra.stored else ""))


class AttachmentRows:
    """`AttachmentTable` over the writer and the readers of the message database."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def find_file(self, id: str) -> KeptFile | None:
        """Return the file of an id."""
        row = await self._readers.run(lambda raw: raw.execute(FIND, (id,)).fetchone())
        return None if row is None else _file(row)

    async def known_files(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that have a row."""
        places = ",".join("?" * len(ids))
        query = f"SELECT id FROM attachments WHERE id IN ({places})"
        rows = await self._readers.run(lambda raw: raw.execute(query, tuple(ids)).fetchall())
        return {row[0] for row in rows}

    async def file_totals(self) -> Mapping[str, int]:
        """Return the bytes of all files by owner."""
        query = "SELECT owner, sum(size) FROM attachments GROUP BY owner"
        return dict(await self._readers.run(lambda raw: raw.execute(query).fetchall()))

    async def expire_files(self, now: float, limit: int) -> Sequence[KeptFile]:
        """Delete rows of files that have expired."""
        rows = await self._readers.run(lambda raw: raw.execute(EXPIRED, (now, limit)).fetchall())
        return await self._delete(rows)

    async def forget_lost_files(self, after: str, limit: int) -> tuple[Sequence[KeptFile], str]:
        """Delete rows of files whose messages are gone."""
        rows = await self._readers.run(lambda raw: raw.execute(NEXT, (after, limit)).fetchall())
        deleted = await self._delete([row[:-1] for row in rows if not row[-1]])
        return deleted, rows[-1][0] if len(rows) == limit else ""

    async def url_key(self) -> bytes:
        """Return the secret for signed addresses."""

        def fetch(transaction: Transaction) -> bytes:
            connection = transaction.connection
            connection.execute(
                "INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)",
                (_KEY, secrets.token_bytes(_KEY_BYTES)),
            )
            (key,) = connection.execute("SELECT value FROM meta WHERE name = ?", (_KEY,)).fetchone()
            return bytes(key)

        return await self._writer.submit(fetch)

    async def _delete(self, rows: Sequence[tuple[str, str, str, str, int, int]]) -> Sequence[KeptFile]:
        """Delete rows, which nothing can bring back to life meanwhile."""
        if not rows:
            return ()
        ids = [(row[0],) for row in rows]

        def delete(transaction: Transaction) -> None:
            transaction.connection.executemany("DELETE FROM attachment_messages WHERE attachment = ?", ids)
            transaction.connection.executemany("DELETE FROM attachments WHERE id = ?", ids)

        await self._writer.submit(delete, len(rows))
        return [_file(row) for row in rows]


def _file(row: tuple[str, str, str, str, int, int]) -> KeptFile:
    id, owner, name, type, size, expires = row
    return KeptFile(id=id, owner=owner, name=name, type=type, size_bytes=size, expires_at=expires)
