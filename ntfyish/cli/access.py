"""``ntfyish access``: ntfy's command for who may read and write which topics, with its output."""

from __future__ import annotations

import click

from ntfyish.cli.people import EVERYONE_WORDS, find_account
from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, examples, show_table, tell
from ntfyish.core.administration import Administration
from ntfyish.core.ports import People
from ntfyish.model.acl import EVERYONE, PATTERN, AclEntry, TopicAccess, parse_access
from ntfyish.model.errors import Invalid
from ntfyish.model.people import Account, Role

_WORDS = {
    TopicAccess.READ_WRITE: "read-write access to",
    TopicAccess.READ_ONLY: "read-only access to",
    TopicAccess.WRITE_ONLY: "write-only access to",
    TopicAccess.DENY_ALL: "no access to",
}


_EXAMPLES = examples(
    "ntfyish access                          # shows all",
    "ntfyish access phil                     # shows phil's",
    "ntfyish access phil 'alerts-*' rw",
    "ntfyish access everyone announcements ro",
    "ntfyish access --reset phil alerts-fire # forgets that entry",
    "ntfyish access --reset phil             # forgets all of phil's",
    "ntfyish access --reset                  # forgets all",
)


@click.command(epilog=_EXAMPLES)
@click.argument("username", default="")
@click.argument("topic", default="")
@click.argument("permission", default="")
@click.option(
    "-r", "--reset", is_flag=True, help="Forget the entries of the account (and the topic), or all."
)
@at_place
def access(place: Place, username: str, topic: str, permission: str, reset: bool) -> None:
    """Show, grant and revoke access to topics. After ntfy's command of this name.

    USERNAME is an account, or everyone (*) for everybody without an entry of their own. TOPIC is a topic or
    a pattern, with * for any run of characters. PERMISSION is one of read-write (rw), read-only (read, ro),
    write-only (write, wo), deny (deny-all, none).

    An account's own entries come before everyone's, and of each the longest pattern decides; what nobody has
    an entry for is up to auth-default-access.
    """
    about = EVERYONE if username in EVERYONE_WORDS else username
    if topic and PATTERN.fullmatch(topic) is None:
        raise Failure("a topic or pattern must be 1 to 64 of A-Z a-z 0-9 _ - and *")
    if reset:
        if permission:
            raise click.UsageError("--reset takes no permission")
        _reset(place, about, topic)
    elif topic:
        if not permission:
            raise click.UsageError(
                "say the permission, too: read-write, read-only, write-only or deny; or --reset"
            )
        _grant(place, about, topic, permission)
    else:
        _show(place, about)


def _show(place: Place, about: str) -> None:
    people = place.people()
    if about and about != EVERYONE:
        find_account(people, about, place)
    show_access(people, place.settings.auth_default_access, about)


def _grant(place: Place, about: str, topic: str, permission: str) -> None:
    try:
        allowed = parse_access(permission)
    except Invalid:
        raise Failure(
            "the permission must be one of read-write, read-only, write-only or deny"
            " (or rw, read, ro, write, wo, none)"
        ) from None
    people = place.people()
    if about != EVERYONE and find_account(people, about, place).role is Role.ADMIN:
        raise Failure(f"{about} is an administrator, and may do everything")
    _refuse_declared(place, people, about, topic)
    place.administer(lambda administration: administration.grant_access(about, topic, allowed))
    if allowed is TopicAccess.DENY_ALL:
        tell(f"revoked all access to topic {topic}")
    else:
        tell(f"granted {allowed.value} access to topic {topic}")
    tell()
    _show(place, about)


def _reset(place: Place, about: str, topic: str) -> None:
    people = place.people()
    if about and about != EVERYONE:
        find_account(people, about, place)
    if topic:
        _refuse_declared(place, people, about, topic)
        if not _entries(people, about, topic):
            raise Failure(f"{about} has no entry for the topic {topic}")

    async def reset(administration: Administration) -> None:
        await administration.reset_access(about or None, topic or None)

    place.administer(reset)
    if not about:
        tell("reset access for all users")
        return
    tell(f"reset access for user {about}" + (f" and topic {topic}" if topic else ""))
    tell()
    _show(place, about)


def _entries(people: People, about: str, topic: str = "") -> list[AclEntry]:
    found = [entry for entry in people.access if entry.account == about and topic in ("", entry.pattern)]
    return sorted(found, key=lambda entry: (-len(entry.pattern), entry.pattern))


def _refuse_declared(place: Place, people: People, about: str, topic: str) -> None:
    if any(entry.declared for entry in _entries(people, about, topic)):
        raise place.declared(f"the access of {about} to {topic}")


def show_access(people: People, default: str, about: str = "") -> None:
    """Show who may do what: as ntfy prints it, and as a table on a terminal.

    Args:
        default: auth-default-access.
        about: the account, or everyone (``*``); "" for all.
    """
    accounts = sorted(people.accounts, key=lambda account: (account.role is not Role.ADMIN, account.name))
    plain: list[str] = []
    rows: list[tuple[str, str, str, str]] = []
    for account in accounts:
        if about in ("", account.name):
            origin = ", server config" if account.declared else ""
            head = f"user {account.name} (role: {account.role.value}, tier: {account.tier or 'none'}{origin})"
            _add(plain, rows, head, (account.name, account.role.value, account.tier), _lines(people, account))
    if about in ("", EVERYONE):
        lines = _entry_lines(people, EVERYONE)
        other = "any" if default == TopicAccess.DENY_ALL.value else "all"
        lines.append(f"{_WORDS[TopicAccess(default)]} {other} (other) topics (server config)")
        head = "user * (role: anonymous, tier: none)"
        _add(plain, rows, head, (EVERYONE, Role.ANONYMOUS.value, ""), lines)
    show_table(("User", "Role", "Tier", "Access"), rows, empty="", plain=plain)


def _add(
    plain: list[str],
    rows: list[tuple[str, str, str, str]],
    head: str,
    who: tuple[str, str, str],
    lines: list[str],
) -> None:
    plain.append(head)
    plain.extend(f"- {line}" for line in lines)
    rows.append((*who, lines[0]))
    rows.extend(("", "", "", line) for line in lines[1:])


def _lines(people: People, account: Account) -> list[str]:
    if account.role is Role.ADMIN:
        return ["read-write access to all topics (admin role)"]
    return _entry_lines(people, account.name)


def _entry_lines(people: People, about: str) -> list[str]:
    return [
        f"{_WORDS[entry.access]} topic {entry.pattern}{' (server config)' if entry.declared else ''}"
        for entry in _entries(people, about)
    ] or ["no topic-specific permissions"]
