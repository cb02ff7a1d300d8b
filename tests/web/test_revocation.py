"""Live streams end within a second of losing what they were opened by, whoever changes it.

The clock is a real one: a second is a second.
"""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace

import pytest

from ntfyish.core.clock import SystemClock
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Add, Change, PeopleChange, Put, Remove
from ntfyish.model.acl import AclEntry, Permission, TopicAccess
from ntfyish.model.people import AccessToken, Account, Role, UserKey
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.clock import FakeClock
from tests.conftest import Server, StartServer
from tests.ntfy.talking import SECRET_HASH, ask, error_of, hear, listen
from tests.wire import Wire

OTHER_HASH = SECRET_HASH[:-1] + "b"
TOKEN = "tk_abcdefghijklmnopqrstuvwxyz012"
RW, RO, DENY = TopicAccess.READ_WRITE, TopicAccess.READ_ONLY, TopicAccess.DENY_ALL

MOLLY = Account(name="molly", user_key=UserKey("uMollyMollyMollyMollyMollyMoll"), password_hash=SECRET_HASH)
BOSS = replace(MOLLY, name="boss", user_key=UserKey("uBossBossBossBossBossBossBoss0"), role=Role.ADMIN)
CHIEF = replace(BOSS, name="chief", user_key=UserKey("uChiefChiefChiefChiefChiefChie"))
MOLLYS = AclEntry(account="molly", pattern="molly_*", access=RW)
OPEN = AclEntry(account="*", pattern="open", access=RW)
HERS = AccessToken(token_hash=hash_access_token(TOKEN), account="molly")


def basic(name: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:secret".encode()).decode()


STREAMS = {
    "password": ("molly_one,open", basic("molly")),
    "inbox": (MOLLY.user_key, basic("molly")),
    "token": ("open,molly_two", f"Authorization: Bearer {TOKEN}"),
    "admin": ("molly_one", basic("boss")),
    "nobody": ("open", "X-Nobody: asks"),
}


async def change(server: Server, *changes: PeopleChange) -> None:
    """Change people as another process does: through a database connection of its own."""
    async with PeopleDatabase.open(server.data_dir) as store:
        await store.apply(*changes)


async def start(start_server: StartServer, *records: PeopleChange) -> Server:
    server = await start_server(clock=SystemClock(), auth_default_access="deny-all")
    await change(server, *(Add(one) for one in (MOLLY, BOSS, CHIEF, MOLLYS, OPEN, HERS)), *records)
    return server


async def has_ended(reader: Wire) -> None:
    """Wait until the stream ends; it must do so within a second, and between two chunks."""
    begun = time.monotonic()
    rest = await reader.at_end()
    assert time.monotonic() - begun < 1.0
    assert not rest.endswith(b"0\r\n\r\n"), "it looks like a complete answer"


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ([Put(replace(MOLLYS, access=DENY))], "password token"),
        ([Remove(AclEntry, ("molly", "molly_*"))], "password token"),
        ([Put(replace(MOLLYS, pattern="molly_two", access=DENY))], "token"),
        ([Put(replace(MOLLYS, pattern="molly_one", access=TopicAccess.WRITE_ONLY))], "password"),
        ([Remove(AclEntry, ("*", "open"))], "password token nobody"),
        ([Put(replace(MOLLYS, pattern="open", access=DENY))], "password token"),
        ([Remove(AccessToken, HERS.token_hash)], "token"),
        ([Change(replace(HERS, expires_at=1_600_000_000))], "token"),
        ([Change(replace(HERS, patterns=("molly_*",)))], "token"),
        ([Change(replace(HERS, permissions=frozenset({Permission.WRITE})))], "token"),
        ([Change(replace(MOLLY, password_hash=OTHER_HASH))], "password inbox"),
        ([Change(replace(MOLLY, user_key=UserKey("uNewNewNewNewNewNewNewNewNewNe")))], "inbox"),
        ([Change(replace(BOSS, role=Role.USER))], "admin"),
        ([Remove(Account, "boss")], "admin"),
        ([Remove(Account, "molly")], "password inbox token"),
        # deleted, and made again with the same name: somebody else
        (
            [Remove(Account, "molly"), Add(replace(MOLLY, password_hash=OTHER_HASH)), Add(MOLLYS)],
            "password inbox token",
        ),
        # what takes nothing away ends nothing
        (
            [
                Change(replace(MOLLY, email="molly@example.org", tier="")),
                Change(replace(HERS, label="phone", expires_at=4_000_000_000)),
                Put(replace(MOLLYS, pattern="molly_one", access=RO)),
                Put(replace(MOLLYS, account="*", pattern="molly_*", access=DENY)),
                Add(replace(BOSS, name="second", user_key=UserKey("uSecondSecondSecondSecondSec00"))),
            ],
            "",
        ),
    ],
)
async def test_a_stream_ends_with_what_it_was_opened_by(
    start_server: StartServer, changes: list[PeopleChange], ended: str
) -> None:
    server = await start(start_server)
    readers = {name: await listen(server, topics, who) for name, (topics, who) in STREAMS.items()}
    await change(server, *changes)
    gone = ended.split()
    await asyncio.gather(*(has_ended(readers.pop(name)) for name in gone))
    if not gone:
        await asyncio.sleep(1.0)  # the time in which any would have ended
    # The others go on as if nothing had happened.
    for name, reader in readers.items():
        topic = STREAMS[name][0].partition(",")[0]
        assert (await ask(server, f"PUT /{topic}", basic("chief"))).status == 200
        while (heard := await hear(reader))["topic"] != topic:
            pass
        assert heard["event"] == "message"
    assert len(server.running.streams.open) == len(readers)


@pytest.mark.parametrize("transport", ["json", "sse", "raw", "ws"])
async def test_every_kind_of_stream_ends(start_server: StartServer, transport: str) -> None:
    server = await start(start_server)
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    reader = await server.wire()
    reader.send_request(
        f"GET /molly_one/{transport}", basic("molly"), *(upgrade if transport == "ws" else ())
    )
    assert (await reader.head())[0] in (101, 200)
    await change(server, Remove(Account, "molly"))
    await has_ended(reader)
    assert not server.running.streams.open
    assert await error_of(server, "GET /molly_one/auth", basic("molly")) == 40101


async def test_a_stream_ends_when_its_token_expires(start_server: StartServer) -> None:
    expires_at = int(time.time()) + 2
    secret = "tk_00000000000000000000000000000"
    expiring = replace(HERS, token_hash=hash_access_token(secret), expires_at=expires_at)
    server = await start(start_server, Add(expiring))
    staying = await listen(server, *STREAMS["token"])
    reader = await listen(server, "molly_one", f"Authorization: Bearer {secret}")
    await reader.at_end()
    assert expires_at <= time.time() < expires_at + 1.5
    assert await error_of(server, "GET /molly_one/auth", f"Authorization: Bearer {secret}") == 40101
    assert await staying.is_silent()


async def test_a_token_that_is_prolonged_keeps_its_stream(start_server: StartServer) -> None:
    clock = FakeClock()
    server = await start_server(clock=clock, auth_default_access="deny-all")
    short = replace(HERS, expires_at=int(clock.now()) + 60)
    await change(server, Add(MOLLY), Add(short))
    reader = await listen(server, MOLLY.user_key, f"Authorization: Bearer {TOKEN}")
    await change(server, Change(replace(short, expires_at=short.expires_at + 60)))
    await clock.advance(0.1)
    # Somebody unknown makes it look for changes at once.
    assert await error_of(server, "GET /t/auth", "Authorization: Bearer tk_x") == 40101
    await clock.advance(62)
    assert (await ask(server, f"GET /{MOLLY.user_key}/auth", f"Authorization: Bearer {TOKEN}")).status == 200
    assert len(server.running.streams.open) == 1
    await clock.advance(60)
    await reader.at_end()


async def test_the_last_use_of_a_token_is_written_down_within_a_minute(start_server: StartServer) -> None:
    clock = FakeClock()
    server = await start_server(clock=clock, auth_default_access="deny-all")
    await change(server, Add(MOLLY), Add(HERS))
    used_at = int(clock.now())
    assert (await ask(server, f"GET /{MOLLY.user_key}/auth", f"Authorization: Bearer {TOKEN}")).status == 200

    async def last_use() -> tuple[int, str]:
        async with PeopleDatabase.open(server.data_dir) as store:
            (token,) = (await store.load()).tokens
            return token.last_access_at, token.last_origin

    assert await last_use() == (0, "")
    await clock.advance(60)
    async with asyncio.timeout(5):
        while await last_use() == (0, ""):
            await clock.advance(1)
    assert await last_use() == (used_at, "127.0.0.1")
