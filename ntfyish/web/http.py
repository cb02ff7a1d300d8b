"""Requests and responses as the dialects see them, whichever lane of the server they came in by.

The front lane (`web.front`) and the aiohttp lane (`web.server`) build `Request`; handlers return a
`Response`, a `Takeover` (`web.streams`, `web.push_socket`), or None for "not mine, ask the next dialect".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, unquote

from ntfyish.model.errors import NtfyishError

if TYPE_CHECKING:
    from ntfyish.core.limits import Visitor

JSON = "application/json"
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


class Body(Protocol):
    """A request's body, read at most once; hostile until read."""

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """Return at most `limit` bytes from the beginning, and whether there are more.

        May be called again with a larger limit: it answers from the beginning once more.

        Raises:
            Unavailable: BODY_TIMEOUT if the body comes too slowly.
        """

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole body in pieces, for uploads that must not be held in memory."""


@dataclass(slots=True)
class BufferedBody:
    """A body that has arrived completely."""

    data: bytes = b""

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """Return at most `limit` bytes, and whether there are more."""
        return self.data[:limit], len(self.data) > limit

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in one piece."""
        yield self.data


class Request:
    """One HTTP request.

    Attributes:
        method: upper case, as sent.
        path: percent-decoded, without the query.
        query_string: as sent, without the question mark.
        headers: lower-case name -> first value, decoded as UTF-8 (bad bytes become U+FFFD), trimmed.
        repeated: lower-case name -> all values, for the fields that came more than once.
        peer: the address of the socket's other end; "" if it has none (a Unix socket).
        version: (1, 0) or (1, 1).
        body: the body.
        visitor: who sends it, as soon as a dialect has found out.
    """

    __slots__ = (
        "_pairs",
        "_query",
        "body",
        "headers",
        "method",
        "path",
        "peer",
        "query_string",
        "repeated",
        "version",
        "visitor",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        peer: str,
        body: Body,
        version: tuple[int, int] = (1, 1),
        repeated: Mapping[str, Sequence[str]] = _NOTHING,
    ) -> None:
        path, _, self.query_string = target.partition("?")
        self.method = method
        self.path = unquote(path) if "%" in path else path
        self.headers = headers
        self.repeated = repeated
        self.peer = peer
        self.body = body
        self.version = version
        self._pairs: list[tuple[str, str]] | None = None
        self._query: dict[str, str] | None = None
        self.visitor: Visitor | None = None

    def values(self, name: str) -> Sequence[str]:
        """Return all values of a header field, in order."""
        if name in self.repeated:
            return self.repeated[name]
        return [self.headers[name]] if name in self.headers else []

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        """The query's parameters in order, decoded ("+" is a blank), blank values kept."""
        if self._pairs is None:
            self._pairs = parse_qsl(self.query_string, keep_blank_values=True) if self.query_string else []
        return self._pairs

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters: exact name -> first value."""
        if self._query is None:
            self._query = {}
            for name, value in self.query_pairs:
                self._query.setdefault(name, value)
        return self._query


@dataclass(slots=True, kw_only=True)
class Response:
    """A complete response.

    Attributes:
        headers: further header fields (names in any case), besides Content-Type, Content-Length and Date.
        close: end the connection afterwards.
        code: ntfy's code of the error; 0 for none.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
    code: int = 0


class Source(Protocol):
    """What a long body is read from, piece by piece."""

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""

    def close(self) -> None:
        """Let go of it; more than once does no harm."""


@dataclass(slots=True, kw_only=True)
class FileResponse(Response):
    """A response whose body is sent as it is read. Only the aiohttp lane gets to send one.

    Attributes:
        length: bytes of the body.
        source: has exactly so many; None for a header without its body. Whoever sends it closes it.
    """

    length: int = 0
    source: Source | None = None


class Takeover(Protocol):
    """An answer that takes the connection over: a stream, or another WebSocket."""

    @property
    def released(self) -> Callable[[], None] | None:
        """To be called if it never begins."""

    def begin(self, transport: asyncio.Transport, then: Callable[[], None] | None) -> None:
        """Take over `transport`, whose request has been read; `then` gives it back, if that is possible."""


Handler = Callable[[Request], Awaitable["Response | Takeover | None"]]


class Dialect(Protocol):
    """One of the APIs the server speaks."""

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`, or None if the path is not this dialect's."""

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Put `error` into the dialect's own form."""
