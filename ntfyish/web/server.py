"""The aiohttp lane: every request that the front lane does not read itself.

This module owns the few things of aiohttp that are not in its documented interface: `detach` takes a
connection away from the request handler. A test pins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Invalid, NtfyishError, Reason, Unavailable
from ntfyish.web.http import FileResponse, Request, Response
from ntfyish.web.responses import SERVER
from ntfyish.web.router import Router

MAX_LINE_BYTES = 8190
READ_BUFFER_BYTES = 256 * 1024  # of an upload, before its client must wait
_LAST_WORDS_S = 1.0
# For reading what a refused client still sends: closing at once would take the answer from it
_LINGER_S = 5.0


_PIECE_BYTES = 65_536


class StreamedBody:
    """A body that is read from aiohttp as it arrives, not slower than `min_rate` after a grace time.

    Args:
        timeout_s: grace time for the whole body.
        min_rate: bytes per second that each further second of patience costs.
    """

    def __init__(self, request: web.BaseRequest, timeout_s: float, min_rate: int) -> None:
        self._request = request
        self._deadline_s = timeout_s
        self._min_rate = min_rate
        self._began = asyncio.get_running_loop().time()
        self._read = b""
        self._received = 0
        self._continued = False

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """Return at most `limit` bytes, and whether there are more."""
        pieces = [self._read]
        size = len(self._read)
        while size <= limit:
            piece = await self._next()
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        self._read = b"".join(pieces)
        return self._read[:limit], size > limit

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole body in pieces; none is held while the next is awaited."""
        piece, self._read = self._read, b""
        if piece:
            yield piece
        del piece
        while piece := await self._next():
            yield piece
            del piece

    async def _next(self) -> bytes:
        self._continue()
        patience_s = self._deadline_s + self._received / self._min_rate
        try:
            async with asyncio.timeout_at(self._began + patience_s):
                piece = await self._request.content.read(_PIECE_BYTES)
        except TimeoutError:
            raise Unavailable(Reason.BODY_TIMEOUT) from None
        except (ClientError, HttpProcessingError, ConnectionError):
            raise Invalid(Reason.REQUEST_INVALID, "the body ended early or is malformed") from None
        self._received += len(piece)
        return piece

    def _continue(self) -> None:
        """Ask for the body only now: what is refused by its header never gets here."""
        if self._continued:
            return
        self._continued = True
        expected = self._request.headers.get("Expect", "").lower() == "100-continue"
        if expected and self._request.transport is not None:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class _Detached(web.StreamResponse):
    """What aiohttp gets for a request whose connection is no longer its own."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


class _Connection(RequestHandler):
    """aiohttp's side of a connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what is no HTTP in our words, and not with an error in the log each time."""
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        assert isinstance(self._manager, _Server)
        return self._manager.refuse_malformed()


class _Server(web.Server):
    """Makes connections of ours."""

    refuse_malformed: Callable[[], web.StreamResponse]

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class AiohttpLane:
    """Makes aiohttp's protocols and answers their requests.

    Args:
        tasks: runs the requests, each to its end, whatever becomes of its connection.
        header_timeout_s: how long a connection may be silent before and between requests.
        body_timeout_s: how long a body may take ...
        body_min_rate: ... plus one second for so many bytes of it.
    """

    def __init__(
        self,
        router: Router,
        tasks: Tasks,
        *,
        header_timeout_s: float,
        body_timeout_s: float,
        body_min_rate: int = 10_000,
    ) -> None:
        self._router = router
        self._tasks = tasks
        self._body_timeout_s = body_timeout_s
        self._body_min_rate = body_min_rate
        self._server = _Server(
            self._handle,
            access_log=None,
            auto_decompress=False,  # a body is kept as it was sent, so there is nothing to bomb
            keepalive_timeout=header_timeout_s,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            read_bufsize=READ_BUFFER_BYTES,
            lingering_time=min(_LINGER_S, body_timeout_s),
        )
        self._server.refuse_malformed = self._refuse_malformed

    def protocol(self) -> asyncio.Protocol:
        """Make the protocol that takes a connection over."""
        return self._server()

    async def close(self) -> None:
        """End all connections; requests under way, that `tasks` has ended, may still write their answers."""
        self._server.pre_shutdown()
        await self._server.shutdown(_LAST_WORDS_S)

    def _refuse_malformed(self) -> web.StreamResponse:
        answer = self._router.refuse(Invalid(Reason.REQUEST_INVALID))
        return _to_aiohttp(answer, close=True)

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        if raw.version < (1, 0):  # a line without a version, from before there were headers
            return self._refuse_malformed()
        expect = raw.headers.get("Expect")
        if expect is not None and expect.lower() != "100-continue":
            self._router.count(raw.method, HTTPStatus.EXPECTATION_FAILED)
            return web.Response(status=HTTPStatus.EXPECTATION_FAILED, headers={"Server": SERVER})
        body = StreamedBody(raw, self._body_timeout_s, self._body_min_rate)
        version = (1, 1) if raw.version >= (1, 1) else (1, 0)
        headers, repeated = _fields(raw)
        request = Request(raw.method, raw.raw_path, headers, raw.remote or "", body, version, repeated)
        answer = await self._tasks.complete(self._router.answer(request), "request")
        if isinstance(answer, FileResponse):
            return await self._send_file(raw, answer)
        if isinstance(answer, Response):
            closing = answer.close or self._router.shutting_down or not raw.keep_alive or version < (1, 1)
            return _to_aiohttp(answer, close=closing)
        transport = detach(raw)
        if transport is None:
            if answer.released is not None:
                answer.released()
        else:
            answer.begin(transport, None)
        return _Detached()

    async def _send_file(self, raw: web.BaseRequest, answer: FileResponse) -> web.StreamResponse:
        """Send a long body as fast as it is read at the other end, but give up on who hardly reads."""
        response = web.StreamResponse(status=answer.status, headers=_header_fields(answer))
        response.content_length = answer.length
        try:
            await response.prepare(raw)
            while answer.source is not None and (piece := await answer.source.read()):
                async with asyncio.timeout(self._body_timeout_s + len(piece) / self._body_min_rate):
                    await response.write(piece)
            await response.write_eof()
        except (TimeoutError, ConnectionError, ClientError, NtfyishError):
            # Half of it is out: the end of the connection is all that can still be said.
            if raw.transport is not None:
                raw.transport.abort()
        finally:
            if answer.source is not None:
                answer.source.close()
        return response


def detach(raw: web.BaseRequest) -> asyncio.Transport | None:
    """Take the connection away from aiohttp, whose handler then believes that it was lost.

    Returns None if it has been lost already.
    """
    transport = raw.transport
    handler = raw.protocol
    if transport is None or transport.is_closing() or not isinstance(handler, RequestHandler):
        return None
    handler.transport = None  # else connection_lost would close it
    handler.connection_lost(None)
    return transport


def _fields(raw: web.BaseRequest) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return name -> first value, and name -> all values for what came more than once."""
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in raw.headers.items():
        name = name.lower()
        if not value.isascii():
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        value = value.strip(" \t")
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    return headers, repeated


def _header_fields(answer: Response) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict({"Server": SERVER})
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    for name, value in answer.headers:
        headers.add(name, value)
    return headers


def _to_aiohttp(answer: Response, *, close: bool) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=_header_fields(answer))
    if close:
        response.headers["Connection"] = "close"
        response.force_close()
    return response
