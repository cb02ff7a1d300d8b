"""HTTP/2 as APNs is spoken to: h2, with what Apple asks for and what thousands of pushes a second need.

Used by `push.apns.connection`. It owns what is touched of h2's and hpack's inner workings; the tests of the
sender pin that.
"""

from __future__ import annotations

from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hpack.hpack import Encoder, encode_integer
from hyperframe.frame import Frame, GoAwayFrame

Header = tuple[bytes, bytes]

_SPARE_STREAMS = 64


def _literal(name: bytes) -> bytes:
    return b"\x00" + bytes(encode_integer(len(name), 7)) + name


# What differs from push to push, or is secret, is sent as it is (RFC 7541, 6.2.2 and 6.2.3), as Apple asks:
# in the table of past headers it would only push out what is always the same. `:path` and `authorization`
# have numbers (4 and 23) instead of names.
_PLAIN = {
    b":path": b"\x04",
    b"authorization": b"\x1f\x08",
    b"apns-id": _literal(b"apns-id"),
    b"apns-expiration": _literal(b"apns-expiration"),
    b"apns-collapse-id": _literal(b"apns-collapse-id"),
}


class _HeaderEncoder(Encoder):
    """HPACK without Huffman's code, which costs more time than its bytes are worth."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[Header, bytes] = {}  # of headers that are in the table, until it changes

    def encode(self, headers: Iterable[Header], huffman: bool = False) -> bytes:  # type: ignore[override]
        """Return the header block."""
        block = []
        if self.header_table.resized:
            block.append(super().encode([]))
            self._numbers.clear()
        for header in headers:
            block.append(self._numbers.get(header) or self._encode(header))
        return b"".join(block)

    def _encode(self, header: Header) -> bytes:
        name, value = header
        if (prefix := _PLAIN.get(name)) is not None:
            return prefix + bytes(encode_integer(len(value), 7)) + value
        found = self.header_table.search(name, value)
        field = self.add(header, False)
        if found is not None and found[2] is not None:
            self._numbers[header] = field
        else:
            self._numbers.clear()
        return field


class Http2(H2Connection):
    """A client's side of a connection. Header names and values are bytes, and taken as they are."""

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                split_outbound_cookies=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.encoder = _HeaderEncoder()
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self._tidied_at = _SPARE_STREAMS

    @property
    def open_outbound_streams(self) -> int:
        """How many streams were open when they were last counted.

        h2 asks at every request, looks at every stream to answer, and forgets those that have ended. That is
        done now and then here; whoever uses this counts the requests, too, and makes no more than it may.
        """
        if len(self.streams) < self._tidied_at:
            return 0
        count = super().open_outbound_streams
        self._tidied_at = 2 * count + _SPARE_STREAMS
        return 0

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """Tell of it, and go on: h2 would take none of the answers that the server may still give."""
        event = ConnectionTerminated()
        try:
            event.error_code = ErrorCodes(frame.error_code)
        except ValueError:
            event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]
