"""``ntfyish serve``: reads the settings and runs the server. Its flags are made from the settings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ntfyish.cli.place import config_option, read_settings, words_for
from ntfyish.cli.terminal import Failure, printable
from ntfyish.model.errors import NotFound, NtfyishError
from ntfyish.settings import Settings, find_config_file
from ntfyish.settings.example import default_text, example, extra_of, report
from ntfyish.settings.schema import key_of

if TYPE_CHECKING:
    from ntfyish.app import RunningServer


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag for each setting that is no secret, as text: the settings judge it, with all the rest."""
    for attribute, field in reversed(Settings.model_fields.items()):
        if extra_of(field)["secret"]:  # the arguments of a process are there for everybody to see
            continue
        key = key_of(attribute)
        default = default_text(attribute, field)
        text = f"{field.description}" + (f"  [default: {default}]" if default else "")
        if field.annotation is bool:
            option = click.option(f"--{key}/--no-{key}", default=None, help=text)
        else:
            option = click.option(f"--{key}", metavar="VALUE", help=text)
        command = option(command)
    return command


@click.command()
@config_option
@_setting_options
@click.option("--check-config", is_flag=True, help="Say what the settings are, or what is wrong, and end.")
@click.option("--print-config", is_flag=True, help="Print an example configuration file, and end.")
def serve(config: Path | None, check_config: bool, print_config: bool, **flags: object) -> None:
    """Run the server.

    Each setting can be a flag, an environment variable (NTFYISH_ and its name in upper snake case), or a key
    in the configuration file.
    """
    if print_config:
        click.echo(example(), nl=False)
        return
    loaded = read_settings(flags, config)
    if check_config:
        _check_surroundings(loaded.settings)
        for line in report(loaded, config or find_config_file(os.environ)).splitlines():
            click.echo(printable(line))
        return
    sys.exit(run(loaded.settings))


def _check_surroundings(settings: Settings) -> None:
    """See whether there is what the settings need besides themselves: packages, keys, certificates.

    Raises:
        Failure: something is not there, or cannot be used.
    """
    from ntfyish.app import find_missing_extras, find_push_faults

    if faults := [*find_missing_extras(settings), *find_push_faults(settings)]:
        raise Failure("\n".join(faults))


def run(settings: Settings) -> int:
    """Run the server until a signal ends it; return the exit code.

    Raises:
        Failure: it cannot start.
    """
    from ntfyish.app import ExtraMissing, SettingUnusable
    from ntfyish.app import serve as serve_until_signal
    from ntfyish.store.sqlite.failures import DatabaseUnusable

    def announce(server: RunningServer) -> None:
        _announce(settings, server)

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(serve_until_signal(settings, announce))
    except (DatabaseUnusable, ExtraMissing, SettingUnusable) as error:
        raise Failure(str(error)) from error
    except NotFound as error:  # only the start raises it: what is declared belongs to nobody
        names = {app.account for app in settings.apps} - {entry.name for entry in settings.accounts}
        raise Failure(
            f"apps: there is no account of one of these names: {', '.join(sorted(names))};"
            " declare it in accounts, or add it with `ntfyish account add`"
        ) from error
    except NtfyishError as error:
        raise Failure(words_for(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror or error}") from error


def _announce(settings: Settings, server: RunningServer) -> None:
    if server.first is not None:
        from ntfyish.core.first_start import first_text

        click.echo(first_text(server.first, settings.base_url or server.url or "http://localhost"))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return None
    return uvloop.new_event_loop
