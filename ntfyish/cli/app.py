"""``ntfyish app``: what publishes with a token."""

from __future__ import annotations

import click

from ntfyish.cli.account import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, masked, say, show_table
from ntfyish.core.ports import PeopleStore
from ntfyish.model.people import KEY_PATTERN, Account, App, AppToken, Flavour, new_key

_LONGEST_NAME = 250


@click.group()
def app() -> None:
    """Add, remove and list apps, which publish with a token."""


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

    async def store(people: PeopleStore) -> tuple[App, Account]:
        known = await people.load()
        owner = find_account(known, account, place)
        if any(other.token == token for other in known.apps):
            raise Failure("this token is taken")
        made = App(
            token=AppToken(token or new_key("a")),
            name=name,
            account=owner.name,
            flavour=Flavour(flavour),
            monthly_limit=monthly_limit,
        )
        await people.add_app(made)
        return made, owner

    made, owner = place.run(store, create=True)
    say(f"App {name} of {owner.name} has been added. Its token:")
    click.echo(made.token)
    say(
        f"Try it: curl -d token={made.token} -d user={owner.user_key} -d message=Hello"
        f" {place.url}/1/messages.json"
    )


@app.command("list")
@click.option("--show-tokens", is_flag=True, help="Show the tokens in full.")
@at_place
def list_(place: Place, show_tokens: bool) -> None:
    """List the apps."""
    people = place.run(lambda people: people.load())
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
    people = place.run(lambda people: people.load())
    found = [app for app in people.apps if app.token == name] or [
        app for app in people.apps if app.name == name
    ]
    if not found:
        raise Failure(f"there is no such app in {place.settings.data_dir}")
    if len(found) > 1:
        raise Failure(f"there are {len(found)} apps of that name; say the token instead")
    [app] = found
    if app.declared:
        raise Failure(f"the app {app.name} is declared in the configuration; remove it there")
    confirm(f"Remove the app {app.name} of {app.account}?", yes=yes)
    place.run(lambda people: people.remove_app(app.token))
    say(f"App {app.name} of {app.account} has been removed.")
