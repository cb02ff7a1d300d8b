"""What the tests of files share."""

from __future__ import annotations

import pytest_asyncio

from tests.conftest import Server, StartServer
from tests.ntfy.talking import PHIL

BASE_URL = "https://push.example.com"


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server that takes files in."""
    return await start_server(accounts=[PHIL], base_url=BASE_URL)
