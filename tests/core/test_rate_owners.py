"""Who pays for topics of UnifiedPush, by itself: what is kept in mind, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest_asyncio

from ntfyish.core.access import Access
from ntfyish.core.directory import Directory
from ntfyish.core.limits import Limits, LimitValues
from ntfyish.core.rate_owners import STALE_S, RateOwners, is_unifiedpush_topic
from ntfyish.model.acl import TopicAccess
from ntfyish.model.people import ANONYMOUS
from tests.clock import FakeClock
from tests.pushover.world import MemoryMessages, MemoryPeople, people

PUBLISHER = "192.0.2.254"


def topic(number: int) -> str:
    return f"up{number:012}"


class World:
    def __init__(self, most: int = 3) -> None:
        self.clock = FakeClock()
        directory = Directory(MemoryPeople(people()), self.clock)  # type: ignore[arg-type]
        access = Access(directory, self.clock, TopicAccess.READ_WRITE)
        store = MemoryMessages()
        self.limits = Limits(LimitValues(), self.clock, load=store.counter, write=store.post)
        self.owners = RateOwners(access, self.limits, directory, self.clock, most)

    def enter(self, host: int, topics: Sequence[str]) -> Callable[[], None]:
        address = f"192.0.2.{host}"
        return self.owners.enter(self.limits.visitor(address, ANONYMOUS), address, topics)

    def payer(self, name: str) -> int:
        """Return which host pays for a topic; 0 for none."""
        payer = self.owners.find_payer(self.limits.visitor(PUBLISHER, ANONYMOUS), name)
        return 0 if payer is None else int(payer.key.rpartition(".")[2])


@pytest_asyncio.fixture
async def world() -> World:
    return World()


def test_topics_of_unifiedpush_are_those_of_ntfys_app() -> None:
    assert is_unifiedpush_topic("upAbCdEfGhIjKl")
    for other in ("upAbCdEfGhIjK", "upAbCdEfGhIjKlm", "UpAbCdEfGhIjKl", "xxAbCdEfGhIjKl", "up", ""):
        assert not is_unifiedpush_topic(other)


async def test_no_more_topics_are_kept_in_mind_than_allowed_until_some_are_stale(world: World) -> None:
    leaving = [world.enter(number, [topic(number)]) for number in range(1, 6)]
    assert [world.payer(topic(number)) for number in range(1, 6)] == [1, 2, 3, 0, 0]
    world.enter(9, [topic(1)])  # what is there already may get another owner
    assert world.payer(topic(1)) == 9
    leaving[1]()
    await world.clock.advance(STALE_S)
    world.enter(4, [topic(4)])
    assert [world.payer(topic(number)) for number in range(1, 5)] == [9, 0, 3, 4]


async def test_the_last_eight_of_a_topics_subscribers_are_kept_in_mind(world: World) -> None:
    leaving = [world.enter(number, [topic(1)]) for number in range(1, 11)]
    for number in range(10, 2, -1):
        assert world.payer(topic(1)) == number
        leaving[number - 1]()
        await world.clock.advance(STALE_S)
    assert world.payer(topic(1)) == 0


async def test_one_with_several_subscriptions_pays_until_the_last_has_ended_and_may_end_each_twice(
    world: World,
) -> None:
    first, second = world.enter(1, [topic(1)]), world.enter(1, [topic(1), "news"])
    second()
    second()
    await world.clock.advance(STALE_S)
    assert world.payer(topic(1)) == 1
    first()
    await world.clock.advance(STALE_S)
    assert world.payer(topic(1)) == 0


async def test_a_sweep_forgets_who_is_stale_and_nobody_else(world: World) -> None:
    world.enter(1, [topic(1)])()
    world.enter(2, [topic(1), topic(2)])
    await world.clock.advance(STALE_S - 1)
    world.enter(3, [topic(3)])()
    await world.clock.advance(1)
    await world.owners.sweep()
    assert {name: list(owners) for name, owners in world.owners._owners.items()} == {
        topic(1): ["ip:192.0.2.2"],
        topic(2): ["ip:192.0.2.2"],
        topic(3): ["ip:192.0.2.3"],
    }
    await world.clock.advance(STALE_S)
    await world.owners.sweep()
    assert sorted(world.owners._owners) == [topic(1), topic(2)]


async def test_of_refusals_the_oldest_are_forgotten_first(world: World) -> None:
    for number in range(3):
        assert world.owners.note_refusal(topic(number)) == 0
        await world.clock.advance(10)
    assert [world.owners.note_refusal(topic(number)) for number in range(3)] == [30, 20, 10]
    assert world.owners.note_refusal(topic(3)) == 0
    await world.clock.advance(10)
    assert world.owners.note_refusal(topic(1)) == 30
    assert world.owners.note_refusal(topic(0)) == 0
