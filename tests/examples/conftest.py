"""A real server, run as its users run it, for the examples to talk to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from ntfyish.model.web_push_keys import new_vapid_keys

EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM = "/usr/bin/chromium"
APP_TOKEN = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
USER_KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
START_TIMEOUT_S = 30


@dataclass
class LiveServer:
    """``ntfyish serve`` as a process; it keeps its port and its data when it is restarted."""

    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(default_factory=Path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ntfyish", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server does not start:\n{self.log.read_text()}")
            threading.Event().wait(0.05)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.log.read_text()

    def publish(self, **message: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/", data=json.dumps(message).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            return dict(json.load(response))

    def cached(self, topic: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/{topic}/json?poll=1", timeout=10) as response:
            return [json.loads(line) for line in response]

    def environ(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "SERVER": self.url,
            "APP_TOKEN": APP_TOKEN,
            "USER_KEY": USER_KEY,
            "PYTHONUNBUFFERED": "",
            **more,
        }

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/health", timeout=5) as response:
                return bool(json.load(response)["healthy"])
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that the tests share: each uses a topic of its own."""
    yield from _serve(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server that the test may restart."""
    yield from _serve(tmp_path)


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"topic-{uuid.uuid4().hex}"


def _serve(folder: Path) -> Iterator[LiveServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public, private = new_vapid_keys()
    config = folder / "server.yml"
    config.write_text(
        json.dumps(  # JSON is YAML
            {
                "listen-http": f"127.0.0.1:{port}",
                "base-url": f"http://127.0.0.1:{port}",
                "data-dir": str(folder / "data"),
                "accounts": [
                    {"name": "phil", "password": "secret", "user-key": USER_KEY},
                    {"name": "root", "password": "secret", "role": "admin"},
                ],
                "enable-reservations": True,
                "enable-metrics": True,
                "web-push-public-key": public,
                "web-push-private-key": private,
                "web-push-email-address": "admin@push.example",
                # All of the tests' clients have one address; exempt, it would not be told its limits.
                "visitor-request-limit-burst": 10_000,
                "visitor-topic-creation-limit-burst": 10_000,
                "visitor-auth-failure-limit-burst": 10_000,
                "apps": [{"name": "Backups", "token": APP_TOKEN, "account": "phil"}],
            }
        )
    )
    server = LiveServer(config=config, port=port, log=folder / "server.log")
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: install Chromium to test pages and files")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()
