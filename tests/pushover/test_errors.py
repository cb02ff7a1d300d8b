from __future__ import annotations

import json
from typing import Any

import pytest

from ntfyish.model.acl import TopicAccess
from ntfyish.model.errors import LimitReached, NtfyishError, Reason
from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.pushover.drafts import split_list
from ntfyish.web.pushover.faults import REFUSALS
from ntfyish.web.pushover.limits import OverLength, PushoverLimits
from tests.pushover.world import NOBODY, NZB_TOKEN, OFF_TOKEN, PHIL, TOKEN, VERA, World, body_of, header

E1 = {"token": "invalid", "errors": ["application token is invalid"], "status": 0}
E2 = {
    "user": "invalid",
    "errors": ["user identifier is not a valid user, group, or subscribed user key"],
    "status": 0,
}
# Pushover's older limits
LEGACY = PushoverLimits(
    message_chars=512, title_chars=512, combined_chars=512, expire_max_s=86_400, expire_tolerated_s=86_400
)
EXPIRE_MISSING = "expire must be supplied with priority=2"
RETRY_MISSING = "retry must be supplied with priority=2"
EMERGENCY = {"priority": "2", "retry": "30", "expire": "60"}


BLANK = {"message": "cannot be blank", "errors": ["message cannot be blank"], "status": 0}
BAD_URLS = (
    "ftp://example.org/",
    "javascript:alert(1)",
    "example.org",
    "http://",
    "http://[",
    "http://a b/",
    "http://a:x/",
    "http://a/\r\nX:y",
)
BAD_PRIORITIES = ("3", "-3", "high", "1.5", "٢", "9" * 40, "1_0", "nan")


def long(field: str, limit: int) -> dict[str, Any]:
    phrase = f"is too long (maximum is {limit} characters)"
    return {field: phrase, "errors": [f"{field} {phrase}"], "status": 0}


def invalid(field: str) -> dict[str, Any]:
    return {field: "is invalid", "errors": [f"{field} is invalid"], "status": 0}


ROWS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("no token", {"token": ""}, E1),
    ("unknown token", {"token": NOBODY, "user": "", "message": ""}, E1),
    ("short token", {"token": "x"}, E1),
    ("disabled app", {"token": OFF_TOKEN}, E1),
    ("token in another case", {"token": TOKEN.upper()}, E1),
    ("unknown user", {"user": NOBODY, "message": "", "priority": "9"}, E2),
    ("no user", {"user": ""}, E2),
    ("user of commas", {"user": " , ,"}, E2),
    ("user that is no topic", {"user": "not a topic!"}, E2),
    ("user that may not be a topic", {"user": "v1"}, E2),
    ("all users unknown", {"user": f"{NOBODY},x!,{NOBODY[:-1]}1"}, E2),
    ("blank message", {"message": ""}, BLANK),
    ("white message", {"message": " \n\t\u3000"}, BLANK),
    (
        "emergency without expire",
        {"priority": "2", "retry": "30"},
        {"expire": "must be supplied with priority=2", "errors": [EXPIRE_MISSING], "status": 0},
    ),
    (
        "emergency without retry",
        {"priority": "2", "expire": "60", "retry": " "},
        {"retry": "must be supplied with priority=2", "errors": [RETRY_MISSING], "status": 0},
    ),
    (
        "emergency without both",
        {"priority": "2"},
        {
            "expire": "must be supplied with priority=2",
            "retry": "must be supplied with priority=2",
            "errors": [EXPIRE_MISSING, RETRY_MISSING],
            "status": 0,
        },
    ),
    *(
        (
            f"retry {retry}",
            EMERGENCY | {"retry": retry},
            {
                "retry": "is too small, must be at least 30 seconds",
                "errors": ["retry is invalid"],
                "status": 0,
            },
        )
        for retry in ("29", "0", "-1", "soon", "29.9")
    ),
    (
        "expire too large",
        EMERGENCY | {"expire": "86401"},
        {
            "expire": "is too large, must be at most 10800 seconds",
            "errors": ["expire is invalid"],
            "status": 0,
        },
    ),
    ("expire 0", EMERGENCY | {"expire": "0"}, invalid("expire")),
    ("expire never", EMERGENCY | {"expire": "never"}, invalid("expire")),
    *((f"callback {url}", EMERGENCY | {"callback": url}, invalid("callback")) for url in BAD_URLS),
    ("long callback", EMERGENCY | {"callback": "http://a/" + "x" * 504}, long("callback", 512)),
    ("long tags", EMERGENCY | {"tags": "x" * 513}, long("tags", 512)),
    ("long message", {"message": "x" * 1025}, long("message", 1024)),
    ("long title", {"title": "x" * 251}, long("title", 250)),
    ("long url", {"url": "x" * 513}, long("url", 512)),
    ("long url_title", {"url_title": "x" * 101}, long("url_title", 100)),
    ("long subtitle", {"subtitle": "x" * 251}, long("subtitle", 250)),
    ("long ciphertext", {"message": "x" * 4097, "encrypted": "1"}, long("message", 4096)),
    *((f"priority {p}", {"priority": p}, invalid("priority")) for p in BAD_PRIORITIES),
    ("NZBClient's priority", {"token": NZB_TOKEN, "priority": "3"}, invalid("priority")),
    (
        "html and monospace",
        {"html": "1", "monospace": "1"},
        {
            "html": "cannot be used with monospace",
            "errors": ["html and monospace are mutually exclusive"],
            "status": 0,
        },
    ),
    ("ttl negative", {"ttl": "-1"}, invalid("ttl")),
    ("ttl no number", {"ttl": "1h"}, invalid("ttl")),
    (
        "too many users",
        {"user": ",".join(f"topic{n}" for n in range(51))},
        {"user": "has too many entries", "errors": ["user may list at most 50 keys"], "status": 0},
    ),
    (
        "several faults",
        {"message": "", "title": "x" * 251, "priority": "5"},
        {
            "message": "cannot be blank",
            "title": "is too long (maximum is 250 characters)",
            "priority": "is invalid",
            "errors": [
                "message cannot be blank",
                "title is too long (maximum is 250 characters)",
                "priority is invalid",
            ],
            "status": 0,
        },
    ),
]


@pytest.mark.parametrize(("fields", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_the_table_of_errors_of_messages(
    world: World, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    response = await world.send(**fields)
    assert response.status == 400
    assert json.dumps(body_of(response)) == json.dumps(expected)  # the order counts
    assert list(json.loads(response.body))[-1] == "request"
    assert world.store.messages == []


def test_no_list_has_more_than_a_thousand_items() -> None:
    assert split_list([" 0 ,,0", *map(str, range(999))]) == [str(n) for n in range(997)]
    assert len(split_list(["a," * 3_000_000])) == 1


async def test_fifty_users_are_not_too_many(world: World) -> None:
    response = await world.send(user=",".join(f"topic{n}" for n in range(50)))
    assert response.status == 200
    assert len(world.store.messages) == 50


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"a":' + b"[" * 100_000, "application/json"),
        (b"&" * 5000, "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_cannot_be_parsed_is_refused(world: World, body: bytes, content_type: str) -> None:
    response = await world.ask("POST /1/messages.json", body, content_type)
    assert response is not None
    assert response.status == 400
    assert body_of(response) == {"errors": ["request body could not be parsed"], "status": 0}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("token", E1),
        ("user", E2),
        ("message", invalid("message")),
        ("priority", invalid("priority")),
        ("title", invalid("title")),
    ],
)
async def test_a_json_object_is_no_value(world: World, field: str, expected: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"token": TOKEN, "user": PHIL, "message": "hi"}
    body = json.dumps(fields | {field: {"a": 1}, "unknown": {"b": []}}).encode()
    response = await world.ask("POST /1/messages.json", body, "application/json")
    assert response is not None
    assert response.status == 400
    assert body_of(response) == expected


async def test_a_body_over_the_limit_ends_the_connection(world: World) -> None:
    response = await world.ask("POST /1/messages.json", b"message=" + b"x" * 7_200_000)
    assert response is not None
    assert (response.status, response.close) == (413, True)
    assert body_of(response) == {"errors": ["request body is too large"], "status": 0}


async def test_topics_are_users_only_where_everybody_may_write() -> None:
    world = World(default=TopicAccess.READ_ONLY)
    await world.directory.load()
    assert body_of(await world.send(user="alerts")) == E2
    assert (await world.send(user=VERA)).status == 200
    world.access.close()


# Other limits


async def send_with(limits: PushoverLimits, **fields: str) -> tuple[dict[str, Any], World]:
    world = World(limits)
    await world.directory.load()
    response = await world.send(**fields)
    world.access.close()
    return body_of(response), world


async def test_the_legacy_profile_counts_title_and_message_together() -> None:
    phrase = "is too long (maximum is 512 characters, including the title)"
    body, _ = await send_with(LEGACY, title="t" * 12, message="m" * 501)
    assert body == {"message": phrase, "errors": [f"message {phrase}"], "status": 0}
    body, _ = await send_with(LEGACY, title="t" * 12, message="m" * 500)
    assert body == {"status": 1}
    body, _ = await send_with(LEGACY, priority="2", retry="30", expire="86401")
    assert body["expire"] == "is too large, must be at most 86400 seconds"


async def test_too_long_texts_can_be_cut_instead() -> None:
    limits = PushoverLimits(over_length=OverLength.TRUNCATE, combined_chars=1100)
    body, world = await send_with(limits, message="m" * 2000, title="t" * 300, url_title="u" * 101)
    assert body == {"status": 1}
    content = world.message.content
    assert (len(content.message), len(content.title), len(content.url_title)) == (850, 250, 100)


async def test_ciphertext_is_never_cut() -> None:
    body, _ = await send_with(
        PushoverLimits(over_length=OverLength.TRUNCATE), message="m" * 4097, encrypted="1"
    )
    assert body == long("message", 4096)
    body, _ = await send_with(PushoverLimits(relax_when_encrypted=False), message="m" * 1025, encrypted="1")
    assert body == long("message", 1024)


async def test_a_strict_expire_is_refused_from_the_first_second_too_many() -> None:
    limits = PushoverLimits(expire_tolerated_s=10_800)
    body, _ = await send_with(limits, priority="2", retry="30", expire="10801")
    assert body["expire"] == "is too large, must be at most 10800 seconds"
    body, _ = await send_with(limits, priority="2", retry="30", expire="10800")
    assert body["status"] == 1


async def test_an_unknown_device_can_be_an_error() -> None:
    body, _ = await send_with(PushoverLimits(device_strict=True), device="gone,droid2")
    assert body == {
        "device": "invalid for this user",
        "errors": ["device name is not valid for this user"],
        "status": 0,
    }


# The core's errors


def refuse(error: NtfyishError, path: str = "/1/messages.json") -> Any:
    return World().dialect.refuse(Request("POST", path, {}, "", BufferedBody()), error)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_answer_in_pushovers_form(reason: Reason) -> None:
    response = refuse(NtfyishError(reason, "<detail>"))
    body = body_of(response)
    assert body["status"] == 0
    assert all(isinstance(sentence, str) and sentence for sentence in body["errors"])
    assert 400 <= response.status < 600
    assert body.get("user") != "invalid"
    assert b"<detail>" not in response.body


def test_only_the_servers_own_trouble_invites_another_try() -> None:
    own = {reason for reason, refusal in REFUSALS.items() if refusal.status >= 500}
    assert own == {
        Reason.INTERNAL,
        Reason.BASE_URL_MISSING,
        Reason.SUBSCRIBER_MISSING,
        Reason.STORAGE_BUSY,
        Reason.STORAGE_FULL,
        Reason.STORAGE_BROKEN,
        Reason.SHUTTING_DOWN,
    }
    assert header(refuse(NtfyishError(Reason.STORAGE_BUSY)), "Retry-After") == "5"


def test_a_limit_says_when_to_try_again() -> None:
    response = refuse(LimitReached(Reason.REQUEST_LIMIT, retry_after_s=4.2))
    assert response.status == 429
    assert header(response, "Retry-After") == "5"
