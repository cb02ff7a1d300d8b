"""``ntfyish app``: what publishes with a token."""

from __future__ import annotations

import click

from ntfyish.cli.people import find_account, find_app
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, masked, say, show_table, tell
from ntfyish.core.administration import Administration
from ntfyish.model.people import KEY_PATTERN, App, Flavour

_LONGEST_NAME = 250


@click.group()
def app() -> None:
    """Add, remove and list apps, which publish with a token, and rotate their tokens."""


@app.command("add")
@click.argument("name")
@click.option("--account", default="", metavar="NAME", help="Whose app it is.  [default: the only account]")
@click.option(
    "--flavour",
    type=click.Choice([flavour.value for flavour in Flavour]),
    default=Flavour.PUSHOVER.value,
    show_default=True,
    help="Whose rules it follows.",
)
@click.option(
    "--monthly-limit",
    type=click.IntRange(0, 10**15),
    help="Messages a month; 0 for no limit.  [default: the setting pushover-monthly-limit]",
)
@click.option("--token", metavar="TOKEN", help="30 letters and digits.  [default: a random one]")
@at_place
def add(
    place: Place, name: str, account: str, flavour: str, monthly_limit: int | None, token: str | None
) -> None:
    """Add the app NAME, and print its token."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Failure(f"a name must be 1 to {_LONGEST_NAME} printable characters")
    if token is not None and KEY_PATTERN.fullmatch(token) is None:
        raise Failure("a token must be 30 letters and digits")
    if monthly_limit is None:
        monthly_limit = place.settings.pushover_monthly_limit

    people = place.run(lambda store: store.load(), create=True)
    owner = find_account(people, account, place)
    if any(other.token == token for other in people.apps):
        raise Failure("this token is taken")
    limit = monthly_limit

    async def make(administration: Administration) -> App:
        return await administration.add_app(
            name, owner.name, token=token or "", flavour=Flavour(flavour), monthly_limit=limit
        )

    made = place.administer(make)
    say(f"App {name} of {owner.name} has been added. Its token:")
    tell(made.token)
    say(
        f"Try it: curl -d token={made.token} -d user={owner.user_key} -d message=Hello"
        f" {place.url}/1/messages.json"
    )


@app.command("list")
@click.option("--show-tokens", is_flag=True, help="Show the tokens in full.")
@at_place
def list_(place: Place, show_tokens: bool) -> None:
    """List the apps."""
    people = place.people()
    show_table(
        ("Name", "Account", "Token", "Flavour", "Messages a month", "Enabled", "From"),
        [
            (
                app.name,
                app.account,
                app.token if show_tokens else masked(app.token),
                app.flavour.value,
                str(app.monthly_limit) if app.monthly_limit else "no limit",
                "yes" if app.enabled else "no",
                "configuration" if app.declared else "database",
            )
            for app in sorted(people.apps, key=lambda app: (app.name, app.account))
        ],
        empty="There are no apps.",
    )


@app.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, name: str, yes: bool) -> None:
    """Remove the app NAME. Where several have that name, say the token instead."""
    found = find_app(place.people(), name, place)
    confirm(f"Remove the app {found.name} of {found.account}?", yes=yes)
    place.administer(lambda administration: administration.remove_app(found.token))
    say(f"App {found.name} of {found.account} has been removed.")


@app.command("rotate")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def rotate(place: Place, name: str, yes: bool) -> None:
    """Give the app NAME (or with that token) a new token, and print it. The old one is worth nothing then."""
    found = find_app(place.people(), name, place)
    confirm(f"Give the app {found.name} of {found.account} a new token?", yes=yes)
    changed = place.administer(lambda administration: administration.rotate_app_token(found.token))
    say(f"The new token of the app {changed.name} of {changed.account}:")
    tell(changed.token)
