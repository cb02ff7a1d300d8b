"""Requests that are malformed, ambiguous or meant for somebody else. A body never becomes a request."""

from __future__ import annotations

import asyncio
import gzip
from typing import cast

import pytest
from aiohttp import http_parser

from tests.conftest import Server, StartServer
from tests.hardening.waiting import until
from tests.wire import Wire, open_wire

POST = "POST /t HTTP/1.1\r\n"
SMUGGLED = "POST /smuggled HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nevil!"
# The connections of the second lane begin with a request that only aiohttp reads.
LANES = ["front", "aiohttp"]


async def lane_wire(server: Server, lane: str) -> Wire:
    wire = await server.wire()
    if lane == "aiohttp":
        assert (await wire.request("GET /v1/health")).status == 200
    return wire


async def answers(wire: Wire, sent: bytes) -> list[tuple[int, bytes]]:
    """Send, and return status and body of each answer until the server closes or has no more to say."""
    wire.send(sent)
    found = []
    while True:
        try:
            async with asyncio.timeout(0.1 if found else 10):
                answer = await wire.answer()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return found
        found.append((answer.status, answer.body))


BAD_HEADERS = {
    "a value of 9 kB": POST + "Host: test\r\nX-A: " + "a" * 9000 + "\r\n\r\n",
    "200 headers": POST + "Host: test\r\n" + "".join(f"X-{n}: a\r\n" for n in range(200)) + "\r\n",
    "an address of 9 kB": f"GET /t/json?{'a' * 9000} HTTP/1.1\r\nHost: test\r\n\r\n",
    "a NUL in a value": POST + "Host: test\r\nX-A: a\0b\r\n\r\n",
    "a NUL in the address": "POST /t\0 HTTP/1.1\r\nHost: test\r\n\r\n",
    "a folded line": POST + "Host: test\r\nX-A: a\r\n b\r\n\r\n",
    "a first line that is folded": POST + " X-A: a\r\nHost: test\r\n\r\n",
    "a space before the colon": POST + "Host: test\r\nX-A : a\r\n\r\n",
    "a line without a colon": POST + "Host: test\r\nnonsense\r\n\r\n",
    "a nameless field": POST + "Host: test\r\n: a\r\n\r\n",
    "two hosts": POST + "Host: test\r\nHost: evil\r\n\r\n",
    "a bare LF": POST + "Host: test\nX-A: a\r\n\r\n",
    "a bare CR": POST + "Host: test\r\nX-A: a\rb: c\r\n\r\n",
    "no version": "POST /t\r\nHost: test\r\n\r\n",
    "version 2": "POST /t HTTP/2.0\r\nHost: test\r\n\r\n",
    "version 1.10": "POST /t HTTP/1.10\r\nHost: test\r\n\r\n",
    "spaces in the address": "POST /t u HTTP/1.1\r\nHost: test\r\n\r\n",
    "a method in odd letters": "PO(ST /t HTTP/1.1\r\nHost: test\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x" * 506,
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", BAD_HEADERS)
async def test_a_malformed_header_is_refused_and_ends_the_connection(
    server: Server, kind: str, lane: str
) -> None:
    wire = await lane_wire(server, lane)
    found = await answers(wire, BAD_HEADERS[kind].encode("latin-1") + SMUGGLED.encode())
    assert len(found) <= 1
    assert all(400 <= status < 500 for status, _ in found), found
    assert await wire.at_end() == b""
    assert await server.poll("t,smuggled", "since=all") == []


@pytest.mark.parametrize("lane", LANES)
async def test_a_request_without_a_host_is_refused(server: Server, lane: str) -> None:
    wire = await lane_wire(server, lane)
    (answer,) = await answers(wire, b"POST /t HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
    assert answer[0] == 400
    assert await server.poll("t", "since=all") == []


CHUNKED = "Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "a length and chunks": f"Content-Length: 4\r\n{CHUNKED}\r\n0\r\n\r\n",
    "chunks and a length": f"{CHUNKED}Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: {size}\r\n\r\n",
    "two lengths that agree": "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": "Content-Length: 0, {size}\r\n\r\n",
    "a length with a plus": "Content-Length: +0\r\n\r\n",
    "a negative length": "Content-Length: -1\r\n\r\n",
    "a length in hex": "Content-Length: 0x0\r\n\r\n",
    "a length with a space in it": "Content-Length: 0 0\r\n\r\n",
    "an empty length": "Content-Length: \r\n\r\n",
    "a length of Arabic digits": "Content-Length: ٠\r\n\r\n",
    "a length of 30 digits": "Content-Length: " + "9" * 30 + "\r\n\r\n",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks, then identity": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks twice": f"{CHUNKED}{CHUNKED}\r\n0\r\n\r\n",
    "a line feed in a chunk's extension": f"{CHUNKED}\r\n0;a\n\r\n\r\n",
    "a chunk's size that is none": f"{CHUNKED}\r\nzz\r\n\r\n",
    "a chunk's size with a sign": f"{CHUNKED}\r\n+0\r\n\r\n",
    "a chunk's size of 2^64": f"{CHUNKED}\r\n10000000000000000\r\n\r\n",
    "a chunk that is longer than it says": f"{CHUNKED}\r\n1\r\nabc\r\n0\r\n\r\n",
    "a vertical tab before the coding": "Transfer-Encoding: \x0bchunked\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", AMBIGUOUS)
async def test_where_a_body_ends_is_never_a_matter_of_opinion(server: Server, kind: str, lane: str) -> None:
    wire = await lane_wire(server, lane)
    rest = AMBIGUOUS[kind].replace("{size}", str(len(SMUGGLED)))
    found = await answers(wire, f"{POST}Host: test\r\n{rest}{SMUGGLED}".encode())
    # The server may answer the request it understood; if it cannot tell, it must not go on.
    assert await server.poll("smuggled", "since=all") == [], found
    assert [status for status, _ in found if status != 400] in ([], [200])
    assert await wire.at_end() == b""


BODIES = {
    "a length": "Content-Length: {size}\r\n\r\n{body}",
    "chunks": CHUNKED + "\r\n{hexsize}\r\n{body}\r\n0\r\n\r\n",
    "chunks with a trailer": CHUNKED + "\r\n{hexsize};a=b\r\n{body}\r\n0\r\nX: y\r\n\r\n",
    "a WebSocket handshake with a body": "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Content-Length: {size}\r\n\r\n{body}",
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    "target",
    [
        "POST /t",
        "PUT /t",
        "POST /",
        "POST /1/messages.json",
        "GET /t/json",
        "GET /t/ws",
        "GET /t/json?poll=1",
        "GET /v1/health",
        "DELETE /t/x",
        "OPTIONS /t",
        "HEAD /t",
    ],
)
@pytest.mark.parametrize("framing", BODIES)
async def test_a_body_that_looks_like_a_request_stays_a_body(
    server: Server, target: str, framing: str, lane: str
) -> None:
    wire = await lane_wire(server, lane)
    rest = BODIES[framing].format(size=len(SMUGGLED), hexsize=f"{len(SMUGGLED):x}", body=SMUGGLED)
    wire.send(f"{target} HTTP/1.1\r\nHost: test\r\n{rest}")
    assert 100 < (await wire.head())[0] < 500
    if target.endswith("/t") and target[0] == "P" and "WebSocket" not in framing:
        await server.publish("t", "after")
        texts = [message["message"] for message in await server.poll("t", "since=all")]
        assert texts == [SMUGGLED, "after"]
    await server.publish("other")  # whatever was sent before has been read by now
    assert await server.poll("smuggled", "since=all") == []


@pytest.mark.parametrize("lane", LANES)
async def test_pipelined_requests_are_answered_in_order(server: Server, lane: str) -> None:
    wire = await lane_wire(server, lane)
    requests = []
    for number in range(40):
        body = f"{number}"
        requests.append(f"POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        requests.append("GET /t/nothing HTTP/1.1\r\nHost: test\r\n\r\n")
    wire.send("".join(requests))
    for number in range(40):
        assert (await wire.answer()).json()["message"] == f"{number}"
        assert (await wire.answer()).status == 404


@pytest.mark.parametrize("before", [1, 40, 100, 250])
async def test_a_connection_that_pipelines_much_may_change_lanes_in_between(
    server: Server, before: int
) -> None:
    wire = await server.wire()
    plain = "POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n" + "x" * 2000
    odd = "GET /v1/health HTTP/1.1\r\nHost: test\r\n\r\n"
    for after in (0, 1, 200):
        wire.send(plain * before + odd + plain * after)  # maybe more than is read at a time
        for _ in range(before):
            assert (await wire.answer()).json()["topic"] == "t"
        assert (await wire.answer()).json() == {"healthy": True}
        for _ in range(after):
            assert (await wire.answer()).json()["topic"] == "t"


@pytest.mark.parametrize("lane", LANES)
async def test_what_follows_a_live_stream_is_ignored_and_its_end_noticed(server: Server, lane: str) -> None:
    async with open_wire(server.port) as wire:
        if lane == "aiohttp":
            assert (await wire.request("GET /v1/health")).status == 200
        wire.send("GET /t/json HTTP/1.1\r\nHost: test\r\n\r\n" + SMUGGLED * 3000)
        assert (await wire.head())[0] == 200
        await wire.json_line()
        published = await server.publish("t")
        assert await wire.json_line() == published
    await until(lambda: not server.running.streams.open)
    assert await server.poll("smuggled", "since=all") == []


@pytest.mark.parametrize(("lane", "field"), [("front", "Connection: close"), ("aiohttp", "X: y")])
async def test_a_poll_after_which_the_connection_ends_says_so(server: Server, lane: str, field: str) -> None:
    published = await server.publish("t")
    wire = await lane_wire(server, lane)
    answer = await wire.request("GET /t/json?poll=1", field)
    assert answer.json_lines() == [published]
    assert answer.headers["connection"] == "close"
    assert await wire.at_end() == b""


async def test_a_trailer_does_not_change_how_the_request_is_read(server: Server) -> None:
    wire = await server.wire()
    trailer = "Content-Length: 99\r\nTransfer-Encoding: identity\r\nTitle: late\r\n"
    found = await answers(
        wire, f"{POST}Host: test\r\n{CHUNKED}\r\n2\r\nhi\r\n0\r\n{trailer}\r\n{SMUGGLED}".encode()
    )
    stored = await server.poll("t", "since=all")
    assert [(message["message"], "title" in message) for message in stored] in ([], [("hi", False)])
    assert len(found) == 1 or stored, found  # it is one request, then another; or none


async def test_a_request_to_tunnel_is_refused(server: Server) -> None:
    wire = await server.wire()
    wire.send("CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    assert (await wire.head())[0] in (400, 404, 405)


async def test_ten_thousand_polls_in_one_write_are_all_answered_in_order(server: Server) -> None:
    published = {topic: await server.publish(topic) for topic in ("a", "b", "c")}
    wire = await server.wire()
    topics = ["abc"[number % 3] for number in range(10_000)]
    wire.send(
        "".join(f"GET /{topic}/json?poll=1&since=all HTTP/1.1\r\nHost: test\r\n\r\n" for topic in topics)
    )
    for topic in topics:
        assert (await wire.answer()).json_lines() == [published[topic]]


@pytest.mark.parametrize("lane", LANES)
async def test_who_pipelines_and_reads_no_answers_costs_bounded_memory_and_is_cut(
    start_server: StartServer, lane: str
) -> None:
    server = await start_server()
    wire = await lane_wire(server, lane)
    transport = cast(asyncio.Transport, wire.writer.transport)
    transport.pause_reading()
    requests = b"POST /t?priority=nonsense HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n" * 1000
    sent = 0
    try:
        while sent < 50_000_000:
            wire.send(requests)
            sent += len(requests)
            async with asyncio.timeout(0.5):
                await wire.writer.drain()
    except TimeoutError:
        pass
    assert sent < 20_000_000  # mostly in the kernel's buffers
    assert (await server.publish("t"))["message"] == "hi"
    if lane == "front":
        await server.clock.advance(30)  # the other lane leaves it to the kernel (TCP_USER_TIMEOUT)
        transport.resume_reading()
        await wire.at_end()
    transport.abort()


async def test_a_malformed_request_leaves_no_trace_in_the_log_and_is_answered_in_our_words(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("a NUL in a value", "no version", "TLS", "HTTP/2"):
        wire = await server.wire()
        wire.send(BAD_HEADERS[kind].encode("latin-1"))
        answer = await wire.answer()
        assert (answer.status, answer.json()["code"]) == (400, 40000)
        assert answer.headers["server"] == "ntfyish"
        assert answer.headers["connection"] == "close"
    assert caplog.messages == []


async def test_aiohttp_reads_requests_with_its_c_parser() -> None:
    """The other one has had holes of its own."""
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("lane", LANES)
async def test_connection_close_is_heeded_and_announced(server: Server, version: str, lane: str) -> None:
    wire = await lane_wire(server, lane)
    wire.send(f"POST /t HTTP/{version}\r\nHost: test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
    status, headers = await wire.head()
    assert status == 200
    assert headers["connection"] == "close"
    assert len(await wire.at_end()) == int(headers["content-length"])


@pytest.mark.parametrize("path", ["/t", "/1/messages.json"])
async def test_a_client_that_expects_100_continue_gets_it_and_then_its_answer(
    server: Server, path: str
) -> None:
    wire = await server.wire()
    wire.send(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await wire.head())[0] == 100
    wire.send("hi")
    assert (await wire.answer()).status == (200 if path == "/t" else 400)


async def test_what_is_too_long_by_its_header_is_refused_before_it_is_sent(server: Server) -> None:
    wire = await server.wire()
    fields = "Host: test\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n"
    wire.send(f"POST /1/messages.json HTTP/1.1\r\n{fields}\r\n")
    assert (await wire.head())[0] == 413


async def test_an_expectation_that_nobody_can_meet_is_417(server: Server) -> None:
    wire = await server.wire()
    answer = await wire.request("POST /t", "Expect: tea", body=b"hi")
    assert answer.status == 417
    assert await server.poll("t", "since=all") == []


@pytest.mark.parametrize("lane", LANES)
async def test_a_compressed_body_is_kept_as_it_came(start_server: StartServer, lane: str) -> None:
    """Nothing inflates it: 10 MB of zeroes in 10 kB stay 10 kB, and are refused as what they are, no text."""
    server = await start_server()
    bomb = gzip.compress(bytes(10_000_000), 9)
    assert len(bomb) < 11_000
    wire = await lane_wire(server, lane)
    fields = ["Content-Encoding: gzip", *(["TE: trailers"] if lane == "aiohttp" else [])]
    answer = await wire.request("POST /t", *fields, body=bomb)
    assert (answer.status, answer.json()["code"]) == (400, 40014)
    answer = await wire.request("POST /t?up=1", *fields, body=gzip.compress(b"small"))
    assert answer.status == 200
    assert answer.json()["encoding"] == "base64"


@pytest.mark.parametrize("lane", LANES)
async def test_an_absolute_target_is_routed_by_its_path(server: Server, lane: str) -> None:
    wire = await lane_wire(server, lane)
    wire.send("POST http://evil.example/t HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\nhi")
    answer = await wire.answer()
    assert answer.status in (200, 404)
    assert b"evil" not in answer.body


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
VERSION = "Sec-WebSocket-Version: 13"


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 400),
        (UPGRADE, 426),
        ((*UPGRADE, VERSION), 400),
        ((*UPGRADE, VERSION, KEY, KEY), 400),
        ((*UPGRADE, VERSION, "Sec-WebSocket-Key: c2hvcnQ="), 400),
        ((*UPGRADE, KEY, "Sec-WebSocket-Version: 12"), 426),
        ((UPGRADE[0], VERSION, KEY), 400),
        ((UPGRADE[1], VERSION, KEY), 400),
        ((UPGRADE[0], "Upgrade: h2c", VERSION, KEY), 400),
    ],
)
async def test_a_bad_handshake_is_refused_in_both_lanes(
    server: Server, fields: tuple[str, ...], status: int, lane: str
) -> None:
    wire = await lane_wire(server, lane)
    answer = await wire.request("GET /t/ws", *fields)
    assert answer.status == status
    if status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
    assert not server.running.streams.open
