"""A file that came as base64, decoded piece by piece from where it is. `uploads` calls it. Pure."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from ntfyish.web.spool import LargeText

_BREAKS = bytes.maketrans(b" ", b"+")
_DATA_URL = re.compile(rb"data:([\w.+/-]{0,100})[^,]{0,100},")
_HEAD_BYTES = 256  # enough for the beginning of a data: URL
_PIECE_BYTES = 65_536


class Base64File:
    """A file written as base64.

    Attributes:
        size_bytes: of the file.
        claimed_type: from a data: URL; "" for none.

    Raises:
        ValueError: it is not base64.
        Invalid: JSON_INVALID; its text is malformed already.
    """

    def __init__(self, text: LargeText) -> None:
        self._text = text
        self.claimed_type = ""
        self.size_bytes = sum(len(piece) for piece in self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the file's content."""
        left = b""
        padded = False
        for piece in self._without_prefix():
            digits = piece.rstrip(b"=")
            if digits and padded:
                raise ValueError("digits after the padding")
            padded = len(digits) < len(piece)
            left += digits
            end = len(left) - len(left) % 4
            yield _decode(left[:end])
            left = left[end:]
        yield _decode(left + b"=" * (-len(left) % 4))

    def _without_prefix(self) -> Iterator[bytes]:
        """Yield the digits, without what a data: URL begins with."""
        head = b""
        pieces = self._digits()
        for piece in pieces:
            head += piece
            if len(head) >= _HEAD_BYTES:
                break
        if data_url := _DATA_URL.match(head):
            self.claimed_type = data_url[1].decode("ascii", "replace")
            head = head[data_url.end() :]
        yield head
        yield from pieces

    def _digits(self) -> Iterator[bytes]:
        """Yield the text without line breaks and outer blanks; an unescaped + is a blank in a form."""
        begun = False
        blanks = 0  # at the end only if nothing follows
        for piece in self._text.pieces():
            piece = piece.translate(None, b"\r\n\t")
            if not begun:
                piece = piece.lstrip()
            text = piece.rstrip(b" ")
            if text:
                begun = True
                while blanks:
                    some = min(blanks, _PIECE_BYTES)
                    yield b"+" * some
                    blanks -= some
                yield text.translate(_BREAKS)
            if begun:
                blanks += len(piece) - len(text)


def _decode(digits: bytes) -> bytes:
    return binascii.a2b_base64(digits, strict_mode=True) if digits else b""
