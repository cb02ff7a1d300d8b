"""Deletes what was written to topics whose owner is gone. The account and user APIs call it."""

from __future__ import annotations

from collections.abc import Iterable

from ntfyish.core.ports import MessageStore

_BATCH = 500


async def erase(store: MessageStore, topics: Iterable[str]) -> None:
    """Delete all messages of `topics`, in pieces, so that publishers need not wait for long.

    Raises:
        Unavailable: some may be left.
    """
    for topic in topics:
        while await store.forget(topic, _BATCH) == _BATCH:
            pass
