"""The tolerant multipart reader: splits a whole body at its boundary, by hand. `web.body` calls it.

The body is in memory or mapped from a file; of a mapped one, nothing large is ever copied.

Real clients send bodies that strict parsers refuse: without the final boundary, with bare line feeds,
with names that are not quoted, with header names in any case. All of those are read here, in time that
is linear in the size of the body, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from urllib.parse import unquote_to_bytes

from ntfyish.model.errors import Invalid, Reason
from ntfyish.web.charset import CODECS, find_codec
from ntfyish.web.form import MAX_PARAMETERS

MAX_BOUNDARY_BYTES = 256
MAX_PART_HEADER_BYTES = 4096
MAX_MAPPED_TEXT_BYTES = 65_536  # all fields of a mapped body together

# What most clients write before a plain field, between the boundary and the name.
_PLAIN_HEADER = '\r\nContent-Disposition: form-data; name="'
_MAX_PLAIN_BYTES = 16_384
_LINE_END = re.compile(rb"[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
# A missing closing quote is forgiven, so that nothing is ever scanned twice.
_HEADER_PARAMETER = re.compile(rb';\s*([^\s=;"]++)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"?|([^;\s]*+))', re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\])')
_FIRST_LINE = re.compile(rb"\s{0,16}--([!-~]{1,256})[ \t]*\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file that came with a form; hostile in every field.

    Attributes:
        name: the form field.
        filename: its last path component, "" if there is none.
        content_type: as sent, "" if there is none.
        data: as sent; a view if the body is mapped from a file, which stays open as long as the view.
    """

    name: str
    filename: str
    content_type: str
    data: bytes | memoryview


def find_boundary(content_type: str, data: bytes | mmap) -> bytes:
    """Return the boundary that `data` is split by; b"" if it does not look like multipart at all.

    The one that `content_type` names counts if the body has it; otherwise the body's first line tells.
    """
    _, _, plain = content_type.partition("; boundary=")
    if plain.isascii() and ";" not in plain and '"' not in plain and 0 < len(plain) <= MAX_BOUNDARY_BYTES:
        boundary = plain.encode()
        if _has(data, b"--" + boundary):
            return boundary
    boundary = _read_parameters(content_type.encode("utf-8", "replace")).get("boundary", "").encode()
    if 0 < len(boundary) <= MAX_BOUNDARY_BYTES and _has(data, b"--" + boundary):
        return boundary
    first = _FIRST_LINE.match(data)
    return b"" if first is None else first[1]


def parse_multipart(
    data: bytes | mmap, boundary: bytes, codec: str = "utf-8", large: str = ""
) -> tuple[list[tuple[str, str]], list[FilePart], list[memoryview]]:
    """Return the fields and the files of a ``multipart/form-data`` body, in order.

    A part is a file if it has a filename or a type that is not text. Field values are decoded in
    `codec`; bad bytes become U+FFFD. What comes before the first boundary and after the last is dropped,
    and so is a part without a name.

    Args:
        large: the field whose values, if they are long in a mapped body, are returned third, as sent.

    Raises:
        Invalid: REQUEST_INVALID if there are more than `MAX_PARAMETERS` parts, a part's header is
            longer than `MAX_PART_HEADER_BYTES`, or a mapped body's fields than `MAX_MAPPED_TEXT_BYTES`.
    """
    delimiter = b"--" + boundary
    if isinstance(data, bytes) and len(data) <= _MAX_PLAIN_BYTES and codec == "utf-8":
        fields = _parse_plain(data, delimiter)
        if fields is not None:
            return fields, [], []
    reader = _Parts(data, codec, large)
    for start, end in _parts(data, delimiter):
        reader.read(start, end)
    return reader.pairs, reader.files, reader.large


def _has(data: bytes | mmap, literal: bytes) -> bool:
    return next(_find_all(data, literal), None) is not None


def _find_all(data: bytes | mmap, literal: bytes) -> Iterator[int]:
    """Yield where `literal` is, in linear time."""
    if isinstance(data, bytes):
        position = data.find(literal)
        while position >= 0:
            yield position
            position = data.find(literal, position + len(literal))
    else:  # the `find` of a map takes quadratic time
        for match in re.finditer(re.escape(literal), data):
            yield match.start()


def _parse_plain(data: bytes, delimiter: bytes) -> list[tuple[str, str]] | None:
    """Return the fields of a small, well-formed body of plain fields; None if it is another."""
    text = data.decode("utf-8", "replace")
    mark = delimiter.decode("utf-8", "replace")
    body, closing, _ = text.rpartition(mark + "--")
    parts = body.split(mark + _PLAIN_HEADER)
    if parts[0] or not closing or body.count(mark) != len(parts) - 1:
        return None
    pairs = []
    for part in parts[1:]:
        name, found, value = part.partition('"\r\n\r\n')
        if not (found and name.isidentifier() and value.endswith("\r\n")):
            return None
        pairs.append((name, value[:-2]))
    return pairs if len(pairs) <= MAX_PARAMETERS else None


def _parts(data: bytes | mmap, delimiter: bytes) -> list[tuple[int, int]]:
    """Return where the parts begin and end.

    Each stands after a true delimiter: one that ends its line, before the closing one.
    """
    parts: list[tuple[int, int]] = []
    begin = -1
    for count, position in enumerate(_find_all(data, delimiter)):
        if count > MAX_PARAMETERS:  # one more closes the last
            raise Invalid(Reason.REQUEST_INVALID, "too many parts")
        after = position + len(delimiter)
        closing = data[after : after + 2] == b"--"
        if closing or _LINE_END.match(data, after):
            if begin >= 0:
                parts.append((begin, position))
            if closing:
                return parts
            begin = after
    if begin >= 0:
        parts.append((begin, len(data)))
    return parts


class _Parts:
    """Reads one part after the other.

    Attributes:
        pairs, files, large: what was found, as `parse_multipart` returns it.
    """

    def __init__(self, data: bytes | mmap, codec: str, large: str) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.files: list[FilePart] = []
        self.large: list[memoryview] = []
        self._data = data
        self._codec = codec
        self._large = large
        self._text_bytes = 0

    def read(self, start: int, end: int) -> None:
        """Read the part that is there."""
        data = self._data
        blank = _BLANK_LINE.search(data, start, min(end, start + MAX_PART_HEADER_BYTES))
        if blank is None:
            if end - start > MAX_PART_HEADER_BYTES:
                raise Invalid(Reason.REQUEST_INVALID, "a part's header is too long")
            return
        begin = blank.end()
        end = max(begin, _content_end(data, begin, end))
        headers = _read_headers(data[start : blank.start()])
        content_type = headers.get(b"content-type", b"").decode("utf-8", "replace")
        disposition = _read_parameters(headers.get(b"content-disposition", b""))
        name = disposition.get("name", "")
        if not name:
            return
        filename = disposition.get("filename*") or disposition.get("filename")
        if filename is None and content_type[:5].lower() in ("", "text/"):
            self._read_field(name, content_type, begin, end)
            return
        filename = re.split(r"[/\\]", filename or "")[-1]
        content = data[begin:end] if isinstance(data, bytes) else memoryview(data)[begin:end]
        self.files.append(FilePart(name=name, filename=filename, content_type=content_type, data=content))

    def _read_field(self, name: str, content_type: str, begin: int, end: int) -> None:
        if not isinstance(self._data, bytes):
            if name == self._large and end - begin > MAX_PART_HEADER_BYTES:
                self.large.append(memoryview(self._data)[begin:end])
                return
            self._text_bytes += end - begin
            if self._text_bytes > MAX_MAPPED_TEXT_BYTES:
                raise Invalid(Reason.REQUEST_INVALID, "the fields are too long")
        codec = find_codec(content_type) or self._codec
        self.pairs.append((name, self._data[begin:end].decode(codec, "replace")))


def _content_end(data: bytes | mmap, begin: int, end: int) -> int:
    """Return where the content ends: the line break before a boundary belongs to the boundary."""
    last = data[max(begin, end - 2) : end]
    if last == b"\r\n":
        return end - 2
    return end - 1 if last.endswith(b"\n") else end


def _read_headers(head: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _read_parameters(value: bytes) -> dict[str, str]:
    """Return the parameters of a header value: lower-case name -> value, the first one counts."""
    parameters: dict[str, str] = {}
    for match in _HEADER_PARAMETER.finditer(value):
        name = match[1].decode("ascii", "replace").lower()
        raw = match[3] if match[2] is None else _ESCAPED.sub(rb"\1", match[2])
        if name.endswith("*"):  # RFC 5987: charset'language'percent-encoded
            charset, _, rest = raw.partition(b"'")
            raw = unquote_to_bytes(rest.partition(b"'")[2])
            text = raw.decode(CODECS.get(charset.decode("ascii", "replace").lower(), "utf-8"), "replace")
        else:
            text = raw.decode("utf-8", "replace")
        parameters.setdefault(name, text)
    return parameters
