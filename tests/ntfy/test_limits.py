"""Limits of visitors through the front door: who is refused, when, in which words, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from ntfyish.app import RunningServer, running
from ntfyish.settings import load
from ntfyish.store.sqlite.messages import FILE_NAME
from tests.clock import FakeClock
from tests.conftest import Server, StartServer
from tests.ntfy.talking import PHIL, SECRET_HASH, ask, error_of, listen, tell
from tests.wire import open_wire

TOKEN = "tk_abcdefghijklmnopqrstuvwxyz012"
BEARER = f"Authorization: Bearer {TOKEN}"
Limited = Callable[..., Awaitable[Server]]


def basic(name: str = "phil", password: str = "secret") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def limited(start_server: StartServer) -> Limited:
    """Start a server that limits the tests' own address."""

    async def start(**settings: object) -> Server:
        defaults: dict[str, object] = {
            "accounts": [PHIL, {"name": "vera", "password-hash": SECRET_HASH}],
            "auth_tokens": [f"phil:{TOKEN}"],
            "visitor_request_limit_exempt_hosts": [],
            "visitor_request_limit_burst": 1000,
        }
        return await start_server(**(defaults | settings))

    return start


async def status_of(server: Server, line: str, *headers: str, body: bytes | str = b"") -> int:
    return (await ask(server, line, *headers, body=body)).status


def port_of(server: RunningServer) -> int:
    return int(server.url.rsplit(":", 1)[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0)


# Requests

SPENDING = [
    ("PUT /t", b"hi"),
    ("POST /", b'{"topic":"t"}'),
    ("GET /t/publish", b""),
    ("GET /t/json?poll=1", b""),
    ("GET /t/auth", b""),
    ("DELETE /t/sid", b""),
    ("OPTIONS /t", b""),
]


@pytest.mark.parametrize(("line", "body"), SPENDING)
async def test_topic_requests_are_limited_and_the_refusal_says_until_when(
    limited: Limited, lane: tuple[str, ...], line: str, body: bytes
) -> None:
    server = await limited(visitor_request_limit_burst=2, visitor_request_limit_replenish="5s")
    assert [await status_of(server, line, *lane, body=body) for _ in range(2)] == [200, 200]
    refusal = await ask(server, line, *lane, body=body)
    assert (refusal.status, refusal.json()["code"]) == (429, 42901)
    assert refusal.json()["link"] == "https://ntfy.sh/docs/publish/#limitations"
    assert refusal.headers["retry-after"] == "5"
    assert refusal.headers["ratelimit"].startswith('"requests";r=0;t=10')
    assert refusal.headers["ratelimit-policy"].startswith('"requests";q=2;w=10')
    await server.clock.advance(5)
    assert await status_of(server, line, *lane, body=body) == 200
    assert await status_of(server, line, *lane, body=body) == 429


@pytest.mark.parametrize("line", ["GET /v1/health", "POST /"])
async def test_some_requests_cost_nothing(limited: Limited, line: str) -> None:
    server = await limited(visitor_request_limit_burst=1)
    for _ in range(3):
        await ask(server, line, body=b"no JSON" if line.startswith("POST") else b"")
    assert await status_of(server, "PUT /t") == 200


@pytest.mark.parametrize(
    ("line", "code"), [("PUT /t?priority=high9", 40007), ("GET /t/json?poll=1&since=x", 40008)]
)
async def test_a_mistake_of_the_client_costs_a_request_but_no_message(
    limited: Limited, line: str, code: int
) -> None:
    server = await limited(visitor_request_limit_burst=2, visitor_message_daily_limit=1)
    assert await error_of(server, line) == code
    assert await status_of(server, "PUT /t") == 200
    assert await error_of(server, "PUT /t") == 42901


async def test_exempt_hosts_are_not_limited(limited: Limited) -> None:
    server = await limited(
        visitor_request_limit_burst=1,
        visitor_message_daily_limit=1,
        visitor_topic_creation_limit_burst=1,
        visitor_request_limit_exempt_hosts=["localhost", "10.0.0.0/8"],
    )
    for number in range(3):
        answer = await ask(server, f"PUT /t{number}")
        assert answer.status == 200
        assert "ratelimit" not in answer.headers


async def test_an_account_does_not_share_the_limits_of_its_address(limited: Limited) -> None:
    server = await limited(visitor_request_limit_burst=1)
    assert await status_of(server, "PUT /t") == 200
    assert await error_of(server, "PUT /t") == 42901
    assert await status_of(server, "PUT /t", BEARER) == 200
    assert await error_of(server, "PUT /t", basic()) == 42901
    assert await status_of(server, "PUT /t", basic("vera")) == 200


# Which error wins


async def test_the_request_limit_comes_before_access_and_after_the_topic(limited: Limited) -> None:
    server = await limited(visitor_request_limit_burst=1, auth_default_access="deny-all")
    assert await error_of(server, "PUT /t") == 40301
    assert await error_of(server, "PUT /t") == 42901
    assert await error_of(server, "PUT /docs") == 40010
    assert await error_of(server, "PUT /t", basic("phil", "wrong")) == 40101
    assert await error_of(server, "GET /t/json") == 42901


async def test_the_quota_comes_after_the_parameters(limited: Limited) -> None:
    server = await limited(visitor_message_daily_limit=1)
    assert await status_of(server, "PUT /t") == 200
    assert await error_of(server, "PUT /t?priority=high9") == 40007
    assert await error_of(server, "PUT /t") == 42908


async def test_the_subscription_limit_comes_after_access_and_before_the_query(limited: Limited) -> None:
    server = await limited(visitor_subscription_limit=1, auth_access=["everyone:secret:none"])
    await listen(server, "t")
    assert await error_of(server, "GET /secret/json") == 40301
    assert await error_of(server, "GET /t/json?since=x") == 42903


# Messages


async def test_the_days_messages_are_counted_and_begin_anew_at_midnight_utc(limited: Limited) -> None:
    server = await limited(visitor_message_daily_limit=2)  # it is 22:13:20
    await tell(server, "PUT /t")
    await tell(server, "PUT /t", "Cache: no")
    refusal = await ask(server, "PUT /t")
    assert refusal.json()["code"] == 42908
    assert refusal.headers["retry-after"] == "6400"
    assert refusal.headers["ratelimit"].endswith('"messages";r=0;t=6400')
    assert await status_of(server, "GET /t/json?poll=1") == 200
    await server.clock.advance(6400)
    await tell(server, "PUT /t")


@pytest.mark.parametrize("headers", [(), ("Cache: no",)])
async def test_the_days_messages_survive_a_restart(
    limited: Limited, tmp_path: Path, headers: tuple[str, ...]
) -> None:
    clock = FakeClock()
    flags: dict[str, object] = {"listen-http": "127.0.0.1:0", "data-dir": str(tmp_path / "kept")}
    async with running(load(flags, {}, None), clock) as first, open_wire(port_of(first)) as wire:
        assert (await wire.request("PUT /t", *headers)).status == 200
    server = await limited(clock=clock, data_dir=tmp_path / "kept", visitor_message_daily_limit=2)
    await tell(server, "PUT /t")
    assert await error_of(server, "PUT /t") == 42908


async def test_what_the_store_refuses_costs_nothing(limited: Limited) -> None:
    server = await limited(
        visitor_request_limit_burst=2,
        visitor_message_daily_limit=1,
        visitor_topic_creation_limit_burst=1,
        storage_busy_timeout="10ms",
    )
    await error_of(server, "PUT /t?priority=high9")  # so that one request is left
    with closing(sqlite3.connect(server.data_dir / FILE_NAME, isolation_level=None)) as other:
        await ask(server, "GET /v1/health")
        other.execute("BEGIN IMMEDIATE")
        for topic in ("a", "b", "c"):
            assert await error_of(server, f"PUT /{topic}") == 50301
    await server.clock.advance(5)
    await tell(server, "PUT /d")
    assert await error_of(server, "PUT /d") == 42908


# Subscriptions


@pytest.mark.parametrize("transport", ["json", "sse", "raw"])
async def test_open_streams_are_limited_and_end_when_the_reader_leaves(
    limited: Limited, transport: str
) -> None:
    server = await limited(visitor_subscription_limit=2)
    first = await listen(server, "a")
    await listen(server, "b")
    refusal = await ask(server, f"GET /c/{transport}")
    assert refusal.json()["code"] == 42903
    assert int(refusal.headers["retry-after"]) > 0
    assert await error_of(server, "GET /c/json?poll=1") == 42903
    first.writer.close()
    await until(lambda: len(server.running.streams.open) == 1)
    for _ in range(5):
        assert await status_of(server, "GET /c/json?poll=1") == 200
    await listen(server, "c")


async def test_a_stream_that_is_refused_or_never_begins_is_no_open_one(limited: Limited) -> None:
    server = await limited(visitor_subscription_limit=1)
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    for _ in range(3):
        assert await error_of(server, "GET /t/json?since=x") == 40008
        assert await error_of(server, "GET /docs/json") == 40010
        assert await status_of(server, "GET /t/ws", *upgrade, "Sec-WebSocket-Version: 8") == 426
    await listen(server, "t")


# Topics


async def test_new_topics_are_limited(limited: Limited) -> None:
    server = await limited(visitor_topic_creation_limit_burst=3)
    await tell(server, "PUT /a")
    await ask(server, "GET /b,c/json?poll=1")
    refusal = await ask(server, "PUT /d")
    assert (refusal.status, refusal.json()["code"]) == (429, 42911)
    assert refusal.headers["retry-after"] == "60"
    assert await error_of(server, "GET /d/json") == 42911
    for topic in "abc":
        await tell(server, f"PUT /{topic}")
    await tell(server, "PUT /d", BEARER)
    await tell(server, "PUT /d")
    await server.clock.advance(60)
    await tell(server, "PUT /e")


async def test_a_topic_that_is_forbidden_or_misused_is_not_made(limited: Limited) -> None:
    server = await limited(visitor_topic_creation_limit_burst=1, auth_access=["everyone:secret*:none"])
    for number in range(3):
        assert await error_of(server, f"PUT /secret{number}") == 40301
        assert await error_of(server, f"PUT /t{number}?priority=high9") == 40007
        assert await error_of(server, f"GET /t{number}/json?since=x") == 40008
    await tell(server, "PUT /t")


async def test_the_server_has_so_many_topics(limited: Limited) -> None:
    server = await limited(global_topic_limit=2, visitor_request_limit_burst=4)
    await tell(server, "PUT /a")
    await listen(server, "b")
    refusal = await ask(server, "PUT /c")
    assert (refusal.status, refusal.json()["code"]) == (429, 42904)
    assert int(refusal.headers["retry-after"]) > 0
    await tell(server, "PUT /b")
    await tell(server, "PUT /a")
    assert await error_of(server, "PUT /c") == 42904  # before the request limit, and free of charge
    assert await error_of(server, "PUT /a") == 42901


async def test_topics_with_messages_exist_after_a_restart(limited: Limited, tmp_path: Path) -> None:
    flags: dict[str, object] = {"listen-http": "127.0.0.1:0", "data-dir": str(tmp_path / "kept")}
    async with running(load(flags, {}, None), FakeClock()) as first, open_wire(port_of(first)) as wire:
        for line in ("PUT /a", "PUT /b?in=1h", "PUT /c?cache=no"):
            assert (await wire.request(line)).status == 200
    server = await limited(data_dir=tmp_path / "kept", visitor_topic_creation_limit_burst=1)
    for topic in ("a", "b", "c"):
        await tell(server, f"PUT /{topic}")
    assert await error_of(server, "PUT /d") == 42911


# Failed logins

GUESSES = [basic("phil", "wrong"), basic("nobody", "wrong"), "Authorization: Bearer tk_wrong"]


@pytest.mark.parametrize("guess", GUESSES)
async def test_failures_are_limited_and_lock_nobody_out(limited: Limited, guess: str) -> None:
    server = await limited(visitor_auth_failure_limit_burst=3)
    assert [await error_of(server, "PUT /t", guess) for _ in range(3)] == [40101] * 3
    refusal = await ask(server, "PUT /t", guess)
    assert (refusal.status, refusal.json()["code"]) == (429, 42909)
    assert refusal.headers["retry-after"] == "60"
    for _ in range(3):
        await tell(server, "PUT /t", BEARER)
        await tell(server, "PUT /t", basic("vera"))
        await tell(server, "PUT /t", basic())
        await tell(server, "PUT /t")
    await server.clock.advance(60)
    assert await error_of(server, "PUT /t", guess) == 40101
    assert await error_of(server, "PUT /t", guess) == 42909


async def test_a_password_that_was_right_stays_so_whatever_others_guess(limited: Limited) -> None:
    server = await limited(visitor_auth_failure_limit_burst=2)
    await tell(server, "PUT /t", basic())
    for number in range(20):
        await error_of(server, "PUT /t", basic("phil", f"wrong{number}"))
    for _ in range(2):
        await tell(server, "PUT /t", basic("vera"))
        await tell(server, "PUT /t", basic())
    await server.clock.advance(3000)  # longer than a verified password is remembered, so it is checked again
    for number in range(20):
        await error_of(server, "PUT /t", basic("phil", f"more{number}"))
    await tell(server, "PUT /t", basic())


async def test_beyond_its_own_limit_no_new_password_of_a_name_is_looked_at(limited: Limited) -> None:
    server = await limited(visitor_auth_failure_limit_burst=2)
    for number in range(10):
        await error_of(server, "PUT /t", basic("vera", f"wrong{number}"))
    assert await error_of(server, "PUT /t", basic("vera")) == 42909
    await tell(server, "PUT /t", basic("phil"))
    await server.clock.advance(60)
    await tell(server, "PUT /t", basic("vera"))


async def test_many_right_passwords_at_once_are_no_failures(limited: Limited) -> None:
    server = await limited(visitor_auth_failure_limit_burst=1)
    logins = [basic(), basic("vera")] * 10
    answers = await asyncio.gather(*(ask(server, "PUT /t", login) for login in logins))
    assert {answer.status for answer in answers} == {200}


async def test_a_malformed_query_credential_is_a_failure(limited: Limited) -> None:
    server = await limited(visitor_auth_failure_limit_burst=1)
    assert await error_of(server, "PUT /t?auth=%21") == 40101
    assert await error_of(server, "PUT /t?auth=%21") == 42909


# The header fields


async def test_answers_tell_the_limits(limited: Limited, lane: tuple[str, ...]) -> None:
    server = await limited(visitor_request_limit_burst=60)
    answer = await ask(server, "PUT /t", *lane)
    assert answer.headers["ratelimit-policy"] == '"requests";q=60;w=300, "messages";q=17280;w=86400'
    assert answer.headers["ratelimit"] == '"requests";r=59;t=5, "messages";r=17279;t=6400'
    assert "RateLimit" in answer.headers["access-control-expose-headers"]
    for line in ("GET /t/json?poll=1", "GET /t/sse", "GET /t/raw"):
        wire = await server.wire()
        wire.send_request(line, *lane)
        status, headers = await wire.head()
        assert status == 200
        assert re.match(r'"requests";r=5[678];t=\d+, "messages";r=17279;t=6400$', headers["ratelimit"])


# Addresses

PROXY = {"behind_proxy": True, "proxy_trusted_hosts": ["10.0.0.0/8", "fd00::/8"]}
HEADER = "X-Forwarded-For"


async def is_limited_with(server: Server, address: str, *headers: str) -> bool:
    """Whether a request with `headers` comes from `address`, of which one request is allowed."""
    assert await status_of(server, "PUT /t", f"{HEADER}: {address}") == 200
    assert await status_of(server, "PUT /t", f"{HEADER}: {address}") == 429
    return await status_of(server, "PUT /t", *headers) == 429


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("203.0.113.9", (f"{HEADER}: 1.1.1.1, 203.0.113.9",)),  # what stands to the left is hearsay
        ("203.0.113.9", (f"{HEADER}: 203.0.113.9, 10.1.2.3",)),
        ("203.0.113.9", (f"{HEADER}: 1.1.1.1", f"{HEADER}: 203.0.113.9")),  # lines are one list
        ("203.0.113.9", (f"{HEADER}: 203.0.113.9", f"{HEADER}: fd00::1")),
        ("203.0.113.9", (f"{HEADER}: ::ffff:203.0.113.9",)),
        ("203.0.113.9", (f"{HEADER}: 203.0.113.9:4711",)),
        ("203.0.113.9", (f'{HEADER}: for="203.0.113.9:4711";proto=https',)),
        ("203.0.113.9", (f"{HEADER}: garbage, 203.0.113.9, unknown, ,",)),
        ("203.0.113.9", (f"{HEADER}: 203.0.113.9", "X-Real-IP: 1.1.1.1", "Forwarded: for=1.1.1.1")),
        ("2001:db8::1", (f"{HEADER}: [2001:db8::1]:4711",)),
        ("2001:db8::1", (f'{HEADER}: for="[2001:DB8::2]:4711"',)),  # one network
        ("2001:db8::1", (f"{HEADER}: 2001:db8:0:0:ffff::1%eth0",)),
        ("127.0.0.1", ()),
        ("127.0.0.1", (f"{HEADER}: garbage",)),
        ("127.0.0.1", (f"{HEADER}: 10.0.0.1, 10.0.0.2",)),
        ("127.0.0.1", ("X-Real-IP: 1.1.1.1",)),
    ],
)
async def test_behind_a_proxy_the_visitor_is_whom_the_proxy_names(
    limited: Limited, address: str, headers: tuple[str, ...]
) -> None:
    server = await limited(visitor_request_limit_burst=1, visitor_request_limit_replenish="1h", **PROXY)
    assert await is_limited_with(server, address, *headers)


@pytest.mark.parametrize(
    "headers",
    [
        (f"{HEADER}: 203.0.113.10",),
        (f"{HEADER}: 203.0.113.9, 203.0.113.10",),
        (f"{HEADER}: 203.0.113.9", f"{HEADER}: 203.0.113.10"),
        (f"{HEADER}: 2001:db8:0:1::1",),
        (),
    ],
)
async def test_behind_a_proxy_others_are_other_visitors(limited: Limited, headers: tuple[str, ...]) -> None:
    server = await limited(visitor_request_limit_burst=1, visitor_request_limit_replenish="1h", **PROXY)
    assert not await is_limited_with(server, "203.0.113.9", *headers)


@pytest.mark.parametrize("header", [HEADER, "Forwarded", "X-Real-IP", "CF-Connecting-IP"])
async def test_without_a_proxy_no_header_makes_another_visitor(limited: Limited, header: str) -> None:
    server = await limited(visitor_request_limit_burst=2, visitor_auth_failure_limit_burst=1)
    statuses = [await status_of(server, "PUT /t", f"{header}: 203.0.113.{n}") for n in range(4)]
    assert statuses == [200, 200, 429, 429]
    wrong = "Authorization: Bearer tk_wrong"
    codes = [await error_of(server, "PUT /t", f"{header}: 203.0.113.{n}", wrong) for n in range(3)]
    assert codes == [40101, 42909, 42909]


async def test_an_exempt_address_cannot_be_claimed(limited: Limited) -> None:
    server = await limited(
        visitor_request_limit_burst=1,
        visitor_request_limit_exempt_hosts=["192.0.2.1"],
        **PROXY,
    )
    statuses = [await status_of(server, "PUT /t", f"{HEADER}: 192.0.2.1, 203.0.113.9") for _ in range(2)]
    assert statuses == [200, 429]
    statuses = [await status_of(server, "PUT /t", f"{HEADER}: 203.0.113.9, 192.0.2.1") for _ in range(3)]
    assert statuses == [200, 200, 200]
