"""URL-encoded forms: bytes to (name, value) pairs, fast and in linear time. `web.body` calls it.

Written for the hot path: a field without escapes costs a split, one with escapes a few C calls
(`urllib.parse.unquote_plus` takes several microseconds for each).
"""

from __future__ import annotations

from binascii import a2b_qp
from urllib.parse import unquote_to_bytes

from ntfyish.model.errors import Invalid, Reason

MAX_PARAMETERS = 1000

# Broken escapes ("100%") are repaired one by one in Python, which is too slow for megabytes of them.
_MAX_BROKEN_CHARS = 65_536


def parse_form(data: bytes, codec: str = "utf-8") -> list[tuple[str, str]]:
    """Return the fields of an ``application/x-www-form-urlencoded`` body, in order, blank ones too.

    Bytes that are not valid in `codec` become U+FFFD; a broken escape stays as it was sent.

    Raises:
        Invalid: REQUEST_INVALID if there are more than `MAX_PARAMETERS` fields, or a very long value has
            broken escapes.
    """
    if data.count(b"&") >= MAX_PARAMETERS:
        raise Invalid(Reason.REQUEST_INVALID, "too many parameters")
    if codec != "utf-8":
        # Latin-1 maps bytes to characters one to one; the escapes and the text are then decoded together.
        return _parse_in_codec(data.decode("latin-1"), codec)
    pairs = []
    for field in data.decode("utf-8", "replace").split("&"):
        name, _, value = field.partition("=")
        if "+" in field:
            name = name.replace("+", " ")
            value = value.replace("+", " ")
        if "%" in field:
            if "%" in name:
                name = unescape(name).decode("utf-8", "replace")
            if "%" in value:
                value = unescape(value).decode("utf-8", "replace")
        if name:
            pairs.append((name, value))
    return pairs


def _parse_in_codec(text: str, codec: str) -> list[tuple[str, str]]:
    pairs = []
    for field in text.replace("+", " ").split("&"):
        name, _, value = field.partition("=")
        if name:
            pairs.append((_decode(name, codec), _decode(value, codec)))
    return pairs


def _decode(text: str, codec: str) -> str:
    data = unescape(text, "latin-1") if "%" in text else text.encode("latin-1")
    return data.decode(codec, "replace")


def unescape(text: str, codec: str = "utf-8") -> bytes:
    """Return `text`, which has a percent sign in it, encoded in `codec` and with its escapes decoded.

    Quoted-printable has the same escapes behind another sign, and a decoder in C. It shortens every
    sound escape by two bytes, and what is broken by less; a break of line after the sign it would
    swallow.
    """
    data = text.encode(codec)
    count = data.count(b"%")
    quoted = data.replace(b"=", b"=3D") if b"=" in data else data
    extra = (len(quoted) - len(data)) // 2
    quoted = quoted.replace(b"%", b"=")
    if b"=\n" not in quoted and b"=\r" not in quoted:
        decoded = a2b_qp(quoted)
        if len(quoted) - len(decoded) == 2 * (count + extra):
            return decoded
    if len(data) > _MAX_BROKEN_CHARS:
        raise Invalid(Reason.REQUEST_INVALID, "broken percent escapes")
    return unquote_to_bytes(data)
