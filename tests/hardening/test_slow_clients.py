"""Clients that say too little, read too little or have vanished: they are cut, and nobody else notices."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
import struct
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ntfyish.app import running
from ntfyish.settings import load
from tests.conftest import Server, StartServer
from tests.hardening.process import PEOPLE, Processes
from tests.hardening.waiting import until
from tests.wire import Wire, open_wire

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SO_ATTACH_FILTER = 26


async def test_a_thousand_silent_connections_hold_nobody_up_and_are_cut(start_server: StartServer) -> None:
    server = await start_server(header_timeout="20s")
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(open_wire(server.port)) for _ in range(1000)]
        async with asyncio.timeout(2):
            for number in range(20):
                await server.publish("t", str(number))
        await server.clock.advance(19)
        idle = await server.wire()
        assert (await idle.request("POST /t")).status == 200
        await server.clock.advance(11)
        assert [await wire.at_end() for wire in silent] == [b""] * 1000
        # The one that had something to say 11 seconds ago is still welcome.
        assert (await idle.request("POST /t")).status == 200


async def drip(wire: Wire, pieces: list[bytes], pause_s: float) -> bytes:
    """Send one piece after the other until the server ends it; return its answer."""

    async def send() -> None:
        for piece in pieces:
            wire.send(piece)
            await asyncio.sleep(pause_s)

    sending = asyncio.create_task(send())
    try:
        return await wire.at_end()
    finally:
        sending.cancel()


async def drip_all(server: Server, all_pieces: dict[str, list[bytes]]) -> dict[str, bytes]:
    """Drip each on a connection of its own, side by side."""
    async with asyncio.timeout(6), AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(open_wire(server.port)) for _ in all_pieces]
        dripping = [drip(wire, pieces, 0.05) for wire, pieces in zip(wires, all_pieces.values(), strict=True)]
        return dict(zip(all_pieces, await asyncio.gather(*dripping), strict=True))


HEAD = b"POST /t HTTP/1.1\r\nHost: test\r\n"
DRIPPING = {
    "the first byte": [b"P"],
    "half a request line": [b"POST /t"],
    "a line without an end": [HEAD],
    "a header per moment": [HEAD, *[b"X-%d: y\r\n" % number for number in range(200)]],
    "a byte per moment": [b"%c" % byte for byte in HEAD * 20],
}


async def test_headers_that_do_not_end_are_cut(start_server: StartServer) -> None:
    server = await start_server(header_timeout="1s")
    assert await drip_all(server, DRIPPING) == dict.fromkeys(DRIPPING, b"")
    assert await server.poll("t", "since=all") == []


DRIPPING_BODIES = {
    "nothing": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"],
    "a byte per moment": [HEAD + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 200],
    "a chunk per moment": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 200],
    "no end": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"],
    "a form": [
        b"POST /1/messages.json HTTP/1.1\r\nHost: test\r\nContent-Length: 900\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        *[b"x"] * 200,
    ],
    "a multipart form": [
        b"POST /1/messages.json HTTP/1.1\r\nHost: test\r\nContent-Length: 900\r\n"
        b"Content-Type: multipart/form-data; boundary=a\r\n\r\n",
        *[b"--a\r\n"] * 20,
    ],
}


async def test_bodies_that_do_not_end_are_refused_as_too_slow(start_server: StartServer) -> None:
    server = await start_server(body_timeout="1s")
    answers = await drip_all(server, DRIPPING_BODIES)
    assert {how: answer[:12] for how, answer in answers.items()} == dict.fromkeys(answers, b"HTTP/1.1 408")
    assert await server.poll("t", "since=all") == []


async def test_a_body_that_stays_out_is_cut_in_the_front_lane_too(start_server: StartServer) -> None:
    server = await start_server(body_timeout="20s")
    wire = await server.wire()
    wire.send(HEAD + b"Content-Length: 5\r\n\r\nhe")
    await server.publish("other")
    await server.clock.advance(15)
    assert await wire.is_silent()
    await server.clock.advance(10)
    assert await wire.at_end() == b""


async def test_the_time_for_a_body_begins_with_its_request_and_not_with_the_pause_before(
    start_server: StartServer,
) -> None:
    server = await start_server(header_timeout="75s", body_timeout="20s")
    wire = await server.wire()
    assert (await wire.request("POST /t")).status == 200
    await server.clock.advance(60)
    wire.send(HEAD + b"Content-Length: 5\r\n\r\nhe")
    await server.publish("other")
    await server.clock.advance(10)
    wire.send(b"llo")
    assert (await wire.answer()).json()["message"] == "hello"


def texts(raw: bytes) -> list[str]:
    """Return the texts of the messages in a chunked JSON stream that was cut somewhere."""
    lines = [line for line in raw.split(b"\n") if line.startswith(b"{") and line.endswith(b"}")]
    events = [json.loads(line) for line in lines]
    return [event["message"] for event in events if event["event"] == "message"]


@pytest.mark.parametrize("kind", ["json", "websocket", "history"])
async def test_a_reader_that_reads_nothing_is_cut_and_can_resume_without_loss(
    start_server: StartServer, kind: str
) -> None:
    server = await start_server(subscriber_backlog_size="256k", subscriber_send_buffer="16k")
    pad = "x" * 3000
    sent = [(await server.publish("t", "-1" + pad))["message"]]
    other = await server.wire()
    other.send_request("GET /t/json?since=all")
    await other.head()
    await other.json_line()
    if kind == "history":
        sent += [(await server.publish("t", f"h{number}" + pad))["message"] for number in range(200)]
    async with open_wire(server.port, receive_buffer=4096) as slow:
        line = {"json": "t/json", "websocket": "t/ws", "history": "t/json?since=all"}[kind]
        slow.send_request(f"GET /{line}", *(HANDSHAKE if kind == "websocket" else ()))
        assert (await slow.head())[0] in (101, 200)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        streams = server.running.streams
        number = 0
        while len(streams.open) > 1:
            sent.append((await server.publish("t", f"{number}" + pad))["message"])
            number += 1
            assert number < 2000
        assert streams.counters.streams_dropped == 1
        assert number * 3000 >= 256 * 1024 - 65536
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        raw = await slow.at_end()
    assert [(await other.json_line())["message"] for _ in sent] == sent
    if kind == "websocket":
        assert b"\x88" not in opcodes(raw)
        return
    got = texts(raw)
    begin = 0 if kind == "history" else 1
    assert got == sent[begin : begin + len(got)]
    last = next(m for m in await server.poll("t", "since=all") if m["message"] == (got or sent)[-1])
    rest = [message["message"] for message in await server.poll("t", f"since={last['id']}")]
    assert sent[:begin] + got + rest == sent


def opcodes(raw: bytes) -> bytes:
    """Return the first bytes of the WebSocket frames in `raw`, which may be cut anywhere."""
    found, place = b"", 0
    while place + 4 <= len(raw):
        length = raw[place + 1]
        head = 2
        if length == 126:
            (length,) = struct.unpack_from(">H", raw, place + 2)
            head = 4
        assert length < 65536
        found += raw[place : place + 1]
        place += head + length
    return found


async def test_slow_readers_cost_bounded_memory(processes: Processes) -> None:
    process = await processes.start(subscriber_backlog_size="256k", subscriber_send_buffer="16k")
    pad = "x" * 3900
    publishers = [await process.wire() for _ in range(20)]

    async def publish(publisher: Wire, count: int) -> None:
        for _ in range(count):
            publisher.send_request("POST /t", body=pad.encode())
        for _ in range(count):
            assert (await publisher.answer()).status == 200

    await publish(publishers[0], 20)
    await process.poll("t")
    before_kib = process.resident_kib
    slow = [await process.wire(receive_buffer=4096) for _ in range(20)]
    for number, wire in enumerate(slow):
        wire.send_request(f"GET /t/json{'?since=all' if number % 2 else ''}")
        await wire.head()
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.gather(*(publish(publisher, 75) for publisher in publishers))
    # 1500 messages of 4 kB for each of 20 are 120 MB; each may owe 256 kB and what one write adds to that.
    assert process.resident_kib - before_kib < 40_000
    assert len(await process.poll("t")) == 1520


async def test_pings_and_messages_do_not_get_into_each_other(start_server: StartServer) -> None:
    """Pongs and messages go different ways to the socket; when it is full, neither may split the other."""
    server = await start_server(subscriber_send_buffer="4k")
    async with open_wire(server.port, receive_buffer=2048) as wire:
        wire.send_request("GET /t/ws", *HANDSHAKE)
        assert (await wire.head())[0] == 101
        _, length = await wire.reader.readexactly(2)
        await wire.reader.readexactly(length)
        expected: list[str] = []
        got: list[str] = []
        pongs = 0

        async def read() -> None:
            nonlocal pongs
            while len(got) < 300 or pongs < 150:
                first, length = await wire.reader.readexactly(2)
                if length == 126:
                    (length,) = struct.unpack(">H", await wire.reader.readexactly(2))
                payload = await wire.reader.readexactly(length)
                if first == 0x8A:
                    assert payload == b"p" * 125
                    pongs += 1
                else:
                    assert first == 0x81
                    got.append(json.loads(payload)["message"])

        reading = asyncio.create_task(read())
        ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
        for number in range(300):
            if number % 2:
                wire.send(ping)
            text = f"{number}:" + "x" * (number * 7 % 1500)
            expected.append(text)
            await server.publish("t", text)
        async with asyncio.timeout(20):
            await reading
        assert got == expected


def deafen(connection: socket.socket) -> None:
    """Let the kernel drop whatever arrives: no acknowledgement, no reset. The other end seems to be gone."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))

    drop_everything = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET, 0 bytes
    program = Filter(1, ctypes.addressof(drop_everything))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))


async def test_a_subscriber_that_vanished_is_noticed_after_two_keepalives(tmp_path: Path) -> None:
    settings = load({"listen-http": "127.0.0.1:0", "data-dir": str(tmp_path), **PEOPLE}, {}, None)
    hasty = settings.model_copy(update={"keepalive_interval_s": 0.4})  # the setting itself allows 5s at least
    async with running(hasty) as server, AsyncExitStack() as stack:
        port = int(server.url.rsplit(":", 1)[1])
        gone, alive = [await stack.enter_async_context(open_wire(port)) for _ in range(2)]
        for wire in (gone, alive):
            wire.send_request("GET /t/json")
            await wire.head()
            await wire.json_line()
        descriptor = gone.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            deafen(connection)
        await until(lambda: len(server.streams.open) == 1, 10)
        assert (await alive.json_line())["event"] == "keepalive"
        gone.writer.transport.abort()
