"""What `MessageStore` promises about reading: `replay` and `replay_joined`, over a real file."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ntfyish.core.ports import Post, Shape
from ntfyish.model.query import SINCE_ALL, SINCE_LATEST, SINCE_NONE, Since, SinceKind
from ntfyish.store.sqlite import replay as statements
from ntfyish.store.sqlite import transaction
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.replay import CHUNK_BYTES, CHUNK_ROWS
from tests.clock import FakeClock

from .stage import LINES, START, ids, joined, post

SSE = Shape("id: ", "\nevent: message\ndata: ", "\n\n")


def since_id(id_: str) -> Since:
    return Since(SinceKind.ID, id=id_)


def since_time(time: float) -> Since:
    return Since(SinceKind.TIME, time=time)


async def post_at(store: MessageDatabase, clock: FakeClock, time: int, *posts: Post) -> None:
    clock.set_wall(time)
    await store.post(posts)


async def expect(
    store: MessageDatabase, topic: str, since: Since, expected: list[str], now: float = START
) -> None:
    """Both ways to read one topic give the same."""
    assert await ids(store, topic, since=since, now=now) == expected
    marked = await joined(store, topic, since, Shape("<", ">", "\n"), now)
    assert [line.split(b">")[0][1:].decode() for line in marked.splitlines()] == expected


async def test_everything_of_a_topic_comes_in_order_and_unchanged(store: MessageDatabase) -> None:
    sent = [post(f"m{n}", text="Grüße 🎉 \u2028\n\0") for n in range(3)]
    await store.post([sent[0], post("x", "other"), sent[1], sent[2]])
    replay = store.replay(["alerts"], SINCE_ALL, store.head, START)
    assert [chunk async for chunk in replay] == [[(one.message.id, one.line) for one in sent]]
    assert await joined(store) == b"".join(one.line + b"\n" for one in sent)


async def test_the_joined_form_follows_the_shape(store: MessageDatabase) -> None:
    sent = [post("m1"), post("m2")]
    await store.post(sent)
    assert await joined(store, shape=SSE) == b"".join(
        f"id: {one.message.id}\nevent: message\ndata: ".encode() + one.line + b"\n\n" for one in sent
    )


async def test_topics_are_told_apart_by_every_character(store: MessageDatabase) -> None:
    await store.post([post("m1", "secret"), post("m2", "SECRET"), post("m3", "s_cret"), post("m4", "secre")])
    for topic, expected in (("secret", "m1"), ("SECRET", "m2"), ("s_cret", "m3"), ("secre", "m4")):
        await expect(store, topic, SINCE_ALL, [expected])


async def test_nothing_is_replayed_for_none_or_without_topics(store: MessageDatabase) -> None:
    await store.post([post("m1"), post("later", due_at=START + 1)])
    await expect(store, "alerts", SINCE_NONE, [])
    assert await ids(store, since=SINCE_NONE, scheduled=True) == []
    assert [chunk async for chunk in store.replay([], SINCE_ALL, 9, START, scheduled=True)] == []


async def test_a_replay_begins_after_the_message_that_the_client_has(store: MessageDatabase) -> None:
    await store.post([post("m1"), post("x", "other"), post("m2"), post("m3")])
    await expect(store, "alerts", since_id("m1"), ["m2", "m3"])
    await expect(store, "alerts", since_id("x"), ["m2", "m3"])  # of another topic, but in the same order
    await expect(store, "alerts", since_id("m3"), [])


@pytest.mark.parametrize("unknown", ["nonesuch", "", "m1\0", "M1", "'; --"])
async def test_everything_is_replayed_after_an_unknown_message(store: MessageDatabase, unknown: str) -> None:
    await store.post([post("m1"), post("m2")])
    await expect(store, "alerts", since_id(unknown), ["m1", "m2"])


async def test_expired_messages_are_not_replayed_even_before_they_are_pruned(store: MessageDatabase) -> None:
    await store.post([post("m1", expires=START + 10), post("m2", expires=START + 11)])
    await expect(store, "alerts", SINCE_ALL, ["m2"], now=START + 10)
    await expect(store, "alerts", SINCE_LATEST, [], now=START + 11)


async def test_what_came_after_the_head_is_not_replayed(store: MessageDatabase) -> None:
    await store.post([post("m1")])
    await store.post([post("m2")])
    for since in (SINCE_ALL, SINCE_LATEST):
        assert await ids(store, since=since, upto=1) == ["m1"]


async def test_the_latest_is_the_newest_of_each_topic(store: MessageDatabase) -> None:
    await store.post([post("a1", "a"), post("b1", "b"), post("b2", "b"), post("a2", "a"), post("c1", "c")])
    await store.post([post("b3", "b", expires=START)])
    assert await ids(store, "c", "b", "empty", "a", since=SINCE_LATEST) == ["b2", "a2", "c1"]
    await expect(store, "a", SINCE_LATEST, ["a2"])
    await expect(store, "empty", SINCE_LATEST, [])


# --- since=<time>


async def test_a_replay_from_a_moment_contains_everything_from_then_on(
    store: MessageDatabase, clock: FakeClock
) -> None:
    for n in range(20):
        topic = "alerts" if n % 2 else "other"
        await post_at(store, clock, START + 10 * n, post(f"m{n}", topic, time=START + 10 * n))
    everything = [f"m{n}" for n in range(1, 20, 2)]
    for time, expected in (
        (0, everything),
        (START + 10, everything),
        (START + 10.5, everything[1:]),
        (START + 110, everything[5:]),
        (START + 190, ["m19"]),
        (START + 191, []),
        (float("inf"), []),
        (-1e300, everything),
    ):
        await expect(store, "alerts", since_time(time), expected)


async def test_a_moment_is_found_among_gaps_that_pruning_left(
    store: MessageDatabase, clock: FakeClock
) -> None:
    for n in range(60):
        expires = START + 5 if n % 5 else START + 9_000
        await post_at(store, clock, START + n, post(f"m{n}", time=START + n, expires=expires))
    await store.prune(START + 5)
    for n in range(60):
        await expect(store, "alerts", since_time(START + n), [f"m{k}" for k in range(0, 60, 5) if k >= n])


async def test_a_clock_that_is_set_back_hides_nothing(store: MessageDatabase, clock: FakeClock) -> None:
    await post_at(store, clock, START, post("m1", time=START))
    await post_at(store, clock, START - 3_600, post("m2", time=START + 5))  # set back amid publishing
    await post_at(store, clock, START - 3_600, post("m3", time=START - 3_600))
    await post_at(store, clock, START + 60, post("m4", time=START + 60))
    await expect(store, "alerts", since_time(START + 5), ["m2", "m3", "m4"])
    await expect(store, "alerts", since_time(START - 3_600), ["m1", "m2", "m3", "m4"])
    await expect(store, "alerts", since_time(START + 60), ["m4"])


async def test_a_message_that_was_released_late_is_found_from_the_moment_it_was_seen(
    store: MessageDatabase, clock: FakeClock
) -> None:
    await store.post([post("later", due_at=START + 60)])
    clock.set_wall(START + 90)
    await store.release_due(START + 90)
    await expect(store, "alerts", since_time(START + 80), ["later"], now=START + 90)


async def test_an_empty_store_has_nothing_from_any_moment(store: MessageDatabase) -> None:
    await expect(store, "alerts", since_time(START), [])


# --- scheduled=1


async def test_what_is_pending_follows_by_the_time_it_is_due(store: MessageDatabase) -> None:
    await store.post([post("m1"), post("p3", due_at=START + 30), post("p1", "other", due_at=START + 10)])
    await store.post([post("p2", due_at=START + 20), post("x", "elsewhere", due_at=START + 5), post("m2")])
    topics = ("alerts", "other")
    assert await ids(store, *topics) == ["m1", "m2"]
    assert await ids(store, *topics, scheduled=True) == ["m1", "m2", "p1", "p2", "p3"]
    assert await ids(store, *topics, since=since_id("m1"), scheduled=True) == ["m2", "p1", "p2", "p3"]
    assert await ids(store, *topics, since=since_time(START + 20), scheduled=True) == ["p2", "p3"]
    assert await ids(store, *topics, since=SINCE_LATEST, scheduled=True) == ["m2"]
    assert await ids(store, "other", scheduled=True) == ["p1"]


async def test_many_pending_messages_come_in_chunks_and_in_order(
    store: MessageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_ENTRIES_PER_LOOK", 700)
    posts = [
        post(f"p{n}", f"t{n % 3}", due_at=START + 1 + n // 900, text="x") for n in range(2 * CHUNK_ROWS + 7)
    ]
    await store.post(posts)
    chunks = [chunk async for chunk in store.replay(["t0", "t1", "t2"], SINCE_ALL, 0, START, scheduled=True)]
    assert [id_ for chunk in chunks for id_, _ in chunk] == [one.message.id for one in posts]
    assert max(len(chunk) for chunk in chunks) <= CHUNK_ROWS


# --- Chunks


async def test_a_long_replay_comes_in_chunks(store: MessageDatabase) -> None:
    count = 2 * CHUNK_ROWS + 1
    await store.post([post(f"m{n}", text="x") for n in range(count)])
    expected = [f"m{n}" for n in range(count)]
    chunks = [chunk async for chunk in store.replay_joined("alerts", SINCE_ALL, count, START, LINES)]
    assert [chunk.count(b"\n") for chunk in chunks] == [CHUNK_ROWS, CHUNK_ROWS, 1]
    await expect(store, "alerts", SINCE_ALL, expected)


async def test_a_replay_of_exactly_one_chunk_ends(store: MessageDatabase) -> None:
    await store.post([post(f"m{n}", text="x") for n in range(CHUNK_ROWS)])
    await expect(store, "alerts", SINCE_ALL, [f"m{n}" for n in range(CHUNK_ROWS)])


async def test_chunks_of_large_messages_have_fewer_rows(store: MessageDatabase) -> None:
    await store.post([post(f"m{n}", text="x" * 20_000) for n in range(2 * CHUNK_ROWS)])
    sizes = [len(chunk) async for chunk in store.replay_joined("alerts", SINCE_ALL, 9_999, START, LINES)]
    assert sum(sizes) > 2 * CHUNK_ROWS * 20_000
    assert max(sizes[1:]) <= CHUNK_BYTES
    await expect(store, "alerts", SINCE_ALL, [f"m{n}" for n in range(2 * CHUNK_ROWS)])


async def test_many_topics_are_merged_in_the_order_of_their_commits(store: MessageDatabase) -> None:
    expected = []
    for start in range(0, 12_000, 1_000):
        # dense at first, then one wanted message among a hundred
        wanted = [n < 3_000 or n % 100 == 0 for n in range(start, start + 1_000)]
        batch = [
            post(f"m{start + k}", f"t{k % 40}" if wanted[k] else "other", text="x") for k in range(1_000)
        ]
        expected += [one.message.id for one, wants in zip(batch, wanted, strict=True) if wants]
        await store.post(batch)
    topics = [f"t{n}" for n in range(1_000)]
    assert await ids(store, *topics, *topics[:3]) == expected
    chunks = [len(chunk) async for chunk in store.replay(topics, SINCE_ALL, store.head, START)]
    assert max(chunks) == CHUNK_ROWS
    latest = await ids(store, *topics, since=SINCE_LATEST)
    assert latest == [id_ for id_ in expected if id_ in set(latest)]
    assert len(latest) == 40


async def test_a_replay_that_is_abandoned_half_way_holds_nothing(
    store: MessageDatabase, tmp_path: Path
) -> None:
    await store.post([post(f"m{n}", text="x") for n in range(2 * CHUNK_ROWS)])
    replays = [
        store.replay_joined("alerts", SINCE_ALL, store.head, START, LINES),
        store.replay(["alerts"], SINCE_ALL, store.head, START),
        store.replay(["alerts", "other"], SINCE_ALL, store.head, START),
    ]
    for one in replays:
        assert await anext(one)
    with closing(sqlite3.connect(tmp_path / "messages.db", isolation_level=None)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
    assert not busy
    del replays, one
    gc.collect()
    assert len(asyncio.all_tasks()) == 1


async def test_a_chunk_whose_reader_was_cancelled_is_read_again(store: MessageDatabase) -> None:
    await store.post([post(f"m{n}", text="x") for n in range(CHUNK_ROWS + 1)])
    replay = store.replay(["alerts"], SINCE_ALL, store.head, START)
    reading = asyncio.ensure_future(anext(replay))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert [len(chunk) async for chunk in replay] == [CHUNK_ROWS, 1]


async def test_reads_that_meet_are_all_answered(store: MessageDatabase) -> None:
    await store.post([post(f"m{n}", f"t{n}") for n in range(100)])
    assert await asyncio.gather(*(ids(store, f"t{n}") for n in range(100))) == [[f"m{n}"] for n in range(100)]


async def test_a_read_that_fails_leaves_the_others_alone(store: MessageDatabase) -> None:
    await store.post([post("m1")])
    results = await asyncio.gather(
        ids(store), ids(store, since=since_id("\ud800")), ids(store), return_exceptions=True
    )
    assert results[0] == results[2] == ["m1"]
    assert isinstance(results[1], Exception)


# --- Query plans


@pytest.mark.parametrize(
    ("statement", "uses"),
    [
        *(
            (text, "SEARCH messages USING INDEX messages_by_topic (topic=? AND rowid>? AND rowid<?)")
            for text in statements.JOINED.values()
        ),
        (statements.ONE_TOPIC, "messages_by_topic (topic=? AND rowid>? AND rowid<?)"),
        (statements.MANY_TOPICS, "messages_by_topic (topic=? AND rowid>? AND rowid<?)"),
        (statements.LATEST, "messages_by_topic (topic=? AND rowid<?)"),
        (statements.MESSAGES_BY_SEQ, "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"),
        (statements.PENDING, "scheduled_by_topic (topic=? AND due>?)"),
        (statements.PENDING_BY_ENTRY, "SEARCH scheduled USING INTEGER PRIMARY KEY (rowid=?)"),
        (statements.BY_ID, "sqlite_autoindex_messages_1 (id=?)"),
        (statements.STORED_FROM, "SEARCH messages USING INTEGER PRIMARY KEY (rowid>?)"),
        (transaction.DUE, "SEARCH scheduled USING INDEX scheduled_by_due (due<?)"),
        (transaction.PRUNE, "messages_by_expires (expires<?)"),
        (transaction.CANCEL, "scheduled_by_sequence (topic=? AND sequence_id=?)"),
        ("SELECT min(due) FROM scheduled", "SEARCH scheduled USING COVERING INDEX scheduled_by_due"),
    ],
)
async def test_the_hot_statements_use_their_index(
    store: MessageDatabase, tmp_path: Path, statement: str, uses: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        names = {"topic", "after", "upto", "now", "rows", "before_id", "before_line", "after_line"}
        values = dict.fromkeys(names, 1) if ":topic" in statement else (1,) * statement.count("?")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    details = [row[3] for row in plan]
    assert any(uses in detail for detail in details), details
    assert not any(detail.startswith(("SCAN messages", "SCAN scheduled")) for detail in details), details
    if "json_each" not in statement:
        assert not any("TEMP B-TREE" in detail for detail in details), details
