"""The database that the commands work on, and the commands on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from ntfyish.core.declared import declared_people
from ntfyish.core.ports import People
from ntfyish.settings import load
from ntfyish.store.sqlite.people import PeopleDatabase

HASH = "$2a$10$" + "a" * 53


def people_in(data_dir: Path) -> People:
    async def read() -> People:
        async with PeopleDatabase.open(data_dir) as people:
            return await people.load()

    return asyncio.run(read())


def declare(data_dir: Path, config: Path) -> None:
    """Do as a server does at its start."""

    async def reconcile() -> None:
        async with PeopleDatabase.open(data_dir) as people:
            await people.reconcile(declared_people(load({}, {}, config), 1_750_000_000))

    data_dir.mkdir(exist_ok=True)
    asyncio.run(reconcile())


def on_terminal(arguments: list[str], environ: dict[str, str | None], answers: list[str]) -> str:
    """Run a command on a terminal of 120 columns, answer each question, and return what it showed."""
    own, its = pty.openpty()
    variables = {**os.environ, "COLUMNS": "120", "TERM": "xterm", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "ntfyish", *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        env={name: value for name, value in variables.items() if value is not None},
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    try:
        while True:
            assert select.select([own], [], [], 20)[0], shown
            try:
                piece = os.read(own, 4096)
            except OSError:  # the other end is closed
                break
            shown += piece
            # With the blank: what is typed before it comes is thrown away with the echo's switching off.
            if answers and shown.endswith(b": "):
                os.write(own, answers.pop(0).encode() + b"\n")
                shown += b"\n"
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(own)
    assert not answers
    return shown.decode()
