"""Callbacks of receipts through the front door, to local servers that behave in every way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from aiohttp.abc import AbstractResolver, ResolveResult

from ntfyish.app import running
from ntfyish.settings import load
from tests.clock import FakeClock
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.pushover.test_receipts import press, read, send, sent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
LOCAL = {"callback_allow": ["127.0.0.1"]}


@dataclass
class Listener:
    """A server that answers each connection with the next of its answers (the last one stays)."""

    answers: list[bytes | None]
    requests: list[bytes] = field(default_factory=list)
    port: int = 0
    ended: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:  # hang until the other side gives up
                await reader.read()
            else:
                writer.write(answer)
                if answer.endswith(b"ENDLESS"):
                    while True:
                        writer.write(b"x" * 65_536)
                        await writer.drain()
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cb?x=1"

    def fields(self, number: int = 0) -> dict[str, str]:
        return dict(
            parse_qsl(self.requests[number].partition(b"\r\n\r\n")[2].decode(), keep_blank_values=True)
        )


Listen = Callable[..., Coroutine[Any, Any, Listener]]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    async with AsyncExitStack() as stack:

        async def open_listener(*answers: bytes | None) -> Listener:
            listener = Listener(list(answers))
            server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            listener.port = server.sockets[0].getsockname()[1]
            return listener

        yield open_listener


async def until(condition: Callable[[], bool], clock: FakeClock | None = None) -> None:
    tries = 0
    async with asyncio.timeout(15):
        while not condition():
            tries += 1
            if clock:  # a timetable that was about to sleep when it was moved has overslept by that much
                await clock.advance(0 if tries % 20 else 0.25)
            await asyncio.sleep(0.005)


async def acknowledged(server: Server, url: str) -> str:
    """Send an emergency with a callback, acknowledge it, and return its receipt."""
    receipt = await send(server, callback=url)
    message = next(one for one in await sent(server) if one["receipt"] == receipt)
    assert await press(server, message) == 200
    return receipt


async def called_back(server: Server, receipt: str) -> int:
    async with asyncio.timeout(15):
        while not (fields := await read(server, receipt))["called_back"]:
            await server.clock.advance(0)
    return int(fields["called_back_at"])


async def test_an_acknowledgement_is_called_back_at_once(start_server: StartServer, listen: Listen) -> None:
    server, listener = await start_server(**LOCAL), await listen(OK)
    receipt = await acknowledged(server, listener.url)
    now = int(server.clock.now())
    assert await called_back(server, receipt) == now
    assert listener.requests[0].startswith(b"POST /cb?x=1 HTTP/1.1\r\n")
    assert b"application/x-www-form-urlencoded" in listener.requests[0]
    assert listener.fields() == {
        "receipt": receipt,
        "acknowledged": "1",
        "acknowledged_at": str(now),
        "acknowledged_by": USER_KEY,
        "acknowledged_by_device": "stream",
    }
    await server.clock.advance(200)
    assert len(listener.requests) == 1


async def test_a_callback_is_tried_again_every_minute_until_it_succeeds(
    start_server: StartServer, listen: Listen
) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    server, listener = await start_server(**LOCAL), await listen(FAILED, redirect, b"garbage\r\n\r\n", OK)
    receipt = await acknowledged(server, listener.url)
    begun = server.clock.now()
    for count in (1, 2, 3):
        await until(lambda count=count: listener.ended == count, server.clock)  # type: ignore[misc]
        assert (await read(server, receipt))["called_back"] == 0
        await asyncio.sleep(0.1)
        await server.clock.advance(59)
        assert len(listener.requests) == count
        await server.clock.advance(1)
    assert begun + 180 <= await called_back(server, receipt) <= begun + 190
    assert [request.split()[1] for request in listener.requests] == [b"/cb?x=1"] * 4


async def test_neither_cancelling_nor_expiry_is_called_back(
    start_server: StartServer, listen: Listen
) -> None:
    server, listener = await start_server(**LOCAL), await listen(OK)
    await send(server, callback=listener.url, expire="60")
    receipt = await send(server, callback=listener.url)
    url = f"{server.url}/1/receipts/{receipt}/cancel.json"
    async with server.http.post(url, data={"token": APP_TOKEN}) as response:
        assert response.status == 200
    await server.clock.advance(130)
    assert listener.requests == []


async def test_an_endless_answer_is_cut_off(start_server: StartServer, listen: Listen) -> None:
    server, listener = await start_server(**LOCAL), await listen(b"HTTP/1.1 200 OK\r\n\r\nENDLESS")
    receipt = await acknowledged(server, listener.url)
    await called_back(server, receipt)
    await until(lambda: listener.ended == 1)


async def test_a_destination_that_hangs_delays_no_other(start_server: StartServer, listen: Listen) -> None:
    server = await start_server(**LOCAL)
    hanging, other = await listen(None), await listen(OK)
    stuck = [await acknowledged(server, hanging.url) for _ in range(3)]
    await until(lambda: len(hanging.requests) == 1)
    receipt = await acknowledged(server, other.url)
    await called_back(server, receipt)
    assert len(hanging.requests) == 1  # one at a time
    assert [(await read(server, one))["called_back"] for one in stuck] == [0, 0, 0]
    async with asyncio.timeout(10):
        while len(hanging.requests) < 2:  # five seconds later, by the real clock
            await server.clock.advance(0)
            await asyncio.sleep(0.02)
    assert hanging.ended == 1


async def test_private_addresses_are_not_called(start_server: StartServer, listen: Listen) -> None:
    server, listener = await start_server(), await listen(OK)
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433", "127.1"):
        await acknowledged(server, f"http://{host}:{listener.port}/")
    await server.clock.advance(61)
    await asyncio.sleep(0.2)
    assert listener.requests == []


class Names(AbstractResolver):
    """Names of the test's own; each look-up gives the next of a name's lists of addresses."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.names[host.partition(".")[0]]
        addresses = found.pop(0) if len(found) > 1 else found[0]
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
            for one in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "addresses",
    [
        [["127.0.0.1"]],
        [["8.8.8.8", "127.0.0.1"]],  # one good, one not
        [["169.254.169.254"], ["127.0.0.1"]],
    ],
)
async def test_names_of_private_addresses_are_not_called(
    start_server: StartServer, listen: Listen, addresses: list[list[str]]
) -> None:
    server, listener = await start_server(), await listen(OK)
    names = Names(rebind=addresses)
    flags = {"listen-http": "127.0.0.1:0", "data-dir": str(server.data_dir / "second")}
    flags |= {  # type: ignore[assignment]
        "accounts": [{"name": "phil", "user-key": USER_KEY, "password": "secret"}],
        "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
    }
    async with running(load(flags, {}, None), server.clock, names) as run:
        server.url = run.url
        receipt = await acknowledged(server, f"http://rebind.example:{listener.port}/")
        await until(lambda: len(names.asked) == 1, server.clock)
        await asyncio.sleep(0.1)
        await server.clock.advance(61)
        await until(lambda: len(names.asked) == 2, server.clock)
        assert (await read(server, receipt))["called_back"] == 0
    assert listener.requests == []


async def test_a_callback_survives_a_restart(start_server: StartServer, listen: Listen) -> None:
    server, listener = await start_server(), await listen(FAILED, OK)
    flags = second_server(server)
    async with running(load(flags, {}, None), server.clock) as run:
        server.url = run.url
        receipt = await acknowledged(server, listener.url)
        await until(lambda: listener.ended == 1, server.clock)
    later = FakeClock(server.clock.now() + 90)
    async with running(load(flags, {}, None), later) as run:
        server.url, server.clock = run.url, later
        assert await called_back(server, receipt) == later.now()
    assert len(listener.requests) == 2


async def test_a_callback_that_a_restart_cuts_off_is_made_again_at_once(
    start_server: StartServer, listen: Listen
) -> None:
    server, listener = await start_server(), await listen(None, OK)
    flags = second_server(server)
    async with running(load(flags, {}, None), server.clock) as run:
        server.url = run.url
        receipt = await acknowledged(server, listener.url)
        await until(lambda: len(listener.requests) == 1, server.clock)
    async with running(load(flags, {}, None), server.clock) as run:
        server.url = run.url
        assert await called_back(server, receipt) == server.clock.now()


def second_server(server: Server) -> dict[str, object]:
    """Return the flags of a server that a test can start and end by itself."""
    return {
        "listen-http": "127.0.0.1:0",
        "data-dir": str(server.data_dir / "second"),
        "callback-allow": ["127.0.0.1"],
        "accounts": [{"name": "phil", "user-key": USER_KEY, "password": "secret"}],
        "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
    }
