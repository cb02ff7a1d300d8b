from __future__ import annotations

import asyncio
import json
import re

import pytest

from ntfyish.model.errors import Reason, Unavailable
from ntfyish.model.message import Content
from ntfyish.web.body import Parameters
from ntfyish.web.pushover.drafts import ReceiptDraft, read_draft
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.limits import CURRENT
from tests.pushover.world import (
    ALERTS_KEY,
    FREE_TOKEN,
    MUTE,
    NOBODY,
    NZB_TOKEN,
    PHIL,
    SMALL_TOKEN,
    TOKEN,
    VERA,
    World,
    body_of,
    header,
    people,
)

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
INFO = "no active devices to send to"


async def test_a_message_reaches_the_inbox_of_its_user(world: World) -> None:
    response = await world.send(message="Backup finished")
    assert response.status == 200
    assert response.content_type == "application/json; charset=utf-8"
    assert body_of(response) == {"status": 1}
    message = world.message
    assert message.topic == PHIL
    assert message.content == Content(title="Backups", message="Backup finished", priority=3, app="Backups")
    assert message.receipt == ""


async def test_every_field_finds_its_place(world: World) -> None:
    await world.send(
        title="Title",
        message="  <b>bold</b>\n",
        device="iphone",
        url="twitter://user?screen_name=x",
        url_title="Reply",
        priority="1",
        sound="bike",
        timestamp="1331249662",
        html="1",
        ttl="60",
        subtitle="Sub",
        app="nzbget",
        nzbID="7",
    )
    assert world.message.content == Content(
        title="Title",
        message="  <b>bold</b>\n",
        device="iphone",
        click="twitter://user?screen_name=x",
        url_title="Reply",
        priority=4,
        sound="bike",
        timestamp=1331249662,
        html=True,
        ttl_s=60,
        subtitle="Sub",
        nzb_app="nzbget",
        nzb_id="7",
        app="Backups",
    )


async def test_request_ids_are_random_uuids(world: World) -> None:
    first, second = await world.send(), await world.send()
    ids = {header(response, "X-Request-Id") for response in (first, second)}
    assert len(ids) == 2
    assert all(UUID4.fullmatch(identity) for identity in ids)
    assert json.loads(first.body)["request"] == header(first, "X-Request-Id")


@pytest.mark.parametrize("priority", ["-2", "-1", "0", "1", " 1 ", "", "+1", "1.0", "-0"])
async def test_priorities_map_one_to_one(world: World, priority: str) -> None:
    response = await world.send(priority=priority)
    assert body_of(response) == {"status": 1}
    assert world.message.content.priority == int(float(priority or 0)) + 3


@pytest.mark.parametrize("given", ["x" * 1024, "😀" * 1024])
async def test_lengths_are_counted_in_code_points(world: World, given: str) -> None:
    assert (await world.send(message=given)).status == 200
    assert (await world.send(message=given + "x")).status == 400


async def test_blank_optional_fields_are_absent(world: World) -> None:
    blank = dict.fromkeys(
        ("title", "device", "url", "url_title", "priority", "sound", "timestamp", "html", "ttl", "subtitle"),
        " ",
    )
    assert (await world.send(**blank)).status == 200
    assert world.message.content == Content(title="Backups", message="hi", priority=3, app="Backups")


async def test_emergency_fields_are_ignored_for_other_priorities(world: World) -> None:
    response = await world.send(priority="1", retry="0", expire="x", callback="ftp://", tags="a,b")
    assert body_of(response) == {"status": 1}
    assert world.message.content.tags == ()
    assert world.message.receipt == ""


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("droid2", "droid2"),
        ("droid2, iphone", "droid2,iphone"),
        ("iphone,droid2,iphone", "iphone,droid2"),
        ("ALL_DEVICES", ""),
        ("gone,droid2", "droid2"),
        ("x" * 300, ""),
        ("", ""),
        (",", ""),
    ],
)
async def test_known_devices_are_addressed_and_unknown_ones_mean_all(
    world: World, device: str, expected: str
) -> None:
    assert (await world.send(device=device)).status == 200
    assert world.message.content.device == expected


async def test_devices_may_be_repeated_or_a_json_list(world: World) -> None:
    start = f"token={TOKEN}&user={PHIL}&message=hi"
    await world.ask("POST /1/messages.json", f"{start}&device=droid2&device=iphone".encode())
    body = json.dumps({"token": TOKEN, "user": PHIL, "message": "hi", "device": ["droid2", "iphone"]})
    await world.ask("POST /1/messages.json", body.encode(), "application/json")
    assert [message.content.device for message in world.store.messages] == ["droid2,iphone"] * 2


@pytest.mark.parametrize(
    ("sound", "expected"), [("bike", "bike"), ("none", "none"), ("vibrate", "vibrate"), ("loud", "")]
)
async def test_an_unknown_sound_is_the_default(world: World, sound: str, expected: str) -> None:
    assert (await world.send(sound=sound)).status == 200
    assert world.message.content.sound == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1331249662", 1331249662),
        ("1331249662.97", 1331249662),
        ("0", 0),
        ("1e999", None),
        ("-5", None),
        ("soon", None),
        ("9" * 18, None),
    ],
)
async def test_timestamps_are_truncated_to_seconds(world: World, given: str, expected: int | None) -> None:
    response = await world.send(timestamp=given)
    if expected is None:
        assert body_of(response) == {
            "timestamp": "is invalid",
            "errors": ["timestamp is invalid"],
            "status": 0,
        }
    else:
        assert world.message.content.timestamp == expected


@pytest.mark.parametrize(
    ("word", "expected"), [("1", True), ("True", True), ("0", False), ("False", False), ("None", False)]
)
async def test_html_and_monospace_are_flags(world: World, word: str, expected: bool) -> None:
    await world.send(html=word, monospace="0")
    assert world.message.content.html is expected
    assert not world.message.content.monospace


async def test_ttl_shortens_the_life_of_a_message(world: World) -> None:
    await world.send(ttl="60.5")
    await world.send(ttl="0")
    await world.send(ttl="9" * 18)
    assert [message.content.ttl_s for message in world.store.messages] == [60, 0, 2_147_483_647]


async def test_ciphertext_may_be_longer_and_is_not_touched(world: World) -> None:
    text = "gAAAA" + "x" * 4_090 + " "
    assert (await world.send(message=text, url_title="y" * 400, encrypted="1")).status == 200
    content = world.message.content
    assert content.message == text
    assert content.encrypted
    assert (await world.send(message=text + "x", encrypted="1")).status == 400
    assert (await world.send(message=text)).status == 400


# Whom


@pytest.mark.parametrize("user", [PHIL, f" {PHIL} ", f"{PHIL},", f",{PHIL},{PHIL} , "])
async def test_blanks_and_repetitions_in_the_list_of_users_do_not_count(world: World, user: str) -> None:
    response = await world.send(user=user)
    assert body_of(response) == {"status": 1}
    assert world.message.topic == PHIL
    assert header(response, "X-Limit-App-Remaining") == "9999"


async def test_several_users_get_one_message_each(world: World) -> None:
    response = await world.send(user=f"{PHIL},{VERA},alerts", device="droid2")
    assert [message.topic for message in world.store.messages] == [PHIL, VERA, "alerts"]
    assert {message.content.device for message in world.store.messages} == {""}
    assert header(response, "X-Limit-App-Remaining") == "9997"


async def test_a_topic_and_its_key_are_one_recipient(world: World) -> None:
    response = await world.send(user=f"alerts,{ALERTS_KEY}")
    assert world.message.topic == "alerts"
    assert header(response, "X-Limit-App-Remaining") == "9999"


async def test_unknown_users_in_a_list_do_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    response = await world.send(user=f"{NOBODY},{PHIL}")
    assert body_of(response) == {"status": 1}
    assert world.message.topic == PHIL
    assert "1 of 2 recipients are unknown" in caplog.text
    assert NOBODY not in caplog.text


async def test_a_user_without_active_devices_is_told_in_a_success(world: World) -> None:
    response = await world.send(user=MUTE)
    assert response.status == 200
    assert list(body_of(response).items()) == [("info", INFO), ("status", 1)]
    assert world.store.messages == []
    assert header(response, "X-Limit-App-Remaining") == "10000"


async def test_one_active_device_among_all_users_is_enough(world: World) -> None:
    response = await world.send(user=f"{MUTE},{PHIL}")
    assert body_of(response) == {"status": 1}
    assert world.message.topic == PHIL
    assert header(response, "X-Limit-App-Remaining") == "9999"


# Emergencies


async def test_an_emergency_gets_a_receipt(world: World) -> None:
    response = await world.send(priority="2", retry="30", expire="3600", tags="db,night", ttl="nonsense")
    body = body_of(response)
    assert re.fullmatch("r[A-Za-z0-9]{29}", body["receipt"])
    assert body == {"receipt": body["receipt"], "status": 1}
    assert world.message.receipt == body["receipt"]
    assert world.message.content.priority == 5
    assert world.message.content.ttl_s == 0
    assert world.message.content.tags == ()


async def test_one_receipt_covers_all_recipients(world: World) -> None:
    response = await world.send(user=f"{PHIL},{VERA}", priority="2", retry="60", expire="10800")
    receipts = {message.receipt for message in world.store.messages}
    assert receipts == {body_of(response)["receipt"]}


@pytest.mark.parametrize(
    ("expire", "expected"), [("10800", 10_800), ("10801", 10_800), ("86400", 10_800), ("60.5", 60)]
)
async def test_a_longer_expire_is_shortened_up_to_a_day(world: World, expire: str, expected: int) -> None:
    assert (await world.send(priority="2", retry="30", expire=expire)).status == 200
    assert read_receipt(retry="30", expire=expire) == ReceiptDraft(retry_s=30, expire_s=expected)


def test_a_receipt_keeps_callback_and_tags() -> None:
    receipt = read_receipt(
        retry=" 99999999 ", expire="60", callback=" https://a.example:8443/x?y ", tags="db, night,,db"
    )
    assert receipt == ReceiptDraft(
        retry_s=86_400, expire_s=60, callback="https://a.example:8443/x?y", tags=("db", "night")
    )


def read_receipt(**fields: str) -> ReceiptDraft | None:
    found: list[Fault] = []
    parameters = Parameters(list({"message": "hi", "priority": "2", **fields}.items()))
    _, receipt = read_draft(parameters, people().apps[0], (), CURRENT, found)
    assert found == []
    return receipt


async def test_an_emergency_nobody_receives_still_has_a_receipt(world: World) -> None:
    response = await world.send(user=MUTE, priority="2", retry="30", expire="60")
    assert body_of(response).keys() == {"receipt", "info", "status"}


# NZBClient


@pytest.mark.parametrize(("priority", "expected"), [("-2", 2), ("-1", 2), ("0", 3), ("1", 4), ("2", 4)])
async def test_nzbclient_clamps_priorities_and_has_no_receipts(
    world: World, priority: str, expected: int
) -> None:
    response = await world.send(token=NZB_TOKEN, priority=priority)
    assert body_of(response) == {"status": 1}
    assert world.message.content.priority == expected
    assert world.message.receipt == ""


async def test_what_the_nzbget_script_sends_is_accepted(world: World) -> None:
    response = await world.send(
        token=NZB_TOKEN,
        title="Done",
        message="gAAAA",
        url="nzbclient://history?nzbid=1",
        priority="0",
        isEncrypted="True",
        app="nzbget",
        nzbID="",
        encryptionType="None",
        device="",
        sound="",
        legacy="x",
    )
    assert body_of(response) == {"status": 1}
    content = world.message.content
    assert (content.encrypted, content.encryption_type, content.nzb_app, content.nzb_id) == (
        True,
        "",
        "nzbget",
        "",
    )
    await world.send(token=NZB_TOKEN, isEncrypted="False", encryptionType="aes256CBC")
    content = world.store.messages[-1].content
    assert (content.encrypted, content.encryption_type) == (False, "aes256CBC")


# Quota


async def test_the_quota_is_shown_and_counts_users(world: World) -> None:
    response = await world.send()
    assert header(response, "X-Limit-App-Limit") == "10000"
    assert header(response, "X-Limit-App-Remaining") == "9999"
    assert header(response, "X-Limit-App-Reset") == "1393653600"
    await world.send(user=f"{PHIL},{VERA}")
    assert world.store.counters == {(f"app:{TOKEN}", "2014-02"): 3}


async def test_a_used_up_quota_refuses_with_429(world: World) -> None:
    await world.send(token=SMALL_TOKEN, user=f"{PHIL},{VERA}")
    response = await world.send(token=SMALL_TOKEN, user=f"{PHIL},{VERA}")
    assert response.status == 429
    assert list(body_of(response).items()) == [
        ("token", "invalid"),
        ("errors", ["application has exceeded current limit of 3 messages"]),
        ("status", 0),
    ]
    assert header(response, "X-Limit-App-Remaining") == "1"
    assert (await world.send(token=SMALL_TOKEN)).status == 200
    assert (await world.send(token=SMALL_TOKEN)).status == 429


async def test_refused_messages_cost_nothing(world: World) -> None:
    response = await world.send(message="")
    assert response.status == 400
    assert header(response, "X-Limit-App-Remaining") == "10000"


async def test_an_app_without_limit_still_shows_numbers(world: World) -> None:
    response = await world.send(token=FREE_TOKEN)
    assert int(header(response, "X-Limit-App-Limit")) - 1 == int(header(response, "X-Limit-App-Remaining"))


async def test_what_could_not_be_stored_is_given_back(world: World) -> None:
    world.store.failure = Unavailable(Reason.STORAGE_FULL)
    response = await world.send()
    assert response.status == 507
    assert body_of(response)["status"] == 0
    world.store.failure = None
    assert header(await world.send(), "X-Limit-App-Remaining") == "9999"


async def test_a_client_that_hangs_up_is_still_charged(world: World) -> None:
    posting, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        posting.set()
        await go_on.wait()

    world.store.before_post = wait
    request = asyncio.ensure_future(world.send())
    await posting.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    world.store.before_post = None
    assert header(await world.send(), "X-Limit-App-Remaining") == "9998"


# How


MULTIPART = "multipart/form-data; boundary=XX"


def in_multipart(fields: dict[str, str]) -> bytes:
    parts = [f'--XX\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    return ("".join(parts) + "--XX--\r\n").encode()


FIELDS = {"token": TOKEN, "user": PHIL, "message": "grüße"}
ATTACHMENT = (
    b'--XX\r\nContent-Disposition: form-data; name="attachment"; filename="a"\r\n\r\n\xff\xd8\r\n--XX--\r\n'
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (in_multipart(FIELDS), MULTIPART),
        (in_multipart(FIELDS).removesuffix(b"--XX--\r\n") + ATTACHMENT, MULTIPART),
        (json.dumps(FIELDS).encode(), "application/json"),
        (json.dumps(FIELDS | {"priority": 0, "html": True, "title": None}).encode(), "application/json"),
        (json.dumps(FIELDS).encode(), "application/x-www-form-urlencoded"),
        (json.dumps(FIELDS).encode(), ""),
        (f"token={TOKEN}&user={PHIL}&message=gr%C3%BC%C3%9Fe".encode(), "application/json"),
        (f"token={TOKEN}&user={PHIL}&message=grüße".encode(), ""),
    ],
)
async def test_every_encoding_of_a_message_is_accepted(world: World, body: bytes, content_type: str) -> None:
    response = await world.ask("POST /1/messages.json", body, content_type)
    assert response is not None
    expected: dict[str, object] = {"status": 1}
    if ATTACHMENT in body:
        expected["info"] = "attachments are not enabled on this server"
    assert body_of(response) == expected
    assert world.message.content.message == "grüße"


async def test_parameters_may_be_in_the_query(world: World) -> None:
    line = f"POST /1/messages.json?token={TOKEN}&user={PHIL}&message=from+query"
    response = await world.ask(line, b"", "text/plain")
    assert response is not None
    assert body_of(response) == {"status": 1}
    assert world.message.content.message == "from query"


@pytest.mark.parametrize("user", [PHIL, "alerts"])
async def test_the_path_without_a_suffix_answers_in_json(world: World, user: str) -> None:
    response = await world.ask("POST /1/messages", {"token": TOKEN, "user": user, "message": "hi"})
    assert response is not None
    assert body_of(response) == {"status": 1}
    assert world.message.topic == user


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"token=a&message=x", b"user=a", b"{broken", b"x" * 8_000_000]
)
async def test_the_path_without_a_suffix_is_left_to_ntfy_without_token_and_user(
    world: World, body: bytes
) -> None:
    assert await world.ask("POST /1/messages", body, "") is None
    assert world.store.messages == []
