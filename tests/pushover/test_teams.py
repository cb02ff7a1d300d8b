"""A team's token over real sockets: accounts are listed, added and removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from ntfyish.core.teams import add_team_token, remove_team_token
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer

Ask = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]
GROUP_KEY = "gTeamTeamTeamTeamTeamTeamTeam0"
INVALID = {"token": "invalid", "errors": ["team token is invalid"], "status": 0}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    account = {
        "name": "phil",
        "user-key": USER_KEY,
        "password": "secret",
        "role": "admin",
        "email": "phil@a.example",
        "devices": ["pad"],
    }
    return await start_server(accounts=[account])


@pytest_asyncio.fixture
async def token(server: Server) -> str:
    async with PeopleDatabase.open(server.data_dir) as people:
        return (await add_team_token(people, server.clock, "Everybody"))[1]


@pytest.fixture
def ask(server: Server, token: str) -> Ask:
    async def ask(line: str, **fields: str) -> tuple[int, dict[str, Any]]:
        method, path = line.split()
        query = urlencode({"token": token} | fields)
        answer = await (await server.wire()).request(f"{method} /1/{path}.json?{query}")
        return answer.status, {name: value for name, value in answer.json().items() if name != "request"}

    return ask


async def emails(ask: Ask) -> list[str]:
    return [user["email"] for user in (await ask("GET teams"))[1]["users"]]


async def test_everybody_is_listed(ask: Ask) -> None:
    device = {
        "name": "pad", "os": "O", "os_version": "", "enabled": True, "administratively_disabled": False,
    }  # fmt: skip
    phil = {
        "id": USER_KEY,
        "name": "phil",
        "email": "phil@a.example",
        "administrator": True,
        "devices": [device],
    }
    assert await ask("GET teams") == (200, {"name": "Everybody", "users": [phil], "status": 1})


async def test_accounts_come_and_go(ask: Ask, server: Server) -> None:
    assert await ask("POST teams/add_user", email="v@a.example", password="geheim") == (200, {"status": 1})
    assert await emails(ask) == ["phil@a.example", "v@a.example"]
    (vera,) = [user for user in (await ask("GET teams"))[1]["users"] if user["email"] == "v@a.example"]
    sent = await server.http.post(
        f"{server.url}/1/messages.json", data={"token": APP_TOKEN, "user": vera["id"], "message": "hi"}
    )
    assert sent.status == 200
    assert (vera["name"], vera["administrator"]) == ("v@a.example", False)
    refused = (await ask("POST teams/revoke_invitation", email="v@a.example"))[1]
    assert refused["errors"] == ["user has no open invitation"]
    assert await ask("POST teams/remove_user", email="v@a.example") == (200, {"status": 1})
    assert await emails(ask) == ["phil@a.example"]


async def test_an_invitation_is_an_account_without_a_password_and_can_be_revoked(ask: Ask) -> None:
    await ask("POST teams/add_user", email="v@a.example", admin="true")
    assert (await ask("GET teams"))[1]["users"][-1]["administrator"] is True
    assert await ask("POST teams/revoke_invitation", email="v@a.example") == (200, {"status": 1})
    assert await emails(ask) == ["phil@a.example"]


async def test_a_new_account_may_join_a_group(ask: Ask, server: Server) -> None:
    made = await server.http.post(f"{server.url}/1/groups.json", data={"token": APP_TOKEN, "name": "oncall"})
    key = (await made.json())["group"]
    assert (await ask("POST teams/add_user", email="v@a.example", group="oncall"))[0] == 200
    shown = await server.http.get(f"{server.url}/1/groups/{key}.json?token={APP_TOKEN}")
    (vera,) = [user for user in (await ask("GET teams"))[1]["users"] if user["email"] == "v@a.example"]
    assert [user["user"] for user in (await shown.json())["users"]] == [vera["id"]]


@pytest.mark.parametrize("token", ["", "x", APP_TOKEN])
@pytest.mark.parametrize(
    "line",
    ["GET teams", "POST teams/add_user", "POST teams/remove_user", "POST teams/revoke_invitation"],
)
async def test_nothing_goes_without_the_teams_token(ask: Ask, line: str, token: str) -> None:
    assert await ask(line, token=token, email="v@a.example") == (400, INVALID)


@pytest.mark.parametrize(
    ("line", "fields", "sentence"),
    [
        ("POST teams/add_user", {}, "email must be supplied"),
        ("POST teams/add_user", {"email": "nonsense"}, "e-mail address is not a valid address"),
        ("POST teams/add_user", {"email": "a b@c"}, "e-mail address is not a valid address"),
        ("POST teams/add_user", {"email": "PHIL@a.example"}, "user is already in this team"),
        ("POST teams/add_user", {"email": "v@a.example", "group": "none"}, "group not found"),
        ("POST teams/add_user", {"email": "v@a.example", "password": "x" * 73}, "password "),
        ("POST teams/remove_user", {}, "user is not in this team"),
        ("POST teams/remove_user", {"email": "v@a.example"}, "user is not in this team"),
        ("POST teams/remove_user", {"email": "phil@a.example"}, "is declared in the configuration"),
        ("POST teams/revoke_invitation", {"email": "v@a.example"}, "user has no open invitation"),
    ],
)
async def test_what_is_wrong_is_refused(ask: Ask, line: str, fields: dict[str, str], sentence: str) -> None:
    status, answer = await ask(line, **fields)
    assert (status, answer["status"]) == (400, 0)
    assert answer["errors"][0].startswith(sentence)
    assert await emails(ask) == ["phil@a.example"]


async def test_a_token_that_was_removed_is_worth_nothing(ask: Ask, server: Server, token: str) -> None:
    async with PeopleDatabase.open(server.data_dir) as people:
        await remove_team_token(people, token)
    await server.clock.advance(1)
    assert await ask("GET teams") == (400, INVALID)
