"""Errands on a database on disk: how many are under way, whose turn it is, pauses, what comes too late."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import pytest_asyncio

from ntfyish.core.errands import LEASE_S, LONGEST_PAUSE_S, Again, Done, Errands, Pause
from ntfyish.core.ports import ClaimedErrand, Errand
from ntfyish.core.tasks import Tasks
from ntfyish.core.timetable import Timetable
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.outbox import DUE, NEXT
from tests.clock import FakeClock

START = 1_700_000_000.0


class Runner:
    """Does an errand when the test says what becomes of it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Future[Done | Again | Pause]] = {}

    async def run(self, claimed: ClaimedErrand) -> Done | Again | Pause:
        key = claimed.errand.key
        self.begun.append(key)
        self.ends[key] = asyncio.get_running_loop().create_future()
        return await self.ends[key]


class World:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.clock = FakeClock(START)
        self.mail, self.calls = Runner(), Runner()
        self.stack = stack

    async def open(self, *, most: int = 3, patience_s: float = 600) -> World:
        opened = MessageDatabase.open(self.folder, self.clock, lambda published: None)
        self.store = await self.stack.enter_async_context(opened)
        tasks = await self.stack.enter_async_context(Tasks())
        self.timetable = Timetable(self.clock, tasks)
        self.errands = Errands(
            self.store.outbox,
            self.clock,
            tasks,
            {"mail": self.mail, "call": self.calls},
            due=lambda due_at: self.timetable.note("errands", due_at),
            most=most,
            patience_s={"mail": patience_s},
        )
        self.timetable.when_due("errands", self.errands.run_due)
        tasks.spawn(self.timetable.run(), "timetable")
        return self

    async def enter(self, kind: str, *keys: str, destination: str = "", due_at: float = START) -> None:
        await self.store.post((), (), [Errand(kind, key, b"", due_at, destination) for key in keys])
        self.timetable.note("errands", self.clock.now())
        await self.settle()

    async def end(self, runner: Runner, key: str, outcome: Done | Again | Pause) -> None:
        runner.ends[key].set_result(outcome)
        await self.settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the outbox has all that it was given, and what follows has begun."""
        for _ in range(6):
            await self.clock.advance(0)
            await self.store.post((), (), [Errand("nobody's", "x", b"", START)])
            await self.store.outbox.next_errand(["mail"], ())

    def left(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "messages.db")) as connection:
            rows = connection.execute("SELECT key FROM errands WHERE kind <> 'nobody''s' ORDER BY entry")
            return [row[0] for row in rows]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(tmp_path, stack)


async def test_so_many_of_a_kind_are_under_way_and_the_next_begins_when_one_ends(world: World) -> None:
    await world.open(most=2)
    await world.enter("mail", "a", "b", "c")
    assert world.mail.begun == ["a", "b"]
    await world.end(world.mail, "a", Done())
    assert world.mail.begun == ["a", "b", "c"]
    assert world.left() == ["b", "c"]


async def test_a_kind_that_hangs_holds_up_no_other(world: World) -> None:
    await world.open(most=2)
    await world.enter("mail", *(f"m{number}" for number in range(50)))
    await world.enter("call", "c1", due_at=START + 1)
    assert world.mail.begun == ["m0", "m1"]
    await world.advance(1)
    assert world.calls.begun == ["c1"]


async def test_one_at_a_time_goes_to_a_destination_whatever_its_kind(world: World) -> None:
    await world.open()
    await world.enter("mail", "a", "b", destination="host")
    await world.enter("mail", "c", destination="other")
    await world.enter("call", "d", destination="host")
    assert world.mail.begun == ["a", "c"]
    await world.end(world.mail, "a", Done())
    assert world.mail.begun == ["a", "c", "b"]
    assert world.calls.begun == []


async def test_a_failed_errand_is_due_again_when_it_says(world: World) -> None:
    await world.open()
    await world.enter("mail", "a")
    assert world.mail.begun == ["a"]
    await world.end(world.mail, "a", Again(START + 30))
    await world.advance(30)
    assert world.mail.begun == ["a", "a"]


async def test_a_pause_stops_the_kind_and_no_other_until_it_ends(world: World) -> None:
    await world.open(most=1)
    await world.enter("mail", "a", "b", "c")
    assert world.mail.begun == ["a"]
    await world.end(world.mail, "a", Pause(START + 60))
    await world.enter("call", "d")
    assert world.calls.begun == ["d"]
    assert world.mail.begun == ["a"]
    await world.advance(60)
    assert world.mail.begun == ["a", "b"]


async def test_after_a_pause_one_goes_alone_and_the_others_follow_when_it_has_succeeded(world: World) -> None:
    await world.open(most=3)
    await world.enter("mail", "a")
    assert world.mail.begun == ["a"]
    await world.end(world.mail, "a", Pause(START + 10))
    await world.enter("mail", "b", "c", "d", due_at=START + 1)
    await world.advance(10)
    assert world.mail.begun == ["a", "b"]
    await world.end(world.mail, "b", Pause(START + 30))
    await world.advance(20)
    assert world.mail.begun == ["a", "b", "c"]
    await world.end(world.mail, "c", Done())
    assert world.mail.begun == ["a", "b", "c", "d", "a", "b"]


async def test_what_was_begun_before_a_pause_does_not_end_the_trial(world: World) -> None:
    await world.open(most=2)
    await world.enter("mail", "a", "b", "c", "d")
    assert world.mail.begun == ["a", "b"]
    await world.end(world.mail, "a", Pause(START + 10))
    await world.end(world.mail, "b", Done())
    await world.advance(10)
    assert world.mail.begun == ["a", "b", "c"]


async def test_a_pause_is_over_when_the_clock_has_been_set_back_before_it(world: World) -> None:
    await world.open()
    await world.enter("mail", "a", "b")
    assert world.mail.begun == ["a", "b"]
    await world.end(world.mail, "a", Pause(START + 10))
    await world.end(world.mail, "b", Again(START - LONGEST_PAUSE_S))
    world.clock.set_wall(START - LONGEST_PAUSE_S)
    world.timetable.note("errands", world.clock.now())
    await world.settle()
    assert world.mail.begun == ["a", "b", "b"]


async def test_errands_of_a_kind_that_nobody_does_stay(world: World) -> None:
    await world.open()
    await world.enter("later", "a")
    assert world.left() == ["a"]


async def test_what_a_crash_interrupted_is_done_again(world: World, tmp_path: Path) -> None:
    await world.open()
    await world.enter("mail", "a")
    assert world.mail.begun == ["a"]
    as_it_is = shutil.copytree(tmp_path, tmp_path / "crashed")
    async with AsyncExitStack() as stack:
        again = await World(as_it_is, stack).open()
        await again.settle()
        assert again.mail.begun == ["a"]


async def test_what_is_far_away_stays_so_after_a_crash(world: World, tmp_path: Path) -> None:
    await world.open()
    await world.enter("mail", "a")
    await world.end(world.mail, "a", Again(START + LEASE_S + 1))
    as_it_is = shutil.copytree(tmp_path, tmp_path / "crashed")
    async with AsyncExitStack() as stack:
        again = await World(as_it_is, stack).open()
        await again.settle()
        assert again.mail.begun == []
        await again.advance(LEASE_S + 1)
        assert again.mail.begun == ["a"]


async def test_what_the_end_of_the_server_interrupted_is_what_the_next_one_begins_with(
    world: World, tmp_path: Path
) -> None:
    await world.open()
    await world.enter("mail", "a")
    await world.stack.aclose()
    async with AsyncExitStack() as stack:
        again = await World(tmp_path, stack).open()
        await again.settle()
        assert again.mail.begun == ["a"]


async def test_what_is_tried_for_too_long_is_given_up_and_that_ends_no_trial(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.open(most=2)
    await world.enter("mail", "a")
    for number in range(1, 4):
        assert world.mail.begun == ["a"] * number
        await world.end(world.mail, "a", Pause(START + 250 * number))
        await world.advance(250)
    assert world.left() == []
    assert world.mail.begun == ["a"] * 3
    await world.enter("mail", "b", "c", due_at=START + 700)
    assert world.mail.begun == ["a", "a", "a", "b"]
    with caplog.at_level(logging.WARNING, "ntfyish"):
        await world.errands.drop_late()
        await world.errands.drop_late()
    assert [record.args for record in caplog.records] == [(1, "mail")]


async def test_what_has_waited_for_too_long_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.open(most=1)
    await world.enter("mail", "under way")
    assert world.mail.begun == ["under way"]
    await world.enter("mail", *(f"m{number}" for number in range(1100)))
    await world.enter("mail", "later", due_at=START + 1)
    await world.enter("call", "patient", due_at=START - 86_400, destination="x")
    await world.advance(600)
    await world.errands.drop_late()
    assert len(world.left()) == 1103
    await world.advance(0.5)
    with caplog.at_level(logging.WARNING, "ntfyish"):
        await world.errands.drop_late()
    assert world.left() == ["under way", "later", "patient"]
    assert len(caplog.records) == 1
    assert "1100" in caplog.text


def test_the_outbox_is_read_by_its_index(tmp_path: Path) -> None:
    async def make() -> None:
        async with MessageDatabase.open(tmp_path, FakeClock(), lambda published: None):
            pass

    asyncio.run(make())
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        for statement, values in ((DUE, ("mail", 1.0, "[]")), (NEXT, ("mail", "[]"))):
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
            assert "errands_by_kind" in plan
            assert "TEMP B-TREE" not in plan


async def test_what_takes_longer_than_its_lease_is_not_begun_a_second_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.open()
    await world.enter("mail", "a")
    world.clock.set_wall(START + 2 * LEASE_S)
    await world.enter("mail", "b")
    await world.advance(10)  # so often the timetable looks at the wall clock
    assert world.mail.begun == ["a", "b"]
    await world.end(world.mail, "a", Done())
    await world.end(world.mail, "b", Done())
    assert world.left() == []
    assert not caplog.records
