"""``ntfyish group``: groups of accounts with one key. The configuration declares them."""

from __future__ import annotations

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import show_table
from ntfyish.model.people import Member


@click.group()
def group() -> None:
    """List groups of accounts, to which Pushover clients write with one key."""


@group.command("list")
@at_place
def list_(place: Place) -> None:
    """List the groups with their keys and members."""
    show_table(
        ("Name", "Owner", "Key", "Members", "From"),
        [
            (
                group.name,
                group.account,
                group.key,
                " ".join(map(_word, group.members)),
                "configuration" if group.declared else "database",
            )
            for group in sorted(place.people().groups, key=lambda group: (group.name, group.key))
        ],
        empty="There are no groups.",
    )


def _word(member: Member) -> str:
    device = f"/{member.device}" if member.device else ""
    return member.account + device + ("" if member.enabled else "(disabled)")
