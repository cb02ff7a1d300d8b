"""How messages look on each transport: JSON lines, server-sent events, raw text, WebSocket frames.

A format's `frame` is complete on the wire, HTTP chunk header and all, so that the hub can hand the same
bytes to everybody and can join several messages by concatenation. There is one instance per transport and
framing; formats are compared by identity.

Forms after ntfy's subscribe API. Ours: SSE events carry ``id:`` so that ``Last-Event-ID`` resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from ntfyish.core.ports import Shape
from ntfyish.model.html_text import reduce_html
from ntfyish.model.line import decode
from ntfyish.model.message import Event, Message, Published, new_id

LAST_CHUNK = b"0\r\n\r\n"
PING_FRAME = b"\x89\x00"


def chunk(data: bytes) -> bytes:
    """Return `data` as one HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def text_frame(data: bytes) -> bytes:
    """Return `data` as one unmasked WebSocket text frame (RFC 6455 section 5.2)."""
    size = len(data)
    if size < 126:
        return b"\x81%c%b" % (size, data)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), data)


def _as_is(data: bytes) -> bytes:
    return data


def event_line(event: Event, topic_text: str, now: float) -> bytes:
    """Return the JSON of an open or keepalive event: a fresh identifier, never stored."""
    return orjson.dumps({"id": new_id(), "time": int(now), "event": event.value, "topic": topic_text})


class Format:
    """What all formats have in common.

    Attributes:
        content_type: of the HTTP response.
        shape: how SQLite may join stored lines; None if each must be looked at.

    Args:
        now: the clock, for keepalives.
        framed: False for HTTP/1.0, whose body ends with the connection and is not chunked.
    """

    content_type = ""
    shape: Shape | None = None

    def __init__(self, now: Callable[[], float], *, framed: bool = True) -> None:
        self._now = now
        self._wrap = chunk if framed else _as_is
        self.end = LAST_CHUNK if framed else b""

    def frame(self, published: Published) -> bytes:
        """Return the complete bytes of one message."""
        return self._wrap(self._row(published.message.id, published.line))

    def opening(self, topic_text: str) -> bytes:
        """Return the complete bytes of the open event."""
        return self._wrap(self._event(Event.OPEN, topic_text))

    def keepalive(self, topic_text: str) -> bytes:
        """Return the complete bytes of a keepalive."""
        return self._wrap(self._event(Event.KEEPALIVE, topic_text))

    def rows(self, rows: Sequence[tuple[str, bytes]]) -> bytes:
        """Return the complete bytes of stored messages, given as (id, line)."""
        return self._wrap(b"".join([self._row(identity, line) for identity, line in rows]))

    def joined(self, data: bytes) -> bytes:
        """Return the complete bytes of what was joined in `shape`."""
        return self._wrap(data)

    def _row(self, identity: str, line: bytes) -> bytes:
        raise NotImplementedError

    def _event(self, event: Event, topic_text: str) -> bytes:
        raise NotImplementedError


class JsonFormat(Format):
    """One JSON object a line."""

    content_type = "application/x-ndjson; charset=utf-8"
    shape = Shape("", "", "\n")

    def _row(self, identity: str, line: bytes) -> bytes:
        return line + b"\n"

    def _event(self, event: Event, topic_text: str) -> bytes:
        return event_line(event, topic_text, self._now()) + b"\n"


class SseFormat(Format):
    """Server-sent events. Messages have no ``event:`` line, so that EventSource calls `onmessage`."""

    content_type = "text/event-stream; charset=utf-8"
    shape = Shape("id: ", "\ndata: ", "\n\n")

    def frame(self, published: Published) -> bytes:
        """Return the complete bytes of one message; a poll request is an event of its own."""
        if published.message.event is Event.POLL_REQUEST:
            return self._wrap(b"event: poll_request\ndata: %b\n\n" % published.line)
        return self._wrap(self._row(published.message.id, published.line))

    def _row(self, identity: str, line: bytes) -> bytes:
        return b"id: %b\ndata: %b\n\n" % (identity.encode(), line)

    def _event(self, event: Event, topic_text: str) -> bytes:
        data = event_line(event, topic_text, self._now())
        return b"event: %b\ndata: %b\n\n" % (event.value.encode(), data)


class RawFormat(Format):
    """The text of each message on one line; everything else is an empty line."""

    content_type = "text/plain; charset=utf-8"

    def frame(self, published: Published) -> bytes:
        """Return the complete bytes of one message."""
        return self._wrap(_raw_line(published.message))

    def _row(self, identity: str, line: bytes) -> bytes:
        return _raw_line(decode(line))

    def _event(self, event: Event, topic_text: str) -> bytes:
        return b"\n"


class WebSocketFormat(Format):
    """A text frame per message: the JSON line with its newline. A keepalive is a ping."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now, framed=False)

    def keepalive(self, topic_text: str) -> bytes:
        """Return a ping frame."""
        return PING_FRAME

    def _row(self, identity: str, line: bytes) -> bytes:
        return text_frame(line + b"\n")

    def _event(self, event: Event, topic_text: str) -> bytes:
        return text_frame(event_line(event, topic_text, self._now()) + b"\n")


def _raw_line(message: Message) -> bytes:
    text = message.content.message if message.event is Event.MESSAGE else ""
    if message.content.html:
        text = reduce_html(text)
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ").encode() + b"\n"
