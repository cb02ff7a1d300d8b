"""Which topics there are, as far as memory knows, so that nobody can fill the server with new ones.

A topic exists while somebody listens to it, or for a while after it was last written to or listened to:
sixteen hours as with ntfy, or as long as messages are kept if that is longer. After a restart, those with
messages in the cache exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

IDLE_S = 16 * 3600.0
SWEEP_S = 600.0
_FULL_SWEEP_S = 1.0  # how often a full table is swept at most


class TopicTable:
    """The topics that exist: at most `limit` of them, one number each.

    Args:
        limit: how many may exist before new ones are refused.
        idle_s: how long an unused topic exists.
        is_heard: whether somebody listens to a topic now.
    """

    def __init__(self, limit: int, idle_s: float, is_heard: Callable[[str], bool]) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._is_heard = is_heard
        self._used_at: dict[str, float] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        """How many topics are kept in mind."""
        return len(self._used_at)

    def find_new(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Return those of `topics` that do not exist, each once."""
        used_at = self._used_at
        for topic in topics:
            if topic not in used_at:
                break
        else:
            return ()
        is_heard = self._is_heard
        return tuple(topic for topic in dict.fromkeys(topics) if topic not in used_at and not is_heard(topic))

    def sweep(self, now: float) -> None:
        """Forget the topics that have gone by `now` (monotonic seconds). Takes about a millisecond."""
        self._used_at = {
            topic: used_at
            for topic, used_at in self._used_at.items()
            if now - used_at < self._idle_s or self._is_heard(topic)
        }

    def has_room(self, count: int, now: float) -> bool:
        """Whether `count` more topics may come to be."""
        if len(self._used_at) + count <= self._limit:
            return True
        if now - self._swept_at >= _FULL_SWEEP_S:
            self._swept_at = now
            self.sweep(now)
        return len(self._used_at) + count <= self._limit

    def use(self, topics: Iterable[str], now: float) -> None:
        """Note that `topics` are used, as far as there is room to keep them in mind."""
        for topic in topics:
            if topic in self._used_at or len(self._used_at) < self._limit:
                self._used_at[topic] = now

    def forget(self, topics: Iterable[str]) -> None:
        """Undo a `use` of new topics that came to nothing."""
        for topic in topics:
            self._used_at.pop(topic, None)
