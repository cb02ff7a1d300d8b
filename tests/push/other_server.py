"""A server of somebody else's that answers as told, request by request, on connections that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def refusal(status: int, *fields: str) -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n" + "".join(f"{one}\r\n" for one in fields)
    return head.encode() + b"\r\n"


@dataclass
class Received:
    """A request."""

    line: str
    fields: dict[str, str]


@dataclass
class OtherServer:
    """Gives each request the next of its answers; the last one stays. None hangs.

    Attributes:
        open, most_open: connections.
        flooded: bytes of an endless answer that were taken.
    """

    answers: list[bytes | None]
    requests: list[Received] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    flooded: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def poll_ids(self) -> list[str]:
        return [request.fields["x-poll-id"] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.split("\r\n")[:-2]
                pairs = (one.partition(":") for one in fields)
                received = Received(line, {name.lower(): value.strip() for name, _, value in pairs})
                await reader.readexactly(int(received.fields.get("content-length", "0")))
                self.requests.append(received)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                while answer.endswith(b"ENDLESS"):
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                    self.flooded += 65_536
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def other_server(*answers: bytes | None, port: int = 0) -> AsyncIterator[OtherServer]:
    """Run one, on a port of its own if none is given."""
    one = OtherServer(list(answers))
    listener = await asyncio.start_server(one.serve, "127.0.0.1", port)
    one.port = listener.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listener.close()
