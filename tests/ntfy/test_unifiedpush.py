"""UnifiedPush: who pays for what is published to its topics, and what becomes of it where nobody does."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from ntfyish.model.acl import TopicAccess
from tests.conftest import Server, StartServer
from tests.ntfy.calling import PRO, administration, basic, succeed
from tests.ntfy.talking import PHIL, SECRET_HASH, ask, error_of, hear, listen
from tests.wire import Answer, Wire

TOPIC = "upAbCdEfGhIjKl"
OTHER_TOPIC = "upMnOpQrStUvWx"
VERA = {"name": "vera", "password-hash": SECRET_HASH}
DAY_S = 86_400
Owned = Callable[..., Awaitable[Server]]


def at(number: int) -> str:
    """Return the header field that makes a request come from an address of its own."""
    return f"X-Forwarded-For: 192.0.2.{number}"


PHONE, APP_SERVER, TABLET = at(1), at(2), at(3)


@pytest.fixture
def owned(start_server: StartServer) -> Owned:
    """Start a server on which subscribers pay, three requests each."""

    async def start(**settings: object) -> Server:
        defaults: dict[str, object] = {
            "accounts": [PHIL, VERA],
            "behind_proxy": True,
            "visitor_subscriber_rate_limiting": True,
            "visitor_request_limit_exempt_hosts": [],
            "visitor_request_limit_burst": 3,
            "visitor_request_limit_replenish": "1h",
        }
        return await start_server(**(defaults | settings))

    return start


async def push(server: Server, topic: str = TOPIC, *headers: str) -> Answer:
    return await ask(server, f"POST /{topic}?up=1", *(headers or (APP_SERVER,)), body="hi")


async def poll(server: Server, topics: str, *headers: str) -> None:
    assert (await ask(server, f"GET /{topics}/json?poll=1", *headers)).status == 200


async def leave(server: Server, reader: Wire) -> None:
    streams = server.running.streams
    left = len(streams.open) - 1
    reader.writer.close()
    async with asyncio.timeout(5):
        while len(streams.open) > left:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)


async def test_anybody_may_push_to_a_topic_without_subscribers_unless_subscribers_pay(server: Server) -> None:
    assert (await push(server)).status == 200


@pytest.mark.parametrize(
    ("line", "headers", "body"),
    [
        (f"POST /{TOPIC}?up=1", (), "hi"),
        (f"PUT /{TOPIC}?unifiedpush=yes", (), "hi"),
        (f"POST /{TOPIC}", ("X-UnifiedPush: 1",), "hi"),
        (f"POST /{TOPIC}", ("Content-Encoding: aes128gcm",), "hi"),
        (f"GET /{TOPIC}/publish?up=1&m=hi", (), ""),
        ("POST /?up=1", (), f'{{"topic":"{TOPIC}","message":"hi"}}'),
        ("POST /news?up=1", (), "hi"),
    ],
)
async def test_a_push_that_nobody_pays_for_is_refused_with_a_status_that_app_servers_do_not_give_up_on(
    owned: Owned, line: str, headers: tuple[str, ...], body: str
) -> None:
    server = await owned()
    await poll(server, "news", PHONE)  # whose name is none of UnifiedPush, and so has no owner
    answer = await ask(server, line, APP_SERVER, *headers, body=body)
    assert answer.status == 507
    assert answer.json() == {
        "code": 50701,
        "http": 507,
        "error": "cannot publish to UnifiedPush topic without previously active subscriber",
    }
    reader = await listen(server, TOPIC, PHONE)
    again = await ask(server, line, APP_SERVER, *headers, body=body)
    if "news" in line:
        assert again.status == 507
    else:
        assert again.status == 200
        assert (await hear(reader))["message"] == ("triggered" if "GET" in line else "hi")


async def test_a_refused_push_costs_its_publisher_a_request(owned: Owned) -> None:
    server = await owned()
    assert [(await push(server)).status for _ in range(4)] == [507, 507, 507, 429]


async def test_the_order_of_refusals_is_ntfys(owned: Owned) -> None:
    server = await owned(visitor_request_limit_burst=10, visitor_message_daily_limit=1)
    assert await error_of(server, f"POST /{TOPIC}?up=1&prio=9", APP_SERVER) == 40007
    assert (await ask(server, f"POST /{TOPIC}", APP_SERVER, body="hi")).status == 200
    assert await error_of(server, f"POST /{TOPIC}?up=1", APP_SERVER) == 50701
    assert await error_of(server, f"POST /{TOPIC}", APP_SERVER) == 42908


async def test_the_subscriber_pays_with_requests_and_the_publisher_does_not(
    owned: Owned, lane: tuple[str, ...]
) -> None:
    server = await owned()
    await listen(server, TOPIC, PHONE)
    first = await push(server, TOPIC, APP_SERVER, *lane)
    assert first.status == 200
    assert first.headers["ratelimit"].startswith('"requests";r=1;')  # of the phone's three
    assert (await push(server, TOPIC, APP_SERVER, *lane)).status == 200
    refused = await push(server, TOPIC, APP_SERVER, *lane)
    assert refused.json()["code"] == 42901
    assert refused.headers["ratelimit"].startswith('"requests";r=0;')
    assert await error_of(server, "GET /t/auth", PHONE) == 42901
    for _ in range(3):
        assert (await ask(server, "POST /t", APP_SERVER, body="hi")).status == 200
    await server.clock.advance(3600)
    assert (await push(server)).status == 200


async def test_whatever_is_published_to_an_owned_topic_is_paid_for_by_its_owner(owned: Owned) -> None:
    server = await owned(visitor_request_limit_burst=6)
    await listen(server, TOPIC, PHONE)
    for line, body in (
        (f"POST /{TOPIC}", "no push"),
        ("POST /", f'{{"topic":"{TOPIC}"}}'),
        (f"PUT /{TOPIC}/sid", "hi"),
        (f"DELETE /{TOPIC}/sid", ""),
        (f"GET /{TOPIC}/trigger", ""),
    ):
        assert (await ask(server, line, APP_SERVER, body=body)).status == 200
    assert (await push(server)).json()["code"] == 42901


async def test_the_subscriber_pays_with_messages(owned: Owned) -> None:
    server = await owned(visitor_request_limit_burst=100, visitor_message_daily_limit=2)
    await poll(server, TOPIC, PHONE)
    assert [(await push(server)).status for _ in range(3)] == [200, 200, 429]
    assert (await push(server)).json()["code"] == 42908
    assert await error_of(server, "POST /t", PHONE) == 42908
    assert (await ask(server, "POST /t", APP_SERVER, body="hi")).status == 200


async def test_the_subscriber_pays_with_emails(owned: Owned) -> None:
    server = await owned(
        base_url="https://push.example", smtp_sender_addr="127.0.0.1:9", smtp_sender_from="x@push.example",
        visitor_request_limit_burst=100, visitor_email_limit_burst=1, smtp_sender_verify=False,
    )  # fmt: skip
    await poll(server, TOPIC, PHONE)
    mail = "X-Email: someone@example.org"
    assert (await ask(server, f"POST /{TOPIC}", APP_SERVER, mail, body="hi")).status == 200
    assert await error_of(server, f"POST /{TOPIC}", APP_SERVER, mail, body="hi") == 42902
    assert await error_of(server, "POST /t", PHONE, mail, body="hi") == 42902
    assert (await ask(server, "POST /t", APP_SERVER, mail, body="hi")).status == 200


async def test_a_subscriber_pays_while_listening_and_for_a_day_afterwards(owned: Owned) -> None:
    server = await owned(visitor_request_limit_replenish="1s")
    reader = await listen(server, TOPIC, PHONE)
    await server.clock.leap(3 * DAY_S)
    assert (await push(server)).status == 200
    await leave(server, reader)
    await server.clock.leap(DAY_S - 1)
    assert (await push(server)).status == 200
    await server.clock.advance(1)
    assert (await push(server)).status == 507


async def test_the_last_subscriber_pays_and_after_them_who_was_there_before(owned: Owned) -> None:
    server = await owned(visitor_request_limit_replenish="1d", visitor_message_daily_limit=100)
    await listen(server, TOPIC, PHONE)
    reader = await listen(server, TOPIC, TABLET)
    assert [(await push(server)).status for _ in range(3)] == [200, 200, 429]
    assert (await ask(server, "GET /t/auth", PHONE)).status == 200
    await leave(server, reader)
    assert (await push(server)).status == 429
    await server.clock.leap(DAY_S)
    assert (await push(server)).status == 200
    assert (await ask(server, "GET /t/auth", TABLET)).status == 200


async def test_a_subscriber_owns_each_of_several_topics(owned: Owned) -> None:
    server = await owned(visitor_request_limit_burst=10)
    await poll(server, f"news,{TOPIC},{OTHER_TOPIC}", PHONE)
    assert [(await push(server, topic)).status for topic in (TOPIC, OTHER_TOPIC, "news")] == [200, 200, 507]


async def test_a_subscription_that_is_refused_owns_nothing(owned: Owned) -> None:
    server = await owned(visitor_subscription_limit=1)
    assert await error_of(server, f"GET /{TOPIC}/json?since=yesterday", PHONE) == 40008
    await listen(server, "t", TABLET)
    assert await error_of(server, f"GET /{TOPIC}/json", TABLET) == 42903
    assert (await push(server)).status == 507


async def test_who_may_not_write_to_a_topic_does_not_own_it(owned: Owned) -> None:
    server = await owned(
        auth_default_access="read-only", auth_access=["phil:up*:rw"], visitor_request_limit_burst=10
    )
    await listen(server, TOPIC, PHONE)
    await listen(server, TOPIC, TABLET, basic("vera"))
    assert (await push(server, TOPIC, APP_SERVER, basic("phil"))).status == 507
    await listen(server, TOPIC, TABLET, basic("phil"))
    assert (await push(server, TOPIC, APP_SERVER, basic("phil"))).status == 200


async def test_an_owner_who_loses_the_right_to_write_pays_no_more(owned: Owned) -> None:
    server = await owned(visitor_request_limit_burst=100)
    await poll(server, TOPIC, PHONE, basic("vera"))
    assert (await push(server)).status == 200
    async with administration(server) as people:
        await people.grant_access("vera", "up*", TopicAccess.READ_ONLY)
    assert (await push(server)).status == 507


async def test_of_a_reserved_topic_only_its_owner_pays(owned: Owned) -> None:
    server = await owned(enable_login=True, enable_reservations=True, visitor_request_limit_burst=100)
    async with administration(server) as people:
        await people.add_account("anna", password_hash=SECRET_HASH)
        await people.add_tier(PRO)
        await people.change_tier("anna", "pro")
    await succeed(
        server, "POST /v1/account/reservation", {"topic": TOPIC, "everyone": "read-write"}, basic("anna")
    )
    await poll(server, TOPIC, PHONE)
    await poll(server, TOPIC, PHONE, basic("vera"))
    assert (await push(server)).status == 507
    await poll(server, TOPIC, PHONE, basic("anna"))
    assert (await push(server)).status == 200


async def test_an_account_pays_wherever_it_subscribes_and_as_much_as_its_tier_allows(owned: Owned) -> None:
    server = await owned(visitor_request_limit_replenish="5s")
    async with administration(server) as people:
        await people.add_account("anna", password_hash=SECRET_HASH)
    await poll(server, TOPIC, PHONE, basic("anna"))
    async with administration(server) as people:
        await people.add_tier(PRO)  # fifty requests at once
        await people.change_tier("anna", "pro")
    assert [(await push(server)).status for _ in range(10)] == [200] * 10


async def test_what_is_refused_to_a_publisher_costs_the_subscriber_nothing(owned: Owned) -> None:
    server = await owned(auth_default_access="read-only", auth_access=["phil:up*:rw"])
    await poll(server, TOPIC, PHONE, basic("phil"))
    for _ in range(3):
        assert (await push(server, TOPIC, at(9))).status == 403
    assert (await push(server, TOPIC, at(9))).status == 429
    assert (await push(server, TOPIC, APP_SERVER, basic("phil"))).status == 200


async def test_a_publisher_without_limits_costs_nobody_anything(owned: Owned) -> None:
    server = await owned(visitor_request_limit_exempt_hosts=["192.0.2.2"])
    await poll(server, TOPIC, PHONE)
    assert [(await push(server)).status for _ in range(5)] == [200] * 5
    assert (await ask(server, "GET /t/auth", PHONE)).status == 200


async def test_a_subscriber_without_limits_lets_nobody_publish_without_limits(owned: Owned) -> None:
    server = await owned(visitor_request_limit_exempt_hosts=["192.0.2.1"])
    await poll(server, TOPIC, PHONE)
    assert [(await push(server)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_a_server_that_fails_gives_the_subscriber_the_request_back(owned: Owned) -> None:
    server = await owned(storage_busy_timeout="100ms", visitor_request_limit_burst=2)
    await poll(server, TOPIC, PHONE)
    with closing(sqlite3.connect(server.data_dir / "messages.db")) as lock:
        lock.execute("BEGIN IMMEDIATE")
        assert (await push(server)).status == 503
    assert (await push(server)).status == 200
