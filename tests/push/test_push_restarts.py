"""Pushes across the end of the server, whichever way it ends."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest_asyncio

from ntfyish.app import RunningServer, running
from ntfyish.core.clock import SystemClock
from ntfyish.model.push import Verdict
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.conftest import StartServer
from tests.hardening.process import Processes, nursery, processes_in
from tests.push.scripted import ScriptedSender
from tests.push.stage import APNS, APP, Stage, account, device, phone, start_stage, token
from tests.push.test_lanes import PENDING

DECLARED = [
    {"topics": ["alerts"], "token": token(number), "bundle-id": "app.example"} for number in range(30)
]


@pytest_asyncio.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    with nursery() as forker:
        async with processes_in(forker, tmp_path) as started:
            yield started


def flags(folder: Path, **settings: Any) -> dict[str, Any]:
    return {
        "listen-http": "127.0.0.1:0",
        "data-dir": str(folder),
        "accounts": [account()],
        "apns": APNS,
        "topic-devices": DECLARED,
        **settings,
    }


async def run_once(folder: Path, sender: ScriptedSender, clock: FakeClock, **settings: Any) -> Any:
    """Return a server as a context manager."""
    return running(load(flags(folder, **settings), {}, None), clock, find_sender={APP: sender}.get)


def states(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "messages.db")) as connection:
        return dict(connection.execute("SELECT state, count(*) FROM pushes GROUP BY state").fetchall())


def stage_on(server: Any, run: RunningServer, sender: ScriptedSender, clock: FakeClock) -> Stage:
    server.url, server.clock = run.url, clock
    return Stage(server, {APP: sender})


async def test_what_waits_is_pushed_after_a_restart(start_server: StartServer, tmp_path: Path) -> None:
    server, folder, clock = await start_server(), tmp_path / "second", FakeClock()
    sender = ScriptedSender()
    sender.always(Verdict.MISCONFIGURED, "InvalidProviderToken")
    async with await run_once(folder, sender, clock) as run:
        stage = stage_on(server, run, sender, clock)
        await server.publish("alerts")
        await stage.until_tried(1)
        await stage.pass_time(1)
    assert states(folder) == {PENDING: 30}
    later, again = FakeClock(clock.now() + 3), ScriptedSender()  # before the ten minutes are over
    async with await run_once(folder, again, later) as run:
        stage = stage_on(server, run, again, later)
        await stage.until(lambda: states(folder) == {"delivered": 30})
    assert len(again.pushes) == 30
    assert {push.id for push in again.pushes} >= {push.id for push in sender.pushes}


async def test_the_end_gives_what_is_under_way_time_and_begins_nothing(
    start_server: StartServer, tmp_path: Path
) -> None:
    server, folder, clock = await start_server(), tmp_path / "second", FakeClock()
    sender = ScriptedSender()
    sender.gate.clear()
    async with await run_once(folder, sender, clock, **{"shutdown-timeout": "10s"}) as run:
        stage = stage_on(server, run, sender, clock)
        await server.publish("alerts")
        await stage.until(lambda: sender.under_way == 8)
        asyncio.get_running_loop().call_later(0.2, sender.gate.set)
    assert len(sender.pushes) == 8
    assert states(folder) == {"delivered": 8, PENDING: 22}
    with closing(sqlite3.connect(folder / "messages.db")) as connection:
        rows = connection.execute(
            "SELECT DISTINCT attempts, due FROM pushes WHERE state = 'pending'"
        ).fetchall()
    assert rows == [(0, clock.now())]  # nothing waits for a lease to run out


async def test_what_hangs_at_the_end_is_cut_off_and_pushed_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    server, folder, clock = await start_server(), tmp_path / "second", FakeClock()
    sender = ScriptedSender()
    sender.gate.clear()
    async with await run_once(folder, sender, clock, **{"shutdown-timeout": "100ms"}) as run:
        stage = stage_on(server, run, sender, clock)
        await server.publish("alerts")
        await stage.until(lambda: sender.under_way == 8)
    assert (sender.under_way, states(folder)) == (0, {PENDING: 30})
    again, later = ScriptedSender(), FakeClock(clock.now() + 1)
    async with await run_once(folder, again, later) as run:
        stage = stage_on(server, run, again, later)
        await stage.until(lambda: states(folder) == {"delivered": 30})
    assert len(again.pushes) == 30


async def test_pushes_that_a_dead_server_had_claimed_are_made_when_its_leases_end(
    start_server: StartServer,
) -> None:
    stage = await start_stage(start_server)
    await stage.add(*(device(number) for number in range(3)))
    stage.sender.always(Verdict.UNAVAILABLE)
    await stage.server.publish("alerts")
    await stage.until_tried(1)
    await stage.pass_time(1)
    now = stage.clock.now()
    with closing(sqlite3.connect(stage.server.data_dir / "messages.db")) as connection, connection:
        connection.execute("UPDATE pushes SET due = ? WHERE state = 'pending'", (now + 50,))
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(48)
    assert "delivered" not in stage.states
    await stage.pass_time(70)
    await stage.until_states(delivered=3)


async def test_what_a_dead_server_had_claimed_is_pushed_as_soon_as_there_is_another(
    start_server: StartServer, tmp_path: Path
) -> None:
    server, folder, clock = await start_server(), tmp_path / "second", FakeClock()
    sender = ScriptedSender()
    sender.always(Verdict.UNAVAILABLE)
    async with await run_once(folder, sender, clock) as run:
        stage = stage_on(server, run, sender, clock)
        await server.publish("alerts")
        await stage.until_tried(1)
        await stage.pass_time(1)
    with closing(sqlite3.connect(folder / "messages.db")) as connection, connection:
        connection.execute("UPDATE pushes SET due = ?", (clock.now() + 50,))
    again, later = ScriptedSender(), FakeClock(clock.now() + 1)
    async with await run_once(folder, again, later) as run:
        stage = stage_on(server, run, again, later)
        await stage.until(lambda: states(folder) == {"delivered": 30})
    assert len(again.pushes) == 30


async def test_kill_9_loses_no_push(processes: Processes, tmp_path: Path) -> None:
    apns = [{**APNS[0], "endpoint": "127.0.0.1:9"}]  # nobody is there
    settings: dict[str, Any] = {
        "topic-devices": DECLARED,
        "apns": [{**apns[0], "certificate-file": str(_certificate(tmp_path))}],
        "accounts": [{**account(phone("phone", 77)), "password": "secret"}],
    }
    acknowledged: set[str] = set()
    for number in range(3):
        process = await processes.start(**settings)
        for one in range(5 + number):
            acknowledged.add((await process.publish("alerts", f"{number}-{one}"))["id"])
        process.signal(signal.SIGKILL)
        assert await process.ended() == -signal.SIGKILL
    sender, folder = ScriptedSender(capacity=64), processes.data_dir
    expected = {(id, token(number)) for id in acknowledged for number in range(30)}
    clock = FakeClock(SystemClock().now() + 3_600)  # whatever they had claimed is free again
    async with await run_once(folder, sender, clock):
        async with asyncio.timeout(20):
            while states(folder).get("delivered", 0) < len(expected):
                await clock.advance(0.25)
                await asyncio.sleep(0.01)
    sent = [(push.message.id, push.device.token) for push in sender.pushes]
    assert set(sent) == expected
    assert len(sent) == len(expected)


def _certificate(folder: Path) -> Path:
    """Return a file with a certificate and its key."""
    import trustme

    path = folder / "identity.pem"
    trustme.CA().issue_cert("app.example").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path
