"""Large bodies in files that have no name, mapped into memory: for `web.body`.

The pages of a map belong to the system, not to the server: however many large forms come in at once, the
server does not grow. The file has no name (or loses it at once), so nothing is left of it, whatever happens.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from ntfyish.model.errors import Invalid, Reason, Unavailable
from ntfyish.web.form import unescape

T = TypeVar("T")

PIECE_BYTES = 65_536

_SHORT_BYTES = 4096  # what is not longer is no long value

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# An escape that goes on in the next piece
_CUT_PERCENT = re.compile(rb"%[0-9A-Fa-f]?\Z")
_CUT_BACKSLASH = re.compile(rb"(?<!\\)(?:\\\\)*+(\\(?:u[0-9A-Fa-f]{0,3})?)\Z")


class SpooledBody:
    """A body whose beginning is in a file, and of which more may come. It can be read again.

    Attributes:
        data: the beginning.
    """

    def __init__(self, data: mmap.mmap, rest: AsyncIterator[bytes] | None) -> None:
        self.data = data
        self._more = b""
        self._rest = rest

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """Return at most `limit` bytes, and whether there are more."""
        while self._rest is not None and len(self.data) + len(self._more) <= limit:
            piece = await anext(self._rest, b"")
            if not piece:
                self._rest = None
            self._more += piece
        size = len(self.data) + len(self._more)
        return (self.data[:limit] + self._more)[:limit], size > limit or self._rest is not None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole body in pieces."""
        for start in range(0, len(self.data), PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]
        if self._more:
            yield self._more
        if self._rest is not None:
            async for piece in self._rest:
                yield piece


async def spool(
    chunks: AsyncIterator[bytes], limit_bytes: int, folder: Path | None
) -> tuple[SpooledBody, bool]:
    """Return what comes, in a file, and whether it is more than `limit_bytes` (the rest is not read then).

    Args:
        folder: where the file is; None for the system's.

    Raises:
        Unavailable: STORAGE_FULL or STORAGE_BROKEN, or what `chunks` raises.
    """
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
    except OSError as error:
        raise _unavailable(error) from None
    size = 0
    busy: asyncio.Future[None] | None = None
    try:
        async for piece in chunks:
            size += len(piece)
            busy = asyncio.get_running_loop().run_in_executor(None, _write_all, file.write, piece)
            await asyncio.shield(busy)
            piece = b""  # nothing is held while the next is awaited
            if size > limit_bytes:
                break
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise _unavailable(error) from None
    finally:
        if busy is None or busy.done():
            file.close()
        else:  # cancelled; the descriptor must not become another file's while a thread writes to it
            busy.add_done_callback(partial(_close, file.close))
    over = size > limit_bytes
    return SpooledBody(data, chunks if over else None), over


def _write_all(write: Callable[[memoryview], int], piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[write(left) :]


def _close(close: Callable[[], None], busy: asyncio.Future[None]) -> None:
    close()
    if not busy.cancelled():
        busy.exception()  # nobody else asks


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable(Reason.STORAGE_FULL if error.errno in _FULL else Reason.STORAGE_BROKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeText:
    """A long value that stays where it is in a mapped body.

    Attributes:
        data: as sent.
        form: how it is written: "form" (percent escapes), "json" (within quotes) or "plain".
    """

    data: memoryview = field(repr=False)
    form: str

    def pieces(self) -> Iterator[bytes]:
        """Yield the value, decoded, piece by piece.

        Raises:
            Invalid: JSON_INVALID.
        """
        carried = b""
        for start in range(0, len(self.data), PIECE_BYTES):
            piece = carried + bytes(self.data[start : start + PIECE_BYTES])
            carried = b""
            cut = None
            if start + PIECE_BYTES < len(self.data):
                cut = self._cut(piece)
            if cut is not None:
                carried = piece[cut:]
                piece = piece[:cut]
            yield self._decode(piece)

    def _cut(self, piece: bytes) -> int | None:
        tail = max(0, len(piece) - 64)
        if self.form == "form":
            match = _CUT_PERCENT.search(piece, tail)
            return None if match is None else match.start()
        if self.form == "json":
            match = _CUT_BACKSLASH.search(piece, tail)
            return None if match is None else match.start(1)
        return None

    def _decode(self, piece: bytes) -> bytes:
        if self.form == "form":
            piece = piece.replace(b"+", b" ")
            return unescape(piece.decode("latin-1"), "latin-1") if b"%" in piece else piece
        if self.form == "plain":
            return piece
        try:
            text = orjson.loads(b'"' + piece.decode("utf-8", "replace").encode() + b'"')
        except orjson.JSONDecodeError:
            raise Invalid(Reason.JSON_INVALID) from None
        return str(text).encode()


def cut_values(data: mmap.mmap, name: str, is_json: bool) -> tuple[list[tuple[int, int]], int]:
    """Return where the long values of the field `name` are, and how many bytes the rest has."""
    found: list[tuple[int, int]] = []
    if name:
        plain = re.escape(name.encode())
        if is_json:
            pattern = re.compile(rb'"' + plain + rb'"[ \t\r\n]{0,64}+:[ \t\r\n]{0,64}+"([^"]*+)"')
        else:
            pattern = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|&)" + plain + rb"=([^&]*+)")
        for match in pattern.finditer(data):
            start, end = match.span(1)
            if end - start > _SHORT_BYTES:
                found.append((start, end))
    return found, len(data) - sum(end - start for start, end in found)
