"""What a browser's service worker gets, before it is encrypted: ntfy's JSON, of at most so many bytes.

Pure. A push service takes at least 4096 bytes (RFC 8030), encrypted, and many take no more.
"""

from __future__ import annotations

from typing import Any

import orjson

from ntfyish.model.line import to_json
from ntfyish.model.message import Message

# Of 4096: the header of aes128gcm with its key (86), the end of the text (1), the tag (16); RFC 8188, 8291.
MOST_BYTES = 4096 - 86 - 1 - 16
# Some services take less than that.
SMALL_BYTES = 2000

EXPIRING = orjson.dumps({"event": "subscription_expiring"})

# Besides these, everything can be left out; what is named below goes first.
_KEPT = frozenset({"id", "sequence_id", "time", "expires", "event", "topic", "title", "message", "priority"})
_FIRST_TO_GO = ("actions", "attachment", "icon", "click", "tags")
_CUT = "truncated"


def message_payload(message: Message, base_url: str, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the payload of a message, in at most `most_bytes` (of at least 1000).

    ``{"event": "message", "subscription_id": "<base-url>/<topic>", "message": {...}}``, the message as on the
    streams. If it is too long, its text is cut at the end of a character, and it has ``"truncated": 1``. A
    text that means nothing in part (base64, a ciphertext) is left out as a whole. Only if the message is too
    long without any text, other fields are left out, too, until it is not.
    """
    fields = to_json(message)
    payload = _payload(message, base_url, fields)
    if len(payload) <= most_bytes:
        return payload
    text = fields.pop("message", "")
    fields[_CUT] = 1
    _leave_out(fields, most_bytes - len(_payload(message, base_url, {})))
    if text and not (message.content.encrypted or message.content.encoding):
        room = most_bytes - len(_payload(message, base_url, {**fields, "message": ""}))
        if start := _cut(text, room):
            fields["message"] = start
    return _payload(message, base_url, fields)


def _payload(message: Message, base_url: str, fields: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {"event": "message", "subscription_id": f"{base_url}/{message.topic}", "message": fields}
    )


def _leave_out(fields: dict[str, Any], room: int) -> None:
    """Take fields away until the rest has at most `room` bytes more than none; the title is cut at last."""
    others = [name for name in fields if name not in _KEPT and name != _CUT and name not in _FIRST_TO_GO]
    for name in (*_FIRST_TO_GO, *others):
        if _size(fields) <= room:
            return
        fields.pop(name, None)
    if "title" in fields and (surplus := _size(fields) - room) > 0:
        title = fields["title"]
        fields["title"] = _cut(title, len(orjson.dumps(title)) - 2 - surplus)


def _size(fields: dict[str, Any]) -> int:
    return len(orjson.dumps(fields)) - len(b"{}")


def _cut(text: str, room: int) -> str:
    """Return the longest beginning of `text` that has at most `room` bytes in JSON, without the quotes."""
    low, high = 0, min(len(text), max(0, room))
    while low < high:
        middle = (low + high + 1) // 2
        if len(orjson.dumps(text[:middle])) - 2 <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]
