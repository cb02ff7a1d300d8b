"""``ntfyish receipt``: emergencies, which are repeated until somebody acknowledges them.

The commands read the message database beside the server. They change it themselves if no server runs; a
running server, which alone may write to it, is asked over HTTP, with secrets that the database holds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click

from ntfyish.cli.place import Place, at_place
from ntfyish.cli.terminal import Failure, say, show_table, tell
from ntfyish.core.clock import SystemClock
from ntfyish.core.ports import Transition
from ntfyish.core.receipts import STREAM_DEVICE, acknowledging, cancelling
from ntfyish.model.line import decode
from ntfyish.model.receipt import Addressee, Receipt, State
from ntfyish.store.sqlite.database import connect_to_read
from ntfyish.store.sqlite.failures import DatabaseUnusable
from ntfyish.store.sqlite.messages import FILE_NAME, MessageDatabase
from ntfyish.store.sqlite.receipts import find_one, newest_receipts

_MOST = 1000
_TIMEOUT_S = 10

_server = click.option(
    "--server", default="", metavar="URL", help="Where the server answers.  [default: its listen-http]"
)


class _ServerRuns(Exception):
    """The database belongs to a running server."""


@click.group()
def receipt() -> None:
    """List, show, acknowledge and cancel emergencies."""


@receipt.command("list")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that are over.")
@at_place
def list_(place: Place, everything: bool) -> None:
    """List the receipts of pending emergencies, the newest first."""
    now = SystemClock().now()
    found = [one for one in _read(place, lambda raw: newest_receipts(raw, _MOST)) if now < one.purge_at]
    shown = [one for one in found if everything or one.state(now) is State.PENDING]
    show_table(
        ("Receipt", "State", "Sent", "Times", "Title"),
        [
            (one.id, one.state(now).name.lower(), _time(one.started_at), str(one.sends), _title(one))
            for one in shown
        ],
        empty="There are no receipts." if everything else "There are no pending emergencies.",
    )


@receipt.command("show")
@click.argument("receipt")
@at_place
def show(place: Place, receipt: str) -> None:
    """Show what has become of RECEIPT."""
    found, now = _find(place, receipt), SystemClock().now()
    names = _names(place)
    for name, value in (
        ("Receipt", found.id),
        ("State", found.state(now).name.lower()),
        ("Title", _title(found)),
        ("Sent", _time(found.started_at)),
        ("Last sent", _time(found.last_delivered_at)),
        ("Times", str(found.sends)),
        ("Every", f"{found.retry_s}s"),
        ("Expires", _time(found.expires_at)),
        ("To", " ".join(names.get(one.topic, one.topic) for one in found.addressees)),
        ("Tags", ",".join(found.tags)),
        ("Acknowledged", _time(found.acknowledged_at)),
        ("By", names.get(found.acknowledged_by, found.acknowledged_by)),
        ("Device", found.acknowledged_by_device),
        ("Called back", _time(found.called_back_at) if found.callback else ""),
    ):
        if value:
            tell(f"{name}: {value}")


@receipt.command("ack")
@click.argument("receipt")
@click.option("--user", default="", metavar="NAME", help="Account or topic for which; if there are several.")
@_server
@at_place
def ack(place: Place, receipt: str, user: str, server: str) -> None:
    """Acknowledge RECEIPT for one of those who got it, and so stop the repeats for all."""
    found = _find(place, receipt)
    names = _names(place)
    one = _choose(found, user, names)
    owner = one.topic if one.topic in names else ""
    transition = acknowledging(SystemClock().now(), owner, STREAM_DEVICE if owner else "")
    try:
        changed = _change(place, found, transition)
    except _ServerRuns:
        changed = _ask(place, server, f"/1/receipts/{found.id}/ack/{one.secret}", {})
    if not changed:
        raise Failure("it is too late to acknowledge that")
    say("It is acknowledged.")


@receipt.command("cancel")
@click.argument("receipt")
@_server
@at_place
def cancel(place: Place, receipt: str, server: str) -> None:
    """Cancel RECEIPT: stop the repeats."""
    found = _find(place, receipt)
    if found.state(SystemClock().now()) is not State.PENDING:
        raise Failure("that is not pending any more")
    try:
        _change(place, found, cancelling(SystemClock().now()))
    except _ServerRuns:
        _ask(place, server, f"/1/receipts/{found.id}/cancel.json", {"secret": found.secret})
    say("It is cancelled.")


def _read(place: Place, work: Callable[[sqlite3.Connection], Sequence[Receipt]]) -> Sequence[Receipt]:
    path = place.settings.data_dir / FILE_NAME
    if not path.is_file():
        raise Failure(f"there are no messages in {place.settings.data_dir}; say --data-dir or --config")
    try:
        connection = connect_to_read(path, place.settings.storage_busy_timeout_s)
        try:
            return work(connection)
        finally:
            connection.close()
    except DatabaseUnusable as error:
        raise Failure(str(error)) from error
    except sqlite3.Error as error:
        raise Failure(f"{path} cannot be read: {error}") from error


def _find(place: Place, id: str) -> Receipt:
    found = _read(place, lambda raw: find_one(raw, id))
    if not found or SystemClock().now() >= found[0].purge_at:
        raise Failure("there is no such receipt")
    return found[0]


def _names(place: Place) -> dict[str, str]:
    """Return the names of accounts by their user keys."""
    return {account.user_key: account.name for account in place.people().accounts}


def _choose(found: Receipt, user: str, names: dict[str, str]) -> Addressee:
    chosen = [one for one in found.addressees if user in ("", one.topic, names.get(one.topic))]
    if not chosen:
        raise Failure("they do not get this message" if user else "nobody gets this message")
    if len(chosen) > 1:
        who = ", ".join(names.get(one.topic, one.topic) for one in chosen)
        raise Failure(f"say for whom, with --user: {who}")
    return chosen[0]


def _change(place: Place, found: Receipt, transition: Callable[[Receipt], Transition | None]) -> bool:
    """Change the database, if no server runs; whether there was anything to change.

    Raises:
        _ServerRuns: it may not be written to.
    """

    async def work() -> bool:
        clock = SystemClock()
        async with MessageDatabase.open(
            place.settings.data_dir,
            clock,
            lambda published: None,
            busy_timeout_s=place.settings.storage_busy_timeout_s,
        ) as database:
            (changed,) = await database.receipts.change_receipts([found.id], transition)
            return changed is not None

    try:
        return asyncio.run(work())
    except DatabaseUnusable as error:
        raise _ServerRuns from error


def _ask(place: Place, server: str, path: str, fields: dict[str, str]) -> bool:
    """Post to the running server; whether it agrees."""
    listen = place.settings.listen_http
    base = server.rstrip("/") or (listen.url() if listen is not None else place.url)
    request = urllib.request.Request(base + path, data=urllib.parse.urlencode(fields).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500:
            return False
        raise Failure(f"the server at {base} answered with {error.code}") from None
    except (OSError, ValueError) as error:
        raise Failure(f"the server cannot be reached at {base}; say --server ({error})") from None


def _title(found: Receipt) -> str:
    if not found.line:
        return ""
    content = decode(found.line).content
    return content.title or content.message.partition("\n")[0][:60]


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}" if at else ""
