"""``ntfyish sound``, on a real database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ntfyish.model.sound import MAX_SOUND_BYTES
from tests.cli.conftest import Run
from tests.cli.database import people_in

MP3 = b"ID3\x04" + bytes(200)


@pytest.fixture
def file(run: Run, tmp_path: Path) -> Path:
    run("account", "add", "phil")
    file = tmp_path / "chime.mp3"
    file.write_bytes(MP3)
    return file


def test_sounds_come_and_go_with_their_files(run: Run, data_dir: Path, file: Path) -> None:
    run("sound", "add", "chime", str(file), "--label", "Door chime")
    assert run("sound", "list").stdout == "chime\tDoor chime\tphil\tmp3\n"
    with sqlite3.connect(data_dir / "people.db") as database:
        assert database.execute("SELECT data FROM custom_sound_files").fetchall() == [(MP3,)]
    database.close()
    run("sound", "add", "chime", str(file), fails=True)
    run("sound", "remove", "chime", "--yes")
    assert people_in(data_dir).sounds == ()
    with sqlite3.connect(data_dir / "people.db") as database:
        assert database.execute("SELECT * FROM custom_sound_files").fetchall() == []
    database.close()


@pytest.mark.parametrize(
    ("name", "data"),
    [("a b", MP3), ("bike", MP3), ("chime", b"text"), ("chime", MP3 + bytes(MAX_SOUND_BYTES))],
)
def test_what_is_no_sound_is_refused(run: Run, data_dir: Path, file: Path, name: str, data: bytes) -> None:
    file.write_bytes(data)
    run("sound", "add", name, str(file), fails=True)
    run("sound", "add", name, str(file.with_name("missing")), fails=True)
    run("sound", "remove", name, "--yes", fails=True)
    assert people_in(data_dir).sounds == ()
