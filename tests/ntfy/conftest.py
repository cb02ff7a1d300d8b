"""What the tests of ntfy's API through the front door share."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.conftest import Server, StartServer
from tests.ntfy.talking import PHIL

LANES = {
    "front": (),
    "aiohttp": ("Keep-Alive: timeout=5",),  # a field that the front lane does not know what to do with
}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server that everybody may read and write, with an account (phil, secret)."""
    return await start_server(accounts=[PHIL])


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Header fields that lead a request into one of the server's two lanes."""
    return LANES[request.param]
