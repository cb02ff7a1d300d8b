"""``ntfyish alias``, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntfyish.model.people import MailAlias
from tests.cli.conftest import Run
from tests.cli.database import HASH, declare, people_in


def test_an_alias_is_added_listed_and_removed(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    result = run("alias", "add", "Phil-Backups", "--sound", "bike", "--priority", "-1", "--ignore-timestamps")
    assert result.stdout == "phil-backups@DOMAIN\n"
    assert people_in(data_dir).aliases == (
        MailAlias(name="phil-backups", account="phil", sound="bike", priority=2, ignore_timestamps=True),
    )
    assert "phil-backups" in run("alias", "list").stdout
    run("alias", "remove", "phil-backups", "--yes")
    assert people_in(data_dir).aliases == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a b",), "letters"),
        (("x", "--device", "a b"), "device"),
        (("x", "--sound", "a b"), "sound"),
        (("x", "--account", "vera"), "no account vera"),
        (("taken",), "taken"),
    ],
)
def test_what_cannot_be_an_alias_is_refused(
    run: Run, data_dir: Path, arguments: list[str], words: str
) -> None:
    run("account", "add", "phil")
    run("alias", "add", "taken")
    assert words in run("alias", "add", *arguments, fails=True).stderr
    assert [alias.name for alias in people_in(data_dir).aliases] == ["taken"]


def test_aliases_go_with_their_account(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    run("alias", "add", "mail")
    run("account", "remove", "phil", "--yes")
    assert people_in(data_dir).aliases == ()


def test_a_declared_alias_is_not_removed(run: Run, data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "declared.yml"
    config.write_text(
        f"accounts:\n  - name: phil\n    password-hash: '{HASH}'\n    aliases:\n      - name: mail\n"
    )
    declare(data_dir, config)
    [alias] = people_in(data_dir).aliases
    assert (alias.name, alias.account, alias.declared) == ("mail", "phil", True)
    assert "configuration" in run("alias", "remove", "mail", "--yes", fails=True).stderr
