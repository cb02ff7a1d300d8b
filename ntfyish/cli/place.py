"""Where the commands about people work: the settings, and the database in the data folder.

They write to the database themselves, whether the server runs or not; a running server notices.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ntfyish.cli.terminal import Failure
from ntfyish.core.administration import Administration
from ntfyish.core.clock import SystemClock
from ntfyish.core.ports import People, PeopleStore
from ntfyish.model.errors import Conflict, NotFound, NtfyishError, Reason
from ntfyish.settings import Loaded, Settings, SettingsError, find_config_file, read
from ntfyish.store.sqlite.failures import DatabaseUnusable
from ntfyish.store.sqlite.people import PeopleDatabase

T = TypeVar("T")

_STORAGE = {
    Reason.STORAGE_BUSY: "the database is busy: another process has locked it",
    Reason.STORAGE_FULL: "the disk is full",
    Reason.STORAGE_BROKEN: "the database cannot be used",
}
_WORDS = {
    Reason.NAME_INVALID: "a name must be letters, digits and - _ . + @ only",
    Reason.PASSWORD_INVALID: "the password, or its hash, cannot be used",
    Reason.PERMISSION_INVALID: "a permission must be read-write, read-only, write-only or deny",
    Reason.ACCOUNT_EXISTS: "there is such an account already",
    Reason.ACCOUNT_UNKNOWN: "there is no such account",
    Reason.TIER_UNKNOWN: "there is no such tier",
    Reason.RESERVATION_LIMIT: "the account has reserved more topics than that tier allows",
    Reason.TOPIC_INVALID: "a topic or pattern must be 1 to 64 of A-Z a-z 0-9 _ - (and * in a pattern)",
}


@dataclass(frozen=True, slots=True)
class Place:
    """The settings that are in force, and so the database.

    Attributes:
        config_file: where some of them come from; None if there is no such file.
    """

    settings: Settings
    config_file: Path | None = None

    @property
    def url(self) -> str:
        """Where people reach the server, as far as the settings say it."""
        if self.settings.base_url or self.settings.listen_http is None:
            return self.settings.base_url or "http://localhost"
        return self.settings.listen_http.url()

    def run(self, work: Callable[[PeopleStore], Awaitable[T]], *, create: bool = False) -> T:
        """Open the database, do `work` with it, and return its result.

        Args:
            create: make the data folder if it is not there.

        Raises:
            Failure: it cannot be opened, or refuses.
        """
        folder = self.settings.data_dir
        try:
            if create:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            elif not folder.is_dir():
                raise Failure(f"there is no data in {folder}; say --data-dir or --config")
            return asyncio.run(self._run(work))
        except OSError as error:
            raise Failure(f"{error.filename or folder}: {error.strerror or error}") from error
        except DatabaseUnusable as error:
            raise Failure(str(error)) from error
        except NtfyishError as error:
            if error.reason is Reason.DECLARED:
                raise self.declared(error.detail or "this") from error
            raise Failure(words_for(error)) from error

    def administer(self, work: Callable[[Administration], Awaitable[T]], *, create: bool = False) -> T:
        """Do `work` with the service that changes people, and return its result; see `run`."""
        return self.run(lambda people: work(Administration(people, SystemClock())), create=create)

    def people(self) -> People:
        """Return everybody, as a snapshot.

        Raises:
            Failure: as `run`.
        """
        return self.run(lambda people: people.load())

    def declared(self, what: str) -> Failure:
        """Return the refusal to change `what`, which the configuration declares."""
        where = f": {self.config_file}" if self.config_file else ""
        return Failure(f"{what} is declared in the configuration; change it there{where}")

    async def _run(self, work: Callable[[PeopleStore], Awaitable[T]]) -> T:
        async with PeopleDatabase.open(
            self.settings.data_dir, busy_timeout_s=self.settings.storage_busy_timeout_s
        ) as people:
            return await work(people)


def words_for(error: NtfyishError) -> str:
    """Put a refusal into words."""
    if error.reason in _STORAGE:
        return _STORAGE[error.reason]
    if error.detail:
        return error.detail
    if error.reason in _WORDS:
        return _WORDS[error.reason]
    if isinstance(error, Conflict):
        return "there is one already"
    return "there is no such thing" if isinstance(error, NotFound) else error.reason.name.lower()


def read_settings(flags: dict[str, object], config: Path | None) -> Loaded:
    """Read the settings of this process.

    Raises:
        Failure: with all mistakes, one a line.
    """
    try:
        return read(flags, os.environ, config or find_config_file(os.environ))
    except SettingsError as error:
        raise Failure("\n".join(error.mistakes)) from None


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config``."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file.  [default: $NTFYISH_CONFIG, or /etc/ntfyish/config.yml if it exists]",
    )(command)


def at_place(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--config`` and ``--data-dir``, and pass what they amount to as the first argument."""

    @config_option
    @click.option("--data-dir", metavar="DIR", help="Folder of the databases.")
    @functools.wraps(command)
    def wrapper(config: Path | None, data_dir: str | None, **arguments: Any) -> None:
        file = config or find_config_file(os.environ)
        command(Place(read_settings({"data-dir": data_dir}, file).settings, file), **arguments)

    return wrapper
