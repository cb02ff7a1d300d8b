"""``ntfyish account``: who can log in and be written to."""

from __future__ import annotations

import os
import sys

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, printable, say, show_table
from ntfyish.core.passwords import hash_password
from ntfyish.core.ports import People, PeopleStore
from ntfyish.model.passwords import MAX_PASSWORD_BYTES, find_password_fault
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, KEY_PATTERN, Account, Role, UserKey, new_key


@click.group()
def account() -> None:
    """Add, remove and list accounts."""


@account.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--user-key", metavar="KEY", help="30 letters and digits.  [default: a random one]")
@at_place
def add(place: Place, name: str, role: str, password_stdin: bool, user_key: str | None) -> None:
    """Add the account NAME.

    The password is asked for, or taken from standard input or from the environment variable NTFYISH_PASSWORD.
    """
    if ACCOUNT_NAME_PATTERN.fullmatch(name) is None:
        raise Failure("a name must be letters, digits and - _ . + @ only")
    if user_key is not None and KEY_PATTERN.fullmatch(user_key) is None:
        raise Failure("a user key must be 30 letters and digits")
    if any(entry.name == name for entry in (*place.settings.accounts, *place.settings.auth_users)):
        raise Failure(f"the account {name} is declared in the configuration; change it there")
    key = UserKey(user_key or new_key("u"))

    async def look(people: PeopleStore) -> None:
        _refuse_taken(await people.load(), name, key)

    place.run(look, create=True)
    password_hash = hash_password(_password(password_stdin))

    async def store(people: PeopleStore) -> None:
        await people.add_account(
            Account(name=name, user_key=key, password_hash=password_hash, role=Role(role))
        )

    place.run(store)
    say(f"Account {name} has been added. Its user key:")
    click.echo(key)
    say(f"Pushover clients write to it with user={key}.")
    say(f"What is sent to it is read with: curl -sSN -u {name} {place.url}/{key}/json")


@account.command("list")
@at_place
def list_(place: Place) -> None:
    """List the accounts, with their user keys."""
    people = place.run(lambda people: people.load())
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


@account.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the account NAME with its apps and access tokens."""
    people = place.run(lambda people: people.load())
    found = next((account for account in people.accounts if account.name == name), None)
    if found is None:
        raise Failure(f"there is no account {name} in {place.settings.data_dir}")
    if found.declared:
        raise Failure(f"the account {name} is declared in the configuration; remove it there")
    apps = [app for app in people.apps if app.account == name]
    if any(app.declared for app in apps):
        raise Failure(f"an app that the configuration declares belongs to {name}; remove it there first")
    confirm(f"Remove the account {name}, with {len(apps)} apps?", yes=yes)
    place.run(lambda people: people.remove_account(name))
    say(f"Account {name} has been removed.")


def find_account(people: People, name: str, place: Place) -> Account:
    """Return the account of that name; of "", the only one there is.

    Raises:
        Failure: there is none, or which one is not clear.
    """
    if not name:
        if len(people.accounts) == 1:
            return people.accounts[0]
        if not people.accounts:
            raise Failure(f"there is no account in {place.settings.data_dir}; add one first")
        raise Failure("there are several accounts; say which one with --account")
    found = next((account for account in people.accounts if account.name == name), None)
    if found is None:
        raise Failure(f"there is no account {name} in {place.settings.data_dir}")
    return found


def _refuse_taken(people: People, name: str, key: UserKey) -> None:
    if any(account.name == name for account in people.accounts):
        raise Failure(f"there is an account {name} already")
    if any(account.user_key == key for account in people.accounts) or any(k.key == key for k in people.keys):
        raise Failure("this user key is taken")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.buffer.readline(64 * MAX_PASSWORD_BYTES)
        try:
            password = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Failure("the password is not UTF-8") from None
    elif "NTFYISH_PASSWORD" in os.environ:
        password = os.environ["NTFYISH_PASSWORD"]
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise Failure("there is no terminal to ask on; say --password-stdin, or set NTFYISH_PASSWORD")
    if fault := find_password_fault(password):
        raise Failure(f"the password {printable(fault)}")
    return password
