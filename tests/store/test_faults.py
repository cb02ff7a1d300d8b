"""What the store does when the process is killed, the disk is full, or somebody else holds the lock."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ntfyish.model.errors import Reason, Unavailable
from ntfyish.store.sqlite import writer
from ntfyish.store.sqlite.failures import is_about_storage
from ntfyish.store.sqlite.messages import MessageDatabase
from tests.clock import FakeClock

from .stage import START, Audience, ids, opened, post, stored_ids

ROOT = Path(__file__).parents[2]


def child(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.store.child", *arguments]


@contextmanager
def foreign(folder: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Another program that has the database open and has run `statements`."""
    with closing(sqlite3.connect(folder / "messages.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection


def wal_bytes(folder: Path) -> int:
    return (folder / "messages.db-wal").stat().st_size


# --- kill -9


def acked_until_killed(folder: Path, number: int) -> set[str]:
    """Kill a process that posts, after some hundred messages, and return the ids of those that were acked."""
    process = subprocess.Popen(
        child("load", str(folder), str(number)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(100 + 37 * number)]
    finally:
        process.kill()
    lines += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return {line.strip() for line in lines if line.endswith("\n")}


async def test_every_acked_message_survives_kill_9(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    acked: set[str] = set()
    for number in range(10):
        acked |= acked_until_killed(tmp_path, number)
        with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        async with opened(tmp_path, clock, audience) as store:
            found = await ids(store, scheduled=True)
            assert len(found) == len(set(found))
            assert acked <= set(found)
            assert any(id_.startswith(f"r{number}-") for id_ in found)
    assert len(acked) > 2_000


# --- A full disk


def test_a_full_disk_refuses_posts_and_the_store_recovers(tmp_path: Path) -> None:
    result = subprocess.run(
        child("full", str(tmp_path)), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    met = json.loads(result.stdout)
    assert set(met["reasons"]) == {"STORAGE_FULL"}
    assert len(met["reasons"]) == len(met["refused"]) > 10
    assert len(met["acked"]) > 10
    assert met["while_full"] == met["acked"]
    assert (
        met["after"] == met["seen"] == stored_ids(tmp_path) == [*met["acked"], "after0", "after1", "after2"]
    )
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_database_at_its_largest_size_refuses_posts_and_recovers(
    store: MessageDatabase, audience: Audience
) -> None:
    """As a full disk, but SQLite finds out amid the transaction and not at its end."""
    set_limit = store._writer._database.run
    await set_limit(lambda raw: raw.execute("PRAGMA max_page_count = 40").fetchone())
    results = await asyncio.gather(
        *(store.post([post(f"m{n}", text="x" * 5_000)]) for n in range(60)), return_exceptions=True
    )
    reasons = {result.reason for result in results if isinstance(result, Unavailable)}
    assert reasons == {Reason.STORAGE_FULL}
    assert await ids(store) == audience.ids
    await set_limit(lambda raw: raw.execute("PRAGMA max_page_count = 100000").fetchone())
    await store.post([post("after")])
    assert await ids(store) == audience.ids
    assert audience.seqs == list(range(1, len(audience.ids) + 1))


# --- A lock that somebody else holds


async def test_a_foreign_lock_makes_the_store_busy_until_it_is_gone(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    async with opened(tmp_path, clock, audience, busy_timeout_s=0.05) as store:
        await store.post([post("m1"), post("later", due_at=START)])
        with foreign(tmp_path, "BEGIN IMMEDIATE"):
            works = [store.post([post("m2")]), store.release_due(START), store.prune(START)]
            for result in await asyncio.gather(*works, return_exceptions=True):
                assert isinstance(result, Unavailable)
                assert result.reason is Reason.STORAGE_BUSY
            assert await ids(store) == ["m1"]  # readers do not wait for writers
            assert store.head == 1
        await store.post([post("m3")])
        assert await store.release_due(START) == 1
        assert audience.ids == ["m1", "m3", "later"]
        assert audience.seqs == [1, 2, 3]


async def test_a_lock_is_told_apart_from_a_bad_piece_of_work(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    """A batch that met a lock is not tried again piece by piece: it would only wait once more."""
    async with opened(tmp_path, clock, audience, busy_timeout_s=0.01) as store:
        late = sqlite3.connect(tmp_path / "messages.db", timeout=0)
        with closing(late), foreign(tmp_path, "BEGIN IMMEDIATE"):
            with pytest.raises(sqlite3.OperationalError) as caught:
                late.execute("BEGIN IMMEDIATE")
            assert is_about_storage(caught.value)
        await store.post([post("m1")])
        with closing(sqlite3.connect(tmp_path / "messages.db")) as other:
            with pytest.raises(sqlite3.IntegrityError) as spoiled:
                other.execute("INSERT INTO messages SELECT * FROM messages")
            assert not is_about_storage(spoiled.value)


async def test_a_lock_that_is_given_up_in_time_is_waited_for(
    store: MessageDatabase, tmp_path: Path, audience: Audience
) -> None:
    with foreign(tmp_path, "BEGIN IMMEDIATE") as other:
        waiting = asyncio.ensure_future(store.post([post("m1")]))
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        other.execute("ROLLBACK")
        await waiting
    assert audience.ids == ["m1"]


async def test_a_long_queue_does_not_wait_for_the_lock_again_and_again(
    tmp_path: Path, clock: FakeClock, audience: Audience, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, clock, audience, busy_timeout_s=0.05) as store:
        with foreign(tmp_path, "BEGIN IMMEDIATE"):
            posts = [store.post([post(f"m{n}-{k}") for k in range(100)]) for n in range(150)]
            results = await asyncio.gather(*posts, return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    assert caplog.text.count("STORAGE_BUSY") == 1
    assert stored_ids(tmp_path) == []


async def test_leaving_does_not_wait_for_the_lock_again_and_again(
    tmp_path: Path, clock: FakeClock, audience: Audience, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, clock, audience, busy_timeout_s=0.05) as store:
        lock = foreign(tmp_path, "BEGIN IMMEDIATE")
        lock.__enter__()
        first = asyncio.ensure_future(store.post([post("m0")]))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(store.post([post(f"m{n}")])) for n in range(1, 2_500)]
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    lock.__exit__(None, None, None)
    assert {type(result) for result in results} == {Unavailable}
    assert caplog.text.count("Could not write") <= 2


async def test_a_foreign_row_in_the_way_costs_nobody_their_message(
    store: MessageDatabase, tmp_path: Path, audience: Audience
) -> None:
    await store.post([post("m1")])
    with foreign(tmp_path, "INSERT INTO messages VALUES (2, 'stray', 'alerts', 0, 0, '{}')"):
        pass
    await asyncio.gather(store.post([post("m2")]), store.post([post("m3")]))
    assert audience.seqs == [1, 3, 4]


# --- Corruption while running


async def test_a_file_that_breaks_while_the_server_runs_is_reported_as_broken(
    tmp_path: Path, clock: FakeClock, audience: Audience, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, clock, audience) as store:
        await store.post([post(f"m{n}", text="x" * 2_000) for n in range(500)])
    async with opened(tmp_path, clock, audience) as store:
        with (tmp_path / "messages.db").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 800_000)
        for work in (store.post([post("m")]), ids(store), store.next_due()):
            with pytest.raises(Unavailable) as caught:
                await work
            assert caught.value.reason is Reason.STORAGE_BROKEN


# --- The write-ahead log


async def test_the_log_does_not_outgrow_its_bound(
    store: MessageDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_BYTES", 1_000_000)
    largest = 0
    await store._writer._database.run(
        lambda raw: raw.execute("PRAGMA journal_size_limit = 1000000").fetchone()
    )
    for n in range(40):
        await store.post([post(f"m{n}-{k}", text="x" * 1_000) for k in range(200)])
        largest = max(largest, wal_bytes(tmp_path))
    assert largest < 3_000_000
    assert (tmp_path / "messages.db").stat().st_size > 8_000_000


async def test_a_reader_that_never_ends_lets_the_log_grow_and_nothing_else(
    store: MessageDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_BYTES", 1_000_000)
    monkeypatch.setattr(writer, "TRUNCATE_BYTES", 4_000_000)
    await store.post([post("first")])
    with foreign(tmp_path, "BEGIN", "SELECT * FROM messages"):
        for n in range(40):
            await store.post([post(f"m{n}-{k}", text="x" * 1_000) for k in range(200)])
        assert wal_bytes(tmp_path) > 8_000_000
    for n in range(10):
        await store.post([post(f"after{n}-{k}", text="x" * 1_000) for k in range(200)])
    assert wal_bytes(tmp_path) < 4_000_000
    assert len(await ids(store)) == 10_001
