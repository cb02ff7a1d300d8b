"""Subscribing over WebSocket: the handshake, frames both ways, and what a client may not do."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from tests.conftest import Server
from tests.wire import Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)


async def open_socket(server: Server, path: str = "/t/ws") -> Wire:
    wire = await server.wire()
    wire.send_request(f"GET {path}", *HANDSHAKE)
    status, headers = await wire.head()
    assert status == 101
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    return wire


async def frame(wire: Wire) -> tuple[int, bytes]:
    first, second = await wire.reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await wire.reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await wire.reader.readexactly(8))
    assert not second & 0x80
    return first, await wire.reader.readexactly(length)


async def message(wire: Wire) -> dict[str, Any]:
    first, payload = await frame(wire)
    assert first == 0x81
    assert payload.endswith(b"}\n")
    return dict(json.loads(payload))


def client_frame(
    first: int, payload: bytes = b"", *, length: int | None = None, masked: bool = True
) -> bytes:
    size = len(payload) if length is None else length
    head = bytes([first])
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65536:
        head += bytes([mask_bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", size)
    mask = b"\x01\x02\x03\x04" if masked else b""
    if masked:
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head + mask + payload


async def test_a_websocket_carries_open_history_and_live(server: Server) -> None:
    first = await server.publish("t", "1")
    wire = await open_socket(server, "/t/ws?since=all")
    opening = await message(wire)
    assert (opening["event"], opening["topic"]) == ("open", "t")
    assert await message(wire) == first
    for size in (10, 200, 4000):
        published = await server.publish("t", "x" * size)
        assert await message(wire) == published


async def test_a_keepalive_is_a_ping_and_nothing_else(server: Server) -> None:
    wire = await open_socket(server)
    await message(wire)
    await server.clock.advance(45)
    assert await frame(wire) == (0x89, b"")


async def test_a_poll_ends_without_a_close_frame(server: Server) -> None:
    published = await server.publish("t")
    wire = await open_socket(server, "/t/ws?poll=1")
    assert await message(wire) == published
    assert await wire.at_end() == b""


async def test_pings_are_answered_and_everything_else_ignored(server: Server) -> None:
    wire = await open_socket(server)
    await message(wire)
    wire.send(
        client_frame(0x81, "grüße".encode()) + client_frame(0x82, b"\xff" * 64) + client_frame(0x8A, b"x")
    )
    wire.send(client_frame(0x01, b"a\xc3") + client_frame(0x89, b"now") + client_frame(0x80, b"\xa4"))
    assert await frame(wire) == (0x8A, b"now")
    for byte in client_frame(0x89, b"in pieces"):
        wire.send(bytes([byte]))
        await wire.writer.drain()
    assert await frame(wire) == (0x8A, b"in pieces")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (client_frame(0x81, b"hi", masked=False), 1002),
        (client_frame(0xC1, b"hi"), 1002),
        (client_frame(0x83, b"hi"), 1002),
        (client_frame(0x8B, b"hi"), 1002),
        (client_frame(0x09, b"hi"), 1002),
        (client_frame(0x89, b"x" * 126), 1002),
        (client_frame(0x80, b"hi"), 1002),
        (client_frame(0x01, b"a") + client_frame(0x81, b"b"), 1002),
        (client_frame(0x88, b"\x03"), 1002),
        (client_frame(0x88, b"\x03\xed"), 1002),
        (client_frame(0x88, b"\x03\xe8\xff"), 1007),
        (client_frame(0x81, b"\xff"), 1007),
        (client_frame(0x81, b"\xc3"), 1007),
        (client_frame(0x81, b"x" * 65), 1009),
        (client_frame(0x01, b"x" * 40) + client_frame(0x80, b"x" * 25), 1009),
        (client_frame(0x82, b"", length=2**62), 1009),
        (client_frame(0x82, b"", length=2**63 + 1), 1009),
        (client_frame(0x82, b"", length=70_000), 1009),
        (client_frame(0x88, b"\x03\xe8bye"), 1000),
        (client_frame(0x89) * 1000, 1008),
    ],
)
async def test_a_client_that_breaks_the_protocol_hears_why(server: Server, sent: bytes, code: int) -> None:
    other = await open_socket(server)
    await message(other)
    wire = await open_socket(server)
    await message(wire)
    wire.send(sent)
    while (received := await frame(wire))[0] == 0x8A:
        pass
    assert received == (0x88, struct.pack(">H", code))
    assert await wire.at_end() == b""
    published = await server.publish("t")
    assert await message(other) == published


async def test_a_close_without_a_reason_is_answered_alike(server: Server) -> None:
    wire = await open_socket(server)
    await message(wire)
    wire.send(client_frame(0x88))
    assert await frame(wire) == (0x88, b"")
    assert await wire.at_end() == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 400),
        (HANDSHAKE[:1], 400),
        (HANDSHAKE[1:], 400),
        ((*HANDSHAKE[:2], HANDSHAKE[3]), 400),
        ((*HANDSHAKE[:2], "Sec-WebSocket-Key: short", HANDSHAKE[3]), 400),
        ((*HANDSHAKE[:2], "Sec-WebSocket-Key: " + base64.b64encode(b"x" * 15).decode(), HANDSHAKE[3]), 400),
        (HANDSHAKE[:3], 426),
        ((*HANDSHAKE[:3], "Sec-WebSocket-Version: 8"), 426),
        ((*HANDSHAKE, f"Sec-WebSocket-Key: {base64.b64encode(b'y' * 16).decode()}"), 400),
    ],
)
async def test_a_bad_handshake_is_refused(server: Server, headers: tuple[str, ...], status: int) -> None:
    wire = await server.wire()
    answer = await wire.request("GET /t/ws", *headers)
    assert answer.status == status
    if headers[:2] == HANDSHAKE[:2]:
        assert answer.body == b""
    else:
        assert answer.json()["code"] == 40016


async def test_errors_before_the_upgrade_are_a_bare_status(server: Server) -> None:
    wire = await server.wire()
    answer = await wire.request("GET /t/ws?since=nonsense", *HANDSHAKE)
    assert (answer.status, answer.body) == (400, b"")


async def test_a_real_client_library_subscribes(server: Server) -> None:
    async with server.http.ws_connect(f"{server.url}/t/ws", heartbeat=60) as socket:
        assert (await socket.receive_json())["event"] == "open"
        published = await server.publish("t", "grüße 🎉")
        assert await socket.receive_json() == published
