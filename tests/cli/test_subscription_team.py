"""``ntfyish subscription`` and ``ntfyish team``, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntfyish.core.passwords import hash_access_token
from tests.cli.conftest import Run
from tests.cli.database import people_in


def test_a_subscription_is_added_listed_kept_with_a_new_token_and_removed(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    run("app", "add", "Backups")
    url = run("subscription", "add", "Backups").stdout.strip()
    (made,) = people_in(data_dir).subscriptions
    assert url == f"http://127.0.0.1:8080/subscribe/{made.code}"
    assert made.code.startswith("Backups-")
    run("app", "rotate", "Backups", "--yes")
    assert [one.app for one in people_in(data_dir).subscriptions] == [people_in(data_dir).apps[0].token]
    assert run("subscription", "list").stdout == f"{made.code}\tBackups\t0\tdatabase\n"
    run("subscription", "add", "Backups", "--code", made.code, fails=True)
    run("subscription", "remove", made.code, "--yes")
    assert people_in(data_dir).subscriptions == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("subscription", "add", "nothing"),
        ("subscription", "add", "Backups", "--code", "json"),
        ("subscription", "remove", "No-1", "--yes"),
        ("team", "add", ""),
        ("team", "add", "a\nb"),
        ("team", "remove", "T12345", "--yes"),
        ("team", "remove", "", "--yes"),
    ],
)
def test_what_is_wrong_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    run("account", "add", "phil")
    run("app", "add", "Backups")
    run(*arguments, fails=True)


def test_a_team_token_is_shown_once(run: Run, data_dir: Path) -> None:
    secret = run("team", "add", "Everybody").stdout.strip()
    (token,) = people_in(data_dir).teams
    assert token.token_hash == hash_access_token(secret)
    assert run("team", "list").stdout == f"Everybody\t{secret[:6]}...\n"
    run("team", "remove", secret[:6], "--yes")
    assert people_in(data_dir).teams == ()
