"""The commands about accounts, apps, keys and tokens, on a real database."""

import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import bcrypt
import click
import pytest
from click.testing import CliRunner

from ntfyish.cli import COMMANDS, main
from ntfyish.model.people import KEY_PATTERN, Flavour, Role
from tests.cli.conftest import Run
from tests.cli.database import HASH, declare, on_terminal, people_in


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
        ("token", "add", "phil", "--publish-only", "--subscribe-only"),
        ("token", "add", "phil", "--topic", "a/b"),
        ("token", "rotate", "phil", "tk_none"),
        ("token", "list", "nobody"),
        ("token", "remove", "phil", "tk_none", "--yes"),
        ("account", "list", "--config", "/nowhere/config.yml"),
        ("account", "add", "everyone"),
        ("account", "add", "vera", "--tier", "none"),
        ("account", "show", "nobody"),
        ("account", "rotate-key", "nobody", "--yes"),
        ("account", "rotate-key", "phil"),
        ("app", "rotate", "nothing", "--yes"),
        ("app", "rotate", "Backups"),
        ("user", "add", "phil"),
        ("user", "add", "*"),
        ("user", "add", "everyone", "--ignore-exists"),
        ("user", "add", "a b"),
        ("user", "remove", "nobody"),
        ("user", "remove", "everyone"),
        ("user", "change-pass", "nobody"),
        ("user", "change-role", "nobody", "admin"),
        ("user", "change-tier", "nobody", "-"),
        ("user", "change-tier", "phil", "nothing"),
        ("access", "nobody"),
        ("access", "nobody", "alerts", "rw"),
        ("access", "phil", "a/b", "rw"),
        ("access", "phil", "x" * 65, "rw"),
        ("access", "phil", "alerts", "sometimes"),
        ("access", "--reset", "nobody"),
        ("access", "--reset", "phil", "alerts"),
        ("tier", "add", "a b"),
        ("tier", "add", "x" * 65),
        ("tier", "add", "pro", "--name", "a\nb"),
        ("tier", "change", "nothing"),
        ("tier", "remove", "nothing"),
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
    "arguments",
    [
        ("app", "add"),
        ("key", "add"),
        ("account", "add", "x", "--role", "boss"),
        ("user", "add", "x", "--role", "anonymous"),
        ("user", "change-role", "x", "boss"),
        ("user", "grow"),
        ("access", "x", "y"),
        ("access", "--reset", "x", "y", "rw"),
        ("access", "x", "y", "rw", "z"),
        ("tier", "add"),
        ("tier", "add", "x", "--message-limit", "-1"),
        ("tier", "add", "x", "--message-limit", "\u0663"),
        ("tier", "add", "x", "--message-limit", "9" * 19),
        ("tier", "add", "x", "--message-expiry-duration", "-1h"),
        ("tier", "add", "x", "--attachment-file-size-limit", "9" * 60),
        ("token", "remove", "x"),
    ],
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


def test_an_account_shows_all_that_it_needs(run: Run) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    run("account", "add", "vera")
    run("app", "add", "Backups", "--token", "a" * 30, "--account", "phil")
    run("app", "add", "Foreign", "--token", "b" * 30, "--account", "vera")
    run("token", "add", "phil", "--label", "phone")
    shown = run("account", "show", "phil").stdout
    rows = [line.split("\t") for line in shown.splitlines()]
    assert [row[0] for row in rows] == ["Name", "Role", "Tier", "User key", "App", "Access token"]
    assert rows[3][1:] == ["u" * 30, f"http://127.0.0.1:8080/{'u' * 30}"]
    assert rows[4][1:] == ["a" * 30, "Backups"]
    assert rows[5][1].startswith("tk_")
    assert rows[5][2] == "(phone), never expires, never used"


def test_a_user_key_and_an_app_s_token_are_rotated(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    run("app", "add", "Backups", "--token", "a" * 30, "--monthly-limit", "7")
    key = run("account", "rotate-key", "phil", "--yes").stdout.strip()
    token = run("app", "rotate", "Backups", "--yes").stdout.strip()
    people = people_in(data_dir)
    assert [account.user_key for account in people.accounts] == [key]
    assert [(app.token, app.name, app.monthly_limit) for app in people.apps] == [(token, "Backups", 7)]
    assert KEY_PATTERN.fullmatch(key)
    assert KEY_PATTERN.fullmatch(token)
    assert key != "u" * 30
    assert token != "a" * 30


def test_a_key_is_random_or_chosen_and_can_be_removed(run: Run, data_dir: Path) -> None:
    key = run("key", "add", "--topic", "alerts").stdout.strip()
    assert KEY_PATTERN.fullmatch(key)
    run("key", "add", "--topic", "other", "t" * 30)
    assert {one.key: one.topic for one in people_in(data_dir).keys} == {key: "alerts", "t" * 30: "other"}
    run("key", "remove", key, "--yes")
    assert [one.topic for one in people_in(data_dir).keys] == ["other"]


def test_lists_are_tab_separated_and_show_no_app_token_unless_asked(run: Run) -> None:
    run("account", "add", "phil", "--user-key", "u" * 30)
    run("app", "add", "Backups", "--token", "abcd" + "x" * 22 + "wxyz")
    run("key", "add", "--topic", "alerts", "t" * 30)
    assert run("account", "list").stdout == f"phil\tuser\t{'u' * 30}\t1\tdatabase\n"
    assert run("app", "list").stdout == "Backups\tphil\tabcd...wxyz\tpushover\t10000\tyes\tdatabase\n"
    assert "\tabcd" + "x" * 22 + "wxyz\t" in run("app", "list", "--show-tokens").stdout
    assert run("key", "list").stdout == f"alerts\t{'t' * 30}\tdatabase\n"


def test_a_list_of_nothing_prints_nothing(run: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    for kind in ("account", "app", "key", "tier", "group"):
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
        ("token", "remove", "phil", f"tk_{'s' * 29}"),
        ("account", "add", "ben", "--config", str(config)),
    ):
        assert " declared in the configuration; " in run(*arguments, fails=True).stderr
    assert run("account", "list").stdout.count("\tconfiguration\n") == 2
    run("account", "add", "vera")
    config.write_text(f"apps: [{{name: Backups, token: {'a' * 30}, account: vera}}]\n")
    declare(data_dir, config)
    refusal = run("account", "remove", "vera", "--yes", "--config", str(config), fails=True).stderr
    assert "something that belongs to vera is declared in the configuration" in refusal
    assert refusal.endswith(f"{config}\n")


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


def documented() -> list[list[str]]:
    """Return the commands that the page about the command line shows, without the program's name."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    lines = [line for block in page.split("```sh\n")[1:] for line in block.split("```")[0].splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [command[command.index("ntfyish") + 1 :] for command in words if command]


def subcommands(name: str) -> set[tuple[str, ...]]:
    command = main.get_command(click.Context(main), name)
    return {(name, sub) for sub in command.commands} if isinstance(command, click.Group) else {(name,)}


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_what_the_page_about_the_command_line_shows_can_be_called(words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("ntfyish", words).close()


def test_every_command_is_shown_on_the_page_about_the_command_line() -> None:
    shown = {(*words[:2],) for words in documented()} | {(words[0],) for words in documented()}
    assert not set().union(*map(subcommands, COMMANDS)) - shown


def test_the_version_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ntfyish", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ntfyish 0.")
