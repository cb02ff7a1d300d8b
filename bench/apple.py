"""A fake of Apple's push service as a process of its own, beside the generator: tests/push/fake_apns.py."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import BenchError, on_core
from bench.programs import BENCH
from tests.push.apple_checks import BUNDLE_ID, KEY_ID, TEAM_ID

LATENCY_MS = 50
_POLL_S = 0.05

Summary = dict[str, Any]
"""What has happened there: see `FakeApns.summary`."""


class Apple:
    """The fake; a context manager. It answers every push with 200, 50 ms after it has come.

    Attributes:
        port: where it listens on 127.0.0.1.
        folder: the files that its clients need.
    """

    def __init__(self, folder: Path, core: int) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "tests.push.fake_apns", "--directory", str(folder)]
        with on_core(core):
            self._process = subprocess.Popen(
                [*command, "--port", "0", "--latency-ms", str(LATENCY_MS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=BENCH.parent,
                text=True,
            )
        try:
            self.port = int(self._answer()["port"])
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Apple:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def app(self) -> dict[str, str]:
        """An entry of the setting `apns` that pushes through it."""
        return {
            "bundle-id": BUNDLE_ID,
            "key-file": str(self.folder / "AuthKey.p8"),
            "key-id": KEY_ID,
            "team-id": TEAM_ID,
            "endpoint": f"127.0.0.1:{self.port}",
            "ca-file": str(self.folder / "ca.pem"),
        }

    def ask(self, command: str) -> Summary:
        """Have it do something, and return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def wait(self, condition: Callable[[Summary], bool], limit_s: float) -> Summary:
        """Return what has happened once the condition holds, or when the time is up."""
        limit = time.monotonic() + limit_s
        while not condition(summary := self.ask("summary")) and time.monotonic() < limit:
            time.sleep(_POLL_S)
        return summary

    def _answer(self) -> Summary:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the fake of Apple's push service has ended")
        return dict(json.loads(line))
