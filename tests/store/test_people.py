"""What `PeopleStore` promises, over a real file and with other processes at it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ntfyish.core.ports import People
from ntfyish.model.errors import Conflict, NotFound, NtfyishError, Reason, Unavailable
from ntfyish.model.people import (
    KEY_PATTERN,
    AccessToken,
    Account,
    App,
    AppToken,
    Flavour,
    Role,
    TopicKey,
    UserKey,
)
from ntfyish.store.sqlite.people import PeopleDatabase


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
)
VERA = Account(name="vera", user_key=key("vera"))
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
    token_hash=hashlib.sha256(b"tk_secret").hexdigest(), account="phil", label="x", hint="cret", expires_at=5
)


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[PeopleDatabase]:
    async with PeopleDatabase.open(tmp_path) as database:
        yield database


async def fill(people: PeopleDatabase) -> None:
    for account in (PHIL, VERA):
        await people.add_account(account)
    for app in (BACKUPS, CAMERA):
        await people.add_app(app)
    await people.add_key(ALERTS)
    await people.add_token(TOKEN)


EVERYBODY = People((PHIL, VERA), (BACKUPS, CAMERA), (ALERTS,), (TOKEN,))


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


async def test_removing_an_account_takes_its_apps_and_tokens_along(people: PeopleDatabase) -> None:
    await fill(people)
    await people.remove_account("phil")
    assert await people.load() == People((VERA,), (CAMERA,), (ALERTS,), ())


async def test_apps_keys_and_tokens_are_removed_one_by_one(people: PeopleDatabase) -> None:
    await fill(people)
    await people.remove_app(BACKUPS.token)
    await people.remove_key(ALERTS.key)
    await people.remove_token(TOKEN.token_hash)
    assert await people.load() == People((PHIL, VERA), (CAMERA,), (), ())


async def test_an_account_without_a_key_gets_one(people: PeopleDatabase) -> None:
    await people.add_account(replace(PHIL, user_key=UserKey("")))
    await people.add_account(replace(VERA, user_key=UserKey("")))
    keys = {account.user_key for account in (await people.load()).accounts}
    assert len(keys) == 2
    assert all(KEY_PATTERN.fullmatch(one) and one.startswith("u") for one in keys)


@pytest.mark.parametrize(
    ("add", "thing", "error"),
    [
        ("add_account", replace(VERA, name="phil"), Conflict),
        ("add_account", replace(VERA, user_key=PHIL.user_key, name="new"), Conflict),
        ("add_account", replace(VERA, user_key=UserKey(ALERTS.key), name="new"), Conflict),
        ("add_app", replace(CAMERA, token=BACKUPS.token), Conflict),
        ("add_app", replace(CAMERA, token=AppToken("c" * 30), account="nobody"), NotFound),
        ("add_key", replace(ALERTS, topic="other"), Conflict),
        ("add_key", TopicKey(key=PHIL.user_key, topic="other"), Conflict),
        ("add_token", replace(TOKEN, account="vera"), Conflict),
        ("add_token", replace(TOKEN, token_hash="0" * 64, account="nobody"), NotFound),
        ("remove_account", "nobody", NotFound),
        ("remove_app", "nothing", NotFound),
        ("remove_key", "nothing", NotFound),
        ("remove_token", "nothing", NotFound),
        ("remove_account", "PHIL", NotFound),
    ],
)
async def test_what_is_taken_or_missing_is_refused_and_changes_nothing(
    people: PeopleDatabase, add: str, thing: object, error: type[NtfyishError]
) -> None:
    await fill(people)
    with pytest.raises(error):
        await getattr(people, add)(thing)
    assert await people.load() == EVERYBODY


# --- Other processes


async def test_changes_are_noticed_whoever_made_them(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as server, PeopleDatabase.open(tmp_path) as command_line:
        assert await server.changed()
        await server.load()
        assert not await server.changed()
        await command_line.add_account(PHIL)
        assert await server.changed()
        assert await server.changed()
        assert (await server.load()).accounts == (PHIL,)
        assert not await server.changed()
        await server.add_account(VERA)
        assert await server.changed()
        await server.load()
        with pytest.raises(Conflict):
            await server.add_account(VERA)
        assert not await server.changed()


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as one, PeopleDatabase.open(tmp_path) as other:
        await asyncio.gather(
            *(one.add_key(TopicKey(key=f"one{n}", topic="x")) for n in range(20)),
            *(other.add_key(TopicKey(key=f"other{n}", topic="x")) for n in range(20)),
            *(one.load() for _ in range(20)),
        )
        assert len((await one.load()).keys) == 40


async def test_a_foreign_lock_makes_the_store_busy_until_it_is_gone(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path, busy_timeout_s=0.05) as people:
        await people.add_account(PHIL)
        with closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable) as caught:
                await people.add_account(VERA)
            assert caught.value.reason is Reason.STORAGE_BUSY
            assert (await people.load()).accounts == (PHIL,)
        await people.add_account(VERA)
        assert (await people.load()).accounts == (PHIL, VERA)


async def test_values_that_only_a_newer_version_knows_are_reported(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        await people.add_account(PHIL)
        with closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as other:
            other.execute("UPDATE accounts SET role = 'emperor'")
        with pytest.raises(Unavailable) as caught:
            await people.load()
        assert caught.value.reason is Reason.STORAGE_BROKEN


async def test_a_cancelled_write_leaves_the_store_usable(people: PeopleDatabase) -> None:
    task = asyncio.create_task(people.add_account(PHIL))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await people.add_account(VERA)
    assert VERA in (await people.load()).accounts


# --- What the configuration declares


def as_declared(people: People) -> People:
    return People(
        tuple(replace(account, declared=True) for account in people.accounts),
        tuple(replace(app, declared=True) for app in people.apps),
        tuple(replace(one, declared=True) for one in people.keys),
        tuple(replace(token, declared=True) for token in people.tokens),
    )


async def test_what_is_declared_is_there_and_marked(people: PeopleDatabase) -> None:
    for _ in range(2):
        await people.reconcile(EVERYBODY)
        assert await people.load() == as_declared(EVERYBODY)


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
    )
    await people.reconcile(declared)
    assert len((await people.load()).apps) == 4
    await people.reconcile(People())
    assert await people.load() == EVERYBODY


async def test_what_is_declared_takes_over_what_was_added_under_its_name(people: PeopleDatabase) -> None:
    await fill(people)
    declared = People(
        (replace(PHIL, user_key=key("new"), password_hash="$2a$new", role=Role.USER, devices=()),),
        (replace(BACKUPS, name="Renamed", account="vera"),),
        (replace(ALERTS, topic="other"),),
        (replace(TOKEN, label="renamed"),),
    )
    await people.reconcile(declared)
    loaded = await people.load()
    marked = as_declared(declared)
    assert loaded.accounts == (*marked.accounts, VERA)
    assert loaded.apps == (*marked.apps, CAMERA)
    assert (loaded.keys, loaded.tokens) == (marked.keys, marked.tokens)


async def test_an_account_that_declares_no_key_or_password_keeps_its_own(people: PeopleDatabase) -> None:
    await people.add_account(PHIL)
    await people.reconcile(People((replace(PHIL, user_key=UserKey(""), password_hash=""),)))
    assert (await people.load()).accounts == (replace(PHIL, declared=True),)


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
    await people.add_account(PHIL)
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
    ],
)
async def test_a_contradictory_declaration_changes_nothing(
    people: PeopleDatabase, declared: People, error: type[NtfyishError]
) -> None:
    await fill(people)
    with pytest.raises(error):
        await people.reconcile(declared)
    assert await people.load() == EVERYBODY


async def test_neither_tokens_nor_password_hashes_show_in_the_repr_of_a_snapshot(
    people: PeopleDatabase,
) -> None:
    await fill(people)
    text = repr(await people.load())
    for secret in (PHIL.password_hash, BACKUPS.token, TOKEN.token_hash):
        assert secret not in text
