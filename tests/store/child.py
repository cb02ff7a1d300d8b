"""Servers' worth of store in a process of its own, for tests that kill it or starve it.

``child.py load FOLDER ROUND`` posts until it is killed and prints the id of each message once it is acked.
``child.py full FOLDER`` runs into a limit of the file size, and prints as JSON what it met.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from itertools import count
from pathlib import Path

from ntfyish.core.clock import SystemClock
from ntfyish.model.errors import Unavailable
from ntfyish.store.sqlite.messages import MessageDatabase

from .stage import ids, post

FOREVER = 2**40


async def load(folder: Path, number: str) -> None:
    numbers = count()

    async def publish(store: MessageDatabase, due_at: int) -> None:
        while True:
            id_ = f"r{number}-{next(numbers)}"
            await store.post([post(id_, expires=FOREVER, due_at=due_at, text="x" * 300)])
            os.write(1, f"{id_}\n".encode())

    async def tend(store: MessageDatabase) -> None:
        while True:
            await store.release_due(2, limit=5)
            await store.prune(1)

    async with MessageDatabase.open(folder, SystemClock(), lambda _: None) as store:
        await asyncio.gather(tend(store), *(publish(store, n % 4 // 3) for n in range(12)))


async def full(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    met: dict[str, list[str]] = {"acked": [], "refused": [], "seen": [], "reasons": [], "after": []}
    seen = met["seen"]
    async with MessageDatabase.open(
        folder, SystemClock(), lambda published: seen.extend(one.message.id for one in published)
    ) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
        for n in range(60):
            batch = [f"m{n}-{k}" for k in range(3)]
            results = await asyncio.gather(
                *(store.post([post(id_, expires=FOREVER, text="x" * 9_000)]) for id_ in batch),
                return_exceptions=True,
            )
            for id_, result in zip(batch, results, strict=True):
                met["acked" if result is None else "refused"].append(id_)
                if isinstance(result, Unavailable):
                    met["reasons"].append(result.reason.name)
        met["while_full"] = await ids(store, now=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        for n in range(3):
            await store.post([post(f"after{n}", expires=FOREVER)])
        met["after"] = await ids(store, now=0)
    print(json.dumps(met))


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    asyncio.run(load(Path(folder), *rest) if mode == "load" else full(Path(folder)))
