"""Clients that people use with Pushover, unchanged but for the URL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from apprise import AppriseAttachment, NotifyType
from apprise.plugins.pushover import NotifyPushover

from tests.attachments.sending import PNG, fetch
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer

GROUP = "gznej3rKEVAvPUxu9vvNnqpmZpokzF"


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    members = [{"account": "phil", "device": "pad"}]
    return await start_server(
        accounts=[{"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["pad"]}],
        groups=[{"name": "oncall", "key": GROUP, "account": "phil", "members": members}],
        base_url="https://push.example.com",
    )


async def notify(server: Server, query: str = "", targets: str = "", **options: Any) -> bool:
    """Send with Apprise's plug-in for Pushover, as configured by an Apprise URL."""
    plugin = NotifyPushover(
        **NotifyPushover.parse_url(f"pover://{USER_KEY}@{APP_TOKEN}{targets}/?{query}&overflow=split")
    )
    plugin.notify_url = f"{server.url}/1/messages.json"
    plugin.request_rate_per_sec = 0
    return bool(await asyncio.to_thread(plugin.notify, notify_type=NotifyType.INFO, **options))


async def test_apprise_sends(server: Server) -> None:
    query = "priority=high&sound=bike&url=https://x.org/&url_title=Look"
    assert await notify(server, query, body="a\nb", title="Grüße")
    (message,) = await server.poll(USER_KEY)
    assert (message["title"], message["message"], message["priority"]) == ("Grüße", "a\nb", 4)
    assert (message["sound"], message["click"]) == ("bike", "https://x.org/")
    assert "receipt" not in message


async def test_apprise_sends_to_a_device_and_to_a_group(server: Server) -> None:
    assert await notify(server, targets=f"/pad/%23{GROUP}", body="hi")
    assert [message["device"] for message in await server.poll(USER_KEY)] == ["pad", "pad"]


async def test_apprise_sends_an_emergency_that_is_repeated(server: Server) -> None:
    assert await notify(server, "priority=emergency&interval=60&expire=600", body="Fire")
    (first,) = await server.poll(USER_KEY)
    assert first["priority"] == 5
    async with server.http.get(f"{server.url}/1/receipts/{first['receipt']}.xml?token={APP_TOKEN}") as answer:
        receipt = ElementTree.fromstring(await answer.text())
    assert receipt.tag == "response"
    assert receipt.findtext("expires_at") == str(first["time"] + 600)
    assert receipt.findtext("acknowledged") == "0"
    await server.clock.advance(60)
    async with asyncio.timeout(10):
        while len(await server.poll(USER_KEY)) < 2:
            await server.clock.advance(0.01)


async def test_apprise_sends_a_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "door.png"
    file.write_bytes(PNG)
    assert await notify(server, body="Somebody is there", attach=AppriseAttachment(str(file)))
    (message,) = await server.poll(USER_KEY)
    assert message["message"] == "Somebody is there"
    assert message["attachment"]["name"] == "door.png"
    assert (await fetch(server, message)).body == PNG


async def test_apprise_says_that_a_refused_message_was_not_sent(server: Server) -> None:
    assert not await notify(server, targets=f"/%23{'g' * 30}", body="hi")
    assert await server.poll(USER_KEY) == []


async def test_curl_sends_as_pushovers_documentation_shows(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "door.png"
    file.write_bytes(PNG)
    fields = {"token": APP_TOKEN, "user": USER_KEY, "message": "hello; world @home"}
    strings = [part for name, value in fields.items() for part in ("--form-string", f"{name}={value}")]
    url = f"{server.url}/1/messages.json"
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", "-f", *strings, "-F", f"attachment=@{file}", url, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    (message,) = await server.poll(USER_KEY)
    assert message["message"] == "hello; world @home"
    assert (await fetch(server, message)).body == PNG
