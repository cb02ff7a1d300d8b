"""The front lane: reads the plain requests of the hot routes itself and hands all others to aiohttp.

A publish or subscribe request costs aiohttp 40-60 us before a handler runs; it costs this lane a fifth of
that. What it reads is a strict subset of HTTP/1: one well-formed header block that arrived in one piece,
no transfer coding, no Expect, no repeated or contradictory framing fields, at most one small body with a
Content-Length. Anything else, however slightly unusual, goes to aiohttp with every byte that has
arrived, and the connection stays there; so the odd cases have one home, and it is not here.

Both lanes call the same `Router`, so they differ in speed only (a test shows it).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks
from ntfyish.web.http import BufferedBody, Request, Response
from ntfyish.web.responses import HeadWriter
from ntfyish.web.router import Router

MAX_HEAD_BYTES = 8190
MAX_BODY_BYTES = 64 * 1024
# Many clients send header and body apart. What dribbles in would be looked at from the start each time.
_MAX_PIECES = 2

_HOT = re.compile(
    rb"(?:(?:POST|PUT) /(?:1/messages(?:\.json|\.xml)?|[-_A-Za-z0-9]{1,64})?[ ?]"
    rb"|GET /[-_A-Za-z0-9,]{1,2000}/(?:json|sse|raw|ws)[ ?])"
)
_HEAD = re.compile(
    rb"(GET|POST|PUT) (/[!\"$-~]*+) HTTP/1\.([01])\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
# Fields that change how the request is framed or answered, beyond what this lane does
_UNUSUAL = frozenset(
    {"transfer-encoding", "expect", "te", "trailer", "http2-settings", "proxy-connection", "keep-alive"}
)


class _HandOver(Exception):
    """Not for this lane."""


class Fronts:
    """Makes and owns the connections of the front lane.

    Args:
        aiohttp_protocol: makes the protocol that takes a connection over.
        header_timeout_s: how long a connection may be silent before and between requests.
        body_timeout_s: how long a body may take.
    """

    def __init__(
        self,
        router: Router,
        tasks: Tasks,
        clock: Clock,
        heads: HeadWriter,
        aiohttp_protocol: Callable[[], asyncio.Protocol],
        *,
        header_timeout_s: float,
        body_timeout_s: float,
    ) -> None:
        self.router = router
        self.tasks = tasks
        self.heads = heads
        self.aiohttp_protocol = aiohttp_protocol
        self._header_timeout_s = header_timeout_s
        self._body_timeout_s = body_timeout_s
        self.monotonic = clock.monotonic
        self.open: set[Front] = set()

    def __call__(self) -> Front:
        """Make the protocol of a new connection."""
        return Front(self)

    async def sweep(self) -> None:
        """Close connections that have been silent for too long."""
        now = self.monotonic()
        for front in list(self.open):
            limit_s = self._body_timeout_s if front.has_partial else self._header_timeout_s
            if (not front.busy or front.is_stuck) and now - front.waiting_since > limit_s:
                front.abort()

    def close_after_answers(self) -> None:
        """Let each connection have one more answer."""
        for front in self.open:
            front.close_after_answer()

    def close(self) -> None:
        """End all connections."""
        for front in list(self.open):
            front.close()


class Front(asyncio.Protocol):
    """One connection, until it is handed over or becomes a stream."""

    __slots__ = (
        "_buffer",
        "_closing",
        "_fronts",
        "_peer",
        "_pieces",
        "_reading",
        "_transport",
        "_writable",
        "busy",
        "is_stuck",
        "waiting_since",
    )

    def __init__(self, fronts: Fronts) -> None:
        self._fronts: Final = fronts
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._peer = ""
        self._closing = False
        self._reading = True
        self._writable = True
        self._pieces = 0  # in which the request under way has arrived
        self.busy = False
        self.is_stuck = False  # an answer has been given, but the client reads none
        self.waiting_since = 0.0

    @property
    def has_partial(self) -> bool:
        """Whether a request has begun to arrive."""
        return bool(self._buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self.waiting_since = self._fronts.monotonic()
        self._fronts.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a request under way goes on, its answer goes nowhere."""
        self._transport = None
        self._buffer = b""
        self._fronts.open.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer the request if it is complete."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self.busy:
            self._advance()
        elif len(self._buffer) > MAX_BODY_BYTES and self._reading and self._transport is not None:
            self._reading = False  # a client that pipelines must wait for its answers
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Answer what is under way, then close."""
        self._closing = True
        return self.busy

    def pause_writing(self) -> None:
        """Answer no more for now: the client does not read its answers."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on where it stopped."""
        self._writable = True
        if self.is_stuck:
            self.is_stuck = False
            self._ready()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def close_after_answer(self) -> None:
        """Answer the request under way, or the next one, and close then."""
        self._closing = True

    def close(self) -> None:
        """End the connection; what has been answered is still sent, if the client reads at all."""
        if self.is_stuck:
            self.abort()
        elif self._transport is not None:
            self._transport.close()

    def _advance(self, pipelined: bool = False) -> None:
        """Begin the next request of the buffer, if it is there; `pipelined` if it came with another."""
        try:
            request = self._next_request(pipelined)
        except _HandOver:
            self._hand_over()
            return
        if request is not None:
            self.busy = True
            self._pieces = 0
            self._fronts.tasks.start(self._serve(request), "request")

    def _next_request(self, pipelined: bool) -> Request | None:
        """Take a complete request from the buffer; None if the rest of it has not arrived yet."""
        buffer = self._buffer
        match = _HEAD.match(buffer, 0, MAX_HEAD_BYTES) if _HOT.match(buffer) else None
        if match is None:
            if pipelined and len(buffer) < MAX_HEAD_BYTES and b"\r\n\r\n" not in buffer:
                self._await_piece()
                return None
            raise _HandOver
        method, target, minor, block = match.groups()
        headers = _parse_fields(block)
        length = _check(method, minor, headers)
        end = match.end() + length
        if len(buffer) < end:
            self._await_piece()
            return None
        body = BufferedBody(buffer[match.end() : end])
        self._buffer = buffer[end:]
        version = (1, 1) if minor == b"1" else (1, 0)
        if version == (1, 0) or headers.get("connection", "").lower() == "close":
            self._closing = True
        return Request(method.decode(), target.decode(), headers, self._peer, body, version)

    def _await_piece(self) -> None:
        if self._pieces == 0:
            self.waiting_since = self._fronts.monotonic()
        self._pieces += 1
        if self._pieces > _MAX_PIECES:
            raise _HandOver

    async def _serve(self, request: Request) -> None:
        answer = await self._fronts.router.answer(request)
        transport = self._transport
        if transport is None or transport.is_closing():
            if not isinstance(answer, Response) and answer.released is not None:
                answer.released()
            return
        if isinstance(answer, Response):
            closing = self._closing or answer.close
            transport.write(self._fronts.heads.response(answer, close=closing))
            if closing:
                transport.close()
            else:
                self._ready()
        else:
            self._fronts.open.discard(self)
            answer.begin(transport, self._take_back if not self._closing else None)

    def _take_back(self) -> None:
        """Have the connection again after a poll."""
        if self._transport is not None:
            self._reading = False
            self._transport.set_protocol(self)
            self._transport.set_write_buffer_limits()
            self._fronts.open.add(self)
            self._ready()

    def _ready(self) -> None:
        """Go on with the next request."""
        self.waiting_since = self._fronts.monotonic()
        if not self._writable:
            self.is_stuck = True
            return
        self.busy = False
        if self._buffer:
            self._advance(pipelined=True)
        if not (self.busy or self._reading) and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _hand_over(self) -> None:
        """Let aiohttp have the connection, with what has arrived."""
        transport, buffer = self._transport, self._buffer
        self._buffer = b""
        self._transport = None
        self._fronts.open.discard(self)
        if transport is None or transport.is_closing():
            return
        protocol = self._fronts.aiohttp_protocol()
        transport.set_protocol(protocol)
        transport.resume_reading()
        protocol.connection_made(transport)
        protocol.data_received(buffer)


def _parse_fields(block: bytes) -> dict[str, str]:
    """Return the header fields: lower-case name -> value; decline repeated ones."""
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers:
            raise _HandOver
        headers[name] = value.strip(" \t")
    return headers


def _check(method: bytes, minor: bytes, headers: dict[str, str]) -> int:
    """Return the length of the body, or decline what is not plain."""
    if not _UNUSUAL.isdisjoint(headers) or len(headers) > 100:
        raise _HandOver
    if minor == b"1" and not headers.get("host"):
        raise _HandOver
    connection = headers.get("connection")
    if "upgrade" in headers:
        if method != b"GET" or headers["upgrade"].lower() != "websocket":
            raise _HandOver
    elif connection is not None and connection.lower() not in ("keep-alive", "close"):
        raise _HandOver
    length = headers.get("content-length")
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 8):
        raise _HandOver
    size = int(length)
    if size > MAX_BODY_BYTES or (size and method == b"GET"):
        raise _HandOver
    return size
