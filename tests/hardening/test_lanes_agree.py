"""A request has the same answer whether the front lane reads it or aiohttp does."""

from __future__ import annotations

import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY, Server
from tests.wire import Answer, open_wire

RANDOM = re.compile(
    rb'("(?:id|sequence_id)":"|id: )[A-Za-z0-9]{12}'
    rb'|("request":"|<request>)[-0-9a-f]{36}'
    rb'|("receipt":"|<receipt>)[A-Za-z0-9]{30}'
)
FORM = f"token={APP_TOKEN}&user={TOPIC_KEY}&message=hi".encode()

odd_case = st.sampled_from([str, str.upper, str.lower, str.title, str.swapcase])
texts = st.one_of(
    st.sampled_from(
        ["", "hi", "grüße", "日本語", "=?UTF-8?B?8J+Ygw==?=", "a, b", "high", "5", "yes", "0", "\x80\xff"]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=20),
)
names = st.sampled_from(
    [
        "X-Title", "Title", "Message", "Priority", "Tags", "Click", "Icon", "Cache", "Markdown", "Actions",
        "Content-Type", "User-Agent", "Accept", "Origin", "Since", "Poll-ID", "Content-Encoding",
        "Authorization", "Cookie", "Last-Event-ID", "X-Forwarded-For", "Encoding", "X-Odd_Name!",
    ]
)  # fmt: skip
content_types = st.sampled_from(
    [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: application/json",
        "Content-Type: text/plain; charset=latin-1",
        "Content-Type: multipart/form-data; boundary=b",
    ]
)
padding = st.sampled_from(["", " ", "\t", "  \t "])
fields = st.builds(
    lambda name, case, before, value, after: f"{case(name)}:{before}{value}{after}",
    names, odd_case, padding, texts, padding,
)  # fmt: skip
queries = st.one_of(
    st.just(""),
    st.sampled_from(
        [
            "?", "?a", "?title=a+b%20c", "?priority=9", "?message=%ff", "?up=1", "?tags=a,b&t=%F0%9F%98%80",
            "?cache=no", "?auth=nonsense", "?delay=1h", "?x=" + "y" * 500, "??&&==",
            f"?token={APP_TOKEN}&user={USER_KEY}&message=q",
        ]
    ),
)  # fmt: skip
targets = st.one_of(
    st.builds(
        "{} {}{}".format,
        st.sampled_from(["POST", "PUT"]),
        st.sampled_from(
            [
                "/t", "/1", "/", "/docs", "/" + "x" * 64, "/a-b_C",
                "/1/messages.json", "/1/messages.xml", "/1/messages",
            ]
        ),
        queries,
    ),
    st.builds(
        "GET {}{}".format,
        st.sampled_from(
            [
                "/p/json", "/p/sse", "/p/raw", "/p,q,p/json", "/p/ws", "/nothing/json", "/docs/json",
                "/a,,b/json",
            ]
        ),
        st.sampled_from(
            [
                "?poll=1", "?poll=1&since=all", "?poll=yes&p=4", "?since=nonsense", "?poll=1&sched=1",
                "?poll=1&since=5m&id=x",
            ]
        ),
    ),
)  # fmt: skip
bodies = st.one_of(
    st.sampled_from(
        [
            b"", b"hi", b"\xff\xfe", b"x" * 5000, b"x" * 60_000,
            FORM, FORM + b"&priority=2", FORM + b"&html=1&monospace=1",
            b'{"topic":"t","message":"j","priority":4}', b'{"topic":"t"', b"[]",
            b'{"token":"%b","user":"%b","message":"j"}' % (APP_TOKEN.encode(), TOPIC_KEY.encode()),
            b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\nx\r\n--b--\r\n',
        ]
    ),
    st.binary(max_size=50),
)  # fmt: skip
connections = st.sampled_from([None, None, "keep-alive", "Keep-Alive", "close", "CLOSE"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return a well-formed request."""
    target = draw(targets)
    body = b"" if target.startswith("GET") else draw(bodies)
    lines = [*draw(st.lists(fields, max_size=5)), *draw(st.lists(content_types, max_size=1))]
    if (connection := draw(connections)) is not None:
        lines.append(f"{draw(odd_case)('Connection')}: {connection}")
    if body or draw(st.booleans()):
        lines.append(f"{draw(odd_case)('Content-Length')}: {len(body)}")
    lines.insert(draw(st.integers(0, len(lines))), f"{draw(odd_case)('Host')}: test.example:8080")
    encoding = draw(st.sampled_from(["utf-8", "latin-1"]))
    head = "\r\n".join([f"{target} HTTP/1.{draw(st.sampled_from('1110'))}", *lines, "", ""])
    return head.encode(encoding, "replace") + body


def normal(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Return what must be the same: without identifiers, time of day and what counts down."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    headers.pop("x-limit-app-remaining", None)
    headers.pop("x-request-id", None)
    if headers.get("transfer-encoding") == "chunked":
        headers.pop("connection", None)  # aiohttp's lane cannot go on after a poll, and says so
    return answer.status, headers, RANDOM.sub(lambda found: found[1] or found[2] or found[3], answer.body)


async def ask(server: Server, request: bytes, *, aiohttp: bool) -> tuple[int, dict[str, str], bytes]:
    async with open_wire(server.port) as wire:
        if aiohttp:
            assert (await wire.request("GET /v1/health")).status == 200  # aiohttp keeps the connection
        wire.send(request)
        return normal(await wire.answer())


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests())
@example(b"POST /t HTTP/1.0\r\n\r\n")
@example(b"POST /t HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
@example(b"GET /p/json?poll=1&since=all HTTP/1.0\r\n\r\n")
@example(b"PUT /t HTTP/1.1\r\nHost: \r\nContent-Length: 2\r\n\r\nhi")
@example(b"POST /t HTTP/1.1\r\nHost: test\r\nTitle: \xff\xc3\xbc\r\nContent-Length: 000\r\n\r\n")
@example(b"POST /t HTTP/1.1\r\nHost: test\r\nTitle: a\r\nTitle: b\r\nContent-Length: 0\r\n\r\n")
@example(b"POST /t%20x HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
@example(b"POST /t?title=a#b HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
@example(b"GET /p/json?poll=1&x=#b HTTP/1.1\r\nHost: test\r\n\r\n")
async def test_both_lanes_answer_alike(server: Server, request: bytes) -> None:
    if not await server.poll("p"):
        for number in range(3):
            await server.publish("p", f"{number}\nü", p=str(number + 3))
    assert await ask(server, request, aiohttp=False) == await ask(server, request, aiohttp=True)


async def test_both_lanes_open_websockets_alike(server: Server) -> None:
    handshake = (
        b"GET /p/ws HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert await ask(server, handshake, aiohttp=False) == await ask(server, handshake, aiohttp=True)
