"""A server with a scripted push service: devices that it pushes to, and what has become of the pushes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ntfyish.core.ports import Add, PeopleChange
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.push.scripted import ScriptedSender

APP = "apns:app.example"
OTHER = "apns:other.example"
VERA_KEY = "uVeraVeraVeraVeraVeraVeraVera0"
# Nobody reads it: what pushes is given by the test.
APNS = [
    {"bundle-id": bundle_id, "certificate-file": "/dev/null"}
    for bundle_id in ("app.example", "other.example")
]


def token(number: int) -> str:
    return f"{number:064x}"


def device(number: int, *topics: str, **fields: Any) -> PushDevice:
    """Return a device that has registered itself, with `token(number)`."""
    values: dict[str, Any] = {"bundle_id": "app.example", "registered_at": 1_700_000_000, **fields}
    return PushDevice(
        id=f"{number:040}", kind=PushKind.APNS, topics=topics or ("alerts",), token=token(number), **values
    )


def phone(name: str, number: int, **fields: object) -> dict[str, object]:
    """Return the declaration of an account's device."""
    return {"name": name, "kind": "apns", "token": token(number), "bundle-id": "app.example", **fields}


def account(*devices: object, name: str = "phil", key: str = USER_KEY) -> dict[str, object]:
    return {"name": name, "user-key": key, "password": "secret", "devices": list(devices)}


class Stage:
    """A running server and its push services."""

    def __init__(self, server: Server, senders: Mapping[str, ScriptedSender]) -> None:
        self.server = server
        self.senders = senders
        self.clock = server.clock

    @property
    def sender(self) -> ScriptedSender:
        """The service that all tests push to."""
        return self.senders[APP]

    async def change(self, *changes: PeopleChange) -> None:
        """Change people as the command line does, and have the server notice."""
        async with PeopleDatabase.open(self.server.data_dir) as people:
            await people.apply(*changes)
        await self.pass_time(0.1)
        # Asked for an app that it does not know, the server reads everybody anew first.
        unknown = {"token": "aUnknownUnknownUnknownUnknown0"}
        async with self.server.http.post(f"{self.server.url}/1/messages.json", data=unknown) as response:
            assert response.status == 400

    async def add(self, *devices: PushDevice) -> None:
        await self.change(*map(Add, devices))

    async def pushover(self, message: str = "hi", **fields: str) -> dict[str, Any]:
        """Send a message to phil by Pushover's API; return the answer."""
        form = {"token": APP_TOKEN, "user": USER_KEY, "message": message} | fields
        async with self.server.http.post(f"{self.server.url}/1/messages.json", data=form) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what happens by itself.

        After half a second the clock is moved for another half a minute: what the test has passed the time
        for may have been late, because the disk was.
        """
        tries = 0
        async with asyncio.timeout(15):
            while not condition():
                tries += 1
                await self.clock.advance(0.25 if 300 < tries <= 420 else 0)
                await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock in steps, and let the server do each time what is due."""
        longest = 0.25 if seconds < 200 else 2.5
        while seconds > 0:
            step = min(longest, seconds)
            await self.clock.advance(step)
            await asyncio.sleep(0.002)
            await self.clock.advance(0)
            seconds -= step

    async def until_tried(self, count: int) -> None:
        """Wait until so many tries have ended, and nothing is under way."""
        await self.until(lambda: len(self.sender.pushes) >= count and not self.sender.under_way)

    async def until_states(self, **expected: int) -> None:
        """Wait until there are so many pushes in each state, and none in others."""
        try:
            await self.until(lambda: self.states == expected)
        except TimeoutError:
            raise AssertionError(f"{self.states} instead of {expected}") from None

    @property
    def states(self) -> dict[str, int]:
        """How many pushes there are in each state, as they are on disk."""
        return dict(Counter(row[0] for row in self.rows("state")))

    def rows(self, columns: str = "name, state, attempts, reason") -> Sequence[tuple[Any, ...]]:
        """Return what is on disk about the pushes, in the order of their messages and devices."""
        with closing(sqlite3.connect(self.server.data_dir / "messages.db")) as connection:
            return connection.execute(f"SELECT {columns} FROM pushes ORDER BY message, device").fetchall()

    async def figures(self) -> dict[str, float]:
        """Return the server's figures about pushes."""
        async with self.server.http.get(f"{self.server.url}/metrics") as response:
            assert response.status == 200
            lines = (await response.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("ntfyish_push"))
        return {name: float(value) for name, value in pairs}


async def start_stage(
    start_server: StartServer,
    senders: Mapping[str, ScriptedSender] | None = None,
    data_dir: Path | None = None,
    **settings: Any,
) -> Stage:
    found = senders if senders is not None else {APP: ScriptedSender()}
    settings = {"apns": APNS, "shutdown_timeout": "0s", "enable_metrics": True, **settings}
    server = await start_server(find_sender=found.get, data_dir=data_dir, **settings)
    return Stage(server, found)
