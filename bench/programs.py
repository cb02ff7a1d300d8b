"""Builds the C programs of the benchmark into ``bench/build``."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchError

BENCH = Path(__file__).resolve().parent
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


@dataclass(frozen=True)
class Programs:
    """Paths of the programs: the load generator, the reader of replays, and the bare send loop."""

    fanbench: Path
    replay: Path
    sendlimit: Path


def build() -> Programs:
    """Compile what is older than its source.

    Raises:
        BenchError: there is no compiler, or it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchError("gcc is missing: the load generator is written in C (apt-get install gcc libc6-dev)")
    target = BENCH / "build"
    target.mkdir(exist_ok=True)
    return Programs(*(_compile(compiler, name, target) for name in ("fanbench", "replay", "sendlimit")))


def _compile(compiler: str, name: str, target: Path) -> Path:
    sources = [BENCH / "csrc" / f"{name}.c", BENCH / "csrc" / "common.c"]
    program = target / name
    newest = max(path.stat().st_mtime for path in [*sources, BENCH / "csrc" / "common.h"])
    if not program.exists() or program.stat().st_mtime < newest:
        command = [compiler, *_FLAGS, "-o", str(program), *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command)} fails:\n{done.stderr}")
    return program
