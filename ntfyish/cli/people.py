"""What the commands about people have in common: finding accounts, reading passwords, adding and removing.

``ntfyish user`` (ntfy's command, with ntfy's output) and ``ntfyish account`` (which shows user keys, apps
and tokens) are about the same accounts, and both do it here.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import click

from ntfyish.cli.place import Place
from ntfyish.cli.terminal import Failure, printable
from ntfyish.core.administration import Administration
from ntfyish.core.ports import People
from ntfyish.model.acl import EVERYONE, AclEntry
from ntfyish.model.passwords import BCRYPT_PATTERN, MAX_PASSWORD_BYTES, find_password_fault
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, KEY_PATTERN, AccessToken, Account, App, Group, Role

EVERYONE_WORDS = ("everyone", EVERYONE)
_LONGEST_LINE = 64 * MAX_PASSWORD_BYTES


@dataclass(frozen=True, slots=True)
class Password:
    """A new password, in plain text or hashed already; the other is ""."""

    plain: str = ""
    hashed: str = ""


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


def find_own_account(people: People, name: str, place: Place) -> Account:
    """Return the account of that name, to be changed.

    Raises:
        Failure: there is none, or the configuration declares it.
    """
    found = find_account(people, name, place)
    if found.declared:
        raise place.declared(f"the account {found.name}")
    return found


def find_app(people: People, name: str, place: Place) -> App:
    """Return the app with that token, or else of that name, to be changed.

    Raises:
        Failure: there is none or more than one, or the configuration declares it.
    """
    found = [app for app in people.apps if app.token == name] or [
        app for app in people.apps if app.name == name
    ]
    if not found:
        raise Failure(f"there is no such app in {place.settings.data_dir}")
    if len(found) > 1:
        raise Failure(f"there are {len(found)} apps of that name; say the token instead")
    [app] = found
    if app.declared:
        raise place.declared(f"the app {app.name}")
    return app


def add_account(
    place: Place, name: str, role: str, *, user_key: str = "", tier: str = "", from_stdin: bool, piped: bool
) -> Account:
    """Add an account, with the password that `read_password` finds.

    Raises:
        Failure: it is not possible; nothing is changed.
    """
    if ACCOUNT_NAME_PATTERN.fullmatch(name) is None or name in EVERYONE_WORDS:
        raise Failure("a name must be letters, digits and - _ . + @ only, and not everyone")
    if user_key and KEY_PATTERN.fullmatch(user_key) is None:
        raise Failure("a user key must be 30 letters and digits")
    if any(entry.name == name for entry in (*place.settings.accounts, *place.settings.auth_users)):
        raise place.declared(f"the account {name}")
    people = place.run(lambda store: store.load(), create=True)
    _refuse_taken(people, name, user_key, tier)
    password = read_password(from_stdin=from_stdin, piped=piped)

    async def add(administration: Administration) -> Account:
        return await administration.add_account(
            name,
            password=password.plain,
            password_hash=password.hashed,
            role=Role(role),
            tier=tier,
            user_key=user_key,
        )

    return place.administer(add)


def remove_account(place: Place, name: str) -> None:
    """Remove an account with all that is its.

    Raises:
        Failure: there is none, or the configuration declares it or one of its apps.
    """
    people = place.people()
    find_own_account(people, name, place)
    owned: tuple[App | AccessToken | AclEntry | Group, ...] = (
        *people.apps,
        *people.tokens,
        *people.access,
        *people.groups,
    )
    if any(record.account == name and record.declared for record in owned):
        raise place.declared(f"something that belongs to {name}")
    place.administer(lambda administration: administration.remove_account(name))


def read_password(*, from_stdin: bool = False, piped: bool = False) -> Password:
    """Return a new password: from standard input, the environment, or whoever sits at the terminal.

    The variables are NTFYISH_PASSWORD_HASH (bcrypt) and NTFYISH_PASSWORD.

    Args:
        from_stdin: it is the first line of standard input, whatever the environment says.
        piped: where nobody can be asked, read it, and maybe a repetition, from standard input, as ntfy does.

    Raises:
        Failure: there is none, or it cannot be a password.
    """
    if not from_stdin and (hashed := os.environ.get("NTFYISH_PASSWORD_HASH")):
        if BCRYPT_PATTERN.fullmatch(hashed) is None:
            raise Failure("NTFYISH_PASSWORD_HASH is no bcrypt hash")
        return Password(hashed=hashed)
    if from_stdin:
        password = _line()
    elif "NTFYISH_PASSWORD" in os.environ:
        password = os.environ["NTFYISH_PASSWORD"]
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = _piped() if piped else ""
        if not password:
            raise Failure("there is no terminal to ask on; say --password-stdin, or set NTFYISH_PASSWORD")
    if fault := find_password_fault(password):
        raise Failure(f"the password {printable(fault)}")
    return Password(plain=password)


def _piped() -> str:
    password = _line()
    if (again := _line()) and again != password:
        raise Failure("the two passwords differ")
    return password


def _line() -> str:
    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Failure("the password is not UTF-8") from None


def _refuse_taken(people: People, name: str, user_key: str, tier: str) -> None:
    if any(account.name == name for account in people.accounts):
        raise Failure(f"there is an account {name} already")
    taken = {account.user_key for account in people.accounts} | {key.key for key in people.keys}
    if user_key and user_key in taken | {group.key for group in people.groups}:
        raise Failure("this user key is taken")
    if tier and all(one.code != tier for one in people.tiers):
        raise Failure(f"there is no tier {tier}")
