"""``ntfyish device``, and what ``ntfyish account set`` says about an inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from ntfyish.core.ports import Add, DeadDevice
from ntfyish.model.people import ClientSecret, Device
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.cli.conftest import Run
from tests.cli.database import declare, people_in

APNS = """
apns:
- {bundle-id: app.example, key-file: AuthKey.p8, key-id: KEYID12345, team-id: TEAMID1234}
- {bundle-id: app.example, sandbox: true, key-file: AuthKey.p8, key-id: KEYID12345, team-id: TEAMID1234}
- {bundle-id: app.beta, sandbox: true, key-file: AuthKey.p8, key-id: KEYID12345, team-id: TEAMID1234}
"""
HEX = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def apps(tmp_path: Path) -> Mapping[str, str]:
    """An environment whose configuration has apps that can be pushed to."""
    config = tmp_path / "server.yml"
    config.write_text(APNS)
    return {"NTFYISH_CONFIG": str(config)}


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


def add(run: Run, apps: Mapping[str, str], *options: str, token: str = HEX, fails: bool = False) -> str:
    """Add a device of app.example, and return its id; or the refusal."""
    arguments = ("device", "add", "--apns", token, "--bundle-id", "app.example", *options)
    result = run(*arguments, env=apps, fails=fails)
    return (result.stderr if fails else result.stdout).strip()


@pytest.mark.usefixtures("phil")
def test_a_push_device_of_an_account_is_added(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    id = add(run, apps, "--account=phil", "--name=phone", "--topic=alerts", "--topic=news", "--topic=alerts")
    (device,) = people_in(data_dir).push_devices
    assert device == PushDevice(
        id=id,
        kind=PushKind.APNS,
        account="phil",
        name="phone",
        topics=("alerts", "news"),
        token=HEX,
        bundle_id="app.example",
        registered_at=device.registered_at,
    )
    assert device.registered_at > 1_750_000_000


def test_a_push_device_may_have_topics_only(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    id = add(run, apps, "--topic=alerts", "--sandbox", token=HEX.upper())
    (device,) = people_in(data_dir).push_devices
    assert (device.id, device.account, device.name) == (id, "", "")
    assert (device.token, device.sandbox, device.topics) == (HEX, True, ("alerts",))


def test_a_push_device_is_where_its_app_is(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    run("device", "add", "--apns", HEX, "--bundle-id=app.beta", "--topic=alerts", env=apps)
    assert people_in(data_dir).push_devices[0].sandbox is True


@pytest.mark.usefixtures("phil")
def test_adding_a_push_device_again_changes_it(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    id = add(run, apps, "--account=phil", "--name=phone")
    assert add(run, apps, "--account=phil", "--name=phone") == id
    assert add(run, apps, "--account=phil", "--name=fon", "--topic=alerts") == id
    assert [one.name for one in people_in(data_dir).push_devices] == ["fon"]


@pytest.mark.usefixtures("phil")
def test_a_name_is_taken_over_by_force(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    add(run, apps, "--account=phil", "--name=phone")
    named = ("--account=phil", "--name=phone")
    assert "another device" in add(run, apps, *named, token=OTHER, fails=True)
    assert "another device" in add(run, apps, "--account=phil", "--name=desk", token=OTHER, fails=True)
    add(run, apps, *named, "--force", token=OTHER)
    assert [one.token for one in people_in(data_dir).push_devices] == [OTHER]


@pytest.mark.usefixtures("phil")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--name=phone",),
        ("--account=phil",),
        ("--account=nobody", "--name=phone"),
        ("--account=phil", "--name=my phone"),
        ("--topic=a b",),
        ("--topic=v1",),
        *(("--topic=alerts", "--apns", token) for token in ("", "abc", "xy" * 32, "ab" * 101)),
        *(("--topic=alerts", "--bundle-id", bundle) for bundle in ("", "a/b", "app.other")),
        ("--topic=alerts", "--bundle-id=app.gamma", "--sandbox"),
        tuple(f"--topic=alerts{number}" for number in range(51)),
    ],
)
def test_what_cannot_be_a_push_device_is_refused(
    run: Run, data_dir: Path, apps: Mapping[str, str], options: tuple[str, ...]
) -> None:
    add(run, apps, *options, fails=True)
    assert people_in(data_dir).push_devices == ()


def test_an_app_that_is_only_in_production_has_no_sandbox(run: Run, tmp_path: Path, data_dir: Path) -> None:
    config = tmp_path / "server.yml"
    config.write_text("\n".join(APNS.splitlines()[:3]))
    env = {"NTFYISH_CONFIG": str(config)}
    assert "sandbox" in add(run, env, "--topic=alerts", "--sandbox", fails=True)
    add(run, env, "--topic=alerts")


@pytest.mark.usefixtures("phil")
def test_push_devices_are_listed(run: Run, apps: Mapping[str, str]) -> None:
    add(run, apps, "--account=phil", "--name=phone", "--topic=alerts", "--topic=news")
    id = add(run, apps, "--topic=alerts", "--sandbox", token=OTHER)
    lines = [line.split("\t") for line in run("device", "list").stdout.splitlines()]
    assert [line[:5] for line in lines] == [
        ["", id, "apns", "app.example (sandbox)", "alerts"],
        ["phil", "desk", "client", "", ""],
        ["phil", "pad", "client", "", ""],
        ["phil", "phone", "apns", "app.example", "alerts,news"],
    ]
    assert {tuple(line[6:]) for line in lines} == {("", "database")}
    assert HEX not in run("device", "list").stdout
    assert len(run("device", "list", "--account=phil").stdout.splitlines()) == 3


@pytest.mark.usefixtures("phil")
def test_a_push_device_is_removed_by_name_or_id(run: Run, data_dir: Path, apps: Mapping[str, str]) -> None:
    run("account", "add", "vera")
    named = add(run, apps, "--account=phil", "--name=phone")
    nameless = add(run, apps, "--topic=alerts", token=OTHER)
    run("device", "remove", "phone", "--account=vera", "-y", fails=True)
    run("device", "remove", named, "--account=vera", "-y", fails=True)
    run("device", "remove", "phone", "--account=phil", fails=True)
    run("device", "remove", "phone", "--account=phil", "-y")
    assert [one.id for one in people_in(data_dir).push_devices] == [nameless]
    run("device", "remove", nameless, "-y")
    assert people_in(data_dir).push_devices == ()
    assert len(people_in(data_dir).devices) == 2


def test_declared_push_devices_are_listed_with_what_became_of_them_and_stay(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "server.yml"
    config.write_text(
        APNS
        + f"""
accounts:
- name: phil
  password: geheim
  devices: [droid2, {{name: iphone, kind: apns, token: {HEX}, bundle-id: app.example}}]
topic-devices:
- {{topics: [alerts], token: {OTHER}, bundle-id: app.beta}}
"""
    )
    declare(data_dir, config)
    first, second = people_in(data_dir).push_devices
    dead = [DeadDevice(one.id, one.token, 0, 1_760_000_000, "Unregistered") for one in (first, second)]

    async def bury() -> None:
        async with PeopleDatabase.open(data_dir) as people:
            assert await people.bury_devices(dead) == 2

    asyncio.run(bury())
    lines = [line.split("\t") for line in run("device", "list").stdout.splitlines()]
    assert [line[2] for line in lines] == ["apns", "client", "apns"]
    assert lines[2][5:] == ["2025-06-15", "dead: Unregistered", "configuration"]
    run("device", "remove", "iphone", "-y", fails=True)
    run("device", "remove", first.id, "-y", fails=True)
    env = {"NTFYISH_CONFIG": str(config)}
    assert "declared" in add(run, env, "--account=phil", "--name=other", fails=True)
    assert "another device" in add(run, env, "--account=phil", "--name=droid2", token="ef" * 32, fails=True)
