"""``ntfyish device``: the Open Client devices of accounts."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table


@click.group()
def device() -> None:
    """List and remove Open Client devices, which fetch an account's messages."""


@device.command("list")
@click.option("--account", default="", help="Only those of this account.")
@at_place
def list_(place: Place, account: str) -> None:
    """List the devices: those that have registered, and those that the configuration names."""
    people = place.people()
    if account:
        find_account(people, account, place)
    registered = {(one.account, one.name): one for one in people.devices}
    declared = {(one.name, name) for one in people.accounts for name in one.devices}
    rows = []
    for owner, name in sorted({*registered, *declared}):
        if account in ("", owner):
            known = registered.get((owner, name))
            rows.append(
                (
                    owner,
                    name,
                    "never" if known is None else f"{datetime.fromtimestamp(known.created_at, UTC):%Y-%m-%d}",
                    "configuration" if (owner, name) in declared else "database",
                )
            )
    show_table(("Account", "Device", "Registered", "From"), rows, empty="There are no devices.")


@device.command("remove")
@click.option("--account", default="", help="Whose device; needed if there are several accounts.")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, account: str, name: str, yes: bool) -> None:
    """Remove the device NAME: it is logged out, and what waits for it is not delivered any more.

    One that the configuration names can register again.
    """
    people = place.people()
    owner = find_account(people, account, place)
    if all((one.account, one.name) != (owner.name, name) for one in people.devices):
        if name in owner.devices:
            raise place.declared(f"the device {name}")
        raise Failure(f"{owner.name} has no device {name}")
    confirm(f"Remove the device {name} of {owner.name}?", yes=yes)
    place.administer(lambda administration: administration.remove_device(owner.name, name))
    say(f"The device {name} of {owner.name} has been removed.")
