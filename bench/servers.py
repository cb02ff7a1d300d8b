"""The servers that are measured: ntfyish, nchan, the bare send loop, and one that commits each message alone.

Each is a process of its own, pinned to the server's core, and is ended by its process id.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from bench.machine import BenchError, free_port, on_core
from bench.programs import BENCH, Programs

ROOT = BENCH.parent
PUSHOVER_TOKEN = "aBenchBenchBenchBenchBenchBenc"
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0
_NCHAN_MODULES = (
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib64/nginx/modules/ngx_nchan_module.so",
    "/usr/share/nginx/modules/ngx_nchan_module.so",
)
# What ntfyish sends for the same message: the peers must send as many bytes.
_LINE = (
    '{"id":"abcdefghijkl","time":1700000000,"expires":1700043200,'
    '"event":"message","topic":"t%t","message":"%m"}\\n'
)
# One address makes the load of thousands, so the limits of a visitor are lifted, as far as there are any.
_LIFTED_LIMITS = {
    "visitor-request-limit-burst": 1_000_000_000,
    "visitor-request-limit-replenish": "1ms",
    "visitor-message-daily-limit": 1_000_000_000,
    "visitor-subscription-limit": 1_000_000,
    "visitor-topic-creation-limit-burst": 1_000_000_000,
    "visitor-topic-creation-limit-replenish": "1ms",
    "visitor-request-limit-exempt-hosts": ["127.0.0.0/8"],
    "global-topic-limit": 1_000_000,
}


@dataclass
class Server:
    """A server that is running, and what the generator must be told about it.

    Attributes:
        subscribe: arguments of fanbench for its streams.
        publish: arguments of fanbench for a plain publish.
        start_s: seconds from its start to its first answer.
        data: the folder of its database, if it has one.
        ended: it was we who ended it.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    subscribe: list[str] = field(default_factory=list)
    publish: list[str] = field(default_factory=list)
    start_s: float = 0.0
    data: Path | None = None
    ended: bool = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """End it, gently at first."""
        self.ended = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.ended = True
        self.process.kill()
        self.process.wait()

    def check_alive(self) -> None:
        """Raise BenchError with the end of its log if it has ended by itself."""
        if self.process.poll() is not None and not self.ended:
            raise BenchError(f"{self.name} has ended with status {self.process.returncode}:\n{self.log_end}")

    def get(self, path: str, timeout_s: float = 60.0) -> tuple[int, bytes]:
        """Return status and body of `GET path`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@dataclass(frozen=True)
class Stable:
    """Starts the servers.

    Attributes:
        work: a folder for their files.
        core: the core they run on.
        wrap: returns what stands between the interpreter and ``-m ntfyish``: nothing, or a profiler.
    """

    programs: Programs
    work: Path
    core: int
    wrap: Callable[[], list[str]] = list

    def ntfyish(self, data: Path, settings: Mapping[str, object] = MappingProxyType({})) -> Server:
        """Start ntfyish on the data in the folder `data`, with settings besides the usual ones."""
        config = data.parent / f"{data.name}.yml"
        config.write_text(json.dumps({**_configuration(), **settings}))  # JSON is YAML
        port = free_port()
        command = [sys.executable, *self.wrap(), "-m", "ntfyish", "serve", "--config", str(config)]
        command += ["--listen-http", f"127.0.0.1:{port}", "--data-dir", str(data)]
        environment = {key: text for key, text in os.environ.items() if not key.startswith("NTFYISH_")}
        server = self._start("ntfyish", port, command, environment, health="/v1/health")
        server.data = data
        server.subscribe = ["--sub-path", "/t%t/json", "--open-mark", '"open"']
        server.publish = ["--pub-path", "/t%t"]
        return server

    def nchan(self) -> Server:
        """Start nginx with nchan."""
        nginx, module = find_nchan()
        folder, port = self.folder("nchan"), free_port()
        descriptors = min(_hard_descriptor_limit(), 100_000)
        values = {
            "DIR": str(folder),
            "PORT": str(port),
            "MODULE": module,
            "DESCRIPTORS": str(descriptors),
            "CONNECTIONS": str(descriptors - 200),
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        text = (BENCH / "nchan.conf.in").read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (folder / "nginx.conf").write_text(text)
        command = [
            nginx,
            "-p",
            str(folder),
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "error.log"),
        ]
        server = self._start("nchan", port, command)
        server.subscribe = ["--sub-path", "/t%t/json", "--sub-header", "TE: chunked"]
        server.publish = ["--pub-path", "/t%t", "--body", _LINE]
        return server

    def send_loop(self) -> Server:
        """Start the bare send loop."""
        port = free_port()
        server = self._start("send", port, [str(self.programs.sendlimit), str(port)])
        server.subscribe = ["--sub-path", "/t%t/json"]
        server.publish = ["--pub-path", "/t%t"]
        return server

    def commit_each(self) -> Server:
        """Start the server that commits each message by itself."""
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "bench.commit_each",
            str(port),
            str(self.folder("each") / "messages.db"),
        ]
        server = self._start("commit-each", port, command, health="/v1/health")
        server.publish = ["--pub-path", "/t%t"]
        return server

    def folder(self, prefix: str) -> Path:
        """Return a new folder."""
        path = self.work / f"{prefix}-{secrets.token_hex(4)}"
        path.mkdir()
        return path

    def _start(
        self,
        name: str,
        port: int,
        command: list[str],
        environment: dict[str, str] | None = None,
        health: str = "",
    ) -> Server:
        log = self.work / f"{name}.log"
        begun = time.perf_counter()
        with log.open("wb") as output, on_core(self.core):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env=environment
            )
        server = Server(name, port, process, log)
        try:
            _await_answer(server, health)
        except BaseException:
            server.kill()
            raise
        server.start_s = time.perf_counter() - begun
        return server


def find_nchan() -> tuple[str, str]:
    """Return the paths of nginx and of its nchan module.

    Raises:
        BenchError: one of them is not installed.
    """
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    module = next((path for path in _NCHAN_MODULES if Path(path).exists()), None)
    if nginx is None or module is None:
        raise BenchError("nchan is not installed (apt-get install nginx libnginx-mod-nchan)")
    return nginx, module


def _hard_descriptor_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _configuration() -> dict[str, object]:
    from ntfyish.settings.schema import Settings, key_of

    known = {key_of(attribute) for attribute in Settings.model_fields}
    limits = {key: value for key, value in _LIFTED_LIMITS.items() if key in known}
    return {
        **limits,
        "base-url": "http://127.0.0.1",
        "visitor-attachment-total-size-limit": "10G",
        "attachment-total-size-limit": "10G",
        "visitor-attachment-daily-bandwidth-limit": "1000G",
        "accounts": [{"name": "bench", "user-key": "uBenchBenchBenchBenchBenchBenc"}],
        "apps": [{"name": "Bench", "token": PUSHOVER_TOKEN, "account": "bench", "monthly-limit": 0}],
    }


def _await_answer(server: Server, health: str) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < limit:
        server.check_alive()
        try:
            if not health:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
                return
            if server.get(health, timeout_s=5)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.002)
    raise BenchError(f"{server.name} does not answer within {_START_LIMIT_S:g} s:\n{server.log_end}")
