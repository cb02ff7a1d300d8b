"""What a subscribe request of ntfy's API asks for, as a `Query`. The stream routes call it."""

from __future__ import annotations

import math
import re

from ntfyish.model.durations import parse_go_duration
from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.query import (
    NO_FILTER,
    SINCE_ALL,
    SINCE_LATEST,
    SINCE_NONE,
    Filter,
    Query,
    Since,
    SinceKind,
)
from ntfyish.web.http import Request
from ntfyish.web.ntfy.drafts import parse_priority
from ntfyish.web.params import Params

_WORDS = {"all": SINCE_ALL, "none": SINCE_NONE, "latest": SINCE_LATEST}
_ID = re.compile(r"[A-Za-z0-9]{12}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_MAX_INT64 = 2**63 - 1
_FILTERS = ("id", "message", "title", "priority", "tags")


def query_from_request(request: Request, topics: tuple[str, ...], topic_text: str, now: float) -> Query:
    """Return what a GET of ``/<topics>/json``, ``sse``, ``raw`` or ``ws`` asks for.

    Args:
        request: its headers and query.
        topics: each once, as `model.topic.parse_topics` returns them.
        topic_text: the list as it was typed.
        now: Unix seconds.

    Raises:
        Invalid: SINCE_INVALID, then PRIORITY_INVALID.
    """
    params = Params(request)
    poll = params.flag("poll")
    return Query(
        topics=topics,
        topic_text=topic_text,
        poll=poll,
        since=_since(params, poll, now),
        scheduled=params.flag("scheduled"),
        filter=_filter(params),
    )


def parse_since(text: str, now: float) -> Since:
    """Read a `since` that is not empty.

    It is ``all``, ``none``, ``latest``, a message id (12 letters and digits; so is a number of 12 digits),
    Unix seconds (inclusive; unlike with ntfy, 1 is a moment like any other), or a Go duration before `now`.

    Raises:
        Invalid: SINCE_INVALID.
    """
    if word := _WORDS.get(text):
        return word
    if _ID.fullmatch(text):
        return Since(SinceKind.ID, id=text)
    if _INTEGER.fullmatch(text):
        return _from_time(int(text))
    try:
        return _from_time(math.floor(now - parse_go_duration(text)))
    except Invalid:
        raise Invalid(Reason.SINCE_INVALID) from None


def _from_time(seconds: int) -> Since:
    if abs(seconds) > _MAX_INT64:
        raise Invalid(Reason.SINCE_INVALID)
    return Since(SinceKind.TIME, time=seconds) if seconds > 0 else SINCE_ALL


def _since(params: Params, poll: bool, now: float) -> Since:
    if text := params.get("since"):
        return parse_since(text, now)
    last_event_id = params.get("last_event_id")
    if _ID.fullmatch(last_event_id):
        return Since(SinceKind.ID, id=last_event_id)
    return SINCE_ALL if poll else SINCE_NONE


def _filter(params: Params) -> Filter:
    if not any(map(params.get, _FILTERS)):
        return NO_FILTER
    return Filter(
        id=params.get("id"),
        message=params.get("message"),
        title=params.get("title"),
        priorities=frozenset(
            parse_priority(item) for item in params.get("priority").split(",") if item.strip()
        ),
        # As ntfy: the items are not trimmed, and "a, b" asks for the tag " b".
        tags=frozenset(item for item in params.get("tags").split(",") if item),
    )
