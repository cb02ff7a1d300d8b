"""What `MessageStore` promises about counters and the topics it knows, over a real file."""

from __future__ import annotations

from ntfyish.core.ports import Count
from ntfyish.store.sqlite.messages import MessageDatabase

from .stage import post


async def test_counters_of_periods_that_are_over_are_forgotten(store: MessageDatabase) -> None:
    days = ("2026-11-19", "2026-11-20", "2026-11-21")
    counts = [Count(f"visitor:{name}", day, 1) for name in ("a", "b") for day in days]
    kept = [Count("app:x", "2026-10", 1), Count("visitor", "2026-01-01", 1), Count("visitos:a", "2025", 1)]
    await store.post((), [*counts, *kept])
    assert await store.forget_counts("visitor:", "2026-11-21", 3) == 3
    assert await store.forget_counts("visitor:", "2026-11-21", 3) == 1
    assert await store.forget_counts("visitor:", "2026-11-21", 3) == 0
    for count in kept:
        assert await store.counter(count.subject, count.period) == 1
    assert [await store.counter("visitor:a", day) for day in days] == [0, 0, 1]


async def test_topics_are_those_with_messages(store: MessageDatabase) -> None:
    assert await store.topics(10) == []
    await store.post([post(f"m{number}", topic=topic) for number, topic in enumerate("bab")])
    assert sorted(await store.topics(10)) == ["a", "b"]
    assert len(await store.topics(1)) == 1
