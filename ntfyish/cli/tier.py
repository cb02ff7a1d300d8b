"""``ntfyish tier``: named sets of limits; ntfy's command, with its flags and output, without billing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Aliased, Failure, examples, say, show_table, tell
from ntfyish.core.administration import Administration
from ntfyish.core.ports import People
from ntfyish.model.durations import format_duration, format_size, parse_duration, parse_size
from ntfyish.model.errors import Invalid
from ntfyish.model.people import Tier

_ALIASES = {"a": "add", "ch": "change", "del": "remove", "rm": "remove", "l": "list"}
_LONGEST_NAME = 100


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise click.BadParameter(f"{text!r} is not a number from 0 on")
    return int(text)


def _duration(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except Invalid:
        seconds = -1.0
    if seconds < 0:
        raise click.BadParameter(f"{text!r} is not a duration like 12h or 30d")
    return int(seconds)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except Invalid:
        raise click.BadParameter(f"{text!r} is not a size like 15M or 1G") from None


# flag: attribute of `Tier`, type, what a new tier has, help
_METAVARS = {_count: "N", _duration: "DURATION", _size: "SIZE"}
_FLAGS: tuple[tuple[str, str, Any, str, str], ...] = (
    ("--message-limit", "message_limit", _count, "5000", "Messages a day."),
    ("--message-expiry-duration", "message_expiry_s", _duration, "12h", "How long messages are kept."),
    ("--email-limit", "email_limit", _count, "20", "Emails a day."),
    ("--call-limit", "call_limit", _count, "0", "Phone calls a day."),
    ("--reservation-limit", "reservation_limit", _count, "3", "Reserved topics."),
    ("--attachment-file-size-limit", "attachment_file_size_bytes", _size, "15M", "Size of an attachment."),
    (
        "--attachment-total-size-limit",
        "attachment_total_size_bytes",
        _size,
        "100M",
        "Size of all attachments.",
    ),
    ("--attachment-expiry-duration", "attachment_expiry_s", _duration, "6h", "How long they are kept."),
    ("--attachment-bandwidth-limit", "attachment_bandwidth_bytes", _size, "1G", "Their bytes a day."),
)


def _limit_flags(*, new: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ntfy's flags; without defaults where a tier is changed."""

    def add_flags(command: Callable[..., Any]) -> Callable[..., Any]:
        # There is no billing here; ntfy's scripts work all the same.
        for flag in ("--stripe-monthly-price-id", "--stripe-yearly-price-id"):
            command = click.option(flag, hidden=True)(command)
        for flag, attribute, kind, default, words in reversed(_FLAGS):
            command = click.option(
                flag,
                attribute,
                type=kind,
                metavar=_METAVARS[kind],
                default=default if new else None,
                help=f"{words}  [default: {default}]" if new else words,
            )(command)
        return click.option("--name", help="What people see.  [default: the code]" if new else None)(command)

    return add_flags


_EXAMPLES = examples(
    "ntfyish tier add --name=Pro --message-limit=10000 --reservation-limit=10 pro",
    "ntfyish tier change --message-expiry-duration=7d pro",
    "ntfyish user change-tier phil pro",
)


@click.group(cls=Aliased, aliases=_ALIASES, epilog=_EXAMPLES)
def tier() -> None:
    """Manage tiers: named sets of limits, of which an account has one. After ntfy's command of this name.

    A limit of 0 is the server's own setting. `ntfyish user change-tier` gives an account its tier.
    """


@tier.command("add")
@click.argument("code")
@_limit_flags(new=True)
@click.option("-i", "--ignore-exists", is_flag=True, help="Do nothing if there is such a tier.")
@at_place
def add(place: Place, code: str, name: str | None, ignore_exists: bool, **values: Any) -> None:
    """Add a tier. (Alias: a)"""
    people = place.run(lambda store: store.load(), create=True)
    if _find(people, code) is not None:
        if not ignore_exists:
            raise Failure(f"there is a tier {code} already")
        tell(f"tier {code} already exists (exited successfully)")
        return
    made = Tier(code=code, name=_name(name or code), **_limits(values))
    place.administer(lambda administration: administration.add_tier(made))
    tell("tier added")
    tell()
    _print(made)


@tier.command("change")
@click.argument("code")
@_limit_flags(new=False)
@at_place
def change(place: Place, code: str, name: str | None, **values: Any) -> None:
    """Change some limits of a tier. (Alias: ch)"""
    known = _get(place, code)
    wanted: dict[str, Any] = {key: value for key, value in _limits(values).items() if value is not None}
    if name is not None:
        wanted["name"] = _name(name)
    changed = dataclasses.replace(known, **wanted)

    async def apply(administration: Administration) -> None:
        await administration.change_tier_limits(changed)

    place.administer(apply)
    tell("tier updated")
    tell()
    _print(changed)


@tier.command("remove")
@click.argument("code")
@at_place
def remove(place: Place, code: str) -> None:
    """Remove a tier; its accounts have none then. (Aliases: del, rm)"""
    _get(place, code)
    place.administer(lambda administration: administration.remove_tier(code))
    tell(f"tier {code} removed")


@tier.command("list")
@at_place
def list_(place: Place) -> None:
    """List the tiers with their limits. (Alias: l)"""
    people = place.people()
    tiers = sorted(people.tiers, key=lambda tier: tier.code)
    show_table(
        ("Code", "Name", "Messages", "Reservations", "Attachment", "All attachments", "Accounts"),
        [
            (
                tier.code,
                tier.name,
                f"{tier.message_limit} a day, kept {format_duration(tier.message_expiry_s)}",
                str(tier.reservation_limit),
                f"{format_size(tier.attachment_file_size_bytes)}, kept"
                f" {format_duration(tier.attachment_expiry_s)}",
                f"{format_size(tier.attachment_total_size_bytes)},"
                f" {format_size(tier.attachment_bandwidth_bytes)} a day",
                str(sum(account.tier == tier.code for account in people.accounts)),
            )
            for tier in tiers
        ],
        empty="There are no tiers.",
        plain=[line for tier in tiers for line in _lines(tier)],
    )


def _find(people: People, code: str) -> Tier | None:
    return next((tier for tier in people.tiers if tier.code == code), None)


def _get(place: Place, code: str) -> Tier:
    found = _find(place.people(), code)
    if found is None:
        raise Failure(f"there is no tier {code}")
    return found


def _limits(values: dict[str, Any]) -> dict[str, Any]:
    stripe = [name for name in ("stripe_monthly_price_id", "stripe_yearly_price_id") if values.pop(name)]
    if stripe:
        say("There is no billing: --stripe-monthly-price-id and --stripe-yearly-price-id change nothing.")
    return values


def _name(name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Failure(f"a name must be 1 to {_LONGEST_NAME} printable characters")
    return name


def _print(tier: Tier) -> None:
    for line in _lines(tier):
        tell(line)


def _lines(tier: Tier) -> list[str]:
    return [
        f"tier {tier.code} (id: {tier.code})",
        f"- Name: {tier.name}",
        f"- Message limit: {tier.message_limit}",
        f"- Message expiry duration: {_go_duration(tier.message_expiry_s)}",
        f"- Email limit: {tier.email_limit}",
        f"- Phone call limit: {tier.call_limit}",
        f"- Reservation limit: {tier.reservation_limit}",
        f"- Attachment file size limit: {_human(tier.attachment_file_size_bytes)}",
        f"- Attachment total size limit: {_human(tier.attachment_total_size_bytes)}",
        f"- Attachment expiry duration: {_go_duration(tier.attachment_expiry_s)}",
        f"- Attachment daily bandwidth limit: {_human(tier.attachment_bandwidth_bytes)}",
    ]


def _go_duration(seconds: int) -> str:
    """Return a duration as Go, and so ntfy, prints it: ``12h0m0s (43200 seconds)``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
    return f"{text} ({seconds} seconds)"


def _human(size_bytes: int) -> str:
    """Return a size as ntfy prints it: ``15.0 MB``, in powers of 1024."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    unit = -1
    while size >= 1024 and unit < 5:
        size /= 1024
        unit += 1
    return f"{size:.1f} {'KMGTPE'[unit]}B"
