"""What an e-mail says: `parse_mail` takes its bytes apart. Pure; `core.mailbox` calls it, in a thread.

It takes time and memory in proportion to the mail, whatever the mail: each level of parts is split once, and
levels, parts and headers are bounded. (The standard library's parser compares every line with the boundary of
every level, and a mail of a megabyte may have thousands of both.)
"""

from __future__ import annotations

import base64
import binascii
import html
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from ntfyish.model.charsets import CODECS

_MOST_LEVELS = 4  # as in: a signed mail, with files, with pictures for its HTML, and a text besides
_MOST_PARTS = 50
_MOST_HEADER_BYTES = 64 * 1024
_MOST_FIELD_CHARS = 4096
_MOST_HTML_CHARS = 256 * 1024
_LATEST_TIMESTAMP = 253_402_300_799  # the end of the year 9999

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)")
_PARAMETER = re.compile(r";[ \t\n]*([A-Za-z0-9*-]{1,30})=(?:\"([^\"]{0,300})\"|([^\s;\"]{0,300}))")
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z-]{0,20})?\?([BbQq])\?([^? ]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t]+(?==\?[A-Za-z0-9_-]{1,40}(?:\*[A-Za-z-]{0,20})?\?[BbQq]\?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TAG = re.compile(r"<[^<>]*>")
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/h[1-6]|/li|/table|/blockquote)\b[^<>]*>", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\v\xa0]+")
_MANY_BREAKS = re.compile(r"\n{3,}")
_CODECS: Mapping[str, str] = MappingProxyType(
    {**CODECS, "iso-2022-jp": "iso2022_jp", "ks_c_5601-1987": "cp949"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image in a mail; `name` is "" if it has none."""

    name: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a mail says.

    Attributes:
        subject: one line; "" for none.
        text: its plain text, or what its HTML says; without blanks around it, lines end with a newline.
        sent_at: Unix seconds, of its `Date`; 0 if it has none that can be read.
        picture: the first image.
    """

    subject: str = ""
    text: str = ""
    sent_at: int = 0
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    fields: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Its media type, in lower case."""
        return self.fields.get("content-type", "text/plain").partition(";")[0].strip().lower() or "text/plain"

    def parameter(self, field: str, name: str) -> str:
        """A parameter of a field; "" if it has none of that name."""
        found = _PARAMETER.finditer(self.fields.get(field, "")[:_MOST_FIELD_CHARS])
        return next((match[2] or match[3] or "" for match in found if match[1].lower() == name), "")

    @property
    def is_file(self) -> bool:
        """Whether it is to be saved rather than shown."""
        return self.fields.get("content-disposition", "").strip().lower().startswith("attachment")


def parse_mail(raw: bytes) -> Mail:
    """Return what a mail says. It never fails: what cannot be read is left out."""
    top = _part(raw)
    text = markup = ""
    picture: Picture | None = None
    for part in _leaves(top):
        media_type = part.media_type
        if media_type == "text/plain" and not text and not part.is_file:
            text = _text(part)
        elif media_type == "text/html" and not markup and not part.is_file:
            markup = _text(part)
        elif media_type.startswith("image/") and picture is None and (data := _decoded(part)):
            picture = Picture(name=_file_name(part), type=media_type, data=data)
    text = _tidy(text) or text_of_html(markup)
    return Mail(
        subject=_words(top.fields.get("subject", "")),
        text=text,
        sent_at=_timestamp(top.fields.get("date", "")),
        picture=picture,
    )


def text_of_html(markup: str) -> str:
    """Return what HTML says, as plain text. In linear time, whatever is in it."""
    visible = "".join(_visible(markup[:_MOST_HTML_CHARS]))
    marked = _BREAK.sub("\0", _BLANKS.sub(" ", visible.replace("\0", "")))
    lines = html.unescape(_TAG.sub("", marked)).split("\0")
    return _tidy("\n".join(line.strip() for line in lines))


def _visible(markup: str) -> Iterator[str]:
    """Yield what is neither a comment nor in an element that nobody sees."""
    lower = markup.lower()
    start = 0
    ends: dict[str, int] = {}
    for match in re.finditer(r"<!--|<(?:script|style|head|title)\b", lower):
        if match.start() < start:
            continue
        yield markup[start : match.start()]
        opened = match[0]
        end = "-->" if opened == "<!--" else "</" + opened[1:]
        if ends.get(end) == -1:
            found = -1
        else:
            found = ends[end] = lower.find(end, match.end())
        if found < 0:
            return
        start = found + len(end)
        if end != "-->":
            closing = lower.find(">", start)
            start = len(markup) if closing < 0 else closing + 1
    yield markup[start:]


def _part(raw: bytes) -> _Part:
    if raw.startswith((b"\r\n", b"\n")):
        return _Part({}, raw.lstrip(b"\r\n"))
    end = _HEADER_END.search(raw)
    head, body = (raw, b"") if end is None else (raw[: end.start()], raw[end.end() :])
    return _Part(_fields(head[:_MOST_HEADER_BYTES]), body)


def _fields(head: bytes) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    unfolded = _FOLD.sub("", head.decode("utf-8", "replace"))
    for line in unfolded.split("\n"):
        match = _FIELD.match(line)
        if match is not None:  # of two fields of one name the first counts
            fields.setdefault(match[1].lower(), match[2].strip())
    return fields


def _leaves(top: _Part) -> Iterator[_Part]:
    """Yield the parts that are not made of parts, in order, as deep and as many as are looked at."""
    waiting = [(top, 0)]
    seen = 0
    while waiting:
        part, level = waiting.pop()
        seen += 1
        if seen > _MOST_PARTS:
            return
        if not part.media_type.startswith("multipart/"):
            yield part
        elif level < _MOST_LEVELS:
            waiting += [(inner, level + 1) for inner in reversed(_split(part))]


def _split(part: _Part) -> list[_Part]:
    boundary = part.parameter("content-type", "boundary").encode("utf-8", "replace")
    if not boundary or len(boundary) > 100:
        return []
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    parts: list[_Part] = []
    start = -1
    for match in delimiter.finditer(part.body):
        # A delimiter's line break belongs to it, and the one of the next delimiter, too.
        if start >= 0:
            parts.append(_part(part.body[start : match.start()]))
        start = match.end()
        if match[1] or len(parts) >= _MOST_PARTS:
            return parts
    if start >= 0:
        parts.append(_part(part.body[start:]))
    return parts


def _decoded(part: _Part) -> bytes:
    encoding = part.fields.get("content-transfer-encoding", "").strip().lower()
    if encoding == "base64":
        return _from_base64(part.body)
    if encoding == "quoted-printable":
        return quopri.decodestring(part.body)
    return part.body


def _from_base64(data: bytes) -> bytes:
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", data.partition(b"=")[0])
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:  # not what base64 leaves
        return b""


def _text(part: _Part) -> str:
    return _decode(_decoded(part), part.parameter("content-type", "charset"))


def _decode(data: bytes, charset: str) -> str:
    """Return a text, in the charset that is named if it is known, and else by the bytes themselves."""
    codec = _CODECS.get(charset.strip().lower())
    if codec is not None:
        return data.decode(codec, "replace")
    if charset.strip().lower() in ("utf-16", "utf-16le", "utf-16be"):
        return data.decode(charset.strip().lower(), "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace") if not charset else data.decode("utf-8", "replace")


def _words(text: str) -> str:
    """Return a header's text as one line, its encoded words (RFC 2047) decoded."""
    text = _BETWEEN_WORDS.sub(r"\1", text[:_MOST_FIELD_CHARS])
    decoded = _ENCODED_WORD.sub(lambda match: _word(match[1], match[2], match[3], match[0]), text)
    return " ".join(_CONTROLS.sub(" ", decoded).split())


def _word(charset: str, encoding: str, text: str, whole: str) -> str:
    data = text.encode("utf-8", "replace")
    if encoding in "Bb":
        data = _from_base64(data)
        if not data and text:
            return whole
    else:
        data = quopri.decodestring(data, header=True)
    return _decode(data, charset)


def _file_name(part: _Part) -> str:
    name = part.parameter("content-disposition", "filename") or part.parameter("content-type", "name")
    return _words(name).replace("/", "_").replace("\\", "_")


def _timestamp(text: str) -> int:
    """Return the Unix seconds of a `Date`; 0 if it cannot be read."""
    if not text:
        return 0
    try:
        date = parsedate_to_datetime(text[:200])
        seconds = int((date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
    return seconds if 0 < seconds <= _LATEST_TIMESTAMP else 0


def _tidy(text: str) -> str:
    """Return a text with plain line ends, no other control characters, and no blanks around it."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _MANY_BREAKS.sub("\n\n", text).strip()
