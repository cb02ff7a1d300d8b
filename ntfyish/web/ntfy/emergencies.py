"""Emergencies by ntfy's publish API: a message of priority 5 with `X-Retry` is repeated until acknowledged.

ntfy has no such thing; the parameters are ours, with the meaning that they have in Pushover's API. With any
other priority they mean nothing. The routes call it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from ntfyish.model.durations import parse_duration
from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.message import MAX_PRIORITY, Draft, Event
from ntfyish.model.receipt import ReceiptDraft, is_callback_url
from ntfyish.web.params import Params

_MAX_RETRY_S = 86_400
_MAX_TAGS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyLimits:
    """What an emergency may ask for.

    Attributes:
        retry_min_s: least seconds between two repeats.
        expire_max_s: most seconds for which it is repeated, and what it is without `X-Expire`.
        expire_tolerated_s: up to this, a longer `X-Expire` is shortened; beyond, it is an error.
        url_chars: longest callback.
    """

    retry_min_s: int = 30
    expire_max_s: int = 10_800
    expire_tolerated_s: int = 86_400
    url_chars: int = 512


EMERGENCY_LIMITS = EmergencyLimits()


def read_emergency(params: Params, draft: Draft, limits: EmergencyLimits) -> ReceiptDraft | None:
    """Return how `draft` is to be repeated, or None if it is not.

    Raises:
        Invalid: EMERGENCY_INVALID.
    """
    if draft.content.priority != MAX_PRIORITY or draft.event is not Event.MESSAGE:
        return None
    retry, expire, callback = params.get("retry"), params.get("expire"), params.get("callback")
    if not (retry or expire or callback):
        return None
    if not retry:
        _refuse("retry must be given along with expire or callback")
    if draft.due_at:
        _refuse("an emergency cannot be delayed")
    if not draft.cache:
        _refuse("an emergency cannot be kept out of the cache")
    retry_s = _seconds("retry", retry)
    if retry_s < limits.retry_min_s:
        _refuse(f"retry must be at least {limits.retry_min_s} seconds")
    expire_s = _seconds("expire", expire) if expire else limits.expire_max_s
    if expire_s <= 0:
        _refuse("expire must be more than 0 seconds")
    if expire_s > max(limits.expire_max_s, limits.expire_tolerated_s):
        _refuse(f"expire must be at most {limits.expire_max_s} seconds")
    if callback and (len(callback) > limits.url_chars or not is_callback_url(callback)):
        _refuse(f"callback must be an http or https URL of at most {limits.url_chars} characters")
    return ReceiptDraft(
        retry_s=min(retry_s, _MAX_RETRY_S),
        expire_s=min(expire_s, limits.expire_max_s),
        callback=callback,
        tags=tuple(dict.fromkeys(draft.content.tags))[:_MAX_TAGS],
    )


def _seconds(name: str, text: str) -> int:
    """Return a whole number of seconds: one without a unit, or a duration (30s, 1m, 2h)."""
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    try:
        return int(parse_duration(text))
    except Invalid:
        _refuse(f"{name} must be a number of seconds, or a duration like 1m")


def _refuse(detail: str) -> NoReturn:
    raise Invalid(Reason.EMERGENCY_INVALID, detail) from None
