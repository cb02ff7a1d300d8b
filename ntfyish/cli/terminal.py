"""What the commands show and ask: tables, questions, one-line errors.

Nothing that is shown can drive the terminal, whatever people have called their things.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table on a terminal, and tab-separated lines without a heading anywhere else."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
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


def masked(secret: str) -> str:
    """Return enough of a secret to tell it from others."""
    return f"{secret[:4]}...{secret[-4:]}"


def _show_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: names in square brackets are no markup
    Console().print(table)
