"""What happens to pushes while Apple is slow, silent, down, goes away or is not who it should be."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.hardening.process import Processes
from tests.hardening.waiting import until
from tests.push.apns_sending import device_token
from tests.push.apns_stage import (
    APP,
    OTHER,
    PHONE,
    QUICK,
    SET,
    TEMPO,
    WATCH,
    AppleStage,
    AppleStages,
    State,
    entry_for,
)
from tests.push.fake_apns import HOLD, OK, Answer, Do, FakeApns
from tests.push.test_apns import refusing

# Longer than it takes aioapns to lose its patience
SILENCE_S = 12.0


async def test_a_server_that_goes_when_it_has_answered_costs_nothing(stage: AppleStage) -> None:
    stage.apns.answers.append(Answer(do=Do.GO_AWAY))
    await stage.pushover()
    await stage.until_state(PHONE, State("delivered", 1))
    await stage.server.publish("alerts")
    await stage.until_state(WATCH, State("delivered", 1))
    assert [one.connection for one in stage.apns.requests] == [1, 2]
    stage.arrived_once(PHONE, 1)
    await stage.figures_are(delivered=3, ended_delivered=3, entered=3, devices=3)


async def test_a_push_that_a_server_did_not_see_when_it_went_is_sent_again_at_once(stage: AppleStage) -> None:
    stage.apns.answers.append(Answer(503, do=Do.GO_AWAY_UNSEEN))
    await stage.pushover()
    await stage.until_state(PHONE, State("delivered", 1))
    assert [one.connection for one in stage.apns.requests] == [1, 2]
    stage.arrived_once(PHONE, 2)
    await stage.figures_are(delivered=1, ended_delivered=1, entered=1, devices=3)


async def test_a_server_that_goes_in_the_middle_loses_no_push_and_doubles_none(stages: AppleStages) -> None:
    stage = await stages.set(**declared_devices(20))
    unseen = Answer(503, do=Do.GO_AWAY_UNSEEN)
    stage.apns.answers.extend([HOLD] * 8 + [unseen])
    await stage.server.publish("alerts")
    await stage.apns.until(lambda: len(stage.apns.delivered) == 20)
    stage.apns.release()
    await stage.until_states(delivered=20)
    assert set(stage.apns.delivered.values()) == {1}
    assert {attempts for (attempts,) in stage.rows("attempts")} == {1}


async def test_a_server_that_goes_without_an_answer_is_waited_for_and_then_given_up(
    stages: AppleStages,
) -> None:
    stage = await quick_stage(stages)
    stage.apns.answers.append(Answer(503, do=Do.GO_AWAY_SILENT))
    await stage.pushover()
    await stage.until_state(PHONE, State("pending", 1, "server going away"))
    await afterwards(stage, "unavailable")


async def test_an_answer_may_take_twelve_seconds(stages: AppleStages) -> None:
    stage = await quick_stage(stages)
    stage.apns.answers.append(Answer(delay_s=SILENCE_S / TEMPO))
    await stage.pushover()
    await stage.server.publish("alerts")
    for token in (WATCH, SET):
        await stage.until_state(token, State("delivered", 1))
    await stage.until_state(PHONE, State("delivered", 1))
    stage.arrived_once(PHONE, 1)
    assert stage.apns.connections_made == 1
    await stage.figures_are(delivered=3, ended_delivered=3, entered=3, devices=3)


async def test_a_push_without_an_answer_is_given_up_and_tried_on_another_connection(
    stages: AppleStages,
) -> None:
    stage = await quick_stage(stages)
    stage.apns.answers.append(Answer(503, do=Do.NOTHING))
    await stage.pushover()
    await stage.until_state(PHONE, State("pending", 1, "timeout"))
    await afterwards(stage, "unavailable")
    assert {one.connection for one in stage.requests(PHONE)} == {1, 2}


async def test_a_server_that_does_not_even_greet_us_is_given_up(stages: AppleStages) -> None:
    stage = await quick_stage(stages)
    stage.apns.is_mute = True
    await stage.pushover()
    await stage.until_state(PHONE, State("pending", 1, "connect timeout"))
    stage.apns.is_mute = False
    await afterwards(stage, "unavailable", tries=1)


async def test_a_server_that_is_not_there_is_waited_for(stage: AppleStage) -> None:
    await stage.apns.down()
    await stage.pushover()
    await stage.until_state(PHONE, State("pending", 1, "connection refused"))
    await stage.apns.up()
    await afterwards(stage, "unavailable", tries=1)


async def afterwards(
    stage: AppleStage, verdict: str, *, tries: int = 2, wait_s: float = 4, paused: Sequence[str] = ()
) -> None:
    """Check that after a first try of the phone's push that failed so, nobody else is held up for long."""
    await stage.server.publish("alerts")
    await stage.until_state(SET, State("delivered", 1))
    assert stage.states_of(WATCH) == [State("pending")]
    counts: dict[str, Any] = {verdict: 1, "entered": 3, "devices": 3}
    await stage.figures_are(delivered=1, ended_delivered=1, waiting=2, **counts)
    assert await stage.paused() == [*paused]
    await stage.clock.leap(wait_s)
    await stage.until_state(PHONE, State("delivered", 2))
    await stage.until_state(WATCH, State("delivered", 1))
    stage.arrived_once(PHONE, tries)
    stage.arrived_once(WATCH, 1)
    assert await stage.devices() == ["phone"]
    assert await stage.paused() == []
    await stage.figures_are(delivered=3, ended_delivered=3, **counts)


async def quick_stage(stages: AppleStages) -> AppleStage:
    stage = await stages.set(times=QUICK)
    await stage.register_all()
    return stage


def declared_devices(count: int) -> dict[str, Any]:
    """Return the setting that declares so many devices, all of which get the topic "alerts"."""
    tokens = [device_token(100 + number) for number in range(count)]
    devices = [{"topics": ["alerts"], "token": token, "bundle-id": APP} for token in tokens]
    return {"topic_devices": devices}


async def test_who_is_not_who_we_trust_is_told_nothing(
    stages: AppleStages, caplog: pytest.LogCaptureFixture
) -> None:
    impostor = await stages.apple()
    apns = FakeApns(now=stages.clock.now, port=impostor.port)
    other = await stages.apple(OTHER)
    entries = [entry_for(apns, stages.folder / "a"), entry_for(other, stages.folder / "b")]
    stage = await stages.set(apns, other, apns=entries)
    await stage.register_all()
    await stage.pushover()
    reason = "server certificate not trusted"
    await stage.until_state(PHONE, State("pending", 1, reason))
    assert [one.levelname for one in caplog.records if f"operator: {reason}" in one.message] == ["ERROR"]
    assert impostor.requests == []
    await impostor.down()
    async with apns:
        await afterwards(stage, "misconfigured", tries=1, wait_s=610, paused=(f"apns:{APP},{reason}",))


async def test_a_certificate_of_ours_that_is_refused_waits_for_the_operator(stages: AppleStages) -> None:
    apns, other = FakeApns(client_certificates=True), await stages.apple(OTHER)
    folder = stages.folder / "a"
    with refusing(apns._context) as apns.port:
        entries = [entry_for(apns, folder), entry_for(other, stages.folder / "b")]
        (folder / "client.pem").write_bytes(other.client_pem())  # by an authority that it does not know
        stage = await stages.set(apns, other, apns=entries)
        await stage.register_all()
        await stage.pushover()
        reason = "client certificate refused"
        await stage.until_state(PHONE, State("pending", 1, reason))
        await stage.server.publish("alerts")
        await stage.until_state(SET, State("delivered", 1))
        counts: dict[str, Any] = {"misconfigured": 1, "entered": 3, "devices": 3}
        await stage.figures_are(delivered=1, ended_delivered=1, waiting=2, **counts)
        assert await stage.paused() == [f"apns:{APP},{reason}"]
        assert await stage.devices() == ["phone"]


async def test_a_publish_waits_for_nobodys_answer(stage: AppleStage) -> None:
    stage.apns.is_mute = True
    async with asyncio.timeout(10):
        for number in range(5):
            await stage.pushover(f"text {number}")
            await stage.server.publish("alerts", f"text {number}")
    await stage.until(lambda: len(stage.other.requests) == 5)
    assert [one["message"] for one in await stage.server.poll("alerts")] == [f"text {n}" for n in range(5)]
    assert {state.state for state in stage.states_of(PHONE) + stage.states_of(WATCH)} == {"pending"}
    stage.apns.is_mute = False
    stage.apns.drop()
    await stage.until(lambda: any(state.reason for state in stage.states_of(PHONE)))
    await stage.pass_time(5)
    await stage.until_states(delivered=15)
    assert set(stage.apns.delivered.values()) == {1}


async def test_every_push_arrives_after_an_outage(stages: AppleStages) -> None:
    stage = await stages.set(**declared_devices(40))
    apns = stage.apns
    apns.latency_s = 0.005
    ids = [(await stage.server.publish("alerts", f"before {number}"))["id"] for number in range(5)]
    await apns.until(lambda: apns.answered_ok >= 60)
    await apns.down()
    ids += [(await stage.server.publish("alerts", f"during {number}"))["id"] for number in range(5)]
    await stage.pass_time(20)
    asked, known = len(apns.requests), stage.states["delivered"]
    assert stage.states == {"delivered": known, "pending": 400 - known}
    await apns.up()
    ids += [(await stage.server.publish("alerts", f"after {number}"))["id"] for number in range(5)]
    await stage.pass_time(40)
    await stage.until_states(delivered=600)
    tokens = {one["token"] for one in declared_devices(40)["topic_devices"]}
    assert set(apns.delivered) == {(token, id) for token in tokens for id in ids}
    by_push = {(one.device, one.headers["apns-collapse-id"], one.headers["apns-id"]) for one in apns.requests}
    assert len(by_push) == 600
    assert len(apns.requests) == asked + 600 - known  # once more only what Apple could not say that it had
    figures = await stage.metrics()
    assert figures["ntfyish_push_results_total{apns,delivered}"] == 600


# The processes have the real clock.


def process_settings(apns: FakeApns, folder: Path, count: int) -> dict[str, Any]:
    return {"apns": [entry_for(apns, folder)], "shutdown_timeout": "1s", **declared_devices(count)}


async def test_kill_9_loses_no_push(processes: Processes, tmp_path: Path) -> None:
    async with FakeApns(otherwise=HOLD) as apns:
        settings = process_settings(apns, tmp_path / "apns", 30)
        process = await processes.start(**settings)
        apns.answers.extend([OK] * 40)
        sent = [(await process.publish("alerts", f"text {number}"))["id"] for number in range(5)]
        await apns.until(lambda: apns.held_count > 20)
        process.signal(signal.SIGKILL)
        await process.ended()
        await apns.until(lambda: not apns.live)
        apns.otherwise = OK
        seen = apns_ids(apns)
        apns.reset()
        await processes.start(**settings)
        await until_delivered(apns, processes.data_dir, 150)
        arrived = apns_ids(apns)
        assert {id for _, id in seen.keys() | arrived.keys()} == set(sent)
        assert len(seen | arrived) == 150
        assert set(apns.delivered.values()) == {1}
        assert all(arrived.get(push, apns_id) == apns_id for push, apns_id in seen.items())


def apns_ids(apns: FakeApns) -> dict[tuple[str, str], str]:
    """Return (device, collapse id) -> id of what has come."""
    return {(one.device, one.headers["apns-collapse-id"]): one.headers["apns-id"] for one in apns.requests}


async def test_sigterm_leaves_what_is_under_way_to_the_next_start(
    processes: Processes, tmp_path: Path
) -> None:
    async with FakeApns(otherwise=HOLD) as apns:
        settings = process_settings(apns, tmp_path / "apns", 30)
        process = await processes.start(**settings)
        for number in range(3):
            await process.publish("alerts", f"text {number}")
        await apns.until(lambda: apns.held_count > 10)
        process.signal()
        assert await process.ended() == 0
        apns.otherwise = OK
        apns.reset()
        await processes.start(**settings)
        await until_delivered(apns, processes.data_dir, 90)
        assert len(apns.delivered) == 90
        assert set(apns.delivered.values()) == {1}


async def test_what_was_published_while_apple_was_down_outlives_the_process(
    processes: Processes, tmp_path: Path
) -> None:
    async with FakeApns() as apns:
        await apns.down()
        settings = process_settings(apns, tmp_path / "apns", 10)
        process = await processes.start(**settings)
        for number in range(4):
            await process.publish("alerts", f"text {number}")
        process.signal(signal.SIGKILL)  # whatever it has done so far
        await process.ended()
        await apns.up()
        await processes.start(**settings)
        await until_delivered(apns, processes.data_dir, 40)
        assert len(apns.delivered) == 40
        assert set(apns.delivered.values()) == {1}


async def until_delivered(apns: FakeApns, data_dir: Path, count: int) -> None:
    """Wait until the outbox says that so many pushes are delivered, and knows of no others."""
    with closing(sqlite3.connect(data_dir / "messages.db")) as connection:
        states = "SELECT state, count(*) FROM pushes GROUP BY state"
        await until(lambda: connection.execute(states).fetchall() == [("delivered", count)])
