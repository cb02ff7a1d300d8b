"""ntfy's user and service APIs through the front door."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from ntfyish import __version__
from ntfyish.app import running
from ntfyish.model.acl import TopicAccess
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.conftest import Server, StartServer
from tests.ntfy.calling import (
    ADMIN,
    PRO,
    account,
    administration,
    basic,
    bearer,
    call,
    code,
    listen_as,
    new_token,
    succeed,
)
from tests.ntfy.talking import PHIL, SECRET_HASH

ROOT = basic("root")
PHILS = basic("phil")
BEN = basic("ben")


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server with declared accounts (phil, root), one that is not (ben), and a tier (pro)."""
    server = await start_server(accounts=[PHIL, ADMIN], auth_access=["phil:declared:ro"])
    async with administration(server) as people:
        await people.add_tier(PRO)
        await people.add_account("ben", password_hash=SECRET_HASH)
    return server


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/users",
        "POST /v1/users",
        "PUT /v1/users",
        "DELETE /v1/users",
        "PUT /v1/users/access",
        "POST /v1/users/access",
        "DELETE /v1/users/access",
        "GET /v1/version",
    ],
)
async def test_only_administrators_see_and_change_users(server: Server, line: str) -> None:
    assert await code(server, line, b"not json") == 40101
    assert await code(server, line, b"not json", PHILS) == 40101
    assert await code(server, line, b"not json", basic("root", "wrong")) == 40101
    token = await new_token(server, ROOT, permissions="publish")
    assert await code(server, line, b"not json", bearer(token)) == 40301


async def test_the_list_shows_everybody_and_what_they_may_do(server: Server) -> None:
    async with administration(server) as people:
        await people.change_tier("ben", "pro")
        await people.grant_access("*", "a", TopicAccess.DENY_ALL)
        await people.reserve("ben", "longer", TopicAccess.READ_ONLY)
    answer = await call(server, "GET /v1/users", None, ROOT)
    assert answer.json() == [
        {"username": "root", "role": "admin"},
        {
            "username": "ben",
            "role": "user",
            "tier": "pro",
            "grants": [{"topic": "longer", "permission": "read-write"}],
        },
        {
            "username": "phil",
            "role": "user",
            "grants": [{"topic": "declared", "permission": "read-only"}],
        },
        {
            "username": "*",
            "role": "anonymous",
            "grants": [
                {"topic": "longer", "permission": "read-only"},
                {"topic": "a", "permission": "deny-all"},
            ],
        },
    ]
    assert b"$2" not in answer.body


async def test_users_are_added_with_a_password_or_its_hash(server: Server) -> None:
    await succeed(server, "POST /v1/users", {"username": "a", "password": "pw", "tier": "pro"}, ROOT)
    await succeed(server, "POST /v1/users", {"username": "b", "hash": SECRET_HASH, "tier": None}, ROOT)
    assert (await account(server, basic("a", "pw")))["tier"]["code"] == "pro"
    assert (await account(server, basic("b")))["role"] == "user"


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"username": "a b", "password": "x"}, 40000),
        ({"password": "x"}, 40000),
        ({"username": "a"}, 40000),
        ({"username": "a", "tier": "pro"}, 40000),
        ({"username": "a", "password": "x", "tier": "unknown"}, 40030),
        ({"username": "a", "password": "x" * 73}, 40059),
        ({"username": "a", "hash": "$2a$10$short"}, 40059),
        ({"username": "a", "password": 1}, 40024),
        (b"", 40024),
        (b" " * 32769, 41303),
    ],
)
async def test_a_bad_user_is_refused(server: Server, method: str, body: object, expected: int) -> None:
    assert await code(server, f"{method} /v1/users", body, ROOT) == expected
    listing = (await call(server, "GET /v1/users", None, ROOT)).json()
    assert [user["username"] for user in listing] == ["root", "ben", "phil", "*"]


async def test_an_existing_user_is_not_added(server: Server) -> None:
    assert await code(server, "POST /v1/users", {"username": "ben", "password": "x"}, ROOT) == 40901
    assert (await account(server, BEN))["username"] == "ben"


async def test_users_are_changed(server: Server) -> None:
    await succeed(server, "PUT /v1/users", {"username": "ben", "tier": "pro"}, ROOT)
    assert (await account(server, BEN))["tier"]["code"] == "pro"
    await succeed(server, "PUT /v1/users", {"username": "ben", "password": "new"}, ROOT)
    assert await code(server, "GET /v1/account", None, BEN) == 40101
    assert (await account(server, basic("ben", "new")))["tier"]["code"] == "pro"
    await succeed(server, "PUT /v1/users", {"username": "new", "password": "x"}, ROOT)
    assert (await account(server, basic("new", "x")))["role"] == "user"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"username": "root", "password": "x"}, 40301),
        ({"username": "phil", "password": "x"}, 40905),
        ({"username": "phil", "tier": "pro"}, 40905),
        ({"username": "ben", "password": "x", "tier": "unknown"}, 40030),
        ({"username": "ben"}, 40000),
    ],
)
async def test_some_changes_are_refused_and_change_nothing(
    server: Server, body: object, expected: int
) -> None:
    assert await code(server, "PUT /v1/users", body, ROOT) == expected
    for name in ("root", "phil", "ben"):
        assert "tier" not in await account(server, basic(name))


async def test_a_removed_user_is_gone_at_once(server: Server) -> None:
    stream = await listen_as(server, "t", BEN)
    await succeed(server, "DELETE /v1/users", {"username": "ben"}, ROOT)
    await stream.at_end()
    assert await code(server, "GET /v1/account", None, BEN) == 40101


@pytest.mark.parametrize(
    ("name", "expected"), [("nobody", 40031), ("", 40031), ("*", 40031), ("root", 40101), ("phil", 40905)]
)
async def test_some_users_cannot_be_removed(server: Server, name: str, expected: int) -> None:
    assert await code(server, "DELETE /v1/users", {"username": name}, ROOT) == expected


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_access_is_granted_and_reset_at_once(server: Server, method: str) -> None:
    body = {"username": "*", "topic": "mine*", "permission": "deny"}
    stranger = await listen_as(server, "mine1")
    ben = await listen_as(server, "mine1", ROOT)
    await succeed(server, f"{method} /v1/users/access", body, ROOT)
    await stranger.at_end()
    await succeed(
        server, f"{method} /v1/users/access", {"username": "ben", "topic": "mine1", "permission": "wo"}, ROOT
    )
    assert (await call(server, "POST /mine1", b"x", BEN)).status == 200
    assert await code(server, "GET /mine1/json?poll=1", None, BEN) == 40301
    assert (await ben.json_line())["message"] == "x"
    await succeed(server, "DELETE /v1/users/access", {"username": "ben", "topic": "mine1"}, ROOT)
    assert await code(server, "POST /mine1", b"x", BEN) == 40301
    await succeed(server, "DELETE /v1/users/access", {"username": "everyone", "topic": "mine*"}, ROOT)
    assert (await call(server, "POST /mine1", b"x")).status == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"username": "nobody", "topic": "a b", "permission": "x"}, 40031),
        ({"username": "ben", "topic": "a b", "permission": "x"}, 40025),
        ({"username": "ben", "topic": "a b", "permission": "rw"}, 40009),
        ({"username": "ben", "permission": "rw"}, 40009),
        ({"username": "phil", "topic": "declared", "permission": "rw"}, 40905),
        ({"username": ["ben"]}, 40024),
    ],
)
async def test_a_bad_grant_is_refused(server: Server, body: object, expected: int) -> None:
    assert await code(server, "PUT /v1/users/access", body, ROOT) == expected


async def test_what_is_declared_is_not_reset(server: Server) -> None:
    body = {"username": "phil", "topic": "declared"}
    assert await code(server, "DELETE /v1/users/access", body, ROOT) == 40905


# The server itself


async def test_the_version_is_for_administrators(server: Server) -> None:
    answer = await call(server, "GET /v1/version", None, ROOT)
    assert answer.json() == {"version": __version__, "commit": "", "date": ""}


async def test_clients_may_know_the_configuration(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[PHIL], enable_login=True, enable_signup=True, disallowed_topics=["zoo"]
    )
    answer = await call(server, "GET /v1/config")
    shown = answer.json()
    assert answer.headers["cache-control"] == "no-cache"
    assert (shown["enable_login"], shown["enable_signup"], shown["enable_reservations"]) == (
        True,
        True,
        False,
    )
    assert {"zoo", "docs", "v1"} <= set(shown["disallowed_topics"])
    script = await call(server, "GET /config.js")
    assert script.headers["content-type"] == "text/javascript"
    comment, _, rest = script.body.decode().partition("\n")
    assert comment.startswith("//")
    assert json.loads(rest.removeprefix("var config = ").removesuffix(";\n")) == shown


async def test_tiers_are_listed_where_there_are_any(server: Server, start_server: StartServer) -> None:
    first, pro = (await call(server, "GET /v1/tiers")).json()
    assert set(first) == {"limits"}
    assert (first["limits"]["basis"], first["limits"]["messages"]) == ("ip", 17280)
    assert (pro["code"], pro["name"], pro["limits"]["messages"]) == ("pro", "Pro", 1000)
    async with administration(server) as people:
        await people.remove_tier("pro")
    assert await code(server, "GET /v1/tiers") == 40401


async def test_messages_are_counted_and_their_rate_is_that_of_the_last_minutes(
    start_server: StartServer,
) -> None:
    server = await start_server(manager_interval="60s")
    for _ in range(3):
        await server.publish("t")
    assert (await call(server, "GET /v1/stats")).json() == {"messages": 3, "messages_rate": 0}
    await server.clock.advance(61)
    assert (await call(server, "GET /v1/stats")).json() == {"messages": 3, "messages_rate": 0.05}
    await server.clock.advance(11 * 60)
    assert (await call(server, "GET /v1/stats")).json() == {"messages": 3, "messages_rate": 0}


async def test_the_number_of_messages_survives_their_expiry_and_a_restart(
    start_server: StartServer, tmp_path: Path
) -> None:
    clock = FakeClock()
    flags: dict[str, object] = {"listen-http": "127.0.0.1:0", "data-dir": str(tmp_path / "kept")}
    async with running(load(flags, {}, None), clock) as first, aiohttp.ClientSession() as http:
        for _ in range(3):
            async with http.post(f"{first.url}/t", data=b"x") as response:
                assert response.status == 200
    await clock.advance(13 * 3600)
    server = await start_server(clock=clock, data_dir=tmp_path / "kept")
    await server.clock.advance(61)
    assert await server.poll("t") == []
    assert (await call(server, "GET /v1/stats")).json()["messages"] == 3


async def test_wrong_credentials_are_wrong_everywhere(server: Server) -> None:
    for path in ("/v1/stats", "/v1/config", "/config.js", "/v1/tiers", "/v1/health", "/v1/nothing"):
        assert await code(server, f"GET {path}", None, basic("phil", "wrong")) == 40101
