"""Who calls ntfy's service, account and user APIs, and what all their handlers share.

`NtfyDialect` makes one `Caller` per request; the handlers in `accounts`, `admin` and `service` get it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ntfyish.core.attachments import Attachments
from ntfyish.core.limits import Visitor
from ntfyish.model.errors import Forbidden, Unauthenticated
from ntfyish.model.people import Account, Principal
from ntfyish.web.http import Request, Response

CORS = (("Access-Control-Allow-Origin", "*"),)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request.

    Attributes:
        address: canonical, see `web.visitor`.
        attachments: where their files are; None if the server keeps none.
    """

    visitor: Visitor
    address: str
    attachments: Attachments | None = None

    @property
    def principal(self) -> Principal:
        """Who they have logged in as."""
        return self.visitor.principal

    @property
    def is_limited(self) -> bool:
        """Whether they use a token that is limited, and so cannot manage anything."""
        token = self.principal.token
        return token is not None and token.is_limited

    def account(self) -> Account:
        """Return the account that they may manage: their own.

        Raises:
            Unauthenticated: they have not logged in.
            Forbidden: they use a limited token.
        """
        account = self.principal.account
        if account is None:
            raise Unauthenticated
        if self.is_limited:
            raise Forbidden(detail="this token is limited")
        return account

    def check_admin(self) -> None:
        """Refuse everybody but administrators; as with ntfy with 401, also who is logged in.

        Raises:
            Unauthenticated: they are no administrator.
            Forbidden: they use a limited token.
        """
        if not self.principal.is_admin:
            raise Unauthenticated
        self.account()


Handler = Callable[[Request, Caller], Awaitable[Response]]


class Service(Protocol):
    """A part of ntfy's API below ``/v1/``."""

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""


def answer(value: object, headers: tuple[tuple[str, str], ...] = CORS) -> Response:
    """Return a response with `value` as JSON and a newline."""
    return Response(body=orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE), headers=headers)


def success() -> Response:
    """Return what ntfy answers where there is nothing to say."""
    return answer({"success": True})


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is "", 0, None or without items, as Go's ``omitempty`` does."""
    return {name: value for name, value in fields.items() if value}


def find_parameter(request: Request, *names: str) -> str:
    """Return a parameter of an API call: the first of its names (lower case) in header, then query; or ""."""
    for source in (request.headers, request.query):
        for name in names:
            if value := source.get(name, "").strip():
                return value
    return ""
