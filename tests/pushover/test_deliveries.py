"""What an app is told about the pushes of its messages."""

from __future__ import annotations

from typing import Any

import pytest

from ntfyish.model.push import Verdict
from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY, StartServer
from tests.examples.test_documents import API, faults
from tests.push.stage import Stage, account, device, phone, start_stage

OTHER_TOKEN = "aOtherOtherOtherOtherOtherOther"[:30]
APPS = [
    {"name": "Backups", "token": APP_TOKEN, "account": "phil"},
    {"name": "Other", "token": OTHER_TOKEN, "account": "phil"},
]
UNKNOWN = {
    "message": "not found",
    "errors": ["message not found; may be unknown, old or not pushed"],
    "status": 0,
}
SCHEMA = API["paths"]["/1/messages/{message}/deliveries.json"]["get"]["responses"]["200"]["content"][
    "application/json"
]["schema"]


async def stage_of(start_server: StartServer, **settings: Any) -> Stage:
    owner = account(phone("phone", 1), phone("watch", 2))
    return await start_stage(start_server, accounts=[owner], apps=APPS, **settings)


async def ask(stage: Stage, id: str, token: str = APP_TOKEN) -> tuple[int, dict[str, Any]]:
    """Return status and body, without `request`."""
    url = f"{stage.server.url}/1/messages/{id}/deliveries.json"
    async with stage.server.http.get(url, params={"token": token}) as response:
        body = await response.json()
    assert body.pop("request") == response.headers["X-Request-Id"]
    return response.status, body


async def test_an_app_is_told_what_became_of_its_message_on_each_device(start_server: StartServer) -> None:
    stage = await stage_of(start_server)
    stage.sender.say(Verdict.DELIVERED)
    stage.sender.say(Verdict.REFUSED, "BadTopic")
    request = (await stage.pushover("hi"))["request"]
    await stage.until_states(delivered=1, failed=1)
    (message,) = await stage.server.poll(USER_KEY)
    status, body = await ask(stage, message["id"])
    assert status == 200
    assert not list(faults(body | {"request": request}, SCHEMA))
    by_state = {one["state"]: one for one in body["deliveries"]}
    names = {one["device"] for one in body["deliveries"]}
    assert names == {"phone", "watch"}
    assert body["status"] == 1
    assert by_state["failed"] == {
        "message": message["id"],
        "device": by_state["failed"]["device"],
        "kind": "apns",
        "state": "failed",
        "attempts": 1,
        "reason": "BadTopic",
        "changed_at": int(stage.clock.now()),
    }
    assert (by_state["delivered"]["attempts"], by_state["delivered"]["reason"]) == (1, "")
    assert await ask(stage, request) == (200, body)


async def test_a_request_to_several_is_told_whole_and_a_sequence_in_its_order(
    start_server: StartServer,
) -> None:
    stage = await stage_of(start_server)
    await stage.add(device(3, name=""))
    request = (await stage.pushover(user=f"{USER_KEY},{TOPIC_KEY}"))["request"]
    await stage.until_states(delivered=3)
    _, body = await ask(stage, request)
    assert sorted(one["device"] for one in body["deliveries"]) == ["", "phone", "watch"]
    stage.sender.always(Verdict.MISCONFIGURED, "InvalidProviderToken")
    await stage.pushover("fire", priority="2", retry="30", expire="60")
    await stage.until_tried(4)
    await stage.pass_time(32)
    await stage.until_states(delivered=3, superseded=2, pending=2)
    fires = [one for one in await stage.server.poll(USER_KEY) if one["message"] == "fire"]
    _, body = await ask(stage, fires[0]["id"])
    assert [one["state"] for one in body["deliveries"]] == ["superseded"] * 2 + ["pending"] * 2
    assert [one["message"] for one in body["deliveries"]] == [fires[0]["id"]] * 2 + [fires[1]["id"]] * 2


async def test_nobody_else_is_told(start_server: StartServer) -> None:
    stage = await stage_of(start_server)
    await stage.add(device(3))
    await stage.pushover("hi")
    await stage.server.publish("alerts", "by ntfy's API")
    await stage.until_states(delivered=3)
    (message,), (other,) = await stage.server.poll(USER_KEY), await stage.server.poll("alerts")
    assert await ask(stage, message["id"], OTHER_TOKEN) == (404, UNKNOWN)
    assert await ask(stage, other["id"]) == (404, UNKNOWN)
    assert await ask(stage, "nothing") == (404, UNKNOWN)
    invalid = {"token": "invalid", "errors": ["application token is invalid"], "status": 0}
    assert await ask(stage, message["id"], "wrong") == (400, invalid)
    assert await ask(stage, message["id"], "") == (400, invalid)


async def test_what_was_pushed_to_no_device_is_told_like_what_is_unknown(start_server: StartServer) -> None:
    stage = await start_stage(start_server, accounts=[account()])
    request = (await stage.pushover("hi"))["request"]
    (message,) = await stage.server.poll(USER_KEY)
    for id in (request, message["id"]):
        assert await ask(stage, id) == (404, UNKNOWN)


async def test_the_answer_can_be_xml(start_server: StartServer) -> None:
    stage = await stage_of(start_server)
    request = (await stage.pushover("hi", device="phone"))["request"]
    await stage.until_states(delivered=1)
    url = f"{stage.server.url}/1/messages/{request}/deliveries.xml?token={APP_TOKEN}"
    async with stage.server.http.get(url) as response:
        text = await response.text()
    assert "<deliveries><delivery><message>" in text
    assert "<device>phone</device><kind>apns</kind><state>delivered</state>" in text


async def test_guesses_at_tokens_are_slowed_down(start_server: StartServer) -> None:
    stage = await stage_of(
        start_server, visitor_auth_failure_limit_burst=3, visitor_request_limit_exempt_hosts=[]
    )
    for _ in range(3):
        assert (await ask(stage, "any", "wrong"))[0] == 400
    assert (await ask(stage, "any", "wrong"))[0] == 429


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "messages/abc/deliveries.json", 405),
        ("HEAD", "messages/abc/deliveries.json", 400),
        ("GET", "messages/a.b/deliveries.json", 404),
        ("GET", f"messages/{'x' * 65}/deliveries.json", 404),
        ("GET", "messages/abc/deliveries/json", 404),
        ("OPTIONS", "messages/abc/deliveries.json", 200),
    ],
)
async def test_only_its_own_path_is_answered(
    start_server: StartServer, method: str, path: str, status: int
) -> None:
    stage = await stage_of(start_server)
    async with stage.server.http.request(method, f"{stage.server.url}/1/{path}") as response:
        assert response.status == status
