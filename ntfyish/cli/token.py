"""``ntfyish token``: access tokens, with which an account logs in without its password."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ntfyish.cli.account import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table
from ntfyish.core.clock import SystemClock
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import PeopleStore
from ntfyish.model.durations import parse_duration
from ntfyish.model.errors import Invalid
from ntfyish.model.people import AccessToken, new_access_token

_LONGEST_LABEL = 100
_LONGEST_S = 100 * 365 * 86_400


@click.group()
def token() -> None:
    """Add, remove and list access tokens, with which an account logs in."""


@token.command("add")
@click.argument("account")
@click.option("--label", default="", help="What it is for.")
@click.option(
    "--expires", metavar="DURATION", help="How long it is valid, like 12h or 30d.  [default: for ever]"
)
@at_place
def add(place: Place, account: str, label: str, expires: str | None) -> None:
    """Add an access token of ACCOUNT, and print it, once."""
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise Failure(f"a label must be at most {_LONGEST_LABEL} printable characters")
    secret = new_access_token()
    made = AccessToken(
        token_hash=hash_access_token(secret),
        account=account,
        label=label,
        hint=secret[-4:],
        expires_at=_expires_at(expires),
    )

    async def store(people: PeopleStore) -> None:
        find_account(await people.load(), account, place)
        await people.add_token(made)

    place.run(store, create=True)
    say(f"An access token of {account} has been added. It is not shown again:")
    click.echo(secret)
    say(f"Try it: curl -H 'Authorization: Bearer {secret}' -d Hello {place.url}/hello")


@token.command("list")
@click.argument("account", default="")
@at_place
def list_(place: Place, account: str) -> None:
    """List the access tokens, of ACCOUNT or of all, by their last four characters."""
    people = place.run(lambda people: people.load())
    if account:
        find_account(people, account, place)
    show_table(
        ("Account", "Token", "Label", "Expires", "From"),
        [
            (
                token.account,
                f"tk_...{token.hint}",
                token.label,
                _moment(token.expires_at),
                "configuration" if token.declared else "database",
            )
            for token in sorted(people.tokens, key=lambda token: (token.account, token.label, token.hint))
            if not account or token.account == account
        ],
        empty="There are no access tokens.",
    )


@token.command("remove")
@click.argument("account")
@click.argument("token")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, account: str, token: str, yes: bool) -> None:
    """Remove the access TOKEN of ACCOUNT. Its last four characters will do."""
    people = place.run(lambda people: people.load())
    find_account(people, account, place)
    digest = hash_access_token(token)
    hint = token.removeprefix("tk_...")
    own = [other for other in people.tokens if other.account == account]
    found = [other for other in own if other.token_hash == digest] or [
        other for other in own if other.hint == hint
    ]
    if not found:
        raise Failure(f"{account} has no such token")
    if len(found) > 1:
        raise Failure(f"{account} has {len(found)} tokens that end so; say the whole token")
    [doomed] = found
    if doomed.declared:
        raise Failure(f"this token of {account} is declared in the configuration; remove it there")
    confirm(f"Remove the token ...{doomed.hint} {doomed.label} of {account}?", yes=yes)
    place.run(lambda people: people.remove_token(doomed.token_hash))
    say(f"An access token of {account} has been removed.")


def _expires_at(text: str | None) -> int:
    if text is None:
        return 0
    try:
        seconds = parse_duration(text)
    except Invalid:
        raise Failure("--expires takes a duration like 12h or 30d") from None
    if not 0 < seconds <= _LONGEST_S:
        raise Failure("--expires takes a duration of up to 100 years")
    return int(SystemClock().now() + seconds)


def _moment(expires_at: int) -> str:
    if not expires_at:
        return "never"
    return datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
