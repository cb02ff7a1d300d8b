"""``ntfyish token``: access tokens, with which an account logs in without its password.

ntfy's command, with its flags and output, and scopes: a token may be for some topics, or for one direction.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Aliased, Failure, examples, say, show_table, tell
from ntfyish.core.administration import Administration
from ntfyish.core.clock import SystemClock
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import People
from ntfyish.model.acl import BOTH, PATTERN, Permission
from ntfyish.model.delays import parse_delay
from ntfyish.model.errors import Invalid, NotFound, Reason
from ntfyish.model.people import AccessToken, new_access_token

_LONGEST_LABEL = 100
_LONGEST_S = 100 * 365 * 86_400
_MOMENT = "%d %b %y %H:%M UTC"
_ALIASES = {"a": "add", "del": "remove", "rm": "remove", "l": "list"}


_EXAMPLES = examples(
    "ntfyish token add phil",
    "ntfyish token add --expires=2d --label=laptop phil",
    "ntfyish token add --publish-only --topic 'backup-*' --topic alerts phil",
    "ntfyish token del phil tk_ab12cd34",
)


@click.group(cls=Aliased, aliases=_ALIASES, epilog=_EXAMPLES)
def token() -> None:
    """Manage access tokens, with which an account logs in. After ntfy's command of this name.

    The server keeps only their hashes: a token is shown once, and named by its beginning afterwards.
    """


@token.command("add")
@click.argument("username")
@click.option("-l", "--label", default="", help="What it is for.")
@click.option(
    "-e",
    "--expires",
    metavar="WHEN",
    help="How long it is valid (12h, 30d), or until when (tomorrow 10am).  [default: for ever]",
)
@click.option("--publish-only", is_flag=True, help="It cannot read.")
@click.option("--subscribe-only", is_flag=True, help="It cannot publish.")
@click.option(
    "--topic", "topics", multiple=True, metavar="PATTERN", help="It is for these topics only; * for any text."
)
@at_place
def add(
    place: Place,
    username: str,
    label: str,
    expires: str | None,
    publish_only: bool,
    subscribe_only: bool,
    topics: tuple[str, ...],
) -> None:
    """Make a token for an account, and print it, once. (Alias: a)

    A token never allows more than its account does. One that is limited to a direction or to topics cannot
    manage the account.
    """
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise Failure(f"a label must be at most {_LONGEST_LABEL} printable characters")
    if publish_only and subscribe_only:
        raise Failure("--publish-only and --subscribe-only exclude each other")
    if any(PATTERN.fullmatch(topic) is None for topic in topics):
        raise Failure("a topic or pattern must be 1 to 64 of A-Z a-z 0-9 _ - and *")
    permissions = (
        {Permission.WRITE} if publish_only else {Permission.READ} if subscribe_only else frozenset(BOTH)
    )
    expires_at = _expires_at(expires)
    find_account(place.people(), username, place)

    async def make(administration: Administration) -> tuple[AccessToken, str]:
        return await administration.add_token(
            username,
            label=label,
            expires_at=expires_at,
            permissions=frozenset(permissions),
            patterns=tuple(dict.fromkeys(topics)),
        )

    made, secret = place.administer(make)
    _announce(made, secret)
    say(f"Try it: curl -H 'Authorization: Bearer {secret}' -d Hello {place.url}/hello")


@token.command("remove")
@click.argument("username")
@click.argument("token")
@click.option("-y", "--yes", is_flag=True, hidden=True)  # once there was a question
@at_place
def remove(place: Place, username: str, token: str, yes: bool) -> None:
    """Remove a token: the whole of it, or its beginning as listed. (Aliases: del, rm)"""
    found = _find(place, place.people(), username, token)
    place.administer(lambda administration: administration.remove_token(username, found.hint))
    tell(f"token {token} for user {username} removed")


@token.command("rotate")
@click.argument("username")
@click.argument("token")
@at_place
def rotate(place: Place, username: str, token: str) -> None:
    """Put a new token in the place of one, with the same label, end and scope, and print it."""
    old = _find(place, place.people(), username, token)

    async def replace(administration: Administration) -> tuple[AccessToken, str]:
        made = await administration.add_token(
            username,
            label=old.label,
            expires_at=old.expires_at,
            permissions=old.permissions,
            patterns=old.patterns,
        )
        with suppress(NotFound):  # it may have made room for the new one
            await administration.remove_token(username, old.hint)
        return made

    _announce(*place.administer(replace))


@token.command("list")
@click.argument("username", default="")
@at_place
def list_(place: Place, username: str) -> None:
    """List the tokens of an account, or of all, by their beginnings. (Alias: l)"""
    people = place.people()
    if username:
        find_account(people, username, place)
    plain: list[str] = []
    rows: list[tuple[str, ...]] = []
    for name in [username] if username else sorted({token.account for token in people.tokens}):
        own = sorted(
            (token for token in people.tokens if token.account == name),
            key=lambda token: (token.created_at, token.hint),
        )
        plain.append(f"user {name}" if own else f"user {name} has no access tokens")
        plain += [f"- {token.hint}... {describe(token)}" for token in own]
        rows += [_row(token) for token in own]
    show_table(
        ("User", "Token", "Label", "Expires", "Last used", "For", "From"),
        rows,
        empty="There are no access tokens.",
        plain=plain or ["no users with tokens"],
    )


@token.command("generate")
def generate() -> None:
    """Print a random token, for auth-tokens in the configuration. Nothing is stored."""
    tell(new_access_token())


def describe(token: AccessToken) -> str:
    """Return in a line what a token is: its label, end, last use and scope."""
    parts = [_expiry(token), _last_use(token), _scope(token)]
    label = f"({token.label}), " if token.label else ""
    origin = " (server config)" if token.declared else ""
    return label + ", ".join(part for part in parts if part) + origin


def _find(place: Place, people: People, username: str, text: str) -> AccessToken:
    find_account(people, username, place)
    digest = hash_access_token(text)
    hint = text.removesuffix("...")
    for token in people.tokens:
        if token.account == username and (token.token_hash == digest or token.hint == hint):
            if token.declared:
                raise place.declared(f"this token of {username}")
            return token
    raise Failure(f"{username} has no such token")


def _announce(made: AccessToken, secret: str) -> None:
    tell(f"token {secret} created for user {made.account}, {_expiry(made)}")
    if made.is_limited:
        tell(f"- {_scope(made)}")
    say("It is not shown again.")


def _row(token: AccessToken) -> tuple[str, ...]:
    return (
        token.account,
        f"{token.hint}...",
        token.label,
        _moment(token.expires_at) if token.expires_at else "never",
        f"{_moment(token.last_access_at)} {token.last_origin}" if token.last_access_at else "never",
        _scope(token) or "everything",
        "configuration" if token.declared else "database",
    )


def _expiry(token: AccessToken) -> str:
    return f"expires {_moment(token.expires_at)}" if token.expires_at else "never expires"


def _last_use(token: AccessToken) -> str:
    if not token.last_access_at:
        return "never used"
    return f"accessed from {token.last_origin or 'unknown'} at {_moment(token.last_access_at)}"


def _scope(token: AccessToken) -> str:
    words = ["publish only", "subscribe only", "publish and subscribe only"]
    direction = ""
    if token.permissions != BOTH:
        direction = words[0] if Permission.WRITE in token.permissions else words[1]
    elif token.patterns:
        direction = words[2]
    return direction + (f" to {' '.join(token.patterns)}" if token.patterns else "")


def _expires_at(text: str | None) -> int:
    if text is None:
        return 0
    try:
        return parse_delay(text, SystemClock().now(), min_s=1, max_s=_LONGEST_S)
    except Invalid as error:
        if error.reason is Reason.DELAY_UNPARSABLE:
            raise Failure(
                "--expires takes a duration like 12h or 30d, or a time like tomorrow 10am"
            ) from None
        raise Failure("--expires takes a time to come, in at most 100 years") from None


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(_MOMENT)
    except (OverflowError, ValueError, OSError):
        return str(seconds)
