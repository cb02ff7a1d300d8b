"""Browsers register at ``/v1/webpush``, are warned if they stay away, and expire; through the front door."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ntfyish.app import ExtraMissing
from ntfyish.core.ports import Add
from ntfyish.core.pushes.registration import MOST_OF_NOBODY
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.settings import SettingsError, load
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import Server, StartServer
from tests.ntfy.calling import ADMIN, administration, basic, bearer, call, code, new_token, succeed
from tests.ntfy.talking import PHIL
from tests.push.browsers import (
    CREATED,
    EMAIL,
    PRIVATE,
    PUBLIC,
    Browser,
    PushService,
    answer,
    push_service,
)
from tests.push.test_callbacks import Names, until

POST, DELETE = "POST /v1/webpush", "DELETE /v1/webpush"
PHILS = basic("phil")
KEYS = {
    "base-url": "https://ntfy.example",
    "web-push-public-key": PUBLIC,
    "web-push-private-key": PRIVATE,
    "web-push-email-address": EMAIL,
}
FCM = "https://fcm.googleapis.com/fcm/send/"


@dataclass
class World:
    """A server, and a push service that its browsers use."""

    server: Server
    service: PushService

    def browser(self, name: str = "b1") -> Browser:
        return Browser(self.service.endpoint(name))

    async def register(self, browser: Browser, *topics: str, login: str = "") -> None:
        headers = [login] if login else []
        await succeed(self.server, POST, browser.subscription(*topics), *headers)

    async def known(self) -> dict[str, PushDevice]:
        """Return the browsers in the database, by the end of their endpoints."""
        async with PeopleDatabase.open(self.server.data_dir) as people:
            devices = (await people.load()).push_devices
        return {one.token.rpartition("/")[2]: one for one in devices}

    async def pass_time(self, seconds: float) -> None:
        """Let the days go by, of which the server notices the last seconds only."""
        clock = self.server.clock
        clock.set_wall(clock.now() + seconds)
        await clock.advance(61)


@pytest_asyncio.fixture
async def world(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(push_service(tmp_path))
        monkeypatch.setenv("SSL_CERT_FILE", str(service.ca_file))
        server = await start_server(
            **KEYS,
            accounts=[PHIL, ADMIN],
            auth_access=["phil:private:read-only", "everyone:private:deny", "everyone:blind:write-only"],
            resolver=Names(push=[["127.0.0.1"]]),
            web_push_endpoint_allow=[service.host],
            callback_allow=["127.0.0.1"],
        )
        yield World(server, service)


async def test_clients_learn_the_key_to_subscribe_with(world: World, start_server: StartServer) -> None:
    config = (await call(world.server, "GET /v1/config")).json()
    assert (config["enable_web_push"], config["web_push_public_key"]) == (True, PUBLIC)
    script = (await call(world.server, "GET /config.js")).body.decode()
    assert PUBLIC in script
    assert PRIVATE not in script


async def test_without_keys_there_is_no_web_push(server: Server) -> None:
    config = (await call(server, "GET /v1/config")).json()
    assert (config["enable_web_push"], config["web_push_public_key"]) == (False, "")
    for line in (POST, DELETE):
        assert await code(server, line, Browser(FCM + "x").subscription("t")) == 40401


async def test_a_browser_registers_for_topics(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "alerts", "backups", "alerts")
    device = (await world.known())["b1"]
    assert (device.topics, device.account, device.name) == (("alerts", "backups"), "", "")
    assert (device.token, device.p256dh, device.auth) == (browser.endpoint, browser.p256dh, browser.auth)
    assert device.registered_at == int(world.server.clock.now())
    assert device.address == "ip:127.0.0.1"


async def test_to_register_again_takes_the_place_of_what_was(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "alerts")
    first = (await world.known())["b1"]
    await world.pass_time(100)
    await world.register(browser, "alerts")
    again = (await world.known())["b1"]
    assert again.id == first.id
    assert again.registered_at > first.registered_at + 99
    renewed = Browser(browser.endpoint)
    await world.register(renewed, "backups")
    (device,) = (await world.known()).values()
    assert (device.id, device.topics, device.auth) == (first.id, ("backups",), renewed.auth)


async def test_a_browser_belongs_to_whoever_logged_in_last(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "alerts", login=PHILS)
    first = (await world.known())["b1"]
    assert (first.account, first.address) == ("phil", "user:phil")
    await world.register(browser, "alerts", login=basic("root"))
    await world.register(browser, "alerts")
    (device,) = (await world.known()).values()
    assert (device.id, device.account, device.address) == (first.id, "", "ip:127.0.0.1")


async def test_a_browser_goes_with_its_account(world: World) -> None:
    async with administration(world.server) as people:
        await people.add_account("anna", password="secret")
    await world.register(world.browser(), "alerts", login=basic("anna"))
    await succeed(world.server, "DELETE /v1/account", {"password": "secret"}, basic("anna"))
    assert await world.known() == {}


async def test_a_browser_is_removed_by_its_endpoint_or_by_naming_no_topics(world: World) -> None:
    one, other = world.browser("one"), world.browser("other")
    await world.register(one, "alerts")
    await world.register(other, "alerts")
    await succeed(world.server, DELETE, {"endpoint": one.endpoint})
    await succeed(world.server, DELETE, {"endpoint": one.endpoint})
    assert list(await world.known()) == ["other"]
    await world.register(other)
    await world.register(other)
    assert await world.known() == {}
    for body in ({}, {"endpoint": ""}, {"endpoint": 3}, b"x", b"[]"):
        assert await code(world.server, DELETE, body) == 40038


MALFORMED: list[Any] = [
    b"",
    b"not json",
    b"[]",
    b'{"endpoint":"' + b"x" * 40_000 + b'"}',
    {"endpoint": ""},
    {"endpoint": 5},
    {"auth": ""},
    {"auth": None},
    {"p256dh": ["x"]},
    {"p256dh": "AAAA"},
    {"auth": "AAAA"},
    {"topics": "alerts"},
    {"topics": {"a": 1}},
    {"topics": ["alerts", 1]},
    {"topics": [None]},
]


@pytest.mark.parametrize("wrong", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_malformed_is_refused(world: World, wrong: Any) -> None:
    body = wrong if isinstance(wrong, bytes) else world.browser().subscription("alerts") | wrong
    assert await code(world.server, POST, body) == 40038
    assert await world.known() == {}


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://push.test/send/b1",  # allowed with its port only
        "https://127.0.0.1/x",
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evil.example/?.googleapis.com/",
        "x",
    ],
)
async def test_endpoints_of_nobody_are_refused(world: World, endpoint: str) -> None:
    browser = Browser(endpoint)
    assert await code(world.server, POST, browser.subscription("alerts")) == 40039
    assert await code(world.server, POST, browser.subscription(*map(str, range(51)))) == 40039
    assert await code(world.server, POST, browser.subscription()) == 40039


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ([f"t{number}" for number in range(51)], 40040),
        (["a b"], 40009),
        (["alerts", ""], 40009),
        (["x" * 65], 40009),
        (["a,b"], 40009),
        (["alerts", "docs"], 40010),
        (["alerts", "private"], 40301),
        (["blind"], 40301),
    ],
)
async def test_topics_are_looked_at_one_by_one(world: World, topics: list[str], expected: int) -> None:
    assert await code(world.server, POST, world.browser().subscription(*topics)) == expected
    assert await world.known() == {}


async def test_an_account_may_register_for_what_it_may_read(world: World) -> None:
    server = world.server
    await world.register(world.browser(), *(f"t{number}" for number in range(49)), "private", login=PHILS)
    token = await new_token(server, PHILS, topics=["alerts"])
    wanted = world.browser("b2").subscription("private")
    assert await code(server, POST, wanted, bearer(token)) == 40301
    assert await code(server, POST, wanted, basic("phil", "wrong")) == 40101
    await world.register(world.browser("b2"), "alerts", login=bearer(token))


async def test_an_address_has_ten_browsers(world: World) -> None:
    for number in range(10):
        await world.register(world.browser(f"b{number}"), "alerts")
    assert await code(world.server, POST, world.browser("b10").subscription("alerts")) == 42903
    await world.register(world.browser("b9"), "backups")  # one of the ten
    await world.register(world.browser("b10"), "alerts", login=PHILS)  # not the address's, but phil's
    await world.register(world.browser("b10"), "alerts")  # stays where it counts: there is no room here
    assert (await world.known())["b10"].address == "user:phil"
    await succeed(world.server, DELETE, {"endpoint": world.browser("b0").endpoint})
    await world.register(world.browser("b11"), "alerts")


async def test_nobody_has_only_so_many_browsers_from_wherever(world: World) -> None:
    known = [
        PushDevice(
            id=f"{number:040}",
            kind=PushKind.WEB_PUSH,
            topics=("alerts",),
            token=f"{FCM}{number}",
            address=f"2001:db8:{number:x}::/64",
            registered_at=int(world.server.clock.now()),
        )
        for number in range(MOST_OF_NOBODY)
    ]
    async with PeopleDatabase.open(world.server.data_dir) as people:
        await people.apply(*map(Add, known))
    assert await code(world.server, POST, world.browser("b0").subscription("alerts")) == 42903
    await world.register(world.browser("b0"), "alerts", login=PHILS)
    await succeed(world.server, DELETE, {"endpoint": known[0].token})
    await world.register(world.browser("b1"), "alerts")


async def test_registering_is_limited_as_other_requests_are(start_server: StartServer) -> None:
    server = await start_server(**KEYS, visitor_request_limit_exempt_hosts=[], visitor_request_limit_burst=3)
    for number in range(2):
        await succeed(server, POST, Browser(f"{FCM}{number}").subscription("t"))
    assert await code(server, POST, b"x") == 40038
    for line in (POST, DELETE):
        refused = await call(server, line, Browser(FCM).subscription("t"))
        assert refused.json()["code"] == 42901
        assert refused.headers["retry-after"] == "5"


async def test_who_stays_away_is_told_once_and_then_removed(world: World) -> None:
    browser, faithful = world.browser(), world.browser("faithful")
    requests, day_s = world.service.requests, 86_400
    await world.register(browser, "alerts")
    await world.register(faithful, "alerts")
    await world.pass_time(54 * day_s)
    assert requests == []
    await world.register(faithful, "alerts")
    await world.pass_time(day_s)
    await until(lambda: len(requests) == 1, world.server.clock)
    assert requests[0].line == "POST /send/b1 HTTP/1.1"
    assert browser.read(requests[0]) == {"event": "subscription_expiring"}
    assert requests[0].fields["ttl"] == "86400"
    await world.pass_time(4 * day_s)
    assert (await world.known())["b1"].warned_at
    await world.pass_time(day_s)
    await until_known(world, lambda known: list(known) == ["faithful"])
    assert len(requests) == 1


@pytest.mark.parametrize("topic", ["alerts", "backups"])
async def test_who_comes_back_after_the_warning_stays_and_is_warned_again(world: World, topic: str) -> None:
    browser, day_s = world.browser(), 86_400
    await world.register(browser, "alerts")
    await world.pass_time(56 * day_s)
    await until(lambda: len(world.service.requests) == 1, world.server.clock)
    await until_known(world, lambda known: bool(known["b1"].warned_at))
    await world.register(browser, topic)
    assert (await world.known())["b1"].warned_at == 0
    await world.pass_time(54 * day_s)
    assert list(await world.known()) == ["b1"]
    await world.pass_time(2 * day_s)
    await until(lambda: len(world.service.requests) == 2, world.server.clock)


async def test_who_comes_back_while_it_is_being_warned_has_not_been(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "alerts")
    world.service.answering.clear()
    await world.pass_time(56 * 86_400)
    await until(lambda: len(world.service.requests) == 1, world.server.clock)
    await world.register(browser, "alerts")
    world.service.answering.set()
    for _ in range(20):
        await world.server.clock.advance(0.25)
        assert (await world.known())["b1"].warned_at == 0
    await world.pass_time(56 * 86_400)
    await until(lambda: len(world.service.requests) == 2, world.server.clock)


@pytest.mark.parametrize("reply", [answer(500), answer(429), b""])
async def test_a_warning_that_fails_is_sent_later(world: World, reply: bytes) -> None:
    world.service.answers[:] = [reply]
    await world.register(world.browser(), "alerts")
    await world.pass_time(56 * 86_400)
    await until(lambda: len(world.service.requests) >= 1, world.server.clock)
    await world.pass_time(0)
    assert (await world.known())["b1"].warned_at == 0
    world.service.answers[:] = [CREATED]
    await world.pass_time(0)
    await until_known(world, lambda known: bool(known["b1"].warned_at))


async def test_who_turns_out_to_be_gone_when_warned_is_removed(world: World) -> None:
    world.service.answers[:] = [answer(410)]
    await world.register(world.browser(), "alerts")
    await world.pass_time(56 * 86_400)
    await until(lambda: len(world.service.requests) == 1, world.server.clock)
    await until_known(world, lambda known: not known)


async def until_known(world: World, condition: Callable[[dict[str, PushDevice]], bool]) -> None:
    for _ in range(100):
        if condition(await world.known()):
            return
        await world.server.clock.advance(0.25)
    pytest.fail(f"still {await world.known()}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"web-push-private-key": "x"}, "private key must be"),
        ({"web-push-public-key": "x"}, "public key must be"),
        ({"web-push-public-key": PUBLIC[:-1]}, "public key must be"),
        ({"web-push-endpoint-allow": ["https://push.example"]}, "must be a host"),
        ({"web-push-endpoint-allow": ["Push.example"]}, "must be a host"),
        ({"web-push-endpoint-allow": ["push.example:443"]}, "must be a host"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**KEYS, **changes}, {}, None)
    (mistake,) = caught.value.mistakes
    assert words in mistake
    assert PRIVATE not in mistake


async def test_what_is_missing_is_named(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ntfyish.push.web_push", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'ntfyish\[webpush\]'"):
        await start_server(**KEYS)
