"""ntfy's account API through the front door."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from ntfyish.model.acl import TopicAccess
from tests.conftest import USER_KEY, Server, StartServer
from tests.ntfy.calling import (
    ADMIN,
    PRO,
    account,
    administration,
    basic,
    bearer,
    call,
    code,
    listen_as,
    new_token,
    succeed,
)
from tests.ntfy.talking import NOW, PHIL

NEW = {"username": "anna", "password": "new secret"}
ANNA = basic("anna", "new secret")
PHILS = basic("phil")
ROOT = basic("root")
ADDRESS = "https://push.example.com"


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    """A server with declared accounts (phil, root), open to sign-up and reservations."""
    return await start_server(
        accounts=[PHIL, ADMIN], enable_login=True, enable_signup=True, enable_reservations=True
    )


@pytest_asyncio.fixture
async def anna(server: Server) -> Server:
    """The same, with an account that was made by the API."""
    await succeed(server, "POST /v1/account", NEW)
    return server


@pytest_asyncio.fixture
async def pro(anna: Server) -> Server:
    """The same, and that account has a tier."""
    async with administration(anna) as people:
        await people.add_tier(PRO)
        await people.change_tier("anna", "pro")
    return anna


# Sign-up


async def test_who_signs_up_can_log_in_at_once(server: Server) -> None:
    await succeed(server, "POST /v1/account", NEW)
    shown = await account(server, ANNA)
    assert (shown["username"], shown["role"]) == ("anna", "user")
    assert shown["sync_topic"].startswith("st_")


async def test_sign_up_is_off_unless_it_is_enabled(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL, ADMIN])
    assert await code(server, "POST /v1/account", b"not json") == 40022
    assert await code(server, "POST /v1/account", NEW, PHILS) == 40022
    await succeed(server, "POST /v1/account", NEW, ROOT)


async def test_only_administrators_make_accounts_when_they_are_logged_in(server: Server) -> None:
    assert await code(server, "POST /v1/account", b"not json", PHILS) == 40101
    await succeed(server, "POST /v1/account", NEW, ROOT)
    assert await code(server, "POST /v1/account", NEW, ROOT) == 40901


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 40024),
        (b"[]", 40024),
        ({"username": 1, "password": "x"}, 40024),
        ({"username": "phil", "password": ""}, 40901),
        ({"username": "phil", "password": "x"}, 40901),
        ({"username": "an na", "password": "x"}, 40046),
        ({"username": "", "password": "x"}, 40046),
        ({"username": "*", "password": "x"}, 40046),
        ({"username": "everyone", "password": "x"}, 40046),
        ({"username": "a" * 255, "password": "x"}, 40046),
        ({"username": "anna"}, 40059),
        ({"username": "anna", "password": "x" * 73}, 40059),
        ({"username": "anna", "password": "a\0b"}, 40059),
        (b" " * 32768 + b"{}", 41303),
    ],
)
async def test_a_bad_sign_up_is_refused(server: Server, body: object, expected: int) -> None:
    assert await code(server, "POST /v1/account", body) == expected


async def test_a_password_of_72_bytes_is_accepted(server: Server) -> None:
    await succeed(server, "POST /v1/account", {"USERNAME": "anna", "password": "ü" * 36, "more": 1})
    assert (await account(server, basic("anna", "ü" * 36)))["username"] == "anna"


async def test_three_accounts_can_be_made_a_day_and_failures_do_not_count(server: Server) -> None:
    assert await code(server, "POST /v1/account", {"username": "?", "password": "x"}) == 40046
    for name in ("a", "b", "c"):
        await succeed(server, "POST /v1/account", {"username": name, "password": "x"})
    answer = await call(server, "POST /v1/account", b"not json")
    assert (answer.status, answer.json()["code"]) == (429, 42906)
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    await succeed(server, "POST /v1/account", NEW, ROOT)


async def test_concurrent_sign_ups_with_one_name_make_one_account(server: Server) -> None:
    answers = await asyncio.gather(*(call(server, "POST /v1/account", NEW) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409]


# Reading the account


async def test_nobody_in_particular_has_an_account_too(server: Server) -> None:
    assert await account(server) == {
        "username": "*",
        "role": "anonymous",
        "limits": {
            "basis": "ip",
            "messages": 17280,
            "messages_expiry_duration": 43200,
            "emails": 0,
            "calls": 0,
            "reservations": 0,
            "attachment_total_size": 0,
            "attachment_file_size": 0,
            "attachment_expiry_duration": 0,
            "attachment_bandwidth": 0,
        },
        "stats": {
            "messages": 0,
            "messages_remaining": 17280,
            "emails": 0,
            "emails_remaining": 0,
            "calls": 0,
            "calls_remaining": 0,
            "reservations": 0,
            "reservations_remaining": 0,
            "attachment_total_size": 0,
            "attachment_total_size_remaining": 0,
        },
    }


async def test_the_account_shows_its_tier_and_what_is_left(pro: Server) -> None:
    await succeed(pro, "POST /v1/account/reservation", {"topic": "mine", "everyone": "read-only"}, ANNA)
    shown = await account(pro, ANNA)
    assert shown["tier"] == {"code": "pro", "name": "Pro"}
    assert shown["limits"]["basis"] == "tier"
    assert shown["limits"]["messages"] == 1000
    assert shown["limits"]["messages_expiry_duration"] == 86_400
    assert (shown["stats"]["reservations"], shown["stats"]["reservations_remaining"]) == (1, 1)
    assert shown["reservations"] == [{"topic": "mine", "everyone": "read-only"}]


async def test_the_account_counts_its_messages(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], visitor_request_limit_exempt_hosts=[])
    await server.publish("t", Authorization=PHILS.partition(": ")[2])
    stats = (await account(server, PHILS))["stats"]
    assert (stats["messages"], stats["messages_remaining"]) == (1, 17279)


async def test_a_declared_account_has_a_sync_topic_too_that_stays(server: Server) -> None:
    shown = await account(server, PHILS)
    assert shown["provisioned"] is True
    assert shown["sync_topic"] == (await account(server, PHILS))["sync_topic"]


@pytest.mark.parametrize(
    "line",
    [
        "DELETE /v1/account",
        "POST /v1/account/password",
        "POST /v1/account/token",
        "PATCH /v1/account/token",
        "DELETE /v1/account/token",
        "PATCH /v1/account/settings",
        "POST /v1/account/subscription",
        "PATCH /v1/account/subscription",
        "DELETE /v1/account/subscription",
        "POST /v1/account/reservation",
        "DELETE /v1/account/reservation/t",
    ],
)
async def test_nobody_changes_an_account_without_a_full_login(server: Server, line: str) -> None:
    assert await code(server, line, b"not json") == 40101
    assert await code(server, line, b"not json", basic("phil", "wrong")) == 40101
    assert await code(server, line, b"not json", basic("nobody", "wrong")) == 40101
    token = await new_token(server, PHILS, topics=["alerts*"])
    assert await code(server, line, b"not json", bearer(token)) == 40301


@pytest.mark.parametrize(
    "line",
    [
        "PUT /v1/account",
        "PUT /v1/account/phone",
        "PUT /v1/account/phone/verify",
        "PUT /v1/account/email",
        "POST /v1/account/billing/subscription",
        "POST /v1/account/password/reset",
        "POST /v1/webpush",
        "GET /v1/account/reservation",
        "DELETE /v1/account/reservation/a,b",
        "DELETE /v1/account/reservation/",
    ],
)
async def test_what_is_not_offered_is_unknown(server: Server, line: str) -> None:
    assert await code(server, line, b"{}", PHILS) == 40401


# Password and deletion


async def test_the_password_is_changed_by_who_knows_it(anna: Server) -> None:
    body = {"password": "new secret", "new_password": "newer"}
    stream = await listen_as(anna, "t", ANNA)
    await succeed(anna, "POST /v1/account/password", body, ANNA)
    assert (await account(anna, basic("anna", "newer")))["username"] == "anna"
    assert await code(anna, "GET /v1/account", None, ANNA) == 40101
    await stream.at_end()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"password": "wrong", "new_password": "x"}, 40026),
        ({"password": "", "new_password": "x"}, 40000),
        ({"password": "new secret"}, 40000),
        ({"password": "new secret", "new_password": "x" * 73}, 40059),
        ({"password": 5, "new_password": "x"}, 40024),
        (b"{", 40024),
    ],
)
async def test_a_bad_change_of_password_is_refused(anna: Server, body: object, expected: int) -> None:
    assert await code(anna, "POST /v1/account/password", body, ANNA) == expected
    assert (await account(anna, ANNA))["username"] == "anna"


async def test_who_stole_a_token_cannot_guess_the_password_with_it(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL], visitor_auth_failure_limit_burst=3)
    login = bearer(await new_token(server, PHILS))
    codes = [
        await code(server, "DELETE /v1/account", {"password": f"guess {number}"}, login)
        for number in range(8)
    ]
    assert codes[0] == 40026
    assert codes[-1] == 42909


async def test_a_declared_account_is_changed_in_the_configuration_only(server: Server) -> None:
    body = {"password": "secret", "new_password": "other"}
    assert await code(server, "POST /v1/account/password", body, PHILS) == 40905
    assert await code(server, "DELETE /v1/account", {"password": "secret"}, PHILS) == 40905


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"password": ""}, {}])
async def test_an_account_is_not_deleted_without_its_password(anna: Server, body: object) -> None:
    assert await code(anna, "DELETE /v1/account", body, ANNA) == 40026
    assert (await account(anna, ANNA))["username"] == "anna"


async def test_a_deleted_account_is_gone_with_all_it_had(pro: Server) -> None:
    await succeed(pro, "POST /v1/account/reservation", {"topic": "mine", "everyone": "deny-all"}, ANNA)
    token = await new_token(pro, ANNA)
    await pro.publish("mine", Authorization=f"Bearer {token}")
    await pro.publish("other")
    streams = [await listen_as(pro, "mine", login) for login in (ANNA, bearer(token))]
    await succeed(pro, "DELETE /v1/account", {"password": "new secret"}, bearer(token))
    for stream in streams:
        await stream.at_end()
    assert await code(pro, "GET /v1/account", None, ANNA) == 40101
    assert await code(pro, "GET /v1/account", None, bearer(token)) == 40101
    assert await pro.poll("mine") == []
    assert len(await pro.poll("other")) == 1


# Tokens


async def test_a_token_is_shown_once_and_then_by_its_hint(anna: Server) -> None:
    answer = await call(anna, "POST /v1/account/token", {"label": "phone"}, ANNA)
    made = answer.json()
    assert made == {
        "token": made["token"],
        "label": "phone",
        "last_access": NOW,
        "last_origin": "127.0.0.1",
        "expires": NOW + 72 * 3600,
    }
    assert len(made["token"]) == 32
    listing = await call(anna, "GET /v1/account", None, bearer(made["token"]))
    assert [token["token"] for token in listing.json()["tokens"]] == [made["token"][:11]]
    assert made["token"].encode() not in listing.body
    assert b"$2" not in listing.body


@pytest.mark.parametrize(
    ("body", "expires"),
    [(None, NOW + 259_200), (b"  \n", NOW + 259_200), ({}, NOW + 259_200), ({"expires": NOW + 5}, NOW + 5)],
)
async def test_a_token_lives_for_72_hours_unless_it_says_otherwise(
    server: Server, body: object, expires: int
) -> None:
    answer = await call(server, "POST /v1/account/token", body, PHILS)
    assert answer.json()["expires"] == expires


async def test_a_token_may_live_for_ever(server: Server) -> None:
    answer = await call(server, "POST /v1/account/token", {"expires": 0, "label": None}, PHILS)
    assert set(answer.json()) == {"token", "last_access", "last_origin"}


async def test_a_token_that_has_expired_is_not_shown_and_not_valid(server: Server) -> None:
    token = await new_token(server, PHILS, expires=NOW + 5)
    await server.clock.advance(6)
    assert await code(server, "GET /v1/account", None, bearer(token)) == 40101
    assert "tokens" not in await account(server, PHILS)


async def test_a_limited_token_says_what_it_is_for(server: Server) -> None:
    fields = {"permissions": "publish", "topics": ["alerts*", "t"]}
    answer = await call(server, "POST /v1/account/token", fields, PHILS)
    assert {name: answer.json()[name] for name in fields} == fields
    login = bearer(answer.json()["token"])
    assert (await call(server, "POST /t", b"hi", login)).status == 200
    assert await code(server, "POST /other", b"hi", login) == 40301
    assert await code(server, "GET /t/json?poll=1", None, login) == 40301


async def test_a_limited_token_shows_little_of_its_account(server: Server) -> None:
    token = await new_token(server, PHILS, permissions="subscribe")
    shown = await account(server, bearer(token))
    assert set(shown) == {"username", "role", "limits", "stats"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"label": 1}, 40024),
        ({"expires": "never"}, 40024),
        ({"expires": 1.5}, 40024),
        ({"expires": 2**63}, 40024),
        ({"topics": "t"}, 40024),
        ({"topics": [1]}, 40024),
        ({"topics": ["a b"]}, 40009),
        ({"permissions": "admin"}, 40025),
        (b"null rest", None),
    ],
)
async def test_a_bad_token_is_refused(server: Server, body: object, expected: int | None) -> None:
    answer = await call(server, "POST /v1/account/token", body, PHILS)
    assert answer.json().get("code") == expected


async def test_the_own_token_is_extended(server: Server) -> None:
    token = await new_token(server, PHILS, expires=NOW + 100, label="phone")
    answer = await call(server, "PATCH /v1/account/token", None, bearer(token))
    assert (answer.json()["token"], answer.json()["expires"]) == (token, NOW + 259_200)
    assert answer.json()["label"] == "phone"


@pytest.mark.parametrize("length", [11, 32])
async def test_a_token_is_changed_by_its_hint_or_as_a_whole(server: Server, length: int) -> None:
    token = await new_token(server, PHILS, expires=NOW + 100)
    body = {"token": token[:length], "label": "new"}
    answer = await call(server, "PATCH /v1/account/token", body, PHILS)
    assert (answer.json()["label"], answer.json()["expires"]) == ("new", NOW + 100)
    answer = await call(server, "PATCH /v1/account/token", {"token": token[:length], "expires": 0}, PHILS)
    assert "expires" not in answer.json()
    assert answer.json()["label"] == "new"


async def test_tokens_of_others_do_not_exist(anna: Server) -> None:
    token = await new_token(anna, PHILS)
    for name in (token, token[:11], "tk_unknown"):
        assert await code(anna, "PATCH /v1/account/token", {"token": name}, ANNA) == 40401
        assert await code(anna, "DELETE /v1/account/token", None, ANNA, f"X-Token: {name}") == 40401
    assert (await account(anna, bearer(token)))["username"] == "phil"


async def test_without_a_token_there_is_none_to_change(server: Server) -> None:
    assert await code(server, "PATCH /v1/account/token", None, PHILS) == 40023
    assert await code(server, "DELETE /v1/account/token", None, PHILS) == 40023


@pytest.mark.parametrize("length", [11, 32])
async def test_a_removed_token_ends_at_once_and_so_do_its_streams(server: Server, length: int) -> None:
    token = await new_token(server, PHILS)
    stream = await listen_as(server, "t", bearer(token))
    await succeed(server, "DELETE /v1/account/token", None, PHILS, f"X-Token: {token[:length]}")
    assert await code(server, "GET /v1/account", None, bearer(token)) == 40101
    await stream.at_end()


async def test_the_own_token_is_removed_by_default(server: Server) -> None:
    token = await new_token(server, PHILS)
    await succeed(server, "DELETE /v1/account/token", None, bearer(token))
    assert await code(server, "GET /v1/account", None, bearer(token)) == 40101


async def test_an_account_has_at_most_sixty_tokens(server: Server) -> None:
    first = await new_token(server, PHILS)
    for _ in range(60):
        await server.clock.advance(1)
        last = await new_token(server, PHILS, expires=0)
    assert len((await account(server, PHILS))["tokens"]) == 60
    assert await code(server, "GET /v1/account", None, bearer(first)) == 40101
    assert (await account(server, bearer(last)))["username"] == "phil"


# Settings and subscriptions


async def test_settings_are_merged(server: Server) -> None:
    line = "PATCH /v1/account/settings"
    await succeed(server, line, {"language": "de", "notification": {"sound": "juntos"}}, PHILS)
    await succeed(server, line, {"notification": {"min_priority": 4, "delete_after": 0}}, PHILS)
    shown = await account(server, PHILS)
    assert shown["language"] == "de"
    assert shown["notification"] == {"sound": "juntos", "min_priority": 4, "delete_after": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        {"language": 1},
        {"notification": []},
        {"notification": {"min_priority": "4"}},
        {"notification": {"delete_after": True}},
    ],
)
async def test_bad_settings_are_refused(server: Server, body: object) -> None:
    assert await code(server, "PATCH /v1/account/settings", body, PHILS) == 40024


async def test_subscriptions_are_kept(server: Server) -> None:
    line = "/v1/account/subscription"
    body = {"base_url": ADDRESS, "topic": "t"}
    answer = await call(server, f"POST {line}", body, PHILS)
    assert answer.json() == {**body, "display_name": None}
    assert await code(server, f"POST {line}", body, PHILS) == 40903
    await call(server, f"POST {line}", {**body, "topic": "u"}, PHILS)
    answer = await call(server, f"PATCH {line}", {**body, "display_name": "Tea"}, PHILS)
    assert answer.json() == {**body, "display_name": "Tea"}
    assert await code(server, f"PATCH {line}", {**body, "topic": "x"}, PHILS) == 40401
    assert [one["display_name"] for one in (await account(server, PHILS))["subscriptions"]] == ["Tea", None]
    await succeed(server, f"DELETE {line}", None, PHILS, f"X-BaseURL: {ADDRESS}", "X-Topic: t")
    await succeed(server, f"DELETE {line}", None, PHILS, f"X-BaseURL: {ADDRESS}", "X-Topic: unknown")
    assert [one["topic"] for one in (await account(server, PHILS))["subscriptions"]] == ["u"]


async def test_concurrent_changes_are_all_kept(server: Server) -> None:
    bodies = [{"base_url": ADDRESS, "topic": f"t{number}"} for number in range(10)]
    await asyncio.gather(*(call(server, "POST /v1/account/subscription", body, PHILS) for body in bodies))
    assert len((await account(server, PHILS))["subscriptions"]) == 10


async def test_what_clients_keep_is_bounded(server: Server) -> None:
    body = {"base_url": ADDRESS, "display_name": "x" * 32_000}
    codes = []
    for number in range(9):
        answer = await call(server, "POST /v1/account/subscription", {**body, "topic": f"t{number}"}, PHILS)
        codes.append(answer.json().get("code"))
    assert codes == [None] * 8 + [41303]


async def test_the_accounts_clients_hear_of_every_change(server: Server) -> None:
    topic = (await account(server, PHILS))["sync_topic"]
    stream = await listen_as(server, topic, PHILS)
    await succeed(server, "PATCH /v1/account/settings", {"language": "de"}, PHILS)
    heard = await stream.json_line()
    assert (heard["topic"], json.loads(heard["message"])) == (topic, {"event": "sync"})
    await new_token(server, PHILS)
    assert (await stream.json_line())["message"] == '{"event":"sync"}'
    polled = await call(server, f"GET /{topic}/json?poll=1", None, PHILS)
    assert polled.body == b""


async def test_a_sync_topic_is_its_accounts_alone(anna: Server) -> None:
    topic = (await account(anna, PHILS))["sync_topic"]
    for login in ((), (ANNA,), (ROOT,)):
        assert await code(anna, f"GET /{topic}/json?poll=1", None, *login) == 40301
        assert await code(anna, f"POST /{topic}", b"x", *login) == 40301


# Reservations


async def test_a_reserved_topic_is_its_owners(pro: Server) -> None:
    stranger = await listen_as(pro, "mine")
    owner = await listen_as(pro, "mine", ANNA)
    await succeed(pro, "POST /v1/account/reservation", {"topic": "mine", "everyone": "deny-all"}, ANNA)
    await stranger.at_end()
    assert await code(pro, "POST /mine", b"x") == 40301
    assert await code(pro, "POST /mine", b"x", PHILS) == 40301
    assert (await call(pro, "POST /mine", b"x", ANNA)).status == 200
    assert (await owner.json_line())["message"] == "x"


async def test_a_reservation_can_be_changed_and_given_up(pro: Server) -> None:
    line = "POST /v1/account/reservation"
    await succeed(pro, line, {"topic": "mine", "everyone": "deny-all"}, ANNA)
    await succeed(pro, line, {"topic": "mine", "everyone": "ro"}, ANNA)
    assert (await account(pro, ANNA))["reservations"] == [{"topic": "mine", "everyone": "read-only"}]
    assert await code(pro, "DELETE /v1/account/reservation/mine", None, PHILS) == 40101
    assert await code(pro, "DELETE /v1/account/reservation/other", None, ANNA) == 40101
    await succeed(pro, "DELETE /v1/account/reservation/mine", None, ANNA)
    assert (await call(pro, "POST /mine", b"x")).status == 200
    assert "reservations" not in await account(pro, ANNA)


@pytest.mark.parametrize(("headers", "left"), [((), 1), (("X-Delete-Messages: true",), 0)])
async def test_messages_go_with_a_reservation_if_that_is_wished(
    pro: Server, headers: tuple[str, ...], left: int
) -> None:
    await succeed(pro, "POST /v1/account/reservation", {"topic": "mine", "everyone": "deny-all"}, ANNA)
    await pro.publish("mine", Authorization=ANNA.partition(": ")[2])
    await pro.publish("mine", Authorization=ANNA.partition(": ")[2], Delay="1h")
    await succeed(pro, "DELETE /v1/account/reservation/mine", None, ANNA, *headers)
    assert len(await pro.poll("mine")) == left
    assert len(await pro.poll("mine", "scheduled=1")) == 2 * left


async def test_a_tier_allows_so_many_reservations_and_administrators_have_any_number(pro: Server) -> None:
    line = "POST /v1/account/reservation"
    for topic in ("a", "b", "a"):
        await succeed(pro, line, {"topic": topic, "everyone": "rw"}, ANNA)
    assert await code(pro, line, {"topic": "c", "everyone": "rw"}, ANNA) == 42907
    assert await code(pro, line, {"topic": "c", "everyone": "rw"}, PHILS) == 40101
    for topic in ("c", "d", "e"):
        await succeed(pro, line, {"topic": topic, "everyone": "rw"}, ROOT)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"topic": "a b", "everyone": "nonsense"}, 40009),
        ({"topic": "a*", "everyone": "rw"}, 40009),
        ({"topic": "mine", "everyone": "nonsense"}, 40025),
        ({"topic": "mine"}, 40025),
        ({"topic": "docs", "everyone": "rw"}, 40010),
        ({"topic": "taken-1", "everyone": "rw"}, 40902),
        ({"topic": USER_KEY, "everyone": "rw"}, 40902),
        ({"topic": "st_something", "everyone": "rw"}, 40902),
        ({"topic": 1}, 40024),
    ],
)
async def test_what_cannot_be_reserved(pro: Server, body: object, expected: int) -> None:
    async with administration(pro) as people:
        await people.grant_access("phil", "taken*", TopicAccess.READ_WRITE)
    assert await code(pro, "POST /v1/account/reservation", body, ANNA) == expected


async def test_concurrent_reservations_of_one_topic_have_one_winner(pro: Server) -> None:
    body = {"topic": "mine", "everyone": "rw"}
    calls = [call(pro, "POST /v1/account/reservation", body, login) for login in (ANNA, ROOT)]
    assert sorted(answer.status for answer in await asyncio.gather(*calls)) == [200, 409]


async def test_reservations_are_unknown_where_they_are_off(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL])
    assert await code(server, "POST /v1/account/reservation", {}, PHILS) == 40401
    assert await code(server, "DELETE /v1/account/reservation/t", None, PHILS) == 40401
