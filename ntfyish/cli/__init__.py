"""The command line. Commands are imported when they are asked for: ``ntfyish --help`` loads none of them."""

from __future__ import annotations

import importlib

import click

from ntfyish import __version__

# name -> (module, attribute, what the list of commands says about it)
COMMANDS = {
    "serve": ("ntfyish.cli.serve", "serve", "Run the server."),
    "publish": ("ntfyish.cli.publish", "publish", "Send a message to a topic."),
    "subscribe": (
        "ntfyish.cli.subscribe",
        "subscribe",
        "Show the messages of topics, or run a command for each.",
    ),
    "user": (
        "ntfyish.cli.user",
        "user",
        "Add, change, remove and list accounts: passwords, roles, tiers (as ntfy's command).",
    ),
    "access": ("ntfyish.cli.access", "access", "Show, grant and revoke access to topics."),
    "token": (
        "ntfyish.cli.token",
        "token",
        "Add, remove and list access tokens, with which an account logs in.",
    ),
    "tier": ("ntfyish.cli.tier", "tier", "Add, change, remove and list tiers: named sets of limits."),
    "account": (
        "ntfyish.cli.account",
        "account",
        "Show accounts with their user keys, apps and tokens; add, remove, rotate keys.",
    ),
    "app": ("ntfyish.cli.app", "app", "Add, remove and list apps, which publish with a token."),
    "key": (
        "ntfyish.cli.key",
        "key",
        "Add, remove and list keys with which Pushover clients write to a topic.",
    ),
    "alias": ("ntfyish.cli.alias", "alias", "Add, remove and list names under which e-mail comes in."),
    "device": (
        "ntfyish.cli.device",
        "device",
        "Add, list and remove devices: Open Clients, and those that are pushed to.",
    ),
    "receipt": (
        "ntfyish.cli.receipt",
        "receipt",
        "List, show, acknowledge and cancel emergencies.",
    ),
    "sound": ("ntfyish.cli.sound", "sound", "Add, list and remove custom sounds."),
    "subscription": (
        "ntfyish.cli.subscription",
        "subscription",
        "Add, list and remove pages on which people subscribe to an app.",
    ),
    "team": ("ntfyish.cli.team", "team", "Add, list and remove team tokens, which manage accounts."),
    "webpush": ("ntfyish.cli.webpush", "webpush", "Make the keys with which the server pushes to browsers."),
    "group": ("ntfyish.cli.group", "group", "Make, change and list groups of accounts with one key."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ntfyish", message="%(prog)s %(version)s")
def main() -> None:
    """Self-hosted push notifications: Pushover's API and ntfy's API in one fast server."""
