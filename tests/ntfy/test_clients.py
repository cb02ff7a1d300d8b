"""Client libraries that people use, unchanged but for the URL."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import requests
import sseclient
import websockets
from apprise import AppriseAttachment, NotifyType
from apprise.plugins.ntfy import NotifyNtfy
from httpx_sse import aconnect_sse

from tests.conftest import USER_KEY, Server, StartServer
from tests.ntfy.talking import PHIL, hear, listen, tell

LOGIN = "Basic " + base64.b64encode(b"phil:secret").decode()

# Requests: the examples in ntfy's documentation


async def test_requests_publishes(server: Server) -> None:
    def publish() -> Any:
        return requests.post(
            f"{server.url}/mytopic",
            data="Backup successful 😀".encode(),
            headers={
                "Title": "Unauthorized access detected",
                "Priority": "urgent",
                "Tags": "warning,skull",
                "Actions": "http, Close door, https://x.lan/, method=PUT, headers.Authorization=Bearer z",
            },
            timeout=10,
        ).json()

    message = await asyncio.to_thread(publish)
    assert message["message"] == "Backup successful 😀"
    assert (message["priority"], message["tags"]) == (5, ["warning", "skull"])
    assert message["actions"][0]["headers"] == {"Authorization": "Bearer z"}
    assert await server.poll("mytopic") == [message]


async def test_requests_publishes_json_and_files_of_text(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text("one\ntwo\n")

    def publish() -> list[Any]:
        body = json.dumps({"topic": "mytopic", "message": "Disk space is low", "tags": ["warning", "cd"]})
        with file.open("rb") as opened:
            return [
                requests.post(server.url, data=body, timeout=10).json(),
                requests.put(f"{server.url}/mytopic", data=opened, timeout=10).json(),
                requests.put(f"{server.url}/mytopic", data=iter([b"in ", b"chunks"]), timeout=10).json(),
            ]

    messages = await asyncio.to_thread(publish)
    assert [message["message"] for message in messages] == ["Disk space is low", "one\ntwo", "in chunks"]
    assert await server.poll("mytopic") == messages


async def test_requests_reads_a_stream_line_by_line(server: Server) -> None:
    def read() -> Iterator[str]:
        with requests.get(f"{server.url}/disk-alerts/json", stream=True, timeout=10) as response:
            for line in response.iter_lines():
                if line:
                    yield line.decode()

    lines = read()
    opening = json.loads(await asyncio.to_thread(next, lines))
    assert (opening["event"], opening["topic"]) == ("open", "disk-alerts")
    sent = [await tell(server, "PUT /disk-alerts", body=text) for text in ("Disk full", "two\nlines")]
    assert [json.loads(await asyncio.to_thread(next, lines)) for _ in sent] == sent
    await asyncio.to_thread(lines.close)  # type: ignore[attr-defined]


# Apprise


async def notify(url: str, *args: Any, **options: Any) -> bool:
    """Send with Apprise's plug-in for ntfy, as configured by an Apprise URL."""
    plugin = NotifyNtfy(**NotifyNtfy.parse_url(url))
    plugin.request_rate_per_sec = 0
    return bool(await asyncio.to_thread(plugin.notify, *args, **options))


async def test_apprise_publishes(server: Server) -> None:
    url = f"ntfy://127.0.0.1:{server.port}/t?priority=high&tags=a,b&click=https://x.org&delay=1h&image=no"
    assert await notify(url, body="a\nb", title="Grüße", notify_type=NotifyType.INFO)
    (message,) = await server.poll("t", "scheduled=1")
    assert (message["title"], message["message"], message["priority"]) == ("Grüße", "a\nb", 4)
    assert (message["tags"], message["click"]) == (["a", "b"], "https://x.org")
    assert message["time"] == message["expires"] - 12 * 3600 == server.clock.now() + 3600


async def test_apprise_publishes_to_several_topics_with_icon_and_actions(server: Server) -> None:
    url = (
        f"ntfy://127.0.0.1:{server.port}/t/u?image=yes"
        "&actions=view,Open,https://x.org%3Bhttp,Go,https://x.org,method=PUT"
    )
    assert await notify(url, body="hi", notify_type=NotifyType.WARNING)
    for topic in ("t", "u"):
        (message,) = await server.poll(topic)
        assert message["icon"].startswith("https://")
        assert [action["action"] for action in message["actions"]] == ["view", "http"]


async def test_apprise_logs_in_by_password_and_token(start_server: StartServer) -> None:
    token = "tk_abcdefghijklmnopqrstuvwxyz012"
    server = await start_server(
        auth_default_access="deny-all", accounts=[PHIL], auth_tokens=[f"phil:{token}"]
    )
    host = f"127.0.0.1:{server.port}"
    assert await notify(f"ntfy://phil:secret@{host}/{USER_KEY}", body="1")
    assert await notify(f"ntfy://{token}@{host}/{USER_KEY}", body="2")
    assert not await notify(f"ntfy://phil:wrong@{host}/{USER_KEY}", body="3")
    assert not await notify(f"ntfy://phil:secret@{host}/t", body="4")
    reader = await listen(server, USER_KEY, f"Authorization: {LOGIN}", "Since: all")
    assert [(await hear(reader))["message"] for _ in range(2)] == ["1", "2"]


async def test_apprise_hears_that_a_file_is_not_taken(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("tiny")
    url = f"ntfy://127.0.0.1:{server.port}/t"
    assert not await notify(url, body="hi", attach=AppriseAttachment(str(file)))


# Server-sent events


async def test_sseclient_reads_a_stream(server: Server) -> None:
    response = await asyncio.to_thread(requests.get, f"{server.url}/mytopic/sse", stream=True, timeout=10)
    events = sseclient.SSEClient(response).events()
    opening = await asyncio.to_thread(next, events)
    assert (opening.event, json.loads(opening.data)["topic"]) == ("open", "mytopic")
    sent = await tell(server, "PUT /mytopic", body="Hi!\r\n\u2028there")
    event = await asyncio.to_thread(next, events)
    assert (event.event, event.id, json.loads(event.data)) == ("message", sent["id"], sent)
    await server.clock.advance(45)
    assert (await asyncio.to_thread(next, events)).event == "keepalive"
    await asyncio.to_thread(response.close)


async def test_httpx_sse_resumes_by_the_last_event_id(server: Server) -> None:
    url = f"{server.url}/mytopic/sse"
    async with httpx.AsyncClient(timeout=10) as client:
        async with aconnect_sse(client, "GET", url) as source:
            events = source.aiter_sse()
            assert (await anext(events)).event == "open"
            first = await tell(server, "PUT /mytopic", body="first")
            seen = await anext(events)
            assert seen.json() == first
        missed = [await tell(server, "PUT /mytopic", body=text) for text in ("second", "third")]
        for options in ({"headers": {"Last-Event-ID": seen.id}}, {"params": {"lastEventId": seen.id}}):
            async with aconnect_sse(client, "GET", url, **options) as source:
                events = source.aiter_sse()
                assert (await anext(events)).event == "open"
                assert [(await anext(events)).json() for _ in missed] == missed


# WebSockets


async def test_websockets_reads_a_stream_and_says_goodbye(server: Server) -> None:
    old = await tell(server, "PUT /a", body="old")
    url = f"ws://127.0.0.1:{server.port}/a,b/ws?since=all"
    async with websockets.connect(url) as connection:
        opening = json.loads(await connection.recv())
        assert (opening["event"], opening["topic"]) == ("open", "a,b")
        sent = [await tell(server, "PUT /b", body="x" * size) for size in (1, 200, 4096)]
        assert [json.loads(await connection.recv()) for _ in range(4)] == [old, *sent]
        await (await connection.ping(b"are you there"))
        await server.clock.advance(45)  # the server pings; the library answers
        gone = await tell(server, "DELETE /a/s")
        assert json.loads(await connection.recv()) == gone
    assert connection.close_code == 1000
    assert not server.running.streams.open


async def test_websockets_polls(server: Server) -> None:
    old = await tell(server, "PUT /t", body="old")
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/t/ws?poll=1") as connection:
        texts: list[Any] = []
        try:
            while True:
                texts.append(json.loads(await connection.recv()))
        except websockets.ConnectionClosed:
            pass
    assert texts == [old]


async def test_websockets_sees_the_status_of_a_refusal(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", accounts=[PHIL])
    url = f"ws://127.0.0.1:{server.port}/{USER_KEY}/ws"

    async def status_of(*, query: str = "", headers: dict[str, str] | None = None) -> int:
        try:
            async with websockets.connect(url + query, additional_headers=headers):
                return 101
        except websockets.InvalidStatus as refusal:
            return int(refusal.response.status_code)

    hidden = base64.urlsafe_b64encode(LOGIN.encode()).decode().rstrip("=")
    assert await status_of() == 403
    assert await status_of(headers={"Authorization": "Bearer tk_wrong"}) == 401
    assert await status_of(headers={"Authorization": LOGIN}) == 101
    assert await status_of(query=f"?auth={hidden}") == 101
    assert await status_of(query=f"?auth={hidden}&since=banana") == 400
