"""Pushes while the wall clock is set, or the store fails: nothing is sent twice, and nothing forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import cast

import pytest

from ntfyish.core.counters import Counters
from ntfyish.core.ports import ClaimedPush, PushedMessage, PushNote
from ntfyish.core.pushes.backlog import PushBacklog
from ntfyish.core.pushes.graves import PushGraves
from ntfyish.core.pushes.lane import LaneParts, PushLane
from ntfyish.core.pushes.lanes import PushLanes
from ntfyish.core.pushes.maker import PushMaker
from ntfyish.core.pushes.recipients import PushRecipients
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Reason, Unavailable
from ntfyish.model.push import Delivery, Push, PushKind, PushOutcome, Verdict
from tests.clock import FakeClock
from tests.conftest import StartServer
from tests.push.scripted import ScriptedSender
from tests.push.stage import APP, device, start_stage

DAY_S = 86_400


async def test_what_is_under_way_is_not_sent_again_when_the_clock_is_set_forward(
    start_server: StartServer,
) -> None:
    stage = await start_stage(start_server)
    await stage.add(*(device(number) for number in range(5)))
    stage.sender.gate.clear()
    await stage.server.publish("alerts", "first")
    await stage.until(lambda: stage.sender.under_way == 5)
    stage.clock.set_wall(stage.clock.now() + 300)
    await stage.server.publish("alerts", "second")
    await stage.until(lambda: stage.sender.under_way == 8)
    stage.sender.gate.set()
    await stage.until_states(delivered=10)
    assert sorted(stage.sender.texts) == ["first"] * 5 + ["second"] * 5


async def test_what_waits_for_another_try_does_not_wait_for_a_clock_that_was_set_back(
    start_server: StartServer,
) -> None:
    stage = await start_stage(start_server)
    await stage.add(*(device(number) for number in range(5)))
    stage.sender.gate.clear()
    for _ in range(3):
        stage.sender.say(Verdict.BUSY, "TooManyRequests", retry_after_s=600)
    await stage.server.publish("alerts")
    await stage.until(lambda: stage.sender.under_way == 5)
    stage.sender.gate.set()
    await stage.until_states(delivered=2, pending=3)
    stage.clock.set_wall(stage.clock.now() - DAY_S)
    await stage.pass_time(70)
    await stage.until_states(delivered=5)
    assert len(stage.sender.pushes) == 8


class Outbox:
    """Has what the test puts into it; fails as often as the test says."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.due: dict[int, float] = {}
        self.notes: list[PushNote] = []
        self.at_recall: Callable[[], None] = lambda: None

    async def claim_pushes(
        self, destination: str, now: float, until: float, limit: int
    ) -> Sequence[ClaimedPush]:
        entries = [entry for entry, due_at in self.due.items() if due_at <= now][:limit]
        self.due |= dict.fromkeys(entries, until)
        message = PushedMessage(
            id="m",
            request="",
            owner="",
            topic="alerts",
            collapse_id="m",
            created_at=0,
            expires_at=1,
            line=b"",
        )
        return [ClaimedPush(entry, message, "d", 1, "") for entry in entries]

    async def recall_pushes(self, now: float) -> int:
        self.at_recall()
        return 0

    async def waiting_destinations(self) -> Sequence[tuple[str, float, int]]:
        self._fail("waiting_destinations")
        return [(APP, min(self.due.values()), len(self.due))] if self.due else []

    async def next_push(self, destination: str) -> float | None:
        self._fail("next_push")
        return min(self.due.values(), default=None)

    async def oldest_push(self) -> float | None:
        return None

    async def note_pushes(self, notes: Sequence[PushNote]) -> None:
        self.notes += notes
        for note in notes:
            del self.due[note.entry]

    async def expire_pushes(
        self, now: float, created_before: float, limit: int = 500
    ) -> Mapping[PushKind, int]:
        return {}

    async def purge_pushes(self, created_before: float, limit: int = 500) -> int:
        return 0

    async def find_deliveries(self, id: str, owner: str) -> Sequence[Delivery] | None:
        return None

    def _fail(self, name: str) -> None:
        if name in self.failures:
            self.failures.remove(name)
            raise Unavailable(Reason.STORAGE_BUSY)


class Ticking(FakeClock):
    """A clock that moves a little whenever it is looked at."""

    def now(self) -> float:
        self._passed_us += 10
        return super().now()


class World:
    """A lane with its outbox; all that waits there has expired, so nothing needs to be sent."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.outbox = Outbox()
        self.told: list[float] = []
        counters = Counters()
        backlog = PushBacklog(self.outbox, clock, counters, limit=1000, retry_s=3600, kept_s=3600)
        self.parts = LaneParts(
            outbox=self.outbox,
            backlog=backlog,
            maker=PushMaker(cast(PushRecipients, None), backlog),
            graves=cast(PushGraves, None),
            counters=counters,
            clock=clock,
            tasks=Tasks(),
            random=random,
            tell=self.told.append,
        )


async def test_a_time_that_comes_while_a_lane_goes_to_rest_is_not_forgotten() -> None:
    world = World(Ticking())
    due_at = world.clock.now() + 15e-6
    PushLane(APP, ScriptedSender(), world.parts).expect(due_at)
    assert world.told == [due_at]


async def test_what_waits_at_the_start_is_found_though_the_store_fails_at_first() -> None:
    world = World(FakeClock())
    world.outbox.due[1] = world.clock.now()
    world.outbox.failures.append("waiting_destinations")
    async with PushLanes(world.parts, lambda destination: ScriptedSender()) as lanes:
        with pytest.raises(Unavailable):
            await lanes.run_due(world.clock.now())
        await lanes.run_due(world.clock.now())
        await world.clock.advance(0)
        assert [note.entry for note in world.outbox.notes] == [1]


async def test_what_is_entered_while_the_server_begins_is_found_though_the_store_has_it_later() -> None:
    world = World(FakeClock())
    async with PushLanes(world.parts, lambda destination: ScriptedSender()) as lanes:
        world.outbox.at_recall = lambda: lanes.wake([APP])
        await lanes.run_due(world.clock.now())
        world.outbox.due[1] = world.clock.now()
        await world.clock.advance(0)
        assert [note.entry for note in world.outbox.notes] == [1]


async def test_what_is_due_later_is_found_though_the_store_fails_when_asked() -> None:
    world = World(FakeClock())
    now = world.clock.now()
    world.outbox.due |= {1: now, 2: now + 20}
    world.outbox.failures.append("next_push")
    lane = PushLane(APP, ScriptedSender(), world.parts)
    lane.expect(now)
    await world.clock.advance(1)
    lane.look()
    await world.clock.advance(1)
    assert now + 20 in world.told


async def test_a_mistake_in_the_program_costs_one_try_only(start_server: StartServer) -> None:
    stage = await start_stage(start_server, {APP: ScriptedSender(capacity=1)})
    await stage.add(*(device(number) for number in range(5)))

    def fail(push: Push) -> PushOutcome:
        raise ZeroDivisionError

    stage.sender.answers.append(fail)
    await stage.server.publish("alerts")
    await stage.until_states(delivered=4, pending=1)
    await stage.pass_time(61)
    await stage.until_states(delivered=5)
