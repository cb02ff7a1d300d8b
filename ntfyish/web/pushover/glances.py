"""Pushover's call for glances, the data of a widget."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ntfyish.core.access import Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.glances import Fields, Glances
from ntfyish.core.quota import Quotas
from ntfyish.web.body import Parameters
from ntfyish.web.http import Handler, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.calls import Call, Calls
from ntfyish.web.pushover.drafts import split_list
from ntfyish.web.pushover.faults import Fault

NOTHING_TO_SHOW = Fault("", "", "at least one of title, text, subtext, count, percent must be supplied")

_TEXTS = ("title", "text", "subtext")
_NUMBERS: Mapping[str, tuple[int, int]] = {"count": (-(2**31), 2**31 - 1), "percent": (0, 100)}
_MAX_CHARS = 100
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")


class GlanceCalls:
    """Answers ``/1/glances``. It needs no quota, but tells what is left of it, as clients expect."""

    def __init__(
        self,
        glances: Glances,
        directory: AddressBook,
        access: Access,
        quotas: Quotas,
        calls: Calls,
    ) -> None:
        self._glances = glances
        self._directory = directory
        self._access = access
        self._quotas = quotas
        self._calls = calls
        self._route: Mapping[str, Handler] = {"POST": calls.handler(self._update)}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        return self._route if path in ("/1/glances.json", "/1/glances.xml") else None

    async def _update(self, call: Call) -> Response:
        call.answer.show_quota(await self._quotas.status(call.app))
        recipient = await self._directory.find_recipient(call.text("user"), app=call.app)
        if recipient is None or recipient.kind == "topic":
            self._calls.fail(call)
            return call.refuse(faults.USER_UNKNOWN)
        found: list[Fault] = []
        changes = read_changes(call.parameters, found)
        if found:
            return call.refuse(*found)
        asked = split_list(call.parameters.texts("device"))
        device = next((name for name in asked if name in recipient.devices), "")
        if recipient.topics:
            grant = self._access.grant_app(call.app, recipient.topics)
            await self._glances.update(grant, call.app.name, device, changes)
        return call.answer.success({})


def read_changes(parameters: Parameters, found: list[Fault]) -> Fields:
    """Return the fields that a request changes, "" for those it clears. Adds what is wrong to `found`."""
    changes: dict[str, str | int] = {}
    found += [faults.invalid(name) for name in (*_TEXTS, *_NUMBERS) if name in parameters.malformed]
    for name in _TEXTS:
        if parameters.is_given(name):
            changes[name] = parameters.text(name)
            if len(parameters.text(name)) > _MAX_CHARS:
                found.append(faults.too_long(name, _MAX_CHARS))
    for name, (least, most) in _NUMBERS.items():
        if parameters.is_given(name):
            text = parameters.text(name).strip()
            number = int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else None
            if text and (number is None or not least <= number <= most):
                found.append(faults.invalid(name))
            changes[name] = "" if number is None else number
    if not changes and not found:
        found.append(NOTHING_TO_SHOW)
    return changes
