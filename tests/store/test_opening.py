"""Which files the store refuses to start with, and how it brings older ones up to date."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiosqlite
import pytest

from ntfyish.store.sqlite import migration
from ntfyish.store.sqlite.database import Database, connect_to_write
from ntfyish.store.sqlite.failures import DatabaseUnusable
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.store.sqlite.schema import MESSAGES, PEOPLE, Schema
from tests.clock import FakeClock

from .stage import START, Audience, ids, opened, post

ROOT = Path(__file__).parents[2]


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


def run_script(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", script, *arguments], check=False)


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


async def filled(folder: Path) -> Path:
    """Make a message database with some hundred pages."""
    async with opened(folder, FakeClock(START), Audience()) as store:
        await store.post([post(f"m{n}", text="x" * 2_000) for n in range(300)])
    return folder / "messages.db"


# --- A file that works


async def test_a_new_database_belongs_to_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    await filled(folder)
    async with PeopleDatabase.open(folder):
        pass
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("messages.db", "people.db", "messages.lock"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


async def test_an_ack_means_synced_and_check_points_are_ours(store: MessageDatabase) -> None:
    def pragmas(raw: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys")
        return [raw.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full_or_more = (2, 3)
    journal, synchronous, autocheckpoint, foreign_keys = await store._writer._database.run(pragmas)
    assert (journal, autocheckpoint, foreign_keys) == ("wal", 0, 1)
    assert synchronous in full_or_more


async def test_readers_cannot_write(store: MessageDatabase) -> None:
    for database in store._readers._free:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.run(lambda raw: raw.execute("DELETE FROM messages"))


async def test_aiosqlite_still_runs_whole_functions_in_its_thread() -> None:
    assert callable(aiosqlite.Connection._execute)
    async with Database.open(partial(sqlite3.connect, ":memory:")) as database:
        assert await database.run(lambda raw: raw.execute("SELECT 42").fetchone()) == (42,)
        with pytest.raises(ZeroDivisionError):
            await database.run(lambda raw: 1 // raw.total_changes)


async def test_a_database_with_a_strange_path_opens(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20é&mode=ro"
    path = await filled(folder)
    assert path.exists()
    async with opened(folder, FakeClock(START), Audience()) as store:
        assert len(await ids(store)) == 300


@pytest.mark.parametrize("left_over", ["", "PRAGMA journal_mode = WAL"])
async def test_a_start_that_was_cut_off_early_is_started_again(tmp_path: Path, left_over: str) -> None:
    (tmp_path / "messages.db").touch()
    if left_over:
        run_sql(tmp_path / "messages.db", left_over)
    assert await filled(tmp_path)


async def test_a_log_that_lost_its_end_opens_with_all_whole_commits_before(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    async with opened(tmp_path / "live", FakeClock(START), Audience()) as store:
        for n in range(20):
            await store.post([post(f"m{n}", text="x" * 2_000)])
        for name in ("messages.db", "messages.db-wal"):
            (copy / name).write_bytes((tmp_path / "live" / name).read_bytes())
    wal = copy / "messages.db-wal"
    os.truncate(wal, wal.stat().st_size * 2 // 3)
    async with opened(copy, FakeClock(START), Audience()) as store:
        found = await ids(store)
        assert found == [f"m{n}" for n in range(len(found))]
        assert 5 < len(found) < 20
    assert pragma(copy / "messages.db", "integrity_check") == "ok"


async def test_a_commit_that_was_cut_off_is_rolled_back_at_the_next_start(tmp_path: Path) -> None:
    """The people database has a rollback journal; only a connection that may write can use it."""
    async with PeopleDatabase.open(tmp_path):
        pass
    script = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('PRAGMA cache_spill = 1'); c.execute('BEGIN')\n"
        "for n in range(3000): c.execute('INSERT INTO topic_keys VALUES (?, ?, 0)', (str(n) * 40, 'x'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run_script(script, str(tmp_path / "people.db"))
    assert (tmp_path / "people.db-journal").stat().st_size > 0
    async with PeopleDatabase.open(tmp_path) as people:
        assert (await people.load()).keys == ()


# --- A file that does not


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def start_anew(path: Path, statement: str) -> None:
    path.unlink()
    run_sql(path, statement)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_text("listen-http: 127.0.0.1:8080\n" * 100), "not a database"),
        (lambda path: path.write_bytes(b"\0" * 8192), "not a database"),
        (lambda path: path.write_bytes(b"x"), "not a database"),
        (lambda path: path.write_bytes(b"xy"), "not a database"),
        (lambda path: cut(path, 8192), "damaged"),
        (lambda path: cut(path, 100), "damaged|not a database"),
        (lambda path: overwrite(path, 4096 * 5, os.urandom(4096 * 20)), "damaged"),
        (lambda path: overwrite(path, 4096 * 60, os.urandom(4096)), "damaged"),
        (lambda path: overwrite(path, 100, b"\xff" * 3996), "damaged"),
        (lambda path: overwrite(path, 0, b"SQLite format 4\0"), "not a database"),
        (lambda path: run_sql(path, "PRAGMA user_version = 99"), "schema version 99 is newer than"),
        (
            lambda path: run_sql(path, f"PRAGMA application_id = {PEOPLE.application_id}"),
            "not a message database",
        ),
        (lambda path: run_sql(path, "PRAGMA application_id = 0"), "not a message database"),
        (lambda path: start_anew(path, "CREATE TABLE messages (id)"), "not a message database"),
        (lambda path: start_anew(path, "PRAGMA user_version = 1"), "not a message database"),
        (
            lambda path: (path.write_bytes(b""), path.with_name("messages.db-wal").write_bytes(b"x" * 99)),
            "empty, but its write-ahead log is not",
        ),
    ],
)
async def test_a_file_that_is_not_ours_or_not_whole_is_refused_and_not_touched(
    tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    path = await filled(tmp_path)
    damage(path)
    before = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    for _ in range(2):
        with pytest.raises(DatabaseUnusable, match=why) as caught:
            async with opened(tmp_path, FakeClock(START), Audience()):
                pass
        assert caught.value.path == path
        assert str(path) in str(caught.value)
        assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before
    assert not any(".bak" in name for name in os.listdir(tmp_path))


async def test_a_newer_database_with_a_log_is_refused_and_not_touched(tmp_path: Path) -> None:
    async with opened(tmp_path / "live", FakeClock(START), Audience()) as store:
        await store.post([post("m1")])
        run_sql(tmp_path / "live" / "messages.db", "PRAGMA user_version = 99")
        (tmp_path / "copy").mkdir()
        for name in ("messages.db", "messages.db-wal"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    files = [tmp_path / "copy" / name for name in ("messages.db", "messages.db-wal")]
    before = [file.read_bytes() for file in files]
    with pytest.raises(DatabaseUnusable, match="newer"):
        async with opened(tmp_path / "copy", FakeClock(START), Audience()):
            pass
    assert [file.read_bytes() for file in files] == before


async def test_a_large_file_is_not_read_through_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await filled(tmp_path)
    overwrite(path, 4096 * 60, os.urandom(4096))
    monkeypatch.setattr(migration, "QUICK_CHECK_BYTES", path.stat().st_size - 1)
    async with opened(tmp_path, FakeClock(START), Audience()) as store:
        assert store.head == 300


async def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "messages.db").mkdir()
    with pytest.raises(DatabaseUnusable, match="not a file"):
        async with opened(tmp_path, FakeClock(START), Audience()):
            pass


async def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    for context in (
        opened(tmp_path / "data", FakeClock(START), Audience()),
        PeopleDatabase.open(tmp_path / "data"),
    ):
        with pytest.raises(DatabaseUnusable, match="cannot be opened"):
            async with context:
                pass


@pytest.mark.parametrize("read_only", [".", "messages.db", "people.db"])
def test_what_cannot_be_written_to_is_refused_and_not_touched(read_only: str) -> None:
    script = (
        "import asyncio, os, pathlib, sys\n"
        "from ntfyish.core.clock import SystemClock\n"
        "from ntfyish.store.sqlite.failures import DatabaseUnusable\n"
        "from ntfyish.store.sqlite.messages import MessageDatabase\n"
        "from ntfyish.store.sqlite.people import PeopleDatabase\n"
        "folder, target = pathlib.Path(sys.argv[1]) / 'data', sys.argv[2]\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"  # nothing is read-only for root
        "async def start():\n"
        "    async with MessageDatabase.open(folder, SystemClock(), print), PeopleDatabase.open(folder):\n"
        "        pass\n"
        "asyncio.run(start())\n"
        "before = {file: file.read_bytes() for file in folder.iterdir()}\n"
        "os.chmod(folder / target, 0o500 if target == '.' else 0o400)\n"
        "try:\n"
        "    asyncio.run(start())\n"
        "except DatabaseUnusable as error:\n"
        "    print(error)\n"
        "os.chmod(folder / target, 0o700)\n"
        "assert before == {file: file.read_bytes() for file in folder.iterdir()}\n"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        result = subprocess.run(
            [sys.executable, "-c", script, folder, read_only],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    assert result.returncode == 0, result.stderr
    assert "read-only" in result.stdout


async def test_a_second_server_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    async with opened(tmp_path, FakeClock(START), Audience()) as store:
        with pytest.raises(DatabaseUnusable, match="another ntfyish server"):
            async with opened(tmp_path, FakeClock(START), Audience()):
                pass
        await store.post([post("m1")])
    async with opened(tmp_path, FakeClock(START), Audience()) as store:
        assert await ids(store) == ["m1"]


async def test_a_start_that_fails_gives_the_folder_back(tmp_path: Path) -> None:
    (tmp_path / "messages.db").write_text("not a database at all")
    for _ in range(2):
        with pytest.raises(DatabaseUnusable, match="not a database"):
            async with opened(tmp_path, FakeClock(START), Audience()):
                pass


async def test_a_start_that_fails_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "messages.db").write_text("not a database at all")
    before = threading.enumerate()
    with pytest.raises(DatabaseUnusable):
        async with opened(tmp_path, FakeClock(START), Audience()):
            pass
    for thread in set(threading.enumerate()) - set(before):
        thread.join(5)
        assert not thread.is_alive()


async def test_a_database_that_stays_locked_at_the_start_is_refused(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnusable, match="another program holds its lock"):
            async with PeopleDatabase.open(tmp_path, busy_timeout_s=0.05):
                pass


# --- Migrations


def double_amounts(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE sums SET amount = amount * 2")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE sums")
    raise KeyboardInterrupt


GROWING = Schema(
    name="ledger",
    application_id=77,
    journal="WAL",
    steps=(
        ("CREATE TABLE sums (amount INTEGER)", "INSERT INTO sums VALUES (1)"),
        double_amounts,
        ("ALTER TABLE sums ADD COLUMN note TEXT", "INSERT INTO sums VALUES (100, 'new')"),
        double_amounts,
    ),
)


def bring_up(path: Path, steps: int) -> None:
    connect_to_write(path, replace(GROWING, steps=GROWING.steps[:steps]), 1).close()


def amounts(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT amount FROM sums")]


@pytest.mark.parametrize("version", range(5))
def test_a_file_of_any_older_version_is_brought_up_step_by_step(tmp_path: Path, version: int) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    if version:
        bring_up(path, version)
    before = amounts(path) if version else []
    bring_up(path, 4)
    assert amounts(path) == [4, 200]
    assert (pragma(path, "user_version"), pragma(path, "application_id")) == (4, 77)
    backups = list(tmp_path.glob("*.bak-*"))
    if version in (0, 4):
        assert backups == []
    else:
        assert backups == [tmp_path / f"ledger.db.bak-v{version}"]
        assert amounts(backups[0]) == before
        assert pragma(backups[0], "user_version") == version
        assert backups[0].stat().st_mode & 0o777 == 0o600


def test_a_migration_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    bring_up(path, 1)
    cut_off = replace(GROWING, steps=(*GROWING.steps[:2], fail))
    (tmp_path / "ledger.db.bak-v1.partial").write_text("of an earlier attempt")
    with pytest.raises(KeyboardInterrupt):
        connect_to_write(path, cut_off, 1)
    assert (amounts(path), pragma(path, "user_version")) == ([2], 2)
    bring_up(path, 4)
    assert amounts(path) == [4, 200]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("schema", [MESSAGES, PEOPLE], ids=lambda schema: schema.name)
def test_the_real_schemas_grow_from_every_version(tmp_path: Path, schema: Schema) -> None:
    def tables(path: Path) -> list[object]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()

    connect_to_write(tmp_path / "new.db", schema, 1).close()
    for version in range(len(schema.steps)):
        path = tmp_path / f"v{version}.db"
        connect_to_write(path, replace(schema, steps=schema.steps[:version]), 1).close()
        connect_to_write(path, schema, 1).close()
        assert tables(path) == tables(tmp_path / "new.db")
