"""The one look-up of ntfy's parameters: header fields first, then the query string. ntfy's dialect calls it.

A parameter has several names. The header fields of those names are asked in order (RFC 2047 words are
decoded, blanks around are cut, the first that is not empty wins), then the query, where a name must be
written exactly and nothing is decoded twice.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping

from ntfyish.web.http import Request

# Parameter -> its names, in order of precedence (ntfy's publish and subscribe APIs).
NAMES: Mapping[str, tuple[str, ...]] = {
    "cache": ("x-cache", "cache"),
    "firebase": ("x-firebase", "firebase"),
    "title": ("x-title", "title", "t"),
    "message": ("x-message", "message", "m"),
    "click": ("x-click", "click"),
    "icon": ("x-icon", "icon"),
    "filename": ("x-filename", "filename", "file", "f"),
    "attach": ("x-attach", "attach", "a"),
    "email": ("x-email", "x-e-mail", "email", "e-mail", "mail", "e"),
    "call": ("x-call", "call"),
    "priority": ("x-priority", "priority", "prio", "p"),
    "tags": ("x-tags", "tags", "tag", "ta"),
    "delay": ("x-delay", "delay", "x-at", "at", "x-in", "in"),
    "actions": ("x-actions", "actions", "action"),
    "markdown": ("x-markdown", "markdown", "md"),
    "content_type": ("content-type", "content_type"),
    "template": ("x-template", "template", "tpl"),
    "unifiedpush": ("x-unifiedpush", "unifiedpush", "up"),
    "content_encoding": ("content-encoding",),
    "poll_id": ("x-poll-id", "poll-id"),
    "sequence_id": ("x-sequence-id", "sequence-id", "sid"),
    "timezone": ("x-timezone", "timezone"),
    "retry": ("x-retry", "retry"),
    "expire": ("x-expire", "expire"),
    "callback": ("x-callback", "callback"),
    "poll": ("x-poll", "poll", "po"),
    "since": ("x-since", "since", "si"),
    "scheduled": ("x-scheduled", "scheduled", "sched"),
    "id": ("x-id", "id"),
    # EventSource sends the header; a page that reconnects by hand cannot, and uses the query.
    "last_event_id": ("last-event-id", "lastEventId"),
}

_PLACE = {name: (rank, parameter) for parameter, names in NAMES.items() for rank, name in enumerate(names)}
_KNOWN = frozenset(_PLACE)
_TRUE = frozenset({"1", "yes", "true"})

# RFC 9218: browsers and proxies send `Priority: u=1, i` about the transfer; it says nothing of the message.
# Its members may come in any order, and "i" alone; `u=1,2` is no such thing, but ntfy passes over it as well.
_TRANSFER_MEMBER = r"(?:u=[0-9]|i(?:=\?[01])?)"
_TRANSFER_PRIORITY = re.compile(rf"{_TRANSFER_MEMBER}(?:[ \t]*,[ \t]*{_TRANSFER_MEMBER})*|u=[0-9],\s*[0-9]")

_WORD = re.compile(r"=\?([^?]*)\?(.)\?(.*?)\?=", re.DOTALL)
_Q_TEXT = re.compile(r"(?:[ -<>-~\t\r\n]|=[0-9A-Fa-f]{2})*")
_Q_BYTE = re.compile(r"=([0-9A-Fa-f]{2})")
_BLANKS = " \t\r\n"
# Each broken word costs a walk to the end of the value; after so many the rest is left as it is.
_MOST_BROKEN_WORDS = 8


class Params:
    """The parameters of one request that have a value.

    Args:
        request: the request.
        first: parameter -> value that comes before any header (a JSON body's fields); decoded and cut
            like a header, and passed over if nothing is left of it.
    """

    __slots__ = ("_values",)

    def __init__(self, request: Request, first: Mapping[str, str] | None = None) -> None:
        values: dict[str, str] = {}
        if first:
            for parameter, value in first.items():
                _offer(values, parameter, _decode(value))
        headers = request.headers
        # One intersection in C instead of asking for some seventy names one by one.
        if names := _KNOWN.intersection(headers):
            for name in sorted(names, key=_rank) if len(names) > 1 else names:
                parameter = _PLACE[name][1]
                if parameter not in values:
                    _offer(values, parameter, _header(name, headers[name]))
        if request.query_string:
            query = request.query
            for name in sorted(_KNOWN.intersection(query), key=_rank):
                parameter = _PLACE[name][1]
                if parameter not in values:
                    _offer(values, parameter, query[name].strip())
        self._values = values

    def __bool__(self) -> bool:
        return bool(self._values)

    def get(self, parameter: str) -> str:
        """Return the value (one of the keys of `NAMES`), or "" if the request has none."""
        return self._values.get(parameter, "")

    def flag(self, parameter: str, default: bool = False) -> bool:
        """Return whether the value is 1, yes or true (any case); `default` if there is none.

        Any other word means no, as with ntfy: there is no error.
        """
        value = self._values.get(parameter)
        return default if value is None else value.lower() in _TRUE


def decode_words(text: str) -> str:
    """Decode the RFC 2047 words in `text` as Go does.

    Words may stand between plain text; blanks between two words vanish; a character may be cut in two by
    a word's end. A word that is broken inside is left as it is, and so is all of `text` if a charset is
    unknown (known are utf-8, iso-8859-1 and us-ascii).
    """
    out = bytearray()
    copied = 0
    after_word = False
    broken = 0
    start = text.find("=?")
    while start >= 0 and broken < _MOST_BROKEN_WORDS and (word := _WORD.match(text, start)):
        content = _word_bytes(word[2], word[3])
        if content is None:
            broken += 1
            after_word = False
            out += _utf8(text[copied : start + 2])
            copied = start + 2
        else:
            between = text[copied:start]
            if not after_word or between.strip(_BLANKS):
                out += _utf8(between)
            converted = _to_utf8(word[1].lower(), content)
            if converted is None:
                return text
            out += converted
            copied = word.end()
            after_word = True
        start = text.find("=?", copied)
    out += _utf8(text[copied:])
    return out.decode("utf-8", "replace")


def _rank(name: str) -> int:
    return _PLACE[name][0]


def _offer(values: dict[str, str], parameter: str, value: str) -> None:
    if value:
        values[parameter] = value


def _header(name: str, value: str) -> str:
    text = _decode(value)
    return "" if name == "priority" and _TRANSFER_PRIORITY.fullmatch(text) else text


def _decode(value: str) -> str:
    return (decode_words(value) if "=?" in value else value).strip()


def _word_bytes(encoding: str, text: str) -> bytes | None:
    if encoding in "bB":
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:  # not ASCII, or not base64
            return None
    if encoding in "qQ" and _Q_TEXT.fullmatch(text):
        return _Q_BYTE.sub(_q_byte, text.replace("_", " ")).encode("latin-1")
    return None


def _q_byte(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _to_utf8(charset: str, content: bytes) -> bytes | None:
    if charset == "utf-8":
        return content
    if charset == "iso-8859-1":
        return content.decode("latin-1").encode()
    if charset == "us-ascii":
        return content.decode("ascii", "replace").encode()
    return None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
