"""``ntfyish webpush``."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from ntfyish.model.web_push_keys import read_vapid_keys
from tests.cli.conftest import Run


def settings_in(text: str) -> dict[str, str]:
    settings = yaml.safe_load(text)
    assert list(settings) == ["web-push-public-key", "web-push-private-key", "web-push-email-address"]
    return dict(settings)


def test_the_keys_are_shown_as_lines_of_the_configuration(run: Run) -> None:
    settings = settings_in(run("webpush", "keys").stdout)
    assert read_vapid_keys(settings["web-push-public-key"], settings["web-push-private-key"])
    assert settings_in(run("webpush", "keys").stdout) != settings


def test_the_keys_are_written_to_a_file_for_nobody_else(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "webpush.yml"
    result = run("webpush", "keys", "-f", str(file))
    assert result.stdout == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = settings_in(file.read_text())
    assert read_vapid_keys(settings["web-push-public-key"], settings["web-push-private-key"])


def test_a_file_that_is_there_is_left_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "webpush.yml"
    file.write_text("mine")
    run("webpush", "keys", "--output-file", str(file), fails=True)
    assert file.read_text() == "mine"
    run("webpush", "keys", "--output-file", str(tmp_path / "none" / "webpush.yml"), fails=True)
