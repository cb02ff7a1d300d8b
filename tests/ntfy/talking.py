"""How these tests talk to a server: one request, one answer, over a connection of its own."""

from __future__ import annotations

from typing import Any

from tests.conftest import USER_KEY, Server
from tests.wire import Answer, Wire

NOW = 1_700_000_000  # where the tests' clock begins: Tuesday 2023-11-14 22:13:20 UTC
DOCS = "https://ntfy.sh/docs/"

SECRET_HASH = "$2b$04$8lXlJ2zK0ZOxUD.KrdM7iu/HMnOhJplb6xGhn.wEZBJ45eYHx9VLa"  # of "secret", a cheap one
PHIL = {"name": "phil", "user-key": USER_KEY, "password-hash": SECRET_HASH}


async def ask(server: Server, line: str, *headers: str, body: bytes | str = b"") -> Answer:
    """Send a request given as ``METHOD /path`` and return its answer."""
    wire = await server.wire()
    return await wire.request(line, *headers, body=body.encode() if isinstance(body, str) else body)


async def tell(server: Server, line: str, *headers: str, body: bytes | str = b"") -> dict[str, Any]:
    """Publish and return the message that the server answers with."""
    answer = await ask(server, line, *headers, body=body)
    assert answer.status == 200, answer
    assert answer.body.endswith(b"}\n")
    return dict(answer.json())


async def error_of(server: Server, line: str, *headers: str, body: bytes | str = b"") -> int:
    """Return ntfy's code of a request that is refused."""
    answer = await ask(server, line, *headers, body=body)
    refusal = answer.json()
    assert refusal["http"] == answer.status == refusal["code"] // 100, answer
    return int(refusal["code"])


async def listen(server: Server, topics: str, *headers: str) -> Wire:
    """Open a live JSON stream, of which the header and the open event have been read."""
    wire = await server.wire()
    wire.send_request(f"GET /{topics}/json", *headers)
    assert (await wire.head())[0] == 200
    assert (await wire.json_line())["event"] == "open"
    return wire


async def hear(reader: Wire) -> dict[str, Any]:
    """Return the next event of a live JSON stream that is no keepalive."""
    while (line := await reader.json_line())["event"] == "keepalive":
        pass
    return line
