"""``ntfyish subscribe``: show messages as they come, or run a command for each.

Broken connections are resumed without loss (`ntfyish.client`). Exit codes: 0 ended by a signal, by the
reader of its output, or after a poll; 1 refused; 2 called wrongly; 3 a poll could not reach the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import unicodedata
from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any

import click
import orjson

from ntfyish.cli.publish import (
    address_and_words,
    connection_options,
    make_client,
    run_to_exit,
)
from ntfyish.client import Client
from ntfyish.resume import MessageJson

SHELL = "/bin/sh"
# Linux takes at most 128 KiB for one variable; beyond that the command could not start at all.
LONGEST_VARIABLE_BYTES = 120_000
PRIORITY_WORDS = {1: "min", 2: "low", 4: "high", 5: "max"}

# The names of ntfy's command line.
_VARIABLES = {
    "id": ("NTFY_ID", "id"),
    "time": ("NTFY_TIME", "time"),
    "topic": ("NTFY_TOPIC", "topic"),
    "message": ("NTFY_MESSAGE", "message", "m"),
    "title": ("NTFY_TITLE", "title", "t"),
    "priority": ("NTFY_PRIORITY", "priority", "prio", "p"),
    "tags": ("NTFY_TAGS", "tags", "tag", "ta"),
}
_RAW_VARIABLES = ("NTFY_RAW", "raw")


@click.command()
@click.argument("words", nargs=-1, metavar="TOPIC[,TOPIC]... [COMMAND]")
@click.option(
    "--since",
    "-s",
    envvar="NTFYISH_SINCE",
    default="",
    help="Begin with what is cached: since a duration (10m), a message id, a Unix time, or all.",
)
@click.option("--poll", "-p", is_flag=True, envvar="NTFYISH_POLL", help="Show what is cached, and end.")
@click.option(
    "--scheduled", "-S", is_flag=True, envvar="NTFYISH_SCHEDULED", help="Show what is pending, too."
)
@connection_options
def subscribe(
    words: tuple[str, ...], since: str, poll: bool, scheduled: bool, server: str, user: str, token: str
) -> None:
    r"""Show the messages of TOPIC, or run COMMAND for each of them.

    TOPIC is a topic at --server, host/topic (by https), or a whole URL; if NTFYISH_TOPIC is set, it is
    left out. Output is JSON, one message a line, unless it goes to a terminal.

    COMMAND is run by the shell. It finds the message in its environment: NTFY_ID, NTFY_TIME, NTFY_TOPIC,
    NTFY_TITLE, NTFY_MESSAGE, NTFY_PRIORITY, NTFY_TAGS, and all of it as JSON in NTFY_RAW. Quote them as
    "$NTFY_MESSAGE", and never hand them to eval.

    \b
    Examples:
      ntfyish subscribe alerts
      ntfyish subscribe -p -s 1h alerts,backups | jq -r .message
      ntfyish subscribe alerts 'notify-send -- "$NTFY_TITLE" "$NTFY_MESSAGE"'
    """
    base_url, topics, command = address_and_words(words, server)
    client = make_client(base_url, user, token)
    options = {"since": since, "poll": poll, "scheduled": scheduled}
    run_to_exit(_until_signal(client, topics, options, command))


async def _until_signal(client: Client, topics: str, options: Mapping[str, Any], command: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with client, aclosing(client.subscribe(topics, **options)) as messages:
            async for message in messages:
                if command:
                    await _run(command, message)
                else:
                    show(message)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
    except BrokenPipeError:
        # Whoever reads has had enough. Without this, the interpreter would fail once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(message: MessageJson) -> None:
    """Write one message to standard output, at once: readable on a terminal, as a JSON line elsewhere."""
    if sys.stdout.isatty():
        click.echo(readable(message))
        return
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


def readable(message: MessageJson) -> str:
    """Return the message for a person at a terminal; nothing in it can control the terminal."""
    when = _local_time(message["time"])
    words = [when, message["topic"]]
    if message["event"] != "message":
        words.append(f"({message['event']} {message.get('sequence_id', '')})")
    if (priority := PRIORITY_WORDS.get(message.get("priority", 3))) is not None:
        words.append(f"[{priority}]")
    if title := message.get("title"):
        words.append(f"{title}:")
    words.append(str(message.get("message", "")))
    tags = message.get("tags")
    words += [f"#{tag}" for tag in tags] if isinstance(tags, list) else []
    lines = " ".join(word for word in words if word).split("\n")
    if url := message.get("click"):
        lines.append(url)
    return "\n    ".join(escape(str(line)) for line in lines)


def escape(line: str) -> str:
    """Return `line` with everything escaped that a terminal might obey: controls, changes of direction."""
    return "".join(map(_escaped, line))


def _escaped(char: str) -> str:
    # U+200D joins emojis; blanks of all kinds count as not printable, but do no harm.
    if char.isprintable() or char == "\u200d" or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode()


def _local_time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


async def _run(command: str, message: MessageJson) -> None:
    """Run `command` to its end; the message goes by the environment alone, never into the command's text."""
    if message["event"] != "message":
        return
    try:
        process = await asyncio.create_subprocess_exec(
            SHELL,
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, **environment(message)},
        )
    except OSError as error:
        click.echo(f"The command could not be run: {error.strerror}", err=True)
        return
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if status:
        click.echo(f"The command ended with {status} for message {escape(message['id'])}", err=True)


def environment(message: MessageJson) -> dict[str, str]:
    """Return the variables that carry `message`, under all of ntfy's names."""
    values: dict[str, Any] = {name: message.get(name, "") for name in _VARIABLES}
    if isinstance(values["tags"], list):
        values["tags"] = ",".join(map(str, values["tags"]))
    variables = {alias: str(values[name]) for name, aliases in _VARIABLES.items() for alias in aliases}
    raw = orjson.dumps(message).decode()
    variables |= dict.fromkeys(_RAW_VARIABLES, raw)
    return {name: _variable(value) for name, value in variables.items()}


def _variable(value: str) -> str:
    value = value.replace("\0", "")  # would end the variable early
    if len(value) * 4 <= LONGEST_VARIABLE_BYTES:
        return value
    return value.encode()[:LONGEST_VARIABLE_BYTES].decode(errors="ignore")
