"""``ntfyish publish``: send one message from the command line or a script.

Options and their meaning are those of ntfy's command line. Exit codes: 0 published, 1 refused by the
server, 2 called wrongly, 3 not reachable or busy (worth another try).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
import orjson

from ntfyish.address import parse_address
from ntfyish.cli.terminal import Failure
from ntfyish.client import Client, Refused, Unreachable

DEFAULT_SERVER = "http://127.0.0.1:8080"
STDIN_LIMIT_BYTES = 1024 * 1024

PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}

Command = TypeVar("Command", bound=Callable[..., Any])


class NotReachable(Failure):
    """As `Failure`, but it may work later: the exit code is 3."""

    exit_code = 3


def connection_options(command: Command) -> Command:
    """Add ``--server``, ``--user`` and ``--token`` to a command."""
    for option in (
        click.option(
            "--token", "-k", envvar="NTFYISH_TOKEN", default="", metavar="TOKEN", help="Access token."
        ),
        click.option(
            "--user",
            "-u",
            envvar="NTFYISH_USER",
            default="",
            metavar="USER[:PASS]",
            help="User name and password; asks for the password if it is left out.",
        ),
        click.option(
            "--server",
            envvar="NTFYISH_SERVER",
            default=DEFAULT_SERVER,
            show_default=True,
            metavar="URL",
            help="Where a topic without a host is.",
        ),
    ):
        command = option(command)
    return command


def address_and_words(words: tuple[str, ...], server: str) -> tuple[str, str, str]:
    """Return (base URL, topics, the other words joined) from the arguments of a command.

    If NTFYISH_TOPIC names the topic, every argument belongs to the rest.
    """
    if topic := os.environ.get("NTFYISH_TOPIC"):
        words = (topic, *words)
    if not words:
        raise click.UsageError("Missing the topic.")
    try:
        base_url, topics = parse_address(words[0], server)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return base_url, topics, " ".join(words[1:])


def make_client(base_url: str, user: str, token: str) -> Client:
    """Return a client for the options of `connection_options`."""
    name, colon, password = user.partition(":")
    if name and not colon:
        if not sys.stdin.isatty():
            raise click.UsageError("Missing the password: --user NAME:PASSWORD, or NTFYISH_USER.")
        password = click.prompt(f"Password of {name}", hide_input=True, err=True)
    try:
        return Client(base_url, token=token, user=name, password=password)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def run_to_exit(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; turn what the client raises into one line and an exit code."""
    try:
        asyncio.run(work)
    except Refused as error:
        raise Failure(str(error)) from None
    except Unreachable as error:
        raise NotReachable(str(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def parse_priority(context: click.Context, parameter: click.Parameter, text: str) -> int:
    """Return 1 to 5 for a number or a name in any case; 0 for ""."""
    word = text.strip().lower()
    if word in PRIORITIES:
        return PRIORITIES[word]
    if word in ("", "1", "2", "3", "4", "5"):
        return int(word or 0)
    raise click.BadParameter(f"use 1 to 5, or one of {', '.join(PRIORITIES)}")


def message_from_stdin() -> str:
    """Return what is piped in, without the newline at its end; "" if standard input is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    data = sys.stdin.buffer.read(STDIN_LIMIT_BYTES + 1)
    if len(data) > STDIN_LIMIT_BYTES:
        raise click.UsageError(f"The message is longer than {STDIN_LIMIT_BYTES} bytes.")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError("The message is not UTF-8 text.") from None


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """Return an option that is also read from NTFYISH_ and its long name."""
    variable = "NTFYISH_" + names[0].removeprefix("--").upper().replace("-", "_")
    return click.option(*names, envvar=variable, **{"default": "", **settings})


@click.command()
@click.argument("words", nargs=-1, metavar="TOPIC [MESSAGE]...")
@_option("--title", "-t", help="Title.")
@_option("--message", "-m", help="Message; else the words after the topic, else standard input.")
@_option("--priority", "-p", callback=parse_priority, help="1 (min) to 5 (max), or a name.")
@_option("--tags", "-T", help="Tags and emojis, separated by commas.")
@_option("--delay", "-D", "--at", "--in", "delay", help="When to deliver: 30m, 8am, tomorrow, a Unix time.")
@_option("--click", "-U", "click_url", help="URL that opens when the notification is clicked.")
@_option("--icon", "-i", help="URL of an icon.")
@_option("--actions", "-A", help="Buttons, in ntfy's short form or as JSON.")
@_option("--attach", "-a", help="URL of an attachment.")
@_option("--sequence-id", help="Messages with the same one replace each other.")
@_option("--markdown", "--md", "markdown", is_flag=True, default=False, help="The message is Markdown.")
@_option("--no-cache", "-C", is_flag=True, default=False, help="Only for those who listen now.")
@_option("--quiet", "-q", is_flag=True, default=False, help="Do not print the published message.")
@connection_options
def publish(
    words: tuple[str, ...],
    title: str,
    message: str,
    priority: int,
    tags: str,
    delay: str,
    click_url: str,
    icon: str,
    actions: str,
    attach: str,
    sequence_id: str,
    markdown: bool,
    no_cache: bool,
    quiet: bool,
    server: str,
    user: str,
    token: str,
) -> None:
    r"""Publish a message to TOPIC.

    TOPIC is a topic at --server, host/topic (by https), or a whole URL; if NTFYISH_TOPIC is set, it is
    left out. Each option can also come from the environment: NTFYISH_TITLE, NTFYISH_PRIORITY, ...

    \b
    Examples:
      ntfyish publish alerts Disk full
      ntfyish publish -t Backup -p high -T warning https://push.example/alerts "It failed"
      df -h | ntfyish publish alerts
    """
    base_url, topic, text = address_and_words(words, server)
    message = message or text or message_from_stdin()
    client = make_client(base_url, user, token)

    async def work() -> None:
        async with client:
            published = await client.publish(
                topic,
                message,
                title=title,
                priority=priority,
                tags=[tag for tag in tags.split(",") if tag],
                click=click_url,
                icon=icon,
                attach=attach,
                actions=actions,
                delay=delay,
                markdown=markdown,
                cache=not no_cache,
                sequence_id=sequence_id,
            )
        if not quiet:
            sys.stdout.buffer.write(orjson.dumps(published) + b"\n")
            sys.stdout.buffer.flush()

    run_to_exit(work())
