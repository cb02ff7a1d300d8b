"""``ntfyish group``, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntfyish.model.people import KEY_PATTERN, Group, Member
from tests.cli.conftest import Run
from tests.cli.database import declare, people_in

KEY = "g" * 30


@pytest.fixture
def staffed(run: Run) -> Run:
    """A data folder with phil, vera, and phil's empty group oncall."""
    for name in ("phil", "vera"):
        run("account", "add", name)
    run("group", "add", "oncall", "--account", "phil", "--key", KEY)
    return run


def group_in(data_dir: Path) -> Group:
    (group,) = people_in(data_dir).groups
    return group


def test_a_group_is_added_with_a_key_on_standard_output(run: Run, data_dir: Path) -> None:
    run("account", "add", "phil")
    result = run("group", "add", "night shift")
    group = group_in(data_dir)
    assert result.stdout == group.key + "\n"
    assert KEY_PATTERN.fullmatch(group.key)
    assert (group.name, group.account, group.members) == ("night shift", "phil", ())


def test_members_come_change_and_go(staffed: Run, data_dir: Path) -> None:
    staffed("group", "add-user", "oncall", "vera", "--device", "pad", "--memo", "weekends")
    staffed("group", "add-user", KEY, "phil")
    vera = Member(account="vera", device="pad", memo="weekends")
    assert group_in(data_dir).members == (vera, Member(account="phil"))
    assert staffed("group", "show", "oncall").stdout == "vera\tpad\tyes\tweekends\nphil\tall\tyes\t\n"
    staffed("group", "disable", "oncall", "vera")
    assert staffed("group", "list").stdout == f"oncall\tphil\t{KEY}\tvera/pad(disabled) phil\tdatabase\n"
    staffed("group", "enable", "oncall", "vera", "--device", "pad")
    assert group_in(data_dir).members[0].enabled
    staffed("group", "remove-user", "oncall", "vera")
    assert group_in(data_dir).members == (Member(account="phil"),)


def test_a_group_is_renamed_and_removed(staffed: Run, data_dir: Path) -> None:
    staffed("group", "rename", "oncall", "nights")
    assert group_in(data_dir).name == "nights"
    staffed("group", "remove", "nights", "--yes")
    assert people_in(data_dir).groups == ()
    assert [account.name for account in people_in(data_dir).accounts] == ["phil", "vera"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "x"),
        ("add", "x", "--account", "nobody"),
        ("add", "x", "--account", "phil", "--key", "short"),
        ("add", "x", "--account", "phil", "--key", KEY),
        ("add", "", "--account", "phil"),
        ("add", "a\nb", "--account", "phil"),
        ("show", "nothing"),
        ("rename", "nothing", "x"),
        ("rename", "oncall", ""),
        ("add-user", "oncall", "nobody"),
        ("add-user", "oncall", "phil"),
        ("add-user", "oncall", "vera", "--device", "a b"),
        ("add-user", "oncall", "vera", "--memo", "x" * 201),
        ("remove-user", "oncall", "vera"),
        ("remove-user", "oncall", "phil", "--device", "pad"),
        ("disable", "oncall", "vera"),
        ("enable", "oncall", "vera"),
        ("remove", "oncall"),
        ("remove", "nothing", "--yes"),
    ],
)
def test_what_is_wrong_is_refused(staffed: Run, data_dir: Path, arguments: tuple[str, ...]) -> None:
    staffed("group", "add-user", "oncall", "phil")
    before = people_in(data_dir).groups
    staffed("group", *arguments, fails=True)
    assert people_in(data_dir).groups == before


def test_a_name_that_two_groups_have_is_not_enough(staffed: Run) -> None:
    staffed("group", "add", "oncall", "--account", "vera")
    assert "say the key" in staffed("group", "show", "oncall", fails=True).stderr
    staffed("group", "rename", KEY, "nights")


def test_a_declared_group_is_changed_only_in_the_configuration(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        f"accounts: [{{name: phil}}]\ngroups: [{{name: fixed, key: {KEY}, account: phil,"
        " members: [{account: phil}]}]\n"
    )
    declare(data_dir, config)
    for arguments in (("remove", "fixed", "--yes"), ("rename", "fixed", "x"), ("disable", "fixed", "phil")):
        result = run("group", *arguments, "--config", str(config), fails=True)
        assert str(config) in result.stderr
    assert run("group", "show", "fixed").stdout == "phil\tall\tyes\t\n"
