"""The queues of Open Client devices, in a database on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from ntfyish.core.ports import Post, QueueEntry
from ntfyish.model.line import encode
from ntfyish.model.message import Content, Message, MessageId
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.queues import KEPT_S, LONGEST_QUEUE
from tests.clock import FakeClock

START = 1_700_000_000


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MessageDatabase]:
    async with MessageDatabase.open(
        tmp_path, FakeClock(), lambda published: None, plan=lambda message, wishes: (QueueEntry("planned"),)
    ) as store:
        yield store


def post(number: int, *devices: str, receipt: str = "", send: str = "", ttl_s: int = 0) -> Post:
    message = Message(
        id=MessageId(f"{number:012}"),
        time=START,
        topic="inbox",
        receipt=receipt,
        content=Content(message=str(number), app="App", ttl_s=ttl_s),
    )
    entries = tuple(QueueEntry(device, send) for device in devices)
    return Post(message, encode(message), kept=False, extras=entries)


async def ids(store: MessageDatabase, device: str, now: float = START) -> list[int]:
    return [one.id for one in await store.queues.queued(device, now, 10_000)]


async def test_each_queue_counts_for_itself_and_never_back(store: MessageDatabase) -> None:
    await store.post([post(1, "a", "b"), post(2, "a")])
    assert (await ids(store, "a"), await ids(store, "b")) == ([1, 2], [1])
    assert await store.queues.confirm("a", 2**63 - 1) == 2
    await store.post([post(3, "a", "b")])
    assert (await ids(store, "a"), await ids(store, "b")) == ([3], [1, 2])


async def test_a_send_has_one_umid_and_an_emergency_keeps_it(store: MessageDatabase) -> None:
    await store.post([post(1, "a", "b", send="1"), post(2, "c", send="1"), post(3, "d")])
    await store.post([post(4, "a", receipt="r"), post(5, "b", receipt="r")])
    (a, e), (b, f) = [await store.queues.queued(device, START, 9) for device in "ab"]
    ((c,), (d,)) = [await store.queues.queued(device, START, 9) for device in "cd"]
    assert a.umid == b.umid == c.umid != d.umid
    assert e.umid == f.umid != a.umid
    assert 0 < max(a.umid, d.umid, e.umid) < 2**53


async def test_a_queue_is_bounded_by_its_newest(store: MessageDatabase) -> None:
    await store.post([post(number, "a") for number in range(LONGEST_QUEUE + 5)])
    found = await ids(store, "a")
    assert (len(found), found[0], found[-1]) == (LONGEST_QUEUE, 6, LONGEST_QUEUE + 5)


async def test_what_is_out_of_date_is_not_shown_and_pruned(store: MessageDatabase) -> None:
    await store.post([post(1, "a", ttl_s=10), post(2, "a"), post(3, "b", ttl_s=2**31 - 1)])
    assert await ids(store, "a", START + 10) == [2]
    assert await store.queues.prune_queues(START + 10) == 1
    assert await ids(store, "a", START + KEPT_S - 1) == [2]
    assert await store.queues.prune_queues(START + KEPT_S, limit=1) == 1
    assert await store.queues.prune_queues(START + KEPT_S) == 1
    assert await ids(store, "a", START) + await ids(store, "b", START) == []


async def test_a_queue_moves_with_its_count(store: MessageDatabase) -> None:
    await store.post([post(1, "a"), post(2, "a")])
    await store.queues.move_queue("a", "b")
    await store.post([post(3, "b")])
    assert (await ids(store, "a"), await ids(store, "b")) == ([], [1, 2, 3])


async def test_what_is_released_is_planned_then(store: MessageDatabase) -> None:
    message = Message(id=MessageId("0" * 12), time=START + 5, topic="inbox", expires=START + 50)
    await store.post([Post(message, encode(message), due_at=START + 5)])
    assert await ids(store, "planned") == []
    await store.release_due(START + 5)
    assert await ids(store, "planned") == [1]
