"""The commands `publish` and `subscribe`, run as programs against a small server over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ntfyish.cli.subscribe import environment, escape, readable

TIME = 1_800_000_000


def message(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"message{number:05d}",
        "time": TIME,
        "expires": TIME + 43200,
        "event": "message",
        "topic": "alerts",
        "message": f"number {number}",
        **more,
    }


@dataclass
class Server:
    """Answers what `answers` says, in turn; a list is a stream that stays open after it if it ends in ..."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.pop(0)
        if not isinstance(answer, list):
            return web.json_response(answer[1], status=answer[0], headers=dict(answer[2:]))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for event in answer:
            if event is ...:
                await asyncio.Event().wait()
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app, shutdown_timeout=0) as test_server:
        server.url = str(test_server.make_url("/")).rstrip("/")
        yield server


async def start(*words: str, stdin: Any = asyncio.subprocess.DEVNULL, **environ: str) -> Process:
    mine = ("NTFYISH_", "PYTHONUNBUFFERED")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ntfyish",
        *words,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, **environ},
    )


async def run(*words: str, piped: bytes | None = None, **environ: str) -> tuple[int | None, str, str]:
    stdin = asyncio.subprocess.DEVNULL if piped is None else asyncio.subprocess.PIPE
    process = await start(*words, stdin=stdin, **environ)
    out, err = await asyncio.wait_for(process.communicate(piped), 30)
    return process.returncode, out.decode(), err.decode()


async def test_publish_sends_every_option(server: Server) -> None:
    server.answers = [(200, message(1))]
    code, out, err = await run(
        *("publish", "--server", server.url, "-t", "Größe", "-p", "High", "-T", "a,b", "-D", "30m"),
        *("-U", "https://c.example", "-i", "https://i.example/i.png", "-a", "https://a.example/a.jpg"),
        *("-A", '[{"action":"view","label":"x","url":"https://x.example"}]', "--markdown", "-C"),
        *("--sequence-id", "s1", "-u", "phil:se:cret", "alerts", "Disk", "full"),
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == message(1)
    method, path, headers, body = server.requests[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/", "Basic cGhpbDpzZTpjcmV0")
    assert json.loads(body) == {
        "topic": "alerts",
        "message": "Disk full",
        "title": "Größe",
        "priority": 4,
        "tags": ["a", "b"],
        "delay": "30m",
        "click": "https://c.example",
        "icon": "https://i.example/i.png",
        "attach": "https://a.example/a.jpg",
        "actions": [{"action": "view", "label": "x", "url": "https://x.example"}],
        "markdown": True,
        "cache": "no",
        "sequence_id": "s1",
    }


async def test_publish_takes_the_message_from_a_pipe_and_options_from_the_environment(
    server: Server,
) -> None:
    server.answers = [(200, message(1))]
    code, out, err = await run(
        "publish",
        "-q",
        piped="zwölf\nlines\n".encode(),
        NTFYISH_SERVER=server.url,
        NTFYISH_TOPIC="alerts",
        NTFYISH_TITLE="T",
        NTFYISH_TOKEN="tk_1",
    )
    assert (code, out, err) == (0, "", "")
    assert server.requests[0][2]["Authorization"] == "Bearer tk_1"
    assert json.loads(server.requests[0][3]) == {"topic": "alerts", "message": "zwölf\nlines", "title": "T"}


async def test_publish_to_a_url_goes_there_whatever_the_server_option_says(server: Server) -> None:
    server.answers = [(200, message(1))]
    code, _, _ = await run("publish", "--server", "http://127.0.0.1:1", f"{server.url}/sub/alerts", "x")
    assert code == 0
    assert server.requests[0][1] == "/sub/"


@pytest.mark.parametrize(
    ("words", "piped", "complaint"),
    [
        ([], None, "Missing the topic"),
        (["a b", "x"], None, "'a b' is not a topic"),
        (["a,b", "x"], None, "'a,b' is not a topic name"),
        (["a", "x", "-p", "6"], None, "use 1 to 5"),
        (["a", "x", "-u", "phil"], None, "Missing the password"),
        (["a", "x", "-u", "phil:p", "-k", "tk_1"], None, "not both"),
        (["a", "x", "-A", "[{"], None, "unexpected end"),
        (["a", "x", "--server", "gopher://h"], None, "not an http or https URL"),
        (["a"], b"\xff\xfe", "not UTF-8"),
        (["a"], b"x" * (1024 * 1024 + 1), "longer than 1048576 bytes"),
        (["a", "half a pair \udcff"], None, "the message is not valid"),
    ],
)
async def test_publish_called_wrongly_says_why_and_ends_with_2(
    words: list[str], piped: bytes | None, complaint: str
) -> None:
    code, out, err = await run("publish", *words, piped=piped)
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]
    assert "Traceback" not in err


async def test_publish_tells_a_refusal_from_a_server_that_is_busy_or_gone(server: Server) -> None:
    server.answers = [(403, {"code": 40301, "error": "forbidden"}), (503, {})]
    arguments = ("publish", "--server", server.url, "alerts", "x")
    assert await run(*arguments) == (1, "", "ntfyish: forbidden (HTTP 403, code 40301)\n")
    assert (await run(*arguments))[0] == 3
    code, _, err = await run("publish", "http://127.0.0.1:1/alerts", "x")
    assert code == 3
    assert err.startswith("ntfyish: ")
    assert len(err.splitlines()) == 1


async def test_subscribe_prints_json_lines_as_they_come_and_ends_cleanly_on_a_signal(server: Server) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        server.answers = [[message(1, title="é\x1b[2J"), ...]]
        process = await start("subscribe", "--server", server.url, "alerts")
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert json.loads(line) == message(1, title="é\x1b[2J")
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_subscribe_goes_on_where_a_broken_connection_ended(server: Server) -> None:
    server.answers = [[message(1)], [message(2), ...]]
    process = await start("subscribe", "--server", server.url, "-s", "all", "alerts")
    assert process.stdout is not None
    lines = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(2)]
    assert [json.loads(line)["id"] for line in lines] == ["message00001", "message00002"]
    assert [path for _, path, _, _ in server.requests] == [
        "/alerts/json?since=all",
        "/alerts/json?since=message00001",
    ]
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert err.startswith(b"the server ended the stream; trying again in ")


async def test_subscribe_polls_and_ends(server: Server) -> None:
    server.answers = [[message(1), message(2)]]
    code, out, _ = await run("subscribe", "-p", "-S", "-s", "10m", "--server", server.url, "alerts,backups")
    assert code == 0
    assert [json.loads(line)["message"] for line in out.splitlines()] == ["number 1", "number 2"]
    assert server.requests[0][1] == "/alerts,backups/json?scheduled=1&poll=1&since=10m"


async def test_subscribe_ends_when_it_is_refused_or_a_poll_fails(server: Server) -> None:
    server.answers = [(401, {"code": 40101, "error": "unauthorized"})]
    assert await run("subscribe", "--server", server.url, "alerts") == (
        1,
        "",
        "ntfyish: unauthorized (HTTP 401, code 40101)\n",
    )
    assert (await run("subscribe", "-p", "http://127.0.0.1:1/alerts"))[0] == 3


async def test_subscribe_ends_quietly_when_its_reader_has_had_enough(server: Server) -> None:
    server.answers = [[message(number) for number in range(5000)] + [...]]
    process = await start("subscribe", "--server", server.url, "alerts")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    assert await asyncio.wait_for(process.stderr.read(), 10) == b""
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_command_gets_the_message_by_its_environment_only(server: Server, tmp_path: Path) -> None:
    evil = "$(touch pwned)`touch pwned`\"; touch pwned; '\n-n é"
    server.answers = [[message(1, message=evil, title=evil, tags=["a", "b"], priority=4)]]
    command = f'cd {tmp_path} && printf "%s|" "$NTFY_MESSAGE" "$m" "$NTFY_TITLE" "$NTFY_TAGS" "$p" "$NTFY_ID"'
    code, out, err = await run("subscribe", "-p", "--server", server.url, "alerts", command)
    assert (code, err) == (0, "")
    assert out == f"{evil}|{evil}|{evil}|a,b|4|message00001|"
    assert os.listdir(tmp_path) == []


async def test_a_command_runs_once_per_message_in_order_and_its_failure_is_told(server: Server) -> None:
    cleared = message(3, event="message_clear", message="")
    server.answers = [[message(1), cleared, message(2)]]
    code, out, err = await run(
        "subscribe", "-p", "--server", server.url, "alerts", 'echo "$NTFY_MESSAGE"; exit 7'
    )
    assert (code, out) == (0, "number 1\nnumber 2\n")
    assert err.splitlines() == [
        "The command ended with 7 for message message00001",
        "The command ended with 7 for message message00002",
    ]


async def test_a_signal_ends_the_running_command_too(server: Server) -> None:
    server.answers = [[message(1), ...]]
    process = await start("subscribe", "--server", server.url, "alerts", "echo $$; exec sleep 600")
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 30))
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_on_a_terminal_messages_are_readable_and_harmless(server: Server) -> None:
    server.answers = [[message(1, title="\x1b]0;owned\x07", priority=5, tags=["disk"])]]
    master, slave = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ntfyish", "subscribe", "-p", "--server", server.url, "alerts"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=slave,
            env={**os.environ, "TZ": "UTC"},
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0
        shown = os.read(master, 4096).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert shown == "2027-01-15 08:00:00 alerts [max] \\x1b]0;owned\\x07: number 1 #disk\r\n"


def test_readable_indents_further_lines_and_shows_the_link() -> None:
    shown = readable(message(1, message="one\ntwo", click="https://x.example"))  # type: ignore[arg-type]
    assert shown.endswith(" alerts one\n    two\n    https://x.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 📦 👨‍👩‍👧 \u00a0", "plain é 📦 👨‍👩‍👧 \u00a0"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x00", "a\\rb\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
    ],
)
def test_a_terminal_is_shown_nothing_it_might_obey(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_variables_have_no_nul_and_are_not_longer_than_the_system_takes() -> None:
    variables = environment(message(1, title="a\0b", message="é" * 300_000))  # type: ignore[arg-type]
    assert variables["NTFY_TITLE"] == "ab"
    assert variables["NTFY_MESSAGE"] == "é" * 60_000
    assert set(variables) == {
        *("NTFY_ID", "id", "NTFY_TIME", "time", "NTFY_TOPIC", "topic", "NTFY_RAW", "raw"),
        *("NTFY_MESSAGE", "message", "m", "NTFY_TITLE", "title", "t"),
        *("NTFY_PRIORITY", "priority", "prio", "p", "NTFY_TAGS", "tags", "tag", "ta"),
    }
