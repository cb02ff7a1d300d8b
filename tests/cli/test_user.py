"""``ntfyish user``, as ntfy's command."""

from pathlib import Path

import bcrypt
import pytest

from ntfyish.model.people import Role
from tests.cli.conftest import Run
from tests.cli.database import HASH, declare, on_terminal, people_in


def test_users_are_added_changed_and_removed_with_ntfy_s_words(run: Run, data_dir: Path) -> None:
    assert run("user", "add", "--role=admin", "phil").stdout == "user phil added with role admin\n"
    assert run("user", "add", "ben").stdout == "user ben added with role user\n"
    assert run("user", "chr", "ben", "admin").stdout == "changed role for user ben to admin\n"
    assert run("user", "change-role", "phil", "user").stdout == "changed role for user phil to user\n"
    assert {account.name: account.role for account in people_in(data_dir).accounts} == {
        "phil": Role.USER,
        "ben": Role.ADMIN,
    }
    assert run("user", "del", "phil").stdout == "user phil removed\n"
    assert [account.name for account in people_in(data_dir).accounts] == ["ben"]


@pytest.mark.parametrize("alias", ["remove", "del", "rm"])
def test_removing_has_ntfy_s_aliases(run: Run, data_dir: Path, alias: str) -> None:
    run("user", "add", "phil")
    run("user", alias, "phil")
    assert people_in(data_dir).accounts == ()


def test_an_existing_user_is_left_alone_if_asked_to(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil", "--ignore-exists")
    before = people_in(data_dir)
    again = run("user", "add", "--ignore-exists", "--role", "admin", "phil", env={"NTFYISH_PASSWORD": "new"})
    assert again.stdout == "user phil already exists (exited successfully)\n"
    assert people_in(data_dir) == before


def test_a_password_is_changed_by_the_environment(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil")
    changed = run("user", "chp", "phil", env={"NTFYISH_PASSWORD": "neu"})
    assert changed.stdout == "changed password for user phil\n"
    [account] = people_in(data_dir).accounts
    assert bcrypt.checkpw(b"neu", account.password_hash.encode())


def test_a_hash_of_ntfy_s_is_taken_as_it_is(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil", env={"NTFYISH_PASSWORD_HASH": HASH})
    assert people_in(data_dir).accounts[0].password_hash == HASH
    run("user", "change-pass", "phil")
    run("user", "change-pass", "phil", env={"NTFYISH_PASSWORD_HASH": HASH})
    assert people_in(data_dir).accounts[0].password_hash == HASH


def test_what_is_no_hash_is_refused(run: Run, data_dir: Path) -> None:
    run("user", "add", "ben")
    refused = run("user", "add", "phil", env={"NTFYISH_PASSWORD_HASH": "secret"}, fails=True)
    assert "bcrypt" in refused.stderr
    assert "secret" not in refused.stderr
    assert len(people_in(data_dir).accounts) == 1


@pytest.mark.parametrize("typed", ["neu\n", "neu\nneu\n", "neu", "neu\r\nneu\r\n"])
def test_a_password_is_read_from_a_pipe_once_or_twice(run: Run, data_dir: Path, typed: str) -> None:
    run("user", "add", "phil", env={"NTFYISH_PASSWORD": None}, input=typed)
    assert bcrypt.checkpw(b"neu", people_in(data_dir).accounts[0].password_hash.encode())


def test_two_passwords_that_differ_are_refused(run: Run) -> None:
    refused = run("user", "add", "phil", env={"NTFYISH_PASSWORD": None}, input="neu\nnue\n", fails=True)
    assert "differ" in refused.stderr


@pytest.mark.parametrize(("password", "words"), [("x" * 73, "at most 72 bytes"), ("", "is empty")])
@pytest.mark.parametrize("command", [("add", "vera"), ("change-pass", "phil"), ("hash",)])
def test_an_unusable_password_is_said_clearly(
    run: Run, data_dir: Path, command: tuple[str, ...], password: str, words: str
) -> None:
    run("user", "add", "phil")
    before = people_in(data_dir)
    assert words in run("user", *command, env={"NTFYISH_PASSWORD": password}, fails=True).stderr
    assert people_in(data_dir) == before


def test_a_hash_is_printed_and_nothing_is_stored(run: Run, data_dir: Path) -> None:
    hashed = run("user", "hash").stdout.strip()
    assert bcrypt.checkpw(b"geheim", hashed.encode())
    assert hashed[4:7] == "10$"
    assert not data_dir.exists()


def test_a_user_gets_a_tier_and_loses_it(run: Run, data_dir: Path) -> None:
    run("user", "add", "phil")
    run("tier", "add", "pro")
    assert run("user", "cht", "phil", "pro").stdout == "changed tier for user phil to pro\n"
    assert people_in(data_dir).accounts[0].tier == "pro"
    assert "user phil (role: user, tier: pro)\n" in run("user", "list").stdout
    assert run("user", "change-tier", "phil", "-").stdout == "removed tier from user phil\n"
    assert people_in(data_dir).accounts[0].tier == ""


def test_the_list_is_ntfy_s(run: Run) -> None:
    for name, role in (("zoe", "user"), ("phil", "admin"), ("ben", "user")):
        run("user", "add", f"--role={role}", name)
    run("access", "ben", "alerts", "rw")
    listed = (
        "user phil (role: admin, tier: none)\n"
        "- read-write access to all topics (admin role)\n"
        "user ben (role: user, tier: none)\n"
        "- read-write access to topic alerts\n"
        "user zoe (role: user, tier: none)\n"
        "- no topic-specific permissions\n"
        "user * (role: anonymous, tier: none)\n"
        "- no topic-specific permissions\n"
        "- read-write access to all (other) topics (server config)\n"
    )
    assert run("user", "list").stdout == listed
    assert run("user", "l").stdout == listed
    assert run("access").stdout == listed


def test_a_declared_user_is_changed_only_in_the_configuration(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"auth-users: ['ben:{HASH}:user']\n")
    declare(data_dir, config)
    for arguments in (
        ("add", "ben"),
        ("remove", "ben"),
        ("change-pass", "ben"),
        ("change-role", "ben", "admin"),
        ("change-tier", "ben", "-"),
    ):
        refused = run("user", *arguments, "--config", str(config), fails=True).stderr
        assert f" declared in the configuration; change it there: {config}\n" in refused
    assert "user ben (role: user, tier: none, server config)\n" in run("user", "list").stdout


def test_a_terminal_shows_a_table_and_is_asked_for_the_password_twice(data_dir: Path) -> None:
    environ = {"NTFYISH_DATA_DIR": str(data_dir), "NTFYISH_PASSWORD": None}
    shown = on_terminal(["user", "add", "[bold]", "--role", "admin"], environ, [])
    assert "a name must be" in shown
    shown = on_terminal(["user", "add", "phil"], environ, ["neu", "neu"])
    assert "neu" not in shown
    assert "user phil added with role user" in shown
    table = on_terminal(["user", "list"], environ, [])
    assert "Access" in table
    assert "no topic-specific permissions" in table
    assert "user phil (role" not in table
