"""How the tests of the account and user APIs call them, and look into the database behind."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ntfyish.core.administration import Administration
from ntfyish.model.people import Tier
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import Server
from tests.ntfy.talking import SECRET_HASH
from tests.wire import Answer, Wire

ADMIN = {"name": "root", "password-hash": SECRET_HASH, "role": "admin"}
PRO = Tier(code="pro", name="Pro", message_limit=1000, reservation_limit=2, message_expiry_s=86_400)

SUCCESS = b'{"success":true}\n'


def basic(name: str, password: str = "secret") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


async def call(server: Server, line: str, body: object = None, *headers: str) -> Answer:
    """Send `body` as JSON (bytes as they are, None as nothing)."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    wire = await server.wire()
    return await wire.request(line, *headers, body=data)


async def succeed(server: Server, line: str, body: object = None, *headers: str) -> None:
    answer = await call(server, line, body, *headers)
    assert (answer.status, answer.body) == (200, SUCCESS), answer
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "application/json"


async def code(server: Server, line: str, body: object = None, *headers: str) -> int:
    """Return ntfy's code of a call that is refused."""
    answer = await call(server, line, body, *headers)
    refusal = answer.json()
    assert refusal["http"] == answer.status == refusal["code"] // 100, answer
    return int(refusal["code"])


async def account(server: Server, *headers: str) -> dict[str, Any]:
    answer = await call(server, "GET /v1/account", None, *headers)
    assert answer.status == 200, answer
    return dict(answer.json())


async def new_token(server: Server, login: str, **fields: object) -> str:
    answer = await call(server, "POST /v1/account/token", fields, login)
    assert answer.status == 200, answer
    return str(answer.json()["token"])


@asynccontextmanager
async def administration(server: Server) -> AsyncIterator[Administration]:
    """Change people as the command line does; the server knows when the context has ended."""
    async with PeopleDatabase.open(server.data_dir) as people:
        yield Administration(people, server.clock)
    await server.clock.advance(1)
    # Asked for a token that it does not know, the server looks for what has changed.
    assert await code(server, "GET /v1/account", None, bearer("tk_unknown")) == 40101


async def listen_as(server: Server, topics: str, *headers: str) -> Wire:
    """Open a live stream of which the header and the open event have been read."""
    wire = await server.wire()
    wire.send_request(f"GET /{topics}/json", *headers)
    assert (await wire.head())[0] == 200
    assert (await wire.json_line())["event"] == "open"
    return wire
