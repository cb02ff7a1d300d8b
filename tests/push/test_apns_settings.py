"""How the setting `apns` decides whom pushes go to, and what becomes of one that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ntfyish.cli import main
from tests.hardening.process import Processes
from tests.push.apns_stage import APP, OTHER, PHONE, WATCH, AppleStages, State, entry_for
from tests.push.fake_apns import FakeApns


async def test_a_certificate_says_who_we_are(stages: AppleStages) -> None:
    stage = await stages.set(await stages.apple(client_certificates=True))
    await stage.register_all()
    await stage.pushover()
    await stage.until_state(PHONE, State("delivered", 1))
    stage.arrived_once(PHONE, 1)
    assert "authorization" not in stage.apns.requests[0].headers


async def test_an_app_may_be_in_the_sandbox_and_in_production(stages: AppleStages) -> None:
    production, sandbox = await stages.apple(), await stages.apple()
    entries = [
        entry_for(production, stages.folder / "production"),
        entry_for(sandbox, stages.folder / "sandbox", sandbox=True),
        entry_for(await stages.apple(OTHER), stages.folder / "other"),
    ]
    stage = await stages.set(production, sandbox, apns=entries)
    await stage.register(name="phone")
    await stage.register(WATCH, name="watch", environment="sandbox")
    await stage.pushover()
    await stage.until_states(delivered=2)
    assert [one.device for one in production.requests] == [PHONE]
    assert [one.device for one in sandbox.requests] == [WATCH]
    await sandbox.down()
    await stage.pushover("again")
    await stage.until_states(delivered=3, pending=1)
    await stage.register(WATCH, name="watch", environment="production")
    await stage.pass_time(4)
    await stage.until_states(delivered=3, failed=1)
    await stage.pushover("a third time")
    await stage.until_states(delivered=5, failed=1)
    assert len(sandbox.requests) == 1


async def test_an_app_may_have_names_of_its_own_for_what_it_is_told(stages: AppleStages) -> None:
    apns, other = await stages.apple(), await stages.apple(OTHER)
    names = {"url": "deepLink", "id": "messageId", "time": "url"}
    entries = [
        entry_for(apns, stages.folder / "a", **{"payload-keys": names}),
        entry_for(other, stages.folder / "b"),
    ]
    stage = await stages.set(apns, other, apns=entries)
    await stage.register_all()
    await stage.server.publish("alerts", Click="nzbclient://search")
    await stage.until_states(delivered=2)
    [message] = await stage.server.poll("alerts")
    [renamed], [plain] = apns.requests, other.requests
    assert renamed.json.keys() - {"aps"} == {"messageId", "topic", "url", "deepLink"}
    assert renamed.json["deepLink"] == plain.json["url"] == "nzbclient://search"
    assert renamed.json["messageId"] == plain.json["id"] == message["id"]
    assert renamed.json["url"] == plain.json["time"] == message["time"]


def rsa_key() -> bytes:
    key = rsa.generate_private_key(65_537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def other_curve() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_unreadable(path: Path) -> None:
    path.chmod(0)


def spoil(content: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content())

    return write


NO_CERTIFICATE = "does not have both a certificate and its private key (PEM), without a password"
UNUSABLE = [
    ("key-file", "AuthKey.p8", Path.unlink, "cannot be read: No such file or directory"),
    ("key-file", "AuthKey.p8", make_unreadable, "cannot be read: Permission denied"),
    ("key-file", "AuthKey.p8", spoil(bytes), "is not a private key (PEM) without a password"),
    (
        "key-file",
        "AuthKey.p8",
        spoil(lambda: b"\xff\0\n" * 99),
        "is not a private key (PEM) without a password",
    ),
    ("key-file", "AuthKey.p8", spoil(rsa_key), "is not a key for ES256, as Apple gives them"),
    ("key-file", "AuthKey.p8", spoil(other_curve), "is not a key for ES256, as Apple gives them"),
    ("certificate-file", "client.pem", Path.unlink, "cannot be read: No such file or directory"),
    ("certificate-file", "client.pem", spoil(rsa_key), NO_CERTIFICATE),
    ("ca-file", "ca.pem", Path.unlink, "cannot be read: No such file or directory"),
    ("ca-file", "ca.pem", spoil(rsa_key), "has no certificates (PEM)"),
]


@pytest.mark.parametrize(("key", "name", "spoil_it", "text"), UNUSABLE)
async def test_what_cannot_be_used_is_said_instead_of_starting(
    processes: Processes, tmp_path: Path, key: str, name: str, spoil_it: Callable[[Path], None], text: str
) -> None:
    apns = FakeApns(client_certificates=key == "certificate-file", port=1)
    entry = entry_for(apns, tmp_path)
    spoil_it(tmp_path / name)
    process = await processes.launch(apns=[entry])
    assert await process.ended() == 1
    assert process.log == [f"ntfyish: apns: {APP}: {key}: {tmp_path / name} {text}"]


def test_the_check_of_the_configuration_says_all_that_cannot_be_used(tmp_path: Path) -> None:
    first, second, third = (tmp_path / str(number) for number in range(3))
    entries = [
        entry_for(FakeApns(port=1), first),
        entry_for(FakeApns(port=1, client_certificates=True), second, sandbox=True),
        entry_for(FakeApns(port=1, bundle_id=OTHER), third),
    ]
    code, output = check(tmp_path, entries)
    assert code == 0, output
    (first / "AuthKey.p8").write_bytes(rsa_key())
    (first / "ca.pem").unlink()
    (second / "client.pem").unlink()
    assert check(tmp_path, entries) == (
        1,
        f"ntfyish: apns: {APP}: ca-file: {first}/ca.pem cannot be read: No such file or directory\n"
        f"ntfyish: apns: {APP}: key-file: {first}/AuthKey.p8 is not a key for ES256, as Apple gives them\n"
        f"ntfyish: apns: {APP}: certificate-file: {second}/client.pem cannot be read:"
        " No such file or directory\n",
    )


def test_a_payload_key_that_there_is_not_is_named(tmp_path: Path) -> None:
    entry = entry_for(FakeApns(port=1), tmp_path / "a", **{"payload-keys": {"isEncripted": "encrypted"}})
    code, words = check(tmp_path, [entry])
    assert code == 1
    assert words.startswith(
        f"ntfyish: apns: {APP}: payload-keys: there is no isEncripted; there are actions, "
    )
    assert "isEncrypted, " in words


def check(folder: Path, entries: list[dict[str, Any]]) -> tuple[int, str]:
    config = folder / "server.yml"
    config.write_text(json.dumps({"apns": entries, "data-dir": str(folder)}))
    result = CliRunner().invoke(main, ["serve", "--config", str(config), "--check-config"])
    return result.exit_code, result.stderr
