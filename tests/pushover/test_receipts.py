"""Emergencies by Pushover's API, through the front door: repeats, receipts, acknowledgement, cancelling."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.clock import FakeClock
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer

OTHER_TOKEN = "aOtherOtherOtherOtherOtherOthe"
VERA = "uVeraVeraVeraVeraVeraVeraVera0"
GROUP = "gznej3rKEVAvPUxu9vvNnqpmZpokzF"
PEOPLE: dict[str, object] = {
    "accounts": [
        {"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["droid2"]},
        {"name": "vera", "user-key": VERA, "password": "secret"},
        {"name": "mute", "user-key": "uMuteMuteMuteMuteMuteMuteMute0", "password": "x", "stream": False},
    ],
    "apps": [
        {"name": "Backups", "token": APP_TOKEN, "account": "phil"},
        {"name": "Other", "token": OTHER_TOKEN, "account": "vera"},
    ],
}
WEEK_S = 7 * 86_400


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(**PEOPLE, cache_duration="30d")


async def ask(server: Server, method: str, path: str, **fields: str) -> tuple[int, dict[str, Any]]:
    place = {"params": fields} if method == "GET" else {"data": fields}
    async with server.http.request(method, f"{server.url}/1/{path}", **place) as response:  # type: ignore[arg-type]
        body = await response.json(content_type=None)
        body.pop("request")
        return response.status, body


async def send(server: Server, **fields: str) -> str:
    """Send an emergency and return its receipt."""
    parameters = {"token": APP_TOKEN, "user": USER_KEY, "message": "Fire", "priority": "2"}
    parameters |= {"retry": "60", "expire": "600"} | fields
    status, body = await ask(server, "POST", "messages.json", **parameters)
    assert (status, body["status"]) == (200, 1), body
    return str(body["receipt"])


async def read(server: Server, receipt: str, token: str = APP_TOKEN) -> dict[str, Any]:
    status, body = await ask(server, "GET", f"receipts/{receipt}.json", token=token)
    assert status == 200, body
    return body


async def sent(server: Server, topic: str = USER_KEY, count: int = 0) -> list[dict[str, Any]]:
    """Return what is in a topic, once there are `count` messages: what is due is written in a thread."""
    tries = 0
    async with asyncio.timeout(10):
        while True:
            async with server.http.get(f"{server.url}/{topic}/json?poll=1&since=all") as response:
                messages = [json.loads(line) for line in (await response.text()).splitlines()]
            if len(messages) >= max(count, 1):
                return messages
            # A timetable that was about to sleep when the clock was moved has overslept by that much.
            tries += 1
            await server.clock.advance(0 if tries % 20 else 0.25)


def link_of(message: dict[str, Any]) -> str:
    (button,) = [action for action in message["actions"] if action["label"] == "Acknowledge"]
    assert (button["action"], button["method"], button["clear"]) == ("http", "POST", True)
    return str(button["url"])


async def press(server: Server, message: dict[str, Any]) -> int:
    async with server.http.post(link_of(message)) as response:
        return response.status


UNKNOWN = {
    "receipt": "not found",
    "errors": ["receipt not found; may be invalid or expired"],
    "status": 0,
}


async def test_a_pending_receipt_has_all_fields(server: Server) -> None:
    now = int(server.clock.now())
    receipt = await send(server)
    assert re.fullmatch("r[A-Za-z0-9]{29}", receipt)
    assert await read(server, receipt) == {
        "acknowledged": 0,
        "acknowledged_at": 0,
        "acknowledged_by": "",
        "acknowledged_by_device": "",
        "last_delivered_at": now,
        "expired": 0,
        "expires_at": now + 600,
        "called_back": 0,
        "called_back_at": 0,
        "status": 1,
    }


async def test_a_receipt_can_be_read_as_xml(server: Server) -> None:
    receipt = await send(server)
    url = f"{server.url}/1/receipts/{receipt}.xml?token={APP_TOKEN}"
    async with server.http.get(url) as response:
        text = await response.text()
        assert response.content_type == "application/xml"
    assert "<acknowledged>0</acknowledged>" in text
    assert "<acknowledged_by></acknowledged_by>" in text
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?><response>')


async def test_a_message_is_sent_again_as_a_new_message_of_the_same_sequence(server: Server) -> None:
    receipt = await send(server)
    (first,) = await sent(server)
    await server.clock.advance(59.9)
    assert len(await sent(server)) == 1
    await server.clock.advance(0.2)
    again = (await sent(server, count=2))[1]
    assert again["id"] != first["id"]
    assert again["sequence_id"] == first["id"]
    assert again["receipt"] == first["receipt"] == receipt
    assert again["message"] == "Fire"
    assert again["priority"] == 5
    assert again["time"] == first["time"] + 60
    assert link_of(again) == link_of(first)
    assert (await read(server, receipt))["last_delivered_at"] == first["time"] + 60


async def test_repeats_end_with_the_expiry(server: Server) -> None:
    receipt = await send(server, retry="60", expire="150")
    await server.clock.advance(60)
    await sent(server, count=2)
    await server.clock.advance(60)
    await sent(server, count=3)
    await server.clock.advance(29)
    assert (await read(server, receipt))["expired"] == 0
    await server.clock.advance(1)
    assert (await read(server, receipt))["expired"] == 1
    await server.clock.advance(300)
    assert len(await sent(server)) == 3
    assert (await read(server, receipt))["acknowledged"] == 0


async def test_there_are_fifty_sends_at_most(server: Server) -> None:
    receipt = await send(server, retry="30", expire="10800")
    for count in range(2, 51):
        await server.clock.advance(30)
        assert len(await sent(server, count=count)) == count
    await server.clock.advance(1)
    assert (await read(server, receipt))["expired"] == 0
    await server.clock.advance(29)
    assert (await read(server, receipt))["expired"] == 1
    await server.clock.advance(300)
    assert len(await sent(server)) == 50


async def test_the_button_acknowledges_and_stops_the_repeats(server: Server) -> None:
    receipt = await send(server)
    (message,) = await sent(server)
    await server.clock.advance(10)
    now = int(server.clock.now())
    assert await press(server, message) == 200
    fields = await read(server, receipt)
    assert (fields["acknowledged"], fields["acknowledged_at"]) == (1, now)
    assert (fields["acknowledged_by"], fields["acknowledged_by_device"]) == (USER_KEY, "stream")
    assert fields["expired"] == 0
    await server.clock.advance(590)
    assert len(await sent(server)) == 1
    assert (await read(server, receipt))["expired"] == 1


async def test_a_link_that_is_only_looked_at_does_not_acknowledge(server: Server) -> None:
    receipt = await send(server)
    (message,) = await sent(server)
    async with server.http.get(link_of(message)) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert '<form method="post">' in await response.text()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    async with server.http.head(link_of(message)) as response:
        assert response.status == 200
    assert (await read(server, receipt))["acknowledged"] == 0


async def test_a_second_acknowledgement_changes_nothing(server: Server) -> None:
    receipt = await send(server, user=f"{USER_KEY},{VERA}")
    (phils,), (veras,) = await sent(server), await sent(server, VERA)
    assert link_of(phils) != link_of(veras)
    assert phils["receipt"] == veras["receipt"]
    assert await press(server, veras) == 200
    first = await read(server, receipt)
    await server.clock.advance(5)
    assert await press(server, phils) == 200
    assert await read(server, receipt) == first
    assert first["acknowledged_by"] == VERA
    await server.clock.advance(300)
    assert len(await sent(server)) == len(await sent(server, VERA)) == 1


async def test_it_is_too_late_to_acknowledge_after_the_expiry(server: Server) -> None:
    receipt = await send(server)
    (message,) = await sent(server)
    await server.clock.advance(600)
    assert await press(server, message) == 404
    assert (await read(server, receipt))["acknowledged"] == 0


@pytest.mark.parametrize("secret", ["x" * 30, "A" * 3000, "0"])
async def test_a_wrong_secret_acknowledges_nothing(server: Server, secret: str) -> None:
    receipt = await send(server)
    async with server.http.post(f"{server.url}/1/receipts/{receipt}/ack/{secret}") as response:
        assert response.status == 404
    async with server.http.get(f"{server.url}/1/receipts/{receipt}/ack/{secret}") as response:
        assert response.status == 404
    assert (await read(server, receipt))["acknowledged"] == 0


async def test_cancelling_stops_the_repeats(server: Server) -> None:
    receipt = await send(server)
    (message,) = await sent(server)
    await server.clock.advance(10)
    now = int(server.clock.now())
    for _ in range(2):
        assert await ask(server, "POST", f"receipts/{receipt}/cancel.json", token=APP_TOKEN) == (
            200,
            {"status": 1},
        )
        await server.clock.advance(1)
    fields = await read(server, receipt)
    assert (fields["acknowledged"], fields["expired"], fields["expires_at"]) == (0, 1, now)
    assert await press(server, message) == 404
    await server.clock.advance(300)
    assert len(await sent(server)) == 1


async def test_cancelling_by_tag_cancels_the_apps_own_pending_receipts(server: Server) -> None:
    tagged = [await send(server, tags="db,disk"), await send(server, tags=" disk ")]
    untagged = await send(server, tags="disks")
    foreign = await send(server, token=OTHER_TOKEN, tags="disk")
    acknowledged = await send(server, tags="disk", user=VERA)
    (message,) = await sent(server, VERA)
    assert await press(server, message) == 200
    path = "receipts/cancel_by_tag/disk.json"
    assert await ask(server, "POST", path, token=APP_TOKEN) == (200, {"canceled": 2, "status": 1})
    assert await ask(server, "POST", path, token=APP_TOKEN) == (200, {"canceled": 0, "status": 1})
    assert [(await read(server, receipt))["expired"] for receipt in tagged] == [1, 1]
    assert (await read(server, untagged))["expired"] == 0
    assert (await read(server, foreign, OTHER_TOKEN))["expired"] == 0
    assert (await read(server, acknowledged))["expired"] == 0


async def test_a_tag_may_hold_anything_that_a_path_can(server: Server) -> None:
    await send(server, tags="a/b ü.json")
    path = "receipts/cancel_by_tag/a%2Fb%20%C3%BC.json.json"
    assert await ask(server, "POST", path, token=APP_TOKEN) == (200, {"canceled": 1, "status": 1})


async def test_receipts_are_the_sending_apps_own(server: Server) -> None:
    receipt = await send(server)
    for method, path in (("GET", f"receipts/{receipt}.json"), ("POST", f"receipts/{receipt}/cancel.json")):
        assert await ask(server, method, path, token=OTHER_TOKEN) == (400, UNKNOWN)
        status, body = await ask(server, method, path, token="nonsense")
        assert (status, body["errors"]) == (400, ["application token is invalid"])
        status, body = await ask(server, method, path)
        assert (status, body["errors"]) == (400, ["application token is invalid"])
    assert await ask(server, "GET", f"receipts/{'r' * 30}.json", token=APP_TOKEN) == (400, UNKNOWN)


async def test_a_receipt_can_be_read_for_a_week(server: Server) -> None:
    receipt = await send(server)
    server.clock.set_wall(server.clock.now() + WEEK_S - 1)
    assert (await read(server, receipt))["expired"] == 1
    await server.clock.advance(1)
    assert await ask(server, "GET", f"receipts/{receipt}.json", token=APP_TOKEN) == (400, UNKNOWN)


async def test_an_emergency_for_nobody_has_a_receipt_that_was_never_delivered(server: Server) -> None:
    receipt = await send(server, user="uMuteMuteMuteMuteMuteMuteMute0")
    assert (await read(server, receipt))["last_delivered_at"] == 0
    await server.clock.advance(600)
    assert (await read(server, receipt))["expired"] == 1


async def test_after_a_restart_there_is_one_catch_up_and_then_the_regular_grid(
    start_server: StartServer,
) -> None:
    from ntfyish.app import running
    from ntfyish.settings import load

    server = await start_server(**PEOPLE)
    flags = {
        "listen-http": "127.0.0.1:0",
        "data-dir": str(server.data_dir / "second"),
        "visitor-request-limit-exempt-hosts": ["127.0.0.1"],
        **PEOPLE,
    }
    clock = FakeClock()
    begun = clock.now()
    async with running(load(flags, {}, None), clock) as run:
        server.url, server.clock = run.url, clock
        receipt = await send(server, expire="3000")
        lost = await send(server, user=VERA, expire="100")
    later = FakeClock(begun + 250)  # four have been missed, and the short one is over
    async with running(load(flags, {}, None), later) as run:
        server.url, server.clock = run.url, later
        assert [m["time"] - begun for m in await sent(server, count=2)] == [0, 250]
        assert len(await sent(server, VERA)) == 1
        await later.advance(49)
        assert len(await sent(server)) == 2
        await later.advance(1)
        await sent(server, count=3)
        await later.advance(60)
        assert [m["time"] - begun for m in await sent(server, count=4)] == [0, 250, 300, 360]
        assert (await read(server, receipt))["last_delivered_at"] == begun + 360
        assert (await read(server, lost))["expired"] == 1


async def test_repeats_reach_the_members_of_a_group_that_are_still_switched_on(
    start_server: StartServer,
) -> None:
    server = await start_server(
        **PEOPLE,
        groups=[
            {
                "name": "oncall",
                "key": GROUP,
                "account": "phil",
                "members": [{"account": "phil"}, {"account": "vera"}],
            }
        ],
    )
    receipt = await send(server, user=GROUP)
    assert len(await sent(server)) == len(await sent(server, VERA)) == 1
    await server.clock.advance(60)
    await sent(server, count=2)
    assert await press(server, (await sent(server, VERA))[1]) == 200
    assert (await read(server, receipt))["acknowledged_by"] == VERA


async def test_a_member_that_is_switched_off_gets_no_more_repeats(server: Server) -> None:
    _, made = await ask(server, "POST", "groups.json", token=APP_TOKEN, name="oncall")
    group = str(made["group"])
    for key, device in ((USER_KEY, "droid2"), (VERA, "")):
        fields = {"token": APP_TOKEN, "user": key, "device": device}
        assert (await ask(server, "POST", f"groups/{group}/add_user.json", **fields))[0] == 200
    await send(server, user=group)
    fields = {"token": APP_TOKEN, "user": VERA}
    assert (await ask(server, "POST", f"groups/{group}/disable_user.json", **fields))[0] == 200
    await server.clock.advance(60)
    first, again = await sent(server, count=2)
    assert first["device"] == again["device"] == "droid2"
    assert len(await sent(server, VERA)) == 1


async def test_messages_that_are_not_kept_are_sent_again_to_those_who_listen(
    start_server: StartServer,
) -> None:
    server = await start_server(**PEOPLE, cache_duration="0")
    wire = await server.wire()
    wire.send_request(f"GET /{USER_KEY}/json")
    assert (await wire.head())[0] == 200
    assert (await wire.json_line())["event"] == "open"
    await send(server, retry="30")
    first = await wire.json_line()
    await server.clock.advance(30)
    assert (await wire.json_line())["sequence_id"] == first["id"]


async def test_without_a_known_address_there_is_no_button(start_server: StartServer) -> None:
    server = await start_server(**PEOPLE, behind_proxy=True)
    await send(server)
    (message,) = await sent(server)
    assert "actions" not in message


async def test_links_begin_with_the_servers_own_address(start_server: StartServer) -> None:
    server = await start_server(**PEOPLE, base_url="https://push.example.com")
    receipt = await send(server)
    (message,) = await sent(server)
    assert link_of(message).startswith(f"https://push.example.com/1/receipts/{receipt}/ack/")


async def test_other_methods_are_refused(server: Server) -> None:
    receipt = await send(server)
    for method, path in (("POST", f"receipts/{receipt}.json"), ("GET", f"receipts/{receipt}/cancel.json")):
        status, _ = await ask(server, method, path, token=APP_TOKEN)
        assert status == 405
