"""Connections that come and go amid fan-outs: what is meant for one never reaches another."""

from __future__ import annotations

import asyncio
import json
import random
import struct

import pytest

from tests.conftest import Server
from tests.hardening.process import Processes
from tests.hardening.test_hang_ups import hang_up
from tests.hardening.waiting import until
from tests.wire import Wire, open_wire

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def frame(wire: Wire) -> dict[str, str]:
    first, length = await wire.reader.readexactly(2)
    if length == 126:
        (length,) = struct.unpack(">H", await wire.reader.readexactly(2))
    assert first == 0x81
    return dict(json.loads(await wire.reader.readexactly(length)))


async def visit(server: Server, number: int, chance: random.Random) -> int:
    """Listen to one topic for a few messages, then leave in one way or another; return how many came."""
    topic = f"topic{number % 5}"
    websocket = number % 3 == 0
    async with open_wire(server.port, receive_buffer=chance.choice([0, 4096])) as wire:
        odd = ["TE: trailers"] if number % 4 == 0 else []
        fields = [*odd, *(HANDSHAKE if websocket else ())]
        wire.send_request(f"GET /{topic}/{'ws' if websocket else 'json?since=10s'}", *fields)
        assert (await wire.head())[0] in (101, 200)
        count = chance.randrange(1, 12)
        last = -1
        for _ in range(count):
            event = await frame(wire) if websocket else await wire.json_line()
            assert event["topic"] == topic
            if event["event"] == "message":
                place, text = event["message"].split(" ")
                assert text == topic * (len(text) // len(topic))
                assert int(place) > last
                last = int(place)
        hang_up(wire, chance.choice(["close", "reset", "half"]))
        return count


async def test_what_is_meant_for_one_never_reaches_another(server: Server) -> None:
    chance = random.Random(20)
    done = 0

    async def visitors(first: int) -> None:
        nonlocal done
        for number in range(first, first + 60):
            count = await visit(server, number, chance)
            done += count

    async def publish(place: int, visiting: asyncio.Future[object]) -> None:
        topic = f"topic{place}"
        wire = await server.wire()
        number = 0
        while not visiting.done():
            body = f"{number} ".encode() + topic.encode() * chance.choice([1, 1, 1, 400])
            assert (await wire.request(f"POST /{topic}", body=body)).status == 200
            number += 1

    visiting = asyncio.gather(*(visitors(first * 1000) for first in range(25)))
    await asyncio.gather(visiting, *(publish(place, visiting) for place in range(5)))
    assert done > 1000
    await until(lambda: not server.running.streams.open)
    assert server.running.hub.topics == 0


@pytest.mark.parametrize("size", [0, 1, 20, 3000])
async def test_noise_is_refused_and_does_no_harm(server: Server, size: int) -> None:
    chance = random.Random(size)
    for number in range(60):
        async with open_wire(server.port) as wire:
            noise = chance.randbytes(size)
            wire.send([b"", b"POST /t HTTP/1.1\r\n", b"GET /t/ws", b"\r\n\r\n"][number % 4] + noise)
            hang_up(wire, ["half", "close"][number % 2])
            answer = await wire.at_end() if number % 2 == 0 else b""
            assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 404"), answer
    assert await server.poll("t", "since=all") == []


async def test_a_log_that_cannot_be_written_keeps_nobody_from_working(processes: Processes) -> None:
    process = await processes.start(log_file="/dev/full", log_level="debug")
    published = await process.publish("t")
    wire = await process.wire()
    for _ in range(50):
        assert (await wire.request("POST /1/messages.json")).status == 400
    assert await process.poll("t") == [published]
    process.signal()
    assert await process.ended() == 0
