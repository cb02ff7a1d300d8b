"""What `PeopleStore` promises, over a real file and with other processes at it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ntfyish.core.ports import Add, Change, People, PeopleChange, Put, Record, Remove
from ntfyish.model.acl import EVERYONE, AclEntry, Permission, TopicAccess
from ntfyish.model.errors import Conflict, Invalid, NotFound, NtfyishError, Reason, Unavailable
from ntfyish.model.people import (
    KEY_PATTERN,
    AccessToken,
    Account,
    App,
    AppToken,
    Flavour,
    Group,
    Member,
    Role,
    Tier,
    TopicKey,
    UserKey,
)
from ntfyish.store.sqlite.database import connect_to_write
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.store.sqlite.people_tables import TABLES
from ntfyish.store.sqlite.schema import PEOPLE


def key(name: str) -> UserKey:
    return UserKey(f"u{name}".ljust(30, "0"))


PHIL = Account(
    name="phil",
    user_key=key("phil"),
    password_hash="$2a$10$phil",
    role=Role.ADMIN,
    email="phil@example.org",
    devices=("droid2", "iphone"),
    stream=False,
    sync_topic="st_phil",
    preferences='{"language":"de"}',
    created_at=7,
)
VERA = Account(name="vera", user_key=key("vera"))
ZOE = Account(name="zoe", user_key=key("zoe"), tier="pro")
BACKUPS = App(
    token=AppToken("a" * 30),
    name="Bäckups 🎉",
    account="phil",
    flavour=Flavour.NZBCLIENT,
    monthly_limit=0,
    enabled=False,
)
CAMERA = App(token=AppToken("b" * 30), name="Camera", account="vera")
ALERTS = TopicKey(key="t" * 30, topic="alerts")
TOKEN = AccessToken(
    token_hash=hashlib.sha256(b"tk_secret").hexdigest(),
    account="phil",
    label="x",
    hint="tk_secret",
    permissions=frozenset({Permission.WRITE}),
    patterns=("alerts", "up*"),
    created_at=4,
    expires_at=5,
    last_access_at=6,
    last_origin="::1",
)
PRO = Tier(
    code="pro",
    name="Pro",
    message_limit=1,
    message_expiry_s=2,
    email_limit=3,
    call_limit=4,
    reservation_limit=5,
    attachment_file_size_bytes=6,
    attachment_total_size_bytes=7,
    attachment_expiry_s=8,
    attachment_bandwidth_bytes=2**40,
)
ALL_MAY_READ = AclEntry(account=EVERYONE, pattern="mine", access=TopicAccess.READ_ONLY, owner="phil")
PHIL_MAY = AclEntry(account="phil", pattern="mine", access=TopicAccess.READ_WRITE, owner="phil")
VERA_MAY_NOT = AclEntry(account="vera", pattern="up*", access=TopicAccess.DENY_ALL)
ONCALL = Group(
    key="g" * 30,
    name="oncall",
    account="vera",
    members=(
        Member(account="vera", device="pad", memo="Mémo", enabled=False),
        Member(account="phil"),
        Member(account="vera"),
    ),
)


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[PeopleDatabase]:
    async with PeopleDatabase.open(tmp_path) as database:
        yield database


EVERYBODY = People(
    accounts=(PHIL, VERA, ZOE),
    apps=(BACKUPS, CAMERA),
    keys=(ALERTS,),
    tokens=(TOKEN,),
    access=(ALL_MAY_READ, PHIL_MAY, VERA_MAY_NOT),
    tiers=(PRO,),
    groups=(ONCALL,),
)


def records(people: People) -> list[Record]:
    """All of them, in an order in which they can be added."""
    return [
        *people.tiers,
        *people.accounts,
        *people.apps,
        *people.keys,
        *people.tokens,
        *people.access,
        *people.groups,
    ]


async def fill(people: PeopleDatabase) -> None:
    await people.apply(*map(Add, records(EVERYBODY)))


async def test_what_was_added_is_loaded_unchanged_and_survives(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        assert await people.load() == People()
        await fill(people)
        assert await people.load() == EVERYBODY
    async with PeopleDatabase.open(tmp_path) as people:
        assert await people.load() == EVERYBODY


async def test_no_log_is_left_beside_the_file_for_somebody_else_to_own(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        await fill(people)
        assert os.listdir(tmp_path) == ["people.db"]


async def test_an_account_goes_with_all_that_is_its_own(people: PeopleDatabase) -> None:
    await fill(people)
    await people.apply(Remove(Account, "phil"))
    left = replace(ONCALL, members=(ONCALL.members[0], ONCALL.members[2]))
    assert await people.load() == People(
        (VERA, ZOE), (CAMERA,), (ALERTS,), access=(VERA_MAY_NOT,), tiers=(PRO,), groups=(left,)
    )
    await people.apply(Remove(Account, "vera"))
    assert await people.load() == People((ZOE,), keys=(ALERTS,), tiers=(PRO,))


async def test_what_everybody_may_outlives_accounts(people: PeopleDatabase) -> None:
    entry = replace(ALL_MAY_READ, owner="")
    await people.apply(Add(VERA), Add(entry), Remove(Account, "vera"))
    assert (await people.load()).access == (entry,)


async def test_a_tier_is_taken_off_its_accounts(people: PeopleDatabase) -> None:
    await fill(people)
    await people.apply(Remove(Tier, "pro"))
    loaded = await people.load()
    assert (loaded.accounts, loaded.tiers) == ((PHIL, VERA, replace(ZOE, tier="")), ())


async def test_everything_is_removed_by_its_identity_alone(people: PeopleDatabase) -> None:
    await fill(people)
    await people.apply(
        Remove(App, BACKUPS.token),
        Remove(TopicKey, ALERTS.key),
        Remove(AccessToken, TOKEN.token_hash),
        Remove(AclEntry, ("phil", "mine")),
        Remove(AclEntry, (EVERYONE, "mine")),
        Remove(Group, ONCALL.key),
    )
    assert await people.load() == replace(
        EVERYBODY, apps=(CAMERA,), keys=(), tokens=(), access=(VERA_MAY_NOT,), groups=()
    )


CHANGED: list[Record] = [
    replace(PHIL, tier="pro", role=Role.USER, devices=(), preferences="", sync_topic="st_new"),
    replace(BACKUPS, account="vera", flavour=Flavour.PUSHOVER, enabled=True),
    replace(ALERTS, topic="other"),
    replace(TOKEN, permissions=frozenset(Permission), patterns=(), expires_at=0, last_access_at=9),
    replace(VERA_MAY_NOT, access=TopicAccess.WRITE_ONLY, owner="vera"),
    replace(PRO, message_limit=99),
    replace(ONCALL, name="new", account="phil", members=ONCALL.members[:0:-1]),
]


@pytest.mark.parametrize("record", CHANGED, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("kind", [Change, Put])
async def test_a_change_takes_the_place_of_its_namesake_and_touches_nothing_else(
    people: PeopleDatabase, kind: type[Change] | type[Put], record: Record
) -> None:
    await fill(people)
    await people.apply(kind(record))
    after = records(await people.load())
    assert [one for one in after if one not in records(EVERYBODY)] == [record]
    assert len(after) == len(records(EVERYBODY))


@pytest.mark.parametrize("record", CHANGED, ids=lambda record: type(record).__name__)
async def test_only_what_is_there_can_be_changed_but_anything_can_be_put(
    people: PeopleDatabase, record: Record
) -> None:
    identity = TABLES[type(record)].identity_of(record)
    needed = [one for one in (PRO, PHIL, VERA) if TABLES[type(one)].identity_of(one) != identity]
    await people.apply(*map(Add, needed))
    with pytest.raises(NotFound):
        await people.apply(Change(record))
    await people.apply(Put(record))
    assert record in records(await people.load())


async def test_changes_are_made_in_their_order_and_all_or_none(people: PeopleDatabase) -> None:
    moved = replace(BACKUPS, token=AppToken("c" * 30))
    await fill(people)
    await people.apply(Remove(App, BACKUPS.token), Add(moved), Change(replace(moved, name="Moved")))
    assert (await people.load()).apps == (CAMERA, replace(moved, name="Moved"))
    before = await people.load()
    with pytest.raises(NotFound):
        await people.apply(Remove(Account, "phil"), Change(PHIL))
    assert await people.load() == before


async def test_no_changes_are_no_change(people: PeopleDatabase) -> None:
    await people.load()
    await people.apply()
    await people.reconcile(People())
    assert not await people.changed()


async def test_an_account_without_a_key_gets_one(people: PeopleDatabase) -> None:
    await people.apply(Add(replace(PHIL, user_key=UserKey(""))))
    await people.apply(Add(replace(VERA, user_key=UserKey(""))))
    keys = {account.user_key for account in (await people.load()).accounts}
    assert len(keys) == 2
    assert all(KEY_PATTERN.fullmatch(one) and one.startswith("u") for one in keys)


async def test_a_changed_account_without_a_key_keeps_its_own(people: PeopleDatabase) -> None:
    await fill(people)
    await people.apply(Change(replace(VERA, user_key=UserKey(""), email="v")))
    assert (await people.load()).accounts[1] == replace(VERA, email="v")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Add(replace(VERA, name="phil")), Conflict),
        (Add(replace(VERA, user_key=PHIL.user_key, name="new")), Conflict),
        (Add(replace(VERA, user_key=UserKey(ALERTS.key), name="new")), Conflict),
        (Add(replace(VERA, user_key=UserKey(ONCALL.key), name="new")), Conflict),
        (Add(replace(VERA, user_key=key("new"), sync_topic="st_phil", name="new")), Conflict),
        (Add(replace(VERA, user_key=key("new"), tier="none", name="new")), NotFound),
        (Change(replace(VERA, user_key=PHIL.user_key)), Conflict),
        (Change(replace(VERA, user_key=UserKey(ALERTS.key))), Conflict),
        (Add(replace(CAMERA, token=BACKUPS.token)), Conflict),
        (Add(replace(CAMERA, token=AppToken("c" * 30), account="nobody")), NotFound),
        (Add(replace(CAMERA, token=AppToken("c" * 30), monthly_limit=2**63)), Invalid),
        (Add(replace(CAMERA, token=AppToken("c" * 30), name="\ud800")), Invalid),
        (Add(replace(ALERTS, topic="other")), Conflict),
        (Add(TopicKey(key=PHIL.user_key, topic="other")), Conflict),
        (Add(TopicKey(key=ONCALL.key, topic="other")), Conflict),
        (Add(replace(TOKEN, account="vera")), Conflict),
        (Add(replace(TOKEN, token_hash="0" * 64, account="nobody")), NotFound),
        (Add(PHIL_MAY), Conflict),
        (Add(ALL_MAY_READ), Conflict),
        (Add(replace(PHIL_MAY, account="nobody")), NotFound),
        (Put(replace(PHIL_MAY, account="nobody")), NotFound),
        (Add(replace(PHIL_MAY, account="")), NotFound),
        (Add(replace(PHIL_MAY, account="everyone")), NotFound),
        (Add(replace(PHIL_MAY, pattern="new", owner="nobody")), NotFound),
        (Add(PRO), Conflict),
        (Add(ONCALL), Conflict),
        (Add(replace(ONCALL, key=PHIL.user_key)), Conflict),
        (Add(replace(ONCALL, key=ALERTS.key)), Conflict),
        (Add(replace(ONCALL, key="h" * 30, account="nobody")), NotFound),
        (Add(replace(ONCALL, key="h" * 30, members=(Member(account="nobody"),))), NotFound),
        (Put(replace(ONCALL, members=(Member(account="phil"), Member(account="phil")))), Conflict),
        (Remove(Account, "nobody"), NotFound),
        (Remove(Account, "PHIL"), NotFound),
        (Remove(App, "nothing"), NotFound),
        (Remove(TopicKey, "nothing"), NotFound),
        (Remove(AccessToken, "nothing"), NotFound),
        (Remove(AclEntry, ("vera", "mine")), NotFound),
        (Remove(AclEntry, ("phil", "MINE")), NotFound),
        (Remove(Tier, "nothing"), NotFound),
        (Remove(Group, "nothing"), NotFound),
    ],
)
async def test_what_is_taken_or_missing_is_refused_and_changes_nothing(
    people: PeopleDatabase, change: PeopleChange, error: type[NtfyishError]
) -> None:
    await fill(people)
    await people.load()
    with pytest.raises(error):
        await people.apply(Remove(App, CAMERA.token), change)
    assert not await people.changed()
    assert await people.load() == EVERYBODY


# --- Uses of tokens


async def test_the_last_use_of_a_token_is_noted_without_a_change(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as server, PeopleDatabase.open(tmp_path) as command_line:
        await fill(server)
        await server.load()
        await command_line.load()
        await server.touch_tokens([(TOKEN.token_hash, 10, "10.0.0.1"), ("0" * 64, 10, "10.0.0.1")])
        assert not await server.changed()
        assert not await command_line.changed()
        used = replace(TOKEN, last_access_at=10, last_origin="10.0.0.1")
        assert await server.load() == replace(EVERYBODY, tokens=(used,))
        await server.touch_tokens([(TOKEN.token_hash, 9, "10.0.0.9")])
        assert (await server.load()).tokens == (used,)
        await server.touch_tokens([])
        await command_line.apply(Add(replace(ALERTS, key="k" * 30)))
        assert (await command_line.load()).tokens == (used,)


async def test_whoever_changes_a_token_does_not_undo_its_uses(people: PeopleDatabase) -> None:
    await fill(people)
    await people.touch_tokens([(TOKEN.token_hash, 10, "10.0.0.1")])
    await people.apply(Change(replace(TOKEN, label="new")))
    [token] = (await people.load()).tokens
    assert (token.label, token.last_access_at, token.last_origin) == ("new", 10, "10.0.0.1")
    await people.apply(Remove(AccessToken, TOKEN.token_hash), Add(replace(TOKEN, last_access_at=0)))
    assert (await people.load()).tokens[0].last_access_at == 0


# --- Other processes


async def test_changes_are_noticed_whoever_made_them(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as server, PeopleDatabase.open(tmp_path) as command_line:
        assert await server.changed()
        await server.load()
        assert not await server.changed()
        await command_line.apply(Add(PHIL))
        assert await server.changed()
        assert await server.changed()
        assert (await server.load()).accounts == (PHIL,)
        assert not await server.changed()
        await server.apply(Add(VERA))
        assert await server.changed()
        await server.load()
        with pytest.raises(Conflict):
            await server.apply(Add(VERA))
        assert not await server.changed()


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as one, PeopleDatabase.open(tmp_path) as other:
        await asyncio.gather(
            *(one.apply(Add(TopicKey(key=f"one{n}", topic="x"))) for n in range(20)),
            *(other.apply(Add(TopicKey(key=f"other{n}", topic="x"))) for n in range(20)),
            *(one.load() for _ in range(20)),
            *(store.apply(Put(replace(PHIL, user_key=UserKey("")))) for store in (one, other) * 20),
        )
        loaded = await one.load()
        assert (len(loaded.keys), len(loaded.accounts)) == (40, 1)


async def test_a_foreign_lock_makes_the_store_busy_until_it_is_gone(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path, busy_timeout_s=0.05) as people:
        await people.apply(Add(PHIL))
        with closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable) as caught:
                await people.apply(Add(VERA))
            assert caught.value.reason is Reason.STORAGE_BUSY
            assert (await people.load()).accounts == (PHIL,)
        await people.apply(Add(VERA))
        assert (await people.load()).accounts == (PHIL, VERA)


async def test_values_that_only_a_newer_version_knows_are_reported(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        await people.apply(Add(PHIL))
        with closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as other:
            other.execute("UPDATE accounts SET role = 'emperor'")
        with pytest.raises(Unavailable) as caught:
            await people.load()
        assert caught.value.reason is Reason.STORAGE_BROKEN


async def test_a_cancelled_write_leaves_the_store_usable(people: PeopleDatabase) -> None:
    task = asyncio.create_task(people.apply(Add(PHIL)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await people.apply(Add(VERA))
    assert VERA in (await people.load()).accounts


# --- What the configuration declares


def as_declared(people: People) -> People:
    return People(
        tuple(replace(account, declared=True) for account in people.accounts),
        tuple(replace(app, declared=True) for app in people.apps),
        tuple(replace(one, declared=True) for one in people.keys),
        tuple(replace(token, declared=True) for token in people.tokens),
        tuple(replace(entry, declared=True) for entry in people.access),
        people.tiers,
        tuple(replace(group, declared=True) for group in people.groups),
    )


async def test_what_is_declared_is_there_and_marked(people: PeopleDatabase) -> None:
    await people.apply(Add(PRO))
    for _ in range(2):
        await people.reconcile(EVERYBODY)
        assert await people.load() == as_declared(EVERYBODY)


async def test_declaring_the_same_again_changes_nothing(people: PeopleDatabase) -> None:
    await people.apply(Add(PRO))
    await people.reconcile(EVERYBODY)
    await people.load()
    await people.reconcile(EVERYBODY)
    assert not await people.changed()


async def test_what_is_no_longer_declared_goes_and_the_rest_stays(people: PeopleDatabase) -> None:
    await fill(people)
    extra = Account(name="max", user_key=key("max"))
    declared = People(
        (extra,),
        (
            replace(CAMERA, token=AppToken("x" * 30), account="max"),
            replace(BACKUPS, token=AppToken("y" * 30)),
        ),
        (TopicKey(key="k" * 30, topic="x"),),
        (replace(TOKEN, token_hash="1" * 64),),
        (replace(VERA_MAY_NOT, account="max"), replace(ALL_MAY_READ, pattern="*")),
        groups=(replace(ONCALL, key="h" * 30, members=(Member(account="max"),)),),
    )
    await people.reconcile(declared)
    assert len(records(await people.load())) == len(records(EVERYBODY)) + len(records(declared))
    await people.reconcile(People())
    assert await people.load() == EVERYBODY


async def test_what_is_declared_takes_over_what_was_added_under_its_name(people: PeopleDatabase) -> None:
    await fill(people)
    declared = People(
        (replace(PHIL, user_key=key("new"), password_hash="$2a$new", role=Role.USER, devices=()),),
        (replace(BACKUPS, name="Renamed", account="vera"),),
        (replace(ALERTS, topic="other"),),
        (replace(TOKEN, label="renamed", patterns=()),),
        (replace(PHIL_MAY, access=TopicAccess.DENY_ALL, owner=""),),
        groups=(replace(ONCALL, account="phil", members=()),),
    )
    await people.reconcile(declared)
    loaded = await people.load()
    marked = as_declared(declared)
    assert loaded.accounts == (*marked.accounts, VERA, ZOE)
    assert loaded.apps == (*marked.apps, CAMERA)
    assert (loaded.keys, loaded.tokens, loaded.groups) == (marked.keys, marked.tokens, marked.groups)
    assert loaded.access == (ALL_MAY_READ, *marked.access, VERA_MAY_NOT)


async def test_an_account_keeps_what_it_does_not_declare(people: PeopleDatabase) -> None:
    phil = replace(PHIL, tier="pro")
    await people.apply(Add(PRO), Add(phil))
    bare = Account(name="phil", user_key=UserKey(""))
    kept = replace(phil, role=bare.role, email="", devices=(), stream=True, declared=True)
    for _ in range(2):
        await people.reconcile(People((bare,)))
        assert (await people.load()).accounts == (kept,)


async def test_a_declared_token_keeps_its_uses(people: PeopleDatabase) -> None:
    await fill(people)
    bare = AccessToken(token_hash=TOKEN.token_hash, account="phil", hint=TOKEN.hint)
    await people.reconcile(People((PHIL,), tokens=(bare,)))
    kept = replace(bare, created_at=4, last_access_at=6, last_origin="::1", declared=True)
    assert (await people.load()).tokens == (kept,)


async def test_a_declared_account_gets_a_key_once(people: PeopleDatabase) -> None:
    declared = People((replace(PHIL, user_key=UserKey("")),))
    await people.reconcile(declared)
    first = await people.load()
    await people.reconcile(declared)
    assert await people.load() == first
    assert KEY_PATTERN.fullmatch(first.accounts[0].user_key)


async def test_declared_accounts_may_exchange_their_keys(people: PeopleDatabase) -> None:
    await people.reconcile(People((PHIL, VERA)))
    await people.reconcile(
        People((replace(PHIL, user_key=VERA.user_key), replace(VERA, user_key=PHIL.user_key)))
    )
    keys = [account.user_key for account in (await people.load()).accounts]
    assert keys == [VERA.user_key, PHIL.user_key]


async def test_an_app_may_move_away_from_an_account_that_goes(people: PeopleDatabase) -> None:
    await people.reconcile(People((PHIL, VERA), (BACKUPS,)))
    moved = replace(BACKUPS, account="vera")
    await people.reconcile(People((VERA,), (moved,)))
    assert (await people.load()).apps == (replace(moved, declared=True),)


async def test_an_undeclared_account_may_own_a_declared_app(people: PeopleDatabase) -> None:
    await people.apply(Add(PHIL))
    await people.reconcile(People((), (BACKUPS,)))
    assert (await people.load()).apps == (replace(BACKUPS, declared=True),)


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (People((PHIL, replace(PHIL, user_key=key("new")))), Conflict),
        (People((PHIL, replace(VERA, user_key=PHIL.user_key))), Conflict),
        (People((Account(name="new", user_key=VERA.user_key),)), Conflict),
        (People((Account(name="new", user_key=UserKey(ALERTS.key)),)), Conflict),
        (People((PHIL,), (), (TopicKey(key=PHIL.user_key, topic="x"),)), Conflict),
        (People((PHIL,), (BACKUPS, BACKUPS)), Conflict),
        (People((), (), (ALERTS, ALERTS)), Conflict),
        (People((), (), (), (TOKEN, TOKEN)), Conflict),
        (People((), (replace(BACKUPS, account="nobody"),)), NotFound),
        (People((), (), (), (replace(TOKEN, account="nobody"),)), NotFound),
        (People(access=(ALL_MAY_READ, replace(ALL_MAY_READ, access=TopicAccess.DENY_ALL))), Conflict),
        (People(access=(replace(ALL_MAY_READ, account="nobody"),)), NotFound),
        (People(groups=(ONCALL, replace(ONCALL, name="other"))), Conflict),
        (People(groups=(replace(ONCALL, key=PHIL.user_key),)), Conflict),
        (People(keys=(ALERTS,), groups=(replace(ONCALL, key=ALERTS.key),)), Conflict),
        (People(groups=(replace(ONCALL, members=(Member(account="nobody"),)),)), NotFound),
        (People(groups=(replace(ONCALL, members=(Member(account="phil"),) * 2),)), Conflict),
    ],
)
async def test_a_contradictory_declaration_changes_nothing(
    people: PeopleDatabase, declared: People, error: type[NtfyishError]
) -> None:
    await fill(people)
    with pytest.raises(error):
        await people.reconcile(declared)
    assert await people.load() == EVERYBODY


async def test_accounts_that_the_declaration_lacks_are_named(people: PeopleDatabase) -> None:
    group = replace(ONCALL, members=(Member(account="max"),))
    entry = replace(ALL_MAY_READ, owner="")
    with pytest.raises(NotFound) as caught:
        await people.reconcile(People((VERA,), (BACKUPS,), access=(entry,), groups=(group,)))
    assert caught.value.reason is Reason.ACCOUNT_UNKNOWN
    assert caught.value.detail == "there is no account of one of these names: max, phil"


async def test_neither_tokens_nor_password_hashes_show_in_the_repr_of_a_snapshot(
    people: PeopleDatabase,
) -> None:
    await fill(people)
    text = repr(await people.load())
    for secret in (PHIL.password_hash, BACKUPS.token, TOKEN.token_hash):
        assert secret not in text


# --- Files of older versions


async def test_a_file_of_the_first_version_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    connect_to_write(path, replace(PEOPLE, steps=PEOPLE.steps[:1]), 1).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute(
            "INSERT INTO accounts VALUES ('phil', ?, 'hash', 'admin', 'e', '[\"pad\"]', 0, 1)", (key("phil"),)
        )
        old.execute("INSERT INTO apps VALUES ('a', 'Backups', 'phil', 'pushover', 5, 1, 0)")
        old.execute("INSERT INTO topic_keys VALUES ('k', 'alerts', 0)")
        old.execute("INSERT INTO access_tokens VALUES ('h', 'phil', 'label', 'cret', 9, 0)")
    phil = Account(
        name="phil",
        user_key=key("phil"),
        password_hash="hash",
        role=Role.ADMIN,
        email="e",
        devices=("pad",),
        stream=False,
        declared=True,
    )
    before = People(
        accounts=(phil,),
        apps=(App(token=AppToken("a"), name="Backups", account="phil", monthly_limit=5),),
        keys=(TopicKey(key="k", topic="alerts"),),
        tokens=(AccessToken(token_hash="h", account="phil", label="label", hint="cret", expires_at=9),),
    )
    async with PeopleDatabase.open(tmp_path) as people:
        assert await people.changed()
        assert await people.load() == before
        await people.apply(Add(PRO), Add(VERA), Change(replace(phil, tier="pro")), Add(PHIL_MAY), Add(ONCALL))
        with pytest.raises(Conflict):
            await people.apply(Add(TopicKey(key=ONCALL.key, topic="x")))
        assert await people.load() == People(
            (replace(phil, tier="pro"), VERA),
            before.apps,
            before.keys,
            before.tokens,
            (PHIL_MAY,),
            (PRO,),
            (ONCALL,),
        )


async def test_tens_of_thousands_of_records_are_loaded_in_a_moment(people: PeopleDatabase) -> None:
    names = [f"u{number:05}" for number in range(10_000)]
    await people.apply(
        *(Add(Account(name=name, user_key=key(name))) for name in names),
        *(
            Add(AclEntry(account=name, pattern=f"t{number}", access=TopicAccess.READ_WRITE))
            for name in names
            for number in range(5)
        ),
    )
    cpu = time.process_time()
    loaded = await people.load()
    assert (len(loaded.accounts), len(loaded.access)) == (10_000, 50_000)
    assert time.process_time() - cpu < 3
    assert await people.load() is loaded
