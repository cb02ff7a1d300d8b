from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.core.ports import Count
from ntfyish.core.quota import UNLIMITED, Quotas, QuotaStatus
from ntfyish.model.errors import LimitReached, Reason, Unavailable
from ntfyish.model.people import App, AppToken
from tests.clock import FakeClock

APP = App(token=AppToken("a" * 30), name="Backups", account="phil", monthly_limit=10)
SUBJECT = f"app:{APP.token}"
CHICAGO = ZoneInfo("America/Chicago")


class Counters:
    """Stored counters whose loading can be held up."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.loads: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.failures = 0

    async def load(self, subject: str, period: str) -> int:
        self.loads.append((subject, period))
        self.asked.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable(Reason.STORAGE_BUSY)
        return self.used


def seconds(zone: ZoneInfo, *parts: int) -> float:
    return datetime(*parts, tzinfo=zone).timestamp()  # type: ignore[arg-type, misc]


async def test_what_was_used_before_a_restart_counts() -> None:
    counters = Counters(used=4)
    quotas = Quotas(FakeClock(1_393_000_000), CHICAGO, counters.load)
    assert await quotas.status(APP) == QuotaStatus(10, 6, 1_393_653_600)
    assert await quotas.take(APP, 2) == Count(SUBJECT, "2014-02", 2)
    assert (await quotas.status(APP)).remaining == 4
    assert counters.loads == [(SUBJECT, "2014-02")]


async def test_all_or_none_is_taken() -> None:
    quotas = Quotas(FakeClock(1_393_000_000), CHICAGO, Counters(used=8).load)
    with pytest.raises(LimitReached) as caught:
        await quotas.take(APP, 3)
    assert caught.value.reason is Reason.MESSAGE_QUOTA
    assert caught.value.retry_after_s == 1_393_653_600 - 1_393_000_000
    await quotas.take(APP, 2)
    with pytest.raises(LimitReached):
        await quotas.take(APP, 1)


async def test_concurrent_requests_load_once_and_get_no_more_than_there_is() -> None:
    counters = Counters(used=5)
    counters.gate.clear()
    quotas = Quotas(FakeClock(), CHICAGO, counters.load)
    takes = [asyncio.ensure_future(quotas.take(APP, 1)) for _ in range(20)]
    await asyncio.sleep(0)
    counters.gate.set()
    results = await asyncio.gather(*takes, return_exceptions=True)
    assert len(counters.loads) == 1
    assert sum(isinstance(result, Count) for result in results) == 5
    assert sum(isinstance(result, LimitReached) for result in results) == 15


async def test_a_caller_that_leaves_while_loading_harms_nobody() -> None:
    counters = Counters(used=9)
    counters.gate.clear()
    quotas = Quotas(FakeClock(), CHICAGO, counters.load)
    first = asyncio.ensure_future(quotas.take(APP, 1))
    second = asyncio.ensure_future(quotas.take(APP, 1))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    counters.gate.set()
    assert isinstance(await second, Count)


async def test_a_counter_that_cannot_be_loaded_is_loaded_by_the_next_request() -> None:
    counters = Counters(used=9)
    counters.failures = 1
    quotas = Quotas(FakeClock(), CHICAGO, counters.load)
    with pytest.raises(Unavailable):
        await quotas.take(APP, 1)
    assert isinstance(await quotas.take(APP, 1), Count)


async def test_what_is_given_back_can_be_taken_again() -> None:
    quotas = Quotas(FakeClock(), CHICAGO, Counters().load)
    count = await quotas.take(APP, 10)
    quotas.give_back(count)
    assert (await quotas.status(APP)).remaining == 10


async def test_a_new_month_begins_with_the_full_quota() -> None:
    clock = FakeClock(seconds(CHICAGO, 2024, 1, 31, 23, 59, 59))
    counters = Counters()
    quotas = Quotas(clock, CHICAGO, counters.load)
    old = await quotas.take(APP, 10)
    assert old.period == "2024-01"
    clock.set_wall(seconds(CHICAGO, 2024, 2, 1))
    assert (await quotas.take(APP, 10)).period == "2024-02"
    quotas.give_back(old)
    status = await quotas.status(APP)
    assert status.remaining == 0
    assert status.reset_at == seconds(CHICAGO, 2024, 3, 1)


async def test_a_month_that_ends_while_loading_is_not_charged_with_the_old_counter() -> None:
    clock = FakeClock(seconds(CHICAGO, 2024, 1, 31, 23, 59, 59))
    counters = Counters(used=10)
    counters.gate.clear()
    quotas = Quotas(clock, CHICAGO, counters.load)
    take = asyncio.ensure_future(quotas.take(APP, 1))
    await counters.asked.wait()
    clock.set_wall(seconds(CHICAGO, 2024, 2, 1))
    counters.used = 0  # what the new month's counter says
    counters.gate.set()
    assert await take == Count(SUBJECT, "2024-02", 1)
    assert [period for _, period in counters.loads] == ["2024-01", "2024-02"]


async def test_no_limit_still_has_numbers() -> None:
    app = App(token=AppToken("b" * 30), name="Free", account="phil", monthly_limit=0)
    quotas = Quotas(FakeClock(), CHICAGO, Counters(used=7).load)
    count = await quotas.take(app, 1_000_000)
    assert count.amount == 1_000_000
    assert await quotas.status(app) == QuotaStatus(UNLIMITED, UNLIMITED - 1_000_007, 1_701_410_400)


async def test_a_limit_lowered_below_what_was_used_leaves_nothing() -> None:
    quotas = Quotas(FakeClock(), CHICAGO, Counters(used=50).load)
    assert (await quotas.status(APP)).remaining == 0


@pytest.mark.parametrize(
    ("zone", "now", "period", "reset_at"),
    [
        ("America/Chicago", (2024, 3, 31, 23, 59), "2024-03", (2024, 4, 1)),  # daylight saving began
        ("America/Chicago", (2024, 11, 1), "2024-11", (2024, 12, 1)),  # it ends on the 3rd
        ("America/Chicago", (2023, 12, 31, 23, 59, 59), "2023-12", (2024, 1, 1)),
        ("America/Chicago", (2024, 2, 29, 12), "2024-02", (2024, 3, 1)),
        ("Asia/Kathmandu", (2024, 1, 1), "2024-01", (2024, 2, 1)),
        ("Asia/Beirut", (2024, 3, 31, 1), "2024-03", (2024, 4, 1)),  # midnight of the 31st did not exist
    ],
)
async def test_months_begin_at_midnight_of_the_zone(
    zone: str, now: tuple[int, ...], period: str, reset_at: tuple[int, ...]
) -> None:
    place = ZoneInfo(zone)
    quotas = Quotas(FakeClock(seconds(place, *now)), place, Counters().load)
    assert (await quotas.take(APP, 1)).period == period
    assert (await quotas.status(APP)).reset_at == seconds(place, *reset_at)


async def test_a_midnight_that_comes_twice_begins_the_month_once() -> None:
    # St. John's put its clocks back at 00:01 on 1 November 2009, to 23:01 on 31 October.
    place = ZoneInfo("America/St_Johns")
    midnight = datetime(2009, 11, 1, 2, 30, tzinfo=UTC).timestamp()
    clock = FakeClock(midnight - 1)
    quotas = Quotas(clock, place, Counters().load)
    periods = []
    for now in (midnight - 1, midnight, midnight + 120, midnight + 3540, midnight + 3660):
        clock.set_wall(now)
        fresh = Quotas(FakeClock(now), place, Counters().load)
        assert (await fresh.status(APP)).reset_at > now
        period = (await quotas.take(APP, 1)).period
        assert (await fresh.take(APP, 1)).period == period
        periods.append(period)
    assert periods == ["2009-10", "2009-11", "2009-11", "2009-11", "2009-11"]


@given(
    st.integers(0, 4_000_000_000), st.sampled_from(["America/Chicago", "Europe/Berlin", "Asia/Tehran", "UTC"])
)
async def test_the_reset_is_always_ahead_and_never_more_than_a_month(now: int, zone: str) -> None:
    quotas = Quotas(FakeClock(float(now)), ZoneInfo(zone), Counters().load)
    reset_at = (await quotas.status(APP)).reset_at
    assert now < reset_at <= now + 31 * 86_400 + 7_200
