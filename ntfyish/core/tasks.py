"""The one home of `create_task`: every task has a name and an owner that ends it.

`Tasks.complete` runs work that must not be cut in half by a client that hangs up; `Tasks.spawn` runs
work for as long as the server runs. An exception that escapes a task is logged here, and nowhere else
but in the outermost request handler is `Exception` caught.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """Owns the tasks of a server; leave its context to end them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._completing: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Tasks:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drain(0)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or the server stops (then it is cancelled)."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` to its end even if nobody waits for it; at shutdown it is given time."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._completing.add(task)
        task.add_done_callback(self._completed)
        return task

    async def complete(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run `work` to its end, also if the caller is cancelled meanwhile, and return its result."""
        return await asyncio.shield(self.start(work, name))

    async def drain(self, seconds: float) -> None:
        """Let what must complete do so for at most `seconds`, then cancel everything and wait for its end."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while self._completing and (left_s := until - clock()) > 0:  # what is under way may start more
            await asyncio.wait(self._completing, timeout=left_s)
        leftover = self._running | self._completing
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Task %s failed", task.get_name(), exc_info=error)

    def _completed(self, task: asyncio.Task[Any]) -> None:
        self._completing.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio complains about one that nobody asked for; whoever awaits it gets it


async def race(*works: Coroutine[Any, Any, object], name: str) -> None:
    """Run `works` side by side until the first ends, then cancel the others."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work, name=name) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
