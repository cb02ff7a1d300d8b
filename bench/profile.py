"""Profiles ntfyish while a measure runs: with cProfile (Python's functions) or perf (the whole process)."""

from __future__ import annotations

import io
import pstats
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchError

_LINES = 45


@dataclass
class Profiler:
    """Collects profiles into `folder`.

    Attributes:
        perf: use perf rather than cProfile.
    """

    folder: Path
    perf: bool
    _count: int = 0

    def wrap(self) -> list[str]:
        """Return what must stand between the interpreter and ``-m ntfyish``."""
        if self.perf:
            return []
        self._count += 1
        return ["-m", "cProfile", "-o", str(self.folder / f"{self._count}.pstats")]

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Record the process while a block runs."""
        if not self.perf:
            yield
            return
        program = shutil.which("perf")
        if program is None:
            raise BenchError("perf is not installed (apt-get install linux-perf)")
        self._count += 1
        target = self.folder / f"{self._count}.perf"
        command = [program, "record", "-q", "-F", "997", "-g", "-p", str(pid), "-o", str(target)]
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            _, errors = recorder.communicate()
            if not target.exists():
                raise BenchError(f"perf record fails: {errors.decode(errors='replace').strip()}")

    def report(self) -> str:
        """Return the most expensive lines of each profile."""
        return "\n\n".join(self._report_of(path) for path in sorted(self.folder.iterdir()))

    def _report_of(self, path: Path) -> str:
        if path.suffix == ".pstats":
            text = io.StringIO()
            pstats.Stats(str(path), stream=text).sort_stats("tottime").print_stats(_LINES)
            return f"{path}\n{text.getvalue()}"
        command = [
            "perf",
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--sort",
            "dso,symbol",
            "-i",
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
        return "\n".join([str(path), *(line.rstrip() for line in lines[:_LINES])])
