"""Subscriptions: the web page, the keys it gives, migration; and licenses."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import pytest_asyncio

from ntfyish.web.pushover.subscriptions import is_target
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.wire import Answer

OTHER_TOKEN = "aOtherOtherOtherOtherOtherOth0"
VERA = "uVeraVeraVeraVeraVeraVeraVera0"
CODE = "PhilsBlog-abc123"
SUCCESS = "https://blog.example/done?x=1#end"
FAILURE = "https://blog.example/sorry"
FORM = "Content-Type: application/x-www-form-urlencoded"
LOGIN = {"name": "phil", "password": "secret", "choice": "subscribe"}
TOTP = "JBSWY3DPEHPK3PXP"
PEOPLE: dict[str, Any] = {
    "accounts": [
        {"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["droid2", "pad"]},
        {"name": "vera", "user-key": VERA, "password": "geheim", "totp-secret": TOTP},
    ],
    "apps": [
        {"name": "<Blog>", "token": APP_TOKEN, "account": "vera"},
        {"name": "Other", "token": OTHER_TOKEN, "account": "vera"},
    ],
    "subscriptions": [{"code": CODE, "app": "<Blog>"}],
}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(**PEOPLE)


async def ask(server: Server, line: str, **fields: str) -> Answer:
    return await (await server.wire()).request(line, FORM, body=urlencode(fields).encode())


def page(success: str = SUCCESS, failure: str = FAILURE, code: str = CODE) -> str:
    return f"/subscribe/{code}?success={quote(success, safe='')}&failure={quote(failure, safe='')}"


async def subscribe(server: Server, **fields: str) -> str:
    answer = await ask(server, f"POST {page()}", **(LOGIN | fields))
    assert answer.status == 303, answer.body
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))["pushover_user_key"]


def said(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request"}


async def test_the_page_shows_the_app_and_can_only_lead_where_it_says(server: Server) -> None:
    answer = await (await server.wire()).request(f"GET {page()}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"&lt;Blog&gt;" in answer.body
    assert b"<Blog>" not in answer.body
    assert b"blog.example" in answer.body
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://blog.example" in policy
    assert "set-cookie" not in answer.headers


async def test_who_subscribes_is_sent_to_the_success_url_with_a_key_for_that_app(server: Server) -> None:
    answer = await ask(server, f"POST {page()}", **LOGIN)
    location = urlsplit(answer.headers["location"])
    key = dict(parse_qsl(location.query))["pushover_user_key"]
    assert answer.status == 303
    assert answer.headers["location"] == f"https://blog.example/done?x=1&pushover_user_key={key}#end"
    assert len(key) == 30
    assert key.isalnum()
    assert key != USER_KEY
    message = {"token": APP_TOKEN, "user": key, "message": "hi"}
    assert said(await ask(server, "POST /1/messages.json", **message)) == {"status": 1}
    assert [one["message"] for one in await server.poll(USER_KEY)] == ["hi"]
    valid = said(await ask(server, "POST /1/users/validate.json", token=APP_TOKEN, user=key))
    assert (valid["group"], valid["devices"]) == (0, ["droid2", "pad"])
    foreign = await ask(server, "POST /1/messages.json", **(message | {"token": OTHER_TOKEN}))
    assert (foreign.status, said(foreign)["user"]) == (400, "invalid")
    assert await subscribe(server) == key


async def test_a_subscribers_device_and_sound_count_where_the_message_says_nothing(server: Server) -> None:
    key = await subscribe(server, device="pad", sound="bike")
    for fields in ({}, {"device": "droid2", "sound": "siren"}):
        sent = {"token": APP_TOKEN, "user": key, "message": "hi"} | fields
        assert (await ask(server, "POST /1/messages.json", **sent)).status == 200
    shown = [(one["device"], one["sound"]) for one in await server.poll(USER_KEY)]
    assert shown == [("pad", "bike"), ("droid2", "siren")]


async def test_who_unsubscribes_cannot_be_written_to_any_longer(server: Server) -> None:
    key = await subscribe(server)
    answer = await ask(server, f"POST {page()}", **(LOGIN | {"choice": "unsubscribe"}))
    assert answer.headers["location"] == "https://blog.example/done?x=1&pushover_unsubscribed=1#end"
    sent = await ask(server, "POST /1/messages.json", token=APP_TOKEN, user=key, message="hi")
    assert said(sent)["user"] == "invalid"


async def test_who_cancels_is_sent_to_the_failure_url(server: Server) -> None:
    answer = await ask(server, f"POST {page()}", choice="cancel")
    assert (answer.status, answer.headers["location"]) == (303, FAILURE)


async def test_without_addresses_the_page_tells_the_key(server: Server) -> None:
    answer = await ask(server, f"POST /subscribe/{CODE}", **LOGIN)
    assert answer.status == 200
    assert b"Your key for &lt;Blog&gt; is u" in answer.body


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "wrong"},
        {"password": ""},
        {"name": "nobody"},
        {"name": ""},
        {"name": "phil:secret", "password": ""},
        {"name": '"><script>', "password": "x"},
        {"name": "vera", "password": "geheim"},
        {"name": "vera", "password": "geheim", "twofa": "000000"},
    ],
)
async def test_a_wrong_login_shows_the_page_again(server: Server, fields: dict[str, str]) -> None:
    answer = await ask(server, f"POST {page()}", **(LOGIN | fields))
    assert answer.status == 403
    assert "location" not in answer.headers
    assert b"<script>" not in answer.body
    assert b"is wrong" in answer.body


async def test_guessing_is_slowed_down(start_server: StartServer) -> None:
    server = await start_server(
        visitor_auth_failure_limit_burst=2, subscriptions=[{"code": CODE, "app": APP_TOKEN}]
    )
    statuses = [
        (await ask(server, f"POST {page()}", **(LOGIN | {"password": f"wrong{number}"}))).status
        for number in range(6)
    ]
    assert statuses[0] == 403
    assert statuses[-1] == 429


@pytest.mark.parametrize("fields", [{"choice": "explode"}, {"device": "a b"}])
async def test_nonsense_shows_the_page_again(server: Server, fields: dict[str, str]) -> None:
    assert (await ask(server, f"POST {page()}", **(LOGIN | fields))).status == 400


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "ftp://a.example/",
        "https:/\\evil.example",
        "https://a.example/\r\nX: y",
        "https://good.example@evil.example/",
        "https://a.example/ b",
        "https://a.example:99999/",
        "https://",
        "https://a.example/" + "x" * 3000,
    ],
)
async def test_browsers_are_sent_to_plain_web_pages_only(server: Server, url: str) -> None:
    assert not is_target(url)
    for target in (page(success=url), page(failure=url)):
        assert (await (await server.wire()).request(f"GET {target}")).status == 400
        assert (await ask(server, f"POST {target}", **LOGIN)).status == 400


@pytest.mark.parametrize("url", ["", "http://a.example", "https://[2001:db8::1]:8443/x", "https://a/ü?b=1&c"])
def test_ordinary_addresses_are_targets(url: str) -> None:
    assert is_target(url)


async def test_a_code_that_is_none_is_not_found_and_ntfys_paths_stay_ntfys(server: Server) -> None:
    assert (await (await server.wire()).request("GET /subscribe/No-such1")).status == 404
    for path in ("/subscribe/json?poll=1", "/subscribe/publish?message=x"):
        assert (await (await server.wire()).request(f"GET {path}")).status == 200
    answer = await (await server.wire()).request("POST /subscribe/seq-1", body=b"hi")
    assert answer.json()["topic"] == "subscribe"


async def test_user_keys_are_migrated(server: Server) -> None:
    fields = {"token": APP_TOKEN, "subscription": CODE, "user": USER_KEY}
    answer = said(await ask(server, "POST /1/subscriptions/migrate.json", **fields))
    assert list(answer) == ["subscribed_user_key", "status"]
    key = answer["subscribed_user_key"]
    again = {"device_name": "pad", "sound": "bike"}
    answer = said(await ask(server, "POST /1/subscriptions/migrate.json", **fields, **again))
    assert answer["subscribed_user_key"] == key == await subscribe(server, device="pad", sound="bike")


INVALID_CODE = {"subscription": "invalid", "errors": ["subscription code is invalid"], "status": 0}
INVALID_USER = {
    "user": "is not a valid user",
    "errors": ["user key is not valid for any active user"],
    "status": 0,
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"subscription": ""}, INVALID_CODE),
        ({"subscription": "No-such1"}, INVALID_CODE),
        ({"token": OTHER_TOKEN}, INVALID_CODE),
        ({"user": ""}, INVALID_USER),
        ({"user": "u" * 30}, INVALID_USER),
        ({"token": "x"}, {"token": "invalid", "errors": ["application token is invalid"], "status": 0}),
    ],
)
async def test_a_wrong_migration_is_refused(
    server: Server, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    right = {"token": APP_TOKEN, "subscription": CODE, "user": USER_KEY}
    answer = await ask(server, "POST /1/subscriptions/migrate.json", **(right | fields))
    assert (answer.status, list(said(answer).items())) == (400, list(expected.items()))


async def test_there_are_always_licenses(server: Server) -> None:
    wire = await server.wire()
    credits = (await wire.request(f"GET /1/licenses.json?token={APP_TOKEN}")).json()["credits"]
    assert credits > 1000
    for fields in ({"user": USER_KEY}, {"user": VERA, "os": "iOS"}, {"email": "phil", "user": USER_KEY}):
        answer = await ask(server, "POST /1/licenses/assign.json", token=APP_TOKEN, **fields)
        assert said(answer) == {"credits": credits, "status": 1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            {
                "user": "must be supplied",
                "email": "must be supplied",
                "errors": ["user or email must be supplied"],
                "status": 0,
            },
        ),
        (
            {"email": "nonsense"},
            {
                "email": "is not a valid e-mail address",
                "errors": ["e-mail address is not a valid address"],
                "status": 0,
            },
        ),
        ({"user": "x"}, {"user": "invalid", "errors": ["user key is invalid"], "status": 0}),
        (
            {"email": "a@b.example"},
            {
                "email": "is not that of a user",
                "errors": ["e-mail address is not that of any active user"],
                "status": 0,
            },
        ),
        ({"user": USER_KEY, "os": "VMS"}, {"os": "is invalid", "errors": ["os is invalid"], "status": 0}),
    ],
)
async def test_a_wrong_license_is_refused(
    server: Server, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    answer = await ask(server, "POST /1/licenses/assign.json", token=APP_TOKEN, **fields)
    assert (answer.status, list(said(answer).items())) == (400, list(expected.items()))


async def test_emergencies_are_repeated_for_a_subscribers_device_with_their_sound(server: Server) -> None:
    key = await subscribe(server, device="pad", sound="bike")
    emergency = {"message": "Fire", "priority": "2", "retry": "60", "expire": "600"}
    sent = {"token": APP_TOKEN, "user": f"{VERA},{key}"} | emergency
    assert (await ask(server, "POST /1/messages.json", **sent)).status == 200
    await server.clock.advance(60)
    async with asyncio.timeout(10):
        while len(await server.poll(USER_KEY)) < 2 or len(await server.poll(VERA)) < 2:
            await server.clock.advance(0.01)
    phils, veras = await server.poll(USER_KEY), await server.poll(VERA)
    assert [(one["device"], one["sound"]) for one in phils] == [("pad", "bike")] * 2
    assert not any("device" in one or "sound" in one for one in veras)
