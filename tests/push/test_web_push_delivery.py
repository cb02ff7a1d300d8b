"""From a publish to the browser: what is said about a topic reaches those who may read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ntfyish.model.acl import TopicAccess
from tests.conftest import StartServer
from tests.ntfy.calling import administration, basic, call
from tests.ntfy.talking import PHIL
from tests.push.browsers import CREATED, Browser, answer, push_service
from tests.push.test_browsers import KEYS, PHILS, World
from tests.push.test_callbacks import Names, until


@pytest_asyncio.fixture
async def world(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with push_service(tmp_path) as service:
        monkeypatch.setenv("SSL_CERT_FILE", str(service.ca_file))
        server = await start_server(
            **KEYS,
            accounts=[PHIL],
            auth_access=["everyone:private:write-only", "phil:private:read-write"],
            resolver=Names(push=[["127.0.0.1"]]),
            web_push_endpoint_allow=[service.host],
            callback_allow=["127.0.0.1"],
        )
        yield World(server, service)


async def arrived(world: World, count: int) -> None:
    await until(lambda: len(world.service.requests) >= count, world.server.clock)


async def quiet(world: World, count: int) -> None:
    """Give pushes that should not be there the time to come."""
    for _ in range(20):
        await world.server.clock.advance(0.25)
    assert len(world.service.requests) == count


async def test_a_message_reaches_the_browsers_of_its_topic(world: World) -> None:
    reader, other = world.browser("reader"), world.browser("other")
    await world.register(reader, "alerts", "backups")
    await world.register(other, "news")
    sent = await world.server.publish("alerts", "It is done", Title="Backup")
    await arrived(world, 1)
    read = reader.read(world.service.requests[0])
    assert read["subscription_id"] == "https://ntfy.example/alerts"
    assert read["message"] == sent
    assert 0 < int(world.service.requests[0].fields["ttl"]) <= 12 * 3600
    await quiet(world, 1)


async def test_changes_of_a_message_reach_it_too(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "alerts")
    await succeed_published(world, "PUT /alerts/backup")
    await arrived(world, 1)
    await succeed_published(world, "PUT /alerts/backup/clear")
    await arrived(world, 2)
    await succeed_published(world, "DELETE /alerts/backup")
    await arrived(world, 3)
    events = [browser.read(one)["message"] for one in world.service.requests]
    assert [one["event"] for one in events] == ["message", "message_clear", "message_delete"]
    assert {one["sequence_id"] for one in events} == {"backup"}


async def succeed_published(world: World, line: str) -> None:
    assert (await call(world.server, line, b"hi")).status == 200


@pytest.mark.parametrize("status", [404, 410, 400])
async def test_a_browser_that_is_gone_is_forgotten(world: World, status: int) -> None:
    world.service.answers[:] = [answer(status)]
    await world.register(world.browser(), "alerts")
    await world.server.publish("alerts")
    await arrived(world, 1)
    for _ in range(100):
        if not await world.known():
            break
        await world.server.clock.advance(0.25)
    assert await world.known() == {}
    await world.server.publish("alerts")
    await quiet(world, 1)


async def test_a_push_service_in_trouble_gets_it_later(world: World) -> None:
    world.service.answers[:] = [answer(500), answer(429, "Retry-After: 90"), b"", b"", CREATED]
    browser = world.browser()
    await world.register(browser, "alerts")
    sent = await world.server.publish("alerts")
    begun = world.server.clock.now()
    for _ in range(1000):
        if len(world.service.requests) == 5:
            break
        await world.server.clock.advance(5)
        await asyncio.sleep(0.01)  # the push service is real
    assert world.server.clock.now() - begun > 90
    assert browser.read(world.service.requests[-1])["message"]["id"] == sent["id"]
    await quiet(world, 5)
    assert list(await world.known()) == ["b1"]


async def test_what_was_too_large_comes_smaller(world: World) -> None:
    world.service.answers[:] = [answer(413), CREATED]
    browser = world.browser()
    await world.register(browser, "alerts")
    await world.server.publish("alerts", "x" * 3500)
    await arrived(world, 2)
    first, second = (browser.read(one)["message"] for one in world.service.requests)
    assert len(first["message"]) == 3500
    assert 1000 < len(second["message"]) < 2000
    assert second["truncated"] == 1


async def test_who_may_no_longer_read_gets_nothing_more(world: World) -> None:
    async with administration(world.server) as people:
        await people.add_account("anna", password="secret")
        await people.grant_access("anna", "private", TopicAccess.READ_ONLY)
    await world.register(world.browser(), "private", login=basic("anna"))
    await world.server.publish("private")
    await arrived(world, 1)
    async with administration(world.server) as people:
        await people.reset_access("anna", "private")
    await world.server.publish("private")
    await quiet(world, 1)
    assert list(await world.known()) == ["b1"]


async def test_a_browser_that_has_been_handed_on_gets_what_its_new_owner_may_read(world: World) -> None:
    browser = world.browser()
    await world.register(browser, "private", login=PHILS)
    await world.register(Browser(browser.endpoint), "alerts")
    await world.server.publish("private")
    await world.server.publish("alerts")
    await arrived(world, 1)
    await quiet(world, 1)
    assert (await world.known())["b1"].topics == ("alerts",)
