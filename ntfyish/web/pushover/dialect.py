"""Pushover's API: which paths are its own, who answers them, and how the core's errors are put."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Protocol

from ntfyish.core.access import Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.attachments import Attachments
from ntfyish.core.publisher import Publisher
from ntfyish.core.quota import Quotas
from ntfyish.model.errors import LimitReached, NtfyishError
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer
from ntfyish.web.pushover.icons import ICON_PATH, send_icon
from ntfyish.web.pushover.limits import CURRENT, PushoverLimits
from ntfyish.web.pushover.messages import Messages
from ntfyish.web.pushover.open_client import PUSH_PATH, OpenClients
from ntfyish.web.pushover.queries import Queries
from ntfyish.web.visitor import Visitors

_PREFIX = "/1/"
_PREFIXES = (_PREFIX, "/subscribe/", "/sounds/")
# First segments of Pushover's longer paths; what it does not answer below them is not ntfy's either.
_AREAS = frozenset(
    {
        "apps", "devices", "glances", "groups", "licenses", "messages", "receipts", "sounds",
        "subscriptions", "teams", "users",
    }
)  # fmt: skip
# What ntfy has below a topic that is called "1": no dots, and at most an action below a sequence id.
_NTFY = re.compile(r"[^./]*(?:/(?:clear|read|delete))?")
# Pushover's documentation asks clients to wait at least that long before they try again.
_RETRY_AFTER_S = 5


class Service(Protocol):
    """Part of the API: paths of its own below one of `_PREFIXES`, asked after the dialect's fixed ones."""

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is not this service's."""


class PushoverDialect:
    """Pushover's and NZBClient's API below ``/1/``.

    ``/1/json``, ``/1/anything`` and the like stay with ntfy, where "1" is a topic like any other.
    """

    def __init__(
        self,
        *,
        directory: AddressBook,
        access: Access,
        visitors: Visitors,
        publisher: Publisher,
        quotas: Quotas,
        limits: PushoverLimits = CURRENT,
        services: Sequence[Service] = (),
        attachments: Attachments | None = None,
        open_clients: OpenClients | None = None,
    ) -> None:
        self._services = tuple(services) if open_clients is None else (open_clients, *services)
        self._open_clients = open_clients
        messages = Messages(directory, access, visitors, publisher, quotas, limits, attachments)
        queries = Queries(directory, visitors, quotas, limits)
        downloads = messages if open_clients is None else open_clients
        send: dict[str, Handler] = {"POST": messages.send, "GET": downloads.download}
        sounds: dict[str, Handler] = {"GET": queries.sounds, "HEAD": queries.sounds}
        allowance: dict[str, Handler] = {"GET": queries.limits, "HEAD": queries.limits}
        icon: dict[str, Handler] = {"GET": send_icon, "HEAD": send_icon}
        validate: dict[str, Handler] = {"POST": queries.validate}
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/1/messages.json": send,
            "/1/messages.xml": send,
            "/1/sounds.json": sounds,
            "/1/sounds.xml": sounds,
            ICON_PATH: icon,
            "/1/users/validate.json": validate,
            "/1/users/validate.xml": validate,
            "/1/users/validate": validate,
            "/1/apps/limits.json": allowance,
            "/1/apps/limits.xml": allowance,
            "/1/apps/limits": allowance,
        }
        self._ambiguous: Mapping[str, Handler] = {
            "POST": messages.send_or_decline,
            "GET": downloads.download_or_decline,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`, or None if the path is not Pushover's."""
        route = self._find_route(path)
        if route is not None:
            return route.get(method) or (_preflight if method == "OPTIONS" else self._refuse_method)
        if path == PUSH_PATH and method == "GET" and self._open_clients is not None:
            return self._open_clients.connect
        if not path.startswith(_PREFIX):
            return None
        rest = path[len(_PREFIX) :]
        if rest == "messages":
            return self._ambiguous.get(method)
        if _NTFY.fullmatch(rest) or ("." not in rest and rest.partition("/")[0] not in _AREAS):
            return None
        return _preflight if method == "OPTIONS" else _refuse_path

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Put `error` into Pushover's form."""
        refusal = faults.REFUSALS[error.reason]
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, LimitReached) and error.retry_after_s > 0:
            headers = (("Retry-After", str(ceil(error.retry_after_s))),)
        elif refusal.status >= 500:
            headers = (("Retry-After", str(_RETRY_AFTER_S)),)
        return Answer(request).refusal([refusal.fault], refusal.status, headers, close=refusal.close)

    def _find_route(self, path: str) -> Mapping[str, Handler] | None:
        route = self._routes.get(path)
        if route is None and path.startswith(_PREFIXES):
            for service in self._services:
                if (route := service.match(path)) is not None:
                    break
        return route

    async def _refuse_method(self, request: Request) -> Response:
        allowed = ", ".join([*(self._find_route(request.path) or ()), "OPTIONS"])
        return Answer(request).refusal([faults.METHOD_WRONG], 405, (("Allow", allowed),))


async def _preflight(request: Request) -> Response:
    return Answer(request).preflight()


async def _refuse_path(request: Request) -> Response:
    return Answer(request).refusal([faults.RESOURCE_UNKNOWN], 404)
