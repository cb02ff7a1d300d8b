"""``ntfyish device``: the devices of accounts and topics, Open Clients and those that are pushed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import click

from ntfyish.cli.people import find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, confirm, say, show_table, tell
from ntfyish.core.clock import SystemClock
from ntfyish.core.ports import People, PeopleStore, Remove
from ntfyish.core.pushes.registration import check_topics, register_push_device
from ntfyish.model.errors import Invalid, LimitReached
from ntfyish.model.people import DEVICE_PATTERN, Account
from ntfyish.model.push import (
    APNS_TOKEN_PATTERN,
    BUNDLE_ID_PATTERN,
    PushDevice,
    PushKind,
    new_push_device_id,
)
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings import find_sandbox

_COLUMNS = ("Account", "Device", "Kind", "App", "Topics", "Registered", "State", "From")


@click.group()
def device() -> None:
    """Add, list and remove devices: Open Clients, which fetch an account's messages, and those pushed to."""


@device.command("list")
@click.option("--account", default="", help="Only those of this account.")
@at_place
def list_(place: Place, account: str) -> None:
    """List the devices.

    Both those that have registered, and those that the configuration names. One that is pushed to and has no
    name is listed by its id.
    """
    people = place.people()
    if account:
        find_account(people, account, place)
    rows = sorted([*_client_rows(people), *map(_push_row, people.push_devices)])
    shown = [row for row in rows if account in ("", row[0])]
    show_table(_COLUMNS, shown, empty="There are no devices.")


@device.command("add")
@click.option("--account", default="", metavar="NAME", help="Whose device it is.  [default: nobody's]")
@click.option("--name", default="", metavar="NAME", help="Its name among the account's devices.")
@click.option("--apns", required=True, metavar="TOKEN", help="Apple's token of the device, in hex.")
@click.option("--bundle-id", required=True, metavar="ID", help="The app, one of `apns` in the configuration.")
@click.option("--sandbox", is_flag=True, help="The token is of the sandbox.  [default: as configured]")
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Push its messages, too; repeatable.")
@click.option("--force", is_flag=True, help="Remove the device that has the name.")
@at_place
def add(
    place: Place,
    account: str,
    name: str,
    apns: str,
    bundle_id: str,
    sandbox: bool,
    topics: tuple[str, ...],
    force: bool,
) -> None:
    """Add a device that is pushed to, and print its id. Apps can register themselves over the API.

    With --account and --name it gets what is sent to the account. A device of no account gets only the
    messages of its topics, as long as everybody may read them.
    """
    wanted = PushDevice(
        id=new_push_device_id(),
        kind=PushKind.APNS,
        account=account,
        name=name,
        topics=tuple(dict.fromkeys(topics)),
        token=apns.strip().lower(),
        bundle_id=bundle_id,
        sandbox=_find_sandbox(place, bundle_id, True if sandbox else None),
        registered_at=int(SystemClock().now()),
    )
    _check(wanted, DISALLOWED | frozenset(place.settings.disallowed_topics))
    people = place.run(lambda store: store.load(), create=True)
    owner = find_account(people, account, place).name if account else "nobody"

    async def register(store: PeopleStore) -> PushDevice:
        while True:
            added = await register_push_device(store, await store.load(), wanted, force=force)
            if added is not None:
                return added

    added = place.run(register)
    say(f"The device {name or added.id} of {owner} has been added. Its id:")
    tell(added.id)


@device.command("remove")
@click.option("--account", default="", help="Whose device; needed if there are several accounts.")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@at_place
def remove(place: Place, account: str, name: str, yes: bool) -> None:
    """Remove a device, by its name or its id.

    Only those that are pushed to have an id. An Open Client is logged out, and what waits for it is not
    delivered any more. One that the configuration names can register again.
    """
    people = place.people()
    if (pushed := _find_pushed(people, "id", account, name)) is not None:
        _remove_pushed(place, pushed, yes=yes)
        return
    owner = find_account(people, account, place)
    if (pushed := _find_pushed(people, "name", owner.name, name)) is not None:
        _remove_pushed(place, pushed, yes=yes)
    else:
        _remove_client(place, people, owner, name, yes=yes)


def _find_pushed(people: People, field: Literal["id", "name"], account: str, value: str) -> PushDevice | None:
    """Return the device with that id or name, of that account or, if that is "", of any."""
    for device in people.push_devices:
        if value and getattr(device, field) == value and account in ("", device.account):
            return device
    return None


def _remove_pushed(place: Place, device: PushDevice, *, yes: bool) -> None:
    called = f"the device {device.name or device.id} of {device.account or 'nobody'}"
    if device.declared:
        raise place.declared(called)
    confirm(f"Remove {called}?", yes=yes)
    place.run(lambda store: store.apply(Remove(PushDevice, device.id)))
    say(f"T{called[1:]} has been removed.")


def _remove_client(place: Place, people: People, owner: Account, name: str, *, yes: bool) -> None:
    if all((one.account, one.name) != (owner.name, name) for one in people.devices):
        if name in owner.devices:
            raise place.declared(f"the device {name}")
        raise Failure(f"{owner.name} has no device {name}")
    confirm(f"Remove the device {name} of {owner.name}?", yes=yes)
    place.administer(lambda administration: administration.remove_device(owner.name, name))
    say(f"The device {name} of {owner.name} has been removed.")


def _client_rows(people: People) -> Iterator[tuple[str, ...]]:
    registered = {(one.account, one.name): one for one in people.devices}
    declared = {(one.name, name) for one in people.accounts for name in one.devices}
    for owner, name in {*registered, *declared}:
        known = registered.get((owner, name))
        when = "never" if known is None else _day(known.created_at)
        yield owner, name, "client", "", "", when, "", _source((owner, name) in declared)


def _push_row(device: PushDevice) -> tuple[str, ...]:
    return (
        device.account,
        device.name or device.id,
        device.kind.value,
        f"{device.bundle_id} (sandbox)" if device.sandbox else device.bundle_id,
        ",".join(device.topics),
        _day(device.registered_at),
        f"dead: {device.dead_reason}" if device.dead_at else "",
        _source(device.declared),
    )


def _source(is_declared: bool) -> str:
    return "configuration" if is_declared else "database"


def _day(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d}"


def _find_sandbox(place: Place, bundle_id: str, asked: bool | None) -> bool:
    if not BUNDLE_ID_PATTERN.fullmatch(bundle_id):
        raise Failure("a bundle id is letters, digits, dots and hyphens")
    sandbox = find_sandbox(place.settings.apns, bundle_id, asked)
    if sandbox is None:
        where = f" in {place.config_file}" if place.config_file else "; say --config"
        raise Failure(f"apns has no app {bundle_id}{' in the sandbox' if asked else ''}{where}")
    return sandbox


def _check(wanted: PushDevice, disallowed: frozenset[str]) -> None:
    """Refuse what cannot be a device, in words of one line."""
    faults: Mapping[str, bool] = {
        "a token is hex digits, 16 to 200 of them": not APNS_TOKEN_PATTERN.fullmatch(wanted.token),
        "a name is 1 to 25 of A-Z a-z 0-9 _ -": bool(wanted.name)
        and not DEVICE_PATTERN.fullmatch(wanted.name),
        "a device with a name needs --account": bool(wanted.name) and not wanted.account,
        "a device without a name needs --topic": not wanted.name and not wanted.topics,
    }
    for words, holds in faults.items():
        if holds:
            raise Failure(words)
    try:
        check_topics(wanted.topics, disallowed)
    except (Invalid, LimitReached) as error:
        raise Failure(error.detail) from None
