"""One connection to APNs: many pushes at once over HTTP/2, on aioapns' protocol.

Used by `push.apns.pool`. Beyond what aioapns does: answers are matched by their stream and may be empty or
no JSON; the peer's limits on streams and bytes are kept, and what it sends is acknowledged; a reset ends one
push, GOAWAY only those that the server will not answer, the loss of the connection all that are under way,
each with a word for what happened; what is to be sent is written once in each turn of the event loop; and a
connection that is silent for long is asked whether it is still alive. Never closed while it is used.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import orjson
from aioapns.common import NotificationRequest, NotificationResult, PushType
from aioapns.connection import APNsTLSClientProtocol, AuthorizationHeaderProvider
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from ntfyish.push.apns.http2 import Header, Http2

LOST = "connection lost"
RESET = "stream reset"
GOING_AWAY = "server going away"
MALFORMED = "malformed answer"

_LONGEST_ANSWER_BYTES = 4096
_PING = b"ntfyish?"


class ApnsRequest(NotificationRequest):
    """A push, and the answer to it once there is one.

    Attributes:
        body: the payload's bytes, which are the same for all devices that a message goes to.
        expires_at: Unix seconds.
        answer: is done when there is nothing more to wait for.
        connection: which it has been sent on; None as long as it waits for one.
        authorization: the header that it was sent with; "" for none.
        put_back: whether it has been taken off a connection already that did not take it.
    """

    __slots__ = (
        "answer", "authorization", "body", "connection", "due_at", "expires_at", "put_back", "received",
        "response", "stream_id", "unsent",
    )  # fmt: skip

    def __init__(
        self,
        device_token: str,
        message: dict[str, Any],
        notification_id: str,
        *,
        body: bytes,
        expires_at: int,
        priority: int,
        collapse_key: str,
        push_type: PushType,
    ) -> None:
        super().__init__(device_token, message, notification_id, None, priority, collapse_key, push_type)
        self.body = body
        self.expires_at = expires_at
        self.answer: asyncio.Future[ApnsAnswer] = asyncio.get_running_loop().create_future()
        self.connection: ApnsConnection | None = None
        self.authorization = ""
        self.due_at = 0.0
        self.put_back = False
        self.stream_id = 0
        self.unsent = b""
        self.response: dict[bytes, bytes] = {}
        self.received = b""

    def settle(self, status: str, reason: str, timestamp: int | None = None, retry_after: str = "") -> None:
        """Give the answer, if it is still waited for."""
        if not self.answer.done():
            self.answer.set_result(
                ApnsAnswer(self.notification_id, status, reason, timestamp, retry_after=retry_after)
            )


class ApnsAnswer(NotificationResult):
    """What APNs answered, or why it did not.

    Attributes:
        status: HTTP's; "" if there was no answer.
        description: APNs' reason, or ours if there was no answer; "" for none.
        timestamp: milliseconds since 1970; None if there was none.
        retry_after: the header; "" for none.
    """

    __slots__ = ("retry_after",)

    def __init__(
        self,
        notification_id: str,
        status: str,
        description: str = "",
        timestamp: int | None = None,
        *,
        retry_after: str = "",
    ) -> None:
        super().__init__(notification_id, status, description, timestamp)
        self.retry_after = retry_after


class Owner(Protocol):
    """Whom a connection tells what happens to it."""

    def freed(self) -> None:
        """There may be room for another request."""

    def retired(self, connection: ApnsConnection, reason: str) -> None:
        """It takes no more requests. `reason` is "" if that is nobody's fault."""

    def refused(self, request: ApnsRequest) -> None:
        """The server has not seen the request, and will not."""

    def lost(self, connection: ApnsConnection, error: Exception | None) -> None:
        """It is gone, and all that it was asked has been settled."""


class ApnsConnection(APNsTLSClientProtocol):
    """A connection to APNs.

    Args:
        authority: host and port as the header says it.
        streams: how many requests may be under way at once; the server may allow less.
        grace_s: how long requests are waited for that are under way when the server says that it goes.
        check_s: how often the connection is looked after.

    Attributes:
        is_used: whether it has ever been sent a request.
    """

    INACTIVITY_TIME = 600

    def __init__(
        self,
        topic: str,
        authority: str,
        owner: Owner,
        auth_provider: AuthorizationHeaderProvider | None,
        *,
        streams: int,
        grace_s: float = 5.0,
        check_s: float = 60.0,
    ) -> None:
        super().__init__(topic, asyncio.get_running_loop(), None, auth_provider)
        self.conn: Http2 = Http2()
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.ended = asyncio.Event()
        self._owner = owner
        self._own_limit = streams
        self._limit = 0  # until the server has said what it allows
        self._grace_s = grace_s
        self._check_s = check_s
        self._open: dict[int, ApnsRequest] = {}
        self._blocked: deque[ApnsRequest] = deque()
        self.is_used = False
        self._is_retired = False
        self._is_closing = False
        self._is_paused = False
        self._flush_is_due = False
        self._ping_is_out = False
        self._used_at = self.loop.time()
        self._grace_timer: asyncio.TimerHandle | None = None
        self._fixed_headers: list[Header] = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b"apns-topic", topic.encode()),
        ]

    @property
    def under_way(self) -> int:
        """How many requests wait for their answers."""
        return len(self._open)

    @property
    def is_retired(self) -> bool:
        """Whether it takes no more requests."""
        return self._is_retired

    @property
    def has_room(self) -> bool:
        """Whether it takes another request now."""
        return (
            len(self._open) < self._limit
            and not self._blocked
            and not self._is_retired
            and not self._is_paused
            and self.conn.outbound_flow_control_window > 0
        )

    def start(self, request: ApnsRequest) -> None:
        """Send a request; there must be room.

        Raises:
            ProtocolError: the connection takes none any more (its streams are used up), and has been retired.
        """
        try:
            stream_id = self.conn.get_next_available_stream_id()
            self.conn.send_headers(stream_id, self._headers(request))
        except ProtocolError:
            self.retire()
            raise
        self.is_used = True
        request.connection = self
        request.stream_id = stream_id
        request.unsent = request.body
        self._open[stream_id] = request
        self._used_at = self.loop.time()
        self._send_body(request)
        self.flush()

    def drop(self, request: ApnsRequest) -> None:
        """Wait for the answer no more."""
        if self._forget(request.stream_id) is not None:
            self._reset(request)
            self._close_if_done()

    def retire(self, reason: str = "") -> None:
        """Take no more requests, and close when those under way are answered."""
        if not self._is_retired:
            self._is_retired = True
            self._owner.retired(self, reason)
        self._close_if_done()

    def close(self) -> None:
        """Settle what is under way, say good-bye and close."""
        if self._is_closing:
            return
        self._is_closing = True
        self._stop_timers()
        self._settle_all(LOST)
        if self.transport is not None:
            self.conn.close_connection()
            self._write()
            self.transport.close()

    def abort(self) -> None:
        """Be rid of it at once."""
        self.close()
        if self.transport is not None:
            self.transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; or be rid of it, if it has been given up while it was made."""
        super().connection_made(transport)
        if self._is_closing:
            self._stop_timers()
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Take in what the server sends."""
        if self._is_closing:
            return
        try:
            events = self.conn.receive_data(data)
        except ProtocolError:
            self.retire(MALFORMED)
            self._settle_all(MALFORMED)
            self.abort()
            return
        for event in events:
            self._take(event)
        self.flush()
        self._owner.freed()

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._is_paused = False
        self._owner.freed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle all that was under way."""
        self._is_closing = True
        self._stop_timers()
        self._settle_all(LOST)
        self.ended.set()
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError(LOST))
            self.ready.exception()  # nobody may be waiting for it any more
        self._is_retired = True
        self._owner.lost(self, exc)

    # What aioapns calls

    def flush(self) -> None:
        """Have what is to be sent written at the end of this turn of the event loop."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self._write)

    def refresh_inactivity_timer(self) -> None:
        """Begin to look after the connection."""
        if self.inactivity_timer is None:
            self.inactivity_timer = self.loop.call_later(self._check_s, self._look_after)

    # The rest

    def _headers(self, request: ApnsRequest) -> list[Header]:
        assert request.push_type is not None
        assert request.priority is not None
        assert request.collapse_key is not None
        headers = [
            *self._fixed_headers[:3],
            (b":path", b"/3/device/" + request.device_token.encode()),
            self._fixed_headers[3],
            (b"apns-push-type", request.push_type.value.encode()),
            (b"apns-priority", b"%d" % request.priority),
            (b"apns-id", request.notification_id.encode()),
            (b"apns-expiration", b"%d" % request.expires_at),
            (b"apns-collapse-id", request.collapse_key.encode()),
        ]
        if self.auth_provider is not None:
            request.authorization = self.auth_provider.get_header()
            headers.append((b"authorization", request.authorization.encode()))
        return headers

    def _send_body(self, request: ApnsRequest) -> None:
        """Send as much as the server has room for; the rest when it has."""
        conn = self.conn
        while request.unsent:
            window = conn.local_flow_control_window(request.stream_id)
            size = min(len(request.unsent), window, conn.max_outbound_frame_size)
            if size <= 0:
                self._blocked.append(request)
                return
            piece, request.unsent = request.unsent[:size], request.unsent[size:]
            conn.send_data(request.stream_id, piece, end_stream=not request.unsent)

    def _unblock(self) -> None:
        blocked, self._blocked = self._blocked, deque()
        for request in blocked:
            if request.stream_id in self._open:
                self._send_body(request)

    def _write(self) -> None:
        self._flush_is_due = False
        if self.transport is not None and not self.transport.is_closing():
            if data := self.conn.data_to_send():
                self.transport.write(data)

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=stream_id, headers=headers) if stream_id in self._open:
                self._open[stream_id].response = dict(headers)
            case StreamEnded(stream_id=stream_id):
                self._finish(stream_id)
            case DataReceived():
                self._keep(event)
            case StreamReset(stream_id=stream_id):
                if (request := self._forget(stream_id)) is not None:
                    request.settle("", RESET)
                    self._close_if_done()
            case WindowUpdated():
                self._unblock()
            case RemoteSettingsChanged():
                self._heed_settings()
            case ConnectionTerminated():
                self.on_connection_terminated(event)
            case PingAckReceived():
                self._ping_is_out = False

    def _keep(self, event: DataReceived) -> None:
        assert event.flow_controlled_length is not None
        self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        request = self._open.get(event.stream_id)
        if request is not None and len(request.received) < _LONGEST_ANSWER_BYTES:
            request.received += event.data or b""

    def _finish(self, stream_id: int) -> None:
        request = self._forget(stream_id)
        if request is None:
            return
        if request.unsent:  # the server has heard enough
            self._reset(request)
        status = request.response.get(b":status", b"").decode("ascii", "replace")
        reason, timestamp = _read_body(request.received)
        retry_after = request.response.get(b"retry-after", b"").decode("ascii", "replace")
        request.settle(status, reason if status else MALFORMED, timestamp, retry_after)
        self._close_if_done()

    def _forget(self, stream_id: int) -> ApnsRequest | None:
        request = self._open.pop(stream_id, None)
        if request is not None and request.unsent:
            self._blocked.remove(request)
        return request

    def _reset(self, request: ApnsRequest) -> None:
        try:
            self.conn.reset_stream(request.stream_id, ErrorCodes.CANCEL)
        except ProtocolError:  # it has just ended
            return
        self.flush()

    def _heed_settings(self) -> None:
        allowed = self.conn.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS, self._own_limit)
        self._limit = min(self._own_limit, allowed)
        self._unblock()
        if not self.ready.done():
            self.ready.set_result(None)

    def on_connection_terminated(self, event: ConnectionTerminated) -> None:
        """The server goes: give back what it has not seen, and wait a while for the rest."""
        reason, _ = _read_body(event.additional_data or b"")
        is_fault = event.error_code != ErrorCodes.NO_ERROR
        self.retire(f"{GOING_AWAY}: {reason or event.error_code}" if is_fault else "")
        last = event.last_stream_id or 0
        for stream_id in [number for number in self._open if number > last]:
            if (request := self._forget(stream_id)) is not None:
                self._owner.refused(request)
        if self._grace_timer is None and not self._is_closing:
            self._grace_timer = self.loop.call_later(self._grace_s, self._end_grace)
        self._close_if_done()

    def _end_grace(self) -> None:
        self._settle_all(GOING_AWAY)
        self.close()

    def _look_after(self) -> None:
        self.inactivity_timer = None
        if self._ping_is_out:
            self.retire(LOST)
            self.abort()
        elif not self._open and self.loop.time() - self._used_at >= self.INACTIVITY_TIME:
            self.retire()
        else:
            self._ping_is_out = True
            self.conn.ping(_PING)
            self.flush()
            self.refresh_inactivity_timer()

    def _close_if_done(self) -> None:
        if self._is_retired and not self._open:
            self.close()

    def _settle_all(self, reason: str) -> None:
        left, self._open = self._open, {}
        self._blocked.clear()
        for request in left.values():
            request.settle("", reason)

    def _stop_timers(self) -> None:
        for timer in (self.inactivity_timer, self._grace_timer):
            if timer is not None:
                timer.cancel()


def _read_body(body: bytes) -> tuple[str, int | None]:
    """Return (reason, timestamp) of an answer, as far as it has any."""
    try:
        answer = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return "", None
    if not isinstance(answer, dict):
        return "", None
    reason, timestamp = answer.get("reason"), answer.get("timestamp")
    return (
        reason[:100] if isinstance(reason, str) else "",
        timestamp if isinstance(timestamp, int) and not isinstance(timestamp, bool) else None,
    )
