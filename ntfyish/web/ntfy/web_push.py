"""ntfy's Web Push API: a page registers its browser for topics at ``/v1/webpush``, and removes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ntfyish.core.access import Access
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Invalid, NtfyishError, Reason
from ntfyish.model.topic import is_topic
from ntfyish.web.http import Request, Response
from ntfyish.web.ntfy.callers import Caller, Handler, success
from ntfyish.web.ntfy.json_body import read_fields

if TYPE_CHECKING:  # it needs cryptography, which a server without Web Push does not load for this
    from ntfyish.core.pushes.browsers import Browsers

MOST_TOPICS = 50

_UNREADABLE = frozenset({Reason.JSON_INVALID, Reason.JSON_TOO_LARGE})


class WebPush:
    """The handlers of ``/v1/webpush``."""

    def __init__(self, browsers: Browsers, access: Access, disallowed_topics: frozenset[str]) -> None:
        self._browsers = browsers
        self._access = access
        self._disallowed_topics = disallowed_topics
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("POST", "/v1/webpush"): self._register,
            ("DELETE", "/v1/webpush"): self._remove,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        return self._handlers.get((method, path))

    async def _register(self, request: Request, caller: Caller) -> Response:
        """Register a browser for the topics that are named, and no others; none removes it."""
        caller.visitor.take_request()
        fields = await _read(request)
        endpoint, auth, p256dh = (_text(fields, name) for name in ("endpoint", "auth", "p256dh"))
        self._browsers.check_endpoint(endpoint)
        topics = self._topics(fields)
        if not topics:
            await self._browsers.remove(endpoint)
            return success()
        self._access.grant(caller.principal, Permission.READ, topics)
        account = caller.principal.account
        await self._browsers.register(
            endpoint,
            p256dh=p256dh,
            auth=auth,
            topics=topics,
            account="" if account is None else account.name,
            address=caller.visitor.key,
        )
        return success()

    async def _remove(self, request: Request, caller: Caller) -> Response:
        """Remove a browser; its endpoint, which nobody can guess, is all that it takes, as with ntfy."""
        caller.visitor.take_request()
        await self._browsers.remove(_text(await _read(request), "endpoint"))
        return success()

    def _topics(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the topics, each once.

        Raises:
            Invalid: WEB_PUSH_INVALID, WEB_PUSH_TOPICS, TOPIC_INVALID, TOPIC_DISALLOWED.
        """
        named = fields.get("topics") or []
        if not isinstance(named, list):
            raise Invalid(Reason.WEB_PUSH_INVALID)
        if len(named) > MOST_TOPICS:
            raise Invalid(Reason.WEB_PUSH_TOPICS)
        for topic in named:
            if not isinstance(topic, str):
                raise Invalid(Reason.WEB_PUSH_INVALID)
            if not is_topic(topic):
                raise Invalid(Reason.TOPIC_INVALID)
            if topic in self._disallowed_topics:
                raise Invalid(Reason.TOPIC_DISALLOWED)
        return tuple(dict.fromkeys(named))


async def _read(request: Request) -> Mapping[str, Any]:
    """Return the fields of a request; whatever is wrong with it, ntfy has one code for that."""
    try:
        return await read_fields(request)
    except NtfyishError as error:
        if error.reason in _UNREADABLE:
            raise Invalid(Reason.WEB_PUSH_INVALID) from None
        raise


def _text(fields: Mapping[str, Any], name: str) -> str:
    """Return a text that must be there.

    Raises:
        Invalid: WEB_PUSH_INVALID.
    """
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Invalid(Reason.WEB_PUSH_INVALID)
    return value
