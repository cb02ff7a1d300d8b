"""Files through the server beside files copied on the same disk: `measures` calls it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.bench import Bench
from bench.figures import Sample
from bench.machine import MemoryWatch
from bench.servers import Server

_PIECE_BYTES = 1 << 20
_WARM = 2


def take(bench: Bench, name: str) -> Sample:
    """Upload and download files one after the other, and copy as many in between (read, write, fsync)."""
    with bench.server(name) as server:
        assert server.data is not None
        folder = bench.stable.folder("copies")
        source = folder / "source"
        size = bench.scale.attachment_bytes
        source.write_bytes(os.urandom(_PIECE_BYTES) * (size // _PIECE_BYTES))
        data = source.read_bytes()
        paths = [_upload(server, data) for _ in range(_WARM)]
        for path in paths:
            _download(server, path, size)
        spent = {"copy": 0.0, "upload": 0.0, "download": 0.0}
        with MemoryWatch(server.pid) as memory:
            for number in range(bench.scale.attachments):
                spent["copy"] += _timed(partial(_copy, source, folder / f"copy{number}"))
                began = time.perf_counter()
                path = _upload(server, data)
                spent["upload"] += time.perf_counter() - began
                spent["download"] += _timed(partial(_download, server, path, size))
        shutil.rmtree(folder, ignore_errors=True)
    mib = bench.scale.attachments * size / (1 << 20)
    return {
        **{kind: mib / seconds for kind, seconds in spent.items()},
        "upload_share": spent["copy"] / spent["upload"],
        "download_share": spent["copy"] / spent["download"],
        "grown": memory.growth_mib,
    }


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())


def _upload(server: Server, data: bytes) -> str:
    """Return the path of the file."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"PUT /files HTTP/1.1\r\nHost: bench\r\nFilename: a.bin\r\nContent-Length: {len(data)}\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n")
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    message = json.loads(answer.partition(b"\r\n\r\n")[2])
    return "/file/" + str(message["attachment"]["url"]).rpartition("/")[2]


def _download(server: Server, path: str, size: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        buffer, received = bytearray(_PIECE_BYTES), 0
        while count := connection.recv_into(buffer):
            received += count
    if received < size:
        raise AssertionError(f"only {received} bytes came")
