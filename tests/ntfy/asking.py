"""How these tests make a request."""

from __future__ import annotations

from collections.abc import Callable

from ntfyish.model.errors import Invalid, Reason
from ntfyish.web.http import BufferedBody, Request

NOW = 1_763_559_015.25  # Wednesday 2025-11-19 13:30:15 UTC


def ask(target: str = "/mytopic", **headers: str) -> Request:
    """Return a request; ``x_title="a"`` becomes the header ``x-title: a``."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", target, fields, "192.0.2.7", BufferedBody())


def reason_of(call: Callable[[], object]) -> Reason | None:
    """Return why `call` is refused, or None if it is not."""
    try:
        call()
    except Invalid as error:
        return error.reason
    return None
