"""A process that may open few descriptors: it keeps serving whom it can, and comes back by itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.hardening.process import Processes
from tests.hardening.waiting import until
from tests.wire import open_wire

LIMIT = 96


async def test_running_out_of_descriptors_is_survived(processes: Processes) -> None:
    process = await processes.start(limits={"RLIMIT_NOFILE": LIMIT})
    at_rest = process.descriptors
    # One that was there before; nobody has read from the store or written to it yet.
    early = await process.wire()
    stream = await process.wire()
    stream.send_request("GET /t/json")
    await stream.head()
    await stream.json_line()
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_wire(process.port)) for _ in range(3 * LIMIT)]
        for wire in crowd:
            wire.send_request("GET /crowd/json")
        # The first ones are served; the others are turned away or wait.
        assert (await crowd[0].head())[0] == 200
        await until(lambda: process.descriptors >= LIMIT - 2)
        answer = await early.request("POST /t", body=b"still here")
        assert answer.status == 200
        assert await stream.json_line() == answer.json()
        assert (await early.request("GET /t/json?poll=1&since=all")).json_lines() == [answer.json()]
        cpu_s, lines = process.cpu_s, len(process.log)
        await asyncio.sleep(1)  # long enough to see it spin
        assert process.cpu_s - cpu_s < 0.5
        assert len(process.log) - lines <= 1
    await until(lambda: process.descriptors <= at_rest + 2)
    assert (await process.publish("t"))["topic"] == "t"
    assert len(process.log) < 10
    process.signal()
    assert await process.ended() == 0


async def test_a_process_that_has_served_many_holds_no_more_than_before(processes: Processes) -> None:
    process = await processes.start()
    await process.publish("t")
    await process.poll("t")
    before = process.descriptors
    for _ in range(3):
        async with AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(open_wire(process.port)) for _ in range(100)]
            for number, wire in enumerate(wires):
                kind = ("t/json", "t/sse?since=all", "t/raw?poll=1", "v1/health")[number % 4]
                wire.send_request(f"GET /{kind}", *(["TE: trailers"] if number % 8 > 3 else []))
            for wire in wires:
                assert (await wire.head())[0] == 200
    await until(lambda: process.descriptors <= before)


async def test_a_subscriber_that_waits_costs_a_few_kilobytes(processes: Processes) -> None:
    process = await processes.start()
    async with AsyncExitStack() as stack:
        for count in (100, 1000):
            before_kib = process.resident_kib
            wires = [await stack.enter_async_context(open_wire(process.port)) for _ in range(count)]
            for wire in wires:
                wire.send_request("GET /t/json")
            for wire in wires:
                assert (await wire.head())[0] == 200
        # The first hundred have filled the pools; a task or a queue for each would be 10 KiB and more.
        assert (process.resident_kib - before_kib) / count < 6
        await process.publish("t", "to all")
        for wire in wires:
            assert (await wire.json_line())["event"] == "open"
            assert (await wire.json_line())["message"] == "to all"
