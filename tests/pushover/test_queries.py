from __future__ import annotations

from typing import Any

import pytest

from ntfyish.web.http import Response
from tests.pushover.world import (
    ALERTS_KEY,
    FREE_TOKEN,
    MUTE,
    NOBODY,
    OFF_TOKEN,
    PHIL,
    TOKEN,
    VERA,
    World,
    body_of,
)

LICENSES = ["Android", "iOS", "Desktop"]
VALID = {"group": 0, "devices": ["droid2", "iphone"], "licenses": LICENSES, "status": 1}
BAD_TOKEN = {"token": "invalid", "errors": ["application token is invalid"], "status": 0}


async def ask(world: World, line: str, fields: dict[str, str] | None = None) -> Response:
    response = await world.ask(line, fields or {})
    assert response is not None
    return response


async def test_sounds_are_listed_in_order(world: World) -> None:
    response = await ask(world, f"GET /1/sounds.json?token={TOKEN}")
    body = body_of(response)
    assert response.status == 200
    assert list(body) == ["sounds", "status"]
    assert list(body["sounds"])[:3] == ["pushover", "bike", "bugle"]
    assert list(body["sounds"])[-2:] == ["vibrate", "none"]
    assert body["sounds"]["alien"] == "Alien Alarm (long)"
    assert len(body["sounds"]) == 23


async def test_the_token_of_a_get_may_be_in_its_body(world: World) -> None:
    assert (await ask(world, "GET /1/sounds.json", {"token": TOKEN})).status == 200
    assert (await ask(world, "GET /1/apps/limits.json", {"token": TOKEN})).status == 200


@pytest.mark.parametrize("token", ["", NOBODY, OFF_TOKEN])
@pytest.mark.parametrize(
    "line", ["GET /1/sounds.json", "GET /1/apps/limits.json", "POST /1/users/validate.json"]
)
async def test_nothing_is_told_without_a_token(world: World, line: str, token: str) -> None:
    response = await ask(world, line, {"token": token, "user": PHIL})
    assert response.status == 400
    assert body_of(response) == BAD_TOKEN


async def test_limits_tell_what_is_left(world: World) -> None:
    await world.send()
    response = await ask(world, f"GET /1/apps/limits.json?token={TOKEN}")
    assert list(body_of(response).items()) == [
        ("limit", 10000), ("remaining", 9999), ("reset", 1393653600), ("status", 1),
    ]  # fmt: skip
    free = body_of(await ask(world, f"GET /1/apps/limits.json?token={FREE_TOKEN}"))
    assert free["remaining"] == free["limit"] > 1_000_000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": PHIL}, VALID),
        ({"user": PHIL, "device": " "}, VALID),
        ({"user": f" {PHIL}", "device": "droid2"}, VALID),
        ({"user": VERA}, VALID | {"devices": []}),
        ({"user": ALERTS_KEY}, VALID | {"devices": []}),
        ({"user": ALERTS_KEY, "device": "x"}, VALID | {"devices": []}),
        ({"user": NOBODY}, {"user": "invalid", "errors": ["user key is invalid"], "status": 0}),
        ({"user": ""}, {"user": "invalid", "errors": ["user key is invalid"], "status": 0}),
        ({"user": f"{PHIL},{VERA}"}, {"user": "invalid", "errors": ["user key is invalid"], "status": 0}),
        (
            {"user": PHIL, "device": "gone"},
            {
                "device": "invalid for this user",
                "errors": ["device name is not valid for this user"],
                "status": 0,
            },
        ),
        (
            {"user": MUTE},
            {
                "user": "has no active devices",
                "errors": ["user is valid but has no active devices"],
                "status": 0,
            },
        ),
    ],
)
async def test_keys_and_devices_are_validated(
    world: World, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    response = await ask(world, "POST /1/users/validate.json", {"token": TOKEN} | fields)
    assert response.status == (200 if expected["status"] else 400)
    assert list(body_of(response).items()) == list(expected.items())
    assert world.store.messages == []
