"""The message cache in SQLite: `MessageStore` over one writer and two readers.

Opened by the composition root, for as long as the server runs; one server at a time per data folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from ntfyish.core.ports import Clock, Count, Post, Shape, StoreExtra, Visible
from ntfyish.model.query import Since
from ntfyish.store.sqlite.attachments import AttachmentRows
from ntfyish.store.sqlite.database import Database, connect_to_read, connect_to_write, exclusive_lock
from ntfyish.store.sqlite.extras import write_extras
from ntfyish.store.sqlite.failures import unusable
from ntfyish.store.sqlite.figures import RowCounts
from ntfyish.store.sqlite.glances import GlanceTable
from ntfyish.store.sqlite.outbox import OutboxTable
from ntfyish.store.sqlite.pushes import PushTable
from ntfyish.store.sqlite.queues import QueueTable
from ntfyish.store.sqlite.reader import Chunks, Readers
from ntfyish.store.sqlite.receipts import ReceiptTable
from ntfyish.store.sqlite.replay import JoinedReplay, LineReplay
from ntfyish.store.sqlite.schema import MESSAGES
from ntfyish.store.sqlite.transaction import Head, Plan, Transaction
from ntfyish.store.sqlite.writer import Writer

FILE_NAME = "messages.db"
LOCK_NAME = "messages.lock"
_READERS = 2

# Goes from topic to topic in the index; DISTINCT would go through all of it.
TOPICS = """WITH RECURSIVE found (topic) AS (
              SELECT min(topic) FROM messages
              UNION ALL
              SELECT (SELECT min(topic) FROM messages WHERE topic > found.topic)
              FROM found WHERE found.topic IS NOT NULL)
            SELECT topic FROM found WHERE topic IS NOT NULL
            UNION SELECT topic FROM scheduled LIMIT ?"""


class MessageDatabase:
    """`MessageStore` in the file ``messages.db``. See the port for what each method promises.

    Attributes:
        receipts, outbox, pushes, attachments, queues, glances, figures: the adapters of other ports that
            share its writer and readers.
    """

    def __init__(self, writer: Writer, readers: Readers, plan: Plan) -> None:
        self._plan = plan
        self._writer = writer
        self._readers = readers
        self.receipts = ReceiptTable(writer, readers)
        self.outbox = OutboxTable(writer, readers)
        self.pushes = PushTable(writer, readers)
        self.attachments = AttachmentRows(writer, readers)
        self.queues = QueueTable(writer, readers)
        self.glances = GlanceTable(readers)
        self.figures = RowCounts(writer, readers)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data_dir: Path,
        clock: Clock,
        visible: Visible,
        busy_timeout_s: float = 5.0,
        plan: Plan = lambda message, wishes: (),
    ) -> AsyncIterator[MessageDatabase]:
        """Open or create the database; on the way out commit what is queued and close it.

        Args:
            data_dir: the folder; made if there is none.
            clock: says when messages become visible.
            visible: called on the event loop with what a commit made visible, before its callers resume.
            busy_timeout_s: how long to wait for a lock that another process holds.
            plan: says what is to be written along with a scheduled message when it is released; runs in the
                writer's thread, maybe twice.

        Raises:
            DatabaseUnusable: the server cannot start with what is there.
        """
        path = data_dir / FILE_NAME
        async with AsyncExitStack() as stack:
            stack.enter_context(exclusive_lock(data_dir / LOCK_NAME))
            database = await stack.enter_async_context(
                Database.open(partial(connect_to_write, path, MESSAGES, busy_timeout_s))
            )
            head = Head()
            try:
                await database.run(head.read)
            except sqlite3.Error as error:
                raise unusable(path, error) from error
            writer = Writer(database, path.with_name(FILE_NAME + "-wal"), clock, visible, head, write_extras)
            stack.push_async_callback(writer.close)
            connections = [
                await stack.enter_async_context(Database.open(partial(connect_to_read, path, busy_timeout_s)))
                for _ in range(_READERS)
            ]
            readers = Readers(connections)
            stack.push_async_callback(readers.close)
            yield cls(writer, readers, plan)

    @property
    def head(self) -> int:
        """The `seq` of the last message that became visible."""
        return self._writer.head

    def post(
        self, posts: Sequence[Post], counts: Sequence[Count] = (), extras: Sequence[StoreExtra] = ()
    ) -> Awaitable[None]:
        """Store all `posts`, add all `counts` and write `extras`, in one transaction."""
        # A copy, because the work may be run later than the caller changes its list.
        posts, counts, extras = tuple(posts), tuple(counts), tuple(extras)

        def work(transaction: Transaction) -> None:
            transaction.post(posts, counts)
            if extras:
                transaction.write_extras(extras)

        return self._writer.submit(work, max(1, len(posts)))

    async def release_due(self, now: float, limit: int = 500) -> int:
        """Make pending messages visible whose time has come."""
        return await self._writer.submit(
            lambda transaction: transaction.release_due(now, limit, self._plan), limit
        )

    async def next_due(self) -> float | None:
        """Return when the earliest pending message is due."""
        (due,) = await self._readers.run(lambda raw: raw.execute("SELECT min(due) FROM scheduled").fetchone())
        return None if due is None else float(due)

    async def prune(self, now: float, limit: int = 500) -> int:
        """Delete expired messages."""
        return await self._writer.submit(lambda transaction: transaction.prune(now, limit), limit)

    async def forget(self, topic: str, limit: int = 500) -> int:
        """Delete messages of a topic."""
        return await self._writer.submit(lambda transaction: transaction.forget(topic, limit), limit)

    def replay(
        self, topics: Sequence[str], since: Since, upto: int, now: float, *, scheduled: bool = False
    ) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Yield chunks of (id, line)."""
        replay = LineReplay(
            topics=tuple(dict.fromkeys(topics)), since=since, upto=upto, now=now, scheduled=scheduled
        )
        return Chunks(self._readers, replay.step, replay.start())

    def replay_joined(
        self, topic: str, since: Since, upto: int, now: float, shape: Shape
    ) -> AsyncIterator[bytes]:
        """Yield chunks of joined lines."""
        replay = JoinedReplay(topic=topic, since=since, upto=upto, now=now, shape=shape)
        return Chunks(self._readers, replay.step, replay.start())

    async def counter(self, subject: str, period: str) -> int:
        """Return what has been counted."""
        row = await self._readers.run(
            lambda raw: raw.execute(
                "SELECT amount FROM counters WHERE subject = ? AND period = ?", (subject, period)
            ).fetchone()
        )
        return 0 if row is None else int(row[0])

    async def forget_counts(self, prefix: str, before: str, limit: int = 500) -> int:
        """Delete counters of periods that are over."""
        return await self._writer.submit(
            lambda transaction: transaction.forget_counts(prefix, before, limit), limit
        )

    async def topics(self, limit: int) -> Sequence[str]:
        """Return topics that have messages."""
        rows = await self._readers.run(lambda raw: raw.execute(TOPICS, (limit,)).fetchall())
        return [row[0] for row in rows]
