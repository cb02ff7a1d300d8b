"""SIGTERM: the server ends within seconds, keeps what it acknowledged, and lets subscribers resume."""

from __future__ import annotations

import asyncio
import signal
import struct
from contextlib import AsyncExitStack

import pytest

from tests.hardening.process import PUSHOVER, Process, Processes, form
from tests.hardening.waiting import until
from tests.wire import Wire, open_wire

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
KINDS = ("json", "sse", "raw", "ws")


async def publish_until_the_end(process: Process, name: str, acknowledged: list[str]) -> None:
    """Publish over one connection after the other until there is no server any more."""
    number = 0
    while True:
        try:
            async with open_wire(process.port) as wire:
                closing = False
                while not closing:
                    text = f"{name}-{number}"
                    number += 1
                    if number % 2:
                        answer = await wire.request(*PUSHOVER, body=form(text))
                    else:
                        odd = ["TE: trailers"] if number % 4 else []
                        answer = await wire.request("POST /alerts", *odd, body=text.encode())
                    assert answer.status == 200, answer
                    acknowledged.append(text)
                    closing = answer.headers.get("connection") == "close"
        except (ConnectionError, asyncio.IncompleteReadError):
            return


async def subscribe(stack: AsyncExitStack, process: Process, number: int) -> Wire:
    wire = await stack.enter_async_context(open_wire(process.port))
    kind = KINDS[number % 4]
    since = "?since=all" if number % 3 else ""
    odd = ["TE: trailers"] if number % 5 == 0 else []
    wire.send_request(f"GET /alerts/{kind}{since}", *(HANDSHAKE if kind == "ws" else ()), *odd)
    assert (await wire.head())[0] in (101, 200)
    return wire


def opcodes(raw: bytes) -> set[int]:
    """Return the first bytes of the WebSocket frames in `raw`, which may be cut anywhere."""
    found, place = set(), 0
    while place + 4 <= len(raw):
        length, head = raw[place + 1], 2
        if length == 126:
            (length,) = struct.unpack_from(">H", raw, place + 2)
            head = 4
        found.add(raw[place])
        place += head + length
    return found


async def test_sigterm_amid_streams_and_publishes_loses_nothing(processes: Processes) -> None:
    process = await processes.start()
    acknowledged: list[str] = []
    async with AsyncExitStack() as stack:
        streams = [await subscribe(stack, process, number) for number in range(200)]
        publishing = [
            asyncio.create_task(publish_until_the_end(process, f"p{number}", acknowledged))
            for number in range(8)
        ]
        await until(lambda: len(acknowledged) >= 100)
        process.signal()
        async with asyncio.timeout(10):
            assert await process.ended() == 0
        await asyncio.gather(*publishing)
        heard = [await wire.at_end() for wire in streams]
    for number, raw in enumerate(heard):
        if KINDS[number % 4] == "ws":
            assert opcodes(raw) <= {0x81, 0x89}  # and no Close frame
        elif KINDS[number % 4] == "json":
            assert not raw.endswith(b"0\r\n\r\n")  # nor a clean end
    # Whoever was listening goes on where it stopped, and has everything once.
    process = await processes.start()
    stored = await process.poll("alerts")
    texts = [message["message"] for message in stored]
    assert set(acknowledged) <= set(texts)
    assert len(set(texts)) == len(texts) <= len(acknowledged) + 8
    ids = [message["id"] for message in stored]
    for number in range(0, 200, 40):
        raw = heard[number]
        seen = [identity for identity in ids if identity.encode() in raw]
        assert seen
        rest = await process.poll("alerts", f"since={seen[-1]}")
        live_from = ids.index(seen[0])
        assert seen + [message["id"] for message in rest] == ids[live_from:]


async def test_an_idle_server_ends_at_once(processes: Processes) -> None:
    process = await processes.start()
    idle = [await process.wire() for _ in range(5)]
    await idle[0].request("POST /t")
    await idle[1].request("GET /v1/health")
    idle[2].send("POST /t HTT")
    process.signal()
    async with asyncio.timeout(3):
        assert await process.ended() == 0
    assert [await wire.at_end() for wire in idle] == [b""] * 5


async def test_requests_under_way_are_finished_and_health_says_503_meanwhile(processes: Processes) -> None:
    process = await processes.start(shutdown_timeout="20s")
    kept = {lane: await process.wire() for lane in ("front", "aiohttp")}
    late = await process.wire()
    assert (await late.request("GET /v1/health")).status == 200
    assert (await kept["front"].request("POST /t", body=b"before")).status == 200
    assert (await kept["aiohttp"].request("GET /v1/health")).json() == {"healthy": True}
    slow = await process.wire()
    slow.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nun\r\n")
    stream = await process.wire()
    stream.send_request("GET /t/json")
    await stream.head()
    process.signal()
    await stream.at_end()  # streams end first: their clients go to look for the next server
    answer = await kept["aiohttp"].request("GET /v1/health")
    assert (answer.status, answer.json()) == (503, {"healthy": False})
    assert answer.headers["connection"] == "close"
    assert await kept["aiohttp"].at_end() == b""
    answer = await kept["front"].request("POST /t", body=b"meanwhile")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    with pytest.raises(ConnectionRefusedError):
        await process.wire()
    late.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlat\r\n")
    slow.send("4\r\nder \r\n3\r\nway\r\n0\r\n\r\n")
    assert (await slow.answer()).json()["message"] == "under way"
    late.send("1\r\ne\r\n0\r\n\r\n")
    assert (await late.answer()).json()["message"] == "late"
    async with asyncio.timeout(5):
        assert await process.ended() == 0
    process = await processes.start()
    assert [m["message"] for m in await process.poll("t")] == ["before", "meanwhile", "under way", "late"]


async def test_nobody_can_delay_the_end_for_longer_than_the_timeout(processes: Processes) -> None:
    process = await processes.start(shutdown_timeout="1s", body_timeout="60s", header_timeout="60s")
    for number in range(8):
        stuck = await process.wire(receive_buffer=4096)
        if number % 4 == 0:
            stuck.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nun\r\n")
        elif number % 4 == 1:
            stuck.send("POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe")
        else:
            stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
            target = "/nothing/x/y" if number % 4 == 2 else "/t?priority=nonsense"
            stuck.send(f"POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n" * 30_000)
    await process.publish("t")
    process.signal()
    async with asyncio.timeout(6):
        assert await process.ended() == 0
    assert not [line for line in process.log if "ERROR" in line or "Traceback" in line]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(processes: Processes, number: signal.Signals) -> None:
    process = await processes.start(shutdown_timeout="60s", body_timeout="60s")
    slow = await process.wire()
    slow.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nun\r\n")
    stream = await process.wire()
    stream.send_request("GET /t/json")
    await stream.head()
    first = await process.publish("t")
    process.signal()
    await stream.at_end()
    process.signal(number)
    async with asyncio.timeout(2):
        assert await process.ended() == 1
    process = await processes.start()
    assert await process.poll("t") == [first]


async def test_five_hundred_that_come_back_at_once_after_a_restart_get_everything_once(
    processes: Processes,
) -> None:
    process = await processes.start()
    wires = [await process.wire() for _ in range(10)]
    sent = []
    for number in range(30):
        for topic, wire in zip("abcdefghij", wires, strict=True):
            wire.send_request(f"POST /{topic}", body=f"{number}".encode())
        sent.append([(await wire.answer()).json()["id"] for wire in wires])
    process.signal(signal.SIGKILL)
    await process.ended()
    process = await processes.start()

    async def resume(number: int) -> list[str]:
        place, topic = number % 20, number % 10
        async with open_wire(process.port) as wire:
            wire.send_request(f"GET /{'abcdefghij'[topic]}/json?since={sent[place][topic]}")
            await wire.head()
            assert (await wire.json_line())["event"] == "open"
            return [(await wire.json_line())["id"] for _ in range(40 - place - 1)]

    resuming = [asyncio.create_task(resume(number)) for number in range(500)]
    wires = [await process.wire() for _ in range(10)]
    for number in range(10):
        for topic, wire in zip("abcdefghij", wires, strict=True):
            wire.send_request(f"POST /{topic}", body=f"new {number}".encode())
        sent.append([(await wire.answer()).json()["id"] for wire in wires])
    async with asyncio.timeout(30):
        for number, got in enumerate(await asyncio.gather(*resuming)):
            assert got == [ids[number % 10] for ids in sent[number % 20 + 1 :]]
