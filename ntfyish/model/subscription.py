"""Subscriptions: people let an app write to them without telling it their user key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ntfyish.model.people import AppToken, new_key

# What follows the hyphen keeps a code apart from the words that ntfy has below a topic, as /subscribe/json.
CODE_PATTERN = re.compile(r"[A-Za-z0-9_]{1,50}-[A-Za-z0-9]{1,50}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What people can subscribe to.

    Attributes:
        code: names it in the address of its page, ``/subscribe/<code>``.
        app: token of the app that may write to the subscribers.
    """

    code: str
    app: AppToken
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """An account that has subscribed.

    Attributes:
        key: 30 letters and digits; a user key that works for the subscription's app only.
        code: of the subscription.
        device: the one device that the messages are for; "" for all.
        sound: of messages without a sound of their own; "" for what is usual.
    """

    key: str
    code: str
    account: str
    device: str = ""
    sound: str = ""


def new_code(name: str) -> str:
    """Return a random code that begins with what is left of `name` in letters and digits."""
    start = re.sub(r"[^A-Za-z0-9]", "", name)[:50] or "app"
    return f"{start}-{new_key('')[:15]}"
