"""How late the loop is, by a timer that a test calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ntfyish.core.counters import Counters
from ntfyish.core.loop_lag import PERIOD_S, LoopLag


class Loop:
    """Calls the one timer that is set, as late as told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.callback: Callable[[], None] | None = None
        self.delay_s = 0.0

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Loop:
        self.delay_s, self.callback = delay_s, callback
        return self

    def cancel(self) -> None:
        self.callback = None

    def turn(self, late_s: float) -> None:
        self.now += self.delay_s + late_s
        assert self.callback is not None
        self.callback()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def lag(loop: Loop, counters: Counters) -> LoopLag:
    lag = LoopLag(counters, lambda: loop.now, loop.call_later)
    lag.start()
    return lag


@pytest.mark.usefixtures("lag")
def test_what_a_callback_is_late_by_is_the_lag(loop: Loop, counters: Counters) -> None:
    loop.turn(0.25)
    assert counters.loop_lag_s == pytest.approx(0.25)
    loop.turn(0.01)
    assert counters.loop_lag_s == pytest.approx(0.01)
    loop.turn(-0.001)  # a timer of whole milliseconds may be early
    assert counters.loop_lag_s == 0


@pytest.mark.usefixtures("lag")
def test_the_greatest_lag_is_remembered_for_a_minute(loop: Loop, counters: Counters) -> None:
    loop.turn(0.75)
    for _ in range(round(60 / PERIOD_S) - 1):
        loop.turn(0.125)
        assert counters.loop_lag_max_s == pytest.approx(0.75)
    loop.turn(0.125)
    assert counters.loop_lag_max_s == pytest.approx(0.125)


def test_nothing_is_measured_after_the_end(lag: LoopLag, loop: Loop) -> None:
    loop.turn(0)
    lag.stop()
    assert loop.callback is None
