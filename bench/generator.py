"""Runs the load generator and the reader of replays, and checks what they say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Sample
from bench.machine import BenchError, on_core, prefer
from bench.servers import Server

_WRONG = 4  # exit status of the programs: measured, but something was lost or the like
_FAULTS = (
    "lost",
    "doubled",
    "misdelivered",
    "order_differs",
    "bad_status",
    "connect_failed",
    "hung_up",
    "wrong_count",
    "out_of_order",
)
_LIMIT_S = 900.0


class Load:
    """One run of one of the programs, in the background."""

    def __init__(
        self, program: Path, arguments: Sequence[object], core: int, *, favoured: bool = False
    ) -> None:
        self._command = [str(program), *map(str, arguments)]
        with on_core(core):
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        if favoured:
            prefer(self._process.pid)

    def await_publishing(self) -> None:
        """Return when the subscribers are there and publishing begins (needs ``--announce``)."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "publishing":
            self.finish()
            raise BenchError(f"the generator did not begin to publish: {' '.join(self._command)}")

    def finish(self) -> tuple[Sample, str]:
        """Return its figures, and what went wrong ("" if nothing did).

        Raises:
            BenchError: it could not measure at all.
        """
        try:
            output, errors = self._process.communicate(timeout=_LIMIT_S)
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        status = self._process.returncode
        if status not in (0, _WRONG) or not output.strip():
            raise BenchError(f"{' '.join(self._command)} ends with status {status}:\n{errors.strip()}")
        sample: dict[str, float] = json.loads(output.splitlines()[-1])
        return sample, _faults(sample, errors) if status == _WRONG else ""

    def end(self) -> None:
        """Stop it if it is still running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _faults(sample: Sample, errors: str) -> str:
    found = [f"{name.replace('_', ' ')} {sample[name]:g}" for name in _FAULTS if sample.get(name)]
    missing = sample.get("messages", 0) - sample.get("acks", 0) if "acks" in sample else 0
    if missing > 0:
        found.append(f"not acknowledged {missing:g}")
    lines = errors.strip().splitlines()
    return ", ".join(found or ["inverted order, or a fault while warming up"]) + (
        f" ({lines[0]})" if lines else ""
    )


def fan_arguments(
    server: Server, *, subscribe: Sequence[str] | None, publish: Sequence[str] | None
) -> list[str]:
    """Return the arguments of fanbench that every run on `server` has."""
    return [
        *("-p", str(server.port), "--server-pid", str(server.pid)),
        *(server.subscribe if subscribe is None else subscribe),
        *(server.publish if publish is None else publish),
    ]
