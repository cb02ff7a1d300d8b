"""Pushover's API over real sockets: what a client sees, and what a subscriber of the inbox gets."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY, Server, StartServer
from tests.wire import Answer

FORM = "Content-Type: application/x-www-form-urlencoded"


def form(**fields: str) -> bytes:
    return urlencode({"token": APP_TOKEN, "user": USER_KEY, "message": "hi"} | fields).encode()


async def post(server: Server, body: bytes, *headers: str, path: str = "/1/messages.json") -> Answer:
    return await (await server.wire()).request(f"POST {path}", *(headers or (FORM,)), body=body)


async def test_a_pushover_message_is_a_full_message_for_ntfys_subscribers(server: Server) -> None:
    answer = await post(server, form(title="T", url="tel:1", priority="1", sound="bike", html="1"))
    assert answer.status == 200
    assert list(answer.json()) == ["status", "request"]
    assert answer.headers["x-request-id"] == answer.json()["request"]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-limit-app-limit"] == "10000"
    assert answer.headers["x-limit-app-remaining"] == "9999"
    assert "date" in answer.headers
    (message,) = await server.poll(USER_KEY)
    assert message["title"] == "T"
    assert message["message"] == "hi"
    assert message["priority"] == 4
    assert message["click"] == "tel:1"
    assert (message["app"], message["sound"], message["html"]) == ("Backups", "bike", 1)


@pytest.mark.parametrize("fields", [{"message": "grüße", "title": "a&b"}, {"message": "x" * 1024}])
async def test_clients_of_all_kinds_are_understood(server: Server, fields: dict[str, str]) -> None:
    everything = {"token": APP_TOKEN, "user": TOPIC_KEY} | fields
    url = f"{server.url}/1/messages.json"
    with_file = aiohttp.FormData(everything)
    with_file.add_field("attachment", b"\xff\xd8" * 100_000, filename="a.jpg", content_type="image/jpeg")
    multipart = aiohttp.FormData(everything, default_to_multipart=True)
    calls = [
        server.http.post(url, data=everything),
        server.http.post(url, json=everything),
        server.http.post(url, data=multipart),
        server.http.post(url, data=with_file),
        server.http.post(url, data=json.dumps(everything), headers={"Content-Type": "text/plain"}),
        server.http.post(url, data=urlencode(everything), headers={"Content-Type": "application/json"}),
        server.http.post(f"{url}?{urlencode(everything)}", headers={"Authorization": "Basic eDp5"}),
    ]
    for call in calls:
        async with call as response:
            assert response.status == 200, await response.text()
    messages = await server.poll("alerts")
    assert [message["message"] for message in messages] == [fields["message"]] * len(calls)
    assert {message["title"] for message in messages} == {fields.get("title", "Backups")}


async def test_an_emergency_message_carries_its_receipt(server: Server) -> None:
    answer = await post(server, form(priority="2", retry="30", expire="60"))
    (message,) = await server.poll(USER_KEY)
    assert message["receipt"] == answer.json()["receipt"]
    assert message["priority"] == 5


async def test_refusals_are_answered_alike_by_both_lanes(server: Server) -> None:
    plain = await post(server, form(message=""))
    wire = await server.wire()
    interim = await wire.request("POST /1/messages.json", FORM, "Expect: 100-continue", body=form(message=""))
    assert interim.status == 100
    unusual = await wire.answer()
    for answer in (plain, unusual):
        assert answer.status == 400
        assert answer.json()["errors"] == ["message cannot be blank"]
        assert answer.headers["x-limit-app-remaining"] == "10000"


async def test_the_connection_is_kept_after_a_refusal(server: Server) -> None:
    wire = await server.wire()
    for fields, status in (({"message": ""}, 400), ({}, 200), ({"user": "!"}, 400), ({}, 200)):
        answer = await wire.request("POST /1/messages.json", FORM, body=form(**fields))
        assert answer.status == status


async def test_the_quota_survives_a_restart_and_begins_anew_each_month(start_server: StartServer) -> None:
    apps = [{"name": "Small", "token": APP_TOKEN, "account": "phil", "monthly-limit": 2}]
    server = await start_server(apps=apps)
    assert (await post(server, form())).headers["x-limit-app-remaining"] == "1"
    assert (await post(server, form())).headers["x-limit-app-remaining"] == "0"
    answer = await post(server, form())
    assert answer.status == 429
    assert answer.json()["errors"] == ["application has exceeded current limit of 2 messages"]
    server.clock.set_wall(float(answer.headers["x-limit-app-reset"]))
    assert (await post(server, form())).headers["x-limit-app-remaining"] == "1"


async def test_concurrent_senders_get_no_more_than_the_quota(start_server: StartServer) -> None:
    apps = [{"name": "Small", "token": APP_TOKEN, "account": "phil", "monthly-limit": 5}]
    server = await start_server(apps=apps)
    answers = await asyncio.gather(*[post(server, form(message=str(n))) for n in range(20)])
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 15
    assert len(await server.poll(USER_KEY)) == 5


async def test_topic_1_is_still_a_topic(server: Server) -> None:
    await server.publish("1", "to the topic")
    await server.publish("1/messages", "to a sequence")
    messages = await server.poll("1")
    assert [message["message"] for message in messages] == ["to the topic", "to a sequence"]
    assert messages[1]["sequence_id"] == "messages"


async def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    answer = await post(server, form(message="x" * 7_200_000))
    assert answer.status == 413
    assert answer.json()["errors"] == ["request body is too large"]


async def test_sounds_validation_and_limits_answer(server: Server) -> None:
    wire = await server.wire()
    answer = await wire.request(f"GET /1/sounds.json?token={APP_TOKEN}")
    assert answer.json()["sounds"]["pushover"] == "Pushover (default)"
    answer = await wire.request("POST /1/users/validate.json", FORM, body=form())
    assert answer.json()["status"] == 1
    answer = await wire.request(f"GET /1/apps/limits.json?token={APP_TOKEN}")
    assert answer.json()["remaining"] == 10_000
    answer = await wire.request("OPTIONS /1/messages.json")
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    answer = await wire.request("GET /1/unknown.json")
    assert (answer.status, answer.json()["errors"]) == (404, ["resource not found"])
