"""The Pushover dialect with all of its services and people in a real database; `World` has them in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import bcrypt

from ntfyish.core.groups import Groups
from ntfyish.core.ports import Add
from ntfyish.model.message import Message
from ntfyish.model.people import App, AppToken
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.web.http import Response
from ntfyish.web.pushover.calls import Calls
from ntfyish.web.pushover.dialect import Service
from ntfyish.web.pushover.groups import GroupCalls
from tests.pushover.world import TOKEN, World, people

SECRET = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
VERAS_TOKEN = "aVeraVeraVeraVeraVeraVeraVera0"


class Realm(World):
    """A world whose people live in a database, so that they can change."""

    def __init__(self, database: PeopleDatabase) -> None:
        self.people = database
        super().__init__(store=database)

    def services(self) -> Sequence[Service]:
        """Return all of them."""
        calls = Calls(self.address_book, self.visitors)
        return (GroupCalls(Groups(self.people), self.directory, calls),)

    async def post(self, path: str, token: str = TOKEN, **fields: str) -> Response:
        """Post a form to a path below ``/1/``."""
        response = await self.ask(f"POST /1/{path}", {"token": token} | fields)
        assert response is not None
        return response

    async def get(self, path: str, token: str = TOKEN) -> Response:
        """Get a path below ``/1/``."""
        response = await self.ask(f"GET /1/{path}?{urlencode({'token': token})}")
        assert response is not None
        return response

    def messages_to(self, topic: str) -> list[Message]:
        """Return what has been published to a topic."""
        return [message for message in self.store.messages if message.topic == topic]


@asynccontextmanager
async def open_realm(folder: Path) -> AsyncIterator[Realm]:
    """Open a realm with the people of `world`; phil and vera have a password, and vera an app of her own."""
    async with PeopleDatabase.open(folder) as database:
        known = people()
        accounts = [
            replace(one, password_hash=SECRET if one.name in ("phil", "vera") else "")
            for one in known.accounts
        ]
        app = App(token=AppToken(VERAS_TOKEN), name="Weather", account="vera")
        await database.apply(*map(Add, (*accounts, *known.apps, app, *known.keys)))
        realm = Realm(database)
        await realm.directory.load()
        yield realm
        realm.access.close()
