"""Many large Pushover forms at once: the server does not grow by them."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest

from tests.attachments.sending import BOUNDARY, form
from tests.conftest import APP_TOKEN, USER_KEY
from tests.hardening.process import Process, Processes
from tests.wire import open_wire

SIZE = 5_000_000
COUNT = 20


def anonymous_kib(process: Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


async def send(process: Process, label: str, body: bytes) -> None:
    async with open_wire(process.port) as wire:
        answer = await wire.request("POST /1/messages.json", f"Content-Type: {label}", body=body)
    assert answer.status == 200, answer


def written(way: str, data: bytes) -> tuple[str, bytes]:
    if way == "multipart":
        body = form(token=APP_TOKEN, user=USER_KEY, message="x", attachment=("a.bin", "", data))
        return f"multipart/form-data; boundary={BOUNDARY}", body
    text = base64.b64encode(data)
    if way == "json":
        fields = f'"token":"{APP_TOKEN}","user":"{USER_KEY}","message":"x"'
        return "application/json", b'{"attachment_base64":"' + text + b'",' + fields.encode() + b"}"
    body = f"token={APP_TOKEN}&user={USER_KEY}&message=x&attachment_base64=".encode()
    return "application/x-www-form-urlencoded", body + text.replace(b"+", b"%2B")


@pytest.mark.parametrize("way", ["multipart", "form", "json"])
async def test_twenty_large_forms_at_once_take_little_memory_and_leave_nothing(
    processes: Processes, way: str
) -> None:
    process = await processes.start(
        base_url="http://push.test", visitor_attachment_total_size_limit="500M",
        visitor_attachment_daily_bandwidth_limit="900M",
    )  # fmt: skip
    await send(process, *written(way, b"warm" * 50_000))
    before = set(os.listdir(processes.data_dir))
    kept = processes.data_dir / "attachments"
    known = set(os.listdir(kept))
    files = [os.urandom(SIZE) for _ in range(COUNT)]
    began = anonymous_kib(process)
    peak = began
    async with asyncio.timeout(60):
        sending = asyncio.gather(*(send(process, *written(way, data)) for data in files))
        while not sending.done():
            await asyncio.wait([sending], timeout=0.01)
            peak = max(peak, anonymous_kib(process))
        await sending
    assert peak - began < 40 * 1024  # of 100 MiB that are sent at once; some 19 are sockets' buffers
    arrived = sorted((kept / name).read_bytes() for name in set(os.listdir(kept)) - known)
    assert arrived == sorted(files)
    assert set(os.listdir(processes.data_dir)) == before
