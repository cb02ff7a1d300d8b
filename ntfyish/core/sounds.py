"""Custom sounds of accounts, for the messages of their apps. The API and the command line change them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from ntfyish.core.ports import Add, People, PeopleStore, Remove
from ntfyish.model.errors import Conflict, Invalid, NotFound, Reason, TooLarge
from ntfyish.model.sound import MAX_SOUND_BYTES, MAX_SOUNDS, NAME_PATTERN, CustomSound, find_kind

MAX_LABEL_CHARS = 100


class Sounds:
    """Changes to custom sounds. Raises, besides what its methods name, Unavailable as `PeopleStore`.

    Args:
        built_in: names that are taken.
        load: returns everybody; by default from the store itself.
    """

    def __init__(
        self,
        store: PeopleStore,
        built_in: Collection[str],
        *,
        load: Callable[[], Awaitable[People]] | None = None,
    ) -> None:
        self._store = store
        self._built_in = built_in
        self._load = load or store.load
        self._lock = asyncio.Lock()

    async def add(self, account: str, name: str, label: str, data: bytes) -> CustomSound:
        """Add a sound.

        Raises:
            Invalid: REQUEST_INVALID for the name, label or format, or because the account has `MAX_SOUNDS`.
            TooLarge: BODY_TOO_LARGE.
            Conflict: CONFLICT; there is a sound of that name, maybe somebody else's.
            NotFound: ACCOUNT_UNKNOWN.
        """
        if not NAME_PATTERN.fullmatch(name):
            raise Invalid(Reason.REQUEST_INVALID, "a sound's name has 1 to 20 of a-z, 0-9, _ and -")
        if len(label) > MAX_LABEL_CHARS or not label.isprintable():
            raise Invalid(
                Reason.REQUEST_INVALID, f"a sound's label has at most {MAX_LABEL_CHARS} printable characters"
            )
        if len(data) > MAX_SOUND_BYTES:
            raise TooLarge(Reason.BODY_TOO_LARGE, f"a sound has at most {MAX_SOUND_BYTES} bytes")
        kind = find_kind(data)
        if kind is None:
            raise Invalid(Reason.REQUEST_INVALID, "a sound must be an MP3, WAV or Ogg file")
        async with self._lock:
            people = await self._load()
            if all(known.name != account for known in people.accounts):
                raise NotFound(Reason.ACCOUNT_UNKNOWN)
            if name in self._built_in or any(known.name == name for known in people.sounds):
                raise Conflict(detail="there is a sound of that name")
            if sum(known.account == account for known in people.sounds) >= MAX_SOUNDS:
                raise Invalid(Reason.REQUEST_INVALID, f"an account has at most {MAX_SOUNDS} sounds")
            sound = CustomSound(name=name, account=account, label=label or name, kind=kind, data=data)
            await self._store.apply(Add(sound))
            return sound

    async def remove(self, name: str, account: str | None = None) -> None:
        """Remove a sound (of that account, if one is named).

        Raises:
            NotFound: there is none.
        """
        async with self._lock:
            named = [one for one in (await self._load()).sounds if one.name == name]
            if not named or account not in (None, named[0].account):
                raise NotFound(detail="there is no such sound")
            await self._store.apply(Remove(CustomSound, name))
