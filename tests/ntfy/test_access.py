"""Who may publish and read: default access, credentials in all their forms, inboxes."""

from __future__ import annotations

import base64
import json

import pytest

from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.ntfy.talking import DOCS, PHIL, SECRET_HASH, ask, error_of, tell

TOKEN = "tk_abcdefghijklmnopqrstuvwxyz012"
OTHERS_TOKEN = "tk_00000000000000000000000000000"
OTHERS_INBOX = "uOtherOtherOtherOtherOtherOthe"

PEOPLE: dict[str, object] = {
    "accounts": [
        PHIL,
        {"name": "vera", "user-key": OTHERS_INBOX, "password-hash": SECRET_HASH},
        {"name": "root", "role": "admin", "password-hash": SECRET_HASH},
    ],
    "auth_tokens": [f"phil:{TOKEN}:phone", f"vera:{OTHERS_TOKEN}"],
}


def basic(name: str = "phil", password: str = "secret") -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def hidden(header: str) -> str:
    """Return a header value as `?auth=` carries it."""
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=")


NOBODY = "X-Nobody: asks"
PHIL_BASIC = f"Authorization: {basic()}"
ADMIN = f"Authorization: {basic('root')}"

PUBLISHING = [
    ("PUT /{}", ""),
    ("POST /{}", ""),
    ("GET /{}/publish", ""),
    ("GET /{}/send", ""),
    ("GET /{}/trigger", ""),
    ("POST /", '{{"topic":"{}"}}'),
    ("PUT /{}/sid", ""),
    ("DELETE /{}/sid", ""),
    ("PUT /{}/sid/clear", ""),
    ("GET /{}/sid/read", ""),
    ("GET /{}/sid/delete", ""),
]
READING = ["GET /{}/json?poll=1", "GET /{}/sse?poll=1", "GET /{}/raw?poll=1", "GET /{}/auth"]


@pytest.mark.parametrize(
    ("default", "may_write", "may_read"),
    [
        ("read-write", True, True),
        ("read-only", False, True),
        ("write-only", True, False),
        ("deny-all", False, False),
    ],
)
async def test_the_default_access_is_everybodys(
    start_server: StartServer, lane: tuple[str, ...], default: str, may_write: bool, may_read: bool
) -> None:
    server = await start_server(auth_default_access=default, **PEOPLE)

    async def may(line: str, who: str, body: str = "") -> bool:
        answer = await ask(server, line, who, *lane, body=body)
        assert answer.status in (200, 403)
        if answer.status == 403:
            assert answer.json() == {
                "code": 40301,
                "http": 403,
                "error": "forbidden",
                "link": DOCS + "publish/#authentication",
            }
            assert "www-authenticate" not in answer.headers
        return answer.status == 200

    for who in (NOBODY, PHIL_BASIC, f"Authorization: Bearer {TOKEN}"):
        for line, body in PUBLISHING:
            assert await may(line.format("t"), who, body.format("t")) is may_write, line
        for line in READING:
            assert await may(line.format("t"), who) is may_read, line
    for line, body in PUBLISHING:
        assert await may(line.format("t"), ADMIN, body.format("t"))
    for line in READING:
        assert await may(line.format("t"), ADMIN)


@pytest.mark.parametrize("default", ["read-only", "write-only", "deny-all"])
async def test_an_inbox_is_its_owners_to_read_and_write(start_server: StartServer, default: str) -> None:
    server = await start_server(auth_default_access=default, **PEOPLE)
    others = (NOBODY, f"Authorization: {basic('vera')}", f"Authorization: Bearer {OTHERS_TOKEN}")
    owners = (PHIL_BASIC, f"Authorization: Bearer {TOKEN}", f"Authorization: {basic('', TOKEN)}", ADMIN)
    for line, body in PUBLISHING:
        for who in owners:
            assert (await ask(server, line.format(USER_KEY), who, body=body.format(USER_KEY))).status == 200
        for who in others:
            answer = await ask(server, line.format(USER_KEY), who, body=body.format(USER_KEY))
            assert (answer.status == 200) is (default == "write-only")
    for line in READING:
        for who in owners:
            assert (await ask(server, line.format(USER_KEY), who)).status == 200
        for who in others:
            answer = await ask(server, line.format(USER_KEY), who)
            assert (answer.status == 200) is (default == "read-only")


async def test_what_an_app_sends_is_read_by_the_owner_only(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    form = f"token={APP_TOKEN}&user={USER_KEY}&message=hi".encode()
    sent = await ask(
        server, "POST /1/messages.json", "Content-Type: application/x-www-form-urlencoded", body=form
    )
    assert sent.status == 200
    (message,) = (await ask(server, f"GET /{USER_KEY}/json?poll=1", PHIL_BASIC)).json_lines()
    assert message["message"] == "hi"
    assert await error_of(server, f"GET /{USER_KEY}/json?poll=1", f"Authorization: {basic('vera')}") == 40301


async def test_whoever_may_only_write_gets_the_message_back(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="write-only")
    message = await tell(server, "PUT /t", "Title: T", body="hi")
    assert (message["title"], message["message"]) == ("T", "hi")
    assert await error_of(server, "GET /t/json?poll=1") == 40301


async def test_one_forbidden_topic_forbids_the_whole_list(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    for topics in (f"{USER_KEY},t", f"t,{USER_KEY}", f"{USER_KEY},{OTHERS_INBOX}"):
        for line in READING:
            assert await error_of(server, line.format(topics), PHIL_BASIC) == 40301
    assert (await ask(server, f"GET /{USER_KEY},{USER_KEY}/auth", PHIL_BASIC)).status == 200


async def test_a_topic_is_case_sensitive_also_for_access(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    for topic in (USER_KEY.lower(), USER_KEY.upper(), USER_KEY.swapcase()):
        assert await error_of(server, f"GET /{topic}/json?poll=1", PHIL_BASIC) == 40301
        assert await error_of(server, f"PUT /{topic}", PHIL_BASIC) == 40301


# Credentials


@pytest.mark.parametrize(
    "authorization",
    [
        basic(),
        f"basic {basic().removeprefix('Basic ')}",
        f"BASIC   {basic().removeprefix('Basic ')}",
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
        basic("", TOKEN),
    ],
)
async def test_credentials_have_several_forms(
    start_server: StartServer, lane: tuple[str, ...], authorization: str
) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    line = f"GET /{USER_KEY}/auth"
    answer = await ask(server, line, f"Authorization: {authorization}", *lane)
    assert (answer.status, answer.body) == (200, b'{"success":true}\n')
    for name in ("auth", "authorization"):
        for padding in ("", "=", "=="):
            answer = await ask(server, f"{line}?{name}={hidden(authorization)}{padding}", *lane)
            assert answer.status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        basic(password="wrong"),
        basic(password=""),
        basic("nobody"),
        basic("Phil"),
        basic("phil", TOKEN),
        basic("", "secret"),
        basic("", ""),
        basic("phil\0"),
        basic("ph\u00efl", "s\u00e9cret"),
        "Basic supported",
        "basic supported",
        "Basic ???",
        "Basic",
        "Basic cGhpbA==",
        "Bearer supported",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        "Bearer " + "x" * 4000,
    ],
)
async def test_wrong_credentials_are_told_on_every_path_to_a_topic(
    start_server: StartServer, lane: tuple[str, ...], authorization: str
) -> None:
    server = await start_server(**PEOPLE)
    for line, body in [*PUBLISHING, *((line, "") for line in READING)]:
        answer = await ask(
            server, line.format("t"), f"Authorization: {authorization}", *lane, body=body.format("t")
        )
        assert answer.json() == {
            "code": 40101,
            "http": 401,
            "error": "unauthorized",
            "link": DOCS + "publish/#authentication",
        }
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="ntfyish"'
    assert await server.poll("t") == []


@pytest.mark.parametrize("authorization", ["WebPush abc", "vapid t=a, k=b", "Digest x", "secret", ""])
async def test_other_schemes_are_no_credentials(start_server: StartServer, authorization: str) -> None:
    server = await start_server(auth_default_access="write-only", **PEOPLE)
    header = f"Authorization: {authorization}"
    assert (await tell(server, "PUT /t", header))["message"] == "triggered"
    assert await error_of(server, "GET /t/json?poll=1", header) == 40301


async def test_credentials_in_the_query_come_before_the_header(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    line = f"GET /{USER_KEY}/json?poll=1"
    wrong = f"Authorization: {basic(password='wrong')}"
    assert (await ask(server, f"{line}&auth={hidden(basic())}", wrong)).status == 200
    assert await error_of(server, f"{line}&auth={hidden(basic(password='wrong'))}", PHIL_BASIC) == 40101
    assert (await ask(server, f"{line}&auth=", PHIL_BASIC)).status == 200
    # an X-Auth or Auth header is none
    assert await error_of(server, line, f"Auth: {hidden(basic())}") == 40301


@pytest.mark.parametrize(
    "value", ["%%%", "a", "QmFzaWM", "Basic+cGhpbDpzZWNyZXQ", "w6Q", hidden("Digest x"), "%FF"]
)
async def test_a_malformed_auth_parameter_is_unauthorized(server: Server, value: str) -> None:
    """ntfy answers 500 to some of them."""
    assert await error_of(server, f"PUT /t?auth={value}") == 40101
    assert await error_of(server, f"GET /t/json?poll=1&auth={value}") == 40101


async def test_a_websocket_is_refused_by_status_alone(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    for path, header, status in (
        ("/t/ws", NOBODY, 403),
        (f"/{USER_KEY}/ws", f"Authorization: {basic(password='wrong')}", 401),
        (f"/{USER_KEY}/ws?since=banana", PHIL_BASIC, 400),
        ("/docs/ws", ADMIN, 400),
    ):
        answer = await ask(server, f"GET {path}", header, *upgrade)
        assert (answer.status, answer.body) == (status, b"")
    wire = await server.wire()
    wire.send_request(f"GET /{USER_KEY}/ws?auth={hidden(basic())}", *upgrade)
    assert (await wire.head())[0] == 101


async def test_what_a_refusal_says_does_not_depend_on_whether_there_is_anything(
    start_server: StartServer,
) -> None:
    server = await start_server(auth_default_access="write-only", **PEOPLE)
    await tell(server, "PUT /busy", body="hi")
    refusals = [(await ask(server, f"GET /{topic}/json?poll=1")).body for topic in ("busy", "never-used")]
    assert refusals[0] == refusals[1]
    logins = [
        (await ask(server, "GET /t/auth", f"Authorization: {basic(name, 'wrong')}")).body
        for name in ("phil", "nobody")
    ]
    assert logins[0] == logins[1]


async def test_rights_are_checked_before_what_is_asked_for(start_server: StartServer) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    assert await error_of(server, "PUT /t?priority=9&delay=x") == 40301
    assert await error_of(server, "GET /t/json?since=banana") == 40301
    # but JSON has to be read to know the topic
    assert await error_of(server, "POST /", body="x") == 40024
    assert await error_of(server, "POST /", body=json.dumps({"topic": "a b"})) == 40009
    assert await error_of(server, "POST /", body=json.dumps({"topic": "t", "priority": 9})) == 40301


# Access entries and limited tokens

SCOPED = "tk_11111111111111111111111111111"
SENDER = "tk_22222222222222222222222222222"


async def start_with_entries(start_server: StartServer, default: str = "deny-all") -> Server:
    accounts = [
        {
            **PHIL,
            "tokens": [
                {"token": SCOPED, "topics": ["phils_*"]},
                {"token": SENDER, "permissions": ["publish"]},
            ],
        },
        {"name": "vera", "user-key": OTHERS_INBOX, "password-hash": SECRET_HASH},
        {"name": "root", "role": "admin", "password-hash": SECRET_HASH},
    ]
    entries = [
        "phil:phils_*:rw",
        "phil:phils_log:read-only",
        "everyone:up*:write-only",
        "*:news:ro",
        "vera:news:deny",
    ]
    return await start_server(
        auth_default_access=default, accounts=accounts, auth_access=entries, auth_tokens=[f"phil:{TOKEN}"]
    )


@pytest.mark.parametrize(
    ("who", "topic", "may_write", "may_read"),
    [
        (PHIL_BASIC, "phils_a", True, True),
        (f"Authorization: Bearer {TOKEN}", "phils_a", True, True),
        (PHIL_BASIC, "phils_log", False, True),
        (PHIL_BASIC, "philsXa", False, False),
        (PHIL_BASIC, "Phils_a", False, False),
        (PHIL_BASIC, "news", False, True),
        (PHIL_BASIC, "up1", True, False),
        (NOBODY, "phils_a", False, False),
        (NOBODY, "up1", True, False),
        (NOBODY, "UP1", False, False),
        (NOBODY, "news", False, True),
        (f"Authorization: {basic('vera')}", "news", False, False),
        (f"Authorization: {basic('vera')}", "phils_a", False, False),
        (ADMIN, "phils_log", True, True),
        (f"Authorization: Bearer {SCOPED}", "phils_a", True, True),
        (f"Authorization: Bearer {SCOPED}", "phils_log", False, True),
        (f"Authorization: Bearer {SCOPED}", "news", False, False),
        (f"Authorization: Bearer {SCOPED}", USER_KEY, False, False),
        (f"Authorization: Bearer {SENDER}", "phils_a", True, False),
        (f"Authorization: Bearer {SENDER}", USER_KEY, True, False),
        (f"Authorization: {basic('', SENDER)}", "news", False, False),
    ],
)
async def test_access_entries_decide(
    start_server: StartServer, who: str, topic: str, may_write: bool, may_read: bool
) -> None:
    server = await start_with_entries(start_server)
    for line, body in PUBLISHING:
        answer = await ask(server, line.format(topic), who, body=body.format(topic))
        assert answer.status == (200 if may_write else 403), line
    for line in READING:
        assert (await ask(server, line.format(topic), who)).status == (200 if may_read else 403), line


async def test_one_topic_that_an_entry_forbids_refuses_the_whole_request(start_server: StartServer) -> None:
    server = await start_with_entries(start_server)
    for line in READING:
        assert (await ask(server, line.format("phils_a,news"), PHIL_BASIC)).status == 200
        for topics in ("phils_a,up1", "up1,phils_a", "phils_a,news,else"):
            assert await error_of(server, line.format(topics), PHIL_BASIC) == 40301


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/health",
        "GET /nowhere/at/all",
        "GET /",
        "GET /t?up=1",
        "GET /t",
        "OPTIONS /t",
        "DELETE /t",
        "GET /t,/json",
        "PUT /docs",
        "GET /docs/json",
    ],
)
async def test_wrong_credentials_are_told_on_every_path(
    start_server: StartServer, lane: tuple[str, ...], line: str
) -> None:
    server = await start_server(**PEOPLE)
    for authorization in (basic(password="wrong"), basic("nobody"), "Bearer tk_x"):
        assert await error_of(server, line, f"Authorization: {authorization}", *lane) == 40101
    right = await ask(server, line, PHIL_BASIC, *lane)
    nobody = await ask(server, line, *lane)
    other = await ask(server, line, "Authorization: WebPush abc", *lane)
    assert (right.status, right.body) == (nobody.status, nobody.body) == (other.status, other.body)
    assert right.status != 401


@pytest.mark.parametrize("authorization", [basic(password="wrong"), "Bearer tk_x", basic(), ADMIN])
async def test_pushovers_side_does_not_look_at_credentials(
    start_server: StartServer, lane: tuple[str, ...], authorization: str
) -> None:
    server = await start_server(auth_default_access="deny-all", **PEOPLE)
    header = f"Authorization: {authorization}"
    form = "Content-Type: application/x-www-form-urlencoded"

    def body(user: str) -> bytes:
        return f"token={APP_TOKEN}&user={user}&message=hi".encode()

    answer = await ask(server, "POST /1/messages.json", header, form, *lane, body=body(USER_KEY))
    assert answer.status == 200
    assert (await ask(server, f"GET /1/sounds.json?token={APP_TOKEN}", header, *lane)).status == 200
    # and an administrator's do not open topics to it
    answer = await ask(server, "POST /1/messages.json", header, form, *lane, body=body("t"))
    assert answer.json()["user"] == "invalid"


async def test_an_app_reaches_topics_by_name_where_everybody_may_write(start_server: StartServer) -> None:
    server = await start_with_entries(start_server)
    form = "Content-Type: application/x-www-form-urlencoded"
    for topic, status in (("up1", 200), ("news", 400), ("phils_a", 400), ("UP1", 400)):
        body = f"token={APP_TOKEN}&user={topic}&message=hi".encode()
        assert (await ask(server, "POST /1/messages.json", form, body=body)).status == status, topic
