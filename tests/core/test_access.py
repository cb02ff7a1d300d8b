"""Who is asking and what they may do, without HTTP: decisions, token scopes, passwords, renewal."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from statistics import median
from typing import Any

import bcrypt
import pytest

from ntfyish.core.access import Access
from ntfyish.core.directory import Directory
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import People
from ntfyish.model.acl import BOTH, AclEntry, Permission, TopicAccess
from ntfyish.model.errors import Forbidden, LimitReached, Reason, Unauthenticated
from ntfyish.model.people import (
    ANONYMOUS,
    AccessToken,
    Account,
    Group,
    Member,
    Principal,
    Role,
    Tier,
    TopicKey,
    UserKey,
)
from tests.clock import FakeClock

READ, WRITE = Permission.READ, Permission.WRITE
RW, RO, WO, DENY = TopicAccess.READ_WRITE, TopicAccess.READ_ONLY, TopicAccess.WRITE_ONLY, TopicAccess.DENY_ALL
HERE = "192.0.2.7"
INBOX = "uPhilPhilPhilPhilPhilPhilPhil0"
OTHERS_INBOX = "uVeraVeraVeraVeraVeraVeraVera0"
SYNC = "st_philsprivatetopic"


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


SECRET = hashed("secret")
PHIL = Account(name="phil", user_key=UserKey(INBOX), password_hash=SECRET, sync_topic=SYNC)
VERA = Account(name="vera", user_key=UserKey(OTHERS_INBOX), password_hash=SECRET, sync_topic="st_vera")
ROOT = Account(name="root", user_key=UserKey("uRootRootRootRootRootRootRoot0"), role=Role.ADMIN)


def token(secret: str, account: str = "phil", **rest: Any) -> AccessToken:
    return AccessToken(token_hash=hash_access_token(secret), account=account, **rest)


def people(**rest: Any) -> People:
    return replace(People(accounts=(PHIL, VERA, ROOT)), **rest)


class MemoryPeople:
    """A store that holds one snapshot until it is given another."""

    def __init__(self, snapshot: People) -> None:
        self.snapshot = snapshot
        self.touched: list[tuple[str, int, str]] = []
        self.loads = 0

    async def load(self) -> People:
        self.loads += 1
        return self.snapshot

    async def touch_tokens(self, used: Sequence[tuple[str, int, str]]) -> None:
        self.touched += used


class World:
    """An `Access` over a store that tests change."""

    def __init__(self, snapshot: People, default: TopicAccess) -> None:
        self.store = MemoryPeople(snapshot)
        self.clock = FakeClock()
        self.directory = Directory(self.store, self.clock)  # type: ignore[arg-type]
        self.access = Access(self.directory, self.clock, default)

    async def become(self, snapshot: People) -> None:
        self.store.snapshot = snapshot
        await self.directory.refresh()

    async def login(self, name: str = "phil", password: str = "secret") -> Principal:
        pair = base64.b64encode(f"{name}:{password}".encode()).decode()
        return await self.access.authenticate(f"Basic {pair}", HERE)

    async def bear(self, secret: str) -> Principal:
        return await self.access.authenticate(f"Bearer {secret}", HERE)

    def may(self, principal: Principal, topic: str) -> str:
        """Return what is allowed: "", "r", "w" or "rw"."""
        allows = self.access.allows
        return "r" * allows(principal, READ, topic) + "w" * allows(principal, WRITE, topic)


@asynccontextmanager
async def world_of(snapshot: People, default: TopicAccess = DENY) -> AsyncIterator[World]:
    world = World(snapshot, default)
    await world.directory.load()
    try:
        yield world
    finally:
        world.access.close()


def entry(account: str, pattern: str, access: TopicAccess) -> AclEntry:
    return AclEntry(account=account, pattern=pattern, access=access)


# Decisions


async def test_who_may_do_what() -> None:
    table = (
        entry("phil", "mine*", RW),
        entry("phil", "mine-not", DENY),
        entry("*", "open", RW),
        entry("*", "announcements", RO),
        entry("vera", "open", WO),
    )
    async with world_of(people(access=table), RO) as world:
        phil, vera, root = Principal(PHIL), Principal(VERA), Principal(ROOT)
        cases = {
            "mine": ("rw", "r", "r"),
            "mine-not": ("", "r", "r"),
            "Mine": ("r", "r", "r"),
            "open": ("rw", "w", "rw"),
            "announcements": ("r", "r", "r"),
            "else": ("r", "r", "r"),
            INBOX: ("rw", "r", "r"),
        }
        for topic, expected in cases.items():
            for _ in range(2):  # decided, and remembered
                found = tuple(world.may(one, topic) for one in (phil, vera, ANONYMOUS))
                assert found == expected, topic
            assert world.may(root, topic) == "rw"


async def test_a_sync_topic_is_its_owners_and_nobody_elses() -> None:
    table = (entry("vera", "st_*", RW), entry("*", "*", RW), entry("phil", "*", DENY))
    async with world_of(people(access=table), RW) as world:
        assert world.may(Principal(PHIL), SYNC) == "rw"
        assert world.may(Principal(PHIL), INBOX) == "rw"
        for other in (Principal(VERA), Principal(ROOT), ANONYMOUS):
            assert world.may(other, SYNC) == ""
        assert world.may(Principal(VERA), "st_nobodys") == "rw"


@pytest.mark.parametrize(
    ("permissions", "patterns", "expected"),
    [
        (BOTH, (), {"ab": "rw", "shown": "r", "x": "", INBOX: "rw", SYNC: "rw"}),
        ({READ}, (), {"ab": "r", "shown": "r", "x": "", INBOX: "r", SYNC: "r"}),
        ({WRITE}, (), {"ab": "w", "shown": "", "x": "", INBOX: "w"}),
        (BOTH, ("a*", "x"), {"ab": "rw", "shown": "", "x": "", INBOX: "", SYNC: ""}),
        ({WRITE}, (INBOX,), {"ab": "", INBOX: "w"}),
        (set(), (), {"ab": "", INBOX: ""}),
    ],
)
async def test_a_token_never_allows_more_than_its_scope_or_its_account(
    permissions: set[Permission], patterns: tuple[str, ...], expected: dict[str, str]
) -> None:
    limited = token("tk_1", permissions=frozenset(permissions), patterns=patterns)
    table = (entry("phil", "ab", RW), entry("phil", "shown", RO))
    async with world_of(people(tokens=(limited,), access=table)) as world:
        principal = await world.bear("tk_1")
        assert principal == Principal(PHIL, limited)
        assert {topic: world.may(principal, topic) for topic in expected} == expected


async def test_an_admins_token_is_limited_too() -> None:
    limited = token("tk_1", account="root", permissions=frozenset({WRITE}), patterns=("backups",))
    async with world_of(people(tokens=(limited,))) as world:
        principal = await world.bear("tk_1")
        assert [world.may(principal, topic) for topic in ("backups", "other", "BACKUPS")] == ["w", "", ""]


async def test_one_topic_that_is_not_allowed_refuses_them_all() -> None:
    async with world_of(people(access=(entry("*", "t*", RO),))) as world:
        assert world.access.grant(ANONYMOUS, READ, ["t1", "t2"]).topics == ("t1", "t2")
        for topics in (["t1", "x"], ["x", "t1"], ["t1", "T1"]):
            with pytest.raises(Forbidden):
                world.access.grant(ANONYMOUS, READ, topics)
        with pytest.raises(Forbidden):
            world.access.grant(ANONYMOUS, WRITE, ["t1"])


async def test_equal_grants_are_one_object() -> None:
    async with world_of(people(), RW) as world:
        grants = [world.access.grant(await world.login(), READ, [f"t{i % 2}"]) for i in range(4)]
        assert grants[0] is grants[2]
        assert grants[1] is grants[3]
        assert world.access.grant(ANONYMOUS, READ, ["t0"]) is not grants[0]
        assert world.access.grant(await world.login(), WRITE, ["t0"]).permission is WRITE


async def test_what_is_remembered_is_bounded() -> None:
    async with world_of(people(), RW) as world:
        access = world.access
        for number in range(40_000):
            access.grant(ANONYMOUS, WRITE, (f"t{number}",))
        assert len(access._writable) <= 16_384
        assert len(access._granted) <= 16_384


# Renewal


async def test_a_grant_holds_as_long_as_its_reasons() -> None:
    mine = token("tk_1")
    begin = people(tokens=(mine,), access=(entry("phil", "t", RW), entry("*", "t", RO)))
    changes: dict[str, tuple[People, str]] = {
        "nothing": (replace(begin), "password token nobody"),
        "own entry": (replace(begin, access=begin.access[1:]), "password token nobody"),
        "denied": (replace(begin, access=(entry("phil", "t", DENY), *begin.access[1:])), "nobody"),
        "everybody's": (replace(begin, access=begin.access[:1]), "password token"),
        "token": (replace(begin, tokens=()), "password nobody"),
        "token limited": (
            replace(begin, tokens=(replace(mine, permissions=frozenset({WRITE})),)),
            "password nobody",
        ),
        "token of another": (replace(begin, tokens=(replace(mine, account="vera"),)), "password nobody"),
        "account": (replace(begin, accounts=(VERA, ROOT), tokens=()), "nobody"),
        "password": (
            replace(begin, accounts=(replace(PHIL, password_hash=hashed("new")), VERA, ROOT)),
            "token nobody",
        ),
        "label": (replace(begin, tokens=(replace(mine, label="x"),)), "password token nobody"),
    }
    for what, (after, holding) in changes.items():
        async with world_of(begin) as world:
            principals = {
                "password": await world.login(),
                "token": await world.bear("tk_1"),
                "nobody": ANONYMOUS,
            }
            grants = {name: world.access.grant(one, READ, ["t"]) for name, one in principals.items()}
            assert all(world.access.renew(grant) is grant for grant in grants.values())
            await world.become(after)
            renewed = {name: world.access.renew(grant) for name, grant in grants.items()}
            assert " ".join(name for name, grant in renewed.items() if grant) == holding, what
            for name, grant in renewed.items():
                if grant is None:
                    with pytest.raises((Unauthenticated, Forbidden)):
                        world.access.grant(principals[name], READ, ["t"])
                else:
                    assert world.access.grant(principals[name], READ, ["t"]) is grant
                    account = grant.principal.account
                    assert account is None or account is world.directory.find_account("phil")


async def test_a_grant_expires_with_its_token() -> None:
    async with world_of(people(tokens=(token("tk_1", expires_at=1_700_000_010),)), RW) as world:
        grant = world.access.grant(await world.bear("tk_1"), READ, ["t"])
        assert grant.expires_at == 1_700_000_010
        await world.clock.advance(9.9)
        assert world.access.renew(grant) is grant
        await world.clock.advance(0.1)
        assert world.access.renew(grant) is None
        with pytest.raises(Unauthenticated):
            await world.bear("tk_1")
        with pytest.raises(Unauthenticated):
            world.access.grant(grant.principal, READ, ["t"])


async def test_an_account_made_anew_under_the_same_name_is_another() -> None:
    async with world_of(people(), RW) as world:
        grant = world.access.grant(await world.login(), READ, [INBOX])
        again = replace(PHIL, password_hash=hashed("secret"))
        await world.become(people(accounts=(again,)))
        assert world.access.renew(grant) is None


# Passwords and tokens


async def test_a_changed_password_is_wrong_at_once() -> None:
    async with world_of(people()) as world:
        await world.login()
        await world.login()
        await world.become(people(accounts=(replace(PHIL, password_hash=hashed("new")),)))
        with pytest.raises(Unauthenticated):
            await world.login()
        assert (await world.login(password="new")).account is not None


async def test_a_password_that_changes_while_it_is_checked_is_wrong() -> None:
    begin = people(accounts=(replace(PHIL, password_hash=hashed("secret", 10)),))
    async with world_of(begin) as world:
        login = asyncio.ensure_future(world.login())
        await asyncio.sleep(0)
        await world.become(people(accounts=(replace(PHIL, password_hash=hashed("new")),)))
        assert not login.done()
        with pytest.raises(Unauthenticated):
            await login


async def test_a_right_password_is_checked_once_a_minute() -> None:
    async with world_of(people(accounts=(replace(PHIL, password_hash=hashed("secret", 10)),))) as world:

        async def cpu_s() -> float:
            begun = time.process_time()
            await world.login()
            return time.process_time() - begun

        first = await cpu_s()
        assert await cpu_s() < first / 4
        await world.clock.advance(61)
        assert await cpu_s() > first / 4


@pytest.mark.parametrize(
    "password", ["", "x" * 73, "secret\0", "Secret", "s\u00e9cret", "secret" + "\0" * 80]
)
async def test_other_passwords_are_wrong(password: str) -> None:
    async with world_of(people()) as world:
        with pytest.raises(Unauthenticated):
            await world.login(password=password)


@pytest.mark.parametrize("stored", ["", "x", "$2b$04$tooshort", "$2b$99$" + "." * 53])
async def test_without_a_usable_hash_nobody_logs_in(stored: str) -> None:
    async with world_of(people(accounts=(replace(PHIL, password_hash=stored),))) as world:
        for password in ("", "secret", stored):
            with pytest.raises(Unauthenticated):
                await world.login(password=password)


async def test_hashes_of_all_three_kinds_are_known() -> None:
    for kind in ("$2a$", "$2b$", "$2y$"):
        stored = kind + SECRET[4:]
        async with world_of(people(accounts=(replace(PHIL, password_hash=stored),))) as world:
            assert (await world.login()).account is not None


@pytest.mark.parametrize("cost", [4, 9])
async def test_it_takes_as_long_to_refuse_an_unknown_user_as_a_wrong_password(cost: int) -> None:
    known = replace(PHIL, password_hash=hashed("secret", cost))
    unset = replace(VERA, password_hash="")
    async with world_of(people(accounts=(known, unset))) as world:

        async def cpu_s(name: str, number: int) -> float:
            begun = time.process_time()
            with pytest.raises(Unauthenticated):
                await world.login(name, f"wrong{number}")
            return time.process_time() - begun

        names = ("phil", "vera", "nobody")
        taken: dict[str, list[float]] = {name: [] for name in names}
        for number in range(25):
            for name in names:
                taken[name].append(await cpu_s(name, number))
        times = [median(taken[name]) for name in names]
        assert max(times) < 1.6 * min(times), taken


async def test_equal_attempts_are_checked_once() -> None:
    async with world_of(people(accounts=(replace(PHIL, password_hash=hashed("secret", 9)),))) as world:
        begun = time.process_time()
        await world.login(password="secret")
        once = time.process_time() - begun
        await world.clock.advance(61)
        begun = time.process_time()
        await asyncio.gather(*(world.login() for _ in range(20)))
        assert time.process_time() - begun < 6 * once


async def test_attempts_beyond_the_queue_are_sent_away_and_others_still_get_in() -> None:
    async with world_of(people(accounts=(replace(PHIL, password_hash=hashed("secret", 9)),))) as world:
        guesses = [asyncio.ensure_future(world.login(password=f"guess{i}")) for i in range(100)]
        await asyncio.sleep(0)
        elsewhere = "Basic " + base64.b64encode(b"phil:secret").decode()
        assert (
            await world.access.authenticate(elsewhere, "192.0.2.8")
        ).account == world.directory.people.accounts[0]
        results = await asyncio.gather(*guesses, return_exceptions=True)
        limited = [error for error in results if isinstance(error, LimitReached)]
        assert len(limited) == 36
        assert {error.reason for error in limited} == {Reason.AUTH_FAILURE_LIMIT}
        assert all(error.retry_after_s > 0 for error in limited)
        assert sum(isinstance(error, Unauthenticated) for error in results) == 64
        # and there is room again
        assert (await world.login()).account is not None


async def test_uses_of_tokens_are_noted_in_one_go() -> None:
    async with world_of(people(tokens=(token("tk_1"), token("tk_2")))) as world:
        for secret in ("tk_1", "tk_2", "tk_1"):
            await world.bear(secret)
            await world.clock.advance(1)
        with pytest.raises(Unauthenticated):
            await world.bear("tk_3")
        await world.access.note_uses(world.store)  # type: ignore[arg-type]
        first, second = (hash_access_token(secret) for secret in ("tk_1", "tk_2"))
        assert sorted(world.store.touched) == sorted(
            [(first, 1_700_000_002, HERE), (second, 1_700_000_001, HERE)]
        )
        await world.access.note_uses(world.store)  # type: ignore[arg-type]
        assert len(world.store.touched) == 2


# Directory


async def test_everything_is_found() -> None:
    tier = Tier(code="pro")
    key = TopicKey(key="t" * 30, topic="t")
    group = Group(key="g" * 30, name="oncall", account="phil", members=(Member(account="vera"),))
    table = (entry("phil", "t", RW),)
    async with world_of(people(tiers=(tier,), keys=(key,), groups=(group,), access=table)) as world:
        directory = world.directory
        assert directory.find_tier("pro") is tier
        assert directory.find_tier("") is None
        assert await directory.find_by_key("t" * 30) is key
        assert await directory.find_by_key("g" * 30) is group
        assert await directory.find_by_key(INBOX) is PHIL
        assert await directory.find_by_key("x" * 30) is None
        assert directory.entries == table
        assert (directory.find_sync_owner(SYNC), directory.find_sync_owner("")) == ("phil", "")


async def test_whoever_wants_to_hears_of_changes_and_only_of_changes() -> None:
    async with world_of(people()) as world:
        heard: list[int] = []
        world.directory.on_change(lambda: heard.append(world.directory.revision))
        revision = world.directory.revision
        await world.directory.refresh()
        assert heard == []
        await world.become(people(accounts=(PHIL,)))
        assert heard == [revision + 1]
        assert world.directory.find_account("vera") is None


async def test_somebody_new_is_known_on_the_first_request_but_strangers_do_not_make_the_store_busy() -> None:
    async with world_of(people(accounts=(PHIL,))) as world:
        await world.clock.advance(1)
        world.store.snapshot = people(tokens=(token("tk_new", account="vera"),))
        assert (await world.bear("tk_new")).account is VERA
        loads = world.store.loads
        for number in range(100):
            with pytest.raises(Unauthenticated):
                await world.bear(f"tk_{number}")
        assert world.store.loads == loads
