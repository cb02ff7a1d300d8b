"""``ntfyish team``: tokens with which a program manages the accounts, over Pushover's API for teams."""

from __future__ import annotations

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.core.clock import SystemClock
from ntfyish.core.teams import add_team_token, remove_team_token

_LONGEST_NAME = 250


@click.group()
def team() -> None:
    """Add, list and remove team tokens, which may add and remove accounts."""


@team.command("add")
@click.argument("name")
@at_place
def add(place: Place, name: str) -> None:
    """Make a token for the team NAME, and print it. It is not shown again."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Failure(f"a name must be 1 to {_LONGEST_NAME} printable characters")
    made, secret = place.run(lambda store: add_team_token(store, SystemClock(), name), create=True)
    say(f"A token of the team {made.name}, which may add and remove accounts:")
    tell(secret)


@team.command("list")
@at_place
def list_(place: Place) -> None:
    """List the team tokens by how they begin."""
    show_table(
        ("Name", "Token"),
        [(one.name, f"{one.hint}...") for one in sorted(place.people().teams, key=lambda one: one.name)],
        empty="There are no team tokens.",
    )


@team.command("remove")
@click.argument("token")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, token: str, yes: bool) -> None:
    """Remove TOKEN, or the one that begins so. It is worth nothing from then on."""
    confirm("Remove the team token?", yes=yes)
    gone = place.run(lambda store: remove_team_token(store, token.removesuffix("...")))
    say(f"The token of the team {gone.name} has been removed.")
