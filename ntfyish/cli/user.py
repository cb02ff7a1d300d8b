"""``ntfyish user``: ntfy's command for accounts, with its subcommands, flags and output."""

from __future__ import annotations

import asyncio

import click

from ntfyish.cli.access import show_access
from ntfyish.cli.people import (
    EVERYONE_WORDS,
    add_account,
    find_own_account,
    read_password,
    remove_account,
)
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Aliased, Failure, examples, say, tell
from ntfyish.core.administration import Administration
from ntfyish.core.passwords import hash_password
from ntfyish.model.people import Role

_ROLES = click.Choice(["user", "admin"])
_ALIASES = {
    "a": "add",
    "del": "remove",
    "rm": "remove",
    "chp": "change-pass",
    "chr": "change-role",
    "cht": "change-tier",
    "l": "list",
}

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, whatever else there is."
)


_EXAMPLES = examples(
    "ntfyish user add --role=admin phil",
    "NTFYISH_PASSWORD=secret ntfyish user add ben",
    "ntfyish user change-role ben admin",
    "ntfyish user del ben",
)


@click.group(cls=Aliased, aliases=_ALIASES, epilog=_EXAMPLES)
def user() -> None:
    """Manage accounts: who can log in, in which role. After ntfy's command of this name.

    Passwords are asked for, or taken from NTFYISH_PASSWORD or (hashed by bcrypt) NTFYISH_PASSWORD_HASH, or
    read from a pipe. What an account may do with topics is up to `ntfyish access`; its user key and its
    apps are shown by `ntfyish account show`.
    """


@user.command("add")
@click.argument("username")
@click.option("-r", "--role", type=_ROLES, default="user", show_default=True)
@click.option("-i", "--ignore-exists", is_flag=True, help="Do nothing if there is such an account.")
@password_option
@at_place
def add(place: Place, username: str, role: str, ignore_exists: bool, password_stdin: bool) -> None:
    """Add an account. (Alias: a)"""
    _refuse_everyone(username)
    if ignore_exists:
        people = place.run(lambda store: store.load(), create=True)
        if any(account.name == username for account in people.accounts):
            tell(f"user {username} already exists (exited successfully)")
            return
    made = add_account(place, username, role, from_stdin=password_stdin, piped=True)
    tell(f"user {username} added with role {role}")
    say(f"Pushover clients write to it with user={made.user_key}")


@user.command("remove")
@click.argument("username")
@at_place
def remove(place: Place, username: str) -> None:
    """Remove an account with its apps, tokens and permissions, without asking. (Aliases: del, rm)"""
    _refuse_everyone(username)
    remove_account(place, username)
    tell(f"user {username} removed")


@user.command("change-pass")
@click.argument("username")
@password_option
@at_place
def change_pass(place: Place, username: str, password_stdin: bool) -> None:
    """Change an account's password. Who is logged in by the old one is put out. (Alias: chp)"""
    _check(place, username)
    password = read_password(from_stdin=password_stdin, piped=True)

    async def change(administration: Administration) -> None:
        await administration.change_password(username, password=password.plain, password_hash=password.hashed)

    place.administer(change)
    tell(f"changed password for user {username}")


@user.command("change-role")
@click.argument("username")
@click.argument("role", type=_ROLES)
@at_place
def change_role(place: Place, username: str, role: str) -> None:
    """Make an account an administrator, or a user again. (Alias: chr)

    An administrator may do everything.
    """
    _check(place, username)

    async def change(administration: Administration) -> None:
        await administration.change_role(username, Role(role))

    place.administer(change)
    tell(f"changed role for user {username} to {role}")


@user.command("change-tier")
@click.argument("username")
@click.argument("tier")
@at_place
def change_tier(place: Place, username: str, tier: str) -> None:
    """Put an account into a tier (see `ntfyish tier`), or with - into none. (Alias: cht)"""
    _check(place, username)
    code = "" if tier == "-" else tier

    async def change(administration: Administration) -> None:
        await administration.change_tier(username, code)

    place.administer(change)
    tell(f"changed tier for user {username} to {code}" if code else f"removed tier from user {username}")


@user.command("list")
@at_place
def list_(place: Place) -> None:
    """List the accounts and what they may do, as `ntfyish access` does. (Alias: l)"""
    show_access(place.people(), place.settings.auth_default_access)


@user.command("hash")
@password_option
def hash_(password_stdin: bool) -> None:
    """Print the bcrypt hash of a password, for auth-users in the configuration, or for ntfy's."""
    password = read_password(from_stdin=password_stdin, piped=True)
    tell(password.hashed or asyncio.run(asyncio.to_thread(hash_password, password.plain)))


def _check(place: Place, username: str) -> None:
    """Fail before anybody is asked for a password."""
    _refuse_everyone(username)
    find_own_account(place.people(), username, place)


def _refuse_everyone(username: str) -> None:
    if username in EVERYONE_WORDS:
        raise Failure(f"{username} stands for everybody; that is no account")
