"""Token buckets: at most so many at once, and so many a time. `limits` owns some, one table per kind.

A bucket is one number (GCRA, the generic cell rate algorithm): the moment at which it will be full again.
Whoever has no number has a full bucket, so a number is forgotten once its moment has passed. All sums are of
whole microseconds, hence exact: a bucket gives never more than ``burst + time / interval``, and never
refuses what it owes.
"""

from __future__ import annotations

from dataclasses import dataclass

# Two generations of this many numbers, some 25 MB, is the most that a table holds.
GENERATION = 65_536


@dataclass(frozen=True, slots=True)
class Rate:
    """How a bucket fills.

    Attributes:
        burst: what a full one holds.
        interval_us: microseconds in which it gains one.
    """

    burst: int
    interval_us: int

    @classmethod
    def of(cls, burst: int, interval_s: float) -> Rate:
        """Return the rate of `burst` at once and then one in `interval_s` seconds."""
        return cls(burst, max(1, round(interval_s * 1e6)))

    @property
    def span_us(self) -> int:
        """Microseconds in which an empty bucket becomes full."""
        return self.burst * self.interval_us

    @property
    def a_day(self) -> int:
        """How many a bucket gains in a day."""
        return 86_400_000_000 // self.interval_us

    @property
    def window_s(self) -> int:
        """The same in whole seconds, rounded up."""
        return -(-self.span_us // 1_000_000)


class Buckets:
    """The buckets of one kind, by the key of whoever they belong to.

    Nothing sweeps: the numbers are kept in two generations. Those that are taken from move to the young one;
    the old one is dropped when its last number has become meaningless, and the young one takes its place. So
    an idle key is gone after at most twice the time that a bucket needs to fill.

    If the young generation grows to `generation` before that, it takes the old one's place early. That bounds
    the memory, however many visitors come; those who have been idle while that many others came start
    from a full bucket. An attacker who can do that owns so many addresses, each with a full bucket, that the
    forgotten ones are no gain.
    """

    __slots__ = ("_generation", "_old", "_old_until", "_young", "_young_until")

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._young_until = 0
        self._old_until = 0

    def __len__(self) -> int:
        """How many numbers are kept."""
        return len(self._young) + len(self._old)

    def keys(self) -> set[str]:
        """Return whose bucket has been taken from lately."""
        return self._young.keys() | self._old.keys()

    def take(self, key: str, rate: Rate, now_us: int, amount: int = 1) -> int:
        """Take `amount` from the bucket of `key`, all or none.

        Returns 0, or, if there is not enough, the microseconds until there is (`amount` must not exceed the
        burst, or there never is).
        """
        full_at = self._young.get(key) or self._old.get(key, 0)
        if full_at < now_us:
            full_at = now_us
        full_at += amount * rate.interval_us
        missing_us = full_at - now_us - rate.span_us
        if missing_us > 0:
            return missing_us
        if now_us >= self._old_until or len(self._young) >= self._generation:
            self._turn()
        self._young[key] = full_at
        if full_at > self._young_until:
            self._young_until = full_at
        return 0

    def give_back(self, key: str, rate: Rate, now_us: int, amount: int = 1) -> None:
        """Undo a `take`."""
        full_at = self.full_at(key) - amount * rate.interval_us
        if full_at > now_us:
            (self._young if key in self._young else self._old)[key] = full_at
        else:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def wait_us(self, key: str, rate: Rate, now_us: int) -> int:
        """Return the microseconds until there is one to take; 0 if there is."""
        return max(0, self.full_at(key) - now_us - rate.span_us + rate.interval_us)

    def full_at(self, key: str) -> int:
        """Return the moment, in microseconds, at which the bucket is full; one that has passed if it is."""
        return self._young.get(key) or self._old.get(key, 0)

    def _turn(self) -> None:
        """Drop the old generation: all of it is full again, or there is no room."""
        self._old, self._old_until = self._young, self._young_until
        self._young, self._young_until = {}, 0
