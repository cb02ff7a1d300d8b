"""The outbox of pushes, in a database on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ntfyish.core.ports import ClaimedPush, NewPushes, PushedMessage, PushNote, PushTarget
from ntfyish.model.push import Delivery, PushKind, PushState
from ntfyish.store.sqlite import pushes
from ntfyish.store.sqlite.messages import MessageDatabase

from .stage import START

APP = "apns:app.example"
OWNER = "app:somebody"


def pushed(
    id: str = "m1",
    *,
    request: str = "",
    owner: str = OWNER,
    topic: str = "alerts",
    sequence: str = "",
    at: float = START,
    expires_at: int = START + 3600,
) -> PushedMessage:
    return PushedMessage(
        id=id,
        request=request,
        owner=owner,
        topic=topic,
        collapse_id=sequence or id,
        created_at=at,
        expires_at=expires_at,
        line=f'{{"id":"{id}"}}'.encode(),
    )


def new(
    message: PushedMessage,
    *devices: str,
    destination: str = APP,
    state: PushState = PushState.PENDING,
    due_at: float = START,
) -> NewPushes:
    targets = tuple(
        PushTarget(device, destination, PushKind(destination.partition(":")[0]), f"name of {device}")
        for device in devices
    )
    return NewPushes(message, targets, due_at, state)


async def enter(store: MessageDatabase, *extras: NewPushes) -> None:
    await store.post((), (), extras)


async def claim(
    store: MessageDatabase, now: float = START, destination: str = APP, limit: int = 500
) -> Sequence[ClaimedPush]:
    return await store.pushes.claim_pushes(destination, now, now + 60, limit)


async def note(
    store: MessageDatabase,
    claimed: ClaimedPush,
    state: PushState = PushState.DELIVERED,
    reason: str = "",
    *,
    at: float = START,
    due_at: float = 0.0,
    attempted: bool = True,
) -> None:
    await store.pushes.note_pushes([PushNote(claimed.entry, state, reason, at, due_at, attempted)])


async def states(store: MessageDatabase, id: str = "m1") -> dict[str, str]:
    """Return the states of the pushes of a message or sequence: message/device -> state."""
    found = await store.pushes.find_deliveries(id, OWNER) or ()
    return {f"{one.message_id}/{one.device[-1]}": one.state.value for one in found}


def devices(claimed: Sequence[ClaimedPush]) -> list[str]:
    return [one.device_id for one in claimed]


async def test_a_claim_takes_what_is_due_to_its_destination_in_order(store: MessageDatabase) -> None:
    await enter(store, new(pushed("m1"), "a", "b"), new(pushed("m2"), "a", due_at=START - 1))
    await enter(store, new(pushed("m3"), "c", destination="apns:other.example"))
    await enter(store, new(pushed("m4"), "a", due_at=START + 1))
    found = await claim(store)
    assert [(one.message.id, one.device_id) for one in found] == [("m2", "a"), ("m1", "a"), ("m1", "b")]
    assert {(one.attempt, one.reason) for one in found} == {(1, "")}
    assert found[1].message is found[2].message
    assert found[1].message == pushed("m1")
    assert devices(await claim(store, destination="apns:other.example")) == ["c"]


async def test_a_claim_takes_no_more_than_asked_for(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), *"abcde"))
    assert devices(await claim(store, limit=2)) == ["a", "b"]
    assert devices(await claim(store, limit=2)) == ["c", "d"]


async def test_a_claim_is_a_lease(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), "a"))
    assert [one.attempt for one in await claim(store)] == [1]
    assert await claim(store, START + 59) == []
    assert await store.pushes.next_push(APP) == START + 60
    assert [one.attempt for one in await claim(store, START + 60)] == [2]


async def test_what_was_claimed_or_put_off_can_be_made_due(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), *"abcd"))
    _, put_off, done = await claim(store, limit=3)
    await note(store, put_off, PushState.PENDING, "Busy", due_at=START + 500)
    await note(store, done)
    assert await store.pushes.recall_pushes(START + 1) == 2
    assert devices(await claim(store, START + 1)) == ["d", "a", "b"]
    assert (await states(store))["m1/c"] == "delivered"


async def test_what_is_entered_again_stays_as_it_is(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), "a"))
    (first,) = await claim(store)
    await note(store, first)
    await enter(store, new(pushed(), "a", "b", due_at=START + 5))
    assert await states(store) == {"m1/a": "delivered", "m1/b": "pending"}
    assert devices(await claim(store, START + 5)) == ["b"]


async def test_what_ended_is_not_tried_again(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), *"abc"))
    ends = (PushState.DELIVERED, PushState.FAILED, PushState.EXPIRED)
    for one, state in zip(await claim(store), ends, strict=True):
        await note(store, one, state, "Why", at=START + 2)
    assert await claim(store, START + 1000) == []
    assert await store.pushes.next_push(APP) is None
    found = await store.pushes.find_deliveries("m1", OWNER)
    assert found == [
        Delivery(
            message_id="m1",
            device=f"name of {device}",
            kind=PushKind.APNS,
            state=state,
            attempts=1,
            reason="Why",
            changed_at=START + 2,
        )
        for device, state in zip("abc", ends, strict=True)
    ]


async def test_another_try_is_due_when_the_note_says(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), "a"))
    (first,) = await claim(store)
    await note(store, first, PushState.PENDING, "TooManyRequests", due_at=START + 7)
    assert await claim(store, START + 6) == []
    assert await store.pushes.next_push(APP) == START + 7
    (second,) = await claim(store, START + 7)
    assert (second.attempt, second.reason) == (2, "TooManyRequests")


async def test_a_try_that_never_began_does_not_count(store: MessageDatabase) -> None:
    await enter(store, new(pushed(), "a"))
    for _ in range(3):
        (one,) = await claim(store)
        assert one.attempt == 1
        await note(store, one, PushState.PENDING, due_at=START, attempted=False)
    await note(store, one, PushState.PENDING, due_at=START, attempted=False)  # once too often
    assert [one.attempt for one in await claim(store)] == [1]


async def test_a_later_message_of_the_sequence_supersedes_what_waits(store: MessageDatabase) -> None:
    await enter(store, new(pushed("m1", sequence="s"), *"abc"))
    (first,) = await claim(store, limit=1)
    await note(store, first)
    (under_way,) = await claim(store, limit=1)
    await enter(
        store,
        new(pushed("x1", sequence="s", topic="other"), "c"),
        new(pushed("m2", sequence="s", at=START + 1), *"abd"),
    )
    assert await states(store, "s") == {
        "m1/a": "delivered",
        "m1/b": "superseded",
        "m1/c": "pending",  # the later one does not go there
        "x1/c": "pending",  # a sequence belongs to its topic
        **{f"m2/{device}": "pending" for device in "abd"},
    }
    await note(store, under_way)
    assert (await states(store, "s"))["m1/b"] == "superseded"


async def test_the_first_message_of_a_sequence_is_superseded_by_its_id(store: MessageDatabase) -> None:
    await enter(store, new(pushed("m1"), "a"))
    await enter(store, new(pushed("m2", sequence="m1", at=START + 1), "a"))
    assert await states(store, "m1") == {"m1/a": "superseded", "m2/a": "pending"}


@pytest.mark.parametrize("later", [0, 5], ids=["within its second", "later"])
async def test_what_is_entered_late_does_not_supersede_what_came_after_it(
    store: MessageDatabase, later: int
) -> None:
    # A crash in the middle of the first one's devices has the rest of them entered after the second one's.
    await enter(store, new(pushed("m1", sequence="s"), "a"))
    await enter(store, new(pushed("m2", sequence="s", at=START + later), *"abc"))
    (first, *_) = await claim(store)
    await note(store, first)
    await enter(store, new(pushed("m1", sequence="s"), *"bcd"))
    assert await states(store, "s") == {
        "m1/a": "superseded",
        "m1/b": "superseded",
        "m1/c": "superseded",
        "m1/d": "pending",
        "m2/a": "delivered",
        "m2/b": "pending",
        "m2/c": "pending",
    }


async def test_what_is_dropped_supersedes_nothing(store: MessageDatabase) -> None:
    await enter(store, new(pushed("m1", sequence="s"), "a"))
    await enter(store, new(pushed("m2", sequence="s", at=START + 1), "a", state=PushState.DROPPED))
    await enter(store, new(pushed("m1", sequence="s"), "a", "b"))
    assert await states(store, "s") == {"m1/a": "pending", "m1/b": "pending", "m2/a": "dropped"}


async def test_what_waits_is_told_by_destination(store: MessageDatabase) -> None:
    assert (await store.pushes.waiting_destinations(), await store.pushes.oldest_push()) == ([], None)
    await enter(
        store,
        new(pushed("m1"), "a", due_at=START + 3),
        new(pushed("m2", at=START + 1), "a", "b", due_at=START + 1),
        new(pushed("m3", at=START + 2), "c", destination="webpush:push.example"),
    )
    assert sorted(await store.pushes.waiting_destinations()) == [
        (APP, START + 1, 3),
        ("webpush:push.example", START, 1),
    ]
    assert await store.pushes.oldest_push() == START
    await note(store, (await claim(store, START + 3))[-1])
    assert await store.pushes.oldest_push() == START + 1


async def test_what_is_over_expires_unless_somebody_is_at_work_on_it(store: MessageDatabase) -> None:
    await enter(store, new(pushed("m1", at=START - 100), *"abc"), new(pushed("m2"), "a"))
    await enter(store, new(pushed("m3", expires_at=START + 20), "a", destination="webpush:push.example"))
    await claim(store, limit=1)
    expire = store.pushes.expire_pushes
    assert await expire(START + 19, START - 100) == {}
    assert await expire(START + 19, START - 99, limit=1) == {PushKind.APNS: 1}
    assert await expire(START + 20, START - 99) == {PushKind.APNS: 1, PushKind.WEB_PUSH: 1}
    assert await expire(START + 59, START - 99) == {}
    assert await expire(START + 60, START - 99) == {PushKind.APNS: 1}
    assert await states(store) == {f"m1/{device}": "expired" for device in "abc"}
    assert await states(store, "m2") == {"m2/a": "pending"}
    assert await states(store, "m3") == {"m3/a": "expired"}


async def test_old_results_are_deleted_and_their_message_with_the_last(
    store: MessageDatabase, tmp_path: Path
) -> None:
    await enter(store, new(pushed("m1"), *"abc"), new(pushed("m2", at=START + 1), "a"))
    for one in await claim(store, limit=2):
        await note(store, one)
    purge = store.pushes.purge_pushes
    assert await purge(START) == 0
    assert await purge(START + 1, limit=1) == 1
    assert await purge(START + 1) == 1
    assert await purge(START + 1) == 0
    assert await states(store) == {"m1/c": "pending"}
    (last, other) = await claim(store, START + 60)
    await note(store, last)
    assert await purge(START + 1) == 1
    assert await store.pushes.find_deliveries("m1", OWNER) is None
    assert (last.message.id, other.message.id) == ("m1", "m2")
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        assert connection.execute("SELECT id FROM pushed_messages").fetchall() == [("m2",)]
        assert connection.execute("SELECT count(*) FROM pushes").fetchone() == (1,)


async def test_deliveries_are_found_by_message_request_and_sequence_of_their_owner(
    store: MessageDatabase,
) -> None:
    await enter(
        store,
        new(pushed("m1", request="r1", sequence="s"), "a"),
        new(pushed("m2", request="r1", topic="b"), "b"),
        new(pushed("m3", sequence="s", at=START + 1, owner="app:else"), "c"),
        new(pushed("m4", owner=""), "d"),
    )
    assert set(await states(store, "m1")) == {"m1/a"}
    assert list(await states(store, "r1")) == ["m1/a", "m2/b"]
    assert set(await states(store, "s")) == {"m1/a"}
    for id, owner in (("m3", OWNER), ("m4", OWNER), ("m4", ""), ("", OWNER), ("nothing", OWNER)):
        assert await store.pushes.find_deliveries(id, owner) is None


async def test_deliveries_are_the_newest_ones(
    store: MessageDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "MOST_DELIVERIES", 3)
    await enter(store, new(pushed("m1", sequence="s"), *"ab"))
    await enter(store, new(pushed("m2", sequence="s", at=START + 1), *"ab"))
    assert list(await states(store, "s")) == ["m1/b", "m2/a", "m2/b"]


@pytest.mark.parametrize(
    ("statement", "uses"),
    [
        (pushes.CLAIM, "SEARCH pushes USING INDEX pushes_by_due (destination=? AND due<?)"),
        (pushes.NEXT, "SEARCH pushes USING INDEX pushes_by_due (destination=?)"),
        (pushes.OLDEST, "SEARCH pushes USING INDEX pushes_by_message"),
        (pushes.MESSAGES, "SEARCH pushed_messages USING INTEGER PRIMARY KEY (rowid=?)"),
        (pushes.SEQUENCE, "pushed_messages_by_collapse_id (collapse_id=? AND topic=?)"),
        (pushes.SUPERSEDE, "SEARCH theirs USING INDEX sqlite_autoindex_pushes_1 (message=? AND device=?)"),
        (pushes.LATE, "SEARCH mine USING INDEX sqlite_autoindex_pushes_1 (message=? AND device=?)"),
        (pushes.NOTE, "SEARCH pushes USING INTEGER PRIMARY KEY (rowid=?)"),
        (pushes.OVER, "SEARCH pushes USING INDEX pushes_by_message (message>?)"),
        (pushes.OVER, "SEARCH pushes USING INDEX pushes_by_message (message=?)"),
        (pushes.OLD, "pushed_messages_by_created_at (created_at<?)"),
        (pushes.ASKED_FOR, "pushed_messages_by_request (request=?)"),
        (pushes.ASKED_FOR, "pushed_messages_by_collapse_id (collapse_id=?)"),
    ],
)
async def test_the_statements_use_their_index(
    store: MessageDatabase, tmp_path: Path, statement: str, uses: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        values = (1,) * (3 if "?3" in statement else statement.count("?"))
        details = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any(uses in detail for detail in details), details
    tables = ("SCAN pushes", "SCAN pushed_messages", "SCAN theirs", "SCAN mine")
    assert not any(detail.startswith(tables) for detail in details), details
    if statement is pushes.CLAIM:
        assert not any("TEMP B-TREE" in detail for detail in details), details
