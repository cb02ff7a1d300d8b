"""Files on disk: one flat folder, one file per attachment, named by its id. `FileStore` for the core.

Everything that touches the disk runs in threads of its own. A file has its own name only once it is
complete and on disk; until then it is ``.<id>.part``. Nothing but an id of 12 letters and digits ever
becomes part of a path.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from ntfyish.model.errors import Reason, Unavailable
from ntfyish.model.message import ID_LENGTH

_log = logging.getLogger(__name__)

T = TypeVar("T")

READ_BYTES = 512 * 1024
WRITE_BYTES = 512 * 1024
_THREADS = 4
_ID = re.compile(rf"[A-Za-z0-9]{{{ID_LENGTH}}}")
_PARTIAL = re.compile(rf"\.([A-Za-z0-9]{{{ID_LENGTH}}})\.part")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_A_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})  # nothing, a link, a socket
_MAX_VECTORS = 512  # of one writev; the system allows 1024


class _Threads:
    """Where all work on the disk is done."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, "files")

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def finish(self, started: asyncio.Future[T]) -> T:
        """Wait for work; it goes on if the caller is cancelled.

        Raises:
            Unavailable: STORAGE_FULL, STORAGE_BROKEN.
        """
        try:
            return await asyncio.shield(started)
        except OSError as error:
            if error.errno in _FULL:
                raise Unavailable(Reason.STORAGE_FULL) from None
            _log.error("The folder of the attachments does not work: %s", error)
            raise Unavailable(Reason.STORAGE_BROKEN) from None

    async def run(self, work: Callable[[], T]) -> T:
        return await self.finish(self.start(work))

    def close(self) -> None:
        self._executor.shutdown(wait=True)


class FileFolder:
    """`FileStore` in a folder."""

    def __init__(self, path: Path, threads: _Threads) -> None:
        self._path = path
        self._threads = threads

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[FileFolder]:
        """Use a folder, which is made if there is none.

        Raises:
            OSError: it cannot be used.
        """
        threads = _Threads()
        try:
            await threads.start(partial(path.mkdir, parents=True, exist_ok=True, mode=0o700))
            yield cls(path, threads)
        finally:
            threads.close()

    async def create(self, id: str) -> NewFile:
        """Begin a file."""
        partial_path, path = self._paths(id)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = await self._threads.run(lambda: os.open(partial_path, flags, 0o600))
        return NewFile(self._threads, descriptor, partial_path, path)

    async def open_file(self, id: str) -> OpenFile | None:
        """Open a file to read; None if there is none."""
        path = self._paths(id)[1]
        found = await self._threads.run(lambda: _open_regular(path))
        return None if found is None else OpenFile(self._threads, *found)

    async def remove(self, ids: Iterable[str]) -> None:
        """Delete files, complete or not; those that do not exist are passed over."""
        paths = [path for id in ids for path in self._paths(id)]
        await self._threads.run(lambda: _unlink(paths))

    async def list_ids(self) -> Sequence[str]:
        """Return the ids of all files, complete or not. Files of other names are nobody's business."""
        return await self._threads.run(lambda: _list_ids(self._path))

    def _paths(self, id: str) -> tuple[Path, Path]:
        if _ID.fullmatch(id) is None:
            raise ValueError("not an id")
        return self._path / f".{id}.part", self._path / id


class NewFile:
    """A file that is being written: `write` as often as needed, then `finish` or `discard`."""

    def __init__(self, threads: _Threads, descriptor: int, partial_path: Path, path: Path) -> None:
        self._threads = threads
        self._descriptor = descriptor
        self._partial_path = partial_path
        self._path = path
        self._pieces: list[bytes] = []
        self._gathered = 0
        # One write is under way while the next is gathered: the memory of a file is twice `WRITE_BYTES`.
        self._working: asyncio.Future[None] | None = None

    async def write(self, piece: bytes) -> None:
        """Append bytes.

        Raises:
            Unavailable: STORAGE_FULL, STORAGE_BROKEN, of this write or the one before.
        """
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= WRITE_BYTES or len(self._pieces) >= _MAX_VECTORS:
            await self._flush()

    async def finish(self) -> None:
        """Have everything on disk, and give the file its name."""
        await self._flush()
        await self._settle()
        descriptor, self._descriptor = self._descriptor, -1
        self._working = self._threads.start(lambda: _complete(descriptor, self._partial_path, self._path))
        await self._settle()

    async def discard(self) -> None:
        """Delete the file, finished or not."""
        if self._working is not None:
            await asyncio.wait([self._working])
            self._working = None
        descriptor, self._descriptor = self._descriptor, -1

        def drop() -> None:
            if descriptor >= 0:
                os.close(descriptor)
            _unlink([self._partial_path, self._path])

        await self._threads.run(drop)

    async def _flush(self) -> None:
        await self._settle()
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        if pieces:
            self._working = self._threads.start(partial(_write_all, self._descriptor, pieces))

    async def _settle(self) -> None:
        if self._working is not None:
            await self._threads.finish(self._working)
            self._working = None


class OpenFile:
    """A file that is being read; `close` it.

    Attributes:
        size_bytes: of the whole file.
    """

    def __init__(self, threads: _Threads, descriptor: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._threads = threads
        self._descriptor = descriptor
        self._at = 0
        self._end = size_bytes
        self._ahead: asyncio.Future[bytes] | None = None

    def limit(self, start: int, end: int) -> None:
        """Read only the bytes from `start` up to `end`; before the first `read`."""
        self._at, self._end = start, min(end, self.size_bytes)

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end; the ones after them are read meanwhile."""
        ahead = self._ahead or self._start()
        if ahead is None:
            return b""
        piece = await self._threads.finish(ahead)
        self._at += len(piece)
        self._ahead = self._start() if piece else None
        return piece

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._ahead is None or self._ahead.done():
            os.close(descriptor)
        else:
            self._ahead.add_done_callback(lambda _: os.close(descriptor))

    def _start(self) -> asyncio.Future[bytes] | None:
        size = min(READ_BYTES, self._end - self._at)
        if size <= 0 or self._descriptor < 0:
            return None
        return self._threads.start(partial(os.pread, self._descriptor, size, self._at))


def _write_all(descriptor: int, pieces: list[bytes]) -> None:
    written = os.writev(descriptor, pieces)
    for piece in pieces:  # only a full disk or a signal cuts a write short
        if written >= len(piece):
            written -= len(piece)
            continue
        rest = memoryview(piece)[written:]
        written = 0
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _complete(descriptor: int, partial_path: Path, path: Path) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(partial_path, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open_regular(path: Path) -> tuple[int, int] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return None
    return descriptor, found.st_size


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _list_ids(folder: Path) -> list[str]:
    found: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _PARTIAL.fullmatch(entry.name):
                found.add(match[1])
            elif _ID.fullmatch(entry.name):
                found.add(entry.name)
    return list(found)
