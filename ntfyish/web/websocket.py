"""The server's side of RFC 6455, as far as a subscriber needs it: the handshake, and frames from the client.

What a subscriber says is ignored (ntfy's rule), so nothing is kept but the state of one frame; a message from
it may have 64 bytes at most. An Open Client says one line (`Listener`).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib

from ntfyish.model.errors import Invalid, Reason
from ntfyish.web.http import Request

MAX_CLIENT_MESSAGE_BYTES = 64
_MAX_CONTROL_BYTES = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})

PROTOCOL_ERROR = 1002
INVALID_PAYLOAD = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009

# A subscriber has nothing to say but pongs and now and then a ping.
_MAX_FRAMES_PER_PERIOD = 200
_PERIOD_S = 10.0


class UnsupportedVersion(Exception):
    """The client speaks another version of the protocol than 13."""


def wants_websocket(request: Request) -> bool:
    """Whether the client asks to upgrade to WebSocket."""
    return "websocket" in _tokens(request, "upgrade") and "upgrade" in _tokens(request, "connection")


def accept_key(request: Request) -> str:
    """Return ``Sec-WebSocket-Accept`` for an upgrade request.

    Raises:
        Invalid: WEBSOCKET_EXPECTED if it is none, or its key is not 16 bytes in base64.
        UnsupportedVersion: answer 426.
    """
    if request.method != "GET" or request.version < (1, 1) or not wants_websocket(request):
        raise Invalid(Reason.WEBSOCKET_EXPECTED)
    if request.headers.get("sec-websocket-version") != "13":
        raise UnsupportedVersion
    keys = request.values("sec-websocket-key")
    key = keys[0] if len(keys) == 1 else ""
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != 16:
        raise Invalid(Reason.WEBSOCKET_EXPECTED)
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def _tokens(request: Request, name: str) -> list[str]:
    return [token.strip() for token in request.headers.get(name, "").lower().split(",")]


class Goodbye(Exception):
    """The connection ends; `frame` is the Close frame to send first."""

    def __init__(self, frame: bytes) -> None:
        super().__init__()
        self.frame = frame


def _goodbye(code: int) -> Goodbye:
    return Goodbye(b"\x88\x02" + code.to_bytes(2, "big"))


class ClientFrames:
    """Reads frames from a client in whatever pieces they arrive."""

    __slots__ = ("_buffer", "_count", "_message_bytes", "_period_from", "_utf8")

    _longest_bytes = MAX_CLIENT_MESSAGE_BYTES

    def __init__(self) -> None:
        self._buffer = b""
        self._message_bytes = -1  # of the fragmented message under way; -1 if there is none
        self._utf8: codecs.IncrementalDecoder | None = None
        self._count = 0
        self._period_from = 0.0

    def feed(self, data: bytes, now: float) -> bytes:
        """Take bytes and return the answers they call for (pongs); `now` is in monotonic seconds.

        Raises:
            Goodbye: the client closes, breaks the protocol, or says too much.
        """
        data = self._buffer + data if self._buffer else data
        replies = []
        place = 0
        while True:
            size = len(data) - place
            if size < 2:
                break
            opcode, length = self._check_header(data[place], data[place + 1])
            header = 2
            if length == 126:
                if data[place + 1] & 0x7F == 127 or self._longest_bytes < 126:
                    raise _goodbye(TOO_BIG)
                if size < 4:
                    break
                header, length = 4, int.from_bytes(data[place + 2 : place + 4], "big")
                if length + max(self._message_bytes, 0) > self._longest_bytes:
                    raise _goodbye(TOO_BIG)
            if size < header + 4 + length:
                break
            start = place + header + 4
            payload = _unmask(data[start - 4 : start], data[start : start + length])
            final = bool(data[place] & 0x80)
            place = start + length
            self._count_frame(now)
            if reply := self._take(opcode, final, payload):
                replies.append(reply)
        self._buffer = data[place:]
        return b"".join(replies)

    def _check_header(self, first: int, second: int) -> tuple[int, int]:
        """Return opcode and length of a frame; 126 stands for every longer form."""
        opcode, length = first & 0x0F, min(second & 0x7F, 126)
        if first & 0x70 or opcode not in _KNOWN or not second & 0x80:
            raise _goodbye(PROTOCOL_ERROR)
        if opcode >= _CLOSE:
            if length > _MAX_CONTROL_BYTES or not first & 0x80:
                raise _goodbye(PROTOCOL_ERROR)
        elif (opcode == _CONTINUATION) != (self._message_bytes >= 0):
            raise _goodbye(PROTOCOL_ERROR)
        elif length < 126 and length + max(self._message_bytes, 0) > self._longest_bytes:
            raise _goodbye(TOO_BIG)
        return opcode, length

    def _take(self, opcode: int, final: bool, payload: bytes) -> bytes:
        if opcode == _PING:
            return b"\x8a%c%b" % (len(payload), payload)
        if opcode == _CLOSE:
            raise _answer_close(payload)
        if opcode == _PONG:
            return b""
        if opcode == _TEXT:
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        elif opcode == _BINARY:
            self._utf8 = None
        self._message_bytes = max(self._message_bytes, 0) + len(payload)
        self._keep(payload, final)
        if self._utf8 is not None:
            try:
                self._utf8.decode(payload, final)
            except UnicodeDecodeError:
                raise _goodbye(INVALID_PAYLOAD) from None
        if final:
            self._message_bytes = -1
            self._utf8 = None
        return b""

    def _keep(self, payload: bytes, final: bool) -> None:
        """Take a piece of a message; a subscriber's are of no interest."""

    def _count_frame(self, now: float) -> None:
        if now - self._period_from > _PERIOD_S:
            self._period_from = now
            self._count = 0
        self._count += 1
        if self._count > _MAX_FRAMES_PER_PERIOD:
            raise _goodbye(POLICY_VIOLATION)


class Listener(ClientFrames):
    """Reads frames like `ClientFrames`, but keeps what the client says first, up to 256 bytes.

    Attributes:
        first: the first message; None until it is complete.
    """

    __slots__ = ("_pieces", "first")

    _longest_bytes = 256

    def __init__(self) -> None:
        super().__init__()
        self.first: bytes | None = None
        self._pieces = b""

    def _keep(self, payload: bytes, final: bool) -> None:
        if self.first is None:
            self._pieces += payload
            if final:
                self.first, self._pieces = self._pieces, b""


def _answer_close(payload: bytes) -> Goodbye:
    if not payload:
        return Goodbye(b"\x88\x00")
    code = int.from_bytes(payload[:2], "big")
    legal = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    if len(payload) == 1 or not (legal or 3000 <= code <= 4999):
        return _goodbye(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return _goodbye(INVALID_PAYLOAD)
    return _goodbye(code)


def _unmask(mask: bytes, payload: bytes) -> bytes:
    return bytes([byte ^ mask[place % 4] for place, byte in enumerate(payload)])
