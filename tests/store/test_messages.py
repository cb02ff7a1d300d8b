"""What `MessageStore` promises about writing, over a real file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ntfyish.core.ports import Count
from ntfyish.model.errors import Conflict, Invalid, NtfyishError, Reason, Unavailable
from ntfyish.model.message import Event, Published
from ntfyish.model.query import Since, SinceKind
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.transaction import Transaction
from ntfyish.store.sqlite.writer import QUEUE_WEIGHT
from tests.clock import FakeClock

from .stage import START, Audience, ids, opened, post, stored_ids


async def test_a_post_is_on_disk_when_it_returns(store: MessageDatabase, tmp_path: Path) -> None:
    await store.post([post("m1")])
    assert stored_ids(tmp_path) == ["m1"]


async def test_what_becomes_visible_is_announced_as_it_was_posted(
    store: MessageDatabase, audience: Audience
) -> None:
    sent = post("m1")
    await store.post([sent])
    assert audience.commits == [[Published(1, sent.message, sent.line)]]


async def test_the_announcement_comes_before_any_caller_resumes(tmp_path: Path, clock: FakeClock) -> None:
    events: list[str] = []

    def visible(published: Sequence[Published]) -> None:
        events.extend(f"seen {one.message.id}" for one in published)

    async def publish(store: MessageDatabase, id_: str) -> None:
        await store.post([post(id_)])
        events.append(f"acked {id_}")

    async with MessageDatabase.open(tmp_path, clock, visible) as store:
        await store.post([post("first")])  # those that follow meet in one commit
        events.clear()
        await asyncio.gather(*(publish(store, f"m{n}") for n in range(3)))
    assert events.index("acked m0") > events.index("seen m0")
    assert [event for event in events if event.startswith("seen")] == ["seen m0", "seen m1", "seen m2"]
    assert events[-2:] == ["acked m1", "acked m2"]
    assert events.index("seen m2") < events.index("acked m1")


async def test_posts_that_wait_for_the_disk_share_one_commit(
    store: MessageDatabase, audience: Audience
) -> None:
    await asyncio.gather(*(store.post([post(f"m{n}")]) for n in range(100)))
    assert audience.seqs == list(range(1, 101))
    assert audience.ids == [f"m{n}" for n in range(100)]
    assert len(audience.commits) <= 2


async def test_a_long_queue_is_cut_into_several_commits_in_order(
    store: MessageDatabase, audience: Audience
) -> None:
    await asyncio.gather(*(store.post([post(f"m{n}-{k}") for k in range(7)]) for n in range(400)))
    assert audience.ids == [f"m{n}-{k}" for n in range(400) for k in range(7)]
    assert max(len(commit) for commit in audience.commits) <= 1_000


async def test_the_head_is_the_last_visible_message_already_when_it_is_announced(
    tmp_path: Path, clock: FakeClock
) -> None:
    heads: list[int] = []
    async with MessageDatabase.open(tmp_path, clock, lambda _: heads.append(store.head)) as store:
        assert store.head == 0
        await store.post([post("m1"), post("m2")])
        await store.post([post("m3")])
    assert heads == [2, 3]


async def test_a_write_goes_on_when_its_caller_is_cancelled(
    store: MessageDatabase, audience: Audience
) -> None:
    async def publish() -> None:
        await store.post([post("m1")])

    task = asyncio.create_task(publish())
    await asyncio.sleep(0)
    companion = store.post([post("m2")])  # of the same commit
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await companion
    await store.post([post("m3")])
    assert audience.ids == ["m1", "m2", "m3"]


async def test_an_empty_post_is_answered(store: MessageDatabase, audience: Audience) -> None:
    await store.post([])
    assert audience.commits == []


async def test_leaving_commits_what_is_queued_and_refuses_the_rest(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    async with opened(tmp_path, clock, audience) as store:
        queued = [asyncio.ensure_future(store.post([post(f"m{n}")])) for n in range(50)]
    assert await asyncio.gather(*queued) == [None] * 50
    assert stored_ids(tmp_path) == [f"m{n}" for n in range(50)]
    assert not (tmp_path / "messages.db-wal").exists()
    for refused in (store.post([post("late")]), store.counter("app", "2025-06")):
        with pytest.raises(Unavailable) as caught:
            await refused
        assert caught.value.reason is Reason.SHUTTING_DOWN


async def test_a_reopened_store_goes_on_counting(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    async with opened(tmp_path, clock, audience) as store:
        await store.post([post("m1"), post("m2")])
    async with opened(tmp_path, clock, audience) as store:
        assert store.head == 2
        await store.post([post("m3")])
    assert audience.seqs == [1, 2, 3]


async def test_numbers_of_pruned_messages_are_not_given_out_again(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    async with opened(tmp_path, clock, audience) as store:
        await store.post([post("m1", expires=START + 5), post("m2", expires=START + 5)])
        assert await store.prune(START + 5) == 2
    async with opened(tmp_path, clock, audience) as store:
        assert store.head == 2
        await store.post([post("m3")])
    assert audience.seqs == [1, 2, 3]


async def test_pruning_takes_expired_messages_only_and_no_more_than_asked(
    store: MessageDatabase, tmp_path: Path
) -> None:
    await store.post([post(f"m{n}", expires=START + n) for n in range(10)])
    assert await store.prune(START + 4, limit=3) == 3
    assert await store.prune(START + 4, limit=3) == 2
    assert await store.prune(START + 4, limit=3) == 0
    assert stored_ids(tmp_path) == [f"m{n}" for n in range(5, 10)]


# --- Scheduled messages


async def test_a_scheduled_message_is_seen_only_when_it_is_released(
    store: MessageDatabase, audience: Audience
) -> None:
    later = post("later", due_at=START + 60)
    await store.post([later])
    await store.post([post("m1")])
    assert await store.next_due() == START + 60
    assert await store.release_due(START + 59) == 0
    assert audience.ids == ["m1"]
    assert await store.release_due(START + 60) == 1
    assert audience.commits[-1] == [Published(2, later.message, later.line)]
    assert store.head == 2
    assert await store.next_due() is None
    assert await store.release_due(START + 60) == 0


async def test_a_client_that_resumes_does_not_miss_what_was_released_meanwhile(
    store: MessageDatabase, clock: FakeClock
) -> None:
    await store.post([post("later", due_at=START + 60)])
    await store.post([post("m1")])
    clock.set_wall(START + 61)
    await store.release_due(START + 61)
    assert await ids(store, since=Since(SinceKind.ID, id="m1"), now=START + 61) == ["later"]


async def test_messages_are_released_earliest_first_and_no_more_than_asked(
    store: MessageDatabase, audience: Audience
) -> None:
    for id_, due in (("c", 30), ("a", 10), ("d", 30), ("b", 20)):
        await store.post([post(id_, due_at=START + due)])
    assert await store.next_due() == START + 10
    assert await store.release_due(START + 60, limit=3) == 3
    assert await store.release_due(START + 60, limit=3) == 1
    assert audience.ids == ["a", "b", "c", "d"]
    assert audience.seqs == [1, 2, 3, 4]


async def test_scheduled_messages_survive_a_restart(
    tmp_path: Path, clock: FakeClock, audience: Audience
) -> None:
    async with opened(tmp_path, clock, audience) as store:
        await store.post([post("later", due_at=START + 60)])
    async with opened(tmp_path, clock, audience) as store:
        assert await store.next_due() == START + 60
        await store.release_due(START + 60)
    assert audience.ids == ["later"]


@pytest.mark.parametrize(
    ("replacing", "left"),
    [
        (post("new", sequence_id="backup", due_at=START + 90, replaces=True), ["other", "new"]),
        (post("new", sequence_id="backup", replaces=True), ["other"]),
        (post("new", sequence_id="backup", replaces=True, event=Event.MESSAGE_DELETE), ["other"]),
        (post("new", sequence_id="backup", due_at=START + 90), ["old", "other", "new"]),
        (post("new", sequence_id="backup", replaces=True, topic="elsewhere"), ["old", "other"]),
        (post("new", sequence_id="other", replaces=True), ["old"]),  # the sequence that its id names
        (post("new", replaces=True), ["old", "other"]),  # begins a sequence: there is nothing to replace
    ],
)
async def test_a_message_replaces_what_is_pending_in_its_sequence(
    store: MessageDatabase, replacing: object, left: list[str]
) -> None:
    await store.post([post("old", sequence_id="backup", due_at=START + 60)])
    await store.post([post("other", due_at=START + 70)])
    await store.post([replacing])  # type: ignore[list-item]
    pending = await ids(store, "alerts", "elsewhere", scheduled=True)
    assert [id_ for id_ in pending if id_ != "new" or replacing.due_at] == left  # type: ignore[attr-defined]


async def test_what_is_not_kept_cancels_what_is_pending_and_leaves_nothing(
    store: MessageDatabase, audience: Audience
) -> None:
    await store.post([post("old", sequence_id="backup", due_at=START + 60), post("other", due_at=START + 70)])
    await store.post([replace(post("new", sequence_id="backup", replaces=True), kept=False)])
    assert await ids(store, "alerts", scheduled=True) == ["other"]
    assert audience.commits == []
    assert store.head == 0


async def test_a_damaged_scheduled_message_does_not_hold_up_the_others(
    store: MessageDatabase, audience: Audience, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = replace(post("damaged", due_at=START + 1), line=b'{"id": "dam')
    await store.post([damaged, post("fine", due_at=START + 2)])
    assert await store.release_due(START + 2) == 2
    assert audience.ids == ["fine"]
    assert "damaged" in caplog.text


# --- Counters


async def test_counts_add_up_per_subject_and_period(store: MessageDatabase) -> None:
    june, july = "2025-06", "2025-07"
    await asyncio.gather(
        store.post([post("m1")], [Count("app", june, 1)]),
        store.post([], [Count("app", june, 2), Count("app", june, 4), Count("app", july, 8)]),
        store.post([post("m2")], [Count("other", june, 16)]),
    )
    await store.post([], [Count("app", june, 32)])
    assert await store.counter("app", june) == 39
    assert await store.counter("app", july) == 8
    assert await store.counter("other", june) == 16
    assert await store.counter("nobody", june) == 0


async def test_counts_are_kept_only_with_their_messages(store: MessageDatabase) -> None:
    await store.post([post("m1")])
    results = await asyncio.gather(
        store.post([post("m2")], [Count("app", "2025-06", 1)]),
        store.post([post("m1")], [Count("app", "2025-06", 10)]),
        store.post([post("m3")], [Count("app", "2025-06", 100)]),
        return_exceptions=True,
    )
    assert isinstance(results[1], Conflict)
    assert await store.counter("app", "2025-06") == 101


# --- One bad post among good ones


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([post("taken")], Conflict),
        ([post("fresh"), post("fresh")], Conflict),
        ([post("pending", due_at=START + 1)], Conflict),
        ([post("fresh"), post("fresh", due_at=START + 1)], Conflict),
        ([post("taken", due_at=START + 1)], Conflict),
        ([post("fresh", expires=2**63)], Invalid),
        ([post("fresh", due_at=2**63)], Invalid),
        ([replace(post("fresh"), message=replace(post("fresh").message, topic="\ud800"))], Invalid),
    ],
)
async def test_a_bad_post_fails_alone_and_as_a_whole(
    store: MessageDatabase, audience: Audience, tmp_path: Path, bad: list[object], error: type[NtfyishError]
) -> None:
    await store.post([post("taken"), post("pending", due_at=START + 60)])
    spoiled = [post("good", text="belongs to the bad one"), *bad]
    results = await asyncio.gather(
        store.post([post("before")]),
        store.post(spoiled),  # type: ignore[arg-type]
        store.post([post("after")]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), error, type(None)]
    assert audience.ids == stored_ids(tmp_path) == ["taken", "before", "after"]
    assert audience.seqs == [1, 2, 3]


async def test_a_rejected_row_fails_alone_whatever_rejects_it(
    store: MessageDatabase, audience: Audience, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        connection.execute(
            "CREATE TRIGGER fuse BEFORE INSERT ON messages WHEN new.topic = 'fuse' "
            "BEGIN SELECT RAISE(ROLLBACK, 'blown'); END"
        )
    results = await asyncio.gather(
        store.post([post("m1")]), store.post([post("m2", "fuse")]), return_exceptions=True
    )
    assert isinstance(results[1], Unavailable)
    await store.post([post("m3")])
    assert audience.ids == stored_ids(tmp_path)
    assert "m3" in audience.ids
    assert "m2" not in audience.ids


async def test_an_id_that_was_taken_meanwhile_does_not_hold_up_the_timetable(
    store: MessageDatabase, audience: Audience, caplog: pytest.LogCaptureFixture
) -> None:
    await store.post([post("twin", due_at=START + 1), post("fine", due_at=START + 2)])
    await store.post([post("twin")])
    assert await store.release_due(START + 2) == 2
    assert audience.ids == ["twin", "fine"]
    assert await store.next_due() is None
    assert "twin" in caplog.text


async def test_posts_beyond_the_bound_of_the_queue_fail_at_once(
    store: MessageDatabase, audience: Audience
) -> None:
    running = store.post([post("m0")])
    await asyncio.sleep(0)  # is on its way to the disk
    many = store.post([post(f"m{n}") for n in range(1, QUEUE_WEIGHT + 1)])
    refused = store.post([post("more")])
    with pytest.raises(Unavailable) as caught:
        await refused
    assert caught.value.reason is Reason.STORAGE_BUSY
    await running
    await many
    await store.post([post("again")])
    assert len(audience.ids) == QUEUE_WEIGHT + 2


async def test_a_mistake_in_a_piece_of_work_leaves_no_transaction_open(
    store: MessageDatabase, audience: Audience, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def mistaken(transaction: Transaction) -> None:
        transaction.post([post("lost")], ())
        transaction.flush()
        raise ZeroDivisionError

    with pytest.raises(Unavailable) as caught:
        await store._writer.submit(mistaken)
    assert caught.value.reason is Reason.STORAGE_BROKEN
    with closing(sqlite3.connect(tmp_path / "messages.db", timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
    await store.post([post("m1")])
    assert (audience.ids, audience.seqs) == (["m1"], [1])
    assert "ZeroDivisionError" in caplog.text


async def test_a_mistake_of_the_audience_costs_nobody_their_answer(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def visible(published: Sequence[Published]) -> None:
        raise LookupError(published[0].message.id)

    async with MessageDatabase.open(tmp_path, clock, visible) as store:
        await store.post([post("m1")])
        await store.post([post("m2")])
    assert stored_ids(tmp_path) == ["m1", "m2"]
    assert "store writer failed" in caplog.text
