"""Commands on a data folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner, Result

from ntfyish.cli import main

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data_dir: Path) -> Run:
    """Run a command on the data folder; by default it must go well.

    With `fails` it must end with exit code 1, one line on standard error and nothing on standard output.
    """

    def run(
        *arguments: str,
        fails: bool = False,
        env: Mapping[str, str | None] = MappingProxyType({}),
        input: str | bytes | None = None,
    ) -> Result:
        environ: dict[str, str | None] = {
            "NTFYISH_DATA_DIR": str(data_dir),
            "NTFYISH_PASSWORD": "geheim",
            "NTFYISH_PASSWORD_HASH": None,
            "NTFYISH_CONFIG": None,
        }
        result = CliRunner().invoke(main, arguments, env={**environ, **env}, input=input)
        assert result.exit_code == (1 if fails else 0), result.output
        if fails:
            assert isinstance(result.exception, SystemExit)
            assert result.stdout == ""
            assert len(result.stderr.splitlines()) == 1
        return result

    return run
