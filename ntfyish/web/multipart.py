"""The tolerant multipart reader: splits a whole body at its boundary, by hand. `web.body` calls it.

Real clients send bodies that strict parsers refuse: without the final boundary, with bare line feeds,
with names that are not quoted, with header names in any case. All of those are read here, in time that
is linear in the size of the body, whatever it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ntfyish.model.errors import Invalid, Reason
from ntfyish.web.charset import CODECS, find_codec
from ntfyish.web.form import MAX_PARAMETERS

MAX_BOUNDARY_BYTES = 256
MAX_PART_HEADER_BYTES = 4096

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
        data: as sent.
    """

    name: str
    filename: str
    content_type: str
    data: bytes


def find_boundary(content_type: str, data: bytes) -> bytes:
    """Return the boundary that `data` is split by; b"" if it does not look like multipart at all.

    The one that `content_type` names counts if the body has it; otherwise the body's first line tells.
    """
    _, _, plain = content_type.partition("; boundary=")
    if plain.isascii() and ";" not in plain and '"' not in plain and 0 < len(plain) <= MAX_BOUNDARY_BYTES:
        boundary = plain.encode()
        if b"--" + boundary in data:
            return boundary
    boundary = _read_parameters(content_type.encode("utf-8", "replace")).get("boundary", "").encode()
    if 0 < len(boundary) <= MAX_BOUNDARY_BYTES and b"--" + boundary in data:
        return boundary
    first = _FIRST_LINE.match(data)
    return b"" if first is None else first[1]


def parse_multipart(
    data: bytes, boundary: bytes, codec: str = "utf-8"
) -> tuple[list[tuple[str, str]], list[FilePart]]:
    """Return the fields and the files of a ``multipart/form-data`` body, in order.

    A part is a file if it has a filename or a type that is not text. Field values are decoded in
    `codec`; bad bytes become U+FFFD. What comes before the first boundary and after the last is dropped,
    and so is a part without a name.

    Raises:
        Invalid: REQUEST_INVALID if there are more than `MAX_PARAMETERS` parts, or a part's header is
            longer than `MAX_PART_HEADER_BYTES`.
    """
    delimiter = b"--" + boundary
    if len(data) <= _MAX_PLAIN_BYTES and codec == "utf-8":
        fields = _parse_plain(data, delimiter)
        if fields is not None:
            return fields, []
    pieces = data.split(delimiter, MAX_PARAMETERS + 2)
    if len(pieces) > MAX_PARAMETERS + 2:  # what is before the first, and after the last
        raise Invalid(Reason.REQUEST_INVALID, "too many parts")
    pairs: list[tuple[str, str]] = []
    files: list[FilePart] = []
    for part in _parts(pieces, delimiter):
        _read_part(part, codec, pairs, files)
    return pairs, files


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


def _parts(pieces: list[bytes], delimiter: bytes) -> list[bytes]:
    """Return what stands after each true delimiter: one that ends its line, before the closing one."""
    parts: list[bytes] = []
    broken: list[bytes] = []  # a part that has the delimiter's bytes in it, in pieces

    for piece in pieces[1:]:
        closing = piece.startswith(b"--")
        if closing or piece.startswith((b"\r\n", b"\n")) or _LINE_END.match(piece):
            if len(broken) > 1:
                parts[-1] = b"".join(broken)
            if closing:
                return parts
            parts.append(piece)
            broken = [piece]
        elif broken:
            broken += (delimiter, piece)
    if len(broken) > 1:
        parts[-1] = b"".join(broken)
    return parts


def _content_end(part: bytes) -> int:
    """Return where the content ends: the line break before a boundary belongs to the boundary."""
    if part.endswith(b"\r\n"):
        return len(part) - 2
    return len(part) - 1 if part.endswith(b"\n") else len(part)


def _read_part(part: bytes, codec: str, pairs: list[tuple[str, str]], files: list[FilePart]) -> None:
    blank = _BLANK_LINE.search(part, 0, MAX_PART_HEADER_BYTES)
    if blank is None:
        if len(part) > MAX_PART_HEADER_BYTES:
            raise Invalid(Reason.REQUEST_INVALID, "a part's header is too long")
        return
    content = part[blank.end() : _content_end(part)]
    headers = _read_headers(part[: blank.start()])
    content_type = headers.get(b"content-type", b"").decode("utf-8", "replace")
    disposition = _read_parameters(headers.get(b"content-disposition", b""))
    name = disposition.get("name", "")
    if not name:
        return
    filename = disposition.get("filename*") or disposition.get("filename")
    textual = content_type[:5].lower() in ("", "text/")
    if filename is None and textual:
        pairs.append((name, content.decode(find_codec(content_type) or codec, "replace")))
    else:
        filename = re.split(r"[/\\]", filename or "")[-1]
        files.append(FilePart(name=name, filename=filename, content_type=content_type, data=content))


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
