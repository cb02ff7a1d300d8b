"""Server processes beside the in-process server of all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Server, StartServer
from tests.hardening.process import PEOPLE, Nursery, Processes, nursery, processes_in


@pytest.fixture(name="start_server")
def _start_server(start_server: StartServer) -> StartServer:
    """Start servers as all tests do, but without the time that hashing a password takes."""

    async def start(**settings: Any) -> Server:
        return await start_server(**{**PEOPLE, **settings})

    return start


@pytest_asyncio.fixture(name="server")
async def _server(start_server: StartServer) -> Server:
    return await start_server()


@pytest.fixture(scope="session", name="nursery")
def _nursery() -> Iterator[Nursery]:
    with nursery() as ready:
        yield ready


@pytest_asyncio.fixture
async def processes(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Processes]:
    """Starts server processes; they end with the test."""
    async with processes_in(nursery, tmp_path) as ready:
        yield ready
