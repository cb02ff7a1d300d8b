"""Subscriptions: pages on which people let an app write to them. The web page, the API and the command line.

Like `Administration` it reads through the store, so it works with and without a running server; whoever runs
within the server refreshes the directory afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ntfyish.core.ports import Add, Change, People, PeopleStore, Remove
from ntfyish.model.errors import Conflict, Invalid, NotFound, Reason
from ntfyish.model.people import App, new_key
from ntfyish.model.subscription import CODE_PATTERN, Subscriber, Subscription, new_code


class Subscriptions:
    """Changes to subscriptions and to who has subscribed.

    All methods are coroutines. Besides what they name they raise NotFound if there is no such subscription,
    Conflict with DECLARED if it comes from the configuration, and Unavailable as `PeopleStore`. Changes made
    through one instance do not interleave.

    Args:
        load: returns everybody; by default from the store itself.
    """

    def __init__(self, store: PeopleStore, *, load: Callable[[], Awaitable[People]] | None = None) -> None:
        self._store = store
        self._load = load or store.load
        self._lock = asyncio.Lock()

    async def add(self, app: App, *, code: str = "") -> Subscription:
        """Add a subscription to an app, with a new code if none is given.

        Raises:
            Invalid: REQUEST_INVALID for the code.
            Conflict: CONFLICT; the code is taken.
        """
        if code and not CODE_PATTERN.fullmatch(code):
            raise Invalid(
                Reason.REQUEST_INVALID, "a code is letters and digits, a hyphen, and letters and digits"
            )
        subscription = Subscription(code=code or new_code(app.name), app=app.token)
        await self._store.apply(Add(subscription))
        return subscription

    async def remove(self, code: str) -> None:
        """Remove a subscription; the keys of its subscribers are worth nothing from then on."""
        async with self._lock:
            subscription = _get(await self._load(), code)
            if subscription.declared:
                raise Conflict(Reason.DECLARED, "the subscription")
            await self._store.apply(Remove(Subscription, code))

    async def subscribe(self, code: str, account: str, *, device: str = "", sound: str = "") -> Subscriber:
        """Subscribe an account, or change its device and sound; it keeps the key that it has."""
        async with self._lock:
            people = await self._load()
            _get(people, code)
            known = _find(people, code, account)
            key = known.key if known is not None else new_key("u")
            wanted = Subscriber(key=key, code=code, account=account, device=device, sound=sound)
            if known is None:
                await self._store.apply(Add(wanted))
            elif wanted != known:
                await self._store.apply(Change(wanted))
            return wanted

    async def unsubscribe(self, code: str, account: str) -> None:
        """End what an account has subscribed to, if it has."""
        async with self._lock:
            known = _find(await self._load(), code, account)
            if known is not None:
                await self._store.apply(Remove(Subscriber, known.key))


def _get(people: People, code: str) -> Subscription:
    found = next((one for one in people.subscriptions if one.code == code), None)
    if found is None:
        raise NotFound(detail="there is no such subscription")
    return found


def _find(people: People, code: str, account: str) -> Subscriber | None:
    return next((one for one in people.subscribers if (one.code, one.account) == (code, account)), None)
