"""Monthly quotas of apps: counted in memory, kept in the message store.

A dialect takes from the quota before it publishes, and hands the `Count` to the publisher, which commits
it with the messages; if nothing was published it gives the count back. Nothing else counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from ntfyish.core.ports import Clock, Count
from ntfyish.model.errors import LimitReached, Reason
from ntfyish.model.people import App

# What an app without a limit is told: the largest number that every client can hold.
UNLIMITED = 2_147_483_647


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """How much an app may still send.

    Attributes:
        limit: messages a month; `UNLIMITED` if there is no limit.
        remaining: messages left, never negative.
        reset_at: Unix seconds at which the next month begins.
    """

    limit: int
    remaining: int
    reset_at: int


@dataclass(frozen=True, slots=True)
class _Month:
    period: str
    begins_at: float
    ends_at: float


class Quotas:
    """Counts what apps send, by calendar month.

    Args:
        clock: tells the month.
        zone: the months begin at 00:00 on the 1st in this time zone.
        load: returns what has been committed for a subject and a period (`MessageStore.counter`). Called
            once per app and month, never twice at a time.
    """

    def __init__(self, clock: Clock, zone: tzinfo, load: Callable[[str, str], Awaitable[int]]) -> None:
        self._clock = clock
        self._zone = zone
        self._load = load
        self._loading = asyncio.Lock()
        self._month = _Month("", 0, 0)
        self._used: dict[str, int] = {}

    async def status(self, app: App) -> QuotaStatus:
        """Return how much `app` may still send.

        Raises:
            Unavailable: the counter cannot be read.
        """
        used = await self._fetch_used(_subject(app))
        limit = app.monthly_limit if app.monthly_limit > 0 else UNLIMITED
        return QuotaStatus(limit, max(0, limit - used), int(self._month.ends_at))

    async def take(self, app: App, amount: int) -> Count:
        """Take `amount` messages (one per user reached), all or none.

        Raises:
            LimitReached: MESSAGE_QUOTA if fewer are left.
            Unavailable: the counter cannot be read.
        """
        subject = _subject(app)
        used = await self._fetch_used(subject)
        if 0 < app.monthly_limit < used + amount:
            seconds = self._month.ends_at - self._clock.now()
            raise LimitReached(Reason.MESSAGE_QUOTA, retry_after_s=max(1.0, seconds))
        self._used[subject] = used + amount  # no await since it was read
        return Count(subject, self._month.period, amount)

    def give_back(self, count: Count) -> None:
        """Undo a `take` whose count was not committed; a count of a month that is over is forgotten."""
        if count.period == self._month.period and count.subject in self._used:
            self._used[count.subject] -= count.amount

    async def _fetch_used(self, subject: str) -> int:
        self._turn_page()
        used = self._used.get(subject)
        while used is None:
            used = await self._load_used(subject)
        return used

    async def _load_used(self, subject: str) -> int | None:
        """Load a counter; None if the month ended meanwhile."""
        async with self._loading:
            self._turn_page()
            month = self._month
            if subject not in self._used:
                loaded = await self._load(subject, month.period)
                self._turn_page()
                if self._month is not month:
                    return None
                self._used[subject] = loaded
            return self._used[subject]

    def _turn_page(self) -> None:
        now = self._clock.now()
        if not self._month.begins_at <= now < self._month.ends_at:
            self._month = _month_of(now, self._zone)
            self._used = {}


def _subject(app: App) -> str:
    return f"app:{app.token}"


def _month_of(now: float, zone: tzinfo) -> _Month:
    local = datetime.fromtimestamp(now, zone)
    year, month = local.year, local.month
    begins_at, ends_at = _begin(year, month, zone), _begin(year, month + 1, zone)
    if ends_at <= now:
        # The clocks were put back over midnight: the month has begun, though its first minutes come twice.
        month += 1
        begins_at, ends_at = ends_at, _begin(year, month + 1, zone)
    return _Month(f"{year + (month - 1) // 12}-{(month - 1) % 12 + 1:02}", begins_at, ends_at)


def _begin(year: int, month: int, zone: tzinfo) -> float:
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=zone).timestamp()
