"""The commands about accounts, apps, keys and tokens, on a real database."""

import asyncio
import hashlib
import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import bcrypt
import pytest
from click.testing import CliRunner, Result

from ntfyish.cli import COMMANDS, main
from ntfyish.core.declared import declared_people
from ntfyish.core.ports import People
from ntfyish.model.people import KEY_PATTERN, Flavour, Role
from ntfyish.settings import load
from ntfyish.store.sqlite.people import PeopleDatabase

HASH = "$2a$10$" + "a" * 53
Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data_dir: Path) -> Run:
    """Run a command on the data folder; by default it must go well."""

    def run(
        *arguments: str,
        fails: bool = False,
        env: Mapping[str, str | None] = MappingProxyType({}),
        input: str | bytes | None = None,
    ) -> Result:
        environ = {"NTFYISH_DATA_DIR": str(data_dir), "NTFYISH_PASSWORD": "geheim", "NTFYISH_CONFIG": None}
        result = CliRunner().invoke(main, arguments, env={**environ, **env}, input=input)
        assert result.exit_code == (1 if fails else 0), result.output
        if fails:
            assert isinstance(result.exception, SystemExit)
            assert result.stdout == ""
            assert len(result.stderr.splitlines()) == 1
        return result

    return run


def people_in(data_dir: Path) -> People:
    async def read() -> People:
        async with PeopleDatabase.open(data_dir) as people:
            return await people.load()

    return asyncio.run(read())


def declare(data_dir: Path, config: Path) -> None:
    async def reconcile() -> None:
        async with PeopleDatabase.open(data_dir) as people:
            await people.reconcile(declared_people(load({}, {}, config)))

    data_dir.mkdir(exist_ok=True)
    asyncio.run(reconcile())


def test_an_account_is_added_with_a_user_key_on_standard_output(run: Run, data_dir: Path) -> None:
    result = run("account", "add", "phil", "--role", "admin")
    [account] = people_in(data_dir).accounts
    assert result.stdout == account.user_key + "\n"
    assert KEY_PATTERN.fullmatch(account.user_key)
    assert account.name == "phil"
    assert account.role is Role.ADMIN
    assert not account.declared
    assert account.password_hash.startswith("$2b$10$")
    assert bcrypt.checkpw(b"geheim", account.password_hash.encode())
    assert f"http://127.0.0.1:8080/{account.user_key}/json" in result.stderr
    assert "geheim" not in result.output


def test_a_new_data_folder_is_for_its_owner_only(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    assert data_dir.stat().st_mode & 0o777 == 0o700


def test_a_user_key_can_be_chosen(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    assert people_in(data_dir).accounts[0].user_key == "u" * 30


def test_a_password_on_standard_input_beats_the_environment(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil", "--password-stdin", input="andres é\r\n")
    [account] = people_in(data_dir).accounts
    assert bcrypt.checkpw("andres é".encode(), account.password_hash.encode())


@pytest.mark.parametrize(
    ("password", "words"),
    [
        (b"x" * 73, "at most 72 bytes"),
        ("é".encode() * 37, "at most 72 bytes"),
        (b"x" * 1_000_000, "at most 72 bytes"),
        (b"\n", "is empty"),
        (b"", "is empty"),
        (b"a\0b", "NUL"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_an_unusable_password_is_refused(run: Run, data_dir: Path, password: bytes, words: str) -> None:
    result = run("account", "add", "phil", "--password-stdin", input=password, fails=True)
    assert words in result.stderr
    assert people_in(data_dir).accounts == ()


def test_a_password_of_72_bytes_is_long_enough_but_not_too_long(run: Run) -> None:
    run("account", "add", "phil", "--password-stdin", input="x" * 72)


def test_without_a_terminal_a_password_must_come_from_somewhere(run: Run) -> None:
    result = run("account", "add", "phil", env={"NTFYISH_PASSWORD": None}, fails=True)
    assert "--password-stdin" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "add", "a b"),
        ("account", "add", "a\x1b[2Jb"),
        ("account", "add", ""),
        ("account", "add", "vera", "--user-key", "short"),
        ("account", "add", "vera", "--user-key", "u" * 30),
        ("account", "add", "vera", "--user-key", "t" * 30),
        ("account", "add", "phil"),
        ("account", "remove", "nobody", "--yes"),
        ("account", "remove", "phil"),
        ("app", "add", ""),
        ("app", "add", "x\ny"),
        ("app", "add", "x" * 251),
        ("app", "add", "x", "--account", "nobody"),
        ("app", "add", "x", "--token", "short"),
        ("app", "add", "x", "--token", "a" * 30),
        ("app", "remove", "nothing", "--yes"),
        ("app", "remove", "Backups"),
        ("key", "add", "--topic", "a/b"),
        ("key", "add", "--topic", "v1"),
        ("key", "add", "--topic", "x", "short"),
        ("key", "add", "--topic", "x", "u" * 30),
        ("key", "add", "--topic", "x", "t" * 30),
        ("key", "remove", "x" * 30, "--yes"),
        ("key", "remove", "t" * 30),
        ("token", "add", "nobody"),
        ("token", "add", "phil", "--expires", "soon"),
        ("token", "add", "phil", "--expires", "-1h"),
        ("token", "add", "phil", "--expires", "0"),
        ("token", "add", "phil", "--expires", "200 years"),
        ("token", "add", "phil", "--label", "a\nb"),
        ("token", "list", "nobody"),
        ("token", "remove", "phil", "tk_none", "--yes"),
        ("account", "list", "--config", "/nowhere/config.yml"),
    ],
)
def test_what_cannot_be_done_is_one_line_on_standard_error_and_changes_nothing(
    run: Run, data_dir: Path, arguments: tuple[str, ...]
) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    run("app", "add", "Backups", "--token", "a" * 30)
    run("key", "add", "--topic", "alerts", "t" * 30)
    before = people_in(data_dir)
    result = run(*arguments, fails=True)
    assert result.stderr.startswith("ntfyish: ")
    assert result.stderr.rstrip("\n").isprintable()
    assert people_in(data_dir) == before


@pytest.mark.parametrize(
    "arguments", [("app", "add"), ("key", "add"), ("account", "add", "x", "--role", "boss")]
)
def test_a_wrong_call_ends_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_an_app_belongs_to_the_only_account_unless_another_is_named(run: Run, data_dir: Path) -> None:
    run("app", "add", "Backups", fails=True)
    run("account", "add", "phil")
    token = run("app", "add", "Backups").stdout.strip()
    run("account", "add", "vera")
    assert "--account" in run("app", "add", "Other", fails=True).stderr
    run("app", "add", "NZBGet", "--account", "vera", "--flavour", "nzbclient", "--monthly-limit", "0")
    backups, nzbget = sorted(people_in(data_dir).apps, key=lambda app: app.name == "NZBGet")
    assert (backups.account, backups.token, backups.flavour) == ("phil", token, Flavour.PUSHOVER)
    assert backups.monthly_limit == 10_000
    assert (nzbget.account, nzbget.flavour, nzbget.monthly_limit) == ("vera", Flavour.NZBCLIENT, 0)


def test_an_app_s_monthly_limit_is_that_of_the_settings(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    run("app", "add", "Backups", env={"NTFYISH_PUSHOVER_MONTHLY_LIMIT": "7"})
    assert people_in(data_dir).apps[0].monthly_limit == 7


def test_an_app_is_removed_by_its_name_or_its_token(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    for token in ("a" * 30, "b" * 30):
        run("app", "add", "Twin", "--token", token)
    assert "say the token" in run("app", "remove", "Twin", "--yes", fails=True).stderr
    run("app", "remove", "a" * 30, "--yes")
    run("app", "remove", "Twin", "--yes")
    assert people_in(data_dir).apps == ()


def test_removing_an_account_removes_its_apps_and_tokens(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    run("account", "add", "vera")
    for name in ("phil", "vera"):
        run("app", "add", f"of {name}", "--account", name)
        run("token", "add", name)
    run("account", "remove", "phil", "--yes")
    people = people_in(data_dir)
    assert [account.name for account in people.accounts] == ["vera"]
    assert [app.account for app in people.apps] == ["vera"]
    assert [token.account for token in people.tokens] == ["vera"]


def test_a_key_is_random_or_chosen_and_can_be_removed(run: Run, data_dir: Path) -> None:
    key = run("key", "add", "--topic", "alerts").stdout.strip()
    assert KEY_PATTERN.fullmatch(key)
    run("key", "add", "--topic", "other", "t" * 30)
    assert {one.key: one.topic for one in people_in(data_dir).keys} == {key: "alerts", "t" * 30: "other"}
    run("key", "remove", key, "--yes")
    assert [one.topic for one in people_in(data_dir).keys] == ["other"]


def test_an_access_token_is_printed_once_and_only_its_hash_is_kept(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    before = time.time()
    secret = run("token", "add", "phil", "--label", "phone", "--expires", "2d").stdout.strip()
    assert secret.startswith("tk_")
    assert len(secret) == 32
    [token] = people_in(data_dir).tokens
    assert token.token_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.account, token.label, token.hint) == ("phil", "phone", secret[-4:])
    assert before + 172_799 <= token.expires_at <= time.time() + 172_800
    assert secret not in run("token", "list").output
    stored = b"".join(path.read_bytes() for path in data_dir.iterdir())
    assert secret.encode() not in stored


def test_an_access_token_is_removed_by_its_last_four_characters_or_as_a_whole(
    run: Run, data_dir: Path
) -> None:
    run("account", "add", "phil")
    run("account", "add", "vera")
    first = run("token", "add", "phil").stdout.strip()
    second = run("token", "add", "phil").stdout.strip()
    run("token", "remove", "vera", first, "--yes", fails=True)
    run("token", "remove", "phil", first, "--yes")
    run("token", "remove", "phil", f"tk_...{second[-4:]}", "--yes")
    assert people_in(data_dir).tokens == ()


def test_lists_are_tab_separated_and_show_no_app_token_unless_asked(run: Run) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    run("app", "add", "Backups", "--token", "abcd" + "x" * 22 + "wxyz")
    run("key", "add", "--topic", "alerts", "t" * 30)
    token = run("token", "add", "phil", "--label", "phone").stdout.strip()
    assert run("account", "list").stdout == f"phil\tuser\t{'u' * 30}\t1\tdatabase\n"
    assert run("app", "list").stdout == "Backups\tphil\tabcd...wxyz\tpushover\t10000\tyes\tdatabase\n"
    assert "\tabcd" + "x" * 22 + "wxyz\t" in run("app", "list", "--show-tokens").stdout
    assert run("key", "list").stdout == f"alerts\t{'t' * 30}\tdatabase\n"
    assert run("token", "list").stdout == f"phil\ttk_...{token[-4:]}\tphone\tnever\tdatabase\n"


def test_a_list_of_nothing_prints_nothing(run: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    for kind in ("account", "app", "key", "token"):
        assert run(kind, "list").stdout == ""


def test_a_list_does_not_make_a_data_folder(run: Run, data_dir: Path) -> None:
    assert str(data_dir) in run("account", "list", fails=True).stderr
    assert not data_dir.exists()


def test_control_characters_in_names_do_not_reach_the_terminal(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    run("app", "add", "Backups")
    with sqlite3.connect(next(data_dir.glob("people*.db"))) as database:
        database.execute("UPDATE apps SET name = ?", ("a\x1b[2J\tb\n\u202ec",))
    database.close()
    assert run("app", "list").stdout.startswith("a\\x1b[2J\\tb\\n\\u202ec\tphil\t")


def test_what_the_configuration_declares_is_changed_only_there(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        f"accounts: [{{name: phil, password-hash: {HASH}, user-key: {'u' * 30}}}]\n"
        f"auth-users: ['ben:{HASH}:user']\n"
        f"auth-tokens: ['phil:tk_{'s' * 29}']\n"
        f"apps: [{{name: Backups, token: {'a' * 30}, account: phil}}]\n"
        f"keys: [{{key: {'t' * 30}, topic: alerts}}]\n"
    )
    declare(data_dir, config)
    for arguments in (
        ("account", "remove", "phil", "--yes"),
        ("app", "remove", "Backups", "--yes"),
        ("key", "remove", "t" * 30, "--yes"),
        ("token", "remove", "phil", "ssss", "--yes"),
        ("account", "add", "ben", "--config", str(config)),
    ):
        assert " declared in the configuration; " in run(*arguments, fails=True).stderr
    assert run("account", "list").stdout.count("\tconfiguration\n") == 2
    run("account", "add", "vera")
    config.write_text(f"apps: [{{name: Backups, token: {'a' * 30}, account: vera}}]\n")
    declare(data_dir, config)
    assert (
        "an app that the configuration declares"
        in run("account", "remove", "vera", "--yes", fails=True).stderr
    )


def test_a_wrong_configuration_is_said_line_by_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("base-url: x\nlog-level: y\n")
    result = CliRunner().invoke(main, ["account", "list", "-c", str(config)])
    assert result.exit_code == 1
    assert [line.split(" ")[1] for line in result.stderr.splitlines()] == ["base-url", "log-level"]


def test_a_broken_database_is_one_line(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    database = next(data_dir.glob("people*.db"))
    for path in data_dir.iterdir():
        if path != database:
            path.unlink()
    database.write_bytes(b"no database" * 1000)
    assert str(database) in run("account", "list", fails=True).stderr


def test_a_data_folder_that_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("account", "add", "phil", "--data-dir", str(tmp_path / "file" / "x"), fails=True)
    assert "Not a directory" in result.stderr


def test_a_terminal_is_asked_for_the_password_and_before_removing(data_dir: Path) -> None:
    environ = {"NTFYISH_DATA_DIR": str(data_dir), "NTFYISH_PASSWORD": None}
    shown = on_terminal(["account", "add", "phil"], environ, ["geheim", "geheim"])
    assert "geheim" not in shown
    [account] = people_in(data_dir).accounts
    assert bcrypt.checkpw(b"geheim", account.password_hash.encode())
    on_terminal(["account", "remove", "phil"], environ, ["n"])
    assert len(people_in(data_dir).accounts) == 1
    table = on_terminal(["account", "list"], environ, [])
    assert "User key" in table
    assert account.user_key in table
    on_terminal(["account", "remove", "phil"], environ, ["y"])
    assert people_in(data_dir).accounts == ()


def on_terminal(arguments: list[str], environ: dict[str, str | None], answers: list[str]) -> str:
    """Run a command on a terminal of 120 columns, answer each question, and return what it showed."""
    own, its = pty.openpty()
    variables = {**os.environ, "COLUMNS": "120", "TERM": "dumb", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "ntfyish", *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        env={name: value for name, value in variables.items() if value is not None},
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    try:
        while True:
            assert select.select([own], [], [], 20)[0], shown
            try:
                piece = os.read(own, 4096)
            except OSError:  # the other end is closed
                break
            shown += piece
            # With the blank: what is typed before it comes is thrown away with the echo's switching off.
            if answers and shown.endswith(b": "):
                os.write(own, answers.pop(0).encode() + b"\n")
                shown += b"\n"
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(own)
    assert not answers
    return shown.decode()


def test_the_list_of_commands_is_shown_without_loading_them() -> None:
    code = (
        "import sys, ntfyish.cli\n"
        "try: ntfyish.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'pydantic', 'rich.table', 'yaml', 'bcrypt', 'asyncio'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    for name, (_, _, summary) in COMMANDS.items():
        assert name in done.stdout
        assert summary.split(" ", 1)[0] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name} ")


def test_the_version_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ntfyish", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ntfyish 0.")
