"""``ntfyish token``, as ntfy's command, with scopes."""

import hashlib
import re
import time
from pathlib import Path

import pytest

from ntfyish.model.acl import BOTH, Permission
from ntfyish.model.people import AccessToken
from ntfyish.settings.entries import _ACCESS_TOKEN
from tests.cli.conftest import Run
from tests.cli.database import HASH, declare, on_terminal, people_in

CREATED = re.compile(r"token (tk_[a-z0-9]{29}) created for user phil, (.+)\n")
MOMENT = r"[0-9]{2} [A-Z][a-z]{2} [0-9]{2} [0-9]{2}:[0-9]{2} UTC"


@pytest.fixture(autouse=True)
def phil(run: Run) -> None:
    run("user", "add", "phil")


def add(run: Run, *arguments: str) -> str:
    """Make a token of phil's and return it."""
    created = CREATED.match(run("token", "add", *arguments, "phil").stdout)
    assert created is not None
    return created[1]


def token_in(data_dir: Path) -> AccessToken:
    [token] = people_in(data_dir).tokens
    return token


def test_a_token_is_printed_once_and_only_its_hash_is_kept(run: Run, data_dir: Path) -> None:
    before = time.time()
    result = run("token", "add", "--label=phone", "--expires=2d", "phil")
    created = CREATED.fullmatch(result.stdout)
    assert created is not None
    secret, expiry = created.groups()
    assert re.fullmatch(f"expires {MOMENT}", expiry)
    token = token_in(data_dir)
    assert token.token_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert (token.account, token.label, token.hint) == ("phil", "phone", secret[:11])
    assert (token.permissions, token.patterns) == (BOTH, ())
    assert before + 172_799 <= token.expires_at <= time.time() + 172_800
    assert secret not in run("token", "list").output
    stored = b"".join(path.read_bytes() for path in data_dir.iterdir())
    assert secret.encode() not in stored


def test_a_token_never_expires_by_itself(run: Run, data_dir: Path) -> None:
    assert run("token", "add", "phil").stdout.endswith(", never expires\n")
    assert token_in(data_dir).expires_at == 0


@pytest.mark.parametrize("when", ["tomorrow 10am", "12h", "30 days", "in 2 hours"])
def test_an_end_is_a_duration_or_plain_english(run: Run, data_dir: Path, when: str) -> None:
    add(run, "--expires", when)
    assert token_in(data_dir).expires_at > time.time() + 1


@pytest.mark.parametrize("when", ["1", "0s", "-2h", "1500000000", "", "whenever", "\x1b[2J", "9" * 400])
def test_an_end_that_is_none_or_past_is_refused(run: Run, data_dir: Path, when: str) -> None:
    assert "--expires takes" in run("token", "add", "--expires", when, "phil", fails=True).stderr
    assert people_in(data_dir).tokens == ()


@pytest.mark.parametrize(
    ("flags", "permissions", "patterns", "words"),
    [
        (("--publish-only",), {Permission.WRITE}, (), "publish only"),
        (("--subscribe-only",), {Permission.READ}, (), "subscribe only"),
        (("--topic", "a*"), BOTH, ("a*",), "publish and subscribe only to a*"),
        (
            ("--publish-only", "--topic", "a*", "--topic", "b", "--topic", "b"),
            {Permission.WRITE},
            ("a*", "b"),
            "publish only to a* b",
        ),
    ],
)
def test_a_token_is_limited_to_a_direction_and_to_topics(
    run: Run,
    data_dir: Path,
    flags: tuple[str, ...],
    permissions: frozenset[Permission],
    patterns: tuple[str, ...],
    words: str,
) -> None:
    assert run("token", "add", *flags, "phil").stdout.endswith(f", never expires\n- {words}\n")
    token = token_in(data_dir)
    assert (token.permissions, token.patterns) == (permissions, patterns)
    assert run("token", "list").stdout == f"user phil\n- {token.hint}... never expires, never used, {words}\n"


@pytest.mark.parametrize("alias", ["remove", "del", "rm"])
def test_a_token_is_removed_as_a_whole_or_by_its_beginning(run: Run, data_dir: Path, alias: str) -> None:
    run("user", "add", "vera")
    first, second, third = (add(run) for _ in range(3))
    run("token", alias, "vera", first, fails=True)
    run("token", "rotate", "vera", first, fails=True)
    assert len(people_in(data_dir).tokens) == 3
    assert run("token", alias, "phil", first).stdout == f"token {first} for user phil removed\n"
    run("token", alias, "phil", second[:11])
    run("token", alias, "phil", f"{third[:11]}...")
    assert people_in(data_dir).tokens == ()
    run("token", alias, "phil", first, fails=True)


@pytest.mark.parametrize("text", ["", "tk_", "...", "tk_...", "%", "*"])
def test_less_than_the_listed_beginning_names_no_token(run: Run, data_dir: Path, text: str) -> None:
    add(run)
    run("token", "remove", "phil", text, fails=True)
    assert len(people_in(data_dir).tokens) == 1


def test_a_rotated_token_keeps_everything_but_its_secret(run: Run, data_dir: Path) -> None:
    old = add(run, "--label=x", "--expires=2d", "--publish-only", "--topic=a*")
    before = token_in(data_dir)
    created = CREATED.match(run("token", "rotate", "phil", old).stdout)
    assert created is not None
    after = token_in(data_dir)
    assert after.token_hash == hashlib.sha256(created[1].encode()).hexdigest() != before.token_hash
    for name in ("account", "label", "expires_at", "permissions", "patterns"):
        assert getattr(after, name) == getattr(before, name)


def test_tokens_are_listed_as_ntfy_does(run: Run, data_dir: Path) -> None:
    assert run("token", "list").stdout == "no users with tokens\n"
    assert run("token", "list", "phil").stdout == "user phil has no access tokens\n"
    run("user", "add", "ben")
    phone = add(run, "--label", "phone")
    run("token", "add", "--expires", "2d", "ben")
    ben, phil = run("token", "l").stdout.split("user ")[1:]
    assert phil == f"phil\n- {phone[:11]}... (phone), never expires, never used\n"
    assert re.fullmatch(rf"ben\n- tk_[a-z0-9]{{8}}\.\.\. expires {MOMENT}, never used\n", ben)
    assert run("token", "list", "phil").stdout == f"user {phil}"


def test_a_generated_token_is_stored_nowhere_and_may_be_declared(run: Run, data_dir: Path) -> None:
    first, second = (run("token", "generate").stdout.strip() for _ in range(2))
    assert first != second
    assert _ACCESS_TOKEN.fullmatch(first)
    assert people_in(data_dir).tokens == ()


def test_a_declared_token_is_changed_only_in_the_configuration(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    secret = f"tk_{'s' * 29}"
    config = tmp_path / "config.yml"
    config.write_text(f"auth-users: ['ben:{HASH}:user']\nauth-tokens: ['ben:{secret}:phone']\n")
    declare(data_dir, config)
    for subcommand in ("remove", "rotate"):
        refused = run("token", subcommand, "ben", secret, "--config", str(config), fails=True).stderr
        assert f" declared in the configuration; change it there: {config}\n" in refused
    assert "(phone), never expires, never used (server config)\n" in run("token", "list", "ben").stdout


def test_a_terminal_shows_a_table_of_tokens(run: Run, data_dir: Path) -> None:
    secret = add(run, "--label", "[red]phone")
    table = on_terminal(["token", "list"], {"NTFYISH_DATA_DIR": str(data_dir)}, [])
    assert "Last used" in table
    assert "[red]phone" in table
    assert secret[:11] in table
