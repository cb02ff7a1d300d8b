"""A raw HTTP connection for tests: sends bytes as they are, reads responses piece by piece."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 10.0


@dataclass
class Answer:
    """A complete HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def json_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._text = b""

    def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def request(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        """Send a request given as ``METHOD /path`` and return its answer."""
        self.send_request(line, *headers, body=body)
        return await self.answer()

    def send_request(self, line: str, *headers: str, body: bytes = b"") -> None:
        fields = ["Host: test", *headers]
        if body or not line.startswith("GET"):
            fields.append(f"Content-Length: {len(body)}")
        self.send(f"{line} HTTP/1.1\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n")
        self.send(body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a response header."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
        return int(first.split()[1]), headers

    async def answer(self) -> Answer:
        """Read a complete response."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_S):
            if "chunked" in headers.get("transfer-encoding", ""):
                body = b""
                while piece := await self.chunk():
                    body += piece
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif status in (101, 204, 304) or status < 200:
                body = b""
            else:
                body = await self.reader.read()
        return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        """Read one chunk; b"" is the last one."""
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def line(self) -> bytes:
        """Read one line of a chunked stream, however it was cut into chunks."""
        while b"\n" not in self._text:
            piece = await self.chunk()
            assert piece, "the stream ended"
            self._text += piece
        line, _, self._text = self._text.partition(b"\n")
        return line

    async def json_line(self) -> dict[str, Any]:
        return dict(json.loads(await self.line()))

    async def at_end(self) -> bytes:
        """Read until the other side ends the connection, in whatever way; return what came."""
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while piece := await self.reader.read(65536):
                    data += piece
            except ConnectionError:
                pass
        return data

    async def is_silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for a moment. For proving an absence; a presence is awaited."""
        try:
            async with asyncio.timeout(seconds):
                self._text += await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def open_wire(port: int, *, receive_buffer: int = 0) -> AsyncIterator[Wire]:
    """Connect to a port of this machine."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**24)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass
