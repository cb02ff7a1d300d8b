"""What all tests share: a server on a real socket with real files and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import uvloop
from aiohttp.abc import AbstractResolver

from ntfyish.app import RunningServer, running
from ntfyish.core.pushes.lanes import FindSender
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.wire import Wire, open_wire

APP_TOKEN = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
USER_KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
TOPIC_KEY = "tAlertsAlertsAlertsAlertsAlert"


@dataclass
class Server:
    """A running server as tests use it."""

    url: str
    clock: FakeClock
    http: aiohttp.ClientSession
    running: RunningServer
    data_dir: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    async def wire(self) -> Wire:
        """Open a raw connection; it is closed at the end of the test."""
        return await self._stack.enter_async_context(open_wire(self.port))

    async def publish(self, topic: str, message: str = "hi", **headers: str) -> dict[str, Any]:
        async with self.http.post(f"{self.url}/{topic}", data=message.encode(), headers=headers) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())

    async def poll(self, topics: str, query: str = "") -> list[dict[str, Any]]:
        wire = await self.wire()
        answer = await wire.request(f"GET /{topics}/json?poll=1&{query}")
        assert answer.status == 200, answer
        return answer.json_lines()

    _stack: AsyncExitStack = None  # type: ignore[assignment]


StartServer = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start servers with settings of the test's own: ``await start_server(cache_duration="1m")``."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            clock: FakeClock | None = None,
            data_dir: Path | None = None,
            resolver: AbstractResolver | None = None,
            find_sender: FindSender | None = None,
            **settings: object,
        ) -> Server:
            flags: dict[str, object] = {
                "listen-http": "127.0.0.1:0",
                "data-dir": str(data_dir or tmp_path / "data"),
                "accounts": [{"name": "phil", "user-key": USER_KEY, "password": "secret"}],
                "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
                "keys": [{"key": TOPIC_KEY, "topic": "alerts"}],
                # All of a test's clients have one address. Tests of limits set their own.
                "visitor-request-limit-exempt-hosts": ["127.0.0.1"],
                "visitor-subscription-limit": 10_000,
                "visitor-auth-failure-limit-burst": 10_000,
            }
            flags.update({name.replace("_", "-"): value for name, value in settings.items()})
            clock = clock or FakeClock()
            running_server = await stack.enter_async_context(
                running(load(flags, {}, None), clock, resolver, find_sender)
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            server = Server(running_server.url, clock, session, running_server, Path(str(flags["data-dir"])))
            server._stack = stack
            return server

        yield start


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server with an account (phil, secret), an app and a topic key (alerts)."""
    return await start_server()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on uvloop, as the server runs."""
    return {"uvloop": uvloop.new_event_loop}
