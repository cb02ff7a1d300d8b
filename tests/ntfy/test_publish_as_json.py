"""Publishing JSON to the server's root, through the front door; `test_publish_json` has the grammar."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Server
from tests.ntfy.talking import DOCS, NOW, ask, error_of, tell

Lane = tuple[str, ...]

EVERYTHING: dict[str, Any] = {
    "topic": "t",
    "message": "Disk full",
    "title": "a title\nwith lines",
    "tags": ["tag1", "tag 2"],
    "not-a-thing": {"ever": [1, None]},
    "attach": "http://google.com",
    "filename": "google.pdf",
    "click": "http://ntfy.sh",
    "priority": 4,
    "icon": "https://ntfy.sh/static/img/ntfy.png",
    "delay": "30min",
    "markdown": True,
    "sequence_id": "seq",
    "actions": [{"action": "view", "label": "Open", "url": "https://x.org", "clear": True}],
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_every_key_finds_its_place(server: Server, lane: Lane, method: str) -> None:
    message = await tell(server, f"{method} /", *lane, body=json.dumps(EVERYTHING))
    assert message["actions"][0].pop("id")
    assert message | {"id": ""} == {
        "id": "",
        "sequence_id": "seq",
        "time": NOW + 1800,
        "expires": NOW + 1800 + 12 * 3600,
        "event": "message",
        "topic": "t",
        "title": "a title\nwith lines",
        "message": "Disk full",
        "priority": 4,
        "tags": ["tag1", "tag 2"],
        "click": "http://ntfy.sh",
        "icon": "https://ntfy.sh/static/img/ntfy.png",
        "actions": [{"action": "view", "label": "Open", "clear": True, "url": "https://x.org"}],
        "attachment": {"name": "google.pdf", "url": "http://google.com"},
        "content_type": "text/markdown",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"topic":"t"}', "triggered"),
        ('{"topic":"t","message":""}', "triggered"),
        ('{"topic":"t","message":null,"title":null,"tags":[],"priority":null,"delay":null}', "triggered"),
        ('{"TOPIC":"t","Message":"any case"}', "any case"),
        ('{"topic":"t","message":"rest"} and what follows', "rest"),
        ('{"topic":"t","message":"two"}{"topic":"u"}', "two"),
        ('{"topic":"u","message":"a","topic":"t","message":"last"}', "last"),
        ('{"topic":"t","message":"  trimmed\\n"}', "trimmed"),
        ('{"topic":"t","message":"a\\nb \\\\n"}', "a\nb \\n"),
        ('{"topic":"t","message":"\\ud83d\\udc99 \\ud83d"}', "💙 \ufffd"),
        ('\n\t {"topic":"t","message":"blanks before"}', "blanks before"),
        (json.dumps({"topic": "t", "message": "x" * 4096}), "x" * 4096),
        (json.dumps({"topic": "t", "message": "é" * 2048}, ensure_ascii=False), "é" * 2048),
        ('{"topic":"t","priority":0,"message":"unset"}', "unset"),
    ],
    ids=range(14),
)
async def test_what_is_lenient_is_lenient(server: Server, lane: Lane, body: str, message: str) -> None:
    made = await tell(server, "POST /", *lane, body=body)
    assert list(made) == ["id", "time", "expires", "event", "topic", "message"]
    assert made["message"] == message
    assert await server.poll("t") == [made]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", 40024),
        ("hi", 40024),
        ("{", 40024),
        ("[]", 40024),
        ('[{"topic":"t"}]', 40024),
        ('"t"', 40024),
        ("true", 40024),
        ('{"topic":"t",INVALID', 40024),
        ('{"topic":"t","priority":"5"}', 40024),
        ('{"topic":"t","priority":5.5}', 40024),
        ('{"topic":"t","priority":1e1}', 40024),
        ('{"topic":"t","priority":99999999999999999999999999}', 40024),
        ('{"topic":"t","priority":' + "9" * 5000 + "}", 40024),
        ('{"topic":"t","tags":"a,b"}', 40024),
        ('{"topic":"t","tags":[1]}', 40024),
        ('{"topic":"t","message":1}', 40024),
        ('{"topic":"t","markdown":"yes"}', 40024),
        ('{"topic":"t","cache":false}', 40024),
        ('{"topic":"t","delay":60}', 40024),
        ('{"topic":"t","actions":"view, a, https://x.org"}', 40024),
        ('{"topic":1}', 40024),
        ('{"topic":"t","x":NaN}', 40024),
        (b'{"topic":"t","message":"\xff"}', 40024),
        ("[" * 8000, 40024),
        ('{"a":' * 1500, 40024),
        ('{"topic":"t","a":' + "[" * 4000 + "]" * 4000 + "}", 40024),
        ("{}", 40009),
        ("null", 40009),
        ('{"topic":null}', 40009),
        ('{"topic":""}', 40009),
        ('{"topic":"a b"}', 40009),
        ('{"topic":"a,b"}', 40009),
        ('{"topic":"a\\n"}', 40009),
        ('{"topic":"' + "x" * 65 + '"}', 40009),
        ('{"message":"hi"}', 40009),
        ('{"topic":"docs"}', 40010),
        ('{"topic":"t","priority":6}', 40007),
        ('{"topic":"t","priority":-1}', 40007),
        ('{"topic":"t","attach":"x"}', 40013),
        ('{"topic":"t","icon":"x"}', 40021),
        ('{"topic":"t","email":"a@b.c"}', 40001),
        ('{"topic":"t","call":"yes"}', 40032),
        ('{"topic":"t","cache":"no","delay":"1h"}', 40002),
        ('{"topic":"t","actions":[{"action":"view","label":"a"}]}', 40018),
        ('{"topic":"t","filename":"a.txt","message":"hi"}', 40014),
        (json.dumps({"topic": "t", "message": "x" * 4097}), 40014),
        (json.dumps({"topic": "t", "message": "x" * 8192}), 41303),
        ('{"topic":"t"}' + " " * 8192, 41303),
    ],
    ids=range(48),
)
async def test_what_is_wrong_is_refused(server: Server, lane: Lane, body: str | bytes, code: int) -> None:
    assert await error_of(server, "POST /", *lane, body=body) == code
    assert await server.poll("t") == []
    assert (await tell(server, "POST /", body='{"topic":"t"}'))["topic"] == "t"  # it lives


async def test_the_words_of_the_refusals_are_ntfys(server: Server) -> None:
    assert (await ask(server, "POST /", body="x")).json() == {
        "code": 40024,
        "http": 400,
        "error": "invalid request: request body must be valid JSON",
    }
    assert (await ask(server, "POST /", body="{}")).json()["error"] == "invalid request: topic invalid"
    assert (await ask(server, "POST /", body=" " * 9000)).json()["error"] == "JSON body too large"
    assert (await ask(server, "POST /", body='{"topic":"t","attach":"x"}')).json()["link"] == (
        DOCS + "publish/#attachments"
    )


async def test_headers_and_query_apply_where_the_json_says_nothing(server: Server, lane: Lane) -> None:
    message = await tell(
        server,
        "POST /?priority=5&click=https://q.org&tags=query",
        "Title: header",
        "Message: never",
        *lane,
        body='{"topic":"t","tags":["json"],"click":""}',
    )
    assert message["title"] == "header"
    assert message["tags"] == ["json"]
    assert message["click"] == "https://q.org"
    assert (message["message"], message["priority"]) == ("triggered", 5)


async def test_strings_are_decoded_and_trimmed_and_tags_split_again(server: Server) -> None:
    fields = {"topic": "t", "title": " =?utf-8?q?f=C3=BCrst?= ", "tags": ["a,b", " c ", ""]}
    message = await tell(server, "POST /", body=json.dumps(fields))
    assert message["title"] == "fürst"
    assert message["tags"] == ["a", "b", "c"]


async def test_a_message_that_is_not_cached_is_not_kept(server: Server) -> None:
    message = await tell(server, "POST /", body='{"topic":"t","message":"m","cache":"no","firebase":"no"}')
    assert "expires" not in message
    assert await server.poll("t") == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"]
)
async def test_the_content_type_does_not_matter(server: Server, lane: Lane, content_type: str) -> None:
    message = await tell(
        server, "POST /", f"Content-Type: {content_type}", *lane, body='{"topic":"t","message":"m"}'
    )
    assert message["message"] == "m"


async def test_markdown_may_come_from_either(server: Server) -> None:
    for line, body in (("POST /?md=1", '{"topic":"t"}'), ("POST /", '{"topic":"t","markdown":true}')):
        assert (await tell(server, line, body=body))["content_type"] == "text/markdown"
    assert "content_type" not in await tell(server, "POST /", body='{"topic":"t","markdown":false}')
