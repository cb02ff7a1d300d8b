"""What pending emergencies cost the server. Runs by itself, prints figures as JSON.

A whole server in this process, on a data folder with a hundred thousand pending receipts: how long it takes
to start with them; and how long a thousand that are due in the same second take to be sent again, while
messages are published side by side.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import uvloop

from ntfyish.app import running
from ntfyish.core.clock import SystemClock
from ntfyish.core.ports import NewReceipt
from ntfyish.model.line import encode
from ntfyish.model.message import Content, Message, new_id
from ntfyish.model.people import new_key
from ntfyish.model.receipt import Addressee, Receipt
from ntfyish.settings import Settings, load
from ntfyish.store.sqlite.messages import MessageDatabase

_PENDING = 100_000
_DUE = 1_000
_DUE_IN_S = 6.0
_PUBLISHERS = 4
_EXPIRE_S = 10_000
_RETRY_S = 5_000
_BATCH = 1_000
_PATIENCE_S = 30.0


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        flags = {"listen-http": "127.0.0.1:0", "data-dir": folder}
        settings = load({**flags, "visitor-request-limit-exempt-hosts": ["127.0.0.1"]}, {}, None)
        await _fill(data_dir, [time.time() + 3600 + number / 100 for number in range(_PENDING - _DUE)])
        due_at = time.time() + _DUE_IN_S
        await _fill(data_dir, [due_at] * _DUE)
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(0.0005)
        print(json.dumps(await _measure(settings, due_at)))


async def _fill(data_dir: Path, moments: list[float]) -> None:
    async with MessageDatabase.open(data_dir, SystemClock(), lambda published: None) as store:
        for start in range(0, len(moments), _BATCH):
            batch = moments[start : start + _BATCH]
            await store.post(
                (), (), [NewReceipt(_receipt(next_at, start + i)) for i, next_at in enumerate(batch)]
            )


def _receipt(next_at: float, number: int) -> Receipt:
    now = next_at - _RETRY_S
    topic = f"oncall{number % 100}"
    content = Content(title="Backups", message="The disk is full", priority=5, app="Backups")
    id = new_key("r")
    message = Message(id=new_id(), time=int(now), topic=topic, expires=1, receipt=id, content=content)
    return Receipt(
        id=id,
        owner="",
        started_at=now,
        retry_s=_RETRY_S,
        expires_at=int(now) + _EXPIRE_S,
        ends_at=int(now) + _EXPIRE_S,
        next_at=next_at,
        last_delivered_at=int(now),
        addressees=(Addressee(topic=topic, message_id=message.id, secret=new_key("")),),
        line=encode(message),
    )


async def _measure(settings: Settings, due_at: float) -> dict[str, float]:
    begun = time.perf_counter()
    async with running(settings) as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/v1/health") as response:
            await response.read()
        restart_s = time.perf_counter() - begun
        topics = ",".join(f"oncall{number}" for number in range(100))
        taken_ms: list[float] = []
        publishers = [asyncio.create_task(_publish(http, server.url, taken_ms)) for _ in range(_PUBLISHERS)]
        try:
            repeat_s = await asyncio.wait_for(_await_repeats(http, f"{server.url}/{topics}/json", due_at), 60)
        finally:
            for publisher in publishers:
                publisher.cancel()
            await asyncio.gather(*publishers, return_exceptions=True)
    taken_ms.sort()
    return {
        "restart": restart_s,
        "repeat": repeat_s,
        "published": float(len(taken_ms)),
        "publish_p99": taken_ms[int(len(taken_ms) * 0.99)],
    }


async def _await_repeats(http: aiohttp.ClientSession, url: str, due_at: float) -> float:
    """Return the seconds from when they are due until a reader has all of them."""
    count = 0
    async with http.get(url, timeout=aiohttp.ClientTimeout(total=_PATIENCE_S)) as response:
        async for line in response.content:
            if b'"receipt"' in line:
                count += 1
                if count == _DUE:
                    return time.time() - due_at
    raise RuntimeError(f"only {count} of {_DUE} repeats came")


async def _publish(http: aiohttp.ClientSession, url: str, taken_ms: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        async with http.post(f"{url}/busy", data=b"hello") as response:
            await response.read()
            response.raise_for_status()
        taken_ms.append((time.perf_counter() - begun) * 1000)


if __name__ == "__main__":
    uvloop.run(main())
