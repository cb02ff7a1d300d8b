"""What a phone is told of a message, whichever dialect it was published by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import USER_KEY
from tests.push.apns_stage import PHONE, WATCH, AppleStage, AppleStages, State
from tests.push.fake_apns import Recorded

KEPT_S = 21 * 86_400


async def pushed(stage: AppleStage, token: str = WATCH, number: int = 1) -> Recorded:
    """Return the push of that number to a device, when it is there."""
    await stage.until(lambda: len(stage.requests(token)) >= number)
    assert len(stage.requests(token)) == number
    return stage.requests(token)[-1]


async def send(stage: AppleStage, message: str = "hi", **fields: str) -> tuple[Recorded, dict[str, Any]]:
    """Send phil a message by Pushover's API; return what his phone gets, and what is beside ``aps``."""
    await stage.pushover(message, **fields)
    return read(await pushed(stage, PHONE))


async def publish(stage: AppleStage, message: str = "hi", **headers: str) -> tuple[Recorded, dict[str, Any]]:
    """Publish by ntfy's API; return what the watch gets, and what is beside ``aps``."""
    await stage.server.publish("alerts", message, **headers)
    return read(await pushed(stage))


def read(request: Recorded) -> tuple[Recorded, dict[str, Any]]:
    custom = request.json
    del custom["aps"]
    return request, custom


def aps(request: Recorded) -> dict[str, Any]:
    return dict(request.json["aps"])


async def test_a_message_of_pushover_is_told_with_all_it_has(stage: AppleStage) -> None:
    request, custom = await send(
        stage,
        "<b>It</b> is full",
        title="Disk",
        subtitle="of the big server",
        html="1",
        url="nzbclient://history?nzbid=7",
        url_title="Look",
        sound="siren",
        timestamp="1600000000",
        ttl="3600",
        priority="1",
    )
    [message] = await stage.server.poll(USER_KEY)
    assert request.headers | {":path": "", "authorization": ""} == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": f"localhost:{stage.apns.port}",
        ":path": "",
        "authorization": "",
        "apns-topic": "app.example",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(message["time"] + 3600),
        "apns-collapse-id": message["id"],
        "apns-id": request.headers["apns-id"],
    }
    assert aps(request) == {
        "alert": {"title": "Disk", "subtitle": "of the big server", "body": "It is full"},
        "interruption-level": "time-sensitive",
        "sound": "default",
        "thread-id": "Backups",
    }
    assert custom == {
        "id": message["id"],
        "topic": USER_KEY,
        "time": message["time"],
        "priority": 4,
        "url": "nzbclient://history?nzbid=7",
        "url_title": "Look",
        "sound": "siren",
        "app": "Backups",
        "timestamp": 1_600_000_000,
    }


async def test_a_message_of_ntfy_is_told_with_all_it_has(stage: AppleStage) -> None:
    request, custom = await publish(
        stage,
        "Voilà 🎉",
        Title="Disk",
        Tags="warning,disk",
        Click="https://example.com/",
        Icon="https://example.com/icon.png",
        Actions="view, Open, https://example.com/open",
        Attach="https://example.com/file.pdf",
        Filename="file.pdf",
    )
    [message] = await stage.server.poll("alerts")
    assert request.headers["apns-expiration"] == str(message["time"] + KEPT_S)
    assert request.headers["apns-collapse-id"] == message["id"]
    assert aps(request) == {
        "alert": {"title": "Disk", "body": "Voilà 🎉"},
        "interruption-level": "active",
        "sound": "default",
        "thread-id": "alerts",
        "mutable-content": 1,
    }
    assert custom.pop("actions") == message["actions"]
    assert custom == {
        "id": message["id"],
        "topic": "alerts",
        "time": message["time"],
        "tags": ["warning", "disk"],
        "url": "https://example.com/",
        "icon": "https://example.com/icon.png",
        "attachment": {"name": "file.pdf", "url": "https://example.com/file.pdf"},
    }


async def test_who_says_no_title_is_told_by_app_or_topic(stage: AppleStage) -> None:
    request, _ = await send(stage, "from an app")
    assert aps(request)["alert"] == {"title": "Backups", "body": "from an app"}
    request, _ = await publish(stage, "to a topic")
    assert aps(request)["alert"] == {"title": "alerts", "body": "to a topic"}
    await stage.server.publish(USER_KEY, "to a key")
    request = await pushed(stage, PHONE, 2)
    assert aps(request)["alert"] == {"title": "New message", "body": "to a key"}


@pytest.mark.parametrize(
    ("pushover", "ntfy", "level", "priority", "sound"),
    [
        ("-2", "1", "passive", "5", None),
        ("-1", "2", "passive", "5", None),
        ("0", "3", "active", "10", "default"),
        ("1", "4", "time-sensitive", "10", "default"),
        ("2", "5", "time-sensitive", "10", "default"),
    ],
)
async def test_the_priority_decides_how_loud_it_is(
    stage: AppleStage, pushover: str, ntfy: str, level: str, priority: str, sound: str | None
) -> None:
    emergency = {"retry": "60", "expire": "3600"} if pushover == "2" else {}
    by_pushover, custom = await send(stage, priority=pushover, **emergency)
    by_ntfy, _ = await publish(stage, Priority=ntfy)
    for request in (by_pushover, by_ntfy):
        assert aps(request)["interruption-level"] == level
        assert aps(request).get("sound") == sound
        assert request.headers["apns-priority"] == priority
    assert ("receipt" in custom) == bool(emergency)


async def test_a_repeat_of_an_emergency_takes_the_place_of_the_one_before(stage: AppleStage) -> None:
    first, _ = await send(stage, "fire", priority="2", retry="30", expire="3600")
    await stage.pass_time(31)
    second = await pushed(stage, PHONE, 2)
    assert first.headers["apns-collapse-id"] == second.headers["apns-collapse-id"]
    assert first.headers["apns-id"] != second.headers["apns-id"]


async def test_an_update_takes_the_place_of_what_is_shown_and_a_deletion_is_told_in_the_background(
    stage: AppleStage,
) -> None:
    await stage.server.publish("alerts/backup", "10 %")
    first = await pushed(stage)
    await stage.server.publish("alerts/backup", "90 %")
    second = await pushed(stage, WATCH, 2)
    assert first.headers["apns-collapse-id"] == second.headers["apns-collapse-id"] == "alerts/backup"
    assert (aps(first)["alert"]["body"], aps(second)["alert"]["body"]) == ("10 %", "90 %")
    async with stage.server.http.delete(f"{stage.server.url}/alerts/backup") as response:
        assert response.status == 200
        deletion = await response.json()
    third, custom = read(await pushed(stage, WATCH, 3))
    assert third.headers["apns-push-type"] == "background"
    assert third.headers["apns-priority"] == "5"
    assert third.headers["apns-collapse-id"] == "alerts/backup"
    assert aps(third) == {"content-available": 1}
    assert custom == {
        "id": deletion["id"],
        "topic": "alerts",
        "time": deletion["time"],
        "event": "message_delete",
        "sequence_id": "backup",
    }
    await stage.until_state(WATCH, *[State("delivered", 1)] * 3)


async def test_what_still_waits_gives_way_to_the_update(stage: AppleStage) -> None:
    await stage.apns.down()
    for text in ("10 %", "50 %", "90 %"):
        await stage.server.publish("alerts/backup", text)
    await stage.apns.up()
    await stage.pass_time(5)
    await stage.until(lambda: [one.state for one in stage.states_of(WATCH)][-1] == "delivered")
    assert [one.state for one in stage.states_of(WATCH)] == ["superseded", "superseded", "delivered"]
    assert aps(await pushed(stage))["alert"]["body"] == "90 %"


async def test_a_file_is_told_with_its_address(stages: AppleStages) -> None:
    stage = await stages.set(base_url="https://push.example.com")
    await stage.register_all()
    url = f"{stage.server.url}/alerts"
    async with stage.server.http.put(url, data=b"%PDF-1.4 x", headers={"Filename": "a.pdf"}) as response:
        message = await response.json()
    request, custom = read(await pushed(stage))
    file = message["attachment"]
    assert custom["attachment"] == {"name": "a.pdf", "url": file["url"], "type": "application/pdf"}
    assert file["url"].startswith("https://push.example.com/file/")
    assert aps(request)["mutable-content"] == 1


async def test_a_ciphertext_is_passed_on_as_it_came(stage: AppleStage) -> None:
    ciphertext = "gAAAAABl" + "Ab_-" * 60 + "=="
    request, custom = await send(stage, ciphertext, title="Done", isEncrypted="True", encryptionType="fernet")
    assert aps(request)["alert"] == {"title": "Done", "body": "Encrypted message"}
    assert aps(request)["mutable-content"] == 1
    assert custom["message"] == ciphertext
    assert (custom["isEncrypted"], custom["encryptionType"]) == (True, "fernet")


async def test_the_longest_message_is_cut_to_what_apple_takes(stage: AppleStage) -> None:
    text = "👩‍👩‍👧‍👦" * 160  # as long as the server takes
    request, custom = await publish(stage, text, Title="é" * 120, Actions="view, Open, https://example.com")
    assert len(request.body) <= 4096
    assert request.body == json.dumps(request.json, ensure_ascii=False).encode()
    body = aps(request)["alert"]["body"]
    assert body.endswith("👩‍👩‍👧‍👦…")
    assert text.startswith(body[:-1])
    assert custom["fetch"] is True
    assert "actions" not in custom


async def test_a_scheduled_message_is_told_when_its_time_has_come(stage: AppleStage) -> None:
    at = int(stage.clock.now()) + 60
    await stage.server.publish("alerts", "later", Delay="60s")
    await stage.pass_time(50)
    assert stage.requests(WATCH) == []
    await stage.pass_time(11)
    request, custom = read(await pushed(stage))
    assert custom["time"] == at
    assert request.headers["apns-expiration"] == str(at + KEPT_S)
