"""What the commands show and ask: tables, questions, one-line errors.

Nothing that is shown can drive the terminal, whatever people have called their things.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


class Failure(click.ClickException):
    """The command cannot be carried out: the text goes to standard error, and the exit code is 1."""

    def show(self, file: object = None) -> None:
        """Print the text."""
        for line in self.message.splitlines():
            click.echo(f"ntfyish: {printable(line)}", err=True)


def printable(text: str) -> str:
    """Return `text` with what is not printable escaped: control characters, bidi, lone surrogates."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(text: str) -> None:
    """Tell the person something: to standard error, so that standard output has only what a script wants."""
    click.echo(printable(text), err=True)


def tell(text: str = "") -> None:
    """Print a line of what the command was asked for: to standard output."""
    click.echo(printable(text))


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: str,
    plain: Sequence[str] | None = None,
) -> None:
    """Print a table on a terminal, and tab-separated lines without a heading anywhere else.

    Args:
        empty: what a terminal shows if there are no rows.
        plain: lines to print anywhere else, instead of the rows.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in plain if plain is not None else ():
            tell(line)
        for row in rows if plain is None else ():
            click.echo("\t".join(row))
    elif not rows:
        click.echo(empty)
    else:
        _show_rich(columns, rows)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere insist on ``--yes``.

    Raises:
        Failure: the answer is no, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("there is no terminal to ask on; say --yes")
    if not click.confirm(printable(question), err=True):
        raise Failure("nothing has been changed")


class Aliased(click.Group):
    """A group of commands that have shorter names, too: ntfy's."""

    def __init__(self, *args: Any, aliases: Mapping[str, str], **attributes: Any) -> None:
        """Take the commands' names by their aliases."""
        super().__init__(*args, **attributes)
        self._aliases = aliases

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name or alias."""
        return super().get_command(ctx, self._aliases.get(cmd_name, cmd_name))


def examples(*lines: str) -> str:
    """Return the end of a help text: commands, one a line."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def masked(secret: str) -> str:
    """Return enough of a secret to tell it from others."""
    return f"{secret[:4]}...{secret[-4:]}"


def _show_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")  # keys are to be copied whole
    for row in rows:
        table.add_row(*map(Text, row))  # Text: names in square brackets are no markup
    Console().print(table)
