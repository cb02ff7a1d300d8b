"""Which topics there are, as far as memory knows, so that nobody can fill the server with new ones.

A topic exists while somebody listens to it, or for a while after it was last written to or listened to:
sixteen hours as with ntfy, or as long as messages are kept if that is longer. After a restart, those with
messages in the cache exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

IDLE_S = 16 * 3600.0
# How often a full table is searched for topics that have gone; a search takes about a millisecond.
_SEARCH_PAUSE_S = 1.0


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
        self._searched_at = float("-inf")

    def __len__(self) -> int:
        """How many topics are kept in mind."""
        return len(self._used_at)

    def exists(self, topic: str, now: float) -> bool:
        """Whether `topic` exists at `now` (monotonic seconds)."""
        used_at = self._used_at.get(topic)
        return (used_at is not None and now - used_at < self._idle_s) or self._is_heard(topic)

    def find_new(self, topics: Iterable[str], now: float) -> list[str]:
        """Return those of `topics` that do not exist, each once."""
        return [topic for topic in dict.fromkeys(topics) if not self.exists(topic, now)]

    def has_room(self, count: int, now: float) -> bool:
        """Whether `count` more topics may come to be."""
        if len(self._used_at) + count <= self._limit:
            return True
        if now - self._searched_at >= _SEARCH_PAUSE_S:
            self._searched_at = now
            self._used_at = {
                topic: used_at for topic, used_at in self._used_at.items() if self.exists(topic, now)
            }
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
