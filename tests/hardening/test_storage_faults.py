"""A store that is full, locked or no database at all: an honest answer, and back to work afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.hardening.process import PUSHOVER, Process, Processes, form
from tests.wire import Answer

TEXT = "x" * 3000
MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a file system of so many bytes; yield False if this machine does not let us."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def ballast(tmp_path: Path) -> Iterator[Path | None]:
    """A file on the disk of the data, which is a small one; None if there can be no small one."""
    with small_disk(tmp_path / "data", 2 * MIB) as is_small:
        yield tmp_path / "data" / "ballast" if is_small else None


async def publish_both(process: Process) -> tuple[Answer, Answer]:
    wire = await process.wire()
    ntfy = await wire.request("POST /alerts", body=TEXT.encode())
    return ntfy, await wire.request(*PUSHOVER, body=form(TEXT[:1000]))


async def fill(process: Process) -> list[str]:
    """Publish until it is refused; return the identifiers that were acknowledged."""
    wire = await process.wire()
    acknowledged = []
    for _ in range(2000):
        answer = await wire.request("POST /alerts", body=TEXT.encode())
        if answer.status != 200:
            return acknowledged
        acknowledged.append(answer.json()["id"])
    raise AssertionError("the disk does not fill")


def check_refusals(ntfy: Answer, pushover: Answer) -> None:
    assert (ntfy.status, ntfy.json()["code"], ntfy.json()["http"]) == (507, 50702, 507)
    assert pushover.status == 507
    assert pushover.json()["status"] == 0
    assert pushover.json()["errors"]
    assert "user" not in pushover.json()  # or the sender would give the recipient up


async def test_a_full_disk_is_507_in_both_dialects_and_the_server_goes_on_when_there_is_room(
    processes: Processes, ballast: Path | None
) -> None:
    limits = {} if ballast is not None else {"RLIMIT_FSIZE": MIB}
    process = await processes.start(limits=limits)
    if ballast is not None:
        await asyncio.to_thread(ballast.write_bytes, bytes(600_000))
    acknowledged = await fill(process)
    assert len(acknowledged) > 20
    wire = await process.wire()
    check_refusals(*await publish_both(process))
    # Readers are served, and nothing is announced that was not stored.
    assert [message["id"] for message in await process.poll("alerts")] == acknowledged
    assert (await wire.request("GET /v1/health")).status == 200
    if ballast is None:  # the limit is the process's own: only a new one has room
        process.signal()
        assert await process.ended() == 0
        process = await processes.start()
    else:
        await asyncio.to_thread(ballast.unlink)
    ntfy, pushover = await publish_both(process)
    assert (ntfy.status, pushover.status) == (200, 200)
    stored = [message["id"] for message in await process.poll("alerts")]
    assert stored[:-2] == acknowledged
    assert stored[-2] == ntfy.json()["id"]
    process.signal()
    assert await process.ended() == 0
    assert len(process.log) < 50
    with closing(sqlite3.connect(processes.data_dir / "messages.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_limit_on_the_size_of_files_is_507_too(processes: Processes) -> None:
    process = await processes.start(limits={"RLIMIT_FSIZE": MIB})
    acknowledged = await fill(process)
    check_refusals(*await publish_both(process))
    assert [message["id"] for message in await process.poll("alerts")] == acknowledged
    process.signal()
    assert await process.ended() == 0


async def test_a_full_disk_does_not_fill_the_log(processes: Processes) -> None:
    process = await processes.start(limits={"RLIMIT_FSIZE": MIB // 2})
    await fill(process)
    before = len(process.log)
    wire = await process.wire()
    for _ in range(200):
        assert (await wire.request("POST /alerts", body=TEXT.encode())).status == 507
    assert len(process.log) - before < 20


async def test_a_locked_database_is_503_after_the_busy_timeout_and_recovers(processes: Processes) -> None:
    process = await processes.start(storage_busy_timeout="300ms")
    first = await process.publish("alerts", "first")
    with closing(sqlite3.connect(processes.data_dir / "messages.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        ntfy, pushover = await publish_both(process)
        assert (ntfy.status, ntfy.json()["code"]) == (503, 50301)
        assert int(ntfy.headers["retry-after"]) >= 1
        assert (pushover.status, pushover.json()["status"]) == (503, 0)
        assert int(pushover.headers["retry-after"]) >= 5
        assert await process.poll("alerts") == [first]
        wire = await process.wire()
        wire.send_request("POST /alerts", body=b"patient")
        foreign.execute("ROLLBACK")
        assert (await wire.answer()).status in (200, 503)
    ntfy, pushover = await publish_both(process)
    assert (ntfy.status, pushover.status) == (200, 200)
    process.signal()
    assert await process.ended() == 0


async def test_a_lock_that_ends_in_time_only_delays(processes: Processes) -> None:
    process = await processes.start(storage_busy_timeout="20s")
    with closing(sqlite3.connect(processes.data_dir / "messages.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        wires = [await process.wire() for _ in range(10)]
        for number, wire in enumerate(wires):
            wire.send_request("POST /alerts", body=str(number).encode())
        assert await wires[0].is_silent(0.1)
        foreign.execute("ROLLBACK")
    for wire in wires:
        wire._text = b""
        assert (await wire.answer()).status == 200
    assert len(await process.poll("alerts")) == 10


async def refused_start(processes: Processes) -> str:
    """Start a server that must not start; return the one line that it says."""
    files = snapshot(processes.data_dir)
    process = await processes.launch()
    assert await process.ended() == 1, process.log
    now = snapshot(processes.data_dir)
    assert {name: now.get(name) for name in files} == files
    (line,) = process.log
    assert line.startswith("ntfyish: ")
    return line


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is in a folder; the lock files and SQLite's shared memory hold nothing of value."""
    return {
        path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.iterdir()
        if path.suffix != ".lock" and not path.name.endswith("-shm")
    }


async def make_data(processes: Processes, *, messages: int = 30, crash: bool = False) -> None:
    process = await processes.start()
    for number in range(messages):
        await process.publish("alerts", f"{number} " + TEXT)
    process.signal(signal.SIGKILL if crash else signal.SIGTERM)
    await process.ended()


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "text":
        data[:] = b"this is a letter to my landlord\n" * 400
    elif how == "zeroes":
        data[:] = bytes(len(data))
    elif how == "flipped":
        for place in range(4096, len(data), 512):
            data[place] ^= 0xFF
    elif how == "truncated":
        del data[len(data) // 2 :]
    elif how == "shortened":
        del data[50:]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["text", "zeroes", "flipped", "truncated", "shortened"])
@pytest.mark.parametrize("name", ["messages.db", "people.db"])
async def test_a_damaged_database_ends_the_start_and_is_left_alone(
    processes: Processes, name: str, how: str
) -> None:
    await make_data(processes)
    damage(processes.data_dir / name, how)
    assert name in await refused_start(processes)


@pytest.mark.parametrize("name", ["messages.db", "people.db"])
async def test_a_database_of_another_program_is_left_alone(processes: Processes, name: str) -> None:
    processes.data_dir.mkdir()
    with closing(sqlite3.connect(processes.data_dir / name)) as connection:
        connection.execute("CREATE TABLE messages (id TEXT, message TEXT)")
        connection.execute("INSERT INTO messages VALUES ('a', 'mine')")
        connection.commit()
    assert name in await refused_start(processes)


@pytest.mark.parametrize("name", ["messages.db", "people.db"])
async def test_a_database_of_a_newer_version_is_left_alone(processes: Processes, name: str) -> None:
    await make_data(processes, messages=1)
    with closing(sqlite3.connect(processes.data_dir / name)) as connection:
        connection.execute("PRAGMA user_version = 99")
    line = await refused_start(processes)
    assert name in line
    assert "newer" in line


@pytest.mark.parametrize("kind", ["folder", "pipe"])
async def test_what_is_no_file_is_left_alone(processes: Processes, kind: str) -> None:
    processes.data_dir.mkdir()
    path = processes.data_dir / "messages.db"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    process = await processes.launch()
    async with asyncio.timeout(10):
        assert await process.ended() == 1
    assert len(process.log) == 1
    assert "messages.db" in process.log[0]


async def test_a_data_folder_that_is_a_file_ends_the_start(processes: Processes) -> None:
    processes.data_dir.write_text("mine")
    process = await processes.launch()
    assert await process.ended() == 1
    assert len(process.log) == 1
    assert processes.data_dir.read_text() == "mine"


@pytest.mark.parametrize("what", ["messages.db", "people.db", "the folder"])
async def test_what_is_read_only_ends_the_start(processes: Processes, what: str) -> None:
    await make_data(processes, messages=1)
    path = processes.data_dir if what == "the folder" else processes.data_dir / what
    with read_only(path):
        assert str(path) in await refused_start(processes)
    process = await processes.start()
    assert len(await process.poll("alerts")) == 1


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Take away the right to write; the servers of these tests obey, even those of root."""
    with ExitStack() as stack:
        for path in paths:
            mode = path.stat().st_mode
            path.chmod(mode & ~0o222)
            stack.callback(path.chmod, mode)
        yield


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
async def test_a_write_ahead_log_that_is_cut_short_loses_its_end_only(
    processes: Processes, share: float
) -> None:
    """As after a power failure with a lying disk: what is there is whole and in order."""
    await make_data(processes, crash=True)
    log = processes.data_dir / "messages.db-wal"
    data = log.read_bytes()
    assert len(data) > 30 * len(TEXT)
    log.write_bytes(data[: int(len(data) * share)])
    process = await processes.launch()
    await process._listens.wait()
    if not process.port:  # the schema itself was in the log
        assert await process.ended() == 1
        assert len(process.log) == 1
        return
    numbers = [int(message["message"].split()[0]) for message in await process.poll("alerts")]
    assert numbers == list(range(len(numbers)))
    if share == 1.0:
        assert len(numbers) == 30
    await process.publish("alerts", "99 again")


async def test_a_second_server_on_the_same_folder_does_not_start(processes: Processes) -> None:
    first = await processes.start()
    second = await processes.launch()
    assert await second.ended() == 1
    assert len(second.log) == 1
    assert (await first.publish("t"))["event"] == "message"
