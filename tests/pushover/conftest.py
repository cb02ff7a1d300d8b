from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.pushover.realm import Realm, open_realm
from tests.pushover.world import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.directory.load()
    yield world
    world.access.close()


@pytest_asyncio.fixture
async def realm(tmp_path: Path) -> AsyncIterator[Realm]:
    async with open_realm(tmp_path) as realm:
        yield realm
