"""What visitors have sent today: counted in memory, kept in the message store. For `limits`.

A day is a UTC day. The `Count` of a message goes into the transaction that stores it, so that a restart
forgets nothing; messages that are not stored do not wait for a disk, and their counts are written together
a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ntfyish.core.ports import Clock, Count, Post
from ntfyish.model.errors import Unavailable

SUBJECT_PREFIX = "visitor:"
BYTES_PREFIX = "visitor:bytes:"
DAY_S = 86_400
COUNTS_S = 10.0  # how often to flush
# Two generations of this many counters, some 25 MB, are kept in memory; others are read again when needed
# (and then miss what is being written at that moment: a few messages, in a flood of visitors).
GENERATION = 65_536

Load = Callable[[str, str], Awaitable[int]]
Write = Callable[[Sequence[Post], Sequence[Count]], Awaitable[None]]


def day_of(now: float) -> str:
    """Return the UTC day of `now` (Unix seconds) as 2026-11-21."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


class Tally:
    """What a visitor has sent today.

    Attributes:
        one: the `Count` of one more message.
    """

    __slots__ = ("one", "used")

    def __init__(self, one: Count, used: int) -> None:
        self.one = one
        self.used = used


class DailyCounts:
    """One counter per visitor and day.

    Args:
        load: returns what has been committed for a subject and a day (`MessageStore.counter`). Called when a
            visitor is seen first.
        write: commits counts that belong to no stored message (`MessageStore.post`).
        prefix: what the subjects of these counters begin with: `SUBJECT_PREFIX`, or it and more.
    """

    def __init__(
        self,
        clock: Clock,
        load: Load,
        write: Write,
        generation: int = GENERATION,
        prefix: str = SUBJECT_PREFIX,
    ) -> None:
        self._clock = clock
        self._load = load
        self._write = write
        self._generation = generation
        self._prefix = prefix
        self._begins_at = 0
        self.day = ""
        self._young: dict[str, Tally] = {}
        self._old: dict[str, Tally] = {}
        self._loading: dict[str, asyncio.Lock] = {}
        self._postponed: dict[tuple[str, str], int] = {}

    def left_s(self) -> float:
        """Return the seconds until the day ends, and begin a new one if it has ended."""
        now = self._clock.now()
        left_s = self._begins_at + DAY_S - now
        if not 0 < left_s <= DAY_S:
            self._begins_at = int(now // DAY_S) * DAY_S
            self.day = day_of(now)
            self._young, self._old = {}, {}
            left_s = self._begins_at + DAY_S - now
        return left_s

    def find(self, key: str) -> Tally | None:
        """Return what `key` has sent on the day of the last `left_s`; None if that must be fetched.

        Whoever counts a message adds to it, and must not have awaited anything since.
        """
        tally = self._young.get(key)
        if tally is None and (tally := self._old.pop(key, None)) is not None:
            self._keep(key, tally)
        return tally

    async def fetch(self, key: str) -> Tally:
        """Return what `key` has sent today.

        Raises:
            Unavailable: the counter cannot be read.
        """
        self.left_s()
        while (tally := self.find(key)) is None:
            lock = self._loading.setdefault(key, asyncio.Lock())
            try:
                async with lock:
                    if self.find(key) is None:
                        one = Count(self._prefix + key, self.day, 1)
                        used = await self._load(one.subject, one.period)
                        used += self._postponed.get((one.subject, one.period), 0)
                        self.left_s()
                        if self.day == one.period and self.find(key) is None:
                            self._keep(key, Tally(one, used))
            finally:
                if not lock.locked():
                    self._loading.pop(key, None)
        return tally

    def add(self, tally: Tally, amount: int) -> Count:
        """Count `amount` more; there must be no await since `tally` was fetched or found."""
        tally.used += amount
        return replace(tally.one, amount=amount)

    def give_back(self, count: Count) -> None:
        """Undo a count that was not committed; one of another day is forgotten."""
        tally = self.find(count.subject.removeprefix(self._prefix))
        if count.period == self.day and tally is not None:
            tally.used = max(0, tally.used - count.amount)

    def postpone(self, count: Count) -> None:
        """Have `count` written by the next `flush`."""
        place = (count.subject, count.period)
        self._postponed[place] = self._postponed.get(place, 0) + count.amount

    async def flush(self) -> None:
        """Write what was postponed.

        Raises:
            Unavailable: it could not be written, and will be tried again.
        """
        postponed, self._postponed = self._postponed, {}
        if not postponed:
            return
        counts = [Count(subject, period, amount) for (subject, period), amount in postponed.items()]
        try:
            await self._write((), counts)
        except Unavailable:
            for count in counts:
                self.postpone(count)
            raise

    def _keep(self, key: str, tally: Tally) -> None:
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[key] = tally
