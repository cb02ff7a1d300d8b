"""The body of ntfy's JSON publish (PUT or POST to ``/``): its strict types and lenient rest, as Go reads it.

Keys are read in any case, unknown keys and null are passed over, a value of the wrong type is an error,
and so is what is not JSON; what follows the first value is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.model.topic import is_topic
from ntfyish.web.ntfy.actions import fields_from_json

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
)
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = " \t\r\n"


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
    fields = _fields(data)
    message = _typed(fields, "message", str, "")
    topic = _typed(fields, "topic", str, "")
    values = _values(fields)
    if not is_topic(topic):
        raise Invalid(Reason.TOPIC_INVALID)
    return topic, JsonFields(message=message, values=values)


def _fields(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _loads_leniently(data)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse()
    return {name.lower(): item for name, item in value.items()}


def _values(fields: dict[str, Any]) -> dict[str, str]:
    values = {name: text for name in _STRINGS if (text := _typed(fields, name, str, ""))}
    if tags := _typed(fields, "tags", list, []):
        if not all(tag is None or isinstance(tag, str) for tag in tags):
            _refuse()
        values["tags"] = ",".join(tag or "" for tag in tags)
    if priority := _typed(fields, "priority", int, 0):
        values["priority"] = str(priority)
    if _typed(fields, "markdown", bool, False):
        values["markdown"] = "yes"
    if actions := _typed(fields, "actions", list, []):
        try:
            values["actions"] = orjson.dumps(fields_from_json(actions)).decode()
        except ValueError:
            _refuse()
    return values


def _typed(fields: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not kind:  # not isinstance: true is no priority
        _refuse()
    return value


def _loads_leniently(data: bytes) -> Any:
    """Read what orjson is too strict for and Go is not: something after the value, half a surrogate pair."""
    try:
        text = data.decode().lstrip(_BLANKS)
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
        return _repaired(value)
    except (ValueError, RecursionError):
        _refuse()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {_repaired(name): _repaired(item) for name, item in value.items()}
    return value


def _refuse() -> NoReturn:
    # Chained to nothing: the decoder's words would quote the body.
    raise Invalid(Reason.JSON_INVALID) from None
