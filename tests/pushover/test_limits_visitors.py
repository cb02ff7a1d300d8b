"""What visitors may do on Pushover's side: an app's quota governs who has one, failures whoever has none."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ntfyish.core.buckets import Rate
from ntfyish.core.limits import LimitValues
from ntfyish.web.http import Response
from tests.conftest import APP_TOKEN, USER_KEY, StartServer
from tests.ntfy.talking import ask
from tests.pushover.world import NOBODY, OFF_TOKEN, PHIL, SMALL_TOKEN, TOKEN, World, body_of, header

WRONG = "aWrongWrongWrongWrongWrongWron"
VALID = {"token": TOKEN, "user": PHIL, "message": "hi"}

FAILURES = [
    ("POST /1/messages.json", {**VALID, "token": WRONG}),
    ("POST /1/messages.json", {**VALID, "token": OFF_TOKEN}),
    ("POST /1/messages.json", {**VALID, "user": NOBODY}),
    ("POST /1/messages.json", {**VALID, "user": "hello world"}),
    ("POST /1/users/validate.json", {"token": WRONG, "user": PHIL}),
    ("POST /1/users/validate.json", {"token": TOKEN, "user": NOBODY}),
    ("GET /1/sounds.json?token=" + WRONG, {}),
    ("GET /1/apps/limits.json?token=" + WRONG, {}),
]


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World(visitor_limits=LimitValues(requests=Rate.of(1, 60), auth_failures=Rate.of(2, 60)))
    await world.directory.load()
    yield world
    world.access.close()


async def ask_world(world: World, line: str, fields: dict[str, str]) -> Response:
    answer = await world.ask(line, fields)
    assert answer is not None
    return answer


@pytest.mark.parametrize(("line", "fields"), FAILURES)
async def test_wrong_tokens_and_unknown_users_are_failures_of_the_address(
    world: World, line: str, fields: dict[str, str]
) -> None:
    for _ in range(2):
        assert (await ask_world(world, line, fields)).status == 400
    answer = await ask_world(world, line, fields)
    assert answer.status == 429
    assert header(answer, "Retry-After") == "60"
    body = body_of(answer)
    assert body["status"] == 0
    assert body["errors"] == ["too many failed attempts, please slow down"]
    await world.clock.advance(60)
    assert (await ask_world(world, line, fields)).status == 400


async def test_a_valid_token_is_never_throttled_by_the_failures_of_others(world: World) -> None:
    for _ in range(5):
        await world.send(token=WRONG)
    for _ in range(70):
        assert (await world.send()).status == 200


async def test_a_mistake_in_a_message_is_no_failure(world: World) -> None:
    for _ in range(5):
        assert (await world.send(priority="9")).status == 400
        assert (await world.send(message="")).status == 400
    assert (await world.send(token=WRONG)).status == 400


async def test_a_list_with_one_known_user_is_no_failure(world: World) -> None:
    for _ in range(5):
        assert (await world.send(user=f"{NOBODY},{PHIL}")).status == 200


async def test_a_used_up_quota_says_until_when(world: World) -> None:
    for _ in range(3):
        assert (await world.send(token=SMALL_TOKEN)).status == 200
    answer = await world.send(token=SMALL_TOKEN)
    assert answer.status == 429
    left_s = int(header(answer, "X-Limit-App-Reset")) - world.clock.now()
    assert int(header(answer, "Retry-After")) == math.ceil(left_s)


async def test_messages_of_apps_cost_the_visitor_nothing(start_server: StartServer) -> None:
    server = await start_server(
        visitor_request_limit_exempt_hosts=[],
        visitor_request_limit_burst=1,
        visitor_message_daily_limit=1,
        visitor_topic_creation_limit_burst=1,
    )
    form = "Content-Type: application/x-www-form-urlencoded"
    for user in (USER_KEY, "some-topic", "another-topic"):
        body = f"token={APP_TOKEN}&user={user}&message=hi"
        for _ in range(2):
            answer = await ask(server, "POST /1/messages.json", form, body=body)
            assert answer.status == 200
            assert "ratelimit" not in answer.headers
    assert (await ask(server, "PUT /third-topic")).status == 200
    assert (await ask(server, "PUT /third-topic")).status == 429
