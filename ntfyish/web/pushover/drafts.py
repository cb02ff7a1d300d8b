"""From the parameters of `messages.json` to a `Draft`: validation in Pushover's order and words. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ntfyish.model.message import Content, Draft, priority_from_pushover
from ntfyish.model.people import App, Flavour
from ntfyish.model.receipt import ReceiptDraft, is_callback_url
from ntfyish.web.body import Parameters
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.limits import OverLength, PushoverLimits
from ntfyish.web.pushover.sounds import SOUNDS

EMERGENCY = 2
_RELAXATION = 4  # base64 of the encrypted form of a short text is several times as long
_MAX_EXTRA_CHARS = 250  # what NZBClient's scripts add is never refused, but cut
_MAX_TIMESTAMP = 253_402_300_799  # the end of the year 9999
_MAX_TTL_S = 2_147_483_647
_MAX_RETRY_S = 86_400
_MAX_ITEMS = 1000  # of a list that somebody sends; a body has room for millions
_PRIORITIES = {"-2": -2, "-1": -1, "0": 0, "1": 1, "2": 2}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]*)?")
_NOTHING = frozenset({"none", "null"})
_FIELDS = frozenset(
    {
        "message", "title", "device", "url", "url_title", "priority", "sound", "timestamp", "html",
        "monospace", "ttl", "retry", "expire", "callback", "tags", "encrypted", "subtitle", "isEncrypted",
    }
)  # fmt: skip


def read_draft(
    parameters: Parameters,
    app: App,
    devices: Sequence[str],
    limits: PushoverLimits,
    found: list[Fault],
    sounds: Collection[str] = (),
) -> tuple[Draft, ReceiptDraft | None]:
    """Return what is to be published, and for an emergency message how it is to be repeated.

    Args:
        devices: the names that can be addressed; none if the recipients have nothing to choose from.
        sounds: the names of sounds besides the built-in ones.
        found: gets the faults, in order; if there are any, what is returned must not be used.
    """
    if parameters.malformed:
        found += [faults.invalid(name) for name in sorted(parameters.malformed & _FIELDS)]
    text = parameters.text
    encrypted = parameters.flag("encrypted") or parameters.flag("isEncrypted")
    texts = _Texts(parameters, limits, encrypted, found)
    message = texts.message()
    title = texts.bounded("title", limits.title_chars)
    message = texts.fit_together(title, message)
    url = texts.bounded("url", limits.url_chars).strip()
    url_title = texts.bounded("url_title", limits.url_title_chars)
    subtitle = texts.bounded("subtitle", limits.title_chars)
    priority = _read_priority(text("priority"), app, found)
    html, monospace = parameters.flag("html"), parameters.flag("monospace")
    if html and monospace:
        found.append(faults.HTML_AND_MONOSPACE)
    timestamp = _read_timestamp(text("timestamp"), found)
    receipt = _read_receipt(parameters, limits, found) if priority == EMERGENCY else None
    content = Content(
        title=title or app.name,
        message=message,
        priority=priority_from_pushover(priority),
        click=url,
        app=app.name,
        device=_read_devices(parameters, devices, limits, found) if devices else "",
        url_title=url_title,
        sound=_read_sound(text("sound"), sounds),
        subtitle=subtitle,
        timestamp=timestamp,
        html=html,
        monospace=monospace,
        ttl_s=0 if receipt else _read_ttl(text("ttl"), found),
        encrypted=encrypted,
        encryption_type=_read_extra(text("encryptionType")),
        nzb_app=_read_extra(text("app")),
        nzb_id=_read_extra(text("nzbID")),
    )
    return Draft(content=content), receipt


class _Texts:
    """Reads texts of limited length."""

    __slots__ = ("_factor", "_found", "_limits", "_parameters", "_truncate")

    def __init__(
        self, parameters: Parameters, limits: PushoverLimits, encrypted: bool, found: list[Fault]
    ) -> None:
        self._parameters = parameters
        self._limits = limits
        self._found = found
        self._factor = _RELAXATION if encrypted and limits.relax_when_encrypted else 1
        self._truncate = limits.over_length is OverLength.TRUNCATE and not encrypted

    def message(self) -> str:
        message = self.bounded("message", self._limits.message_chars)
        if not message and "message" not in self._parameters.malformed:
            self._found.append(faults.MESSAGE_BLANK)
        return message

    def bounded(self, name: str, limit: int) -> str:
        value = self._parameters.text(name)
        if len(value) <= limit:
            return value
        if self._truncate:
            return value[:limit]
        limit *= self._factor
        if len(value) > limit:
            self._found.append(faults.too_long(name, limit))
        return value

    def fit_together(self, title: str, message: str) -> str:
        limit = self._limits.combined_chars * self._factor
        if not limit or len(title) + len(message) <= limit:
            return message
        if self._truncate:
            return message[: max(1, limit - len(title))]
        if not self._found:
            self._found.append(faults.too_long_together(limit))
        return message


def _read_priority(text: str, app: App, found: list[Fault]) -> int:
    if not text:
        return 0
    text = text.strip()
    priority = _PRIORITIES.get(text)
    if priority is None:
        priority = int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else EMERGENCY + 1
        if not -EMERGENCY <= priority <= EMERGENCY:
            found.append(faults.invalid("priority"))
            return 0
    if app.flavour is Flavour.NZBCLIENT:
        return max(-1, min(1, priority))
    return priority


def _read_number(text: str) -> int | None:
    """Return a number without its fraction (clients send times with one); None if it is not a number."""
    text = text.strip()
    return int(text.partition(".")[0]) if _NUMBER.fullmatch(text) else None


def _read_timestamp(text: str, found: list[Fault]) -> int:
    if not text:
        return 0
    timestamp = _read_number(text)
    if timestamp is None or not 0 <= timestamp <= _MAX_TIMESTAMP:
        found.append(faults.invalid("timestamp"))
        return 0
    return timestamp


def _read_ttl(text: str, found: list[Fault]) -> int:
    if not text:
        return 0
    ttl_s = _read_number(text)
    if ttl_s is None or ttl_s < 0:
        found.append(faults.invalid("ttl"))
        return 0
    return min(ttl_s, _MAX_TTL_S)


def _read_sound(text: str, sounds: Collection[str]) -> str:
    """Return the name of a sound; an unknown one is the recipient's default, "" here."""
    if not text:
        return ""
    sound = text.strip().lower()
    return sound if sound in SOUNDS or sound in sounds else ""


def _read_extra(text: str) -> str:
    """Return one of NZBClient's extra texts; its scripts write the word None for nothing."""
    return "" if not text or text.strip().lower() in _NOTHING else text[:_MAX_EXTRA_CHARS]


def split_list(texts: Sequence[str]) -> list[str]:
    """Return the items of comma lists, trimmed, each once, without empty ones; never more than a thousand."""
    parts = ",".join(texts).split(",", _MAX_ITEMS)[:_MAX_ITEMS]
    return [item for item in dict.fromkeys([part.strip() for part in parts]) if item]


def _read_devices(
    parameters: Parameters, devices: Sequence[str], limits: PushoverLimits, found: list[Fault]
) -> str:
    """Return the named devices that exist, as a comma list; "" for all of them."""
    asked = split_list(parameters.texts("device"))
    known = [name for name in asked if name in devices]
    if limits.device_strict and len(known) < len(asked):
        found.append(faults.DEVICE_UNKNOWN)
    return ",".join(known)


def _read_receipt(parameters: Parameters, limits: PushoverLimits, found: list[Fault]) -> ReceiptDraft:
    expire_s = _read_expire(parameters.text("expire"), limits, found)
    retry_s = _read_retry(parameters.text("retry"), limits, found)
    callback = parameters.text("callback").strip()
    if len(callback) > limits.url_chars:
        found.append(faults.too_long("callback", limits.url_chars))
    elif callback and not is_callback_url(callback):
        found.append(faults.invalid("callback"))
    tags = ",".join(parameters.texts("tags"))
    if len(tags) > limits.url_chars:
        found.append(faults.too_long("tags", limits.url_chars))
    return ReceiptDraft(retry_s=retry_s, expire_s=expire_s, callback=callback, tags=tuple(split_list([tags])))


def _read_expire(text: str, limits: PushoverLimits, found: list[Fault]) -> int:
    if not text:
        found.append(faults.EXPIRE_MISSING)
        return 0
    expire_s = _read_number(text)
    if expire_s is None or expire_s <= 0:
        found.append(faults.invalid("expire"))
        return 0
    if expire_s > max(limits.expire_max_s, limits.expire_tolerated_s):
        found.append(faults.expire_too_large(limits.expire_max_s))
    return min(expire_s, limits.expire_max_s)


def _read_retry(text: str, limits: PushoverLimits, found: list[Fault]) -> int:
    if not text:
        found.append(faults.RETRY_MISSING)
        return 0
    retry_s = _read_number(text)
    if retry_s is None or retry_s < limits.retry_min_s:
        found.append(faults.retry_too_small(limits.retry_min_s))
        return 0
    return min(retry_s, _MAX_RETRY_S)
