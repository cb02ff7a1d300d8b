"""Server processes for tests that kill them, starve them or count what they hold."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY
from tests.wire import Wire, open_wire

PATIENCE_S = 30.0

# As the accounts of all tests, but with a hash of the password ("secret") that is quickly checked
PEOPLE: Mapping[str, object] = {
    "accounts": [
        {
            "name": "phil",
            "user-key": USER_KEY,
            "password-hash": "$2b$04$xQHDevC3u5tUlUgtnUx2zOgSV.0F9ZUHEy52Dl6rdqx7Xpz9syga.",
        }
    ],
    "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil", "monthly-limit": 0}],
    "keys": [{"key": TOPIC_KEY, "topic": "alerts"}],
}


class Nursery:
    """The process that forks the servers."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def start(
        self, arguments: list[str], output: int, limits: Mapping[str, int], environ: Mapping[str, str]
    ) -> int:
        """Start a process that writes to `output`; return its id."""
        request = {"arguments": arguments, "limits": dict(limits), "environ": dict(environ)}
        socket.send_fds(self._requests, [json.dumps(request).encode()], [output])
        return int(json.loads(self._requests.recv(100)))

    def reap(self, pid: int) -> int:
        """Wait for the end of a process; return its exit code, negative for a signal."""
        self._requests.sendall(json.dumps({"reap": pid}).encode())
        return int(json.loads(self._requests.recv(100)))


@contextmanager
def nursery() -> Iterator[Nursery]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-m", "tests.hardening.nursery"], stdin=theirs)
    theirs.close()
    try:
        yield Nursery(ours)
    finally:
        ours.close()
        process.wait(PATIENCE_S)


class Process:
    """A running ``ntfyish serve``.

    Attributes:
        pid: its process id.
        log: the lines of its output so far.
        port: where it listens, once `ready` has returned.
    """

    def __init__(self, nursery: Nursery, pid: int, output: int) -> None:
        self.pid = pid
        self.log: list[str] = []
        self.port = 0
        self._nursery = nursery
        self._listens = asyncio.Event()
        self._reading = asyncio.create_task(self._read(output), name="server's output")
        self._code: int | None = None
        self._stack = AsyncExitStack()

    async def _read(self, output: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        while line := (await reader.readline()).decode():
            self.log.append(line.rstrip("\n"))
            if " listens on " in line:
                self.port = int(line.split(" listens on ")[1].split(",")[0].rsplit(":", 1)[1])
                self._listens.set()
        self._listens.set()
        transport.close()

    async def ready(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(PATIENCE_S):
            await self._listens.wait()
        assert self.port, "\n".join(self.log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wire(self, **options: int) -> Wire:
        """Open a connection; it is closed at the end of the test."""
        return await self._stack.enter_async_context(open_wire(self.port, **options))

    async def publish(self, topic: str, message: str = "hi") -> dict[str, Any]:
        async with open_wire(self.port) as wire:
            answer = await wire.request(f"POST /{topic}", body=message.encode())
        assert answer.status == 200, answer
        return dict(answer.json())

    async def poll(self, topics: str, query: str = "since=all") -> list[dict[str, Any]]:
        async with open_wire(self.port) as wire:
            answer = await wire.request(f"GET /{topics}/json?poll=1&{query}")
        assert answer.status == 200, answer
        return answer.json_lines()

    def signal(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        if self._code is None:
            async with asyncio.timeout(PATIENCE_S):
                await self._reading
            self._code = self._nursery.reap(self.pid)
        return self._code

    async def close(self) -> None:
        """End it if it runs."""
        await self._stack.aclose()
        if self._code is None:
            self.signal(signal.SIGKILL)
            await self.ended()

    # What it holds

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def resident_kib(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def form(message: str, **fields: str) -> bytes:
    """Return the body of a Pushover request to the topic of `TOPIC_KEY`, "alerts"."""
    values = {"token": APP_TOKEN, "user": TOPIC_KEY, "message": message, **fields}
    return "&".join(f"{name}={value}" for name, value in values.items()).encode()


PUSHOVER = ("POST /1/messages.json", "Content-Type: application/x-www-form-urlencoded")


class Processes:
    """Starts servers and ends them."""

    def __init__(self, nursery: Nursery, folder: Path, stack: AsyncExitStack) -> None:
        self.data_dir = folder / "data"
        self._config = folder / "server.yml"
        self._nursery = nursery
        self._stack = stack

    async def launch(
        self,
        *,
        data_dir: Path | None = None,
        limits: Mapping[str, int] | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: object,
    ) -> Process:
        """Start a server; do not wait until it listens."""
        config: dict[str, object] = {
            "listen-http": "127.0.0.1:0",
            "data-dir": str(data_dir or self.data_dir),
            # All load comes from one address; the limits of visitors have tests of their own.
            "visitor-request-limit-exempt-hosts": ["127.0.0.0/8"],
            "visitor-subscription-limit": 10_000,
            "visitor-auth-failure-limit-burst": 10_000,
            **PEOPLE,
        }
        config.update({name.replace("_", "-"): value for name, value in settings.items()})
        self._config.write_text(json.dumps(config))  # which is YAML too
        ours, theirs = os.pipe()
        arguments = ["serve", "--config", str(self._config)]
        pid = self._nursery.start(arguments, theirs, limits or {}, environ or {})
        os.close(theirs)
        process = Process(self._nursery, pid, ours)
        self._stack.push_async_callback(process.close)
        return process

    async def start(self, **options: Any) -> Process:
        """Start a server that listens."""
        process = await self.launch(**options)
        await process.ready()
        return process


@asynccontextmanager
async def processes_in(nursery: Nursery, folder: Path) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(nursery, folder, stack)
