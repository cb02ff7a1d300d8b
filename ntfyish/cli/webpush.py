"""``ntfyish webpush``: the keys with which the server pushes to browsers."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ntfyish.cli.terminal import Failure, say, tell


@click.group()
def webpush() -> None:
    """Make the keys with which the server pushes to browsers (Web Push)."""


@webpush.command("keys")
@click.option(
    "-f",
    "--output-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write them there, for nobody else to read, instead of showing them.",
)
def keys(output_file: Path | None) -> None:
    """Make a pair of keys (VAPID), as lines for the configuration.

    Browsers subscribe with the public key: with another pair all of them have to register again.
    """
    from ntfyish.model.web_push_keys import new_vapid_keys

    public, private = new_vapid_keys()
    lines = (
        f"web-push-public-key: {public}",
        f"web-push-private-key: {private}",
        'web-push-email-address: ""  # whom push services may write to',
    )
    if output_file is None:
        for line in lines:
            tell(line)
        return
    _write(output_file, "".join(f"{line}\n" for line in lines))
    say(f"The keys are in {output_file}. The lines belong in the configuration; fill in the address.")


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.

    Raises:
        Failure: there is one already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} exists; it may hold keys that browsers have subscribed with") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from error
