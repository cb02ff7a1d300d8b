"""Who pays for what is published to a topic of UnifiedPush: its subscriber, not its publisher.

A server that sends pushes for many people has one address, so its limits would be used up by all of them
together. With `visitor-subscriber-rate-limiting` each message counts against whoever subscribes to the topic.
As with ntfy that concerns topics named like those that its app makes ("up" and twelve more characters); the
last subscriber who may also write there pays, or, if the topic is reserved, only its owner; while they listen
and for a day afterwards. Where nobody pays, nothing is published by way of UnifiedPush.

The dialect calls it. Kept in memory only: after a restart subscribers come back by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ntfyish.core.access import Access, Grant
from ntfyish.core.directory import Directory
from ntfyish.core.limits import Limits, Visitor
from ntfyish.core.ports import Clock
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Forbidden, Unauthenticated

STALE_S = 24 * 3600.0
_PREFIX = "up"
_LENGTH = 14
_MOST_OWNERS = 8  # of one topic, of whom one pays
_FULL_SWEEP_S = 1.0


def is_unifiedpush_topic(topic: str) -> bool:
    """Whether the topic is named as ntfy's app names those that it makes for UnifiedPush."""
    return len(topic) == _LENGTH and topic.startswith(_PREFIX)


class _Owner:
    """A subscriber who may pay.

    Attributes:
        listening: how many of their subscriptions to the topic are open.
        seen_at: monotonic seconds at which the last one began or ended.
    """

    __slots__ = ("address", "grant", "listening", "seen_at")

    def __init__(self, address: str, grant: Grant, now: float) -> None:
        self.address = address
        self.grant = grant
        self.listening = 0
        self.seen_at = now

    def is_stale(self, now: float) -> bool:
        return not self.listening and now - self.seen_at >= STALE_S


class RateOwners:
    """Knows who pays for which topic.

    Args:
        most: topics that are kept in mind; there is no owner for more.
    """

    def __init__(self, access: Access, limits: Limits, directory: Directory, clock: Clock, most: int) -> None:
        self._access = access
        self._limits = limits
        self._directory = directory
        self._monotonic = clock.monotonic
        self._most = most
        self._owners: dict[str, dict[str, _Owner]] = {}  # topic -> visitor's key -> who; the last comes last
        self._refused: dict[str, float] = {}  # topic -> monotonic seconds; the first comes first
        self._swept_at = float("-inf")

    def enter(self, visitor: Visitor, address: str, topics: Sequence[str]) -> Callable[[], None]:
        """Note a subscription to `topics` from `address`; call what this returns when it has ended."""
        entered = [
            owner
            for topic in topics
            if is_unifiedpush_topic(topic) and (owner := self._enter(visitor, address, topic)) is not None
        ]

        def leave() -> None:
            now = self._monotonic()
            while entered:  # more than once does no harm
                owner = entered.pop()
                owner.listening -= 1
                owner.seen_at = now

        return leave

    def find_payer(self, publisher: Visitor, topic: str) -> Visitor | None:
        """Return against whose limits a message to `topic` counts if anybody owns it, else None.

        That is the publisher all the same if one of the two has no limits, or the publisher may not write
        there: nobody can use up somebody's limits by what is refused.
        """
        owner = self._find(topic)
        if owner is None:
            return None
        payer = self._limits.visitor(owner.address, owner.grant.principal)
        if publisher.is_exempt or payer.is_exempt:
            return publisher
        return payer if self._access.allows(publisher.principal, Permission.WRITE, topic) else publisher

    def note_refusal(self, topic: str) -> float:
        """Note that a message was refused since nobody pays; return for how many seconds that has been so."""
        now = self._monotonic()
        if topic not in self._refused and len(self._refused) >= self._most:
            del self._refused[next(iter(self._refused))]
        return now - self._refused.setdefault(topic, now)

    async def sweep(self) -> None:
        """Forget whoever is stale."""
        self._sweep(self._monotonic())

    def _enter(self, visitor: Visitor, address: str, topic: str) -> _Owner | None:
        grant = self._find_grant(visitor, topic)
        if grant is None or not self._has_room(topic):
            return None
        self._refused.pop(topic, None)
        owners = self._owners.setdefault(topic, {})
        now = self._monotonic()
        owner = owners.pop(visitor.key, None) or _Owner(address, grant, now)
        owner.address, owner.grant, owner.seen_at = address, grant, now
        owner.listening += 1
        if len(owners) >= _MOST_OWNERS:
            del owners[next(iter(owners))]
        owners[visitor.key] = owner
        return owner

    def _find_grant(self, visitor: Visitor, topic: str) -> Grant | None:
        """Return the visitor's leave to write to `topic`, if that makes them pay for it."""
        reserved_by = self._directory.find_reservation_owner(topic)
        account = visitor.principal.account
        if reserved_by and (account is None or account.name != reserved_by):
            return None
        try:
            return self._access.grant(visitor.principal, Permission.WRITE, (topic,))
        except (Forbidden, Unauthenticated):
            return None

    def _find(self, topic: str) -> _Owner | None:
        owners = self._owners.get(topic)
        if owners is None:
            return None
        now = self._monotonic()
        while owners:
            key = next(reversed(owners))
            owner = owners[key]
            grant = None if owner.is_stale(now) else self._access.renew(owner.grant)
            if grant is not None:
                owner.grant = grant
                return owner
            del owners[key]
        del self._owners[topic]
        return None

    def _has_room(self, topic: str) -> bool:
        if topic in self._owners or len(self._owners) < self._most:
            return True
        now = self._monotonic()
        if now - self._swept_at >= _FULL_SWEEP_S:
            self._swept_at = now
            self._sweep(now)
        return len(self._owners) < self._most

    def _sweep(self, now: float) -> None:
        for topic in list(self._owners):
            owners = {key: one for key, one in self._owners[topic].items() if not one.is_stale(now)}
            if owners:
                self._owners[topic] = owners
            else:
                del self._owners[topic]
