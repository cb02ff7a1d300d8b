"""What a measure works with: the servers, the generator, the size of the load, what went wrong so far."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from bench import cache
from bench.figures import OURS, Sample
from bench.generator import Load, fan_arguments
from bench.machine import Cores
from bench.profile import Profiler
from bench.programs import Programs
from bench.servers import Server, Stable


@dataclass(frozen=True)
class Scale:
    """How large the load is. The goals are meant for the defaults."""

    subscribers: int = 10_000
    paced_per_s: float = 4
    paced_messages: int = 40
    flood_messages: int = 200
    publishes: int = 20_000
    commit_each_publishes: int = 5_000
    cached: int = 100_000
    replays: int = 10
    stored: int = 1_000_000
    devices: int = 10_000
    attachments: int = 20
    attachment_bytes: int = 15 * 1024 * 1024


QUICK = Scale(
    subscribers=1_000,
    paced_messages=8,
    flood_messages=50,
    publishes=2_000,
    commit_each_publishes=1_000,
    cached=20_000,
    replays=5,
    stored=50_000,
    devices=4_000,
    attachments=5,
)


@dataclass
class Bench:
    """The run.

    Attributes:
        where: what is being measured, for the problems.
        problems: losses, duplicates, other orders, refusals: any of them fails the run.
        disturbance: the largest part of a core that others used during a run.
    """

    programs: Programs
    stable: Stable
    cores: Cores
    scale: Scale
    profiler: Profiler | None = None
    where: str = ""
    problems: list[str] = field(default_factory=list)
    disturbance: float = 0.0
    _filled: dict[str, tuple[Path, dict[str, list[str]]]] = field(default_factory=dict)

    @contextmanager
    def server(
        self, name: str, data: Path | None = None, settings: Mapping[str, object] = MappingProxyType({})
    ) -> Iterator[Server]:
        """Run a server for the length of a block.

        Args:
            data: ntfyish's folder; an empty one if None.
            settings: ntfyish's, besides those that every run has.
        """
        with ExitStack() as stack:
            if name == OURS:
                own = data or self.stable.folder("data")
                if data is None:
                    stack.callback(shutil.rmtree, own, ignore_errors=True)
                server = self.stable.ntfyish(own, settings)
            else:
                starts = {"nchan": self.stable.nchan, "send": self.stable.send_loop}
                server = starts.get(name, self.stable.commit_each)()
            stack.callback(server.stop)
            if self.profiler is not None and name == OURS:
                stack.enter_context(self.profiler.watching(server.pid))
            yield server
            server.check_alive()

    def fan(
        self,
        server: Server,
        *arguments: object,
        subscribe: Sequence[str] | None = None,
        publish: Sequence[str] | None = None,
    ) -> Sample:
        """Run fanbench to its end; `subscribe` and `publish` replace the server's own arguments."""
        found = self.finish(self.begin_fan(server, *arguments, subscribe=subscribe, publish=publish))
        server.check_alive()
        if found["counted_s"] > 1:
            others = (found["machine_cpu_s"] - found["cpu_s"] - found["generator_cpu_s"]) / found["counted_s"]
            self.disturbance = max(self.disturbance, others)
        return found

    def begin_fan(
        self,
        server: Server,
        *arguments: object,
        subscribe: Sequence[str] | None = None,
        publish: Sequence[str] | None = None,
        favoured: bool = False,
    ) -> Load:
        """Start fanbench in the background."""
        common = fan_arguments(server, subscribe=subscribe, publish=publish)
        return Load(self.programs.fanbench, [*common, *arguments], self.cores.generator, favoured=favoured)

    def begin_replay(self, server: Server, path: str, lines: int, repeat: int) -> Load:
        """Start to read `path` again and again, in the background."""
        arguments = ["-p", server.port, "--server-pid", server.pid, "--path", path, "--count", lines]
        arguments += ["--repeat", repeat, "--number-after", cache.NUMBER_MARK]
        return Load(self.programs.replay, arguments, self.cores.generator)

    def finish(self, load: Load) -> Sample:
        """Return what a load in the background has measured, and note what went wrong."""
        try:
            sample, fault = load.finish()
        finally:
            load.end()
        if fault:
            self.fault(fault)
        return sample

    def fault(self, text: str) -> None:
        """Note that something went wrong."""
        self.problems.append(f"{self.where}: {text}")

    def filled(self, name: str, counts: Mapping[str, int]) -> tuple[Path, dict[str, list[str]]]:
        """Return a folder with a database of so many messages by topic (made once), and their last ids."""
        if name not in self._filled:
            data = self.stable.folder(name)
            self.stable.ntfyish(data).stop()  # makes the database
            self._filled[name] = data, cache.fill(data, counts)
        return self._filled[name]

    def copy(self, data: Path) -> Path:
        """Return a copy of a folder, for a run that changes it."""
        target = self.stable.folder("copy")
        shutil.copytree(data, target, dirs_exist_ok=True)
        return target
