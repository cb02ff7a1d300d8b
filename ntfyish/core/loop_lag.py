"""How late the event loop is: everything else waits as long. `web.metrics` shows it.

A timer measures it twice a second, by the time that really passes: that of a test's clock means nothing here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ntfyish.core.clock import SystemClock
from ntfyish.core.counters import Counters

PERIOD_S = 0.5
_REMEMBERED = 120  # a minute's worth


class Timer(Protocol):
    """What is going to happen."""

    def cancel(self) -> None:
        """Have it not happen."""


class LoopLag:
    """Notes in `counters` how much later than asked for a callback is called.

    Args:
        monotonic: seconds.
        call_later: has a callback called after so many seconds, as `asyncio.AbstractEventLoop.call_later`.
    """

    def __init__(
        self,
        counters: Counters,
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._counters = counters
        self._monotonic = monotonic
        self._call_later = call_later
        self._lags: deque[float] = deque(maxlen=_REMEMBERED)
        self._due_at = 0.0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Measure from now on."""
        self._due_at = self._monotonic() + PERIOD_S
        self._timer = self._call_later(PERIOD_S, self._measure)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self) -> None:
        lag_s = max(0.0, self._monotonic() - self._due_at)
        self._lags.append(lag_s)
        self._counters.loop_lag_s = lag_s
        self._counters.loop_lag_max_s = max(self._lags)
        self.start()


@contextmanager
def measuring_loop_lag(counters: Counters) -> Iterator[None]:
    """Measure the running loop as long as the context lasts."""
    lag = LoopLag(counters, SystemClock().monotonic, asyncio.get_running_loop().call_later)
    lag.start()
    try:
        yield
    finally:
        lag.stop()
