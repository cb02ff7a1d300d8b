"""Files that are handed out: to whom, how safely, in which pieces, and at whose cost."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.web.files import find_range
from tests.attachments.conftest import BASE_URL
from tests.attachments.sending import PNG, fetch, path_of, upload
from tests.conftest import Server, StartServer
from tests.ntfy.talking import PHIL, ask
from tests.wire import open_wire

DATA = bytes(range(256)) * 40


async def test_a_file_is_served_so_that_nothing_can_run(server: Server) -> None:
    message = await upload(server, DATA, "Filename: a.bin")
    answer = await fetch(server, message)
    assert answer.body == DATA
    headers = answer.headers
    assert headers["content-length"] == str(len(DATA))
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-disposition"] == 'attachment; filename="a.bin"'
    assert headers["cache-control"] == "private, max-age=10800, immutable"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("body", "name", "served", "inline"),
    [
        (PNG, "a.png", "image/png", True),
        (b"<!DOCTYPE html><script>alert(1)</script>", "a.png", "text/plain; charset=utf-8", False),
        (b"<svg onload=alert(1)>", "a.svg", "text/plain; charset=utf-8", False),
        (b'<?xml version="1.0"?><svg>', "a.svg", "text/plain; charset=utf-8", False),
        (b'<?xml version="1.0"?><a/>', "a.xml", "text/plain; charset=utf-8", False),
        (b"alert(1)", "a.js", "text/plain; charset=utf-8", False),
        (b"%PDF-1.7", "a.pdf", "application/pdf", False),
        (b"GIF89a/*<script>*/=1", "a.gif", "image/gif", True),
    ],
)
async def test_only_pictures_are_shown_and_nothing_active_keeps_its_type(
    server: Server, body: bytes, name: str, served: str, inline: bool
) -> None:
    message = await upload(server, body, f"Filename: {name}")
    headers = (await fetch(server, message)).headers
    assert headers["content-type"] == served
    assert headers["content-disposition"].startswith("inline" if inline else "attachment")


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ('a";b.txt', "attachment; filename=\"a_;b.txt\"; filename*=UTF-8''a%22%3Bb.txt"),
        ("ü 100%.txt", "attachment; filename=\"_ 100_.txt\"; filename*=UTF-8''%C3%BC%20100%25.txt"),
    ],
)
async def test_a_name_is_written_for_old_and_new_clients(server: Server, name: str, disposition: str) -> None:
    message = await upload(server, b"x", f"Filename: {name}")
    assert (await fetch(server, message)).headers["content-disposition"] == disposition


@pytest.mark.parametrize(
    "path",
    [
        "/file/../../etc/passwd",
        "/file/%2e%2e/%2e%2e/etc/passwd",
        "/file/..%2f..%2fetc%2fpasswd",
        "/file/..%2fmessages.db",
        "/file/abcdefghijkl%00.png",
        "/file/" + "a" * 5000,
        "/file/abcdefghijk",
        "/file/abcdefghijklm",
        "/file/abcdefghijkl.p.g",
        "/file/abcdefghijk.",
        "/file/.abcdefghijkl.part",
        "/file/abcdefghijkl/",
        "/file/abcdefghijk%C3%A9",
        "/file/abcdefghijk%D9%A3",
        "/file/",
        "/file/abcdefghijkl",
    ],
)
async def test_no_path_leads_to_anything_else(server: Server, path: str) -> None:
    await upload(server, b"x", "Filename: a")
    assert (await ask(server, f"GET {path}")).status in (400, 404)


async def test_a_link_in_the_folder_is_not_followed(server: Server) -> None:
    message = await upload(server, b"x" * 8, "Filename: a")
    file = server.data_dir / "attachments" / message["id"]
    file.unlink()
    secret = server.data_dir / "secret"
    secret.write_bytes(b"password")
    os.symlink(secret, file)
    assert (await fetch(server, message)).status == 404


async def test_a_file_that_somebody_has_changed_is_not_served(server: Server) -> None:
    message = await upload(server, b"x" * 8, "Filename: a")
    (server.data_dir / "attachments" / message["id"]).write_bytes(b"x")
    assert (await fetch(server, message)).status == 404


async def test_a_file_ends_with_its_time(server: Server) -> None:
    message = await upload(server, b"x", "Filename: a")
    server.clock.set_wall(message["attachment"]["expires"] - 1)
    assert (await fetch(server, message)).status == 200
    server.clock.set_wall(message["attachment"]["expires"])
    assert (await fetch(server, message)).status == 404


@pytest.mark.parametrize(
    ("text", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=10-", 206, 10, len(DATA)),
        ("bytes=-10", 206, len(DATA) - 10, len(DATA)),
        ("bytes=-999999", 206, 0, len(DATA)),
        ("bytes=5-999999", 206, 5, len(DATA)),
        ("Bytes = 5 - 6", 206, 5, 7),
        (f"bytes={len(DATA)}-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=20-10", 200, 0, len(DATA)),
        ("bytes=0-1,5-6", 200, 0, len(DATA)),
        ("bytes=" + ",".join(["0-0"] * 1000), 200, 0, len(DATA)),
        ("bytes=\u0663-", 200, 0, len(DATA)),
        ("bytes=-", 200, 0, len(DATA)),
        ("bytes=a-b", 200, 0, len(DATA)),
        ("bytes=0x1-", 200, 0, len(DATA)),
        ("bytes=1-99999999999999999999999", 200, 0, len(DATA)),
        ("items=0-1", 200, 0, len(DATA)),
        ("bytes", 200, 0, len(DATA)),
    ],
)
async def test_a_single_range_is_served_and_a_strange_one_ignored(
    server: Server, text: str, status: int, start: int, end: int
) -> None:
    message = await upload(server, DATA, "Filename: a.bin")
    answer = await fetch(server, message, f"Range: {text}")
    assert (answer.status, answer.body) == (status, DATA[start:end])
    content_range = {206: f"bytes {start}-{end - 1}/{len(DATA)}", 416: f"bytes */{len(DATA)}"}.get(status)
    assert answer.headers.get("content-range") == content_range


async def test_if_range_decides_between_the_rest_and_the_whole(server: Server) -> None:
    message = await upload(server, DATA, "Filename: a.bin")
    etag = (await fetch(server, message)).headers["etag"]
    for value, status in ((etag, 206), (f"W/{etag}", 200), ('"other"', 200), ("Wed, 21 Oct 2015", 200)):
        answer = await fetch(server, message, "Range: bytes=1-2", f"If-Range: {value}")
        assert answer.status == status
    answer = await fetch(server, message, f'If-None-Match: "x", W/{etag}')
    assert (answer.status, answer.body) == (304, b"")


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True), st.integers(0, 999)
)
def test_a_range_never_leaves_the_file(text: str, size: int) -> None:
    found = find_range(text, size)
    if found is not None and found[0] < found[1]:
        assert 0 <= found[0] < found[1] <= size


async def test_head_tells_the_size_and_is_not_charged(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL], base_url=BASE_URL, visitor_attachment_daily_bandwidth_limit="25K"
    )
    message = await upload(server, DATA, "Filename: a.bin")  # 10,240 bytes
    for _ in range(5):
        answer = await fetch(server, message, method="HEAD")
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(DATA)))
    assert (await fetch(server, message)).status == 200
    refused = await fetch(server, message)
    assert (refused.status, refused.json()["code"]) == (429, 42905)
    assert int(refused.headers["retry-after"]) > 0
    assert (await fetch(server, message, "Range: bytes=0-9")).status == 206
    upload_refused = await ask(server, "PUT /t", "Filename: b", body=DATA)
    assert upload_refused.json()["code"] == 41301
    await server.clock.advance(2 * 3600)  # past midnight
    assert (await fetch(server, message)).status == 200


async def test_many_paths_or_a_head_for_what_is_not_there_say_so(server: Server) -> None:
    wire = await server.wire()
    wire.send_request("HEAD /file/abcdefghijkl.png")
    assert (await wire.head())[0] == 404
    assert await wire.is_silent()


async def test_with_signed_access_only_the_whole_address_opens(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], base_url=BASE_URL, attachment_access="signed")
    message = await upload(server, PNG, "Filename: a.png")
    other = await upload(server, b"x", "Filename: b.txt")
    path = path_of(message)
    assert (await ask(server, f"GET {path}")).body == PNG
    plain, _, query = path.partition("?")
    later = query.replace("expires=1", "expires=2")
    for address in (
        plain,
        f"{plain}?{query[:-1]}",
        f"{plain}?{later}",
        f"{path_of(other).partition('?')[0]}?{query}",
        f"{plain}?expires=&signature=",
        f"{plain}?expires=%D9%A3&signature=%FF",
        "/file/abcdefghijkl.png",
    ):
        answer = await ask(server, f"GET {address}")
        assert (answer.status, answer.json()["code"]) == (403, 40301), address


async def test_a_reader_that_does_not_read_is_let_go(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL], base_url=BASE_URL, body_timeout="1s", body_minimum_rate="100M"
    )
    message = await upload(server, b"x" * 8_000_000, "Filename: a.bin")
    async with open_wire(server.port, receive_buffer=4096) as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wire.send_request(f"GET {path_of(message)}")
        await asyncio.sleep(1.5)
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await wire.at_end()) < 8_000_000
    assert (await fetch(server, message)).status == 200
