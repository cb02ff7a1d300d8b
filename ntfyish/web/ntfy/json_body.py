"""JSON bodies as Go reads them: strict types and a lenient rest. ntfy's JSON publish and account API use it.

Keys are read in any case, unknown keys and null are passed over, a value of the wrong type is an error,
and so is what is not JSON; what follows the first value is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import orjson

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.web.http import Request

LIMIT_BYTES = 32 * 1024  # of everything but JSON publishes

T = TypeVar("T")

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = " \t\r\n"
_INT64 = range(-(2**63), 2**63)


async def read_fields(request: Request, *, may_be_empty: bool = False) -> Mapping[str, Any]:
    """Return the object in a request's body, its keys in lower case.

    Args:
        may_be_empty: whether no body at all means an object without fields.

    Raises:
        TooLarge: JSON_TOO_LARGE; more than `LIMIT_BYTES`.
        Invalid: JSON_INVALID; it is no JSON object.
    """
    data, more = await request.body.read(LIMIT_BYTES)
    if more:
        raise TooLarge(Reason.JSON_TOO_LARGE)
    if may_be_empty and not data.strip():
        return {}
    return parse_fields(data)


def parse_fields(data: bytes) -> dict[str, Any]:
    """Return the object in `data`, its keys in lower case; null is an object without fields.

    Raises:
        Invalid: JSON_INVALID.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _loads_leniently(data)
    return as_fields(value)


def as_fields(value: object) -> dict[str, Any]:
    """Return `value`, an object or null, with its keys in lower case.

    Raises:
        Invalid: JSON_INVALID.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        refuse()
    return {name.lower(): item for name, item in value.items()}


def typed(fields: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """Return a field of type `kind`, or `default` if it is absent or null.

    Raises:
        Invalid: JSON_INVALID; it has another type.
    """
    value = optional(fields, name, kind)
    return default if value is None else value


def optional(fields: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Return a field of type `kind`, or None if it is absent or null.

    Raises:
        Invalid: JSON_INVALID; it has another type.
    """
    value = fields.get(name)
    if value is None:
        return None
    # not isinstance: true is no number
    if type(value) is not kind or (kind is int and value not in _INT64):
        refuse()
    return value


def refuse() -> NoReturn:
    """Raise Invalid with JSON_INVALID, chained to nothing: the decoder's words would quote the body."""
    raise Invalid(Reason.JSON_INVALID) from None


def _loads_leniently(data: bytes) -> Any:
    """Read what orjson is too strict for and Go is not: something after the value, half a surrogate pair."""
    try:
        text = data.decode().lstrip(_BLANKS)
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
        return _repaired(value)
    except (ValueError, RecursionError):
        refuse()


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
