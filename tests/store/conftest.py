from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ntfyish.store.sqlite.messages import MessageDatabase
from tests.clock import FakeClock

from .stage import START, Audience, opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock, audience: Audience) -> AsyncIterator[MessageDatabase]:
    async with opened(tmp_path, clock, audience) as database:
        yield database
