"""What ntfy's clients keep at the server for an account, as one JSON object: pure changes to its text.

The object has ``language``, ``notification`` (``sound``, ``min_priority``, ``delete_after``) and
``subscriptions`` (``base_url``, ``topic``, ``display_name``), each only if it was ever set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ntfyish.model.errors import Conflict, Invalid, NotFound, Reason
from ntfyish.web.ntfy.json_body import as_fields, optional, typed

Subscription = dict[str, str | None]
Edit = Callable[[str], str]

_NOTIFICATION = {"sound": str, "min_priority": int, "delete_after": int}


def read_preferences(text: str) -> dict[str, Any]:
    """Return what `text` says; "" says nothing."""
    return dict(orjson.loads(text)) if text else {}


def settings_edit(fields: Mapping[str, Any]) -> Edit:
    """Return the change that sets what `fields` name and leaves the rest.

    Raises:
        Invalid: JSON_INVALID for a wrong type.
    """
    language = optional(fields, "language", str)
    given = optional(fields, "notification", dict)
    named = as_fields(given)
    notification = {
        name: value
        for name, kind in _NOTIFICATION.items()
        if (value := optional(named, name, kind)) is not None
    }

    def edit(text: str) -> str:
        preferences = read_preferences(text)
        if language is not None:
            preferences["language"] = language
        if given is not None:
            preferences["notification"] = {**preferences.get("notification", {}), **notification}
        return _written(preferences)

    return edit


def read_subscription(fields: Mapping[str, Any]) -> Subscription:
    """Return the subscription that a request names.

    Raises:
        Invalid: JSON_INVALID for a wrong type, REQUEST_INVALID if address or topic are missing.
    """
    base_url, topic = typed(fields, "base_url", str, ""), typed(fields, "topic", str, "")
    if not base_url or not topic:
        raise Invalid(Reason.REQUEST_INVALID, "base_url or topic missing")
    return {"base_url": base_url, "topic": topic, "display_name": optional(fields, "display_name", str)}


def adding(subscription: Subscription) -> Edit:
    """Return the change that adds a subscription; it raises Conflict with SUBSCRIPTION_EXISTS."""

    def edit(text: str) -> str:
        preferences = read_preferences(text)
        known = preferences.setdefault("subscriptions", [])
        if any(_is_same(one, subscription) for one in known):
            raise Conflict(Reason.SUBSCRIPTION_EXISTS)
        known.append(subscription)
        return _written(preferences)

    return edit


def renaming(subscription: Subscription) -> Edit:
    """Return the change that sets a subscription's display name; it raises NotFound."""

    def edit(text: str) -> str:
        preferences = read_preferences(text)
        for one in preferences.get("subscriptions", []):
            if _is_same(one, subscription):
                one["display_name"] = subscription["display_name"]
                return _written(preferences)
        raise NotFound

    return edit


def removing(base_url: str, topic: str) -> Edit:
    """Return the change that removes a subscription, if there is such a one."""
    subscription: Subscription = {"base_url": base_url, "topic": topic}

    def edit(text: str) -> str:
        preferences = read_preferences(text)
        known = preferences.get("subscriptions", [])
        left = [one for one in known if not _is_same(one, subscription)]
        if len(left) == len(known):
            return text
        preferences["subscriptions"] = left
        return _written(preferences)

    return edit


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["base_url"], one["topic"]) == (other["base_url"], other["topic"])


def _written(preferences: Mapping[str, Any]) -> str:
    return orjson.dumps(preferences).decode()
