"""The one publish path: stamp, store, announce.

The store announces what it has committed by itself, in commit order (see `ports.MessageStore`), and goes
on if whoever waits is cancelled; so a client that hangs up can neither lose nor double a message, and
nothing here needs a shield.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ntfyish.core.access import Grant
from ntfyish.core.ports import Bus, Clock, Count, MessageStore, Post
from ntfyish.model.acl import Permission
from ntfyish.model.line import encode
from ntfyish.model.message import Draft, Event, Message, Published, new_id


class Publisher:
    """Turns drafts into messages.

    Args:
        cache_duration_s: how long a message is kept; 0 keeps none.
        due: called with the Unix seconds at which something has to be released.
    """

    def __init__(
        self,
        store: MessageStore,
        bus: Bus,
        clock: Clock,
        *,
        cache_duration_s: float,
        due: Callable[[float], None],
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._cache_duration_s = int(cache_duration_s)
        self._due = due

    async def publish(
        self, grant: Grant, draft: Draft, counts: Sequence[Count] = (), receipt: str = ""
    ) -> Sequence[Post]:
        """Publish `draft` to every topic of `grant`, one message each, all or none.

        Returns the messages and their lines, in the order of the topics, once they are on disk (or, for a
        draft that is not to be cached, once they are announced). `counts` are committed with them.

        Raises:
            Unavailable: nothing was published.
        """
        assert grant.permission is Permission.WRITE
        messages = tuple(self._stamp(topic, draft, receipt) for topic in grant.topics)
        if draft.due_at:
            self._due(draft.due_at)
        replaces = bool(draft.sequence_id) and draft.event is not Event.MESSAGE_CLEAR
        kept = bool(messages[0].expires)
        posts = [Post(message, encode(message), draft.due_at, replaces, kept) for message in messages]
        if kept or replaces or counts:
            await self._store.post(posts, counts)
        if not kept:
            self._bus.announce([Published(0, post.message, post.line) for post in posts])
        return posts

    def _stamp(self, topic: str, draft: Draft, receipt: str) -> Message:
        identity = new_id()
        time = draft.due_at or int(self._clock.now())
        kept_s = self._cache_duration_s
        if draft.content.ttl_s:
            kept_s = min(kept_s, draft.content.ttl_s)
        if draft.due_at:
            kept_s = max(kept_s, 1)  # what is scheduled must be kept at least until it is delivered
        return Message(
            id=identity,
            time=time,
            topic=topic,
            expires=time + kept_s if draft.cache and kept_s else 0,
            event=draft.event,
            sequence_id="" if draft.sequence_id == identity else draft.sequence_id,
            poll_id=draft.poll_id,
            receipt=receipt,
            content=draft.content,
        )
