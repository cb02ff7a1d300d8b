"""Glances: a few words and numbers that a widget shows, kept up to date without any notification.

An update changes the fields that it names and leaves the others; "" clears one. What the widget then shows
as a whole is kept, and published to the account's inbox as an event of its own (`Event.GLANCE`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from ntfyish.core.access import Grant
from ntfyish.core.ports import GlanceStore, NewGlance
from ntfyish.core.publisher import Publisher
from ntfyish.model.message import Content, Draft, Event

Fields = Mapping[str, str | int]


class Glances:
    """Updates glances."""

    def __init__(self, store: GlanceStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._lock = asyncio.Lock()

    async def update(self, grant: Grant, app: str, device: str, changes: Fields) -> None:
        """Change what the inboxes of `grant` show on `device` ("" for all of the account's).

        Args:
            app: name of the app that does.
            changes: of title, text, subtext (texts), count and percent (numbers); "" clears one.

        Raises:
            Unavailable: nothing has changed.
        """
        async with self._lock:
            states = [await self._changed(topic, device, changes) for topic in grant.topics]
            contents = {
                topic: _content(state, app, device) for topic, state in zip(grant.topics, states, strict=True)
            }
            draft = Draft(event=Event.GLANCE, variants=contents)
            await self._publisher.publish(grant, draft, extras=_records(grant.topics, device, states))

    async def _changed(self, topic: str, device: str, changes: Fields) -> Fields:
        stored = await self._store.find_glance(topic, device)
        state = {**(orjson.loads(stored) if stored else {}), **changes}
        return {name: value for name, value in state.items() if value != ""}


def _records(topics: Sequence[str], device: str, states: Sequence[Fields]) -> tuple[NewGlance, ...]:
    return tuple(
        NewGlance(topic, device, orjson.dumps(state)) for topic, state in zip(topics, states, strict=True)
    )


def _content(state: Fields, app: str, device: str) -> Content:
    shown = tuple((name, state[name]) for name in ("text", "subtext", "count", "percent") if name in state)
    return Content(title=str(state.get("title", "")), app=app, device=device, glance=shown)
