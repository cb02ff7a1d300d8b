"""The one home of wall time, monotonic time and waiting."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The `Clock` of a running server."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once if they are not positive."""
        await asyncio.sleep(max(0.0, seconds))
