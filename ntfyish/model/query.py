"""What a reader asks for: where to begin (`Since`), what to pass (`Filter`), and both together (`Query`).

The grammar of `since` is ntfy's, but for one repair: `since=1` means one second after the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from ntfyish.model.message import DEFAULT_PRIORITY, Event, Message


class SinceKind(Enum):
    """Where a replay begins."""

    NONE = auto()
    ALL = auto()
    LATEST = auto()
    ID = auto()
    TIME = auto()


@dataclass(frozen=True, slots=True)
class Since:
    """Where a replay begins.

    Attributes:
        kind: which of the forms.
        id: the message after which to begin (kind ID); if it is unknown, everything is replayed.
        time: Unix seconds, inclusive (kind TIME).
    """

    kind: SinceKind
    id: str = ""
    time: float = 0


SINCE_NONE = Since(SinceKind.NONE)
SINCE_ALL = Since(SinceKind.ALL)
SINCE_LATEST = Since(SinceKind.LATEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The five filters, ANDed; equal filters are equal values, so that subscriptions can share a lane.

    Only the event `message` is filtered; everything else passes.
    """

    id: str = ""
    message: str = ""
    title: str = ""
    priorities: frozenset[int] = field(default_factory=frozenset)
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def passes_everything(self) -> bool:
        """Whether no filter is set."""
        return not (self.id or self.message or self.title or self.priorities or self.tags)

    def accepts(self, message: Message) -> bool:
        """Whether the subscription gets `message`."""
        if message.event is not Event.MESSAGE:
            return True
        content = message.content
        if self.id and message.id != self.id:
            return False
        if self.message and content.message != self.message:
            return False
        if self.title and content.title != self.title:
            return False
        if self.priorities and (content.priority or DEFAULT_PRIORITY) not in self.priorities:
            return False
        return not self.tags or self.tags.issubset(content.tags)


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Everything a reader asks for.

    Attributes:
        topics: each once, in the order asked for.
        topic_text: the topic list as it was typed, for the open and keepalive events.
        poll: end after the replay.
        since: where the replay begins.
        scheduled: the replay also shows what is still pending.
        filter: what passes.
    """

    topics: tuple[str, ...]
    topic_text: str
    poll: bool = False
    since: Since = SINCE_NONE
    scheduled: bool = False
    filter: Filter = NO_FILTER
