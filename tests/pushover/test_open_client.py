from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ntfyish.app import running
from ntfyish.model.totp import code_at, decode_secret
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.pushover.receiver import Receiver, new_receiver
from tests.wire import Answer

TOTP = "JBSWY3DPEHPK3PXP"
ACCOUNT: dict[str, Any] = {
    "name": "phil",
    "user-key": USER_KEY,
    "password": "secret",
    "email": "Phil@example.org",
}


async def send(server: Server, **fields: object) -> dict[str, Any]:
    data = {"token": APP_TOKEN, "user": USER_KEY, "message": "hi"} | {
        name: str(value) for name, value in fields.items()
    }
    async with server.http.post(f"{server.url}/1/messages.json", data=data) as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


async def connect(receiver: Receiver, *, binary: bool = False) -> None:
    """Listen, and wait until the server knows: it tells of a message that is there already."""
    await send(receiver.server)
    await receiver.listen(binary=binary)
    assert await receiver.frame() == b"!"


async def test_a_receiver_gets_what_is_sent_and_confirms_it(server: Server) -> None:
    receiver = await new_receiver(server)
    assert receiver.user_key == USER_KEY
    assert len(receiver.secret) == 60
    assert len(receiver.device_id) == 40
    await send(
        server, message="one", title="T", url="tel:1", url_title="call", sound="bike", html=1, priority=1
    )
    await send(server, message="two", timestamp=1_600_000_000)
    answer = await receiver.download()
    one, two = receiver.messages
    assert one == {
        "id": 1, "id_str": "1", "umid": one["umid"], "umid_str": str(one["umid"]), "message": "one",
        "app": "Backups", "aid": one["aid"], "aid_str": str(one["aid"]), "icon": "ntfyish",
        "date": 1_700_000_000, "queued_date": 1_700_000_000, "dispatched_date": 1_700_000_000, "priority": 1,
        "acked": 0, "title": "T", "sound": "bike", "url": "tel:1", "url_title": "call", "html": 1,
    }  # fmt: skip
    assert (two["id"], two["date"], two["queued_date"]) == (2, 1_600_000_000, 1_700_000_000)
    assert {"url", "sound", "html", "receipt", "expiration_date"}.isdisjoint(two)
    assert None not in [*one.values(), *two.values()]
    assert answer["user"]["quiet_hours"] is False
    assert answer["device"]["name"] == "desk"
    await receiver.confirm()
    await receiver.download()
    assert receiver.messages == []
    await send(server)
    await receiver.download()
    assert [message["id"] for message in receiver.messages] == [3]


async def test_confirming_keeps_what_came_later(server: Server) -> None:
    receiver = await new_receiver(server)
    await send(server, message="one")
    await receiver.download()
    await send(server, message="two")
    await receiver.confirm()
    await receiver.download()
    assert [message["message"] for message in receiver.messages] == ["two"]


@pytest.mark.parametrize("email", ["phil", "phil@example.org", "PHIL@EXAMPLE.ORG"])
async def test_one_logs_in_by_name_or_address(start_server: StartServer, email: str) -> None:
    receiver = Receiver(await start_server(accounts=[ACCOUNT]))
    await receiver.log_in(email)


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "phil", "password": "wrong"},
        {"email": "vera", "password": "secret"},
        {"email": "phil:secret", "password": "x"},
        {"email": "", "password": "secret"},
        {"email": "phil", "password": ""},
    ],
)
async def test_a_wrong_login_is_refused(server: Server, fields: dict[str, str]) -> None:
    status, answer = await Receiver(server).post("users/login.json", **fields)
    del answer["request"]
    assert status == 400
    assert answer == {"errors": ["invalid email and/or password"], "status": 0}


async def test_an_access_token_is_no_password(start_server: StartServer) -> None:
    token = "tk_" + "a" * 29
    server = await start_server(accounts=[ACCOUNT | {"tokens": [{"token": token}]}])
    status, _ = await Receiver(server).post("users/login.json", email="", password=token)
    assert status == 400


async def test_wrong_logins_are_limited_like_all_others(start_server: StartServer) -> None:
    server = await start_server(visitor_auth_failure_limit_burst=2)
    receiver = Receiver(server)
    found = [(await receiver.post("users/login.json", email="x", password="y"))[0] for _ in range(6)]
    assert found[:2] == [400, 400]
    assert found[-1] == 429


async def test_a_code_is_asked_for_and_good_once(start_server: StartServer) -> None:
    server = await start_server(accounts=[ACCOUNT | {"totp-secret": TOTP}])
    receiver = Receiver(server)
    status, answer = await receiver.post("users/login.json", email="phil", password="secret")
    assert (status, answer["status"]) == (412, 0)
    status, _ = await receiver.post("users/login.json", email="phil", password="wrong", twofa="123456")
    assert status == 400
    code = code_at(decode_secret(TOTP), int(server.clock.now()) // 30)
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    status, _ = await receiver.post("users/login.json", email="phil", password="secret", twofa=wrong)
    assert status == 400
    await receiver.log_in(twofa=code)
    status, _ = await receiver.post("users/login.json", email="phil", password="secret", twofa=code)
    assert status == 400


async def test_codes_cannot_be_guessed_for_long(start_server: StartServer) -> None:
    receiver = Receiver(await start_server(accounts=[ACCOUNT | {"totp-secret": TOTP}]))
    right = {"email": "phil", "password": "secret"}
    found = [(await receiver.post("users/login.json", **right, twofa="000000"))[0] for _ in range(11)]
    assert found == [400] * 10 + [429]


def test_codes_are_those_of_the_standard() -> None:
    secret = b"12345678901234567890"
    assert [code_at(secret, at // 30) for at in (59, 1111111109, 20000000000)] == [
        "287082",
        "081804",
        "353130",
    ]


async def test_a_name_that_is_taken_is_told_in_an_object_of_lists(server: Server) -> None:
    receiver = await new_receiver(server, "desk")
    status, answer = await receiver.post("devices.json", secret=receiver.secret, name="desk", os="O")
    del answer["request"]
    assert status == 400
    assert answer == {"errors": {"name": ["has already been taken"]}, "status": 0}


@pytest.mark.parametrize("name", ["", "a b", "x" * 26, "ü"])
async def test_a_name_must_be_one(server: Server, name: str) -> None:
    receiver = Receiver(server)
    await receiver.log_in()
    status, answer = await receiver.post("devices.json", secret=receiver.secret, name=name, os="O")
    assert (status, list(answer["errors"])) == (400, ["name"])


async def test_force_takes_a_name_over_with_what_waits(server: Server) -> None:
    old = await new_receiver(server)
    await send(server, message="waits")
    new = Receiver(server)
    await new.log_in()
    await new.register("desk", force="1")
    assert new.device_id != old.device_id
    await new.download()
    assert [message["message"] for message in new.messages] == ["waits"]
    await send(server, message="more")
    await new.download()
    assert [message["id"] for message in new.messages] == [1, 2]
    query = f"secret={old.secret}&device_id={old.device_id}"
    async with server.http.get(f"{server.url}/1/messages.json?{query}") as response:
        assert response.status == 400


async def test_a_declared_device_is_active_before_it_registers(start_server: StartServer) -> None:
    server = await start_server(accounts=[ACCOUNT | {"devices": ["droid2"], "stream": False}])
    assert "info" not in await send(server, message="early")
    receiver = await new_receiver(server, "droid2")
    await receiver.download()
    assert [message["message"] for message in receiver.messages] == ["early"]
    data = {"token": APP_TOKEN, "user": USER_KEY}
    async with server.http.post(f"{server.url}/1/users/validate.json", data=data) as response:
        assert (await response.json())["devices"] == ["droid2"]


async def test_an_inbox_without_a_stream_shows_nothing_there(start_server: StartServer) -> None:
    server = await start_server(accounts=[ACCOUNT | {"devices": ["droid2"], "stream": False}])
    receiver = await new_receiver(server, "droid2")
    await connect(receiver)
    await send(server, message="for the device")
    assert await receiver.frame() == b"!"
    assert await server.poll(USER_KEY) == []


async def test_devices_can_be_addressed_and_unknown_ones_mean_all(server: Server) -> None:
    desk, phone = await new_receiver(server, "desk"), await new_receiver(server, "phone")
    await send(server, message="desk", device="desk")
    await send(server, message="all", device="ALL_DEVICES")
    await desk.download()
    await phone.download()
    assert [message["message"] for message in desk.messages] == ["desk", "all"]
    assert [message["message"] for message in phone.messages] == ["all"]
    assert desk.messages[1]["umid"] == phone.messages[0]["umid"] != desk.messages[0]["umid"]


async def test_what_ntfy_publishes_to_an_inbox_is_queued_too(server: Server) -> None:
    receiver = await new_receiver(server)
    await server.publish(USER_KEY, "now", Title="T", Priority="5", Click="https://x.example/")
    await server.publish(USER_KEY, "later", At="1m")
    await receiver.listen()
    assert await receiver.frame() == b"!"
    await server.clock.advance(60)
    assert await receiver.signal() == b"!"
    await receiver.download()
    now, later = receiver.messages
    assert (now["title"], now["priority"], now["url"]) == ("T", 2, "https://x.example/")
    assert (later["message"], later["queued_date"]) == ("later", 1_700_000_060)


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[Server]:
    """A server that a test stops itself."""
    flags = {
        "listen-http": "127.0.0.1:0",
        "data-dir": str(data_dir),
        "accounts": [ACCOUNT],
        "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
    }
    clock = FakeClock()
    async with aiohttp.ClientSession() as http, running(load(flags, {}, None), clock) as one:
        yield Server(one.url, clock, http, one, data_dir)


async def test_a_queue_survives_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        receiver = await new_receiver(server)
        await send(server, message="kept")
    async with started(tmp_path) as receiver.server:
        await receiver.download()
        assert [message["message"] for message in receiver.messages] == ["kept"]


async def test_a_message_goes_with_its_ttl_and_after_21_days(server: Server) -> None:
    receiver = await new_receiver(server)
    await send(server, message="short", ttl=60)
    await send(server, message="long")
    await receiver.download()
    assert receiver.messages[0]["expiration_date"] == 1_700_000_060
    server.clock.set_wall(1_700_000_060)
    await receiver.download()
    assert [message["message"] for message in receiver.messages] == ["long"]
    server.clock.set_wall(1_700_000_000 + 21 * 86_400)
    await receiver.download()
    assert receiver.messages == []


@pytest.mark.parametrize("line", ["GET /1/messages.json", "GET /1/messages"])
async def test_a_download_may_have_its_parameters_in_either_place(server: Server, line: str) -> None:
    receiver = await new_receiver(server)
    await send(server)
    wire = await server.wire()
    form = f"secret={receiver.secret}&device_id={receiver.device_id}"
    by_query: Answer = await wire.request(f"{line}?{form}")
    assert len(by_query.json()["messages"]) == 1
    if line.endswith(".json"):
        wire.send(f"{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n")
        wire.send(f"Content-Length: {len(form)}\r\n\r\n{form}")
        assert len((await wire.answer()).json()["messages"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "secret"),
        (f"token={APP_TOKEN}", "secret"),
        ("secret=x&device_id=y", "secret"),
        ("secret={secret}", "device_id"),
        ("secret={secret}&device_id=" + "0" * 40, "device_id"),
    ],
)
async def test_a_download_needs_a_secret_and_a_device(server: Server, query: str, field: str) -> None:
    receiver = await new_receiver(server)
    query = query.format(secret=receiver.secret)
    async with server.http.get(f"{server.url}/1/messages.json?{query}") as response:
        assert response.status == 400
        assert next(iter(await response.json())) == field


async def test_a_secret_opens_no_device_of_another_account(start_server: StartServer) -> None:
    vera = {"name": "vera", "password": "geheim"}
    server = await start_server(accounts=[ACCOUNT, vera])
    phil = await new_receiver(server)
    other = Receiver(server, device_id=phil.device_id)
    await other.log_in("vera", "geheim")
    path = f"devices/{phil.device_id}/update_highest_message.json"
    status, _ = await other.post(path, secret=other.secret, message=9)
    assert status == 400


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"message": "1"}, 200),
        ({"highest_message_id": "1"}, 200),
        ({"message": "9" * 25}, 200),
        ({"message": "-1"}, 400),
        ({"message": "x"}, 400),
        ({}, 400),
    ],
)
async def test_a_confirmation_names_the_highest_message(
    server: Server, fields: dict[str, str], status: int
) -> None:
    receiver = await new_receiver(server)
    await send(server)
    path = f"devices/{receiver.device_id}/update_highest_message.json"
    assert (await receiver.post(path, secret=receiver.secret, **fields))[0] == status
    await receiver.download()
    assert bool(receiver.messages) == (status != 200)


@pytest.mark.parametrize("binary", [False, True])
async def test_a_listener_hears_at_once(server: Server, binary: bool) -> None:
    receiver = await new_receiver(server)
    await connect(receiver, binary=binary)
    await server.clock.advance(30)
    assert await receiver.frame() == b"#"
    await send(server)
    assert await receiver.frame() == b"!"


async def test_a_listener_hears_what_came_before_it_connected(server: Server) -> None:
    receiver = await new_receiver(server)
    await send(server)
    await receiver.listen()
    assert await receiver.frame() == b"!"


async def test_the_same_device_elsewhere_ends_the_first(server: Server) -> None:
    receiver = await new_receiver(server)
    second = Receiver(server, secret=receiver.secret, device_id=receiver.device_id)
    await connect(receiver)
    await second.listen()
    assert [await receiver.frame(), await receiver.frame()] == [b"A", None]
    assert await second.frame() == b"!"


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 100])
async def test_wrong_credentials_are_permanent(server: Server, secret: str) -> None:
    receiver = await new_receiver(server)
    receiver.secret = secret
    await receiver.listen()
    assert [await receiver.frame(), await receiver.frame()] == [b"E", None]


async def test_too_long_a_login_ends_the_connection(server: Server) -> None:
    receiver = await new_receiver(server)
    receiver.secret = "x" * 1000
    await receiver.listen()
    assert await receiver.frame() is None


async def test_whoever_does_not_log_in_is_let_go(server: Server) -> None:
    receiver = Receiver(server)
    receiver.socket = await server.http.ws_connect(f"{server.url}/push")
    await server.clock.advance(61)
    assert await receiver.frame() is None


async def test_a_device_that_loses_its_name_must_log_in_again(server: Server) -> None:
    old = await new_receiver(server)
    await connect(old)
    new = Receiver(server)
    await new.log_in()
    await new.register("desk", force="1")
    assert await old.frame() == b"E"


async def test_a_stopping_server_asks_to_connect_again(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with started(tmp_path) as server:
            receiver = await new_receiver(server)
            receiver.server = Server(server.url, server.clock, http, server.running, tmp_path)
            await connect(receiver)
        assert [await receiver.frame(), await receiver.frame()] == [b"R", None]


async def test_push_remains_a_topic(server: Server) -> None:
    await server.publish("push", "still here")
    assert [message["message"] for message in await server.poll("push")] == ["still here"]


async def test_an_emergency_is_acknowledged(server: Server) -> None:
    receiver = await new_receiver(server)
    receipt = (await send(server, priority=2, retry=30, expire=600))["receipt"]
    await receiver.download()
    (message,) = receiver.messages
    assert (message["receipt"], message["acked"], message["priority"]) == (receipt, 0, 2)
    await receiver.listen()
    assert await receiver.frame() == b"!"
    await receiver.confirm()
    await server.clock.advance(30)
    assert await receiver.signal() == b"!"
    await receiver.download()
    (again,) = receiver.messages
    assert again["id"] > message["id"]
    assert (again["umid"], again["receipt"]) == (message["umid"], receipt)
    status, _ = await receiver.post(f"receipts/{receipt}/acknowledge.json", secret=receiver.secret)
    assert status == 200
    await receiver.download()
    assert receiver.messages[0]["acked"] == 1
    async with server.http.get(f"{server.url}/1/receipts/{receipt}.json?token={APP_TOKEN}") as response:
        found = await response.json()
    assert (found["acknowledged"], found["acknowledged_by"], found["acknowledged_by_device"]) == (
        1,
        USER_KEY,
        "desk",
    )


@pytest.mark.parametrize(
    ("priority", "hours", "expected"),
    [
        (0, "22:00-23:00", -1),
        (-1, "22:00-23:00", -1),
        (-2, "22:00-23:00", -2),
        (1, "22:00-23:00", 1),
        (0, "21:00-22:13", 0),
        (0, "21:00-22:14", -1),
        (0, "23:00-22:14", -1),
        (0, "23:00-22:13", 0),
        (0, "22:14-01:00", 0),
        (0, "22:13-01:00", -1),
    ],
)
async def test_quiet_hours_make_messages_silent(
    start_server: StartServer, priority: int, hours: str, expected: int
) -> None:
    # 1 700 000 000 is 22:13:20 in UTC
    server = await start_server(accounts=[ACCOUNT | {"quiet-hours": hours}])
    receiver = await new_receiver(server)
    await send(server, priority=priority)
    answer = await receiver.download()
    assert receiver.messages[0]["priority"] == expected
    assert answer["user"]["quiet_hours"] is (expected < 0 or priority == 1)
    (streamed,) = await server.poll(USER_KEY)
    assert streamed["priority"] == expected + 3


async def test_quiet_hours_are_those_of_the_time_zone_also_for_ntfy(start_server: StartServer) -> None:
    quiet = {"quiet-hours": "23:00-07:00", "time-zone": "Europe/Berlin", "default-sound": "bike"}
    server = await start_server(accounts=[ACCOUNT | quiet])
    receiver = await new_receiver(server)
    await server.publish(USER_KEY, "by ntfy")
    await send(server, sound="siren")
    await receiver.download()
    assert [(one["priority"], one["sound"]) for one in receiver.messages] == [(-1, "bike"), (-1, "siren")]


async def test_the_icon_that_messages_name_is_a_picture(server: Server) -> None:
    receiver = await new_receiver(server)
    await send(server)
    await receiver.download()
    url = f"{server.url}/icons/{receiver.messages[0]['icon']}.png"
    async with server.http.get(url) as response:
        picture = await response.read()
        assert (response.status, response.content_type) == (200, "image/png")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (64, 64)
    _, _, data = picture.partition(b"IDAT")
    pixels = zlib.decompressobj().decompress(data)
    assert (len(pixels), set(pixels)) == (64 * 65, {0, 1})
    async with server.http.post(url) as response:
        assert response.status == 405
    async with server.http.get(f"{server.url}/icons/other.png") as response:
        assert response.status == 404
