"""Action buttons as ntfy's clients write them: a JSON array, or the short form. Drafts use it.

The short form::

    actions := action { ";" action }
    action  := section { "," section }
    section := [ key "=" ] value
    value   := bare text | '"' text '"' | "'" text "'"     a backslash before its own quote keeps it

Without a key, the first section is the action, the second the label, the third the url of a view or http
action, or the value of a copy action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.message import Action, new_id

ACTION_ID_LENGTH = 10
MOST_ACTIONS = 3

_ACTIONS = ("view", "broadcast", "http", "copy")
_THIRD = {"view": "url", "http": "url", "copy": "value"}
_TEXTS = frozenset({"action", "label", "url", "method", "body", "intent", "value"})
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_MAPS = ("headers", "extras")

_KEY = re.compile(r"([-.\w]+)[ \t\r\n\f]*=[ \t\r\n\f]*", re.ASCII)
_BARE = re.compile(r"[^,;]*")
# As ntfy: a quote after a backslash never ends the text, even if that backslash follows another.
_QUOTED = {quote: re.compile(rf"(.*?)(?<!\\){quote}", re.DOTALL) for quote in "\"'"}
_BLANKS = re.compile(r"[ \t\r\n]*")

# One action as read: texts by name, `clear`, and the two maps.
_Fields = dict[str, Any]


def parse_actions(text: str) -> tuple[Action, ...]:
    """Return the actions in `text`, each with a random id; at most three.

    Raises:
        Invalid: ACTIONS_INVALID, with ntfy's words about what is wrong as the detail.
    """
    try:
        text = text.strip()
        read = fields_from_json(_loads(text)) if text.startswith("[") else list(_ShortForm(text))
        if len(read) > MOST_ACTIONS:
            raise ValueError(f"only {MOST_ACTIONS} actions allowed")
        return tuple(_action(fields) for fields in read)
    except ValueError as error:
        raise Invalid(Reason.ACTIONS_INVALID, str(error)) from None


def fields_from_json(data: Any) -> list[_Fields]:
    """Return the fields of the actions in a decoded JSON array; keys in any case, unknown ones left out.

    Raises:
        ValueError: something has the wrong type.
    """
    if not isinstance(data, list):
        raise ValueError("JSON error: not an array")
    return [_json_fields({} if item is None else item) for item in data]


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"JSON error: {error}") from None


def _json_fields(item: Any) -> _Fields:
    if not isinstance(item, dict):
        raise ValueError("JSON error: an action must be an object")
    fields: _Fields = {}
    for name, value in item.items():
        key = name.lower()
        if value is None:
            continue
        if key in _TEXTS:
            fields[key] = _typed(key, value, str)
        elif key == "clear":
            fields[key] = _typed(key, value, bool)
        elif key in _MAPS:
            pairs = _typed(key, value, dict)
            fields[key] = {k: "" if v is None else _typed(key, v, str) for k, v in pairs.items()}
    return fields


def _typed(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"JSON error: '{key}' has the wrong type")
    return value


def _action(fields: _Fields) -> Action:
    kind = fields.get("action", "").lower()
    method = fields.get("method", "").upper()
    if kind not in _ACTIONS:
        raise ValueError(
            f"parameter 'action' cannot be '{kind}', valid values are 'view', 'broadcast', 'http' and 'copy'"
        )
    if not fields.get("label"):
        raise ValueError("parameter 'label' is required")
    required = _THIRD.get(kind)
    if required and not fields.get(required):
        raise ValueError(f"parameter '{required}' is required for action '{kind}'")
    if kind == "http" and method in ("GET", "HEAD") and fields.get("body"):
        raise ValueError(f"parameter 'body' cannot be set if method is {method}")
    return Action(
        id=new_id(ACTION_ID_LENGTH),
        action=kind,
        label=fields["label"],
        clear=fields.get("clear", False),
        url=fields.get("url", ""),
        method=method,
        headers=tuple(fields.get("headers", {}).items()),
        body=fields.get("body", ""),
        intent=fields.get("intent", ""),
        extras=tuple(fields.get("extras", {}).items()),
        value=fields.get("value", ""),
    )


class _ShortForm:
    """Reads the short form from left to right; iterating yields the fields of one action after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def __iter__(self) -> Iterator[_Fields]:
        while self._at < len(self._text):
            yield self._read_action()

    def _read_action(self) -> _Fields:
        fields: _Fields = {}
        section = 0
        last = False
        while not last:
            self._skip_blanks()
            key = self._read_key()
            value = self._read_value()
            last = self._text[self._at : self._at + 1] != ","
            self._at += 1
            _set(fields, section, key, value)
            section += 1
        return fields

    def _read_key(self) -> str:
        match = _KEY.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[1]

    def _read_value(self) -> str:
        """Read up to the ",", the ";" or the end, and stop there."""
        quote = self._text[self._at : self._at + 1]
        if quote in _QUOTED:
            return self._read_quoted(quote)
        match = _BARE.match(self._text, self._at)
        assert match is not None  # it matches the empty text, too
        self._at = match.end()
        return match[0].strip()

    def _read_quoted(self, quote: str) -> str:
        self._at += 1
        match = _QUOTED[quote].match(self._text, self._at)
        if match is None:
            raise ValueError(f"unexpected end of input, quote started at position {self._position()}")
        self._at = match.end()
        self._skip_blanks()
        follows = self._text[self._at : self._at + 1]
        if follows not in ("", ",", ";"):
            raise ValueError(f"unexpected character '{follows}' at position {self._position()}")
        return match[1].replace("\\" + quote, quote)

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _position(self) -> int:
        return len(self._text[: self._at].encode())  # ntfy counts bytes


def _set(fields: _Fields, section: int, key: str, value: str) -> None:
    if not key:
        positional = ("action", "label", _THIRD.get(fields.get("action", ""), ""))
        key = positional[section] if section < len(positional) else ""
        if not key:
            raise ValueError(f"term '{value}' unknown")
    group, dot, name = key.partition(".")
    lower = key.lower()
    if dot and group in _MAPS:
        fields.setdefault(group, {})[name] = value
    elif lower == "clear":
        if value.lower() not in _BOOLEANS:
            raise ValueError(
                f"parameter 'clear' cannot be '{value}', "
                "only boolean values are allowed (true/yes/1/false/no/0)"
            )
        fields["clear"] = _BOOLEANS[value.lower()]
    elif lower in _TEXTS:
        fields[lower] = value
    else:
        raise ValueError(f"key '{key}' unknown")
