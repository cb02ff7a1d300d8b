"""The figures of the store, from one that answers late, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from ntfyish.core.figures import PATIENCE_S, StoredFigureReader, StoredFigures, StoredRows, Waiting
from ntfyish.core.ports import ClaimedPush, PushNote
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Reason, Unavailable
from ntfyish.model.push import Delivery
from tests.clock import FakeClock


class Store:
    """Counts how often it is asked, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.messages = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def count_rows(self) -> StoredRows:
        self.asked += 1
        await self.answers.wait()
        if self.fails:
            raise Unavailable(Reason.STORAGE_BROKEN)
        return StoredRows(
            messages=self.messages, scheduled=0, receipts=0, errands={"email": Waiting(1, 1_000.0)}
        )


class Pushes:
    """An outbox in which pushes wait for three destinations."""

    async def waiting_destinations(self) -> Sequence[tuple[str, float, int]]:
        return [("apns:a", 1.0, 2), ("apns:b:sandbox", 1.0, 3), ("webpush:push.example:8443", 1.0, 4)]

    async def oldest_push(self) -> float | None:
        return 900.0

    async def claim_pushes(
        self, destination: str, now: float, until: float, limit: int
    ) -> Sequence[ClaimedPush]:
        return ()

    async def next_push(self, destination: str) -> float | None:
        return None

    async def note_pushes(self, notes: Sequence[PushNote]) -> None:
        """Nothing is kept."""

    async def expire_pushes(self, now: float, created_before: float, limit: int = 500) -> int:
        return 0

    async def purge_pushes(self, created_before: float, limit: int = 500) -> int:
        return 0

    async def find_deliveries(self, id: str, owner: str) -> Sequence[Delivery] | None:
        return None


@pytest_asyncio.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks() as tasks:
        yield tasks


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
def reader(store: Store, clock: FakeClock, tasks: Tasks) -> StoredFigureReader:
    return StoredFigureReader(store, Pushes(), clock, tasks)


async def ask(reader: StoredFigureReader) -> StoredFigures:
    found = await reader.newest()
    assert found is not None
    return found


async def test_pushes_are_counted_by_the_kind_of_their_destination(
    reader: StoredFigureReader, clock: FakeClock
) -> None:
    found = await ask(reader)
    assert found.pushes == {"apns": 5, "webpush": 4}
    assert (found.oldest_push_at, found.read_at) == (900.0, clock.now())


async def test_the_store_is_asked_once_a_second_at_most(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    await asyncio.gather(*(ask(reader) for _ in range(20)))
    store.messages = 5
    await clock.advance(0.9)
    assert (await ask(reader)).rows.messages == 0
    await clock.advance(0.1)
    assert (await ask(reader)).rows.messages == 5
    assert store.asked == 2


async def test_a_slow_store_is_waited_for_only_so_long_and_asked_only_once(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    store.answers.clear()
    for _ in range(3):
        asked = asyncio.ensure_future(reader.newest())
        await clock.advance(PATIENCE_S)
        assert await asked is None
    assert store.asked == 1
    store.messages = 7
    store.answers.set()
    assert (await ask(reader)).rows.messages == 7
    assert store.asked == 1


async def test_what_was_read_last_is_shown_while_the_store_is_silent(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    first = await ask(reader)
    store.answers.clear()
    await clock.advance(5)
    asked = asyncio.ensure_future(ask(reader))
    await clock.advance(PATIENCE_S)
    assert await asked is first


async def test_what_takes_long_is_read_seldom(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    store.answers.clear()
    asked = asyncio.ensure_future(reader.newest())
    await clock.advance(3)
    await asked
    store.answers.set()
    await clock.advance(59)  # of twenty times as long
    await ask(reader)
    assert store.asked == 1
    await clock.advance(2)
    await ask(reader)
    assert store.asked == 2


async def test_a_store_that_fails_leaves_what_was_read_last(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    store.fails = True
    assert await reader.newest() is None
    store.fails = False
    await clock.advance(1)
    first = await ask(reader)
    store.fails = True
    await clock.advance(1)
    assert await ask(reader) is first


async def test_whoever_stops_waiting_does_not_stop_the_reading(
    reader: StoredFigureReader, store: Store, clock: FakeClock
) -> None:
    store.answers.clear()
    asked = asyncio.ensure_future(reader.newest())
    await clock.advance(0)
    asked.cancel()
    await asyncio.wait((asked,))
    store.answers.set()
    assert (await ask(reader)).rows.messages == 0
    assert store.asked == 1
