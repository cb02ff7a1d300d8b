"""The tolerant body reader: a request's parameters, wherever and however a client put them.

For the form-like APIs (Pushover's dialect calls it). It reads URL-encoded forms, multipart and JSON, on
every method, by what the label says and by what the bytes look like: clients send forms labelled as
JSON, JSON labelled as a form, GETs with a body, and bodies without a label. Every limit holds whatever
is sent, and all work is linear in its size. It never decompresses, and knows no parameter by name.

A body of more than 64 KiB is never in memory as a whole: it goes to a file without a name (`web.spool`).
"""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap
from pathlib import Path
from typing import Any

import orjson

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.web.charset import find_codec
from ntfyish.web.form import MAX_PARAMETERS, parse_form
from ntfyish.web.http import Request
from ntfyish.web.multipart import FilePart, find_boundary, parse_multipart
from ntfyish.web.spool import LargeText, cut_values, spool

__all__ = ["BODY_LIMIT_BYTES", "FilePart", "Parameters", "read_parameters"]

# A file of 5 MiB as base64 in JSON (6.99 MB), and the other fields.
BODY_LIMIT_BYTES = 7_200_000

# Larger bodies are mapped from a file; what of them is neither a file nor the large field is not longer.
_MAX_IN_MEMORY_BYTES = 65_536
_BOM = b"\xef\xbb\xbf"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FORM = "application/x-www-form-urlencoded"

# Beyond this size, JSON is counted before it is parsed: small values in great number take twenty
# times their size in memory.
_MAX_UNCOUNTED_JSON_BYTES = 65_536
_MAX_JSON_VALUES = 20_000


class Parameters:
    """The parameters of a request: name -> value or values, names exact.

    A blank value (empty, or only white space) counts as absent. Where a name is given several times,
    the last value that is not blank counts.

    Attributes:
        files: the file parts of a multipart body.
        malformed: names whose value has no textual form (a JSON object, a list of lists); they are absent.
        large: the value of the one field that may be large, if it is; it is absent otherwise.
    """

    __slots__ = ("_repeated", "_values", "files", "large", "malformed")

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        files: Sequence[FilePart] = (),
        malformed: frozenset[str] = frozenset(),
        large: LargeText | None = None,
    ) -> None:
        self.large = large
        self.files = files
        self.malformed = malformed
        self._values = dict(pairs)
        self._repeated: dict[str, list[str]] = {}
        if len(self._values) != len(pairs):
            self._collect(pairs)

    def text(self, name: str) -> str:
        """Return the value of `name`, untrimmed; "" if it is absent or blank."""
        value = self._values.get(name)
        return "" if value is None or not value or value.isspace() else value

    def is_given(self, name: str) -> bool:
        """Whether `name` was sent at all, maybe blank: where that has a meaning of its own."""
        return name in self._values

    def texts(self, name: str) -> list[str]:
        """Return all values of `name` in order, without blank ones.

        They come as ``name=a&name=b``, as a JSON list, or as ``name[]=a&name[]=b``.
        """
        for spelling in (name, f"{name}[]"):
            values = self._repeated.get(spelling) or [self._values.get(spelling, "")]
            if found := [value for value in values if value and not value.isspace()]:
                return found
        return []

    def flag(self, name: str) -> bool:
        """Whether `name` is one of 1, true, yes, on, in any case; everything else is no."""
        value = self._values.get(name)
        return value is not None and value.strip().lower() in _TRUE

    def _collect(self, pairs: Sequence[tuple[str, str]]) -> None:
        lists: dict[str, list[str]] = {}
        for name, value in pairs:
            lists.setdefault(name, []).append(value)
        for name, values in lists.items():
            if len(values) > 1:
                self._repeated[name] = values
                self._values[name] = next((v for v in reversed(values) if v and not v.isspace()), "")


async def read_parameters(
    request: Request, limit_bytes: int = BODY_LIMIT_BYTES, spool_dir: Path | None = None, large: str = ""
) -> Parameters:
    """Return the parameters of the query string and of the body together.

    A name that is in both has the body's value, unless that is blank (Rack, which runs Pushover's API,
    merges in this order). The request's body can be read again afterwards.

    Args:
        spool_dir: where a large body is kept meanwhile; None for the system's folder.
        large: the field that may be as long as the body; all others together have 64 KiB.

    Raises:
        TooLarge: BODY_TOO_LARGE if the body has more than `limit_bytes`.
        Invalid: REQUEST_INVALID if the body cannot be parsed, or has too many or too long parameters.
        Unavailable: BODY_TIMEOUT if the body comes too slowly; STORAGE_FULL, STORAGE_BROKEN.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit_bytes:
        raise TooLarge(Reason.BODY_TOO_LARGE)  # before a client that expects "100 Continue" sends it
    data, more = await request.body.read(min(limit_bytes, _MAX_IN_MEMORY_BYTES))
    content_type = request.headers.get("content-type", "")
    if more:
        if limit_bytes <= _MAX_IN_MEMORY_BYTES:
            raise TooLarge(Reason.BODY_TOO_LARGE)
        body, over = await spool(request.body.chunks(), limit_bytes, spool_dir)
        request.body = body
        if over:
            raise TooLarge(Reason.BODY_TOO_LARGE)
        query = request.query_pairs if request.query_string else []
        return parse_mapped(content_type, body.data, query, large)
    if not request.query_string:
        return parse_body(content_type, data)
    query = request.query_pairs
    if not data:
        return Parameters(query)
    return parse_body(content_type, data, query)


def parse_mapped(
    content_type: str, data: mmap, query: Sequence[tuple[str, str]] = (), large: str = ""
) -> Parameters:
    """Return the parameters of a body that is mapped from a file, over those of the query.

    Raises:
        Invalid: as `read_parameters`; or more than 64 KiB are neither a file nor the field `large`.
    """
    start = data[:67].removeprefix(_BOM).lstrip()
    if content_type[:10].lower() == "multipart/" or start.startswith(b"--"):
        boundary = find_boundary(content_type, data)
        if boundary:
            codec = find_codec(content_type) or "utf-8"
            pairs, files, found = parse_multipart(data, boundary, codec, large)
            text = LargeText(data=found[-1], form="plain") if found else None
            return Parameters(_over(query, pairs), files, large=text)
    is_json = start.startswith(b"{")
    spans, rest_bytes = cut_values(data, large, is_json)
    if rest_bytes > _MAX_IN_MEMORY_BYTES:
        raise Invalid(Reason.REQUEST_INVALID, "the fields are too long")
    rest = b""
    position = 0
    for number, (begin, end) in enumerate(spans):
        rest += data[position:begin] + _stand_in(number).encode()
        position = end
    parameters = parse_body(content_type, rest + data[position:], query)
    # Only where the parser has found it is it that field, and the one that counts.
    value = parameters.text(large)
    for number, (begin, end) in enumerate(spans):
        if value == _stand_in(number):
            view = memoryview(data)[begin:end]
            parameters.large = LargeText(data=view, form="json" if is_json else "form")
    return parameters


def _stand_in(number: int) -> str:
    """Return what is parsed in the place of a long value."""
    return f"({number})"


def _over(query: Sequence[tuple[str, str]], pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    given = {name for name, value in pairs if value and not value.isspace()}
    return [pair for pair in query if pair[0] not in given] + pairs


def parse_body(content_type: str, data: bytes, query: Sequence[tuple[str, str]] = ()) -> Parameters:
    """Return the parameters of a body, over those of the query."""
    files: list[FilePart] = []
    malformed: list[str] = []
    first = data[:1]
    if content_type == _FORM and first.isalpha():  # nearly every request, and nothing else can look like it
        pairs = parse_form(data)
    else:
        pairs = _parse_any(content_type, data, files, malformed)
    if query:
        pairs = _over(query, pairs)
    return Parameters(pairs, files, frozenset(malformed))


def _parse_any(
    content_type: str, data: bytes, files: list[FilePart], malformed: list[str]
) -> list[tuple[str, str]]:
    codec = find_codec(content_type) or "utf-8"
    media_type = content_type.partition(";")[0].strip().lower()
    data = data.removeprefix(_BOM)
    start = data[:64].lstrip()
    if media_type.startswith("multipart/") or start.startswith(b"--"):
        boundary = find_boundary(content_type, data)
        if boundary:
            pairs, found, _ = parse_multipart(data, boundary, codec)
            files += found
            return pairs
    if start.startswith(b"{"):
        fields = _load_object(data, codec)
        if fields is not None:
            return _flatten(fields, malformed)
    if start and not _may_be_form(media_type, start, data):
        raise Invalid(Reason.JSON_INVALID)
    return parse_form(data, codec)


def _may_be_form(media_type: str, start: bytes, data: bytes) -> bool:
    """Whether a body that is not a JSON object is to be read as a form, whatever it is labelled."""
    if media_type.endswith("json"):
        return b"=" in data and not start.startswith((b"{", b"[", b'"'))
    return media_type == _FORM or not start.startswith(b"{")


def _load_object(data: bytes, codec: str) -> dict[str, Any] | None:
    """Return the JSON object that `data` is, or None."""
    if len(data) > _MAX_UNCOUNTED_JSON_BYTES:
        count = data.count(b"[") + data.count(b"{") + data.count(b",")
        if count > _MAX_JSON_VALUES:
            raise Invalid(Reason.REQUEST_INVALID, "too many values")
    try:
        if codec != "utf-8":
            data = data.decode(codec, "replace").encode()
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        # orjson refuses bytes that are not UTF-8; a message with one bad byte is better than none.
        try:
            fields = orjson.loads(data.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return None
    return fields if isinstance(fields, dict) else None


def _flatten(fields: dict[str, Any], malformed: list[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, str):
            pairs.append((name, value))
        elif isinstance(value, list):
            texts = [_scalar(item) for item in value]
            if None in texts:
                malformed.append(name)
            else:
                pairs += [(name, text) for text in texts if text is not None]
        else:
            text = _scalar(value)
            if text is None:
                malformed.append(name)
            else:
                pairs.append((name, text))
    if len(pairs) > MAX_PARAMETERS:
        raise Invalid(Reason.REQUEST_INVALID, "too many parameters")
    return pairs


def _scalar(value: object) -> str | None:
    """Return a JSON value as a form would carry it; None for a list or an object."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return None
