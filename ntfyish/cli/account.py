"""``ntfyish account``: accounts with their user keys, apps and tokens."""

from __future__ import annotations

import click

from ntfyish.cli.people import add_account, find_account, find_own_account, remove_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.cli.token import describe as describe_token
from ntfyish.settings.entries import find_inbox_fault


@click.group()
def account() -> None:
    """Show accounts with their user keys, apps and tokens; add and remove them; rotate user keys.

    These are the accounts of `ntfyish user`, which speaks as ntfy's command does and also changes
    passwords, roles and tiers.
    """


@account.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--tier", default="", metavar="CODE", help="Its set of limits.  [default: the server's own]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--user-key", default="", metavar="KEY", help="30 letters and digits.  [default: a random one]")
@at_place
def add(place: Place, name: str, role: str, tier: str, password_stdin: bool, user_key: str) -> None:
    """Add the account NAME, and print its user key.

    The password is asked for, or taken from standard input or from the environment: NTFYISH_PASSWORD, or
    NTFYISH_PASSWORD_HASH for a bcrypt hash.
    """
    made = add_account(
        place, name, role, user_key=user_key, tier=tier, from_stdin=password_stdin, piped=False
    )
    say(f"Account {name} has been added. Its user key:")
    tell(made.user_key)
    say(f"Pushover clients write to it with user={made.user_key}.")
    say(f"What is sent to it is read with: curl -sSN -u {name} {place.url}/{made.user_key}/json")


@account.command("set")
@click.argument("name")
@click.option("--quiet-hours", metavar="HH:MM-HH:MM", help="When messages come silently; blank for never.")
@click.option("--time-zone", metavar="ZONE", help="Whose hours those are, such as Europe/Berlin.")
@click.option("--default-sound", metavar="SOUND", help="For messages without one; blank for none.")
@click.option("--totp-secret", metavar="BASE32", help="Open Clients log in with a code, too; blank for none.")
@at_place
def set_(
    place: Place,
    name: str,
    quiet_hours: str | None,
    time_zone: str | None,
    default_sound: str | None,
    totp_secret: str | None,
) -> None:
    """Change how messages come to the account NAME, and how its Open Clients log in.

    Priorities 1 and 2 are never silent.
    """
    given = {
        "quiet-hours": quiet_hours,
        "time-zone": time_zone,
        "default-sound": default_sound,
        "totp-secret": totp_secret,
    }
    for option, value in given.items():
        if value and (fault := find_inbox_fault(option, value)):
            raise Failure(f"--{option} {fault}")
    find_own_account(place.people(), name, place)
    place.administer(
        lambda administration: administration.change_inbox(
            name,
            quiet_hours=quiet_hours,
            time_zone=time_zone,
            default_sound=default_sound,
            totp_secret=totp_secret,
        )
    )
    say(f"Account {name} has been changed.")


@account.command("list")
@at_place
def list_(place: Place) -> None:
    """List the accounts, with their user keys."""
    people = place.people()
    show_table(
        ("Name", "Role", "User key", "Apps", "From"),
        [
            (
                account.name,
                account.role.value,
                account.user_key,
                str(sum(app.account == account.name for app in people.apps)),
                "configuration" if account.declared else "database",
            )
            for account in sorted(people.accounts, key=lambda account: account.name)
        ],
        empty="There are no accounts.",
    )


@account.command("show")
@click.argument("name", default="")
@at_place
def show(place: Place, name: str) -> None:
    """Show all of the account NAME: its user key, the tokens of its apps, its access tokens.

    Of an access token there is only the beginning: the server keeps no more than its hash. `ntfyish token
    rotate` replaces one whose text is lost.
    """
    people = place.people()
    account = find_account(people, name, place)
    rows = [
        ("Name", account.name, ""),
        ("Role", account.role.value, ""),
        ("Tier", account.tier or "none", ""),
        ("User key", account.user_key, f"{place.url}/{account.user_key}"),
    ]
    rows += [("Device", device, "") for device in account.devices]
    rows += [("App", app.token, app.name) for app in people.apps if app.account == account.name]
    rows += [
        ("Access token", token.hint, describe_token(token))
        for token in people.tokens
        if token.account == account.name
    ]
    rows += [
        ("Reservation", entry.pattern, "")
        for entry in people.access
        if entry.owner == account.name == entry.account
    ]
    rows += [("Group", group.key, group.name) for group in people.groups if group.account == account.name]
    show_table(("What", "Value", "About"), rows, empty="")


@account.command("rotate-key")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def rotate_key(place: Place, name: str, yes: bool) -> None:
    """Give the account NAME a new user key, and print it. The old one is nobody's from then on."""
    find_own_account(place.people(), name, place)
    confirm(f"Give {name} a new user key? Whoever writes to the old one gets an error.", yes=yes)
    changed = place.administer(lambda administration: administration.rotate_user_key(name))
    say(f"The new user key of {name}:")
    tell(changed.user_key)


@account.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the account NAME with its apps, tokens, groups and permissions."""
    people = place.people()
    find_own_account(people, name, place)
    apps = [app for app in people.apps if app.account == name]
    confirm(f"Remove the account {name}, with {len(apps)} apps?", yes=yes)
    remove_account(place, name)
    say(f"Account {name} has been removed.")
