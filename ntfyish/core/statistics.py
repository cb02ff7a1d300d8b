"""How many messages there have been, and how fast they come: for ntfy's public figures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_SAMPLES = 10


class Statistics:
    """Looks at the number of messages now and then; the timetable calls `sample` every `period_s` seconds.

    Args:
        total: returns how many messages have become visible since the server's data began.
    """

    def __init__(self, total: Callable[[], int], period_s: float) -> None:
        self._total = total
        self._period_s = period_s
        self._samples = deque([total()], maxlen=_SAMPLES)

    async def sample(self) -> None:
        """Note the number of messages."""
        self._samples.append(self._total())

    @property
    def messages(self) -> int:
        """How many messages have become visible, in all, also before the last start."""
        return self._total()

    @property
    def messages_per_s(self) -> float:
        """The average of the last nine periods, or as many as there have been."""
        periods = len(self._samples) - 1
        return (self._samples[-1] - self._samples[0]) / (periods * self._period_s) if periods else 0.0
