"""How these tests send files and fetch them."""

from __future__ import annotations

import struct
import zlib
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import APP_TOKEN, USER_KEY, Server
from tests.ntfy.talking import ask
from tests.wire import Answer


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\0"))
    + _chunk(b"IEND", b"")
)


async def upload(server: Server, data: bytes, *headers: str, topic: str = "t") -> dict[str, Any]:
    """Upload a file as ntfy's clients do and return the message."""
    answer = await ask(server, f"PUT /{topic}", *headers, body=data)
    assert answer.status == 200, answer
    return dict(answer.json())


def path_of(message: dict[str, Any]) -> str:
    """Return where a message's file is on its server."""
    url = urlsplit(message["attachment"]["url"])
    return f"{url.path}?{url.query}" if url.query else url.path


async def fetch(server: Server, message: dict[str, Any], *headers: str, method: str = "GET") -> Answer:
    """Fetch a message's file."""
    wire = await server.wire()
    wire.send_request(f"{method} {path_of(message)}", *headers)
    if method != "HEAD":
        return await wire.answer()
    status, fields = await wire.head()
    assert await wire.is_silent(), "HEAD has a body"
    return Answer(status, fields, b"")


def files(server: Server) -> list[str]:
    """Return the names of all files in the folder."""
    return sorted(path.name for path in (server.data_dir / "attachments").iterdir())


BOUNDARY = "----7d1f"


def form(**parts: str | tuple[str, str, bytes]) -> bytes:
    """Return a multipart body; a tuple is a file: name, type, content."""
    out = b""
    for name, value in parts.items():
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, str):
            out += b"\r\n\r\n" + value.encode()
        else:
            filename, kind, content = value
            out += f'; filename="{filename}"\r\nContent-Type: {kind}\r\n\r\n'.encode() + content
        out += b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


async def push(server: Server, **parts: str | tuple[str, str, bytes]) -> Answer:
    """Send a Pushover message as a multipart form, to phil unless `user` says otherwise."""
    body = form(**{"token": APP_TOKEN, "user": USER_KEY, "message": "look", **parts})
    content_type = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return await ask(server, "POST /1/messages.json", content_type, body=body)
