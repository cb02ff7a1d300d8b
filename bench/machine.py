"""The machine: its cores, its limits, what its processes use, and a description of it for the record."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SPARE_DESCRIPTORS = 500
_CPUCLOCK_SCHED = 2


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what would help."""


@dataclass(frozen=True)
class Cores:
    """Where the server runs, and where the generator does."""

    server: int
    generator: int


def choose_cores() -> Cores:
    """Take the first two cores that this process may use.

    Raises:
        BenchError: there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the server, one for the load generator")
    return Cores(server=allowed[0], generator=allowed[1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Make what is started in here run on `core`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptor_limit(subscribers: int) -> None:
    """Raise the soft limit of open files for this process and what it starts.

    Raises:
        BenchError: the hard limit is too low for `subscribers` on either side.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = subscribers + _SPARE_DESCRIPTORS
    # While a connection is taken over from the HTTP server, it may have two descriptors for a moment.
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(
            f"{wanted} open files are needed in one process, and the hard limit is {hard}: raise it"
            " (ulimit -Hn, or LimitNOFILE= of the unit), or use"
            f" --subscribers {max(hard - _SPARE_DESCRIPTORS, 1)}"
        )
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep other runs of the benchmark away for the length of a block.

    Raises:
        BenchError: one is running.
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError("another benchmark is running, and the two would measure each other") from None
        yield


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def anonymous_kib(pid: int) -> int:
    """Return the process's resident memory without mapped files, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise BenchError("the kernel does not tell RssAnon in /proc/PID/status")


def cpu_s(pid: int) -> float:
    """Return what a process has used of the processors so far, in seconds, by the scheduler's clock."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)  # as clock_getcpuclockid(3) makes it


def machine_cpu_s() -> float:
    """Return what all processes have used of the processors so far, in seconds."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class MemoryWatch:
    """Follows a process's anonymous memory while a block runs."""

    def __init__(self, pid: int, period_s: float = 0.01) -> None:
        self._pid = pid
        self._period_s = period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before_kib = self.peak_kib = anonymous_kib(pid)

    def _watch(self) -> None:
        while not self._done.wait(self._period_s):
            self.peak_kib = max(self.peak_kib, anonymous_kib(self._pid))

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak_kib = max(self.peak_kib, anonymous_kib(self._pid))

    @property
    def growth_mib(self) -> float:
        """By how much the peak was above the beginning."""
        return (self.peak_kib - self.before_kib) / 1024


def prefer(pid: int) -> None:
    """Let a small process be scheduled at once on a busy core, where that is allowed.

    It measures the latency of the server and must not measure that of the other generator's time slice.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -10)
    except PermissionError:
        pass


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds `path`; "" if it is not known."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, name, *_ = line.split(" ")
        if path.is_relative_to(where) and len(where) >= len(best):
            best, kind = where, name
    return kind


def describe(root: Path, work: Path) -> dict[str, str]:
    """Return what another reader of the figures must know about where they come from."""
    return {
        "commit": _output(["git", "-C", str(root), "describe", "--always", "--dirty"]),
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "file system": file_system_of(work),
        "load at the beginning": f"{os.getloadavg()[0]:.2f}",
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
