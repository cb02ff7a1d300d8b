"""Every error that Pushover's clients know, by its number (E1 to E37), over real sockets."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from ntfyish.core.teams import add_team_token
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer

OTHER_TOKEN = "aOtherOtherOtherOtherOtherOthe"
SMALL_TOKEN = "aSmallSmallSmallSmallSmall0000"
VERA = "uVeraVeraVeraVeraVeraVeraVera0"
MUTE = "uMuteMuteMuteMuteMuteMuteMute0"
NOBODY = "uNobodyNobodyNobodyNobodyNobod"
RECEIPT = "rNobodyNobodyNobodyNobodyNobod"
NO_GROUP = "gNobodyNobodyNobodyNobodyNobod"
TOTP = "JBSWY3DPEHPK3PXP"
SETTINGS: dict[str, object] = {
    "accounts": [
        {"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["pad"]},
        {"name": "vera", "user-key": VERA, "password": "secret", "totp-secret": TOTP},
        {"name": "mute", "user-key": MUTE, "password": "secret", "stream": False},
    ],
    "apps": [
        {"name": "Backups", "token": APP_TOKEN, "account": "phil"},
        {"name": "Other", "token": OTHER_TOKEN, "account": "vera"},
        {"name": "Small", "token": SMALL_TOKEN, "account": "phil", "monthly-limit": 1},
    ],
    "subscriptions": [{"code": "Blog-abc123", "app": "Backups"}],
    "base_url": "https://push.example.com",
    "pushover_attachment_limit": "1000",
}

SEND = "POST messages"
PEOPLE = "user identifier is not a valid user, group, or subscribed user key"
EXPIRE_MISSING = "must be supplied with priority=2"


def fault(name: str, phrase: str, sentence: str) -> dict[str, Any]:
    return {name: phrase, "errors": [sentence], "status": 0}


def invalid(name: str) -> dict[str, Any]:
    return fault(name, "is invalid", f"{name} is invalid")


def long(name: str, limit: int) -> dict[str, Any]:
    phrase = f"is too long (maximum is {limit} characters)"
    return fault(name, phrase, f"{name} {phrase}")


TOKEN_INVALID = fault("token", "invalid", "application token is invalid")
NO_MEMBER = fault("user", "invalid", "user is not a member of this group")
GROUP_UNKNOWN = fault("group", "not found", "group not found or you are not authorized to edit it")
RECEIPT_UNKNOWN = fault("receipt", "not found", "receipt not found; may be invalid or expired")


@dataclass(frozen=True)
class Row:
    """A request and its answer. `{group}`, `{team}`, `{secret}` and `{receipt}` are put in when it is asked.

    Attributes:
        line: method and path below ``/1/``, without ``.json``.
        fields: what differs from a right token and user, and a message; None leaves one out.
        body: the answer without `request`, in order.
    """

    number: int
    line: str
    fields: Mapping[str, str | None]
    body: dict[str, Any]
    status: int = 400
    file: bytes = field(default=b"", repr=False)
    raw: bytes = b""


EMERGENCY = {"priority": "2", "retry": "30", "expire": "60"}
ROWS = [
    *(
        Row(1, line, {"token": token}, TOKEN_INVALID)
        for line in (
            SEND,
            "POST users/validate",
            "GET sounds",
            "POST sounds/upload",
            "GET apps/limits",
            "GET receipts/{receipt}",
            "POST receipts/{receipt}/cancel",
            "POST receipts/cancel_by_tag/a",
            "GET groups",
            "POST groups",
            "POST groups/{group}/add_user",
            "POST glances",
            "POST subscriptions/migrate",
            "GET licenses",
            "POST licenses/assign",
        )
        for token in (NOBODY, None)
    ),
    Row(2, SEND, {"user": NOBODY}, fault("user", "invalid", PEOPLE)),
    Row(3, "POST users/validate", {"user": NOBODY}, fault("user", "invalid", "user key is invalid")),
    Row(
        4,
        "POST users/validate",
        {"device": "none"},
        fault("device", "invalid for this user", "device name is not valid for this user"),
    ),
    Row(5, SEND, {"message": " "}, fault("message", "cannot be blank", "message cannot be blank")),
    Row(
        6,
        SEND,
        {"priority": "2", "retry": "30"},
        fault("expire", EXPIRE_MISSING, f"expire {EXPIRE_MISSING}"),
    ),
    Row(
        7, SEND, {"priority": "2", "expire": "60"}, fault("retry", EXPIRE_MISSING, f"retry {EXPIRE_MISSING}")
    ),
    Row(
        8,
        SEND,
        {"priority": "2"},
        {
            "expire": EXPIRE_MISSING,
            "retry": EXPIRE_MISSING,
            "errors": [f"expire {EXPIRE_MISSING}", f"retry {EXPIRE_MISSING}"],
            "status": 0,
        },
    ),
    Row(
        9,
        SEND,
        EMERGENCY | {"retry": "29"},
        fault("retry", "is too small, must be at least 30 seconds", "retry is invalid"),
    ),
    Row(
        10,
        SEND,
        EMERGENCY | {"expire": "86401"},
        fault("expire", "is too large, must be at most 10800 seconds", "expire is invalid"),
    ),
    Row(
        11,
        SEND,
        {},
        fault(
            "attachment", "is too large", "attachment is too large (1001 bytes is more than 1000 limit"
        ),  # as Pushover has it, without the parenthesis
        file=b"x" * 1001,
    ),
    Row(
        12,
        SEND,
        {"token": SMALL_TOKEN},
        fault("token", "invalid", "application has exceeded current limit of 1 messages"),
        status=429,
    ),
    Row(13, SEND, {"user": MUTE}, {"info": "no active devices to send to", "status": 1}, status=200),
    Row(14, f"GET receipts/{RECEIPT}", {}, RECEIPT_UNKNOWN),
    Row(14, f"POST receipts/{RECEIPT}/cancel", {}, RECEIPT_UNKNOWN),
    Row(14, "GET receipts/{receipt}", {"token": OTHER_TOKEN}, RECEIPT_UNKNOWN),
    Row(14, "POST receipts/{receipt}/cancel", {"token": OTHER_TOKEN}, RECEIPT_UNKNOWN),
    *(
        row
        for call in ("add_user", "remove_user", "disable_user", "enable_user", "rename")
        for row in (
            Row(15, f"POST groups/{NO_GROUP}/{call}", {"name": "x"}, GROUP_UNKNOWN),
            Row(15, f"POST groups/{{group}}/{call}", {"token": OTHER_TOKEN, "name": "x"}, GROUP_UNKNOWN),
        )
    ),
    Row(15, f"GET groups/{NO_GROUP}", {}, GROUP_UNKNOWN),
    Row(
        16,
        "POST groups/{group}/add_user",
        {"user": NOBODY},
        fault("user", "invalid", "user key is invalid"),
    ),
    Row(
        17,
        "POST groups/{group}/add_user",
        {},
        fault("user", "invalid", "user is already a member of this group"),
    ),
    *(
        Row(18, f"POST groups/{{group}}/{call}_user", {"user": VERA}, NO_MEMBER)
        for call in ("remove", "disable", "enable")
    ),
    Row(
        19,
        "POST subscriptions/migrate",
        {"subscription": "none"},
        fault("subscription", "invalid", "subscription code is invalid"),
    ),
    Row(
        20,
        "POST subscriptions/migrate",
        {"subscription": "Blog-abc123", "user": NOBODY},
        fault("user", "is not a valid user", "user key is not valid for any active user"),
    ),
    Row(
        22,
        "POST licenses/assign",
        {"user": None, "email": "nonsense"},
        fault("email", "is not a valid e-mail address", "e-mail address is not a valid address"),
    ),
    Row(
        23,
        "POST licenses/assign",
        {"user": None},
        {
            "user": "must be supplied",
            "email": "must be supplied",
            "errors": ["user or email must be supplied"],
            "status": 0,
        },
    ),
    *(
        Row(24, line, {"email": "a@b.example"}, fault("token", "invalid", "team token is invalid"))
        for line in ("GET teams", "POST teams/add_user", "POST teams/remove_user")
    ),
    Row(
        25,
        "POST devices",
        {"secret": "{secret}", "name": "desk", "os": "O"},
        {"errors": {"name": ["has already been taken"]}, "status": 0},
    ),
    Row(
        26,
        "POST users/login",
        {"email": "vera", "password": "secret"},
        fault("twofa", "must be supplied", "two-factor code must be supplied"),
        status=412,
    ),
    Row(
        27,
        "POST users/login",
        {"email": "phil", "password": "wrong"},
        {"errors": ["invalid email and/or password"], "status": 0},
    ),
    Row(28, SEND, {"message": "x" * 1025}, long("message", 1024)),
    Row(29, SEND, {"title": "x" * 251}, long("title", 250)),
    Row(29, SEND, {"url": "x" * 513}, long("url", 512)),
    Row(29, SEND, {"url_title": "x" * 101}, long("url_title", 100)),
    Row(30, SEND, {"priority": "3"}, invalid("priority")),
    Row(
        31,
        SEND,
        {"html": "1", "monospace": "1"},
        fault("html", "cannot be used with monospace", "html and monospace are mutually exclusive"),
    ),
    Row(32, SEND, {"ttl": "-1"}, invalid("ttl")),
    Row(32, SEND, {"ttl": "soon"}, invalid("ttl")),
    Row(
        33,
        SEND,
        {"user": ",".join(f"topic{n}" for n in range(51))},
        fault("user", "has too many entries", "user may list at most 50 keys"),
    ),
    Row(
        34,
        "POST glances",
        {},
        {"errors": ["at least one of title, text, subtext, count, percent must be supplied"], "status": 0},
    ),
    Row(35, SEND, EMERGENCY | {"callback": "ftp://a.example/"}, invalid("callback")),
    Row(36, SEND, {}, {"errors": ["request body could not be parsed"], "status": 0}, raw=b"{"),
]
# What cannot happen here, or needs more than a request; see the tests at the end.
ALONE = {21, 37}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(**SETTINGS)


async def ask(server: Server, row: Row, names: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    given = {"token": APP_TOKEN, "user": USER_KEY, "message": "hi"} | dict(row.fields)
    fields = {name: text.format(**names) for name, text in given.items() if text is not None}
    method, path = row.line.format(**names).split()
    form = aiohttp.FormData(fields)
    if row.file:
        form.add_field("attachment", row.file, filename="a.bin")
    options: dict[str, Any] = {"params": fields} if method == "GET" else {"data": form}
    if row.raw:
        options = {"data": row.raw, "headers": {"Content-Type": "application/json"}}
    async with server.http.request(method, f"{server.url}/1/{path}.json", **options) as response:
        answer = await response.json()
        assert list(answer)[-1] == "request"
        assert answer.pop("request") == response.headers["X-Request-Id"]
        return response.status, answer


async def made(server: Server, line: str, **fields: str) -> dict[str, Any]:
    status, answer = await ask(server, Row(0, line, fields, {}), {})
    assert (status, answer["status"]) == (200, 1), answer
    return answer


async def prepared(server: Server, row: Row) -> dict[str, str]:
    """Bring about what a row speaks of, and return what it is called."""
    if row.number == 12:
        await made(server, SEND, token=SMALL_TOKEN)
    if "{receipt}" in row.line:
        return {"receipt": str((await made(server, SEND, **EMERGENCY))["receipt"])}
    if "{group}" in row.line:
        group = str((await made(server, "POST groups", name="oncall"))["group"])
        await made(server, f"POST groups/{group}/add_user")
        return {"group": group}
    if "secret" in row.fields:
        secret = str((await made(server, "POST users/login", email="phil", password="secret"))["secret"])
        await made(server, "POST devices", secret=secret, name="desk", os="O")
        return {"secret": secret}
    return {}


@pytest.mark.parametrize("row", ROWS, ids=[f"E{row.number} {row.line}" for row in ROWS])
async def test_the_answer_is_pushovers(server: Server, row: Row) -> None:
    names = await prepared(server, row)
    status, answer = await ask(server, row, names)
    assert (status, list(answer.items())) == (row.status, list(row.body.items()))


def test_every_number_has_a_row_or_a_test_of_its_own() -> None:
    assert {row.number for row in ROWS} | ALONE == set(range(1, 38))


async def test_e14_a_receipt_of_more_than_a_week_ago_is_unknown(server: Server) -> None:
    receipt = (await made(server, SEND, **EMERGENCY))["receipt"]
    server.clock.set_wall(server.clock.now() + 7 * 86_400)
    assert await ask(server, Row(14, f"GET receipts/{receipt}", {}, {}), {}) == (400, RECEIPT_UNKNOWN)


async def test_e21_credits_for_licenses_never_run_out(server: Server) -> None:
    before = (await made(server, "GET licenses"))["credits"]
    for _ in range(3):
        assert (await made(server, "POST licenses/assign"))["credits"] == before > 0


async def test_e24_an_apps_token_is_no_teams_token(server: Server) -> None:
    async with PeopleDatabase.open(server.data_dir) as people:
        token = (await add_team_token(people, server.clock, "Everybody"))[1]
    assert (await made(server, "GET teams", token=token))["name"] == "Everybody"
    assert await ask(server, Row(1, SEND, {"token": token}, {}), {}) == (400, TOKEN_INVALID)


async def test_e37_trouble_of_the_servers_own_is_a_500_that_says_when_to_try_again(server: Server) -> None:
    (database,) = server.data_dir.glob("messages*.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE messages")
        connection.commit()
    data = {"token": APP_TOKEN, "user": USER_KEY, "message": "hi"}
    async with server.http.post(f"{server.url}/1/messages.json", data=data) as response:
        answer = await response.json()
    assert response.status == 500
    assert int(response.headers["Retry-After"]) >= 5
    assert answer["status"] == 0
    assert answer["request"] == response.headers["X-Request-Id"]
    assert [type(sentence) for sentence in answer["errors"]] == [str]
    assert "user" not in answer
    assert "messages" not in answer["errors"][0]
