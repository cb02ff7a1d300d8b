from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.pushover.world import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.directory.load()
    yield world
    world.access.close()
