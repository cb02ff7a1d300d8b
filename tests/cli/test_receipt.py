"""The commands about receipts, beside a running server and without one."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ntfyish.app import running
from ntfyish.settings import load
from tests.cli.conftest import Run
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.pushover.test_receipts import read, send

VERA = "uVeraVeraVeraVeraVeraVeraVera0"


@pytest.fixture
async def server(start_server: StartServer, data_dir: Path) -> Server:
    server = await start_server(data_dir=data_dir)
    server.clock.set_wall(time.time())  # the commands have the real one
    return server


async def beside(run: Run, *arguments: str, **options: Any) -> Any:
    """Run a command while the event loop, and so the server, goes on."""
    return await asyncio.to_thread(partial(run, "receipt", *arguments, **options))


async def test_a_receipt_is_acknowledged_beside_a_running_server(server: Server, run: Run) -> None:
    receipt = await send(server, title="It\x1b[2Jburns")
    listed = (await beside(run, "list")).stdout
    assert listed.split("\t")[:2] == [receipt, "pending"]
    assert "\x1b" not in listed
    assert "State: pending" in (await beside(run, "show", receipt)).stdout
    await beside(run, "ack", receipt, "--server", server.url)
    fields = await read(server, receipt)
    assert (fields["acknowledged"], fields["acknowledged_by"]) == (1, USER_KEY)
    assert (await beside(run, "list")).stdout == ""
    shown = (await beside(run, "show", receipt)).stdout
    assert "State: acknowledged\n" in shown
    assert "By: phil\n" in shown
    assert receipt in (await beside(run, "list", "--all")).stdout


async def test_a_receipt_is_cancelled_beside_a_running_server(server: Server, run: Run) -> None:
    receipt = await send(server)
    await beside(run, "cancel", receipt, "--server", server.url)
    assert (await read(server, receipt))["expired"] == 1
    result = await beside(run, "ack", receipt, "--server", server.url, fails=True)
    assert "too late" in result.stderr
    assert "not pending" in (await beside(run, "cancel", receipt, fails=True)).stderr


async def test_a_server_that_cannot_be_reached_is_named(server: Server, run: Run) -> None:
    receipt = await send(server)
    result = await beside(run, "ack", receipt, "--server", "http://127.0.0.1:1", fails=True)
    assert "http://127.0.0.1:1" in result.stderr


async def test_without_a_server_the_database_is_changed(
    start_server: StartServer, run: Run, data_dir: Path
) -> None:
    server = await start_server(data_dir=data_dir.with_name("other"))
    flags = {
        "listen-http": "127.0.0.1:0",
        "data-dir": str(data_dir),
        "accounts": [
            {"name": "phil", "user-key": USER_KEY, "password": "secret"},
            {"name": "vera", "user-key": VERA, "password": "secret"},
        ],
        "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
    }
    server.clock.set_wall(time.time())
    async with running(load(flags, {}, None), server.clock) as first:
        server.url = first.url
        receipt = await send(server, user=f"{USER_KEY},{VERA}")
        other = await send(server)
    assert "phil, vera" in (await beside(run, "ack", receipt, fails=True)).stderr
    assert "do not get" in (await beside(run, "ack", receipt, "--user", "paul", fails=True)).stderr
    await beside(run, "ack", receipt, "--user", "vera")
    await beside(run, "cancel", other)
    async with running(load(flags, {}, None), server.clock) as second:
        server.url = second.url
        assert (await read(server, receipt))["acknowledged_by"] == VERA
        assert (await read(server, other))["expired"] == 1


def test_an_unknown_receipt_or_folder_is_refused(run: Run) -> None:
    assert "no messages" in run("receipt", "list", fails=True).stderr
