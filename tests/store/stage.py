"""Messages to store, an audience, and short ways to ask a store what it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

from ntfyish.core.ports import Post, Shape
from ntfyish.model.line import encode
from ntfyish.model.message import Content, Event, Message, MessageId, Published
from ntfyish.model.query import SINCE_ALL, Since
from ntfyish.store.sqlite.messages import MessageDatabase
from tests.clock import FakeClock

START = 1_750_000_000
LINES = Shape("", "", "\n")


class Audience:
    """Remembers what became visible, commit by commit."""

    def __init__(self) -> None:
        self.commits: list[list[Published]] = []

    def __call__(self, published: Sequence[Published]) -> None:
        self.commits.append(list(published))

    @property
    def seqs(self) -> list[int]:
        return [one.seq for commit in self.commits for one in commit]

    @property
    def ids(self) -> list[str]:
        return [one.message.id for commit in self.commits for one in commit]


def post(
    id_: str,
    topic: str = "alerts",
    *,
    time: int = START,
    expires: int = START + 43_200,
    due_at: int = 0,
    sequence_id: str = "",
    replaces: bool = False,
    text: str = "Grüße",
    event: Event = Event.MESSAGE,
) -> Post:
    message = Message(
        id=MessageId(id_),
        time=due_at or time,
        topic=topic,
        expires=expires,
        event=event,
        sequence_id=sequence_id,
        content=Content(message=text),
    )
    return Post(message, encode(message), due_at, replaces)


def opened(
    folder: Path, clock: FakeClock, visible: Audience, busy_timeout_s: float = 5.0
) -> AbstractAsyncContextManager[MessageDatabase]:
    return MessageDatabase.open(folder, clock, visible, busy_timeout_s)


async def ids(
    store: MessageDatabase,
    *topics: str,
    since: Since = SINCE_ALL,
    upto: int | None = None,
    now: float = START,
    scheduled: bool = False,
) -> list[str]:
    """Return the ids that a replay gives."""
    upto = store.head if upto is None else upto
    replay = store.replay(topics or ("alerts",), since, upto, now, scheduled=scheduled)
    return [id_ async for chunk in replay for id_, _ in chunk]


async def joined(
    store: MessageDatabase,
    topic: str = "alerts",
    since: Since = SINCE_ALL,
    shape: Shape = LINES,
    now: float = START,
) -> bytes:
    return b"".join([chunk async for chunk in store.replay_joined(topic, since, store.head, now, shape)])


def stored_ids(folder: Path) -> list[str]:
    """Return the ids of the visible messages as another process sees them."""
    with closing(sqlite3.connect(folder / "messages.db")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM messages ORDER BY seq")]
