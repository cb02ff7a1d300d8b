"""The body of ntfy's JSON publish (PUT or POST to ``/``): its strict types and lenient rest, as Go reads it.

Keys are read in any case, unknown keys and null are passed over, a value of the wrong type is an error,
and so is what is not JSON; what follows the first value is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.model.topic import is_topic
from ntfyish.web.ntfy.actions import fields_from_json
from ntfyish.web.ntfy.json_body import parse_fields, refuse, typed

# JSON keys that are parameters of the same meaning, all strings.
_STRINGS = (
    "title",
    "click",
    "attach",
    "icon",
    "filename",
    "delay",
    "timezone",
    "email",
    "call",
    "cache",
    "firebase",
    "sequence_id",
    "callback",
)
# Ours: seconds as a number, or what a header would say.
_SECONDS = ("retry", "expire")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonFields:
    """What a JSON publish says, besides where to.

    Attributes:
        message: the text; "" if there is none.
        values: parameter (see `web.params.NAMES`) -> its text, as a header would carry it.
    """

    message: str
    values: Mapping[str, str]


def parse_publish_json(data: bytes, more: bool = False) -> tuple[str, JsonFields]:
    """Return the topic (a legal name) and the rest of a JSON publish.

    Args:
        data: the first `PublishLimits.json_size_bytes` bytes of it.
        more: whether it goes on.

    Raises:
        TooLarge: JSON_TOO_LARGE if it goes on.
        Invalid: JSON_INVALID if it is no JSON object or a type is wrong; then TOPIC_INVALID.
    """
    if more:
        raise TooLarge(Reason.JSON_TOO_LARGE)
    fields = parse_fields(data)
    message = typed(fields, "message", str, "")
    topic = typed(fields, "topic", str, "")
    values = _values(fields)
    if not is_topic(topic):
        raise Invalid(Reason.TOPIC_INVALID)
    return topic, JsonFields(message=message, values=values)


def _values(fields: dict[str, Any]) -> dict[str, str]:
    values = {name: text for name in _STRINGS if (text := typed(fields, name, str, ""))}
    for name in _SECONDS:
        if type(fields.get(name)) is int:
            values[name] = str(fields[name])
        elif text := typed(fields, name, str, ""):
            values[name] = text
    if tags := typed(fields, "tags", list, []):
        if not all(tag is None or isinstance(tag, str) for tag in tags):
            refuse()
        values["tags"] = ",".join(tag or "" for tag in tags)
    if priority := typed(fields, "priority", int, 0):
        values["priority"] = str(priority)
    if typed(fields, "markdown", bool, False):
        values["markdown"] = "yes"
    if actions := typed(fields, "actions", list, []):
        try:
            values["actions"] = orjson.dumps(fields_from_json(actions)).decode()
        except ValueError:
            refuse()
    return values
