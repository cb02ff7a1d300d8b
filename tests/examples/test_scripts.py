"""The examples that are scripts: run as they are, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from tests.examples.conftest import EXAMPLES, USER_KEY, LiveServer

NTFYISH = (sys.executable, "-m", "ntfyish")
NASTY = '@/etc/passwd & Größe + 50 % "quoted" 📦\nsecond line'


def curl(server: LiveServer, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(EXAMPLES / "curl.sh"), *words],
        env=server.environ(**environ),
        capture_output=True,
        text=True,
        timeout=30,
    )


@contextmanager
def running(server: LiveServer, *command: str, **environ: str) -> Iterator[IO[str]]:
    """Run something that does not end by itself; give its output, and end it."""
    process = subprocess.Popen(
        command, env=server.environ(**environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        with process.stdout:
            yield process.stdout
    finally:
        process.terminate()
        process.wait(10)


def test_curl_publishes_in_pushovers_form(live_server: LiveServer) -> None:
    done = curl(live_server, "pushover", NASTY, TITLE="Größe & mehr")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == 1
    message = live_server.cached(USER_KEY)[-1]
    assert (message["message"], message["title"]) == (NASTY, "Größe & mehr")


def test_curl_publishes_in_ntfys_form(live_server: LiveServer, topic: str) -> None:
    done = curl(live_server, "publish", topic, NASTY, TITLE="Größe")
    assert done.returncode == 0, done.stderr
    (message,) = live_server.cached(topic)
    assert message == json.loads(done.stdout)
    assert (message["message"], message["title"], message["priority"]) == (NASTY, "Größe", 4)
    assert message["tags"] == ["warning", "disk"]


def test_curl_publishes_json_and_polls(live_server: LiveServer, topic: str) -> None:
    body = json.dumps({"topic": topic, "message": NASTY, "title": "Größe"})
    assert curl(live_server, "publish_json", body).returncode == 0
    lines = curl(live_server, "poll", topic).stdout.splitlines()
    assert [json.loads(line)["message"] for line in lines] == [NASTY]


def test_curl_subscribes(live_server: LiveServer, topic: str) -> None:
    with running(live_server, "bash", str(EXAMPLES / "curl.sh"), "subscribe", topic) as lines:
        assert json.loads(lines.readline())["event"] == "open"
        live_server.publish(topic=topic, message="one")
        assert json.loads(lines.readline())["message"] == "one"


@pytest.mark.parametrize("words", [(), ("rm", "-rf"), ("pushover",)])
def test_curl_called_wrongly_fails_and_runs_nothing(live_server: LiveServer, words: tuple[str, ...]) -> None:
    assert curl(live_server, *words).returncode != 0


def test_curl_fails_when_it_is_refused(live_server: LiveServer) -> None:
    done = curl(live_server, "pushover", "x", APP_TOKEN="a" * 30)
    assert done.returncode == 22
    assert "400" in done.stderr


def test_python_publishes_with_http_client(live_server: LiveServer) -> None:
    command = [sys.executable, str(EXAMPLES / "pushover_http_client.py"), NASTY]
    done = subprocess.run(command, env=live_server.environ(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sent, request ")
    message = live_server.cached(USER_KEY)[-1]
    assert (message["message"], message["title"], message["priority"]) == (NASTY, "From Python", 4)


def test_python_says_what_is_wrong(live_server: LiveServer) -> None:
    command = [sys.executable, str(EXAMPLES / "pushover_http_client.py"), "x"]
    environ = live_server.environ(APP_TOKEN="a" * 30)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "HTTP 400: application token is invalid\n")


def test_python_subscribes_and_loses_nothing_when_the_server_restarts(own_server: LiveServer) -> None:
    own_server.publish(topic="alerts", message="before", title="T")
    command = (sys.executable, str(EXAMPLES / "subscribe.py"), "alerts")
    with running(own_server, *command, SINCE="all") as lines:
        assert lines.readline() == "alerts\tT\tbefore\n"
        own_server.publish(topic="alerts", message="live")
        assert lines.readline() == "alerts\t\tlive\n"
        own_server.stop()
        own_server.start()
        own_server.publish(topic="alerts", message="after")
        assert lines.readline() == "alerts\t\tafter\n"


def test_our_own_command_line_loses_nothing_when_the_server_restarts(own_server: LiveServer) -> None:
    command = (
        sys.executable,
        "-m",
        "ntfyish",
        "subscribe",
        "--server",
        own_server.url,
        "-s",
        "all",
        "alerts",
    )
    own_server.publish(topic="alerts", message="0")
    with running(own_server, *command) as lines:
        for number in range(4):
            assert json.loads(lines.readline())["message"] == str(number)
            if number == 1:
                own_server.stop()
                own_server.start()
            own_server.publish(topic="alerts", message=str(number + 1))


def test_our_own_command_line_publishes_all_there_is(live_server: LiveServer, topic: str) -> None:
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "ntfyish",
                "publish",
                "--server",
                live_server.url,
                "-t",
                "Größe",
                "-p",
                "max",
            ),
            *("-T", "a,b", "-U", "https://c.example", "-i", "https://i.example/i.png", "--markdown"),
            *(
                "-a",
                "https://a.example/a.jpg",
                "-A",
                "view, Öffnen, https://x.example",
                "--sequence-id",
                "s1",
            ),
            *("-u", "phil:secret", topic, NASTY),
        ],
        env=live_server.environ(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    (message,) = live_server.cached(topic)
    assert message == json.loads(done.stdout)
    (action,) = message.pop("actions")
    assert (action["action"], action["label"], action["url"]) == ("view", "Öffnen", "https://x.example")
    assert message == {
        **{name: message[name] for name in ("id", "time", "expires")},
        "sequence_id": "s1",
        "event": "message",
        "topic": topic,
        "title": "Größe",
        "message": NASTY,
        "priority": 5,
        "tags": ["a", "b"],
        "click": "https://c.example",
        "icon": "https://i.example/i.png",
        "attachment": {"name": "a.jpg", "url": "https://a.example/a.jpg"},
        "content_type": "text/markdown",
    }
