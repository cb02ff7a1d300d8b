"""Where a subscriber stands in a stream: what to ask for after a break, and what was there already.

Pure: no I/O, no clock; `client` tells it what arrived, and when. The answer to "what next" is a value of
ntfy's `since` parameter.
"""

from __future__ import annotations

import logging
import math
import re
from typing import Any, Required, TypedDict, cast

import orjson

_log = logging.getLogger(__name__)

REMEMBERED_IDS = 50_000
# A message is stamped before it is committed: it may arrive this much later than a younger keepalive.
COMMIT_MARGIN_S = 60

_DURATION = re.compile(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9]{12}")


class MessageJson(TypedDict, total=False):
    """A message as it is on the wire (ntfy's JSON message format); further keys may be there."""

    id: Required[str]
    time: Required[int]
    event: Required[str]
    topic: Required[str]
    sequence_id: str
    expires: int
    title: str
    message: str
    priority: int
    tags: list[str]
    click: str
    icon: str
    actions: list[dict[str, Any]]
    attachment: dict[str, Any]
    content_type: str
    encoding: str


class Cursor:
    """Where a subscription stands: what to ask for next, and what was there already.

    Times of the server are only ever compared with each other; elapsed time is the client's monotonic one.
    """

    def __init__(self, *, asked: str, scheduled: bool) -> None:
        self._asked = "" if asked == "none" else asked
        self._scheduled = scheduled
        self._asked_at = math.inf
        self._opened_at = 0
        self._heard_at = 0
        self._heard = 0.0
        self._last_id = ""
        self._last_expires = 0
        self._seen: dict[tuple[str, bool], None] = {}

    def since(self, monotonic: float) -> str:
        """Return the `since` for a connection that is opened now; "" for none."""
        if self._last_id and self._last_expires > self._server_time(monotonic):
            return self._last_id
        if self._last_id:
            # The server has forgotten this id by now, and would answer with everything it has.
            return str(max(self._opened_at, self._heard_at - COMMIT_MARGIN_S))
        if self._asked in ("", "latest"):
            return str(self._opened_at) if self._opened_at else self._asked
        if _MESSAGE_ID.fullmatch(self._asked) is None and _DURATION.fullmatch(self._asked):
            # The duration was meant from when it was asked for. (The point keeps it from looking like an id.)
            self._asked_at = min(self._asked_at, monotonic)
            elapsed_s = monotonic - self._asked_at
            return f"{self._asked}{elapsed_s:.3f}s" if elapsed_s else self._asked
        return self._asked

    def accepts(self, event: MessageJson, monotonic: float) -> bool:
        """Take note of `event`; return whether it is a message that was not there before."""
        if event["event"] in ("open", "keepalive"):
            self._opened_at = self._opened_at or event["time"]
            self._heard_at, self._heard = event["time"], monotonic
            return False
        # What is pending comes again when it is due; until then the server knows no place for it.
        pending = self._scheduled and event["time"] > self._server_time(monotonic)
        if (event["id"], pending) in self._seen:
            return False
        self._seen[event["id"], pending] = None
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        # A message without `expires` is not kept: its id marks no place in what is.
        if not pending and event.get("expires"):
            self._last_id, self._last_expires = event["id"], event["expires"]
        return True

    def _server_time(self, monotonic: float) -> float:
        return self._heard_at + monotonic - self._heard


def parse_event(line: bytes) -> MessageJson | None:
    """Return the event in `line`; None for an empty line or anything that is not an event."""
    if not line.strip():
        return None
    try:
        event = orjson.loads(line)
    except ValueError:
        event = None
    texts = ("id", "event", "topic")
    if not isinstance(event, dict) or not all(isinstance(event.get(name), str) for name in texts):
        _log.warning("The server sent a line that is not a message")
        return None
    if type(event.get("time")) is not int or not isinstance(event.get("expires", 0), int):
        _log.warning("The server sent a message without a time")
        return None
    return cast("MessageJson", event)
