"""``GET /push``: the WebSocket on which an Open Client hears that it has messages to fetch.

The client says one line, ``login:<device id>:<secret>``; the server says one byte at a time, each in a
binary frame (some clients ignore text): ``#`` keep-alive, ``!`` fetch, ``R`` connect again, ``E`` log in
again, ``A`` the same device is connected elsewhere. Nothing is polled: `Deliveries` tells when something is
queued.

A connection costs a transport and one object; what has been queued while its last ``!`` is unsent adds none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from ntfyish.core.deliveries import Deliveries
from ntfyish.core.devices import Devices
from ntfyish.core.directory import Directory
from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import LimitReached, NtfyishError
from ntfyish.web.websocket import Goodbye, Listener

PUSH_KEEPALIVE_S = 30.0

_KEEPALIVE = b"\x82\x01#"
_FETCH = b"\x82\x01!"
_RECONNECT = b"\x82\x01R"
_LOG_IN_AGAIN = b"\x82\x01E"
_ELSEWHERE = b"\x82\x01A"
_CLOSE = b"\x88\x02\x03\xe8"
_GOING_AWAY = b"\x88\x02\x03\xe9"
_SLICE = 200


class PushSockets:
    """All connections of Open Clients."""

    def __init__(
        self, devices: Devices, directory: Directory, deliveries: Deliveries, tasks: Tasks, clock: Clock
    ) -> None:
        self.devices = devices
        self.tasks = tasks
        self.clock = clock
        self.open: set[PushConnection] = set()
        self._by_device: dict[str, PushConnection] = {}
        deliveries.on_queued(self._queued)
        directory.on_change(self._recheck)

    def enter(self, connection: PushConnection) -> None:
        """Take in a connection that has logged in; another one of the same device ends."""
        other = self._by_device.get(connection.device_id)
        self._by_device[connection.device_id] = connection
        if other is not None:
            other.end(_ELSEWHERE)

    def leave(self, connection: PushConnection) -> None:
        """Forget a connection."""
        self.open.discard(connection)
        if self._by_device.get(connection.device_id) is connection:
            del self._by_device[connection.device_id]

    async def keepalive(self) -> None:
        """Show every client that the connection stands; end those that never logged in."""
        before = self.clock.monotonic() - PUSH_KEEPALIVE_S
        connections = list(self.open)
        for start in range(0, len(connections), _SLICE):
            for connection in connections[start : start + _SLICE]:
                if connection.device_id:
                    connection.say(_KEEPALIVE)
                elif connection.opened_at < before:
                    connection.end(b"")
            await asyncio.sleep(0)

    def restart(self) -> None:
        """Have every client connect again, for the server's end."""
        for connection in list(self.open):
            connection.end(_RECONNECT, _GOING_AWAY)

    def _queued(self, device_ids: Sequence[str]) -> None:
        for device_id in device_ids:
            connection = self._by_device.get(device_id)
            if connection is not None:
                connection.fetch()

    def _recheck(self) -> None:
        for device_id, connection in list(self._by_device.items()):
            if not self.devices.is_valid(connection.secret_hash, device_id):
                connection.end(_LOG_IN_AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSocket:
    """The answer to an upgrade request: see `web.http.Takeover`.

    Attributes:
        head: the response header.
        failed: counts a wrong login.
        released: called once when the connection has ended.
    """

    sockets: PushSockets
    head: bytes
    failed: Callable[[], None]
    released: Callable[[], None] | None = None

    def begin(self, transport: asyncio.Transport, then: Callable[[], None] | None) -> None:
        """Take over the connection for good."""
        PushConnection(self, transport)


class PushConnection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        device_id: of the device that has logged in; "" before.
        secret_hash: of the secret that it has shown.
        opened_at: monotonic seconds.
    """

    __slots__ = (
        "_ended",
        "_failed",
        "_frames",
        "_is_logging_in",
        "_owes_fetch",
        "_released",
        "_sockets",
        "_transport",
        "device_id",
        "opened_at",
        "secret_hash",
    )

    def __init__(self, socket: PushSocket, transport: asyncio.Transport) -> None:
        self._sockets = socket.sockets
        self._failed = socket.failed
        self._released = socket.released
        self._transport = transport
        self._frames = Listener()
        self._is_logging_in = False
        self._owes_fetch = False
        self._ended = False
        self.device_id = ""
        self.secret_hash = ""
        self.opened_at = self._sockets.clock.monotonic()
        self._sockets.open.add(self)
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=0)  # so that it tells when all is written
        transport.write(socket.head)

    def say(self, frame: bytes) -> None:
        """Write a frame, unless the client has left those before unread."""
        if not self._ended and not self._transport.get_write_buffer_size():
            self._transport.write(frame)

    def fetch(self) -> None:
        """Tell that there is something to fetch; once for all that comes in one turn of the event loop."""
        if not self._owes_fetch and not self._ended:
            self._owes_fetch = True
            asyncio.get_running_loop().call_soon(self._fetch)

    def end(self, frame: bytes, close: bytes = _CLOSE) -> None:
        """Say a last word and close."""
        if not self._ended:
            self._transport.write(frame + close)
            self._transport.close()
            self._leave()

    def _fetch(self) -> None:
        if not self._transport.get_write_buffer_size():
            self._owes_fetch = False
            if not self._ended:
                self._transport.write(_FETCH)

    def _leave(self) -> None:
        self._ended = True
        self._sockets.leave(self)
        released, self._released = self._released, None
        if released is not None:
            released()

    async def _log_in(self, line: bytes) -> None:
        devices = self._sockets.devices
        word, _, rest = line.decode("utf-8", "replace").strip().partition(":")
        device_id, _, secret = rest.partition(":")
        try:
            client = await devices.find_client(secret) if word == "login" and device_id and secret else None
        except NtfyishError:  # the store is in trouble: the credentials may be right
            self.end(_RECONNECT)
            return
        device = None if client is None else devices.find_device(client, device_id)
        if client is None or device is None:
            try:
                self._failed()
            except LimitReached:
                pass
            self.end(_LOG_IN_AGAIN)
        elif not self._ended:
            self.device_id = device.id
            self.secret_hash = client.secret.secret_hash
            self._sockets.enter(self)
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Tell of what came after the client last fetched and before it connected."""
        try:
            if await self._sockets.devices.has_messages(self.device_id):
                self.fetch()
        except NtfyishError:
            self.end(_RECONNECT)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._sockets.tasks.spawn(work, "push login")

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take frames; the first message is the login, the others are ignored."""
        if self._ended:
            return
        try:
            replies = self._frames.feed(data, asyncio.get_running_loop().time())
        except Goodbye as goodbye:
            self._transport.write(goodbye.frame)
            self._transport.close()
            self._leave()
            return
        if replies:
            self._transport.write(replies)
        if self._frames.first is not None and not self._is_logging_in:
            self._is_logging_in = True
            self._spawn(self._log_in(self._frames.first))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if not self._ended:
            self._leave()

    def resume_writing(self) -> None:
        """Say what was held back."""
        if self._owes_fetch:
            self._fetch()
