"""A server that is killed while it works: what it acknowledged is there afterwards, once."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections import Counter
from contextlib import closing

from tests.hardening.process import PUSHOVER, Process, Processes, form
from tests.hardening.waiting import until
from tests.wire import open_wire

ROUNDS = 12
PUBLISHERS = 6


async def publish_until_the_end(process: Process, name: str, acknowledged: list[str]) -> None:
    """Publish texts of our own, by one dialect or the other, until the connection breaks."""
    async with open_wire(process.port) as wire:
        for number in range(1_000_000):
            text = f"{name}-{number}"
            try:
                if number % 2:
                    answer = await wire.request(*PUSHOVER, body=form(text))
                else:
                    answer = await wire.request("POST /alerts", body=text.encode())
            except (ConnectionError, asyncio.IncompleteReadError):
                return
            assert answer.status == 200, answer
            acknowledged.append(text)


async def test_what_was_acknowledged_survives_kill_9_and_is_there_once(processes: Processes) -> None:
    acknowledged: list[str] = []
    attempted = Counter[str]()
    for number in range(ROUNDS):
        process = await processes.start()
        publishing = [
            asyncio.create_task(publish_until_the_end(process, f"{number}-{publisher}", acknowledged))
            for publisher in range(PUBLISHERS)
        ]
        before = len(acknowledged)
        enough = before + 20 + 11 * number  # a different moment each time
        await until(lambda enough=enough: len(acknowledged) >= enough)
        assert not any(task.done() for task in publishing)
        process.signal(signal.SIGKILL)
        assert await process.ended() == -signal.SIGKILL
        await asyncio.gather(*publishing)
    process = await processes.start()
    stored = [message["message"] for message in await process.poll("alerts")]
    attempted.update(stored)
    assert set(acknowledged) <= set(stored)
    assert not [text for text, times in attempted.items() if times > 1]
    # Each connection has one request in flight when the server dies; nothing else may be there besides.
    assert len(stored) - len(acknowledged) <= ROUNDS * PUBLISHERS
    process.signal()
    assert await process.ended() == 0
    for name in ("messages.db", "people.db"):
        with closing(sqlite3.connect(processes.data_dir / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_each_publisher_finds_its_messages_in_the_order_of_the_answers(processes: Processes) -> None:
    process = await processes.start()
    acknowledged: list[str] = []
    publishing = [
        asyncio.create_task(publish_until_the_end(process, f"p{publisher}", acknowledged))
        for publisher in range(PUBLISHERS)
    ]
    await until(lambda: len(acknowledged) >= 300)
    process.signal(signal.SIGKILL)
    await process.ended()
    await asyncio.gather(*publishing)
    process = await processes.start()
    stored = [message["message"] for message in await process.poll("alerts")]
    for publisher in range(PUBLISHERS):
        numbers = [int(text.split("-")[1]) for text in stored if text.startswith(f"p{publisher}-")]
        assert numbers == list(range(len(numbers)))
