"""``ntfyish group``: groups of accounts with one key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.core.groups import MAX_MEMO_CHARS, Groups
from ntfyish.core.ports import People
from ntfyish.model.people import KEY_PATTERN, Group, Member

_device = click.option(
    "--device", default="", metavar="NAME", help="One device only.  [default: all of them]"
)


@click.group()
def group() -> None:
    """Make, change and list groups of accounts, to which Pushover clients write with one key."""


@group.command("add")
@click.argument("name")
@click.option("--account", default="", metavar="NAME", help="Whose group it is.  [default: the only account]")
@click.option("--key", default="", metavar="KEY", help="30 letters and digits.  [default: a random one]")
@at_place
def add(place: Place, name: str, account: str, key: str) -> None:
    """Add the group NAME, and print its key. Apps of its account can change it over the API."""
    if key and KEY_PATTERN.fullmatch(key) is None:
        raise Failure("a key must be 30 letters and digits")
    owner = find_account(place.run(lambda store: store.load(), create=True), account, place)
    made = _change(place, lambda groups: groups.add(name, owner.name, key=key))
    say(f"Group {made.name} of {owner.name} has been added. Its key:")
    tell(made.key)


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


@group.command("show")
@click.argument("name")
@at_place
def show(place: Place, name: str) -> None:
    """List the members of the group NAME (or with that key)."""
    found = _find(place.people(), name, place)
    show_table(
        ("Account", "Device", "Enabled", "Memo"),
        [
            (member.account, member.device or "all", "yes" if member.enabled else "no", member.memo)
            for member in found.members
        ],
        empty=f"The group {found.name} has no members.",
    )


@group.command("rename")
@click.argument("name")
@click.argument("new-name")
@at_place
def rename(place: Place, name: str, new_name: str) -> None:
    """Give the group NAME the name NEW-NAME. Its key stays the same."""
    found = _own(place, name)
    _change(place, lambda groups: groups.rename(found.key, new_name))
    say(f"Group {found.name} is called {new_name} now.")


@group.command("add-user")
@click.argument("name")
@click.argument("account")
@_device
@click.option("--memo", default="", metavar="TEXT", help=f"A note, of at most {MAX_MEMO_CHARS} characters.")
@at_place
def add_user(place: Place, name: str, account: str, device: str, memo: str) -> None:
    """Add ACCOUNT to the group NAME; the same one again only with another device."""
    found = _own(place, name)
    find_account(place.people(), account, place)
    _change(place, lambda groups: groups.add_member(found.key, account, device=device, memo=memo))
    say(f"{account} is in the group {found.name}.")


@group.command("remove-user")
@click.argument("name")
@click.argument("account")
@_device
@at_place
def remove_user(place: Place, name: str, account: str, device: str) -> None:
    """Take ACCOUNT off the group NAME."""
    found = _own(place, name)
    _change(place, lambda groups: groups.remove_member(found.key, account, device=device))
    say(f"{account} has left the group {found.name}.")


@group.command("disable")
@click.argument("name")
@click.argument("account")
@_device
@at_place
def disable(place: Place, name: str, account: str, device: str) -> None:
    """Stop deliveries to ACCOUNT in the group NAME; it stays a member."""
    _enable(place, name, account, device, enabled=False)


@group.command("enable")
@click.argument("name")
@click.argument("account")
@_device
@at_place
def enable(place: Place, name: str, account: str, device: str) -> None:
    """Start deliveries to ACCOUNT in the group NAME again."""
    _enable(place, name, account, device, enabled=True)


@group.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the group NAME (or with that key). Its members keep their accounts."""
    found = _own(place, name)
    confirm(f"Remove the group {found.name} of {found.account}?", yes=yes)
    _change(place, lambda groups: groups.remove(found.key))
    say(f"Group {found.name} of {found.account} has been removed.")


def _enable(place: Place, name: str, account: str, device: str, *, enabled: bool) -> None:
    found = _own(place, name)
    _change(place, lambda groups: groups.enable_member(found.key, account, device=device, enabled=enabled))
    say(f"{account} {'gets' if enabled else 'does not get'} what is sent to the group {found.name}.")


def _change(place: Place, work: Callable[[Groups], Awaitable[Any]]) -> Any:
    return place.run(lambda store: work(Groups(store)))


def _own(place: Place, name: str) -> Group:
    """Return the group of that key or name, to be changed."""
    found = _find(place.people(), name, place)
    if found.declared:
        raise place.declared(f"the group {found.name}")
    return found


def _find(people: People, name: str, place: Place) -> Group:
    found = [group for group in people.groups if group.key == name] or [
        group for group in people.groups if group.name == name
    ]
    if not found:
        raise Failure(f"there is no such group in {place.settings.data_dir}")
    if len(found) > 1:
        raise Failure(f"there are {len(found)} groups of that name; say the key instead")
    return found[0]


def _word(member: Member) -> str:
    device = f"/{member.device}" if member.device else ""
    return member.account + device + ("" if member.enabled else "(disabled)")
