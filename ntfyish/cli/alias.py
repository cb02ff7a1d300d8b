"""``ntfyish alias``: names under which accounts get e-mail as messages."""

from __future__ import annotations

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.model.message import priority_from_pushover, priority_to_pushover
from ntfyish.model.people import ALIAS_PATTERN, DEVICE_PATTERN, MailAlias
from ntfyish.model.sound import NAME_PATTERN as SOUND_PATTERN


@click.group()
def alias() -> None:
    """Add, remove and list e-mail aliases: mail to NAME@domain becomes a message to an account.

    The domain is the setting smtp-server-domain. An account's user key is such a name, too.
    """


@alias.command("add")
@click.argument("name")
@click.option("--account", default="", metavar="NAME", help="Whose it is.  [default: the only account]")
@click.option("--sound", default="", metavar="NAME", help="Sound of such messages.  [default: the account's]")
@click.option("--priority", type=click.IntRange(-2, 1), help="Their priority, as Pushover counts.")
@click.option("--device", default="", metavar="NAME", help="One device only.  [default: all of them]")
@click.option("--ignore-timestamps", is_flag=True, help="Show when a mail came, not when it was written.")
@at_place
def add(
    place: Place,
    name: str,
    account: str,
    sound: str,
    priority: int | None,
    device: str,
    ignore_timestamps: bool,
) -> None:
    """Add the alias NAME, and print the address."""
    name = name.lower()
    if ALIAS_PATTERN.fullmatch(name) is None:
        raise Failure(
            "an alias must be 1 to 64 letters, digits and . _ -, and begin and end with a letter or digit"
        )
    if sound and SOUND_PATTERN.fullmatch(sound) is None:
        raise Failure("this is not the name of a sound")
    if device and DEVICE_PATTERN.fullmatch(device) is None:
        raise Failure("a device's name must be 1 to 25 of A-Z a-z 0-9 _ -")
    people = place.run(lambda store: store.load(), create=True)
    owner = find_account(people, account, place)
    if any(other.name == name for other in people.aliases):
        raise Failure("this alias is taken")
    made = MailAlias(
        name=name,
        account=owner.name,
        sound=sound,
        priority=0 if priority is None else priority_from_pushover(priority),
        device=device,
        ignore_timestamps=ignore_timestamps,
    )
    place.administer(lambda administration: administration.add_alias(made))
    say(f"E-mail to this address is a message to {owner.name} now:")
    tell(f"{name}@{place.settings.smtp_server_domain or 'DOMAIN'}")
    if place.settings.smtp_server_listen is None:
        say("No e-mail comes in yet: set smtp-server-listen and smtp-server-domain.")


@alias.command("list")
@at_place
def list_(place: Place) -> None:
    """List the aliases."""
    show_table(
        ("Alias", "Account", "Sound", "Priority", "Device", "Timestamps", "From"),
        [
            (
                alias.name,
                alias.account,
                alias.sound,
                str(priority_to_pushover(alias.priority)) if alias.priority else "",
                alias.device,
                "ignored" if alias.ignore_timestamps else "kept",
                "configuration" if alias.declared else "database",
            )
            for alias in place.people().aliases
        ],
        empty="There are no aliases.",
    )


@alias.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the alias NAME."""
    name = name.lower()
    found = next((one for one in place.people().aliases if one.name == name), None)
    if found is None:
        raise Failure(f"there is no such alias in {place.settings.data_dir}")
    if found.declared:
        raise place.declared(f"the alias {name}")
    confirm(f"Remove the alias {name} of {found.account}?", yes=yes)
    place.administer(lambda administration: administration.remove_alias(name))
    say(f"The alias {name} has been removed.")
