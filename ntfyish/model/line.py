"""The canonical JSON of a message: ntfy's field order and omissions, ours after, under Pushover's names.

`encode` and `decode` are inverse for every message; the store keeps the encoded line so that a replay
encodes nothing.
"""

from __future__ import annotations

from typing import Any

import orjson

from ntfyish.model.message import Action, Attachment, Content, Event, Message, MessageId

# (attribute of Content, JSON name) in wire order
_TRAILER = (
    ("app", "app"),
    ("device", "device"),
    ("url_title", "url_title"),
    ("sound", "sound"),
    ("subtitle", "subtitle"),
    ("timestamp", "timestamp"),
    ("html", "html"),
    ("monospace", "monospace"),
    ("ttl_s", "ttl"),
    ("encrypted", "encrypted"),
    ("encryption_type", "encryptionType"),
    ("nzb_app", "nzbApp"),
    ("nzb_id", "nzbID"),
)
_GLANCE = ("text", "subtext", "count", "percent")
_EVENT_NAMES = {event: event.value for event in Event}  # the attribute costs more than the rest of a field
_FLAGS = frozenset({"html", "monospace", "encrypted"})


def to_json(message: Message) -> dict[str, Any]:
    """Return the message as a dict in wire order."""
    content = message.content
    out: dict[str, Any] = {"id": message.id}
    if message.sequence_id:
        out["sequence_id"] = message.sequence_id
    out["time"] = message.time
    if message.expires:
        out["expires"] = message.expires
    out["event"] = _EVENT_NAMES[message.event]
    out["topic"] = message.topic
    if content.title:
        out["title"] = content.title
    if content.message:
        out["message"] = content.message
    if content.priority:
        out["priority"] = content.priority
    if content.tags:
        out["tags"] = content.tags
    if content.click:
        out["click"] = content.click
    if content.icon:
        out["icon"] = content.icon
    if content.actions:
        out["actions"] = [_action_to_json(action) for action in content.actions]
    if content.attachment is not None:
        out["attachment"] = _attachment_to_json(content.attachment)
    if message.poll_id:
        out["poll_id"] = message.poll_id
    if content.content_type:
        out["content_type"] = content.content_type
    if content.encoding:
        out["encoding"] = content.encoding
    if content.app:  # only Pushover's dialect sets the rest, and it always sets the app
        for attribute, name in _TRAILER:
            value = getattr(content, attribute)
            if value:
                out[name] = 1 if value is True else value
    if content.glance:
        out.update(content.glance)
    if message.receipt:
        out["receipt"] = message.receipt
    return out


def encode(message: Message) -> bytes:
    """Return the canonical JSON, without a newline."""
    return orjson.dumps(to_json(message))


def decode(line: bytes | str) -> Message:
    """Return the message that `encode` made `line` from."""
    data: dict[str, Any] = orjson.loads(line)
    attachment = data.get("attachment")
    trailer: dict[str, Any] = {
        attribute: bool(data[name]) if attribute in _FLAGS else data[name]
        for attribute, name in _TRAILER
        if name in data
    }
    return Message(
        id=MessageId(data["id"]),
        sequence_id=data.get("sequence_id", ""),
        time=data["time"],
        expires=data.get("expires", 0),
        event=Event(data["event"]),
        topic=data["topic"],
        poll_id=data.get("poll_id", ""),
        receipt=data.get("receipt", ""),
        content=Content(
            title=data.get("title", ""),
            message=data.get("message", ""),
            priority=data.get("priority", 0),
            tags=tuple(data.get("tags", ())),
            click=data.get("click", ""),
            icon=data.get("icon", ""),
            actions=tuple(_action_from_json(action) for action in data.get("actions", ())),
            attachment=None if attachment is None else _attachment_from_json(attachment),
            content_type=data.get("content_type", ""),
            encoding=data.get("encoding", ""),
            glance=tuple((name, data[name]) for name in _GLANCE if name in data),
            **trailer,
        ),
    )


def _action_to_json(action: Action) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": action.id,
        "action": action.action,
        "label": action.label,
        "clear": action.clear,
    }
    if action.url:
        out["url"] = action.url
    if action.method:
        out["method"] = action.method
    if action.headers:
        out["headers"] = dict(action.headers)
    if action.body:
        out["body"] = action.body
    if action.intent:
        out["intent"] = action.intent
    if action.extras:
        out["extras"] = dict(action.extras)
    if action.value:
        out["value"] = action.value
    return out


def _action_from_json(data: dict[str, Any]) -> Action:
    return Action(
        id=data["id"],
        action=data["action"],
        label=data["label"],
        clear=data["clear"],
        url=data.get("url", ""),
        method=data.get("method", ""),
        headers=tuple(data.get("headers", {}).items()),
        body=data.get("body", ""),
        intent=data.get("intent", ""),
        extras=tuple(data.get("extras", {}).items()),
        value=data.get("value", ""),
    )


def _attachment_to_json(attachment: Attachment) -> dict[str, Any]:
    out: dict[str, Any] = {"name": attachment.name}
    if attachment.type:
        out["type"] = attachment.type
    if attachment.size_bytes:
        out["size"] = attachment.size_bytes
    if attachment.expires_at:
        out["expires"] = attachment.expires_at
    out["url"] = attachment.url
    return out


def _attachment_from_json(data: dict[str, Any]) -> Attachment:
    return Attachment(
        name=data["name"],
        url=data["url"],
        type=data.get("type", ""),
        size_bytes=data.get("size", 0),
        expires_at=data.get("expires", 0),
    )
