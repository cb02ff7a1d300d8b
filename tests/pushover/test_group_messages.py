"""Messages to a group's key: one for each enabled member's inbox."""

from __future__ import annotations

import pytest

from tests.pushover.world import (
    ALL_KEY,
    ASLEEP_KEY,
    EMPTY_KEY,
    PHIL,
    SMALL_TOKEN,
    TOKEN,
    VERA,
    VERAS_KEY,
    World,
    body_of,
    header,
)


@pytest.mark.parametrize(
    ("user", "reached"),
    [
        (ALL_KEY, [PHIL, VERA]),  # each once, and nobody who receives nothing
        (VERAS_KEY, [VERA]),
        (f"{ALL_KEY},{VERAS_KEY}", [PHIL, VERA]),
        (f"{VERA},{ALL_KEY}", [VERA, PHIL]),
        (f"{EMPTY_KEY},{PHIL}", [PHIL]),
    ],
)
async def test_a_group_reaches_each_enabled_member_once_and_each_is_counted(
    world: World, user: str, reached: list[str]
) -> None:
    response = await world.send(user=user, device="droid2")
    assert (response.status, body_of(response)) == (200, {"status": 1})
    assert [message.topic for message in world.store.messages] == reached
    assert header(response, "X-Limit-App-Remaining") == str(10_000 - len(reached))


@pytest.mark.parametrize("user", [ASLEEP_KEY, EMPTY_KEY])
async def test_a_group_that_nobody_listens_in_costs_nothing(world: World, user: str) -> None:
    response = await world.send(user=user)
    assert body_of(response) == {"status": 1, "info": "no active devices to send to"}
    assert world.store.messages == []
    assert header(response, "X-Limit-App-Remaining") == "10000"


async def test_a_group_larger_than_what_is_left_gets_nothing(world: World) -> None:
    assert (await world.send(token=SMALL_TOKEN, user=ALL_KEY)).status == 200
    assert (await world.send(token=SMALL_TOKEN, user=ALL_KEY)).status == 429
    assert len(world.store.messages) == 2


@pytest.mark.parametrize(
    ("user", "fields"),
    [
        (ALL_KEY, {"group": 1, "devices": [], "status": 1}),
        (VERAS_KEY, {"group": 1, "devices": [], "status": 1}),
        (PHIL, {"group": 0, "devices": ["droid2", "iphone"], "status": 1}),
    ],
)
async def test_a_group_is_validated_without_its_members_devices(
    world: World, user: str, fields: dict[str, object]
) -> None:
    response = await world.ask("POST /1/users/validate.json", {"token": TOKEN, "user": user})
    assert response is not None
    found = body_of(response)
    del found["licenses"]
    assert found == fields


async def test_a_group_without_anybody_is_not_valid(world: World) -> None:
    response = await world.ask("POST /1/users/validate.json", {"token": TOKEN, "user": ASLEEP_KEY})
    assert response is not None
    assert response.status == 400
