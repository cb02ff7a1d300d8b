"""``ntfyish sound``: sounds of an account for the messages of its apps."""

from __future__ import annotations

from pathlib import Path

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table
from ntfyish.core.sounds import Sounds
from ntfyish.model.sound import MAX_SOUND_BYTES
from ntfyish.web.pushover.sounds import SOUNDS


@click.group()
def sound() -> None:
    """Add, list and remove custom sounds, which the messages of an account's apps can name."""


@sound.command("add")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--label", default="", metavar="TEXT", help="What people call it.  [default: its name]")
@click.option("--account", default="", metavar="NAME", help="Whose sound it is.  [default: the only account]")
@at_place
def add(place: Place, name: str, file: Path, label: str, account: str) -> None:
    """Add FILE (MP3, WAV or Ogg, at most 500 KiB) as the sound NAME."""
    owner = find_account(place.people(), account, place)
    try:
        with file.open("rb") as source:
            data = source.read(MAX_SOUND_BYTES + 1)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}") from error
    place.run(lambda store: Sounds(store, SOUNDS).add(owner.name, name, label, data))
    say(f"Messages of {owner.name}'s apps can have the sound {name}.")


@sound.command("list")
@at_place
def list_(place: Place) -> None:
    """List the custom sounds."""
    show_table(
        ("Name", "Label", "Account", "Format"),
        [(one.name, one.label, one.account, one.kind.value) for one in place.people().sounds],
        empty="There are no custom sounds.",
    )


@sound.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the sound NAME."""
    confirm(f"Remove the sound {name}?", yes=yes)
    place.run(lambda store: Sounds(store, SOUNDS).remove(name))
    say(f"The sound {name} has been removed.")
