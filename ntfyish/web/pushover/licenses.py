"""Pushover's calls for licenses. Here every account may use every kind of client: credits never run out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ntfyish.core.directory import Directory
from ntfyish.model.people import Account
from ntfyish.web.http import Handler, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.calls import Call, Calls
from ntfyish.web.pushover.faults import Fault

CREDITS = 1_000_000

EMAIL_INVALID = Fault("email", "is not a valid e-mail address", "e-mail address is not a valid address")
EMAIL_UNKNOWN = Fault("email", "is not that of a user", "e-mail address is not that of any active user")
USER_MISSING = Fault("user", "must be supplied", "user or email must be supplied")

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_SYSTEMS = frozenset({"android", "ios", "desktop"})


class LicenseCalls:
    """Answers ``/1/licenses``."""

    def __init__(self, directory: Directory, calls: Calls) -> None:
        self._directory = directory
        self._calls = calls
        show, assign = calls.handler(self._show), calls.handler(self._assign)
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/1/licenses.json": {"GET": show, "HEAD": show},
            "/1/licenses.xml": {"GET": show, "HEAD": show},
            "/1/licenses/assign.json": {"POST": assign},
            "/1/licenses/assign.xml": {"POST": assign},
        }

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        return self._routes.get(path)

    async def _show(self, call: Call) -> Response:
        return call.answer.success({"credits": CREDITS})

    async def _assign(self, call: Call) -> Response:
        user, email = call.text("user"), call.text("email")
        if not user and not email:
            # Both fields have the fault, and one sentence says so.
            return call.answer.refusal([USER_MISSING], also={"email": "must be supplied"})
        if user and not isinstance(await self._directory.find_by_key(user), Account):
            self._calls.fail(call)
            return call.refuse(faults.USER_KEY_INVALID)
        if not user and not _EMAIL.fullmatch(email):
            return call.refuse(EMAIL_INVALID)
        if not user and not self._is_known(email):
            self._calls.fail(call)
            return call.refuse(EMAIL_UNKNOWN)
        system = call.text("os")
        if system and system.lower() not in _SYSTEMS:
            return call.refuse(faults.invalid("os"))
        return call.answer.success({"credits": CREDITS})

    def _is_known(self, email: str) -> bool:
        wanted = email.casefold()
        return any(wanted in (one.email.casefold(), one.name) for one in self._directory.people.accounts)
