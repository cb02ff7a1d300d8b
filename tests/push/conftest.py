"""Servers whose pushes go to fakes of Apple's service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import StartServer
from tests.hardening.process import Nursery, Processes, nursery, processes_in
from tests.push.apns_stage import AppleStage, AppleStages


@pytest_asyncio.fixture(name="backstage")
async def _backstage() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(name="stages")
def _stages(backstage: AsyncExitStack, start_server: StartServer, tmp_path: Path) -> AppleStages:
    return AppleStages(backstage, start_server, tmp_path)


@pytest_asyncio.fixture(name="stage")
async def _stage(stages: AppleStages) -> AppleStage:
    """A server, two fakes, and the three devices."""
    stage = await stages.set()
    await stage.register_all()
    return stage


@pytest.fixture(scope="session", name="nursery")
def _nursery() -> Iterator[Nursery]:
    with nursery() as ready:
        yield ready


@pytest_asyncio.fixture
async def processes(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Processes]:
    """Starts server processes; they end with the test."""
    async with processes_in(nursery, tmp_path) as ready:
        yield ready
