"""The icon that messages of Open Clients name, ``/icons/NAME.png``: one built-in picture.

It is drawn here, so that there is no file to install: a white bell on the colour of the project.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache

from ntfyish.web.http import Request, Response

ICON = "ntfyish"
ICON_PATH = f"/icons/{ICON}.png"

_ROWS = (
    "................",
    ".......##.......",
    "......####......",
    ".....######.....",
    "....########....",
    "....########....",
    "....########....",
    "....########....",
    "...##########...",
    "...##########...",
    "..############..",
    "..############..",
    "................",
    "......####......",
    ".......##.......",
    "................",
)
_SCALE = 4
_PALETTE = bytes((0x33, 0x85, 0x74)) + b"\xff\xff\xff"
_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "public, max-age=86400"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
)


async def send_icon(request: Request) -> Response:
    """Return the picture."""
    return Response(body=draw(), content_type="image/png", headers=_HEADERS)


@cache
def draw() -> bytes:
    """Return the picture as a PNG with a palette of two colours, 64 by 64 pixels."""
    lines = [bytes(pixel == "#" for pixel in row for _ in range(_SCALE)) for row in _ROWS]
    pixels = b"".join((b"\0" + line) * _SCALE for line in lines)
    size = len(_ROWS) * _SCALE
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", _PALETTE)
        + _chunk(b"IDAT", zlib.compress(pixels, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
