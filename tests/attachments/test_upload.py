"""Files that come in by ntfy's API."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attachments.conftest import BASE_URL
from tests.attachments.sending import PNG, fetch, files, upload
from tests.conftest import Server, StartServer
from tests.ntfy.talking import NOW, PHIL, ask, error_of, hear, listen, tell
from tests.wire import Wire

LANES: dict[str, tuple[str, ...]] = {"front": (), "aiohttp": ("Keep-Alive: timeout=5",)}
EXPIRY_S = 3 * 3600


@pytest.mark.parametrize("lane", LANES.values(), ids=LANES)
async def test_a_file_becomes_the_attachment_of_a_message(server: Server, lane: tuple[str, ...]) -> None:
    reader = await listen(server, "t")
    message = await upload(server, PNG, "Filename: flower.png", "X-Message: look", *lane)
    assert message["attachment"] == {
        "name": "flower.png",
        "type": "image/png",
        "size": len(PNG),
        "expires": NOW + EXPIRY_S,
        "url": f"{BASE_URL}/file/{message['id']}.png",
    }
    assert message["message"] == "look"
    assert await hear(reader) == message == (await server.poll("t"))[0]
    answer = await fetch(server, message)
    assert (answer.status, answer.body) == (200, PNG)
    assert files(server) == [message["id"]]


@pytest.mark.parametrize(
    ("body", "headers", "name", "type_"),
    [
        (b"\xff\xfe\x00\x00\x01", (), "attachment.txt", "text/plain; charset=utf-16le"),
        (b"\x00\x01\x02\xff", (), "attachment.bin", "application/octet-stream"),
        (b"x" * 4097, (), "attachment.txt", "text/plain; charset=utf-8"),
        (b"tiny", ("Filename: note.md",), "note.md", "text/plain; charset=utf-8"),
        (b"PK\x03\x04", ("Filename: App.APK",), "App.APK", "application/vnd.android.package-archive"),
        (PNG, (), "attachment.png", "image/png"),
        (b"<html>", ("f: a.html",), "a.html", "text/html; charset=utf-8"),
    ],
)
async def test_what_is_no_short_text_is_a_file_with_a_name_and_a_type_by_its_bytes(
    server: Server, body: bytes, headers: tuple[str, ...], name: str, type_: str
) -> None:
    message = await upload(server, body, *headers)
    assert (message["attachment"]["name"], message["attachment"]["type"]) == (name, type_)
    assert message["message"] == f"You received a file: {name}"
    assert (await fetch(server, message)).body == body


async def test_an_empty_file_may_have_a_name(server: Server) -> None:
    message = await upload(server, b"", "Filename: empty")
    assert "size" not in message["attachment"]
    answer = await fetch(server, message)
    assert (answer.status, answer.body) == (200, b"")


async def test_the_text_of_a_json_publish_can_be_the_file(server: Server) -> None:
    body = json.dumps({"topic": "t", "filename": "a.txt", "message": "hi"})
    message = await tell(server, "POST /", body=body)
    assert message["message"] == "You received a file: a.txt"
    assert (await fetch(server, message)).body == b"hi"
    message = await tell(server, "POST /", body=json.dumps({"topic": "t", "message": "x" * 4097}))
    assert (await fetch(server, message)).body == b"x" * 4097
    message = await tell(server, "POST /", body=json.dumps({"topic": "t", "filename": "a.txt"}))
    assert (await fetch(server, message)).body == b"triggered"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.txt", "a.txt"),
        ("=?UTF-8?B?" + base64.b64encode("ex\u202egnp.exe".encode()).decode() + "?=", "ex gnp.exe"),
        ("=?UTF-8?Q?a=0D=0ASet-Cookie:_x?=", "a Set-Cookie: x"),
        ("..", "attachment.txt"),
        ("x" * 1000 + ".jpeg", "x" * 195 + ".jpeg"),
        ("naïve 😀.txt", "naïve 😀.txt"),
    ],
)
async def test_a_name_is_made_harmless(server: Server, sent: str, name: str) -> None:
    message = await upload(server, b"hi", f"Filename: {sent}")
    assert message["attachment"]["name"] == name
    disposition = (await fetch(server, message)).headers["content-disposition"]
    assert disposition.startswith("attachment; filename=")
    assert disposition.isascii()


async def test_without_an_address_of_its_own_a_server_takes_no_files(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL])
    assert await error_of(server, "PUT /t", "Filename: a.txt", body="hi") == 40014
    assert not (server.data_dir / "attachments").exists()
    assert await error_of(server, "GET /file/abcdefghijkl.txt") == 40401


async def test_a_file_over_the_limit_is_refused_before_it_is_sent(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, attachment_file_size_limit="10K")
    wire = await _put(server, "Content-Length: 10241", "Expect: 100-continue")
    assert (await wire.answer()).json()["code"] == 41301
    assert (await upload(server, b"x" * 10240))["attachment"]["size"] == 10240


async def _put(server: Server, *fields: str) -> Wire:
    wire = await server.wire()
    wire.send("PUT /t HTTP/1.1\r\nHost: test\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n")
    return wire


async def test_a_chunked_upload_is_cut_at_the_limit(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, attachment_file_size_limit="100K")
    wire = await _put(server, "Transfer-Encoding: chunked", "Filename: a.bin")
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    for _ in range(8):
        wire.send(chunk)
    assert (await wire.answer()).json()["code"] == 41301
    assert files(server) == []
    assert await server.poll("t") == []


async def test_an_upload_that_is_cut_off_leaves_nothing(server: Server) -> None:
    wire = await _put(server, "Content-Length: 1000000", "Filename: a.bin")
    wire.send(b"x" * 700_000)
    await _until(lambda: files(server) != [])
    wire.writer.close()
    await _until(lambda: files(server) == [])
    assert await server.poll("t") == []


async def test_an_upload_that_does_not_come_leaves_nothing(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL], base_url=BASE_URL, body_timeout="1s", body_minimum_rate="10M"
    )
    wire = await _put(server, "Content-Length: 1000000", "Filename: a.bin")
    wire.send(b"x" * 700_000)
    assert (await wire.answer()).json()["code"] == 40801
    assert files(server) == []


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_all_files_of_a_visitor_have_a_limit_together(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, visitor_attachment_total_size_limit="10K")
    auth = "Authorization: Basic " + base64.b64encode(b"phil:secret").decode()
    await upload(server, b"x" * 6000)
    assert await error_of(server, "PUT /t", body="x" * 6000) == 41301
    await upload(server, b"x" * 6000, auth)
    assert len(files(server)) == 2
    await server.clock.advance(EXPIRY_S + 61)
    async with asyncio.timeout(10):
        while files(server):  # removing them takes threads of their own, which the clock does not wait for
            await server.clock.advance(1)
    await upload(server, b"x" * 6000)


async def test_all_files_of_the_server_have_a_limit_together(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, attachment_total_size_limit="10K")
    auth = "Authorization: Basic " + base64.b64encode(b"phil:secret").decode()
    await upload(server, b"x" * 6000)
    assert await error_of(server, "PUT /t", auth, body="x" * 6000) == 41301


async def test_a_refused_file_costs_no_message(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL],
        base_url=BASE_URL,
        attachment_file_size_limit="1K",
        visitor_message_daily_limit=1,
        visitor_request_limit_exempt_hosts=[],
    )
    assert await error_of(server, "PUT /t", "Filename: a", body="x" * 2000) == 41301
    await upload(server, b"x", "Filename: a")


async def test_a_file_that_expires_before_its_message_comes_is_refused(server: Server) -> None:
    assert await error_of(server, "PUT /t", "Filename: a", "In: 4h", body="x") == 40015
    message = await upload(server, b"x", "Filename: a", "In: 2h")
    assert message["attachment"]["expires"] == NOW + EXPIRY_S
    assert (await fetch(server, message)).status == 200


async def test_a_file_does_not_outlive_its_message(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, cache_duration="30m")
    message = await upload(server, b"x", "Filename: a")
    assert message["attachment"]["expires"] == message["expires"] == NOW + 1800


async def test_the_file_of_a_message_that_is_not_kept_can_be_fetched(server: Server) -> None:
    message = await upload(server, b"x", "Filename: a", "Cache: no")
    assert (await fetch(server, message)).body == b"x"


async def test_the_file_of_an_erased_message_is_gone(server: Server) -> None:
    topic = PHIL["user-key"]
    auth = "Authorization: Basic " + base64.b64encode(b"phil:secret").decode()
    message = await upload(server, b"x", "Filename: a", auth, topic=topic)
    scheduled = await upload(server, b"x", "Filename: a", "In: 1h", "Sequence-ID: s", topic="u")
    await ask(server, "DELETE /u/s")
    assert (await fetch(server, scheduled)).status == 404
    await server.clock.advance(61)
    await _until(lambda: files(server) == [message["id"]])


async def test_files_and_their_sizes_survive_a_kill_in_the_middle_of_another_upload(
    start_server: StartServer, tmp_path: Path
) -> None:
    limits = {"visitor_attachment_total_size_limit": "10K", "accounts": [PHIL], "base_url": BASE_URL}
    script = f"""
import asyncio
from ntfyish.app import running
from ntfyish.settings import load
import aiohttp
async def main():
    settings = load({{"listen-http": "127.0.0.1:0", "data-dir": {str(tmp_path / "data")!r},
                      "base-url": {BASE_URL!r}}}, {{}}, None)
    async with running(settings) as server, aiohttp.ClientSession() as http:
        async with http.put(server.url + "/t", data=b"x" * 6000) as answer:
            print((await answer.json())["id"])
        reader = asyncio.StreamReader()
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        writer.write(b"PUT /t HTTP/1.1\\r\\nHost: x\\r\\nFilename: a\\r\\n")
        writer.write(b"Content-Length: 9000000\\r\\n\\r\\n")
        writer.write(b"x" * 4000000)
        import os, pathlib, signal
        folder = pathlib.Path({str(tmp_path / "data")!r}) / "attachments"
        while not any(path.stat().st_size > 1000000 for path in folder.glob(".*.part")):
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    # The clock of the test is behind, so nothing has expired there yet.
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await asyncio.wait_for(child.wait(), 60) == -9
    (tmp_path / "data" / "attachments" / "abcdefghijkl").write_bytes(b"never referred to")
    (tmp_path / "data" / "attachments" / "README").write_bytes(b"not ours")
    server = await start_server(**limits)
    (kept,) = (name for name in files(server) if name != "README")
    answer = await ask(server, f"GET /file/{kept}.txt")
    assert (answer.status, answer.body) == (200, b"x" * 6000)
    assert await error_of(server, "PUT /t", body="x" * 6000) == 41301


async def test_the_account_shows_what_files_may_take_and_have_taken(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL],
        base_url=BASE_URL,
        attachment_file_size_limit="2k",
        visitor_attachment_total_size_limit="3k",
        visitor_attachment_daily_bandwidth_limit="9k",
        attachment_expiry_duration="1h",
    )
    await upload(server, b"\xff" * 1000)
    shown = (await ask(server, "GET /v1/account")).json()
    limits = {name: amount for name, amount in shown["limits"].items() if name.startswith("attachment")}
    assert limits == {
        "attachment_total_size": 3072,
        "attachment_file_size": 2048,
        "attachment_expiry_duration": 3600,
        "attachment_bandwidth": 9216,
    }
    stats = shown["stats"]
    assert (stats["attachment_total_size"], stats["attachment_total_size_remaining"]) == (1000, 2072)
