"""``ntfyish access``, as ntfy's command; also on a server that runs."""

import base64
import contextlib
import http.client
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ntfyish.model.acl import TopicAccess
from tests.cli.conftest import Run
from tests.cli.database import HASH, declare, people_in

NOTICED_S = 1.0


def entries_in(data_dir: Path) -> dict[tuple[str, str], TopicAccess]:
    return {(entry.account, entry.pattern): entry.access for entry in people_in(data_dir).access}


@pytest.mark.parametrize(
    ("word", "access", "answer"),
    [
        ("read-write", TopicAccess.READ_WRITE, "granted read-write access to topic alerts"),
        ("rw", TopicAccess.READ_WRITE, "granted read-write access to topic alerts"),
        ("read-only", TopicAccess.READ_ONLY, "granted read-only access to topic alerts"),
        ("read", TopicAccess.READ_ONLY, "granted read-only access to topic alerts"),
        ("ro", TopicAccess.READ_ONLY, "granted read-only access to topic alerts"),
        ("write-only", TopicAccess.WRITE_ONLY, "granted write-only access to topic alerts"),
        ("write", TopicAccess.WRITE_ONLY, "granted write-only access to topic alerts"),
        ("wo", TopicAccess.WRITE_ONLY, "granted write-only access to topic alerts"),
        ("deny-all", TopicAccess.DENY_ALL, "revoked all access to topic alerts"),
        ("deny", TopicAccess.DENY_ALL, "revoked all access to topic alerts"),
        ("none", TopicAccess.DENY_ALL, "revoked all access to topic alerts"),
    ],
)
def test_all_words_for_permissions_are_ntfy_s(
    run: Run, data_dir: Path, word: str, access: TopicAccess, answer: str
) -> None:
    run("user", "add", "phil")
    assert run("access", "phil", "alerts", word).stdout.startswith(f"{answer}\n\nuser phil (role: user")
    assert entries_in(data_dir) == {("phil", "alerts"): access}


def test_an_entry_is_replaced_by_a_later_one(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil")
    run("access", "phil", "alerts", "rw")
    run("access", "phil", "alerts", "deny")
    assert entries_in(data_dir) == {("phil", "alerts"): TopicAccess.DENY_ALL}


@pytest.mark.parametrize("word", ["everyone", "*"])
def test_everyone_has_two_names(run: Run, data_dir: Path, word: str) -> None:
    run("user", "add", "phil")
    run("access", word, "announcements", "ro")
    assert entries_in(data_dir) == {("*", "announcements"): TopicAccess.READ_ONLY}
    assert run("access", word).stdout == (
        "user * (role: anonymous, tier: none)\n"
        "- read-only access to topic announcements\n"
        "- read-write access to all (other) topics (server config)\n"
    )


@pytest.mark.parametrize(
    ("default", "line"),
    [
        ("read-write", "- read-write access to all (other) topics (server config)"),
        ("read-only", "- read-only access to all (other) topics (server config)"),
        ("write-only", "- write-only access to all (other) topics (server config)"),
        ("deny-all", "- no access to any (other) topics (server config)"),
    ],
)
def test_the_default_is_shown_in_ntfy_s_words(run: Run, data_dir: Path, default: str, line: str) -> None:
    data_dir.mkdir()
    shown = run("access", env={"NTFYISH_AUTH_DEFAULT_ACCESS": default}).stdout
    assert shown.splitlines()[-1] == line


def test_the_entries_of_one_user_are_shown_the_longest_pattern_first(run: Run) -> None:
    run("user", "add", "phil")
    run("user", "add", "ben")
    for pattern, word in (("a*", "rw"), ("alerts-fire", "deny"), ("b", "wo")):
        run("access", "phil", pattern, word)
    assert run("access", "phil").stdout == (
        "user phil (role: user, tier: none)\n"
        "- no access to topic alerts-fire\n"
        "- read-write access to topic a*\n"
        "- write-only access to topic b\n"
    )


def test_an_administrator_needs_no_entry(run: Run, data_dir: Path) -> None:
    run("user", "add", "--role=admin", "phil")
    assert "administrator" in run("access", "phil", "alerts", "rw", fails=True).stderr
    assert entries_in(data_dir) == {}


def test_entries_are_reset_for_a_topic_a_user_or_all(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil")
    run("user", "add", "ben")
    for name in ("phil", "ben", "everyone"):
        for pattern in ("a", "b"):
            run("access", name, pattern, "ro")
    assert run("access", "--reset", "phil", "a").stdout.startswith(
        "reset access for user phil and topic a\n\nuser phil ("
    )
    assert len(entries_in(data_dir)) == 5
    assert ("phil", "a") not in entries_in(data_dir)
    assert run("access", "-r", "ben").stdout.startswith("reset access for user ben\n\nuser ben (")
    assert {name for name, _ in entries_in(data_dir)} == {"phil", "*"}
    run("access", "--reset", "everyone", "a")
    assert set(entries_in(data_dir)) == {("phil", "b"), ("*", "b")}
    assert run("access", "--reset").stdout == "reset access for all users\n"
    assert entries_in(data_dir) == {}


def test_a_declared_entry_is_changed_only_in_the_configuration(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        f"auth-users: ['ben:{HASH}:user']\nauth-access: ['ben:alerts:rw', 'everyone:news*:read-only']\n"
    )
    declare(data_dir, config)
    for arguments in (
        ("ben", "alerts", "deny"),
        ("--reset", "ben", "alerts"),
        ("everyone", "news*", "deny"),
    ):
        refused = run("access", *arguments, "--config", str(config), fails=True).stderr
        assert f" declared in the configuration; change it there: {config}\n" in refused
    run("access", "ben", "other", "ro")
    run("access", "--reset")
    assert run("access").stdout == (
        "user ben (role: user, tier: none, server config)\n"
        "- read-write access to topic alerts (server config)\n"
        "user * (role: anonymous, tier: none)\n"
        "- read-only access to topic news* (server config)\n"
        "- read-write access to all (other) topics (server config)\n"
    )


def test_control_characters_in_the_database_do_not_reach_the_terminal(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil")
    run("access", "phil", "alerts", "rw")
    with sqlite3.connect(data_dir / "people.db") as database:
        database.execute("UPDATE access_entries SET pattern = ?", ("a\x1b[2J\n",))
    database.close()
    assert "- read-write access to topic a\\x1b[2J\\n\n" in run("access").stdout


class Visit:
    """One connection to the server, with credentials."""

    def __init__(self, address: str, authorization: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=20)
        self._headers = {"Authorization": authorization}
        self._stream: http.client.HTTPResponse | None = None

    def status(self, method: str = "POST", path: str = "/alerts", body: str | None = "hi") -> int:
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def open_stream(self) -> http.client.HTTPResponse:
        self._connection.request("GET", "/alerts/json", headers=self._headers)
        self._stream = self._connection.getresponse()
        assert self._stream.status == 200
        assert b'"open"' in self._stream.readline()
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._connection.close()


Visitor = Callable[[str], Visit]


@pytest.fixture
def visit(run: Run, data_dir: Path) -> Iterator[Visitor]:
    """Visit a server, in a process of its own, that nobody may use, with an Authorization header.

    There is an account ben with the password geheim.
    """
    run("user", "add", "ben")
    flags = ("--listen-http", "127.0.0.1:0", "--auth-default-access", "deny-all", "--data-dir", str(data_dir))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NTFYISH_")}
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "ntfyish", "serve", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environ, "NTFYISH_VISITOR_REQUEST_LIMIT_EXEMPT_HOSTS": "127.0.0.1"},
        )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        assert process.stderr is not None
        line = next(line for line in process.stderr if " listens on " in line)
        address = line.split(" listens on http://")[1].split(",")[0]

        def visit(authorization: str) -> Visit:
            made = Visit(address, authorization)
            stack.callback(made.close)
            return made

        yield visit


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def ends_within(stream: http.client.HTTPResponse, seconds: float) -> bool:
    """Whether the server ends a stream in time; events meanwhile do not count."""
    deadline = time.monotonic() + seconds
    try:
        while stream.readline():
            pass
    except (http.client.IncompleteRead, ConnectionError):
        pass
    except TimeoutError:
        return False
    return time.monotonic() < deadline


def soon(check: Callable[[], bool]) -> bool:
    """Whether `check` comes true within a second."""
    deadline = time.monotonic() + NOTICED_S
    while not check():
        if time.monotonic() > deadline:
            return False
    return True


def test_a_running_server_learns_of_grants_within_a_second(run: Run, visit: Visitor) -> None:
    ben = visit(basic("ben", "geheim"))
    assert ben.status() == 403
    run("access", "ben", "alerts", "wo")
    assert soon(lambda: ben.status() == 200)
    run("access", "--reset", "ben")
    assert soon(lambda: ben.status() == 403)
    run("user", "change-role", "ben", "admin")
    assert soon(lambda: ben.status() == 200)


def test_a_running_server_learns_of_passwords_and_users_within_a_second(run: Run, visit: Visitor) -> None:
    run("access", "everyone", "alerts", "rw")
    old, new = visit(basic("ben", "geheim")), visit(basic("ben", "neu"))
    assert soon(lambda: old.status() == 200)
    run("user", "change-pass", "ben", env={"NTFYISH_PASSWORD": "neu"})
    assert soon(lambda: old.status() == 401)
    assert new.status() == 200
    run("user", "remove", "ben")
    assert soon(lambda: new.status() == 401)


@pytest.mark.parametrize(
    "arguments",
    [
        ("access", "ben", "alerts", "wo"),
        ("access", "--reset", "ben"),
        ("access", "--reset"),
        ("user", "change-pass", "ben"),
        ("user", "remove", "ben"),
        ("account", "remove", "ben", "--yes"),
    ],
)
def test_what_is_revoked_ends_a_live_stream_within_a_second(
    run: Run, visit: Visitor, arguments: tuple[str, ...]
) -> None:
    run("access", "ben", "alerts", "rw")
    ben = visit(basic("ben", "geheim"))
    assert soon(lambda: ben.status("GET", "/alerts/json?poll=1", None) == 200)
    stream = ben.open_stream()
    run(*arguments, env={"NTFYISH_PASSWORD": "neu"})
    assert ends_within(stream, NOTICED_S)


def test_a_removed_token_ends_its_live_stream_within_a_second_and_no_other(run: Run, visit: Visitor) -> None:
    run("access", "ben", "alerts", "rw")
    first, second = (
        run("token", "add", "--subscribe-only", "ben").stdout.split(" ")[1].strip() for _ in range(2)
    )
    visits = [visit(f"Bearer {token}") for token in (first, second)]
    assert soon(lambda: all(v.status("GET", "/alerts/json?poll=1", None) == 200 for v in visits))
    assert visits[0].status() == 403
    doomed, other = (v.open_stream() for v in visits)
    run("token", "remove", "ben", first)
    assert ends_within(doomed, NOTICED_S)
    assert visit(basic("ben", "geheim")).status() == 200
    assert b'"hi"' in other.readline()
