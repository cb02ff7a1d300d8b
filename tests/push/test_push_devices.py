"""Devices that register to be pushed to, through the front door."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ntfyish.core.ports import Add, DeadDevice, People, Remove
from ntfyish.model.acl import AclEntry
from ntfyish.model.people import Account
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.pushover.receiver import Receiver, new_receiver
from tests.wire import Answer

BUNDLE = "app.example"
TOKEN = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
LIMITED = "tk_limitedlimitedlimitedlimited1"
FULL = "tk_fullfullfullfullfullfullfull1"
VERA_KEY = "uVeraVeraVeraVeraVeraVeraVera0"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


PHIL = basic("phil", "secret")
VERA = basic("vera", "secret")
DECLARED = "aa" * 32
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """An app in both environments, one in the sandbox, two accounts, and topics that few may read."""
    file = folder / "AuthKey.p8"
    file.write_bytes(KEY)
    key = {"key-file": str(file), "key-id": "KEYID12345", "team-id": "TEAMID1234"}
    nowhere = {**key, "endpoint": "127.0.0.1:1"}
    return {
        "accounts": [
            {
                "name": "phil",
                "user-key": USER_KEY,
                "password": "secret",
                "stream": False,
                "tokens": [
                    {"token": FULL},
                    {"token": LIMITED, "topics": ["alerts"], "permissions": ["subscribe"]},
                ],
            },
            {"name": "vera", "user-key": VERA_KEY, "password": "secret"},
        ],
        "auth-default-access": "deny-all",
        "auth-access": ["everyone:news*:read-only", "phil:alerts:rw", "phil:backups:rw", "phil:drop:wo"],
        "apns": [
            {"bundle-id": BUNDLE, **nowhere},
            {"bundle-id": BUNDLE, "sandbox": True, **nowhere},
            {"bundle-id": "app.beta", "sandbox": True, **nowhere},
        ],
        "keys": [],
        **changes,
    }


@pytest_asyncio.fixture
async def server(start_server: StartServer, tmp_path: Path) -> Server:
    return await start_server(**settings(tmp_path))


async def call(
    server: Server, method: str, path: str, authorization: str = "", json: Any = None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    """Send a request, with a form or `json`; return status and body, without the id of the request."""
    headers = {"Authorization": authorization} if authorization else {}
    body: dict[str, Any] = {"json": json} if json is not None else {"data": fields}
    async with server.http.request(method, server.url + path, headers=headers, **body) as response:
        answer = dict(await response.json())
        assert answer.pop("request") == response.headers["X-Request-Id"]
        return response.status, answer


async def ask(server: Server, authorization: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
    """Try to register `TOKEN` for the app, unless `fields` say otherwise."""
    wanted = {"kind": "apns", "device_token": TOKEN, "bundle_id": BUNDLE} | fields
    return await call(server, "POST", "/1/devices.json", authorization, **wanted)


async def register(server: Server, authorization: str = "", **fields: Any) -> dict[str, Any]:
    status, answer = await ask(server, authorization, **fields)
    assert (status, answer.pop("status", None)) == (200, 1), answer
    return answer


async def refusal(server: Server, authorization: str = "", **fields: Any) -> tuple[int, Any]:
    status, answer = await ask(server, authorization, **fields)
    assert answer["status"] == 0
    return status, answer["errors"]


async def remove(server: Server, id: str, authorization: str = "", **fields: Any) -> int:
    status, _ = await call(server, "DELETE", f"/1/devices/{id}.json", authorization, **fields)
    return status


async def stored(server: Server) -> list[PushDevice]:
    """What the database has, by token."""
    return sorted((await people_of(server)).push_devices, key=lambda device: device.token)


async def people_of(server: Server) -> People:
    async with PeopleDatabase.open(server.data_dir) as people:
        return await people.load()


async def bury(server: Server, id: str, token: str) -> None:
    """Have a device's service disown it; the server does not know yet."""
    async with PeopleDatabase.open(server.data_dir) as people:
        assert await people.bury_devices([DeadDevice(id, token, 0, 1_700_000_001, "Unregistered")]) == 1


async def notice(server: Server) -> None:
    """Let the server see what another process has changed: it looks when something is not known."""
    await server.clock.advance(1)
    status, _ = await call(server, "POST", "/1/users/validate.json", token="x" * 30, user=USER_KEY)
    assert status == 400


def revision(server: Server) -> int:
    """How often people have been changed."""
    with closing(sqlite3.connect(server.data_dir / "people.db")) as connection:
        return int(connection.execute("SELECT number FROM revision").fetchone()[0])


async def names_of(server: Server, user: str = USER_KEY, **fields: Any) -> tuple[int, Any]:
    """What validation says about a user: its devices, or the refusal."""
    status, answer = await call(
        server, "POST", "/1/users/validate.json", token=APP_TOKEN, user=user, **fields
    )
    return status, answer.get("devices", answer.get("errors"))


async def test_an_account_registers_its_device_under_a_name(server: Server) -> None:
    answer = await register(server, PHIL, name="phone", topics="news, alerts,news")
    (device,) = await stored(server)
    assert answer == {
        "id": device.id,
        "name": "phone",
        "kind": "apns",
        "bundle_id": BUNDLE,
        "environment": "production",
        "topics": ["news", "alerts"],
        "registered_at": 1_700_000_000,
        "device_token_hint": TOKEN[-8:],
    }
    assert device == PushDevice(
        id=device.id,
        kind=PushKind.APNS,
        account="phil",
        name="phone",
        topics=("news", "alerts"),
        token=TOKEN,
        bundle_id=BUNDLE,
        registered_at=1_700_000_000,
    )
    assert len(device.id) == 40


@pytest.mark.parametrize("authorization", [PHIL, f"Bearer {FULL}", basic("", FULL)])
async def test_an_account_is_known_by_password_or_access_token(server: Server, authorization: str) -> None:
    await register(server, authorization, name="phone")
    assert [device.account for device in await stored(server)] == ["phil"]


async def test_an_open_clients_secret_stands_for_its_account(server: Server) -> None:
    receiver = await new_receiver(server)
    answer = await register(server, secret=receiver.secret, name="phone")
    assert [device.account for device in await stored(server)] == ["phil"]
    status, listed = await call(server, "GET", f"/1/devices.json?secret={receiver.secret}")
    assert (status, [device["id"] for device in listed["devices"]]) == (200, [answer["id"]])


async def test_parameters_may_be_json_and_have_their_other_names(server: Server) -> None:
    fields = {"kind": "apns", "token": TOKEN.upper(), "bundle-id": BUNDLE, "topics": ["news", "newsroom"]}
    status, answer = await call(server, "POST", "/1/devices.json", json=fields)
    assert (status, answer["topics"]) == (200, ["news", "newsroom"])
    (device,) = await stored(server)
    assert (device.token, device.account, device.name) == (TOKEN, "", "")


async def test_answers_may_be_xml(server: Server) -> None:
    data = {"kind": "apns", "device_token": TOKEN, "bundle_id": BUNDLE, "topics": "news,newsroom"}
    async with server.http.post(f"{server.url}/1/devices.xml", data=data) as response:
        root = ElementTree.fromstring(await response.text())
    assert [topic.text for topic in root.findall("topics/topic")] == ["news", "newsroom"]
    id = root.findtext("id")
    async with server.http.delete(f"{server.url}/1/devices/{id}.xml") as response:
        assert ElementTree.fromstring(await response.text()).findtext("status") == "1"
    assert await stored(server) == []


# What Open Clients send there stays theirs


@pytest.mark.parametrize("extra", [{}, {"kind": "client"}, {"kind": " "}, {"os": "O"}])
async def test_an_open_client_registers_as_ever(server: Server, extra: dict[str, str]) -> None:
    receiver = Receiver(server)
    await receiver.log_in()
    status, answer = await call(
        server, "POST", "/1/devices.json", secret=receiver.secret, name="desk", **extra
    )
    assert (status, list(answer)) == (200, ["id", "status"])
    assert await stored(server) == []
    assert await names_of(server) == (200, ["desk"])


@pytest.mark.parametrize("kind", ["webpush", "APNS", "fcm", "apns,client"])
async def test_other_kinds_are_refused(server: Server, kind: str) -> None:
    assert await refusal(server, PHIL, kind=kind, name="phone") == (400, {"kind": ["is invalid"]})


async def test_a_kind_that_is_no_text_is_refused(server: Server) -> None:
    status, answer = await call(server, "POST", "/1/devices.json", PHIL, json={"kind": {"apns": 1}})
    assert (status, answer["errors"]) == (400, {"kind": ["is invalid"]})


# Who it is


async def test_wrong_credentials_are_refused(server: Server) -> None:
    wrong = basic("phil", "wrong")
    status, errors = await refusal(server, wrong, name="phone")
    assert (status, errors) == (401, ["user name, password or access token is wrong"])
    assert await refusal(server, secret="x" * 60, name="phone") == (400, ["secret is invalid"])
    assert await refusal(server, "Bearer tk_nobody", name="phone") == (401, errors)
    assert await stored(server) == []


async def test_secret_and_header_must_be_of_the_same_account(server: Server) -> None:
    receiver = await new_receiver(server)
    errors = ["secret and Authorization are of different accounts"]
    assert await refusal(server, VERA, secret=receiver.secret, name="phone") == (400, errors)
    await register(server, PHIL, secret=receiver.secret, name="phone")


async def test_a_wrong_secret_is_not_made_good_by_the_header(server: Server) -> None:
    assert await refusal(server, PHIL, secret="x" * 60, name="phone") == (400, ["secret is invalid"])


async def test_guessing_secrets_is_slowed_down_as_guessing_passwords(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server(**settings(tmp_path), visitor_auth_failure_limit_burst=2)
    for number in range(2):
        assert (await refusal(server, secret=f"x{number}"))[0] == 400
    wire = await server.wire()
    answer = await wire.request(
        "POST /1/devices.json",
        "Content-Type: application/x-www-form-urlencoded",
        body=b"kind=apns&secret=x3",
    )
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_requests_are_limited(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(
        **settings(tmp_path, **{"visitor-request-limit-exempt-hosts": [], "visitor-request-limit-burst": 2})
    )
    for _ in range(2):
        await register(server, topics="news")
    wire = await server.wire()
    answer = await wire.request("GET /1/devices.json")
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_a_limited_token_manages_no_devices_with_names(server: Server) -> None:
    limited = f"Bearer {LIMITED}"
    named = await register(server, PHIL, name="phone")
    nameless = await register(server, limited, device_token=OTHER, topics="alerts")
    not_allowed = (403, {"name": ["is not allowed"]})
    assert await refusal(server, limited, name="tablet", device_token="ab" * 32) == not_allowed
    assert await refusal(server, limited, topics="alerts") == not_allowed
    assert (
        await refusal(server, limited, topics="alerts", device_token="ab" * 32, id=named["id"]) == not_allowed
    )
    assert await remove(server, named["id"], limited) == 403
    _, listed = await call(server, "GET", "/1/devices.json", limited)
    assert [device["id"] for device in listed["devices"]] == [nameless["id"]]
    assert await remove(server, nameless["id"], limited) == 200
    assert [device.name for device in await stored(server)] == ["phone"]


async def test_a_limited_token_manages_no_devices_with_topics_that_it_may_not_read(server: Server) -> None:
    limited = f"Bearer {LIMITED}"
    other = await register(server, PHIL, topics="alerts,backups")
    _, listed = await call(server, "GET", "/1/devices.json", limited)
    assert listed["devices"] == []
    assert await remove(server, other["id"], limited) == 403
    for again in ({"device_token": TOKEN}, {"device_token": OTHER, "id": other["id"]}):
        assert (await refusal(server, limited, topics="alerts", **again))[0] == 403
    (device,) = await stored(server)
    assert device.topics == ("alerts", "backups")


# Topics


@pytest.mark.parametrize(
    ("authorization", "topics"),
    [
        ("", "alerts"),
        ("", "news,alerts"),
        ("", USER_KEY),
        (VERA, "alerts"),
        (VERA, USER_KEY),
        (PHIL, "news,drop"),
        (f"Bearer {LIMITED}", "backups"),
        (f"Bearer {LIMITED}", "alerts,news"),
    ],
)
async def test_topics_that_may_not_be_read_are_refused_altogether(
    server: Server, authorization: str, topics: str
) -> None:
    answer = await refusal(server, authorization, topics=topics)
    assert answer == (403, {"topics": ["is not allowed"]})
    assert await stored(server) == []


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ("a b", "is invalid"),
        ("x" * 65, "is invalid"),
        ("news,ä", "is invalid"),
        ("news,v1", "is not allowed"),
        (",".join(f"news{number}" for number in range(51)), "has too many items (maximum is 50)"),
        (" , ,", "can't be blank"),
    ],
)
async def test_what_is_no_topic_is_refused(server: Server, topics: str, words: str) -> None:
    assert await refusal(server, topics=topics) == (400, {"topics": [words]})


async def test_a_device_may_have_fifty_topics(server: Server) -> None:
    topics = [f"news{number}" for number in range(50)]
    assert (await register(server, topics=",".join(topics)))["topics"] == topics


# What is malformed


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"device_token": ""}, {"device_token": ["can't be blank"]}),
        ({"device_token": "xy" * 32}, {"device_token": ["is invalid"]}),
        ({"device_token": "a" * 63}, {"device_token": ["is invalid"]}),
        ({"device_token": "ab" * 101}, {"device_token": ["is invalid"]}),
        ({"device_token": "ab" * 7}, {"device_token": ["is invalid"]}),
        ({"device_token": "٣٤" * 32}, {"device_token": ["is invalid"]}),
        ({"device_token": TOKEN + "\n\0"}, {"device_token": ["is invalid"]}),
        ({"bundle_id": ""}, {"bundle_id": ["can't be blank"]}),
        ({"bundle_id": "../etc"}, {"bundle_id": ["is invalid"]}),
        ({"bundle_id": "a" * 300}, {"bundle_id": ["is invalid"]}),
        ({"bundle_id": "app.other"}, {"bundle_id": ["is not an app of this server"]}),
        ({"bundle_id": "APP.EXAMPLE"}, {"bundle_id": ["is not an app of this server"]}),
        ({"environment": "staging"}, {"environment": ["is invalid"]}),
        (
            {"bundle_id": "app.beta", "environment": "production"},
            {"environment": ["is not configured for this app"]},
        ),
        ({"name": "my phone"}, {"name": ["is invalid"]}),
        ({"name": "x" * 26}, {"name": ["is too long (maximum is 25 characters)"]}),
        ({"name": ""}, {"name": ["can't be blank"]}),
        ({"id": "x"}, {"id": ["is invalid"]}),
        ({"id": "A" * 40}, {"id": ["is invalid"]}),
        (
            {"device_token": "", "bundle_id": ""},
            {"device_token": ["can't be blank"], "bundle_id": ["can't be blank"]},
        ),
    ],
)  # fmt: skip
async def test_what_is_malformed_is_refused_by_field(
    server: Server, fields: dict[str, str], errors: dict[str, list[str]]
) -> None:
    assert await refusal(server, PHIL, **{"name": "phone"} | fields) == (400, errors)
    assert await stored(server) == []


@pytest.mark.parametrize("field", ["name", "device_token", "bundle_id", "environment", "topics", "id"])
async def test_values_that_are_no_text_are_refused(server: Server, field: str) -> None:
    fields = {"kind": "apns", "device_token": TOKEN, "bundle_id": BUNDLE, "topics": "news", field: {"a": 1}}
    status, answer = await call(server, "POST", "/1/devices.json", PHIL, json=fields)
    assert status == 400
    assert answer["errors"][field] == ["is invalid"]


async def test_a_name_needs_an_account(server: Server) -> None:
    status, errors = await refusal(server, name="phone", topics="news")
    assert (status, list(errors)) == (400, ["name"])


async def test_a_body_of_more_than_64_kib_is_refused(server: Server) -> None:
    status, _ = await refusal(server, PHIL, name="x" * 70_000)
    assert status == 413


# Environments


@pytest.mark.parametrize(
    ("bundle", "given", "environment"),
    [
        (BUNDLE, {}, "production"),
        (BUNDLE, {"environment": "sandbox"}, "sandbox"),
        (BUNDLE, {"environment": "Development"}, "sandbox"),
        (BUNDLE, {"environment": "production"}, "production"),
        ("app.beta", {}, "sandbox"),
        ("app.beta", {"environment": "sandbox"}, "sandbox"),
    ],
)
async def test_the_environment_is_what_is_asked_for_or_configured(
    server: Server, bundle: str, given: dict[str, str], environment: str
) -> None:
    answer = await register(server, topics="news", bundle_id=bundle, **given)
    assert answer["environment"] == environment
    (device,) = await stored(server)
    assert device.sandbox is (environment == "sandbox")


async def test_without_apps_nothing_registers(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(**settings(tmp_path, apns=[]))
    assert await refusal(server, topics="news") == (400, {"bundle_id": ["is not an app of this server"]})


# Again, and with another token


async def test_registering_again_only_notes_the_time(server: Server) -> None:
    first = await register(server, PHIL, name="phone", topics="news,alerts")
    changes = revision(server)
    await server.clock.advance(10)
    again = await register(server, PHIL, name="phone", topics="alerts,news", device_token=TOKEN.upper())
    assert again["id"] == first["id"]
    assert revision(server) == changes
    (device,) = await stored(server)
    assert (device.registered_at, device.topics) == (1_700_000_010, ("news", "alerts"))


async def test_registering_again_with_other_values_changes_the_device(server: Server) -> None:
    first = await register(server, PHIL, name="phone", topics="news")
    changed = await register(server, PHIL, name="fon", environment="sandbox")
    (device,) = await stored(server)
    assert (changed["id"], changed["name"], changed["topics"]) == (first["id"], "fon", [])
    assert (device.id, device.name, device.topics, device.sandbox) == (first["id"], "fon", (), True)


async def test_a_device_that_died_meanwhile_is_registered_anew(server: Server) -> None:
    first = await register(server, PHIL, name="phone")
    await bury(server, first["id"], TOKEN)
    again = await register(server, PHIL, name="phone")
    assert again["id"] != first["id"]
    assert [device.id for device in await stored(server)] == [again["id"]]


async def test_a_token_that_changed_keeps_the_device(server: Server) -> None:
    first = await register(server, PHIL, name="phone")
    rotated = await register(server, PHIL, name="phone", device_token=OTHER, id=first["id"])
    assert rotated["id"] == first["id"]
    assert [(device.id, device.token) for device in await stored(server)] == [(first["id"], OTHER)]


async def test_nobodys_device_changes_its_token_by_its_id(server: Server) -> None:
    first = await register(server, topics="news")
    rotated = await register(server, topics="news", device_token=OTHER, id=first["id"])
    assert rotated["id"] == first["id"]
    assert [device.token for device in await stored(server)] == [OTHER]


async def test_the_token_of_a_device_that_gives_way_is_gone(server: Server) -> None:
    phone = await register(server, PHIL, name="phone")
    await register(server, PHIL, name="pad", device_token=OTHER)
    await register(server, PHIL, name="phone", device_token=OTHER, id=phone["id"])
    assert [(one.id, one.name, one.token) for one in await stored(server)] == [(phone["id"], "phone", OTHER)]


async def test_an_id_says_which_of_two_devices_it_was(server: Server) -> None:
    phone = await register(server, PHIL, name="phone")
    await register(server, PHIL, name="pad", device_token=OTHER)
    again = await register(server, PHIL, name="pad", device_token=OTHER, id=phone["id"])
    assert again["id"] == phone["id"]
    assert [(one.id, one.name, one.token) for one in await stored(server)] == [(phone["id"], "pad", OTHER)]


@pytest.mark.parametrize("authorization", ["", VERA])
async def test_somebody_elses_id_is_as_good_as_none(server: Server, authorization: str) -> None:
    phils = await register(server, PHIL, name="phone")
    answer = await register(
        server, authorization, device_token=OTHER, topics="news", id=phils["id"], force="1"
    )
    assert answer["id"] != phils["id"]
    mine, theirs = await stored(server)
    assert (mine.id, mine.account, mine.token, mine.name) == (phils["id"], "phil", TOKEN, "phone")
    assert theirs.id == answer["id"]


async def test_an_id_does_not_lead_to_another_app(server: Server) -> None:
    first = await register(server, PHIL, name="phone")
    second = await register(server, PHIL, name="beta", bundle_id="app.beta", id=first["id"])
    assert second["id"] != first["id"]
    assert len(await stored(server)) == 2


# Names


@pytest.mark.parametrize("force", [False, True])
async def test_a_name_is_taken_over_only_by_force(server: Server, force: bool) -> None:
    await register(server, PHIL, name="phone")
    fields = {"name": "phone", "device_token": OTHER, "force": "1" if force else ""}
    status, answer = await ask(server, PHIL, **fields)
    if force:
        assert [(one.id, one.token) for one in await stored(server)] == [(answer["id"], OTHER)]
    else:
        assert (status, answer["errors"]) == (400, {"name": ["has already been taken"]})
        assert [one.token for one in await stored(server)] == [TOKEN]


@pytest.mark.parametrize("force", [False, True])
async def test_an_open_clients_name_is_taken_over_only_by_force(server: Server, force: bool) -> None:
    receiver = await new_receiver(server)
    status, answer = await ask(server, PHIL, name="desk", force="yes" if force else "no")
    if force:
        assert [one.name for one in await stored(server)] == ["desk"]
        queue = f"/1/messages.json?secret={receiver.secret}&device_id={receiver.device_id}"
        assert (await call(server, "GET", queue))[0] == 400
    else:
        assert (status, answer["errors"]) == (400, {"name": ["has already been taken"]})


@pytest.mark.parametrize("force", [False, True])
async def test_an_open_client_takes_a_push_devices_name_only_by_force(server: Server, force: bool) -> None:
    await register(server, PHIL, name="phone")
    receiver = Receiver(server)
    await receiver.log_in()
    fields = {"secret": receiver.secret, "name": "phone", "force": "1" if force else "0"}
    status, answer = await call(server, "POST", "/1/devices.json", **fields)
    if force:
        assert (status, await stored(server)) == (200, [])
    else:
        assert (status, answer["errors"]) == (400, {"name": ["has already been taken"]})
        assert len(await stored(server)) == 1


async def test_an_open_client_that_is_declared_keeps_its_name(
    start_server: StartServer, tmp_path: Path
) -> None:
    wanted = settings(tmp_path)
    wanted["accounts"][0]["devices"] = ["droid2"]
    server = await start_server(**wanted)
    answer = await refusal(server, PHIL, name="droid2", force="1")
    assert answer == (400, {"name": ["has already been taken"]})


async def test_accounts_may_use_the_same_name(server: Server) -> None:
    await register(server, PHIL, name="phone")
    await register(server, VERA, name="phone", device_token=OTHER)
    assert [(one.account, one.name) for one in await stored(server)] == [("phil", "phone"), ("vera", "phone")]


# Whose it is


async def test_a_phone_that_is_given_away_is_its_new_owners(server: Server) -> None:
    before = await register(server, PHIL, name="phone", topics="alerts")
    after = await register(server, VERA, name="phone")
    assert after["id"] != before["id"]
    (device,) = await stored(server)
    assert (device.id, device.account, device.topics) == (after["id"], "vera", ())


async def test_whoever_logs_out_keeps_nothing_of_the_account(server: Server) -> None:
    before = await register(server, PHIL, name="phone", topics="alerts")
    after = await register(server, topics="news")
    (device,) = await stored(server)
    assert (device.id, device.account, device.name) == (after["id"], "", "")
    assert after["id"] != before["id"]


async def test_whoever_logs_in_keeps_their_device(server: Server) -> None:
    before = await register(server, topics="news")
    after = await register(server, PHIL, name="phone")
    (device,) = await stored(server)
    assert (device.id, device.account, device.address) == (before["id"], "phil", "")
    assert after["id"] == before["id"]


async def test_one_token_registered_many_times_at_once_is_one_device(server: Server) -> None:
    wanted = [(who, name) for who in (PHIL, VERA) for name in ("phone", "pad")] * 4
    calls = [ask(server, who, name=name) for who, name in wanted]
    answers = await asyncio.gather(*calls)
    assert {status for status, _ in answers} == {200}
    (device,) = await stored(server)
    assert device.id in {answer["id"] for _, answer in answers}


async def test_one_name_registered_many_times_at_once_is_one_device(server: Server) -> None:
    receiver = Receiver(server)
    await receiver.log_in()
    token = f"Bearer {FULL}"  # as quickly looked at as a secret
    pushed = [ask(server, token, name="phone", device_token=f"{number:064x}") for number in range(6)]
    clients = [
        call(server, "POST", "/1/devices.json", secret=receiver.secret, name="phone") for _ in range(6)
    ]
    statuses = [status for status, _ in await asyncio.gather(*pushed, *clients)]
    assert sorted(statuses) == [200] + [400] * 11
    people = await people_of(server)
    assert len(people.devices) + len(people.push_devices) == 1


# Listing and removing


async def test_an_account_sees_its_own_devices_and_no_tokens(server: Server) -> None:
    await register(server, VERA, name="veras")
    nameless = await register(server, PHIL, device_token=OTHER, topics="alerts")
    phone = await register(server, PHIL, name="phone", device_token="ab" * 32)
    await register(server, topics="news", device_token="cd" * 32)
    status, answer = await call(server, "GET", "/1/devices.json", PHIL)
    assert (status, answer) == (200, {"devices": [phone, nameless], "status": 1})
    assert phone["device_token_hint"] == "abababab"


async def test_nobody_has_no_list(server: Server) -> None:
    await register(server, topics="news")
    wire = await server.wire()
    answer = await wire.request("GET /1/devices.json")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["errors"] == ["secret or Authorization must be supplied"]


async def test_a_list_in_xml(server: Server) -> None:
    await register(server, PHIL, name="phone", topics="news")
    headers = {"Authorization": PHIL}
    async with server.http.get(f"{server.url}/1/devices.xml", headers=headers) as response:
        root = ElementTree.fromstring(await response.text())
    assert [one.text for one in root.findall("devices/device/topics/topic")] == ["news"]


async def test_an_accounts_device_is_removed_by_its_account_alone(server: Server) -> None:
    id = (await register(server, PHIL, name="phone"))["id"]
    assert [await remove(server, id), await remove(server, id, VERA)] == [404, 404]
    assert await remove(server, id, secret="x" * 60) == 400
    assert len(await stored(server)) == 1
    assert await remove(server, id, PHIL) == 200
    assert await stored(server) == []
    assert await remove(server, id, PHIL) == 404


async def test_nobodys_device_is_removed_by_its_id(server: Server) -> None:
    id = (await register(server, topics="news"))["id"]
    assert await remove(server, "0" * 40) == 404
    assert await remove(server, id[:-1]) == 404
    status, answer = await call(server, "POST", f"/1/devices/{id}/delete.json")
    assert (status, answer) == (200, {"status": 1})
    assert await stored(server) == []


async def test_an_open_clients_device_is_not_removed_so(server: Server) -> None:
    receiver = await new_receiver(server)
    assert await remove(server, receiver.device_id, PHIL) == 404
    assert (await receiver.download())["status"] == 1


async def test_a_browser_is_neither_shown_nor_removed_here(server: Server) -> None:
    browser = PushDevice(
        id="b" * 40,
        kind=PushKind.WEB_PUSH,
        account="phil",
        topics=("alerts",),
        token="https://push.example/x",
    )
    async with PeopleDatabase.open(server.data_dir) as people:
        await people.apply(Add(browser))
    await notice(server)
    assert await remove(server, browser.id, PHIL) == 404
    _, answer = await call(server, "GET", "/1/devices.json", PHIL)
    assert answer["devices"] == []
    assert await stored(server) == [browser]


@pytest.mark.parametrize(
    ("request_line", "allowed"),
    [
        ("PUT /1/devices.json", "POST, GET, HEAD, OPTIONS"),
        (f"GET /1/devices/{'a' * 40}.json", "DELETE, OPTIONS"),
        (f"DELETE /1/devices/{'a' * 40}/delete.json", "POST, OPTIONS"),
    ],
)
async def test_other_methods_are_refused(server: Server, request_line: str, allowed: str) -> None:
    answer: Answer = await (await server.wire()).request(request_line)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def test_a_sequence_of_the_topic_1_is_still_deleted(server: Server) -> None:
    """``/1/devices/delete`` is ntfy's: topic 1, sequence "devices"."""
    async with server.http.get(f"{server.url}/1/devices/delete", headers={"Authorization": PHIL}) as response:
        assert (await response.json())["http"] == 403


# Limits


async def test_an_account_has_at_most_fifty(server: Server) -> None:
    for number in range(50):
        await register(server, PHIL, name=f"phone{number}", device_token=f"{number:064x}")
    status, errors = await refusal(server, PHIL, name="one-more")
    assert (status, errors) == (429, {"name": ["cannot be added, there are too many devices"]})
    await register(server, PHIL, name="phone7", device_token=f"{7:064x}", topics="alerts")
    await register(server, PHIL, name="phone0", force="1")
    await register(server, VERA, name="phone", device_token=OTHER)
    assert len(await stored(server)) == 51


async def test_nobody_has_at_most_fifty_at_one_address(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(**settings(tmp_path), behind_proxy=True)
    wire = await server.wire()

    async def ask_from(address: str, number: int, topics: str = "news") -> Answer:
        body = f"kind=apns&bundle_id={BUNDLE}&topics={topics}&device_token={number:064x}"
        form = "Content-Type: application/x-www-form-urlencoded"
        line = "POST /1/devices.json"
        return await wire.request(line, form, f"X-Forwarded-For: {address}", body=body.encode())

    first = [await ask_from("192.0.2.1", number) for number in range(50)]
    assert {answer.status for answer in first} == {200}
    refused = await ask_from("192.0.2.1", 50)
    assert (refused.status, list(refused.json()["errors"])) == (429, ["device_token"])
    assert int(refused.headers["retry-after"]) > 0
    assert (await ask_from("192.0.2.1", 7)).status == 200
    assert (await ask_from("192.0.2.2", 50)).status == 200
    # Those that are known count where they came from first.
    assert (await ask_from("192.0.2.2", 7, "news,newsroom")).status == 200
    assert (await ask_from("192.0.2.1", 51)).status == 429


# What is declared


DEVICE = {"name": "iphone", "kind": "apns", "token": DECLARED, "bundle-id": BUNDLE}


@pytest_asyncio.fixture
async def declaring(start_server: StartServer, tmp_path: Path) -> Server:
    wanted = settings(tmp_path)
    wanted["accounts"][0]["devices"] = [DEVICE]
    return await start_server(**wanted)


@pytest.mark.parametrize(
    ("authorization", "fields"),
    [
        (PHIL, {"name": "other"}),
        (PHIL, {"name": "iphone", "topics": "news"}),
        (PHIL, {"name": "iphone", "environment": "sandbox"}),
        (PHIL, {"name": "iphone", "device_token": TOKEN, "force": "1"}),
        (VERA, {"name": "iphone"}),
        ("", {"topics": "news"}),
    ],
)
async def test_a_declared_device_is_not_changed(
    declaring: Server, authorization: str, fields: dict[str, str]
) -> None:
    before = await stored(declaring)
    answer = await refusal(declaring, authorization, **{"device_token": DECLARED} | fields)
    assert answer == (400, {"device_token": ["is declared in the configuration"]})
    assert await remove(declaring, before[0].id, PHIL) == 400
    assert await stored(declaring) == before


async def test_an_open_client_does_not_take_a_declared_devices_name(declaring: Server) -> None:
    receiver = Receiver(declaring)
    await receiver.log_in()
    fields = {"secret": receiver.secret, "name": "iphone", "force": "1"}
    status, answer = await call(declaring, "POST", "/1/devices.json", **fields)
    assert (status, answer["errors"]) == (400, {"name": ["has already been taken"]})


async def test_a_declared_device_that_is_dead_lives_again_when_it_registers(declaring: Server) -> None:
    (device,) = await stored(declaring)
    await bury(declaring, device.id, DECLARED)
    await notice(declaring)
    assert await names_of(declaring) == (400, ["user is valid but has no active devices"])
    await declaring.clock.advance(10)
    answer = await register(declaring, PHIL, name="iphone", device_token=DECLARED)
    (alive,) = await stored(declaring)
    assert (answer["id"], alive.id, alive.declared) == (device.id, device.id, True)
    assert (alive.dead_at, alive.dead_reason, alive.registered_at) == (0, "", 1_700_000_011)
    assert await names_of(declaring) == (200, ["iphone"])


async def test_a_declared_device_registers_again_as_it_is(declaring: Server) -> None:
    (device,) = await stored(declaring)
    answer = await register(declaring, PHIL, name="iphone", device_token=DECLARED)
    assert answer["id"] == device.id


# What a device means to those who write


async def test_validation_lists_push_devices_with_the_others(server: Server) -> None:
    assert await names_of(server) == (400, ["user is valid but has no active devices"])
    await register(server, PHIL, name="phone")
    assert await names_of(server) == (200, ["phone"])
    await new_receiver(server)
    assert await names_of(server) == (200, ["desk", "phone"])
    assert (await names_of(server, device="phone"))[0] == 200
    assert (await names_of(server, device="pad"))[0] == 400


async def test_a_device_token_says_what_kind_of_device_it_is(server: Server) -> None:
    fields = {"device_token": TOKEN, "bundle_id": BUNDLE, "name": "phone"}
    status, answer = await call(server, "POST", "/1/devices.json", VERA, **fields)
    assert (status, answer["kind"]) == (200, "apns")


async def test_a_device_without_an_account_that_stays_away_is_forgotten(server: Server) -> None:
    back, away = TOKEN, "ab" * 32
    kept = await register(server, VERA, device_token="cd" * 32, name="phone")
    for token in (back, away):
        await register(server, device_token=token, topics="news")
    await server.clock.leap(59 * 86_400)
    await register(server, device_token=back, topics="news")
    await server.clock.leap(86_400)
    async with asyncio.timeout(20):
        while len(devices := await stored(server)) > 2:
            await server.clock.advance(1)
    assert {device.token for device in devices} == {back, "cd" * 32}
    assert kept["id"] in {device.id for device in devices}


async def test_a_device_without_a_name_makes_nobody_reachable(server: Server) -> None:
    await register(server, PHIL, topics="alerts")
    assert await names_of(server) == (400, ["user is valid but has no active devices"])


async def test_a_message_for_a_push_device_does_not_go_to_an_open_client(server: Server) -> None:
    receiver = await new_receiver(server)
    await register(server, PHIL, name="phone")
    for device in ("phone", "desk", "phone,desk", "nowhere"):
        await call(
            server, "POST", "/1/messages.json", token=APP_TOKEN, user=USER_KEY, message=device, device=device
        )
    await receiver.download()
    assert [message["message"] for message in receiver.messages] == ["desk", "phone,desk", "nowhere"]


async def test_a_group_reaches_a_member_that_has_only_a_push_device(
    start_server: StartServer, tmp_path: Path
) -> None:
    key = "gOncallOncallOncallOncallOncal"
    groups = [
        {
            "name": "oncall",
            "key": key,
            "account": "phil",
            "members": [{"account": "phil", "device": "phone"}],
        }
    ]
    server = await start_server(**settings(tmp_path), groups=groups)
    assert (await names_of(server, key))[0] == 400
    await register(server, PHIL, name="phone")
    assert (await names_of(server, key))[0] == 200


async def test_devices_go_with_their_account(server: Server) -> None:
    await register(server, VERA, name="phone")
    await register(server, topics="news", device_token=OTHER)
    async with PeopleDatabase.open(server.data_dir) as people:
        await people.apply(Remove(Account, "vera"))
    assert [device.account for device in await stored(server)] == [""]


async def test_rights_that_are_lost_are_lost_for_the_next_registration(server: Server) -> None:
    await register(server, PHIL, topics="alerts")
    async with PeopleDatabase.open(server.data_dir) as people:
        await people.apply(Remove(AclEntry, ("phil", "alerts")))
    await notice(server)
    assert (await refusal(server, PHIL, topics="alerts"))[0] == 403
