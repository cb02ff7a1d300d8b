"""How much there is in the message database, counted cheaply."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ntfyish.core.figures import StoredRows, Waiting
from ntfyish.core.ports import Errand
from ntfyish.store.sqlite import figures
from ntfyish.store.sqlite.messages import MessageDatabase
from tests.clock import FakeClock
from tests.store.stage import post


async def test_rows_are_counted_by_what_they_are(store: MessageDatabase, clock: FakeClock) -> None:
    now = clock.now()
    due = int(now) + 60
    errands = [Errand("email", f"m{number}", b"x" * 9000, now + number, "") for number in (1, 2)]
    await store.post([post("a"), post("b"), post("c", due_at=due)], (), [errands[0]])
    await store.post((), (), [errands[1], Errand("callback", "r", b"", now + 5, "x")])
    assert await store.figures.count_rows() == StoredRows(
        messages=2,
        scheduled=1,
        receipts=0,
        errands={"email": Waiting(2, now + 1), "callback": Waiting(1, now + 5)},
    )


async def test_commits_and_what_was_in_them_are_counted(store: MessageDatabase) -> None:
    before = store.figures.commits, store.figures.writes
    waiting = [store.post([post(f"m{number}")]) for number in range(10)]
    assert store.figures.write_queue == 10
    for one in waiting:
        await one
    assert store.figures.write_queue == 0
    assert store.figures.writes - before[1] == 10
    assert 1 <= store.figures.commits - before[0] <= 10


@pytest.mark.parametrize(
    ("statement", "uses"),
    [
        (figures.MESSAGES, "COVERING INDEX"),
        (figures.SCHEDULED, "COVERING INDEX"),
        (figures.RECEIPTS, "COVERING INDEX receipts_by_next"),
        (figures.ERRANDS, "SCAN errands USING COVERING INDEX errands_by_kind"),
    ],
)
async def test_an_index_is_enough_to_count(
    store: MessageDatabase, tmp_path: Path, statement: str, uses: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    details = [row[3] for row in plan]
    assert any(uses in detail for detail in details), details
    assert not any("TEMP B-TREE" in detail for detail in details), details
