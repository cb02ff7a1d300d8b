"""Pushes on their way to services that answer, fail, hang and refuse, through the front door."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from ntfyish.core.ports import Change
from ntfyish.model.push import Push, PushOutcome, PushState, Verdict
from tests.conftest import StartServer
from tests.push.scripted import ScriptedSender
from tests.push.stage import APP, OTHER, Stage, device, start_stage, token

PENDING = PushState.PENDING.value
# By how much the clock of a test may run ahead of what is being written
DISK_S = 60


async def stage_with(start_server: StartServer, count: int, capacity: int = 8, **settings: Any) -> Stage:
    """Start a server with so many devices that have registered themselves for "alerts"."""
    stage = await start_stage(start_server, {APP: ScriptedSender(capacity=capacity)}, **settings)
    await stage.add(*(device(number) for number in range(count)))
    return stage


async def quiet(stage: Stage, seconds: float) -> None:
    """Pass time in which nothing is to be sent."""
    before = len(stage.sender.pushes)
    await stage.pass_time(seconds)
    assert len(stage.sender.pushes) == before


async def test_pushes_go_side_by_side_as_many_as_the_sender_takes(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 100)
    stage.sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: stage.sender.under_way == 8)
    await quiet(stage, 1)
    # What is held in memory besides is bounded, too.
    (claimed,) = [count for (count,) in _ask(stage, "SELECT count(*) FROM pushes WHERE attempts = 1")]
    assert 8 < claimed <= 16
    stage.sender.gate.set()
    await stage.until_states(delivered=100)
    assert stage.sender.most_under_way == 8
    assert len(set(stage.sender.tokens)) == len(stage.sender.pushes) == 100


def _ask(stage: Stage, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(stage.server.data_dir / "messages.db")) as connection:
        return connection.execute(statement).fetchall()


async def test_a_push_that_hangs_delays_no_other(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1, capacity=2)
    stage.sender.gate.clear()
    await stage.server.publish("alerts", "hangs")
    await stage.until(lambda: stage.sender.under_way == 1)
    hanging, stage.sender.gate = stage.sender.gate, type(stage.sender.gate)()
    stage.sender.gate.set()
    for text in ("a", "b", "c"):
        await stage.server.publish("alerts", text)
        await stage.until(lambda text=text: text in stage.sender.texts)
    await stage.pass_time(0.5)  # their results do not wait for the one that hangs
    await stage.until_states(pending=1, delivered=3)
    hanging.set()
    await stage.until_states(delivered=4)
    assert stage.sender.texts == ["hangs", "a", "b", "c"]


async def test_the_dead_of_a_busy_lane_are_buried_together(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(*(device(number, f"topic{number}") for number in range(4)))
    stage.sender.gate.clear()
    await stage.server.publish("topic0")
    await stage.until(lambda: stage.sender.under_way == 1)
    stage.sender.gate = type(stage.sender.gate)()
    stage.sender.gate.set()
    before = _people_revision(stage)
    for number in (1, 2, 3):
        stage.sender.say(Verdict.GONE, "Unregistered")
        await stage.server.publish(f"topic{number}")
        await stage.until(lambda number=number: len(stage.sender.pushes) == number + 1)
        await stage.pass_time(1)
    await stage.pass_time(5)
    await stage.until_states(pending=1, failed=3)
    assert _people_revision(stage) == before + 1


def _people_revision(stage: Stage) -> int:
    with closing(sqlite3.connect(stage.server.data_dir / "people.db")) as connection:
        return int(connection.execute("SELECT number FROM revision").fetchone()[0])


async def test_results_are_written_though_others_hang(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 10, capacity=1)

    def close_the_gate(push: Push) -> PushOutcome:
        stage.sender.gate.clear()
        return PushOutcome(verdict=Verdict.DELIVERED)

    stage.sender.answers.append(close_the_gate)
    await stage.server.publish("alerts")
    await stage.until(lambda: len(stage.sender.pushes) == 2)
    await stage.pass_time(0.5)
    await stage.until_states(delivered=1, pending=9)


async def test_what_is_claimed_while_an_outage_begins_is_given_back(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 10, capacity=1)
    sender = stage.sender
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: sender.under_way == 1)
    with closing(sqlite3.connect(stage.server.data_dir / "messages.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the lane claims as soon as its second try begins, and waits
        sender.say(Verdict.UNAVAILABLE)
        sender.gate.set()
        await stage.until_tried(2)
        other.execute("ROLLBACK")
    await stage.until_states(delivered=1, pending=9)
    await quiet(stage, 0.9)
    assert sorted(attempts for (attempts,) in stage.rows("attempts")) == [0] * 8 + [1] * 2


async def test_an_outage_pauses_the_service_and_one_try_goes_ahead(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ntfyish")
    stage = await stage_with(start_server, 40)
    sender = stage.sender
    sender.always(Verdict.UNAVAILABLE, "ServiceUnavailable")
    await stage.server.publish("alerts")
    await stage.until_tried(1)
    await stage.until(lambda: stage.states == {PENDING: 40})
    begun = len(sender.pushes)
    assert begun <= 8
    tries = [stage.clock.now()]
    while len(tries) < 10:
        count = len(sender.pushes)
        await stage.pass_time(0.25)
        assert len(sender.pushes) - count <= 1
        assert stage.clock.now() - tries[-1] <= 61 + DISK_S
        if len(sender.pushes) > count:
            tries.append(stage.clock.now())
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    for number, pause in enumerate(pauses):  # 1..2 s, 2..4 s and so on up to a minute
        longest = min(60, 2 ** (number + 1))
        assert longest / 2 - 0.25 <= pause <= longest + DISK_S, pauses
    assert stage.states == {PENDING: 40}
    sender.always(Verdict.DELIVERED)
    failed = len(sender.pushes)
    await stage.pass_time(62)
    await stage.until_states(delivered=40)
    assert len(sender.pushes) == failed + 40  # each arrives once
    assert len(set(sender.tokens[failed:])) == 40
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings.count(f"{APP}: Pushes wait: the service is not available (ServiceUnavailable)") == 1
    assert f"{APP}: Pushes go on" in {record.message for record in caplog.records}


async def test_a_try_that_goes_ahead_and_hangs_keeps_the_others_waiting(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 5)
    stage.sender.always(Verdict.UNAVAILABLE)
    await stage.server.publish("alerts")
    await stage.until_tried(5)
    stage.sender.always(Verdict.DELIVERED)
    stage.sender.gate.clear()
    begun = len(stage.sender.pushes)
    await stage.pass_time(2)
    await stage.until(lambda: len(stage.sender.pushes) == begun + 1)
    await quiet(stage, 25)
    stage.sender.gate.set()
    await stage.until_states(delivered=5)


async def test_what_is_under_way_when_an_outage_begins_ends_by_itself(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 4, capacity=4)
    sender = stage.sender
    for verdict in (Verdict.UNAVAILABLE, Verdict.DELIVERED, Verdict.UNAVAILABLE, Verdict.DELIVERED):
        sender.say(verdict)
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: sender.under_way == 4)
    sender.gate.set()
    await stage.until_states(pending=2, delivered=2)
    await stage.pass_time(5)
    await stage.until_states(delivered=4)
    assert len(sender.pushes) == 6


async def test_pushes_that_were_not_begun_are_given_back_uncounted(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 8, capacity=4)
    stage.sender.gate.clear()
    stage.sender.always(Verdict.UNAVAILABLE)
    await stage.server.publish("alerts")
    await stage.until(lambda: stage.sender.under_way == 4)
    stage.sender.gate.set()
    await stage.until(lambda: not stage.sender.under_way)
    await stage.until(lambda: sorted(row[0] for row in stage.rows("attempts")) == [0] * 4 + [1] * 4)


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.BUSY])
async def test_a_service_is_left_alone_for_as_long_as_it_asks(
    start_server: StartServer, verdict: Verdict
) -> None:
    stage = await stage_with(start_server, 1)
    stage.sender.say(verdict, retry_after_s=45)
    await stage.server.publish("alerts")
    await stage.until_tried(1)
    await quiet(stage, 44)
    await stage.pass_time(62)
    await stage.until_states(delivered=1)
    assert stage.rows("attempts") == [(2,)]


async def test_an_answer_to_an_earlier_try_does_not_cut_a_requested_pause_short(
    start_server: StartServer,
) -> None:
    stage = await stage_with(start_server, 3, capacity=2)
    sender = stage.sender
    sender.say(Verdict.UNAVAILABLE, retry_after_s=45)
    sender.say(Verdict.DELIVERED)
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: sender.under_way == 2)
    sender.gate.set()
    await stage.until_states(delivered=1, pending=2)
    await quiet(stage, 44)
    await stage.pass_time(60)
    await stage.until_states(delivered=3)


async def test_a_busy_device_waits_alone_and_longer_each_time(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 20)
    busy = token(7)

    def answer(push: Push) -> PushOutcome:
        is_busy = push.device.token == busy and stage.clock.now() < start + 600
        return PushOutcome(verdict=Verdict.BUSY if is_busy else Verdict.DELIVERED, reason="TooManyRequests")

    start = stage.clock.now()
    stage.sender.usual = answer
    await stage.server.publish("alerts")
    await stage.until_states(delivered=19, pending=1)
    await stage.pass_time(590)
    assert stage.rows("state, reason")[7] == (PENDING, "TooManyRequests")
    tries = stage.sender.tokens.count(busy)
    assert 4 <= tries <= 60
    await stage.pass_time(1_300)
    await stage.until_states(delivered=20)


async def test_a_misconfigured_app_waits_for_the_operator(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await stage_with(start_server, 10)
    stage.sender.always(Verdict.MISCONFIGURED, "InvalidProviderToken")
    await stage.server.publish("alerts")
    await stage.until_tried(8)
    paused = f'ntfyish_push_destinations_paused{{destination="{APP}",reason="InvalidProviderToken"}}'
    await stage.pass_time(1)
    assert (await stage.figures()).get(paused) == 1
    await quiet(stage, 590)
    begun = len(stage.sender.pushes)
    await stage.pass_time(1_150)  # and the disk needs some of it
    assert begun + 1 <= len(stage.sender.pushes) <= begun + 2  # every ten minutes
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    words = "InvalidProviderToken. Keys, certificates or names in the configuration are wrong"
    assert errors == [f"{APP}: Pushes wait for the operator: {words}"]
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(610)
    await stage.until_states(delivered=10)
    await stage.pass_time(1)
    assert paused not in await stage.figures()


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.MISCONFIGURED, Verdict.BUSY, None])
async def test_a_bad_destination_delays_no_other(start_server: StartServer, verdict: Verdict | None) -> None:
    bad, good = ScriptedSender(), ScriptedSender()
    stage = await start_stage(start_server, {APP: bad, OTHER: good})
    if verdict is None:
        bad.gate.clear()
    else:
        bad.always(verdict)
    await stage.add(*(device(number) for number in range(20)))
    await stage.add(*(device(number, bundle_id="other.example") for number in range(20, 25)))
    for count in (1, 2, 3):
        await stage.server.publish("alerts")
        await stage.until(lambda count=count: len(good.pushes) == 5 * count)
    assert good.most_under_way >= 1


async def test_a_device_that_is_gone_is_removed(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 3)
    gone = {token(0), token(2)}
    stage.sender.usual = lambda push: PushOutcome(
        verdict=Verdict.GONE if push.device.token in gone else Verdict.DELIVERED,
        reason="Unregistered",
        gone_at=stage.clock.now(),
    )
    await stage.server.publish("alerts", "one")
    await stage.until_states(delivered=1, failed=2)
    assert stage.rows("state, attempts, reason") == [
        ("failed", 1, "Unregistered"),
        ("delivered", 1, "Unregistered"),
        ("failed", 1, "Unregistered"),
    ]
    await stage.server.publish("alerts", "two")
    await stage.until_states(delivered=2, failed=2)
    assert stage.sender.tokens[3:] == [token(1)]
    with closing(sqlite3.connect(stage.server.data_dir / "people.db")) as connection:
        assert connection.execute("SELECT token FROM push_devices").fetchall() == [(token(1),)]


async def test_a_declared_device_that_is_gone_is_kept_but_not_pushed_to(start_server: StartServer) -> None:
    declared = {"topics": ["alerts"], "token": token(1), "bundle-id": "app.example"}
    stage = await start_stage(start_server, topic_devices=[declared])
    stage.sender.say(Verdict.GONE, "BadDeviceToken")
    await stage.server.publish("alerts", "one")
    await stage.until_states(failed=1)
    await stage.server.publish("alerts", "two")
    await quiet(stage, 5)
    with closing(sqlite3.connect(stage.server.data_dir / "people.db")) as connection:
        assert connection.execute("SELECT dead_reason FROM push_devices").fetchall() == [("BadDeviceToken",)]


async def test_a_device_that_came_back_since_is_tried_a_few_times_more(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1)
    gone_at = 1_699_999_999  # a second before it was registered
    for _ in range(3):
        stage.sender.say(Verdict.GONE, "Unregistered", gone_at=gone_at)
    await stage.server.publish("alerts", "one")
    await stage.pass_time(20)
    await stage.until_states(delivered=1)
    assert stage.rows("attempts") == [(4,)]
    stage.sender.usual = PushOutcome(verdict=Verdict.GONE, reason="Unregistered", gone_at=gone_at)
    await stage.server.publish("alerts", "two")
    await stage.pass_time(30)
    await stage.until_states(delivered=1, failed=1)
    assert stage.rows("attempts")[1] == (4,)
    stage.sender.always(Verdict.DELIVERED)
    await stage.server.publish("alerts", "three")
    await stage.until_states(delivered=2, failed=1)


async def test_a_device_with_a_new_token_is_pushed_to_by_that(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1)
    stage.sender.gate.clear()
    stage.sender.say(Verdict.GONE, "BadDeviceToken")
    await stage.server.publish("alerts")
    await stage.until(lambda: stage.sender.under_way == 1)
    old = device(0)
    values = {name: getattr(old, name) for name in ("id", "kind", "topics", "bundle_id", "registered_at")}
    await stage.change(Change(type(old)(token=token(99), **values)))
    stage.sender.gate.set()
    await stage.pass_time(5)
    await stage.until_states(delivered=1)
    assert stage.sender.tokens == [token(0), token(99)]


async def test_dead_devices_wait_while_people_cannot_be_written(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 2, storage_busy_timeout="0s")
    stage.sender.say(Verdict.GONE, "Unregistered")
    with closing(sqlite3.connect(stage.server.data_dir / "people.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await stage.server.publish("alerts")
        await stage.until_states(delivered=1, pending=1)
        other.execute("ROLLBACK")
    stage.sender.say(Verdict.GONE, "Unregistered")
    await stage.pass_time(61)
    await stage.until_states(delivered=1, failed=1)


async def test_what_is_refused_fails_and_is_logged_once_a_minute(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await stage_with(start_server, 5)
    stage.sender.always(Verdict.REFUSED, "BadTopic")
    message = await stage.server.publish("alerts")
    await stage.until_states(failed=5)
    assert set(stage.rows("attempts, reason")) == {(1, "BadTopic")}
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"{APP}: A push of message {message['id']} was refused: BadTopic"]
    assert len(stage.sender.pushes) == 5


async def test_what_is_too_large_is_tried_once_more_and_smaller(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1)
    stage.sender.say(Verdict.TOO_LARGE, "413")
    await stage.server.publish("alerts")
    await stage.until_states(delivered=1)
    assert [push.small for push in stage.sender.pushes] == [False, True]
    stage.sender.always(Verdict.TOO_LARGE, "413")
    await stage.server.publish("alerts")
    await stage.until_states(delivered=1, failed=1)
    assert [push.small for push in stage.sender.pushes[2:]] == [False, True]
    assert stage.rows("attempts, reason")[1] == (2, "413")


async def test_what_was_too_large_stays_small_whatever_happens(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1)
    for verdict in (Verdict.TOO_LARGE, Verdict.BUSY, Verdict.UNAVAILABLE):
        stage.sender.say(verdict)
    await stage.server.publish("alerts")
    await stage.pass_time(30)
    await stage.until_states(delivered=1)
    assert [push.small for push in stage.sender.pushes] == [False, True, True, True]


async def test_a_push_is_given_up_after_a_while(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 3, push_retry_duration="4m", manager_interval="30s")
    stage.sender.always(Verdict.UNAVAILABLE, "timeout")
    await stage.server.publish("alerts", "one")
    await stage.pass_time(230)
    assert stage.states == {PENDING: 3}
    await stage.server.publish("alerts", "two")
    await stage.pass_time(60)
    await stage.until(lambda: stage.states == {PENDING: 3, "expired": 3})
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(130)
    await stage.until_states(delivered=3, expired=3)
    assert set(stage.rows("state, reason")[:3]) == {("expired", "timeout")}


async def test_what_has_become_too_old_is_not_sent_before_it_is_swept(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 1, push_retry_duration="1m", manager_interval="12h")
    stage.sender.say(Verdict.BUSY, retry_after_s=100)
    await stage.server.publish("alerts")
    await stage.until_tried(1)
    await stage.pass_time(101)
    await stage.until_states(expired=1)
    assert len(stage.sender.pushes) == 1


async def test_results_are_forgotten_after_a_while(start_server: StartServer) -> None:
    stage = await stage_with(
        start_server, 3, push_status_duration="2m", push_retry_duration="1m", manager_interval="30s"
    )
    await stage.server.publish("alerts")
    await stage.until_states(delivered=3)
    await stage.pass_time(110)
    assert stage.states == {"delivered": 3}
    await stage.pass_time(45)
    await stage.until_states()
    assert _ask(stage, "SELECT count(*) FROM pushed_messages") == [(0,)]


async def test_pushes_without_a_sender_wait(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await start_stage(start_server, {OTHER: ScriptedSender()})
    await stage.add(device(1), device(2), device(3, bundle_id="other.example"))
    for _ in range(3):
        await stage.server.publish("alerts")
    await stage.until_states(delivered=3, pending=6)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"Pushes to {APP} wait: the configuration has no such app or service"]


async def test_a_mistake_in_a_sender_harms_one_push_only(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 30, capacity=4)
    broken = {token(0), token(3), token(9)}

    def answer(push: Push) -> PushOutcome:
        if push.device.token in broken:
            broken.discard(push.device.token)
            raise RuntimeError("a mistake")
        return PushOutcome(verdict=Verdict.DELIVERED)

    stage.sender.usual = answer
    await stage.server.publish("alerts")
    await stage.until_states(delivered=27, pending=3)
    await quiet(stage, 58)
    await stage.pass_time(5)
    await stage.until_states(delivered=30)


async def test_results_wait_for_a_database_that_is_locked(start_server: StartServer) -> None:
    stage = await stage_with(start_server, 6, capacity=2, storage_busy_timeout="0s")
    stage.sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: stage.sender.under_way == 2)
    with closing(sqlite3.connect(stage.server.data_dir / "messages.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        stage.sender.gate.set()
        await stage.until(lambda: len(stage.sender.pushes) == 4)
        await stage.pass_time(10)
        assert len(stage.sender.pushes) == 4
        other.execute("ROLLBACK")
    await stage.pass_time(3)
    await stage.until_states(delivered=6)
    assert len(stage.sender.pushes) == 6


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_service_answers_each_push_ends_once(start_server: StartServer, seed: int) -> None:
    chance = random.Random(seed)
    stage = await stage_with(start_server, 60, capacity=7, manager_interval="30s")
    delivered: Counter[tuple[str, str]] = Counter()
    verdicts = [*Verdict] * 2 + [Verdict.DELIVERED] * 30

    def answer(push: Push) -> PushOutcome:
        verdict = Verdict.DELIVERED if is_calm else chance.choice(verdicts)
        delivered[push.message.id, push.device.token] += verdict is Verdict.DELIVERED
        return PushOutcome(verdict=verdict, reason="Word", gone_at=chance.choice([0, 1_600_000_000]))

    is_calm, stage.sender.usual = False, answer
    for text in ("one", "two", "three"):
        await stage.server.publish("alerts", text)
        await stage.pass_time(15)
    is_calm = True
    await stage.pass_time(700)
    await stage.until(lambda: not stage.states.get(PENDING))
    assert max(delivered.values()) == 1
    assert stage.states["delivered"] == sum(delivered.values())
    assert set(stage.states) <= {"delivered", "failed"}
    assert sum(stage.states.values()) >= 150  # of devices that were gone, later messages know nothing
