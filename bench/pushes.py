"""Pushes to ten thousand devices through a fake of Apple's service: `measures` calls it.

The server has the first core; the fake, the generator and this process share the second.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.apple import Apple, Summary
from bench.bench import Bench
from bench.figures import OURS, Sample
from bench.machine import BenchError, MemoryWatch, cpu_s, machine_cpu_s, on_core
from bench.servers import ROOT, Server
from ntfyish.core.ports import Add
from ntfyish.model.push import PushDevice, PushKind, new_push_device_id
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.push.apple_checks import BUNDLE_ID

_MANY, _SOME, _NOBODY = "many", "some", "nobody"
_SOME_SHARE = 5  # every fifth device gets what comes to _SOME, too
_MESSAGES_OF_OUTAGE = 5
_TEXT = "The disk is full".ljust(100, ".")
_BYSTANDERS_PER_S = 100
_BYSTANDING_S = 2
_PAIRS = 20
_REST_S = 0.25  # a message to all devices is entered in half of it
_REGISTERED_AT_ONCE = 500
_LEAST_PER_S = 200  # pushes; slower than that is lost
_GRACE_S = 20.0  # a circuit breaker may wait for a while
_SETTLE_S = 1.0  # results are written, and what should not come has time to come
_KILLED_AFTER = 0.35


def take(bench: Bench, name: str) -> Sample:
    """Measure ntfyish; or, as its peers, nothing but a sender, which has no outbox and no server."""
    with Apple(bench.stable.folder("apple"), bench.cores.generator) as apple:
        return _take_ours(bench, apple) if name == OURS else _take_bare(bench, apple, name)


def _take_bare(bench: Bench, apple: Apple, name: str) -> Sample:
    arguments = [name, str(bench.scale.devices), json.dumps(apple.app)]
    with on_core(bench.cores.server):
        done = subprocess.run(
            [sys.executable, "-m", "bench.push_loops", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BenchError(f"bench.push_loops fails: {done.stderr.strip().rpartition(chr(10))[2]}")
    return {figure: float(value) for figure, value in json.loads(done.stdout).items()}


def _take_ours(bench: Bench, apple: Apple) -> Sample:
    data = bench.copy(_registered(bench))
    run = _Run(bench, apple, data)
    try:
        with run.server() as server:
            idle = run.bystanders(server)
            figures = run.fan_out(server)
            busy = run.fan_out_beside_others(server)
            outage = run.outage(server)
            bystanders = {"idle_ack": idle["ack_p99_us"] / 1e3, "busy_ack": busy["ack_p99_us"] / 1e3}
            if bench.profiler is not None:  # who is killed leaves no profile
                return {**figures, **bystanders, **outage}
            run.crash(server)
        with run.server():
            back = run.after_crash()
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return {**figures, **bystanders, **outage, **back}


def _registered(bench: Bench) -> Path:
    """Return a folder with a database that has the devices (made once)."""
    data, _ = bench.filled("devices", {})
    if not (done := data / "registered").exists():
        asyncio.run(_register(data, bench.scale.devices))
        done.touch()
    return data


async def _register(data: Path, count: int) -> None:
    devices = [
        PushDevice(
            id=new_push_device_id(),
            kind=PushKind.APNS,
            topics=(_MANY,) if number % _SOME_SHARE else (_MANY, _SOME),
            token=f"{number:064x}",
            bundle_id=BUNDLE_ID,
            registered_at=int(time.time()),
        )
        for number in range(count)
    ]
    async with PeopleDatabase.open(data) as store:
        for start in range(0, count, _REGISTERED_AT_ONCE):
            await store.apply(*map(Add, devices[start : start + _REGISTERED_AT_ONCE]))


class _Publisher:
    """Publishes over a connection of its own."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, path: str) -> tuple[float, float]:
        """Return when the request was sent and when the whole answer was there (CLOCK_MONOTONIC)."""
        head = f"POST /{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(_TEXT)}\r\n\r\n"
        request = (head + _TEXT).encode()
        sent_at = time.monotonic()
        self._socket.sendall(request)
        answer = b""
        while not _is_whole(answer):
            piece = self._socket.recv(65536)
            if not piece:
                raise BenchError("the server has hung up on a publisher")
            answer += piece
        acked_at = time.monotonic()
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"a publish was refused: {answer[:200]!r}")
        return sent_at, acked_at

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length)


@contextmanager
def _publishing(server: Server) -> Iterator[_Publisher]:
    publisher = _Publisher(server)
    try:
        yield publisher
    finally:
        publisher.close()


@dataclass
class _Used:
    """CPU used so far, in seconds: by the server, the fake, and the whole machine."""

    server: float
    apple: float
    machine: float
    own: float

    @classmethod
    def now(cls, server: Server, apple: Apple) -> _Used:
        return cls(cpu_s(server.pid), cpu_s(apple.pid), machine_cpu_s(), time.process_time())


class _Run:
    """One round with one fake and one data folder."""

    def __init__(self, bench: Bench, apple: Apple, data: Path) -> None:
        self._bench = bench
        self._apple = apple
        self._data = data
        self._devices = bench.scale.devices
        self._killed_at = 0.0

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Run a server that pushes through the fake."""
        with self._bench.server(OURS, self._data, {"apns": [self._apple.app]}) as server:
            yield server

    def bystanders(self, server: Server) -> Sample:
        """Publish to a topic that nobody has subscribed to, evenly."""
        arguments = ["-S", 0, "-K", 8, "-R", _BYSTANDERS_PER_S, "-M", _BYSTANDERS_PER_S * _BYSTANDING_S]
        load = self._bench.begin_fan(server, *arguments, favoured=True)
        return self._bench.finish(load)

    def fan_out(self, server: Server) -> Mapping[str, float]:
        """Push a message to all devices, alone, once everything has been used before."""
        apple, devices = self._apple, self._devices
        with _publishing(server) as publisher:
            publisher.publish(_SOME)
            self._await("the first message", devices // _SOME_SHARE)
            apple.ask("reset")
            before = _Used.now(server, apple)
            with MemoryWatch(server.pid) as memory:
                sent_at, acked_at = publisher.publish(_MANY)
                summary = self._await("a message", devices)
            after = _Used.now(server, apple)
        ended_at = time.monotonic()
        self._note_disturbance(before, after, ended_at - sent_at)
        took_s = summary["last_at"] - sent_at
        return {
            "rate": devices / took_s,
            "connections": float(summary["connections_most"]),
            "under_way": float(summary["in_flight_most"]),
            "cpu": (after.server - before.server) / devices * 1e6,
            "apple": (after.apple - before.apple) / took_s * 100,
            "ahead": (summary["first_at"] - acked_at) * 1e3,
            "growth": memory.growth_mib,
        }

    def fan_out_beside_others(self, server: Server) -> Sample:
        """Push a message to all devices while others publish; return what these have seen."""
        self._apple.ask("reset")
        with _publishing(server) as publisher:
            publisher.publish(_MANY)
        seen = self.bystanders(server)
        self._await("a message beside others", self._devices)
        return seen

    def outage(self, server: Server) -> Mapping[str, float]:
        """Publish while the fake is down; the server does not know at first."""
        apple = self._apple
        apple.ask("reset")
        apple.ask("down")
        with _publishing(server) as publisher:
            for _ in range(_MESSAGES_OF_OUTAGE):
                publisher.publish(_SOME)
            acks = self._publish_in_pairs(publisher)
        begun_at = time.monotonic()
        apple.ask("up")
        # The messages in pairs are one sequence, of which the last one stands.
        expected = self._devices // _SOME_SHARE * _MESSAGES_OF_OUTAGE + self._devices
        summary = self._await("messages of an outage", expected)
        return {
            **acks,
            "resumed": summary["first_at"] - begun_at,
            "caught_up": summary["last_at"] - begun_at,
            "lost": float(expected - summary["pushes"]),
            "doubled": float(summary["duplicates"]),
        }

    def _publish_in_pairs(self, publisher: _Publisher) -> Mapping[str, float]:
        """Publish without devices and with all of them in turn, each to a server at rest.

        Each message is entered for all devices before the next one comes, and takes the place of the one
        before it; none is sent, because the fake is down.
        """
        without_ms: list[float] = []
        with_ms: list[float] = []
        for _ in range(_PAIRS):
            for path, taken in ((f"{_NOBODY}/disk", without_ms), (f"{_MANY}/disk", with_ms)):
                time.sleep(_REST_S)
                publisher.publish(_NOBODY)  # whoever comes first after a rest pays for it
                sent_at, acked_at = publisher.publish(path)
                taken.append((acked_at - sent_at) * 1e3)
        without_p90, with_p90 = (statistics.quantiles(taken, n=10)[-1] for taken in (without_ms, with_ms))
        return {
            "ack_without": statistics.median(without_ms),
            "ack_with": statistics.median(with_ms),
            "ack_ratio": statistics.median(with_ms) / statistics.median(without_ms),
            "slow_ack_without": without_p90,
            "slow_ack_with": with_p90,
            "slow_ack_ratio": with_p90 / without_p90,
        }

    def crash(self, server: Server) -> None:
        """Kill the server in the middle of a fan-out."""
        self._apple.ask("reset")
        enough = int(self._devices * _KILLED_AFTER)
        with _publishing(server) as publisher:
            publisher.publish(_MANY)
            summary = self._apple.wait(lambda now: now["pushes"] >= enough, self._limit_s(enough))
        server.kill()
        self._killed_at = time.monotonic()
        if not 0 < summary["pushes"] < self._devices:
            self._bench.fault(f"to be killed amidst the pushes, but {summary['pushes']} had come")

    def after_crash(self) -> Mapping[str, float]:
        """See what comes from a new server."""
        summary = self._await("a message amidst which the server was killed", self._devices, may_double=True)
        if summary["apns_ids"] != summary["pushes"]:
            self._bench.fault(f"{summary['pushes']} pushes came with {summary['apns_ids']} ids")
        return {
            "crash_caught_up": summary["last_at"] - self._killed_at,
            "crash_lost": float(self._devices - summary["pushes"]),
            "crash_doubled": float(summary["duplicates"]),
        }

    def _await(self, what: str, count: int, *, may_double: bool = False) -> Summary:
        """Return what has come, once that is everything and a while has passed."""
        self._apple.wait(lambda now: now["pushes"] >= count, self._limit_s(count))
        time.sleep(_SETTLE_S)
        summary = self._apple.ask("summary")
        if summary["pushes"] != count:
            self._bench.fault(f"{what}: {summary['pushes']} of {count} pushes came")
        if summary["duplicates"] and not may_double:
            self._bench.fault(f"{what}: {summary['duplicates']} pushes came once more")
        if refused := {status: n for status, n in summary["statuses"].items() if status != "200"}:
            self._bench.fault(f"{what}: the fake has answered {refused}")
        return summary

    def _limit_s(self, count: int) -> float:
        return _GRACE_S + count / _LEAST_PER_S

    def _note_disturbance(self, before: _Used, after: _Used, seconds: float) -> None:
        known = sum(getattr(after, name) - getattr(before, name) for name in ("server", "apple", "own"))
        others = (after.machine - before.machine - known) / seconds
        self._bench.disturbance = max(self._bench.disturbance, others)
