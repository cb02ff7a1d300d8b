"""Emergencies by ntfy's publish API."""

from __future__ import annotations

import pytest

from tests.conftest import Server
from tests.pushover.test_receipts import link_of, press, sent

PHIL = {"Authorization": "Basic cGhpbDpzZWNyZXQ="}


async def test_priority_5_with_retry_is_an_emergency(server: Server) -> None:
    published = await server.publish("alerts", priority="5", **{"X-Retry": "30", "X-Expire": "2m"})
    assert published["receipt"].startswith("r")
    assert "actions" not in published  # the publisher need not be a reader
    await server.clock.advance(30)
    first, again = await sent(server, "alerts", 2)
    assert again["sequence_id"] == first["id"] == published["id"]
    assert again["receipt"] == published["receipt"]
    url = f"{server.url}/1/receipts/{published['receipt']}.json"
    assert await press(server, again) == 200
    async with server.http.get(url) as response:
        fields = await response.json()
    assert (fields["acknowledged"], fields["acknowledged_by"]) == (1, "")
    assert fields["expires_at"] == first["time"] + 120
    await server.clock.advance(60)
    assert len(await sent(server, "alerts")) == 2


@pytest.mark.parametrize("priority", ["", "3", "4", "high"])
async def test_with_another_priority_retry_means_nothing(server: Server, priority: str) -> None:
    published = await server.publish("alerts", priority=priority, retry="nonsense")
    assert "receipt" not in published


async def test_priority_5_alone_is_no_emergency(server: Server) -> None:
    assert "receipt" not in await server.publish("alerts", priority="5")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"retry": "29"}, "retry must be at least 30 seconds"),
        ({"retry": "soon"}, "retry must be a number of seconds"),
        ({"retry": "9" * 30}, "retry must be a number of seconds"),
        ({"retry": "-1m"}, "retry must be at least 30 seconds"),
        ({"retry": "30", "expire": "0"}, "expire must be more than 0 seconds"),
        ({"retry": "30", "expire": "x"}, "expire must be a number of seconds"),
        ({"retry": "30", "expire": "2d"}, "expire must be at most 10800 seconds"),
        ({"expire": "600"}, "retry must be given along with expire or callback"),
        ({"callback": "https://example.com"}, "retry must be given along with expire or callback"),
        ({"retry": "30", "callback": "ftp://example.com"}, "callback must be an http or https URL"),
        ({"retry": "30", "callback": "https://" + "e" * 512}, "callback must be an http or https URL"),
        ({"retry": "30", "delay": "1h"}, "an emergency cannot be delayed"),
        ({"retry": "30", "cache": "no"}, "an emergency cannot be kept out of the cache"),
    ],
)
async def test_a_bad_value_is_refused(server: Server, fields: dict[str, str], words: str) -> None:
    parameters = {"priority": "5"} | fields
    async with server.http.post(f"{server.url}/alerts", data=b"x", headers=parameters) as response:
        body = await response.json()
    assert (response.status, body["code"]) == (400, 40091)
    assert words in body["error"]
    assert await server.poll("alerts") == []


async def test_an_emergency_can_be_published_as_json(server: Server) -> None:
    body = {"topic": "alerts", "message": "Fire", "priority": 5, "retry": 30, "expire": "5m"}
    async with server.http.post(server.url, json=body) as response:
        assert (await response.json())["receipt"]
    await server.clock.advance(30)
    assert len(await sent(server, "alerts", 2)) == 2


async def test_the_publishers_own_buttons_come_after_ours(server: Server) -> None:
    fields = {"priority": "5", "retry": "30", "actions": "view, Look, https://example.com"}
    published = await server.publish("alerts", **fields)
    assert [action["label"] for action in published["actions"]] == ["Look"]
    (message,) = await sent(server, "alerts")
    assert [action["label"] for action in message["actions"]] == ["Acknowledge", "Look"]
    assert link_of(message)


async def test_an_accounts_emergency_is_its_own(server: Server) -> None:
    published = await server.publish("alerts", priority="5", retry="30", **PHIL)
    url = f"{server.url}/1/receipts/{published['receipt']}"
    async with server.http.get(f"{url}.json") as response:
        assert response.status == 400
    async with server.http.post(f"{url}/cancel.json") as response:
        assert response.status == 400
    async with server.http.get(f"{url}.json", headers=PHIL) as response:
        assert (await response.json())["expired"] == 0
    async with server.http.post(f"{url}/cancel.json", headers=PHIL) as response:
        assert (await response.json())["status"] == 1
    async with server.http.get(f"{url}.json", headers=PHIL) as response:
        assert (await response.json())["expired"] == 1


async def test_an_account_cancels_by_tag(server: Server) -> None:
    await server.publish("alerts", priority="5", retry="30", tags="disk", **PHIL)
    await server.publish("alerts", priority="5", retry="30", tags="disk")
    url = f"{server.url}/1/receipts/cancel_by_tag/disk.json"
    async with server.http.post(url, headers=PHIL) as response:
        assert (await response.json())["canceled"] == 1
    async with server.http.post(url) as response:
        assert response.status == 400
