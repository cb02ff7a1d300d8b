"""Which devices a message is pushed to, and what is entered for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ntfyish.core.deliveries import PUSH
from ntfyish.core.ports import Add, Change, Errand, Remove
from ntfyish.model.acl import AclEntry, TopicAccess
from ntfyish.model.line import encode
from ntfyish.model.message import Content, Message, MessageId
from ntfyish.model.people import Account, UserKey
from ntfyish.model.push import PushDevice, Verdict, push_id
from ntfyish.store.sqlite.messages import MessageDatabase
from tests.clock import FakeClock
from tests.conftest import USER_KEY, StartServer
from tests.push.scripted import ScriptedSender
from tests.push.stage import APP, OTHER, VERA_KEY, Stage, account, device, phone, start_stage, token


async def test_each_device_of_the_topic_gets_the_message(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1), device(2, "alerts", "other"), device(3, "other"))
    message = await stage.server.publish("alerts", "hello")
    await stage.until_states(delivered=2)
    assert sorted(stage.sender.tokens) == [token(1), token(2)]
    for push in stage.sender.pushes:
        assert push.message.id == message["id"]
        assert push.message.content.message == "hello"
        assert push.id == push_id(message["id"], push.device.id)
        assert push.collapse_id == message["id"]
        assert push.expires_at == message["time"] + 21 * 86_400
        assert not push.small


async def test_a_device_of_another_app_goes_by_another_sender(start_server: StartServer) -> None:
    stage = await start_stage(start_server, {APP: ScriptedSender(), OTHER: ScriptedSender()})
    await stage.add(device(1), device(2, bundle_id="other.example"))
    await stage.server.publish("alerts")
    await stage.until_states(delivered=2)
    assert {name: sender.tokens for name, sender in stage.senders.items()} == {
        APP: [token(1)],
        OTHER: [token(2)],
    }


@pytest.mark.parametrize(
    ("asked", "reached"),
    [
        ("", {1, 2, 3}),
        ("phone", {1, 3}),
        ("phone,watch", {1, 2, 3}),
        ("watch,nothing", {2, 3}),
        ("nothing", {1, 2, 3}),
        ("pad", {3}),  # an Open Client device
    ],
)
async def test_a_message_to_an_account_goes_to_the_devices_it_names(
    start_server: StartServer, asked: str, reached: set[int]
) -> None:
    owner = account(phone("phone", 1), phone("watch", 2), "pad")
    stage = await start_stage(start_server, accounts=[owner])
    await stage.add(device(3, USER_KEY))  # it was let in, and has no name here
    await stage.pushover(device=asked)
    await stage.until_states(delivered=len(reached))
    assert set(stage.sender.tokens) == {token(number) for number in reached}


async def test_a_device_without_a_name_does_not_get_what_comes_to_the_inbox(
    start_server: StartServer,
) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1, account="phil"), device(2, account="phil", name="phone"))
    await stage.pushover("to phil")
    await stage.server.publish("alerts", "to alerts")
    await stage.until_states(delivered=3)
    assert sorted(zip(stage.sender.texts, stage.sender.tokens, strict=True)) == [
        ("to alerts", token(1)),
        ("to alerts", token(2)),
        ("to phil", token(2)),
    ]


async def secret_stage(start_server: StartServer, sender: ScriptedSender | None = None) -> Stage:
    """Start a server where nobody may read anything but vera, who may read "alerts"."""
    people = [account(), account(name="vera", key=VERA_KEY)]
    return await start_stage(
        start_server,
        {APP: sender or ScriptedSender()},
        accounts=people,
        auth_default_access="write-only",
        auth_access=["vera:alerts:ro"],
    )


async def test_who_may_not_read_a_topic_is_not_pushed_its_messages(start_server: StartServer) -> None:
    stage = await secret_stage(start_server)
    await stage.add(
        device(1),  # nobody's
        device(2, account="phil"),
        device(3, account="vera"),
        device(4, USER_KEY, account="vera"),
        device(5, account="phil", name="phone"),
    )
    await stage.server.publish("alerts")
    await stage.pushover()
    await stage.until_states(delivered=2)
    assert sorted(stage.sender.tokens) == [token(3), token(5)]


async def test_an_inbox_without_a_stream_is_pushed_to_its_owners_devices_alone(
    start_server: StartServer,
) -> None:
    people = [account() | {"stream": False}, account(name="vera", key=VERA_KEY)]
    stage = await start_stage(start_server, accounts=people, auth_default_access="read-write")
    await stage.add(
        device(1, USER_KEY),  # nobody's
        device(2, USER_KEY, account="vera"),
        device(3, USER_KEY, account="phil"),
        device(4, account="phil", name="phone"),
    )
    await stage.pushover()
    await stage.until_states(delivered=2)
    assert sorted(stage.sender.tokens) == [token(3), token(4)]


async def test_a_right_that_is_taken_away_ends_what_still_waits(start_server: StartServer) -> None:
    sender = ScriptedSender(capacity=1)
    stage = await secret_stage(start_server, sender)
    await stage.add(device(1, account="vera"), device(2, account="vera"))
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: len(sender.pushes) == 1)
    entry = AclEntry(account="vera", pattern="a*", access=TopicAccess.DENY_ALL)
    await stage.change(Remove(AclEntry, ("vera", "alerts")), Add(entry))
    sender.gate.set()
    await stage.until_states(delivered=1, failed=1)
    assert sender.tokens == [token(1)]
    assert stage.rows("state, attempts, reason")[1] == ("failed", 0, "not allowed any more")


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (Remove(Account, "vera"), "device removed"),
        (Remove(PushDevice, f"{2:040}"), "device removed"),
    ],
    ids=["account", "device"],
)
async def test_what_waits_for_a_device_that_was_removed_fails(
    start_server: StartServer, gone: Any, reason: str
) -> None:
    sender = ScriptedSender(capacity=1)
    stage = await start_stage(start_server, {APP: sender})
    await stage.change(Add(Account(name="vera", user_key=UserKey(VERA_KEY))))
    await stage.add(device(1), device(2, account="vera"))
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: len(sender.pushes) == 1)
    await stage.change(gone)
    sender.gate.set()
    await stage.until_states(delivered=1, failed=1)
    assert stage.rows("state, reason")[1] == ("failed", reason)


async def test_a_device_that_moved_to_another_environment_is_not_written_to_in_the_old_one(
    start_server: StartServer,
) -> None:
    sender = ScriptedSender(capacity=1)
    stage = await start_stage(start_server, {APP: sender})
    await stage.add(device(1), device(2))
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: len(sender.pushes) == 1)
    await stage.change(Remove(PushDevice, f"{2:040}"), Add(device(2, sandbox=True)))
    sender.gate.set()
    await stage.until_states(delivered=1, failed=1)
    assert stage.rows("state, reason")[1] == ("failed", "device moved")


async def test_a_device_that_has_left_the_topic_is_not_pushed_what_still_waits(
    start_server: StartServer,
) -> None:
    sender = ScriptedSender(capacity=1)
    stage = await start_stage(start_server, {APP: sender})
    await stage.add(device(1), device(2, "alerts", "other"))
    sender.gate.clear()
    await stage.server.publish("alerts")
    await stage.until(lambda: len(sender.pushes) == 1)
    await stage.change(Change(device(2, "other")))
    sender.gate.set()
    await stage.until_states(delivered=1, failed=1)
    assert sender.tokens == [token(1)]


async def test_a_publish_does_not_wait_for_pushes(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(*(device(number) for number in range(20)))
    stage.sender.gate.clear()
    for text in ("first", "second"):
        assert (await stage.server.publish("alerts", text))["message"] == text
    assert stage.sender.pushes == []  # nothing has begun by the time it is answered
    await stage.until(lambda: len(stage.sender.pushes) == stage.sender.capacity)
    assert (await stage.server.publish("alerts", "third"))["message"] == "third"
    assert await stage.server.poll("alerts")
    stage.sender.gate.set()
    await stage.until_states(delivered=60)


async def test_a_message_to_many_devices_reaches_each_once(start_server: StartServer) -> None:
    stage = await start_stage(start_server, {APP: ScriptedSender(capacity=100)})
    await stage.add(*(device(number) for number in range(1_203)))
    messages = [await stage.server.publish("alerts", text) for text in ("one", "two")]
    await stage.until_states(delivered=2 * 1_203)
    sent = {(push.message.id, push.device.token) for push in stage.sender.pushes}
    assert len(stage.sender.pushes) == len(sent) == 2 * 1_203
    assert {id for id, _ in sent} == {message["id"] for message in messages}


@pytest.mark.parametrize("header", [{"Firebase": "no"}, {"X-Firebase": "no"}])
async def test_a_publisher_can_do_without_pushes(start_server: StartServer, header: dict[str, str]) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1))
    await stage.server.publish("alerts", "silent", **header)
    await stage.server.publish("alerts", "loud")
    await stage.until_states(delivered=1)
    assert stage.sender.texts == ["loud"]


@pytest.mark.parametrize("headers", [{"Firebase": "no"}, {"UnifiedPush": "1"}])
async def test_what_is_not_to_be_pushed_is_not_when_it_is_delivered_later(
    start_server: StartServer, headers: dict[str, str]
) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1))
    await stage.server.publish("alerts", "not pushed", Delay="30s", **headers)
    await stage.server.publish("alerts", "pushed", Delay="40s")
    await stage.pass_time(45)
    await stage.until_states(delivered=1)
    assert stage.sender.texts == ["pushed"]
    assert [message["message"] for message in await stage.server.poll("alerts")] == ["not pushed", "pushed"]


async def test_a_scheduled_message_is_pushed_when_its_time_has_come(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1))
    await stage.server.publish("alerts", "later", Delay="1m")
    await stage.pass_time(58)
    assert stage.sender.pushes == []
    await stage.pass_time(3)
    await stage.until_states(delivered=1)
    assert stage.sender.texts == ["later"]


async def test_deleting_and_clearing_a_message_is_pushed_in_its_place(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1))
    await stage.server.publish("alerts/disk", "full")
    await stage.until_states(delivered=1)
    for method, path in (("PUT", "alerts/disk/clear"), ("DELETE", "alerts/disk")):
        async with stage.server.http.request(method, f"{stage.server.url}/{path}") as response:
            assert response.status == 200, await response.text()
    await stage.until_states(delivered=3)
    assert [push.message.event.value for push in stage.sender.pushes] == [
        "message",
        "message_clear",
        "message_delete",
    ]
    assert {push.collapse_id for push in stage.sender.pushes} == {"alerts/disk"}


async def test_sequences_of_one_name_in_two_topics_do_not_hide_each_other(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1, "alerts", "backups"))
    await stage.server.publish("alerts/status", "low")
    await stage.server.publish("backups/status", "done")
    await stage.until_states(delivered=2)
    assert len({push.collapse_id for push in stage.sender.pushes}) == 2


async def test_an_update_supersedes_what_still_waits(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1), device(2))
    stage.sender.always(Verdict.UNAVAILABLE, "ServiceUnavailable")
    for text in ("10 %", "50 %", "100 %"):
        await stage.server.publish("alerts/job", text)
    await stage.until_states(superseded=4, pending=2)
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(70)
    await stage.until_states(superseded=4, delivered=2)
    assert stage.sender.texts[-2:] == ["100 %", "100 %"]


async def test_the_repeats_of_an_emergency_supersede_each_other(start_server: StartServer) -> None:
    stage = await start_stage(start_server, accounts=[account(phone("phone", 1))])
    stage.sender.always(Verdict.MISCONFIGURED, "InvalidProviderToken")
    await stage.pushover("fire", priority="2", retry="30", expire="120")
    await stage.until_states(pending=1)
    await stage.pass_time(65)
    await stage.until_states(superseded=2, pending=1)
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(540)
    await stage.until(lambda: stage.states.get("delivered"))
    assert "pending" not in stage.states
    assert len({push.collapse_id for push in stage.sender.pushes}) == 1
    assert len({push.id for push in stage.sender.pushes}) == len({p.message.id for p in stage.sender.pushes})


async def test_each_repeat_of_an_emergency_is_pushed(start_server: StartServer) -> None:
    owner = account(phone("phone", 1)) | {"stream": False}
    stage = await start_stage(start_server, accounts=[owner])
    await stage.pushover("fire", priority="2", retry="30", expire="70")
    for count in (1, 2, 3):
        await stage.until_states(delivered=count)
        await stage.pass_time(31 if count < 3 else 60)
    assert stage.sender.texts == ["fire"] * 3


async def test_the_outbox_takes_only_so_much(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await start_stage(start_server, push_queue_limit=3)
    await stage.add(*(device(number, account="phil") for number in range(5)))
    stage.sender.always(Verdict.UNAVAILABLE)
    await stage.server.publish("alerts", "one")
    await stage.until_states(pending=3, dropped=2)
    await stage.server.publish("alerts", "two")
    await stage.until_states(pending=3, dropped=7)
    assert [record.message for record in caplog.records if "push-queue-limit" in record.message] == [
        "push-queue-limit: 3 pushes wait already, 2 more are dropped"
    ]
    stage.sender.always(Verdict.DELIVERED)
    await stage.pass_time(70)
    await stage.until_states(delivered=3, dropped=7)
    await stage.server.publish("alerts", "three")
    await stage.until_states(delivered=6, dropped=9)
    figures = await stage.figures()
    assert figures['ntfyish_push_results_total{kind="apns",state="dropped"}'] == 9
    assert figures['ntfyish_push_results_total{kind="apns",state="delivered"}'] == 6
    assert figures['ntfyish_pushes_entered_total{kind="apns"}'] == 6


async def test_what_is_superseded_makes_room(start_server: StartServer) -> None:
    stage = await start_stage(start_server, push_queue_limit=6)
    await stage.add(*(device(number, account="phil") for number in range(3)))
    stage.sender.always(Verdict.UNAVAILABLE)
    for text in ("10 %", "50 %", "100 %"):
        await stage.pass_time(2)
        await stage.server.publish("alerts/job", text)
        await stage.until(lambda text=text: len(stage.rows()) % 3 == 0 and stage.states.get("pending") == 3)
    await stage.until_states(superseded=6, pending=3)


async def test_devices_that_anybody_can_register_take_no_more_than_half_of_the_outbox(
    start_server: StartServer,
) -> None:
    declared = {"topics": ["alerts"], "token": token(9), "bundle-id": "app.example"}
    stage = await start_stage(
        start_server, push_queue_limit=6, accounts=[account()], topic_devices=[declared]
    )
    await stage.add(device(1), device(2), device(3, account="phil"))
    stage.sender.always(Verdict.UNAVAILABLE)
    await stage.server.publish("alerts", "one")
    await stage.until_states(pending=3, dropped=1)
    await stage.server.publish("alerts", "two")
    await stage.until_states(pending=5, dropped=3)
    assert {row[0] for row in stage.rows("device, state") if row[1] == "dropped"} == {
        f"{1:040}",
        f"{2:040}",
    }


async def test_a_message_expires_on_its_way_by_its_ttl(start_server: StartServer) -> None:
    stage = await start_stage(start_server, accounts=[account(phone("phone", 1))], manager_interval="30s")
    await stage.pushover("short", ttl="40")
    await stage.until_states(delivered=1)
    (push,) = stage.sender.pushes
    assert push.expires_at == push.message.time + 40
    stage.sender.always(Verdict.MISCONFIGURED, "BadCertificate")
    await stage.pushover("late", ttl="40")
    await stage.until(lambda: len(stage.sender.pushes) == 2)
    await stage.pass_time(70)
    await stage.until_states(delivered=1, expired=1)
    assert stage.rows("state, reason")[1] == ("expired", "BadCertificate")
    figures = await stage.figures()
    assert figures['ntfyish_push_results_total{kind="apns",state="expired"}'] == 1


@pytest.mark.parametrize(("ttl_s", "age_s"), [(0, 10), (30, 30), (5, 5)])
async def test_a_message_that_is_over_before_it_is_expanded_is_not_pushed(
    start_server: StartServer, tmp_path: Path, ttl_s: int, age_s: int
) -> None:
    clock = FakeClock()
    now = int(clock.now())
    messages = [
        Message(
            id=MessageId(f"{text:x<12}"),
            time=time,
            topic="alerts",
            content=Content(message=text, app="Backups", ttl_s=ttl_s),
        )
        for text, time in (("late", now - age_s), ("intime", now - age_s + 1))
    ]
    async with MessageDatabase.open(tmp_path / "data", clock, lambda published: None) as store:
        await store.post(
            (), (), [Errand(PUSH, one.id, b'["",""]\n' + encode(one), now - age_s) for one in messages]
        )
    declared = {"topics": ["alerts"], "token": token(1), "bundle-id": "app.example"}
    stage = await start_stage(
        start_server, data_dir=tmp_path / "data", topic_devices=[declared], push_expiry_duration="10s"
    )
    await stage.until_states(delivered=1)
    assert stage.sender.texts == ["intime"]


async def test_a_device_may_have_a_topic_and_the_inbox(start_server: StartServer) -> None:
    stage = await start_stage(
        start_server, accounts=[account(phone("phone", 1, topics=["alerts", USER_KEY]))]
    )
    await stage.pushover("one")
    await stage.server.publish("alerts", "two")
    await stage.until_states(delivered=2)
    assert stage.sender.texts == ["one", "two"]


async def test_figures_tell_the_tries(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1), device(2))
    stage.sender.say(Verdict.REFUSED, "BadTopic")
    await stage.server.publish("alerts")
    await stage.until_states(delivered=1, failed=1)
    figures = await stage.figures()
    assert figures['ntfyish_pushes_total{kind="apns",verdict="delivered"}'] == 1
    assert figures['ntfyish_pushes_total{kind="apns",verdict="refused"}'] == 1
    assert figures["ntfyish_push_duration_seconds_count"] == 2
