"""What a push through APNs says: the JSON of a message, of at most 4096 bytes. Pure.

Called by `push.apns.sender`. Beside Apple's own `aps` stand custom keys for the app, under the names that the
message's fields have on the streams. A ciphertext is passed on as it came or left out as a whole; the alert
then only says that there is something to decrypt, which the app's extension does before it is shown.

If it does not fit, these go, until it does: the buttons; the end of the text, as far as there is more of it
than anybody reads on a locked screen; the ends of title and subtitle; the custom keys, the least important
first. That something is missing is what `fetch` says: the app can ask for the message by its id.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ntfyish.model.html_text import reduce_html
from ntfyish.model.line import to_json
from ntfyish.model.message import DEFAULT_PRIORITY, Content, Event, Message
from ntfyish.model.people import KEY_LENGTH

LARGEST_BYTES = 4096  # what Apple takes
SMALL_BYTES = 2048  # for a service that takes less than it should

ALERT, BACKGROUND = "alert", "background"
IMMEDIATE, CONSIDERATE = 10, 5  # Apple's priorities: at once, or when it suits the device's battery

_SOMETHING = "New message"
_ENCRYPTED_BODY = "Encrypted message"
_BINARY_BODY = "Binary message"

_MORE = "…"
_TEXT_KEPT = 4  # a quarter of the payload
_TITLE_KEPT = 16
_NEEDED = frozenset({"id", "topic", "time"})
_ALWAYS = frozenset({"id", "isEncrypted", "fetch"})  # what is needed to fetch the rest
_IMPORTANT_FIRST = (
    "event", "topic", "time", "sequence_id", "poll_id", "priority", "receipt",
    "encryptionType", "message", "title", "subtitle", "url", "nzbID", "app", "sound", "timestamp",
    "url_title", "tags", "icon", "attachment", "actions",
)  # fmt: skip
CUSTOM_KEYS = _ALWAYS.union(_IMPORTANT_FIRST)
# Pushover's clients encrypt title and URL, too, NZBClient's do not, and nothing else tells them apart. A
# ciphertext has 64 bytes at the very least, and no person writes that many letters without a space.
_CIPHERTEXT = re.compile(r"[A-Za-z0-9+/_\r\n-]{80,}={0,2}\s*")
_KEY = re.compile(rf"[A-Za-z0-9]{{{KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What is pushed.

    Attributes:
        data: the JSON object.
        body: the same as bytes.
        push_type: Apple's ``apns-push-type``.
        priority: Apple's ``apns-priority``.
    """

    data: dict[str, Any]
    body: bytes
    push_type: str
    priority: int


@dataclass(slots=True)
class _Draft:
    """A payload in the making; custom keys have our names until the end."""

    aps: dict[str, Any]
    alert: dict[str, str]
    custom: dict[str, Any]
    keys: Mapping[str, str]
    limit_bytes: int
    body_may_be_cut: bool = True

    def data(self) -> dict[str, Any]:
        taken = set(self.keys.values())  # a name that the app has given away is not ours any more
        named = {
            self.keys.get(name, name): value
            for name, value in self.custom.items()
            if name in self.keys or name not in taken
        }
        return {"aps": self.aps} | named

    def excess(self) -> int:
        """Return how many bytes there are too many; 0 or less if it fits."""
        return len(serialise(self.data())) - self.limit_bytes


def build(message: Message, *, small: bool = False, keys: Mapping[str, str] = {}) -> Payload:
    """Return what is pushed of `message`.

    Args:
        small: have it well below what Apple takes.
        keys: other names for custom keys: ours -> the app's.
    """
    limit_bytes = SMALL_BYTES if small else LARGEST_BYTES
    if message.event not in (Event.MESSAGE, Event.POLL_REQUEST):
        draft = _Draft({"content-available": 1}, {}, _identity(message), keys, limit_bytes)
        return _finish(draft, BACKGROUND, CONSIDERATE)
    content = message.content
    priority = content.priority or DEFAULT_PRIORITY
    alert, custom = _alert(message), _custom(message)
    aps: dict[str, Any] = {"alert": alert, "interruption-level": _interruption_level(priority)}
    if priority >= DEFAULT_PRIORITY and content.sound != "none":
        aps["sound"] = "default"
    if thread := content.nzb_app or content.app or message.topic:
        aps["thread-id"] = thread
    if content.encrypted or content.attachment is not None or message.event is Event.POLL_REQUEST:
        aps["mutable-content"] = 1
    draft = _Draft(aps, alert, custom, keys, limit_bytes, body_may_be_cut=not content.encrypted)
    return _finish(draft, ALERT, IMMEDIATE if priority >= DEFAULT_PRIORITY else CONSIDERATE)


def serialise(data: dict[str, Any]) -> bytes:
    """Return the JSON as it is sent (as aioapns makes it), whatever is in the texts."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")


def _interruption_level(priority: int) -> str:
    if priority < DEFAULT_PRIORITY:
        return "passive"
    return "active" if priority == DEFAULT_PRIORITY else "time-sensitive"


def _is_ciphertext(content: Content, text: str) -> bool:
    return content.encrypted and _CIPHERTEXT.fullmatch(text) is not None


def _alert(message: Message) -> dict[str, str]:
    content = message.content
    alert = {"title": _title(message)}
    if content.subtitle and not _is_ciphertext(content, content.subtitle):
        alert["subtitle"] = content.subtitle
    alert["body"] = _body(content)
    # What is longer is cut anyway, and a text may have megabytes.
    return {part: text[: LARGEST_BYTES + 1] for part, text in alert.items()}


def _title(message: Message) -> str:
    content = message.content
    if content.title.strip() and not _is_ciphertext(content, content.title):
        return content.title
    if content.app.strip():
        return content.app
    # An inbox has its owner's key as its name, which is nothing to show on a locked screen.
    return _SOMETHING if _KEY.fullmatch(message.topic) else message.topic.strip() or _SOMETHING


def _body(content: Content) -> str:
    if content.encrypted:
        return _ENCRYPTED_BODY
    if content.encoding:
        return _BINARY_BODY
    text = reduce_html(content.message) if content.html else content.message
    return text if text.strip() else _SOMETHING


def _identity(message: Message) -> dict[str, Any]:
    """Return the custom keys that say which message it is."""
    custom: dict[str, Any] = {"id": message.id, "topic": message.topic, "time": message.time}
    if message.event is not Event.MESSAGE:
        custom["event"] = message.event.value
    if message.sequence_id:
        custom["sequence_id"] = message.sequence_id
    if message.poll_id:
        custom["poll_id"] = message.poll_id
    return custom


def _custom(message: Message) -> dict[str, Any]:
    content = message.content
    custom = _identity(message) | {
        "priority": content.priority,
        "tags": list(content.tags),
        "url": content.click,
        "url_title": content.url_title,
        "icon": content.icon,
        "sound": content.sound,
        "attachment": _attachment(content),
        "actions": content.actions and to_json(message)["actions"],
        "receipt": message.receipt,
        "app": content.nzb_app or content.app,
        "nzbID": content.nzb_id,
        "timestamp": content.timestamp,
    }
    if content.encoding:
        custom["fetch"] = True
    if content.encrypted:
        custom |= {
            "message": content.message,
            "isEncrypted": True,
            "encryptionType": content.encryption_type,
            "title": content.title if _is_ciphertext(content, content.title) else "",
            "subtitle": content.subtitle if _is_ciphertext(content, content.subtitle) else "",
        }
    return {name: value for name, value in custom.items() if value or name in _NEEDED}


def _attachment(content: Content) -> dict[str, str]:
    file = content.attachment
    if file is None:
        return {}
    return {"name": file.name, "url": file.url} | ({"type": file.type} if file.type else {})


def _finish(draft: _Draft, push_type: str, priority: int) -> Payload:
    if draft.excess() > 0:
        draft.custom["fetch"] = True
        _shrink(draft)
    data = draft.data()
    return Payload(data=data, body=serialise(data), push_type=push_type, priority=priority)


def _shrink(draft: _Draft) -> None:
    draft.custom.pop("actions", None)
    if draft.body_may_be_cut:
        _cut(draft, "body", draft.limit_bytes // _TEXT_KEPT)
    _cut(draft, "title", draft.limit_bytes // _TITLE_KEPT)
    _cut(draft, "subtitle", draft.limit_bytes // _TITLE_KEPT)
    if draft.excess() > 0:
        _choose(draft)


def _choose(draft: _Draft) -> None:
    """Leave custom keys out: keep those that fit, the most important first."""
    custom = draft.custom
    draft.custom = {name: value for name, value in custom.items() if name in _ALWAYS}
    if draft.excess() > 0:
        draft.aps.pop("thread-id", None)
    for name in sorted(custom.keys() - _ALWAYS, key=_IMPORTANT_FIRST.index):
        draft.custom[name] = custom[name]
        if draft.excess() > 0:
            del draft.custom[name]


def _cut(draft: _Draft, part: str, least_bytes: int) -> None:
    """Cut a text of the alert until all fits, but not to less than `least_bytes`."""
    excess = draft.excess()
    text = draft.alert.get(part, "")
    if excess > 0 and (size_bytes := _size(text)) > least_bytes:
        draft.alert[part] = cut(text, max(least_bytes, size_bytes - excess))


def _size(text: str) -> int:
    """Return how many bytes of JSON a text takes, without its quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def cut(text: str, limit_bytes: int) -> str:
    """Return the beginning of `text` and an ellipsis, in at most `limit_bytes` of JSON.

    What a reader takes for one character (letters with their accents, families of emoji, flags) stays whole
    as far as that costs little.
    """
    left = limit_bytes - _size(_MORE)
    end = 0
    for character in text[: max(0, left)]:
        left -= _size(character)
        if left < 0:
            break
        end += 1
    return text[: _boundary(text, end)] + _MORE


def _boundary(text: str, end: int) -> int:
    """Return where to cut at or, a little, before `end`."""
    for at in range(end, max(-1, end - 32), -1):
        if at in (0, len(text)) or not _joins(text, at):
            return at
    return end


def _joins(text: str, at: int) -> bool:
    """Whether the characters before and after `at` are seen as one."""
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after).startswith("M"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if not _is_flag_half(after):
        return False
    halves = 0
    while halves < at and _is_flag_half(text[at - 1 - halves]):
        halves += 1
    return halves % 2 == 1


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
