"""Publishing through the front door: parameters, bodies, errors and routes, as ntfy documents them."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Server, StartServer
from tests.ntfy.conftest import LANES
from tests.ntfy.talking import DOCS, NOW, ask, error_of, tell

Lane = tuple[str, ...]

OPEN = {"action": "view", "label": "Open", "clear": False, "url": "https://x.org"}

# names in order of precedence, a value, what it makes of the message
PARAMETERS: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("X-Title", "Title", "t"), "Disk full", {"title": "Disk full"}),
    (("X-Message", "Message", "m"), r"one\ntwo", {"message": "one\ntwo"}),
    (("X-Priority", "Priority", "prio", "p"), "urgent", {"priority": 5}),
    (("X-Tags", "Tags", "Tag", "ta"), "warning, skull", {"tags": ["warning", "skull"]}),
    (("X-Click", "Click"), "geo:52.5,13.4", {"click": "geo:52.5,13.4"}),
    (("X-Icon", "Icon"), "https://x.org/i.png", {"icon": "https://x.org/i.png"}),
    (
        ("X-Attach", "Attach", "a"),
        "https://x.org/a/b.jpg",
        {
            "attachment": {"name": "b.jpg", "url": "https://x.org/a/b.jpg"},
            "message": "You received a file: b.jpg",
        },
    ),
    (("X-Actions", "Actions", "Action"), "view, Open, https://x.org", {"actions": [OPEN]}),
    (("X-Markdown", "Markdown", "md"), "yes", {"content_type": "text/markdown"}),
    (("X-Delay", "Delay", "X-At", "At", "X-In", "In"), "30m", {"time": NOW + 1800}),
    (("X-Cache", "Cache"), "no", {"expires": None}),
    (("X-Firebase", "Firebase"), "no", {}),
    (("X-UnifiedPush", "UnifiedPush", "up"), "1", {}),
    (("X-Sequence-ID", "Sequence-ID", "sid"), "disk-1", {"sequence_id": "disk-1"}),
    (
        ("X-Poll-ID", "Poll-ID"),
        "nFS3knfcQ1xe",
        {"event": "poll_request", "message": "New message", "poll_id": "nFS3knfcQ1xe", "expires": None},
    ),
]


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what is random."""
    message = {name: value for name, value in message.items() if name != "id"}
    if "actions" in message:
        message["actions"] = [{**action, "id": None} for action in message["actions"]]
    return message


@pytest.mark.parametrize(("names", "value", "made"), PARAMETERS, ids=[names[0] for names, _, _ in PARAMETERS])
async def test_a_parameter_has_the_same_names_as_a_header_and_in_the_query(
    server: Server, names: tuple[str, ...], value: str, made: dict[str, Any]
) -> None:
    expected = {"time": NOW, "event": "message", "topic": "t", "message": "triggered"} | made
    if "expires" not in made:
        expected["expires"] = expected["time"] + 12 * 3600
    if "actions" in made:
        expected["actions"] = [{"id": None, **action} for action in made["actions"]]
    expected = {name: item for name, item in expected.items() if item is not None}
    for lane in LANES.values():
        for name in names:
            for spelling in (name, name.lower(), name.upper()):
                assert plain(await tell(server, "POST /t", f"{spelling}: {value}", *lane)) == expected
            by_query = f"/t?{name.lower()}={quote(value)}"
            assert plain(await tell(server, f"PUT {by_query}", *lane)) == expected
            by_get = f"/t/publish?{name.lower()}={quote(value)}"
            assert plain(await tell(server, f"GET {by_get}", *lane)) == expected
    # in the query, names are case-sensitive
    silent = await tell(server, f"POST /t?{names[0]}={quote(value)}")
    assert plain(silent) == plain(await tell(server, "POST /t"))


async def test_a_header_beats_the_query_and_an_earlier_name_a_later_one(server: Server, lane: Lane) -> None:
    async def title(query: str, *headers: str) -> str:
        return str((await tell(server, f"POST /t?{query}", *headers, *lane))["title"])

    assert await title("x-title=query", "t: header") == "header"
    assert await title("", "t: 3", "Title: 2", "X-Title: 1") == "1"
    assert await title("", "t: 3", "Title: 2", "X-Title:  ") == "2"
    assert await title("t=3&title=2&x-title=1") == "1"
    assert await title("t=3&title=+&x-title=") == "3"
    assert await title("title=query", "X-Title: ", "Title: \t") == "query"
    assert await title("title=first&title=second") == "first"


async def test_the_file_name_of_an_attachment_elsewhere_can_be_given(server: Server) -> None:
    for header in ("X-Filename", "Filename", "File", "f"):
        message = await tell(server, "POST /t", "a: https://x.org/a.jpg", f"{header}: b.jpg", body="look")
        assert message["attachment"] == {"name": "b.jpg", "url": "https://x.org/a.jpg"}
        assert message["message"] == "look"
        assert await error_of(server, f"POST /t?{header.lower()}=b.jpg", body="tiny") == 40014


@pytest.mark.parametrize("name", ["X-Email", "X-E-Mail", "Email", "E-Mail", "Mail", "e"])
async def test_e_mail_is_refused_by_every_name(server: Server, name: str) -> None:
    assert await error_of(server, "POST /t", f"{name}: phil@example.com") == 40001
    assert await error_of(server, f"POST /t?{name.lower()}=phil@example.com") == 40001


async def test_calls_and_templates_are_refused(server: Server) -> None:
    for name in ("X-Call", "Call"):
        assert await error_of(server, "POST /t", f"{name}: yes") == 40032
        assert await error_of(server, f"POST /t?{name.lower()}=%2B12345") == 40032
    for name in ("X-Template", "Template", "tpl"):
        assert await error_of(server, "POST /t", f"{name}: yes", body="{}") == 40045
        assert await error_of(server, f"POST /t?{name.lower()}=grafana", body="{}") == 40045
        assert (await tell(server, "POST /t", f"{name}: no", body="{}"))["message"] == "{}"


async def test_a_message_has_ntfys_fields_in_ntfys_order(server: Server) -> None:
    everything = await tell(
        server,
        "PUT /t",
        "Title: Disk",
        "Priority: 3",
        "Tags: a,b",
        "Click: https://x.org",
        "Icon: https://x.org/i.png",
        'Actions: http, Go, https://x.org, method=put, headers.X=y, body="a, b", clear=true',
        "Attach: https://x.org/a.jpg",
        "Markdown: 1",
        "SID: s",
        body="full",
    )
    assert list(everything) == [
        "id",
        "sequence_id",
        "time",
        "expires",
        "event",
        "topic",
        "title",
        "message",
        "priority",
        "tags",
        "click",
        "icon",
        "actions",
        "attachment",
        "content_type",
    ]
    assert list(everything["actions"][0]) == [
        *("id", "action", "label", "clear", "url", "method", "headers", "body")
    ]
    assert everything["priority"] == 3  # said, so shown
    assert await server.poll("t") == [everything]
    bare = await tell(server, "PUT /t", body="full")
    assert list(bare) == ["id", "time", "expires", "event", "topic", "message"]
    assert len(bare["id"]) == 12
    assert bare["id"].isalnum()


async def test_the_answer_has_the_headers_that_scripts_and_pages_need(server: Server, lane: Lane) -> None:
    answer = await ask(server, "POST /t", *lane, body="<b>&\u2028'")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "date" in answer.headers
    assert "<b>&\u2028'".encode() in answer.body  # nothing is escaped without need


# Bodies


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "triggered"),
        (b" \r\n\t ", "triggered"),
        (b"\n  hi there \n", "hi there"),
        (b"two\nlines\r\nand three", "two\nlines\r\nand three"),
        (rb"no\nbreak", r"no\nbreak"),
        ("größer 💙\u2028".encode(), "größer 💙"),
        (b"nul\0inside", "nul\0inside"),
        (b"x" * 4095, "x" * 4095),
        (b"x" * 4096, "x" * 4096),
        (b" " * 4090 + b"x", "x"),
        ("é".encode() * 2048, "é" * 2048),
        (b"a=b&c=d", "a=b&c=d"),
        (b'{"topic":"other"}', '{"topic":"other"}'),
    ],
    ids=range(13),
)
async def test_a_body_that_is_text_is_the_message_without_blanks_around(
    server: Server, lane: Lane, body: bytes, message: str
) -> None:
    made = await tell(server, "POST /t", *lane, body=body)
    assert made["message"] == message
    assert await server.poll("t") == [made]


async def test_a_body_beats_the_message_parameter_even_if_it_is_blank(server: Server, lane: Lane) -> None:
    assert (await tell(server, "POST /t?m=param", *lane, body="body"))["message"] == "body"
    assert (await tell(server, "POST /t?m=param", *lane, body="  "))["message"] == "triggered"
    assert (await tell(server, "POST /t?m=param", *lane))["message"] == "param"


@pytest.mark.parametrize(
    "body", [b"x" * 4097, b"x" * 100_000, b"\xff\xfe", b"\x89PNG\r\n", "é".encode()[:1], b"\xed\xa0\x80"]
)
async def test_what_ntfy_makes_an_attachment_of_is_refused(server: Server, lane: Lane, body: bytes) -> None:
    assert await error_of(server, "PUT /t", *lane, body=body) == 40014
    assert await server.poll("t") == []


async def test_the_limit_of_a_message_is_a_setting(start_server: StartServer) -> None:
    server = await start_server(message_size_limit="1k")
    assert (await tell(server, "POST /t", body="x" * 1024))["message"] == "x" * 1024
    assert await error_of(server, "POST /t", body="x" * 1025) == 40014
    assert await error_of(server, "POST /", body=b'{"topic":"t"}' + b" " * 2048) == 41303


async def test_a_compressed_body_is_not_inflated(server: Server, lane: Lane) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    assert await error_of(server, "POST /t", "Content-Encoding: gzip", *lane, body=bomb) == 40014
    small = gzip.compress(b"hi")
    message = await tell(server, "POST /t?up=1", "Content-Encoding: gzip", *lane, body=small)
    assert base64.b64decode(message["message"]) == small


async def test_a_body_may_come_in_chunks(server: Server) -> None:
    wire = await server.wire()
    wire.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send("5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\n")
    assert (await wire.answer()).json()["message"] == "hello, world"


async def test_a_body_in_chunks_that_never_ends_is_refused_at_the_limit(server: Server) -> None:
    wire = await server.wire()
    wire.send("POST /t HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"1001\r\n" + b"x" * 4097 + b"\r\n")
    assert (await wire.answer()).json()["code"] == 40014


async def test_a_client_that_asks_first_is_told_to_go_on_or_refused_at_once(
    start_server: StartServer,
) -> None:
    server = await start_server(auth_default_access="read-only")
    wire = await server.wire()
    wire.send("POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n")
    assert (await wire.answer()).json()["code"] == 40301
    open_server = await start_server(data_dir=server.data_dir / "other")
    wire = await open_server.wire()
    wire.send("POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await wire.head())[0] == 100
    wire.send("hi")
    assert (await wire.answer()).json()["message"] == "hi"


@pytest.mark.parametrize("asked", ["?up=1", "?unifiedpush=yes", "", "?x-unifiedpush=TRUE"])
async def test_a_unifiedpush_body_is_kept_as_it_is(server: Server, lane: Lane, asked: str) -> None:
    headers = () if asked else ("Content-Encoding: aes128gcm",)
    text = await tell(server, f"POST /upAbCdEfGhIjKl{asked}", *headers, *lane, body=" text \n")
    assert text["message"] == " text \n"
    assert "encoding" not in text
    for binary in (b"\xff", bytes(range(256)), b"\xff" * 4096):
        made = await tell(server, f"POST /upAbCdEfGhIjKl{asked}", *headers, *lane, body=binary)
        assert list(made)[-1] == "encoding"
        assert made["encoding"] == "base64"
        assert base64.b64decode(made["message"]) == binary
    cut = await tell(server, f"POST /upAbCdEfGhIjKl{asked}", *headers, *lane, body=b"\xff" * 5000)
    assert base64.b64decode(cut["message"]) == b"\xff" * 4096
    assert (await server.poll("upAbCdEfGhIjKl"))[-1] == cut


async def test_an_app_may_ask_whether_this_is_a_place_for_unifiedpush(server: Server) -> None:
    for answer in (
        await ask(server, "GET /upAbCdEfGhIjKl?up=1"),
        await ask(server, "GET /upAbCdEfGhIjKl", "X-UnifiedPush: yes"),
    ):
        assert (answer.status, answer.body) == (200, b'{"unifiedpush":{"version":1}}\n')
        assert answer.headers["access-control-allow-origin"] == "*"
    assert await error_of(server, "GET /upAbCdEfGhIjKl") == 40401
    assert await error_of(server, "GET /upAbCdEfGhIjKl?up=0") == 40401


# Headers as they come


async def test_headers_may_be_encoded_words_or_utf_8(server: Server, lane: Lane) -> None:
    message = await tell(
        server,
        "POST /t",
        *lane,
        "Title: =?UTF-8?B?8J+HqfCfh6o=?= and =?utf-8?q?caf=C3=A9?=",
        "Tags: =?utf-8?q?w=C3=A4rm=2Ck=C3=BChl?=",
        "Message: grüße 💙",
    )
    assert message["title"] == "🇩🇪 and café"
    assert message["tags"] == ["wärm", "kühl"]
    assert message["message"] == "grüße 💙"


async def test_bytes_that_are_no_utf_8_become_replacement_characters(server: Server, lane: Lane) -> None:
    wire = await server.wire()
    extra = "".join(f"{field}\r\n" for field in lane).encode()
    wire.send(b"POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n" + extra)
    wire.send(b"Title: \xc9clipse du syst\xe8me\r\nTags: probl\xe8me,syst\xe9me\r\n\r\nhi")
    message = (await wire.answer()).json()
    assert message["title"] == "\ufffdclipse du syst\ufffdme"
    assert message["tags"] == ["probl\ufffdme", "syst\ufffdme"]
    assert (await tell(server, "POST /t?title=%FF", *lane))["title"] == "\ufffd"
    assert len(await server.poll("t")) == 2


async def test_line_breaks_get_into_no_header_and_out_of_no_line(server: Server, lane: Lane) -> None:
    injection = "=?utf-8?q?a=0D=0ASet-Cookie:_b=3Dc=0D=0A=0D=0A<script>?="
    answer = await ask(
        server, "POST /t", *lane, *(f"{name}: {injection}" for name in ("Title", "Tags", "Message"))
    )
    assert "set-cookie" not in answer.headers
    assert answer.body.count(b"\n") == 1
    message = answer.json()
    assert message["title"] == "a\nSet-Cookie: b=c\n\n<script>"  # as with ntfy, a title may have lines
    assert message["tags"] == ["a Set-Cookie: b=c <script>"]
    for transport in ("json", "sse"):
        poll = await ask(server, f"GET /t/{transport}?poll=1")
        (line,) = [one for one in poll.body.split(b"\n") if b"{" in one]
        assert json.loads(line.removeprefix(b"data: ")) == message


@pytest.mark.parametrize(
    "value", ["u=4", "u=9, i", "u=1,i", "i", "i, u=3", "u=5,2", "i=?0", "i=?1 , u=0", "u=7"]
)
async def test_a_browsers_priority_header_is_none_of_ours(server: Server, lane: Lane, value: str) -> None:
    assert "priority" not in await tell(server, "POST /t", f"Priority: {value}", *lane)
    assert (await tell(server, "POST /t?priority=4", f"Priority: {value}", *lane))["priority"] == 4
    assert (await tell(server, "POST /t", "p: 2", f"Priority: {value}", *lane))["priority"] == 2
    assert (await tell(server, "POST /t", f"Priority: {value}", "X-Priority: 5", *lane))["priority"] == 5
    assert await error_of(server, "POST /t", f"X-Priority: {value}", *lane) == 40007


@pytest.mark.parametrize("value", ["u=10", "5,3", "u", "u=1;", "i=1", ",i", "u=1,"])
async def test_another_priority_that_means_nothing_is_refused(server: Server, value: str) -> None:
    assert await error_of(server, "POST /t", f"Priority: {value}") == 40007


@pytest.mark.parametrize(
    ("content_type", "markdown"),
    [
        ("text/markdown", True),
        ("Text/Markdown; charset=utf-8", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/json", False),
    ],
)
async def test_the_content_type_tells_markdown_and_nothing_else(
    server: Server, lane: Lane, content_type: str, markdown: bool
) -> None:
    body = '{"topic":"other","message":"a"}'
    message = await tell(server, "POST /t", f"Content-Type: {content_type}", *lane, body=body)
    assert (message["topic"], message["message"]) == ("t", body)
    assert message.get("content_type") == ("text/markdown" if markdown else None)
    assert (await tell(server, "POST /t?content_type=text/markdown"))["content_type"] == "text/markdown"


# Action buttons


async def test_action_buttons_may_be_written_short(server: Server) -> None:
    made = await tell(
        server,
        "PUT /t",
        "Actions: view, Open portal, https://home.nest.com/; "
        "http, Turn down, https://api.nest.com/device/XZ1D2, body=target_temp_f=65, clear=yes; "
        "broadcast, 'Take, it', extras.cmd=pic, extras.camera=front",
    )
    ids = [action.pop("id") for action in made["actions"]]
    assert len(set(ids)) == 3
    assert {len(id_) for id_ in ids} == {10}
    assert made["actions"] == [
        {"action": "view", "label": "Open portal", "clear": False, "url": "https://home.nest.com/"},
        {
            "action": "http",
            "label": "Turn down",
            "clear": True,
            "url": "https://api.nest.com/device/XZ1D2",
            "body": "target_temp_f=65",
        },
        {
            "action": "broadcast",
            "label": "Take, it",
            "clear": False,
            "extras": {"cmd": "pic", "camera": "front"},
        },
    ]


async def test_action_buttons_may_be_json_and_encoded(server: Server) -> None:
    actions = [{"action": "http", "label": "Öffnen", "url": "https://x.org", "headers": {"A": "b"}}]
    word = f"=?utf-8?b?{base64.b64encode(json.dumps(actions).encode()).decode()}?="
    for line, header in (("POST /t", word), (f"POST /t?actions={quote(json.dumps(actions))}", "")):
        (made,) = (await tell(server, line, f"Actions: {header}"))["actions"]
        assert {name: made[name] for name in actions[0]} == actions[0]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("view, a, https://x;" * 4, "only 3 actions allowed"),
        (
            "dial, a",
            "parameter 'action' cannot be 'dial', valid values are 'view', 'broadcast', 'http' and 'copy'",
        ),
        ("view", "parameter 'label' is required"),
        ("http, a", "parameter 'url' is required for action 'http'"),
        ("copy, a", "parameter 'value' is required for action 'copy'"),
        ("http, a, https://x, method=GET, body=b", "parameter 'body' cannot be set if method is GET"),
        ("view, a, https://x, what=1", "key 'what' unknown"),
        ("VIEW, a, https://x", "term 'https://x' unknown"),
        (
            "view, a, https://x, clear=maybe",
            "parameter 'clear' cannot be 'maybe', only boolean values are allowed (true/yes/1/false/no/0)",
        ),
        ('view, "a" b, https://x', "unexpected character 'b' at position 10"),
        ("view, 'a, https://x", "unexpected end of input, quote started at position 7"),
    ],
)
async def test_a_mistake_in_actions_is_explained(server: Server, text: str, detail: str) -> None:
    answer = await ask(server, "POST /t", f"Actions: {text}")
    assert answer.json() == {
        "code": 40018,
        "http": 400,
        "error": f"invalid request: actions invalid; {detail}",
        "link": DOCS + "publish/#action-buttons",
    }


# Errors


ERRORS = [
    (
        "POST /t",
        "Attach: ftp://x",
        40013,
        "invalid request: attachment URL is invalid",
        "publish/#attachments",
    ),
    ("POST /t", "Icon: x.png", 40021, "invalid request: icon URL is invalid", "publish/#icons"),
    (
        "POST /t",
        "Email: a@b.c",
        40001,
        "e-mail notifications are not enabled",
        "config/#e-mail-notifications",
    ),
    ("POST /t", "Call: yes", 40032, "invalid request: calling is disabled", "config/#phone-calls"),
    ("POST /t", "Priority: 6", 40007, "invalid priority parameter", "publish/#message-priority"),
    (
        "POST /t?cache=no",
        "In: banana",
        40002,
        "cannot disable cache for delayed message",
        "",
    ),
    (
        "POST /t",
        "Delay: banana",
        40004,
        "invalid delay parameter: unable to parse delay",
        "publish/#scheduled-delivery",
    ),
    (
        "POST /t",
        "Delay: 9s",
        40005,
        "invalid delay parameter: too small, please refer to the docs",
        "publish/#scheduled-delivery",
    ),
    (
        "POST /t",
        "Delay: 73h",
        40006,
        "invalid delay parameter: too large, please refer to the docs",
        "publish/#scheduled-delivery",
    ),
    (
        "POST /t",
        "SID: a b",
        40049,
        "invalid request: sequence ID invalid",
        "publish/#updating-deleting-notifications",
    ),
    ("POST /t", f"Title: {'x' * 1025}", 40057, "invalid request: title too large", "publish/#limitations"),
    ("POST /t", f"Tags: {'x' * 513}", 40058, "invalid request: tags too large", "publish/#limitations"),
    (
        "POST /t",
        "Filename: a.txt",
        40014,
        "invalid request: attachments not allowed",
        "config/#attachments",
    ),
    ("POST /docs", "A: b", 40010, "invalid request: topic name is not allowed", ""),
    ("POST /a b", "A: b", 40401, "page not found", ""),
    ("POST /t", "Authorization: Bearer tk_wrong", 40101, "unauthorized", "publish/#authentication"),
]


@pytest.mark.parametrize(("line", "header", "code", "text", "page"), ERRORS, ids=[str(e[2]) for e in ERRORS])
async def test_an_error_is_told_in_ntfys_words(
    server: Server, lane: Lane, line: str, header: str, code: int, text: str, page: str
) -> None:
    answer = await ask(server, line.replace("a b", "a%20b"), header, *lane, body="hi")
    expected: dict[str, object] = {"code": code, "http": code // 100, "error": text}
    if page:
        expected["link"] = DOCS + page
    assert answer.body == json.dumps(expected, separators=(",", ":")).encode() + b"\n"
    assert answer.status == code // 100
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert await server.poll("t") == []


async def test_of_several_mistakes_the_first_in_ntfys_order_is_told(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="read-only")
    headers = [
        "Authorization: Bearer tk_wrong",
        "Attach: x",
        "Icon: x",
        "Email: x",
        "Call: x",
        "Priority: x",
        "Delay: x",
        "Actions: x",
        "SID: ?",
        f"Title: {'x' * 1025}",
        f"Tags: {'x' * 513}",
    ]
    codes = [40013, 40021, 40001, 40032, 40007, 40004, 40018, 40049, 40057, 40058, 40014]
    binary = b"\xff"
    assert await error_of(server, "POST /docs", *headers, body=binary) == 40101
    assert await error_of(server, "POST /docs", *headers[1:], body=binary) == 40010
    assert await error_of(server, "POST /t", *headers[1:], body=binary) == 40301
    writable = await start_server(data_dir=server.data_dir / "writable")
    for count, code in enumerate(codes, start=1):
        assert await error_of(writable, "POST /t", *headers[count:], body=binary) == code


@pytest.mark.parametrize("name", ["docs", "static", "file", "app", "metrics", "account", "settings", "v1"])
async def test_some_names_are_no_topics(server: Server, name: str) -> None:
    assert await error_of(server, f"PUT /{name}", body="hi") == 40010
    assert await error_of(server, f"GET /{name}/publish") == 40010
    assert await error_of(server, "POST /", body=json.dumps({"topic": name})) == 40010
    assert await error_of(server, f"DELETE /{name}/sid") == 40010
    assert (await tell(server, f"PUT /{name.upper()}", body="hi"))["topic"] == name.upper()


async def test_further_names_can_be_disallowed(start_server: StartServer) -> None:
    server = await start_server(disallowed_topics=["about", "time"])
    assert await error_of(server, "PUT /about", body="hi") == 40010
    assert await error_of(server, "PUT /docs", body="hi") == 40010
    assert (await tell(server, "PUT /abouts"))["topic"] == "abouts"


# Routes


@pytest.mark.parametrize("word", ["publish", "send", "trigger"])
async def test_get_publishes_by_three_names(server: Server, word: str) -> None:
    assert (await tell(server, f"GET /t/{word}"))["message"] == "triggered"
    message = await tell(
        server, f"GET /t/{word}?message=This+is+a+test&t=A%20title&tags=skull&x-priority=5&delay=24h"
    )
    assert message["message"] == "This is a test"
    assert (message["title"], message["tags"], message["priority"]) == ("A title", ["skull"], 5)
    assert message["time"] == NOW + 24 * 3600
    # a body of a GET counts, too
    assert (await tell(server, f"GET /t/{word}?m=param", body="body"))["message"] == "body"


@pytest.mark.parametrize(
    "topic", ["a", "x" * 64, "-_", "1", "json", "Grafana_Alerts-1", "publish", "ws", "health"]
)
async def test_a_topic_is_letters_digits_dashes_and_underscores(
    server: Server, lane: Lane, topic: str
) -> None:
    message = await tell(server, f"PUT /{topic}", *lane, body="hi")
    assert message["topic"] == topic
    assert await server.poll(topic) == [message]


async def test_a_path_may_be_percent_encoded(server: Server) -> None:
    assert (await tell(server, "PUT /%6Dy%74opic"))["topic"] == "mytopic"
    assert (await tell(server, "PUT /my%2Dtopic%2Fsid"))["sequence_id"] == "sid"
    message = await tell(server, "PUT /a")
    assert (await ask(server, "GET /a%2Cb/json?poll=1")).json_lines() == [message]


@pytest.mark.parametrize(
    "line",
    [
        "POST /t/",
        "POST //t",
        "POST /t,u",
        "POST /t,u/sid",
        "POST /t.u",
        "POST /" + "x" * 65,
        "POST /%00",
        "POST /t%0A",
        "POST /%FF",
        "POST /%C3%A4",
        "POST /t/.",
        "POST /t/a%20b",
        "POST /t/" + "x" * 65,
        "POST /t/a/b",
        "POST /t/sid/",
        "POST /t/sid/clear",
        "PUT /t/sid/delete",
        "PUT /t/sid/clear/",
        "PUT /t/invalid*seq/clear",
        "DELETE /t",
        "DELETE /t/invalid*seq",
        "DELETE /t,u/sid",
        "DELETE /t/sid/delete",
        "PATCH /t",
        "DELETE /",
        "GET /",
        "GET /t",
        "GET /t/",
        "GET /t,u/publish?m=hi",
        "GET /t/publish/",
        "GET /t/sid",
        "GET /t/sid/publish",
        "GET /t/JSON",
        "GET /t,u/sid/clear",
        "GET /t//json",
        "GET /t/../u/json",
        "GET /v1/nothing",
        "POST /v1/health",
        "GET /file/abcdefghijkl",
        "PROPFIND /t",
    ],
)
async def test_there_is_nothing_else(server: Server, line: str) -> None:
    answer = await ask(server, line)
    assert answer.status == 404
    assert answer.body == b'{"code":40401,"http":404,"error":"page not found"}\n'
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/", "/t", "/t/json?poll=1", "/t/publish", "/v1/health"])
async def test_head_is_answered_without_a_body(server: Server, path: str) -> None:
    wire = await server.wire()
    wire.send(f"HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    status, _ = await wire.head()
    assert status == 404
    assert await wire.at_end() == b""
    assert await server.poll("t") == []


@pytest.mark.parametrize("path", ["/", "/t", "/t/sid/clear", "/t,u/json", "/no/such/path/at.all", "*"])
async def test_a_preflight_is_answered_on_any_path(server: Server, path: str) -> None:
    answer = await ask(
        server,
        f"OPTIONS {path}",
        "Origin: https://example.org",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: authorization, x-title",
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, PUT, POST, PATCH, DELETE"
    assert answer.headers["access-control-allow-headers"] == "*, Authorization"
    assert answer.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in answer.headers


async def test_the_health_check_is_open_to_all(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all")
    answer = await ask(server, "GET /v1/health")
    assert (answer.status, answer.body) == (200, b'{"healthy":true}\n')


# The two lanes


REQUESTS: list[tuple[str, tuple[str, ...], bytes]] = [
    ("POST /t", ("Title: =?utf-8?q?caf=C3=A9?=", "P: 5"), "grüße".encode()),
    ("PUT /t?priority=high&tags=a,b&up=0", (), b"  x "),
    ("POST /t", ("Actions: view, a, https://x.org",), b""),
    ("POST /t", ("Delay: tomorrow, 10am", "Timezone: Europe/Berlin"), b"x"),
    ("POST /t", ("Delay: banana",), b"x"),
    ("POST /t", (), b"x" * 4097),
    ("POST /t?up=1", (), b"\xff\0"),
    ("POST /docs", (), b"x"),
    ("POST /", (), b'{"topic":"t","message":"m","tags":[null,"a"]} rest'),
    ("POST /", (), b'{"topic":"t","priority":"5"}'),
    ("POST /", (), b""),
    ("POST /t", ("Authorization: Basic ???",), b"x"),
    ("GET /t/json?poll=1", (), b""),
    ("GET /t/sse?poll=1&since=latest", (), b""),
    ("GET /t/raw?poll=1", (), b""),
    ("GET /t/json?poll=1&since=banana", (), b""),
    ("GET /t,docs/json", (), b""),
    ("GET /t/ws", (), b""),
    ("GET /t,/json", (), b""),
    ("POST /no/such/path", (), b""),
]


async def test_both_lanes_answer_alike(server: Server) -> None:
    for line, headers, body in REQUESTS:
        answers = []
        for lane in LANES.values():
            answer = await ask(server, line, *headers, *lane, body=body)
            if line.startswith(("POST", "PUT")) and answer.status == 200:
                answer.body = json.dumps(plain(answer.json())).encode()
                answer.headers.pop("content-length")
            for word in ("date", "connection"):
                answer.headers.pop(word, None)
            answers.append((answer.status, answer.headers, answer.body))
        assert answers[0] == answers[1], line
