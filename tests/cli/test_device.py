"""``ntfyish device``, and what ``ntfyish account set`` says about an inbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ntfyish.core.ports import Add
from ntfyish.model.people import ClientSecret, Device
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.cli.conftest import Run
from tests.cli.database import declare, people_in


@pytest.fixture
def phil(run: Run, data_dir: Path) -> None:
    """An account with the devices desk and pad, each with a secret of its own."""
    run("account", "add", "phil")

    async def register() -> None:
        async with PeopleDatabase.open(data_dir) as people:
            for name in ("desk", "pad"):
                await people.apply(
                    Add(ClientSecret(secret_hash=f"of {name}", account="phil")),
                    Add(Device(id=name * 10, account="phil", name=name, secret_hash=f"of {name}")),
                )

    asyncio.run(register())


@pytest.mark.usefixtures("phil")
def test_devices_are_listed(run: Run) -> None:
    shown = run("device", "list").stdout
    assert "desk" in shown
    assert "pad" in shown
    assert "1970-01-01" in shown
    run("device", "list", "--account", "vera", fails=True)


@pytest.mark.usefixtures("phil")
def test_a_device_goes_with_its_secret(run: Run, data_dir: Path) -> None:
    run("device", "remove", "desk", "-y")
    people = people_in(data_dir)
    assert [one.name for one in people.devices] == ["pad"]
    assert [one.secret_hash for one in people.secrets] == ["of pad"]
    run("device", "remove", "desk", "-y", fails=True)


@pytest.mark.usefixtures("phil")
def test_a_new_password_logs_all_devices_out(run: Run, data_dir: Path) -> None:
    run("user", "change-pass", "phil")
    assert people_in(data_dir).secrets == ()
    assert len(people_in(data_dir).devices) == 2


@pytest.mark.usefixtures("phil")
def test_devices_and_secrets_go_with_their_account(run: Run, data_dir: Path) -> None:
    run("account", "remove", "phil", "-y")
    assert (people_in(data_dir).devices, people_in(data_dir).secrets) == ((), ())


def test_declared_devices_are_listed_and_stay(run: Run, data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "server.yml"
    config.write_text("accounts: [{name: phil, password: geheim, devices: [droid2]}]\n")
    declare(data_dir, config)
    shown = run("device", "list").stdout
    assert "droid2" in shown
    assert "never" in shown
    run("device", "remove", "droid2", "-y", fails=True)


@pytest.mark.usefixtures("phil")
def test_an_inbox_can_be_changed_in_parts(run: Run, data_dir: Path) -> None:
    run("account", "set", "phil", "--quiet-hours=22:00-07:00", "--time-zone=Europe/Berlin")
    run("account", "set", "phil", "--default-sound=bike", "--totp-secret=JBSWY3DPEHPK3PXP")
    run("account", "set", "phil", "--time-zone=")
    (phil,) = people_in(data_dir).accounts
    assert (phil.quiet_hours, phil.time_zone, phil.default_sound, phil.totp_secret) == (
        "22:00-07:00",
        "",
        "bike",
        "JBSWY3DPEHPK3PXP",
    )


@pytest.mark.usefixtures("phil")
@pytest.mark.parametrize(
    "option",
    [
        "--quiet-hours=22-7",
        "--quiet-hours=25:00-07:00",
        "--quiet-hours=07:00-07:00",
        "--time-zone=Mars/Base",
        "--default-sound=no sound",
        "--totp-secret=18",
        "--totp-secret=ABC",
    ],
)
def test_what_an_inbox_cannot_be_is_refused(run: Run, option: str) -> None:
    run("account", "set", "phil", option, fails=True)
