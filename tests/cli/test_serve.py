"""``ntfyish serve``: as a process, with its first start, its checks and its ways to fail."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ntfyish.cli import main
from ntfyish.cli.serve import run as run_server
from ntfyish.cli.terminal import Failure
from ntfyish.core.first_start import FirstStart, first_commands, first_text, make_first
from ntfyish.model.people import Account, App, AppToken, Role, UserKey
from ntfyish.settings import Settings, load
from ntfyish.settings.example import extra_of
from ntfyish.settings.schema import key_of
from ntfyish.store.sqlite.people import PeopleDatabase

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment without any configuration, and a home folder of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("NTFYISH_", "XDG_"))}
    return {**environ, "HOME": str(tmp_path), "LOGNAME": "phil", "PYTHONUNBUFFERED": ""}


@pytest.fixture
def start(home: dict[str, str]) -> Iterator[Start]:
    """Start ``ntfyish serve`` as a process; it is stopped at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "ntfyish", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**home, **environ},
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def url_of(process: subprocess.Popen[str]) -> str:
    """Wait for the log line that says where the server listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if " listens on " in line:
            return line.split(" listens on ")[1].split(",")[0]
    raise AssertionError("the server ended")


def stop(process: subprocess.Popen[str]) -> str:
    """End a server as systemd does, and return what it printed."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return output


def healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/v1/health", timeout=10) as answer:
        return bool(json.load(answer) == {"healthy": True})


def check(*arguments: str, env: dict[str, str | None] | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["serve", *arguments, "--check-config"], env=env)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("key", ["listen-http", "metrics-listen-http"])
def test_an_address_that_is_taken_is_named(start: Start, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start("--listen-http", "127.0.0.1:0", f"--{key}", address)
        _, words = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"ntfyish: {address}: Address already in use\n" in words


def test_the_log_says_where_the_metrics_are(start: Start) -> None:
    process = start("--listen-http", "127.0.0.1:0", "--metrics-listen-http", "127.0.0.1:0")
    assert process.stderr is not None
    line = next(line for line in process.stderr if " listens on " in line)
    url = line.split(", metrics on ")[1].strip()
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"ntfyish_build_info" in answer.read()


def test_checking_names_every_package_that_the_settings_need(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = ("--smtp-server-listen", ":25", "--smtp-server-domain", "push.example")
    assert check(*mail)[0] == 0
    monkeypatch.setitem(sys.modules, "aiosmtpd", None)
    code, _, words = check(*mail)
    assert (code, words) == (
        1,
        "ntfyish: smtp-server-listen needs a package that is not installed: pip install 'ntfyish[mail]'\n",
    )


def test_the_first_start_prints_commands_that_work_as_they_are(start: Start, tmp_path: Path) -> None:
    process = start("--listen-http", "127.0.0.1:0", "--auth-default-access", "deny-all")
    assert healthy(url_of(process))
    assert process.stdout is not None
    commands: list[str] = []
    while len(commands) < 3:
        line = process.stdout.readline()
        assert line
        if line.strip().startswith("curl "):
            commands.append(line.strip())
    subscribe, pushover, ntfy = commands
    stream = subprocess.Popen(["sh", "-c", f"exec {subscribe}"], stdout=subprocess.PIPE, text=True)
    try:
        assert stream.stdout is not None
        assert json.loads(stream.stdout.readline())["event"] == "open"
        sent = subprocess.run(["sh", "-c", pushover], capture_output=True, text=True, check=True)
        assert json.loads(sent.stdout)["status"] == 1
        first = json.loads(stream.stdout.readline())
        assert (first["title"], first["message"]) == ("Hello", "Sent as with Pushover")
        subprocess.run(["sh", "-c", ntfy], capture_output=True, check=True)
        second = json.loads(stream.stdout.readline())
        assert (second["topic"], second["message"]) == ("hello", "Sent as with ntfy")
    finally:
        stream.kill()
        stream.communicate()
    stop(process)
    assert (tmp_path / ".local/share/ntfyish/people.db").exists()


def test_a_second_start_makes_and_prints_nothing(start: Start) -> None:
    first = start("--listen-http", "127.0.0.1:0")
    url_of(first)
    assert "app token" in stop(first)
    second = start("--listen-http", "127.0.0.1:0")
    assert healthy(url_of(second))
    assert stop(second) == ""


def test_the_first_start_makes_nothing_where_people_are_declared(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("listen-http: 127.0.0.1:0\naccounts: [{name: phil, password: secret}]\n")
    process = start(NTFYISH_CONFIG=str(config))
    assert healthy(url_of(process))
    assert stop(process) == ""


def test_an_app_added_while_the_server_runs_can_publish(start: Start, home: dict[str, str]) -> None:
    process = start("--listen-http", "127.0.0.1:0")
    url = url_of(process)
    ntfyish = [sys.executable, "-m", "ntfyish"]
    done = subprocess.run(
        [*ntfyish, "app", "add", "Late"], env=home, capture_output=True, text=True, check=True
    )
    token = done.stdout.strip()
    listed = subprocess.run(
        [*ntfyish, "account", "list"], env=home, capture_output=True, text=True, check=True
    )
    user = listed.stdout.split("\t")[2]
    body = f"token={token}&user={user}&message=hi".encode()
    with urllib.request.urlopen(f"{url}/1/messages.json", body, timeout=10) as answer:
        assert json.load(answer)["status"] == 1
    stop(process)


def test_an_address_in_use_is_one_line_and_exit_code_1(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--listen-http", f"127.0.0.1:{taken.getsockname()[1]}", "--log-level", "error")
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    [line] = errors.splitlines()
    assert line.startswith("ntfyish: ")
    assert "in use" in line


def test_data_that_cannot_be_used_is_one_line_and_exit_code_1(start: Start, tmp_path: Path) -> None:
    (tmp_path / "messages.db").write_bytes(b"no database" * 1000)
    (tmp_path / "people.db").write_bytes(b"no database" * 1000)
    process = start("--listen-http", "127.0.0.1:0", "--data-dir", str(tmp_path))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert str(tmp_path) in errors
    assert "Traceback" not in errors


def test_a_declared_app_of_nobody_is_one_line_and_exit_code_1(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"apps: [{{name: Backups, token: {'a' * 30}, account: nobody}}]\n")
    process = start("--listen-http", "127.0.0.1:0", "-c", str(config))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    [line] = errors.splitlines()
    assert line.startswith("ntfyish: apps: ")
    assert ": nobody;" in line


def test_a_data_folder_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = load({"listen-http": "127.0.0.1:0", "data-dir": str(tmp_path / "file/x")}, {}, None)
    with pytest.raises(Failure, match="Not a directory"):
        run_server(settings)


def test_wrong_settings_are_all_said_with_exit_code_1(start: Start) -> None:
    process = start("--listen-http", "nowhere", "--log-level", "loud", NTFYISH_BASE_URL="x")
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output == ""
    assert [line.split(" ")[1] for line in errors.splitlines()] == ["listen-http", "base-url", "log-level"]


def test_checking_says_every_setting_and_where_it_is_from(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("accounts: [{name: phil, password: geheim}]\nkeepalive-interval: 30s\n")
    code, output, _ = check(
        "-c", str(config), "--behind-proxy", "--data-dir", "/x\x1b[2J", env={"NTFYISH_LOG_FORMAT": "json"}
    )
    assert code == 0
    lines = output.splitlines()
    assert f"configuration file: {config}" in lines
    assert f"keepalive-interval: 30s  ({config} line 2)" in lines
    assert f"accounts: 1 declared  ({config} line 1)" in lines
    assert "behind-proxy: true  (--behind-proxy)" in lines
    assert "log-format: json  (NTFYISH_LOG_FORMAT)" in lines
    assert "data-dir: /x\\x1b[2J  (--data-dir)" in lines
    assert "message-size-limit: 4K  (default)" in lines
    assert len(lines) == 1 + len(Settings.model_fields)
    assert "geheim" not in output


def test_checking_does_not_start_anything(tmp_path: Path) -> None:
    assert check("--data-dir", str(tmp_path / "data"))[0] == 0
    assert not (tmp_path / "data").exists()


def test_checking_wrong_settings_says_what_is_wrong_with_exit_code_1() -> None:
    code, output, errors = check("--keepalive-interval", "1s", env={"NTFYISH_BASE_URL": "\x1b[2J"})
    assert code == 1
    assert output == ""
    assert "ntfyish: keepalive-interval (--keepalive-interval): must be at least 5s" in errors.splitlines()
    assert "\x1b" not in errors


def test_an_unknown_flag_is_a_wrong_call() -> None:
    assert check("--no-such-flag")[0] == 2


def test_a_switch_can_be_switched_off_again_by_its_flag() -> None:
    _, output, _ = check("--no-behind-proxy", env={"NTFYISH_BEHIND_PROXY": "true"})
    assert "behind-proxy: false  (--behind-proxy)" in output.splitlines()


def test_there_is_a_flag_for_every_setting_that_is_no_secret() -> None:
    shown = CliRunner().invoke(main, ["serve", "--help"]).output
    for attribute, field in Settings.model_fields.items():
        assert (f"--{key_of(attribute)} " in shown.replace("/", " ")) is not extra_of(field)["secret"], (
            attribute
        )


def test_the_example_configuration_is_printed() -> None:
    example = (Path(__file__).parents[2] / "config.example.yml").read_text()
    assert CliRunner().invoke(main, ["serve", "--print-config"]).stdout == example


async def test_the_first_people_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "phil")
    async with PeopleDatabase.open(tmp_path) as people:
        first = await make_first(people, monthly_limit=7)
        assert first is not None
        assert first.password not in repr(first)
        known = await people.load()
        assert [account.name for account in known.accounts] == ["phil"]
        assert known.accounts == (first.account,)
        assert first.account.role is Role.ADMIN
        assert known.apps == (first.app,)
        assert (first.app.account, first.app.name, first.app.monthly_limit) == ("phil", "ntfyish", 7)
        assert await make_first(people) is None
        assert await people.load() == known


async def test_a_user_without_a_usable_name_is_me(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "a b; rm -rf /")
    async with PeopleDatabase.open(tmp_path) as people:
        first = await make_first(people)
    assert first is not None
    assert first.account.name == "me"


def test_the_first_commands_survive_a_shell() -> None:
    first = FirstStart(
        account=Account(name="phil", user_key=UserKey("u" * 30)),
        app=App(token=AppToken("a" * 30), name="ntfyish", account="phil"),
        password="$(id) 'x' \"y\" `z` !1",
    )
    subscribe, pushover, ntfy = first_commands(first, "http://[::1]:8080")
    login = f"phil:{first.password}"
    assert shlex.split(subscribe) == ["curl", "-sSN", "-u", login, f"http://[::1]:8080/{'u' * 30},hello/json"]
    assert shlex.split(pushover)[-1] == "http://[::1]:8080/1/messages.json"
    assert shlex.split(ntfy) == ["curl", "-u", login, "-d", "Sent as with ntfy", "http://[::1]:8080/hello"]
    printed = subprocess.run(
        ["sh", "-c", ntfy.replace("curl", "printf '%s\\n'", 1)], capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines()[1] == login
    assert all(command in first_text(first, "http://[::1]:8080") for command in (subscribe, pushover, ntfy))
