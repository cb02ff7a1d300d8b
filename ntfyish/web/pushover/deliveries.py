"""``GET /1/messages/<id>/deliveries.json``: what became of the pushes of a message, for the app that sent it.

Pushover has nothing like it; form and token are those of its other calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from ntfyish.core.ports import PushOutbox
from ntfyish.core.receipts import app_owner
from ntfyish.model.push import Delivery
from ntfyish.web.http import Handler, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Value
from ntfyish.web.pushover.calls import Call, Calls

_PATH = re.compile(r"/1/messages/([-_A-Za-z0-9]{1,64})/deliveries(?:\.json|\.xml)?")


class DeliveryCalls:
    """Answers for the outbox of pushes."""

    def __init__(self, outbox: PushOutbox, calls: Calls) -> None:
        self._outbox = outbox
        self._calls = calls

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return method -> handler for a path of ours; None for any other."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        read = self._calls.handler(partial(self._read, found[1]))
        return {"GET": read, "HEAD": read}

    async def _read(self, id: str, call: Call) -> Response:
        """Answer 404 alike for what is unknown, somebody else's, forgotten, and pushed to no device."""
        deliveries = await self._outbox.find_deliveries(id, app_owner(call.app))
        if deliveries is None:
            return call.answer.refusal([faults.DELIVERIES_UNKNOWN], 404)
        return call.answer.success({"deliveries": [_fields(one) for one in deliveries]})


def _fields(delivery: Delivery) -> dict[str, Value]:
    return {
        "message": delivery.message_id,
        "device": delivery.device,
        "kind": delivery.kind.value,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "reason": delivery.reason,
        "changed_at": int(delivery.changed_at),
    }
