"""``ntfyish subscription``: pages on which people let an app write to them."""

from __future__ import annotations

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.core.subscriptions import Subscriptions


@click.group()
def subscription() -> None:
    """Add, list and remove pages on which people subscribe to an app."""


@subscription.command("add")
@click.argument("app")
@click.option("--code", default="", metavar="CODE", help="What names it.  [default: a random one]")
@at_place
def add(place: Place, app: str, code: str) -> None:
    """Let people subscribe to APP (a name or token), and print the address of the page."""
    apps = place.people().apps
    found = [one for one in apps if one.token == app] or [one for one in apps if one.name == app]
    if not found:
        raise Failure(f"there is no such app in {place.settings.data_dir}")
    if len(found) > 1:
        raise Failure(f"there are {len(found)} apps of that name; say the token instead")
    made = place.run(lambda store: Subscriptions(store).add(found[0], code=code))
    say(f"People can subscribe to {found[0].name} at:")
    tell(f"{place.url}/subscribe/{made.code}")


@subscription.command("list")
@at_place
def list_(place: Place) -> None:
    """List the subscriptions and how many have subscribed."""
    people = place.people()
    names = {app.token: app.name for app in people.apps}
    show_table(
        ("Code", "App", "Subscribers", "From"),
        [
            (
                one.code,
                names[one.app],
                str(sum(subscriber.code == one.code for subscriber in people.subscribers)),
                "configuration" if one.declared else "database",
            )
            for one in people.subscriptions
        ],
        empty="There are no subscriptions.",
    )


@subscription.command("remove")
@click.argument("code")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, code: str, yes: bool) -> None:
    """Remove the subscription CODE. The keys of its subscribers are worth nothing from then on."""
    confirm(f"Remove the subscription {code}?", yes=yes)
    place.run(lambda store: Subscriptions(store).remove(code))
    say(f"Subscription {code} has been removed.")
