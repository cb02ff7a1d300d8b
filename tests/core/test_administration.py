"""The service that changes people, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from ntfyish.core.administration import HINT_LENGTH, Administration
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import People
from ntfyish.model.acl import EVERYONE, AclEntry, Permission, TopicAccess
from ntfyish.model.errors import NtfyishError, Reason
from ntfyish.model.people import AccessToken, Account, App, AppToken, Role, Tier, TopicKey, UserKey
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.clock import FakeClock

HASH = "$2b$04$8lXlJ2zK0ZOxUD.KrdM7iu/HMnOhJplb6xGhn.wEZBJ45eYHx9VLa"
KEY = "u" + "K" * 29
APP_KEY = "a" + "P" * 29
TOPIC_KEY = "t" + "P" * 29
DECLARED = People(
    accounts=(Account(name="dora", user_key=UserKey("u" + "D" * 29), password_hash=HASH),),
    apps=(App(token=AppToken("a" + "D" * 29), name="app", account="dora"),),
    keys=(TopicKey(key="t" + "D" * 29, topic="t"),),
    tokens=(AccessToken(token_hash="f" * 64, account="dora", hint="tk_declared"),),
    access=(AclEntry(account="dora", pattern="d*", access=TopicAccess.READ_ONLY),),
)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[PeopleDatabase]:
    async with PeopleDatabase.open(tmp_path) as people:
        await people.reconcile(DECLARED)
        yield people


@pytest_asyncio.fixture
async def people(store: PeopleDatabase) -> Administration:
    """With an account (ben)."""
    administration = Administration(store, FakeClock())
    await administration.add_account("ben", password_hash=HASH)
    return administration


async def reason_of(call: object) -> Reason | None:
    """Return why an awaited call is refused."""
    try:
        await call  # type: ignore[misc]
    except NtfyishError as error:
        return error.reason
    return None


async def account_of(store: PeopleDatabase, name: str) -> Account:
    return next(account for account in (await store.load()).accounts if account.name == name)


async def entries_of(store: PeopleDatabase) -> set[tuple[str, str, str, str]]:
    return {
        (entry.account, entry.pattern, entry.access.value, entry.owner)
        for entry in (await store.load()).access
        if not entry.declared
    }


async def test_a_new_account_has_keys_of_its_own(people: Administration, store: PeopleDatabase) -> None:
    made = await people.add_account("anna", password="secret", role=Role.ADMIN, user_key=KEY)
    kept = await account_of(store, "anna")
    assert kept == made
    assert (kept.user_key, kept.role, kept.created_at) == (KEY, Role.ADMIN, 1_700_000_000)
    assert kept.password_hash.startswith("$2b$10$")
    others = await account_of(store, "ben")
    assert others.sync_topic != kept.sync_topic
    assert others.user_key != kept.user_key


async def test_what_an_account_may_not_be(people: Administration) -> None:
    assert await reason_of(people.add_account("ben")) is Reason.ACCOUNT_EXISTS
    for name in ("", "a b", "a/b", "a\n", "*", "everyone", "ä", "a" * 255):
        assert await reason_of(people.add_account(name)) is Reason.NAME_INVALID
    assert await reason_of(people.add_account("a", password="x" * 73)) is Reason.PASSWORD_INVALID
    assert await reason_of(people.add_account("a", password_hash="plain")) is Reason.PASSWORD_INVALID
    assert await reason_of(people.add_account("a", tier="none")) is Reason.TIER_UNKNOWN
    assert await reason_of(people.add_account("a", user_key="short")) is Reason.REQUEST_INVALID
    assert await reason_of(people.add_account("a", devices=("a b",))) is Reason.REQUEST_INVALID


async def test_what_is_declared_is_changed_in_the_configuration_only(people: Administration) -> None:
    calls = (
        people.remove_account("dora"),
        people.change_password("dora", password="x"),
        people.change_role("dora", Role.ADMIN),
        people.change_tier("dora", ""),
        people.rotate_user_key("dora"),
        people.grant_access("dora", "d*", TopicAccess.READ_WRITE),
        people.reset_access("dora", "d*"),
        people.change_token("dora", "tk_declared", label="x"),
        people.remove_token("dora", "tk_declared"),
        people.rotate_app_token("a" + "D" * 29),
        people.remove_app("a" + "D" * 29),
        people.remove_key("t" + "D" * 29),
    )
    for call in calls:
        assert await reason_of(call) is Reason.DECLARED


async def test_an_account_to_which_something_declared_belongs_stays(
    people: Administration, store: PeopleDatabase
) -> None:
    app = App(token=AppToken(APP_KEY), name="app", account="ben")
    await store.reconcile(replace(DECLARED, apps=(*DECLARED.apps, app)))
    assert await reason_of(people.remove_account("ben")) is Reason.DECLARED


async def test_what_clients_keep_for_a_declared_account_can_change(
    people: Administration, store: PeopleDatabase
) -> None:
    await people.set_preferences("dora", '{"language":"de"}')
    await people.ensure_sync_topic("dora")
    kept = await account_of(store, "dora")
    assert (kept.preferences, kept.sync_topic[:3]) == ('{"language":"de"}', "st_")
    await store.reconcile(DECLARED)
    assert await account_of(store, "dora") == kept
    assert await reason_of(people.set_preferences("dora", "x" * 300_000)) is Reason.JSON_TOO_LARGE


async def test_nothing_can_be_done_to_nobody(people: Administration) -> None:
    calls = (
        people.remove_account("nobody"),
        people.change_password("nobody", password="x"),
        people.grant_access("nobody", "t", TopicAccess.READ_ONLY),
        people.reset_access("nobody"),
        people.reserve("nobody", "t", TopicAccess.READ_ONLY),
        people.add_token("nobody"),
        people.add_app("app", "nobody"),
    )
    for call in calls:
        assert await reason_of(call) is Reason.ACCOUNT_UNKNOWN


async def test_who_becomes_an_administrator_needs_no_entries(
    people: Administration, store: PeopleDatabase
) -> None:
    await people.add_tier(Tier(code="pro", reservation_limit=1))
    await people.change_tier("ben", "pro")
    await people.grant_access("ben", "a*", TopicAccess.READ_ONLY)
    await people.grant_access(EVERYONE, "b", TopicAccess.READ_ONLY)
    await people.reserve("ben", "mine", TopicAccess.DENY_ALL)
    await people.change_role("ben", Role.ADMIN)
    assert await entries_of(store) == {(EVERYONE, "b", "read-only", "")}


async def test_a_tier_that_is_too_small_is_refused(people: Administration) -> None:
    await people.add_tier(Tier(code="pro", reservation_limit=1))
    await people.add_tier(Tier(code="poor"))
    await people.change_tier("ben", "pro")
    await people.reserve("ben", "mine", TopicAccess.DENY_ALL)
    for code in ("poor", ""):
        assert await reason_of(people.change_tier("ben", code)) is Reason.RESERVATION_LIMIT
    await people.release("ben", "mine")
    await people.change_tier("ben", "poor")


async def test_resetting_access_takes_reservations_as_a_whole(
    people: Administration, store: PeopleDatabase
) -> None:
    await people.change_role("ben", Role.ADMIN)
    for topic in ("one", "two"):
        await people.reserve("ben", topic, TopicAccess.DENY_ALL)
    await people.grant_access(EVERYONE, "open", TopicAccess.READ_ONLY)
    await people.reset_access(EVERYONE, "one")
    assert await entries_of(store) == {
        ("ben", "two", "read-write", "ben"),
        (EVERYONE, "two", "deny-all", "ben"),
        (EVERYONE, "open", "read-only", ""),
    }
    await people.reset_access("ben", "unknown")
    await people.reset_access("ben")
    assert await entries_of(store) == {(EVERYONE, "open", "read-only", "")}
    await people.reset_access()
    assert [entry.pattern for entry in (await store.load()).access] == ["d*"]


async def test_an_entry_that_an_administrator_changes_stays_a_reservation(
    people: Administration, store: PeopleDatabase
) -> None:
    await people.change_role("ben", Role.ADMIN)
    await people.reserve("ben", "mine", TopicAccess.DENY_ALL)
    await people.grant_access(EVERYONE, "mine", TopicAccess.READ_ONLY)
    assert [(entry.pattern, entry.access.value) for entry in await people.reservations("ben")] == [
        ("mine", "read-only")
    ]


@pytest.mark.parametrize("topic", ["d1", "u" + "D" * 29, "t" + "D" * 29, "st_private"])
async def test_what_is_somebody_elses_cannot_be_reserved(people: Administration, topic: str) -> None:
    await people.change_role("ben", Role.ADMIN)
    assert await reason_of(people.reserve("ben", topic, TopicAccess.READ_WRITE)) is Reason.ACCESS_EXISTS


async def test_concurrent_reservations_keep_to_the_limit(people: Administration) -> None:
    await people.add_tier(Tier(code="pro", reservation_limit=2))
    await people.change_tier("ben", "pro")
    calls = [reason_of(people.reserve("ben", f"t{n}", TopicAccess.READ_ONLY)) for n in range(5)]
    reasons = await asyncio.gather(*calls)
    assert reasons.count(None) == 2
    assert reasons.count(Reason.RESERVATION_LIMIT) == 3


async def test_a_token_is_kept_as_a_hash_and_named_by_its_hint(
    people: Administration, store: PeopleDatabase
) -> None:
    token, secret = await people.add_token(
        "ben", label="cron", permissions=frozenset({Permission.WRITE}), patterns=("alerts*",)
    )
    kept = next(token for token in (await store.load()).tokens if token.account == "ben")
    assert kept == token
    assert (kept.token_hash, kept.hint) == (hash_access_token(secret), secret[:HINT_LENGTH])
    assert secret not in repr(kept)
    assert (await people.change_token("ben", kept.hint, label="new")).label == "new"
    assert await reason_of(people.remove_token("dora", kept.hint)) is Reason.NOT_FOUND
    assert await reason_of(people.remove_token("ben", "")) is Reason.NOT_FOUND
    await people.remove_token("ben", secret)
    assert await reason_of(people.remove_token("ben", secret)) is Reason.NOT_FOUND


async def test_a_token_must_be_for_something(people: Administration) -> None:
    assert await reason_of(people.add_token("ben", permissions=frozenset())) is Reason.PERMISSION_INVALID
    assert await reason_of(people.add_token("ben", patterns=("a b",))) is Reason.TOPIC_INVALID


async def test_tokens_that_have_expired_go_when_another_is_made(
    people: Administration, store: PeopleDatabase
) -> None:
    await people.add_token("ben", expires_at=1)
    await people.add_token("ben", label="new")
    labels = [token.label for token in (await store.load()).tokens if token.account == "ben"]
    assert labels == ["new"]


async def test_a_rotated_key_takes_the_place_of_the_old_one(
    people: Administration, store: PeopleDatabase
) -> None:
    before = await account_of(store, "ben")
    after = await people.rotate_user_key("ben")
    assert await account_of(store, "ben") == after
    assert after == replace(before, user_key=after.user_key)
    assert after.user_key != before.user_key


async def test_an_app_keeps_all_but_its_token(people: Administration, store: PeopleDatabase) -> None:
    app = await people.add_app("Backups", "ben", monthly_limit=5)
    rotated = await people.rotate_app_token(app.token)
    assert rotated == replace(app, token=rotated.token)
    tokens = [one.token for one in (await store.load()).apps if not one.declared]
    assert tokens == [rotated.token]
    assert await reason_of(people.remove_app(app.token)) is Reason.NOT_FOUND
    await people.remove_app(rotated.token)
    assert await reason_of(people.add_app("", "ben")) is Reason.REQUEST_INVALID
    assert await reason_of(people.add_app("x", "ben", token="short")) is Reason.REQUEST_INVALID


async def test_keys_address_topics(people: Administration, store: PeopleDatabase) -> None:
    made = await people.add_key("alerts", key=TOPIC_KEY)
    assert made in (await store.load()).keys
    assert await reason_of(people.add_key("alerts", key=TOPIC_KEY)) is Reason.CONFLICT
    assert await reason_of(people.add_key("a b")) is Reason.TOPIC_INVALID
    await people.remove_key(TOPIC_KEY)
    assert await reason_of(people.remove_key(TOPIC_KEY)) is Reason.NOT_FOUND


async def test_tiers_are_sets_of_limits(people: Administration, store: PeopleDatabase) -> None:
    tier = Tier(code="pro", name="Pro", message_limit=5)
    await people.add_tier(tier)
    assert await reason_of(people.add_tier(tier)) is Reason.CONFLICT
    await people.change_tier_limits(replace(tier, message_limit=6))
    assert (await store.load()).tiers == (replace(tier, message_limit=6),)
    assert await reason_of(people.change_tier_limits(Tier(code="x"))) is Reason.TIER_UNKNOWN
    assert await reason_of(people.add_tier(Tier(code="a b"))) is Reason.REQUEST_INVALID
    assert await reason_of(people.add_tier(Tier(code="x", call_limit=-1))) is Reason.REQUEST_INVALID
    await people.change_tier("ben", "pro")
    await people.remove_tier("pro")
    assert (await account_of(store, "ben")).tier == ""
    assert await reason_of(people.remove_tier("pro")) is Reason.TIER_UNKNOWN
