"""Waiting for what no message tells: the end of a connection at the other side, a count in /proc."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.hardening.process import PATIENCE_S


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Return as soon as `condition()` holds; fail if it never does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (nobody tells; it is looked at)
            await asyncio.sleep(0.002)
