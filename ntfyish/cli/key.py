"""``ntfyish key``: keys of 30 characters that make a topic addressable by Pushover clients."""

from __future__ import annotations

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.model.people import KEY_PATTERN
from ntfyish.model.topic import DISALLOWED, is_topic


@click.group()
def key() -> None:
    """Add, remove and list keys with which Pushover clients write to a topic."""


@key.command("add")
@click.option("--topic", required=True, help="The topic that it writes to.")
@click.argument("key", required=False)
@at_place
def add(place: Place, topic: str, key: str | None) -> None:
    """Add KEY (30 letters and digits; a random one if it is left out), and print it."""
    if not is_topic(topic):
        raise Failure("a topic must be 1 to 64 of A-Z a-z 0-9 _ -")
    if topic in DISALLOWED or topic in place.settings.disallowed_topics:
        raise Failure(f"{topic} is not allowed as a topic")
    if key is not None and KEY_PATTERN.fullmatch(key) is None:
        raise Failure("a key must be 30 letters and digits")
    people = place.run(lambda store: store.load(), create=True)
    taken: set[str] = {account.user_key for account in people.accounts}
    taken |= {other.key for other in people.keys} | {group.key for group in people.groups}
    if key in taken:
        raise Failure("this key is taken")
    made = place.administer(lambda administration: administration.add_key(topic, key=key or ""))
    say(f"A key for the topic {topic} has been added:")
    tell(made.key)
    say(f"Pushover clients write to the topic with user={made.key}.")


@key.command("list")
@at_place
def list_(place: Place) -> None:
    """List the keys."""
    people = place.people()
    show_table(
        ("Topic", "Key", "From"),
        [
            (key.topic, key.key, "configuration" if key.declared else "database")
            for key in sorted(people.keys, key=lambda key: (key.topic, key.key))
        ],
        empty="There are no keys.",
    )


@key.command("remove")
@click.argument("key")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, key: str, yes: bool) -> None:
    """Remove KEY. The topic and its messages stay."""
    people = place.people()
    found = next((other for other in people.keys if other.key == key), None)
    if found is None:
        raise Failure(f"there is no such key in {place.settings.data_dir}")
    if found.declared:
        raise place.declared(f"this key of the topic {found.topic}")
    confirm(f"Remove this key of the topic {found.topic}?", yes=yes)
    place.administer(lambda administration: administration.remove_key(key))
    say(f"A key of the topic {found.topic} has been removed.")
