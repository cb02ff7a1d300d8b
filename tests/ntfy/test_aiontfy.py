"""A client library of others against the server: aiontfy, unchanged but for the address."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiontfy import Everyone, Message, Notification, Ntfy
from aiontfy.exceptions import (
    NtfyForbiddenAccessError,
    NtfyUnauthorizedAuthenticationError,
)

from tests.conftest import Server, StartServer
from tests.ntfy.calling import ADMIN
from tests.ntfy.talking import NOW, PHIL

# It makes its header with a class that aiohttp 4 will not have.
pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server that lets only those in who have logged in."""
    return await start_server(
        accounts=[PHIL, ADMIN],
        auth_default_access="deny-all",
        auth_access=["phil:alerts*:rw"],
        enable_reservations=True,
    )


def login(server: Server, name: str = "phil", password: str = "secret") -> Ntfy:
    return Ntfy(server.url, server.http, username=name, password=password)


async def test_it_logs_in_reads_its_account_makes_a_token_and_subscribes(server: Server) -> None:
    phil = login(server)
    account = await phil.account()
    assert (account.username, account.role) == ("phil", "user")
    made = await phil.generate_token("home", datetime.fromtimestamp(NOW + 600, UTC))
    assert made.expires == datetime.fromtimestamp(NOW + 600, UTC)
    assert [token.label for token in (await phil.account()).tokens] == ["home"]

    by_token = Ntfy(server.url, server.http, token=made.token)
    heard: asyncio.Queue[Notification] = asyncio.Queue()
    subscription = asyncio.create_task(by_token.subscribe(["alerts", "alerts-2"], heard.put_nowait))
    try:
        async with asyncio.timeout(10):
            assert (await heard.get()).event == "open"
            sent = await by_token.publish(Message(topic="alerts", title="Disk", message="full", priority=5))
            got = await heard.get()
        assert (got.id, got.title, got.message, got.priority) == (sent.id, "Disk", "full", 5)
    finally:
        subscription.cancel()
        await asyncio.gather(subscription, return_exceptions=True)


async def test_it_is_told_what_it_may_not(server: Server) -> None:
    with pytest.raises(NtfyUnauthorizedAuthenticationError):
        await login(server, password="wrong").account()
    with pytest.raises(NtfyForbiddenAccessError):
        await login(server).can_subscribe(["other"])
    with pytest.raises(NtfyUnauthorizedAuthenticationError):
        await login(server).version()


async def test_it_reserves_topics_and_reads_the_figures(server: Server) -> None:
    root = login(server, "root")
    assert await root.reservation("private", Everyone.READ)
    assert [one.topic for one in (await root.account()).reservations] == ["private"]
    assert await root.delete_reservation("private", delete_messages=True)
    await root.publish(Message(topic="alerts", message="hi"))
    assert (await root.stats()).messages == 1
    assert (await root.version()).version.startswith("0.")
