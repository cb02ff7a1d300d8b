"""The few connections that an app's pushes share, and the pushes that wait for one of them, on aioapns' pool.

Used by `sender`. A push goes to the connection with the fewest under way; when all are full another is
opened, up to a bound, and further pushes wait in order, without looking again and again. One timer watches
over all: a push is given up after its time, and its connection takes no more. A connection that cannot be
made fails at once all that wait for it, unless there are others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import deque
from dataclasses import dataclass

from aioapns.connection import APNsBaseConnectionPool, AuthorizationHeaderProvider
from h2.exceptions import ProtocolError

from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks
from ntfyish.push.apns.connection import GOING_AWAY, LOST, ApnsAnswer, ApnsConnection, ApnsRequest

TIMEOUT = "timeout"
CONNECT_TIMEOUT = "connect timeout"
REFUSED = "connection refused"
UNKNOWN_HOST = "unknown host"
UNREACHABLE = "unreachable"
TLS_FAILURE = "TLS failure"
SERVER_NOT_TRUSTED = "server certificate not trusted"
CERTIFICATE_REFUSED = "client certificate refused"
SHUTTING_DOWN = "shutting down"

_LOG_PAUSE_S = 60.0
_CONNECT_PAUSE_S = 1.0
_FAREWELL_S = 2.0
# Thousands begun in one turn of the event loop would hold up whoever publishes meanwhile, and so would their
# answers, which come as they were sent: all at once.
MOST_IN_TURN = 32
# OpenSSL's names for what a peer says that does not like our certificate.
_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things may take, in seconds.

    Attributes:
        answer_s: from when a push is asked for until it is answered.
        connect_s: until a connection is ready.
        grace_s: after the server has said that it goes, for what is under way.
        check_s: between looks at a connection; one that does not answer in that time is given up.
    """

    answer_s: float = 15.0
    connect_s: float = 10.0
    grace_s: float = 5.0
    check_s: float = 60.0


class ApnsPool(APNsBaseConnectionPool):
    """The connections of one app. `close` it in the end, and wait for `closed`.

    Args:
        name: the destination, for the log.
        topic: the app's bundle id.
        auth_provider: makes the header that says who asks; None where the certificate says so.
        streams: how many pushes may be under way on one connection.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        host: str,
        port: int,
        context: ssl.SSLContext,
        auth_provider: AuthorizationHeaderProvider | None,
        clock: Clock,
        tasks: Tasks,
        *,
        max_connections: int,
        streams: int,
        times: Times,
    ) -> None:
        super().__init__(topic, max_connections, max_connection_attempts=1)
        self.ssl_context = context
        self._name = name
        self._topic = topic
        self._host = host
        self._port = port
        name_or_address = f"[{host}]" if ":" in host else host
        self._authority = name_or_address if port == 443 else f"{name_or_address}:{port}"
        self._auth_provider = auth_provider
        self._clock = clock
        self._tasks = tasks
        self._streams = streams
        self._times = times
        self._usable: list[ApnsConnection] = []
        self._waiting: deque[ApnsRequest] = deque()
        self._asked: dict[ApnsRequest, None] = {}  # what is not settled, in the order in which it is due
        self._timer: asyncio.TimerHandle | None = None
        self._again_timer: asyncio.TimerHandle | None = None
        self._begun_in_turn = 0
        self._is_connecting = False
        self._is_closed = False
        self._logged_at = -_LOG_PAUSE_S

    async def send_notification(self, request: ApnsRequest) -> ApnsAnswer:  # type: ignore[override]
        """Push once, and return what came of it; never raises for what the network or the server does."""
        if self._is_closed:
            request.settle("", SHUTTING_DOWN)
            return await request.answer
        request.due_at = self.loop.time() + self._times.answer_s
        self._asked[request] = None
        if self._timer is None:
            self._timer = self.loop.call_at(request.due_at, self._give_up_late_ones)
        self._waiting.append(request)
        self.freed()
        try:
            return await request.answer
        except asyncio.CancelledError:
            if request.connection is not None:
                request.connection.drop(request)
                self.freed()
            raise
        finally:
            del self._asked[request]

    async def create_connection(self) -> ApnsConnection:
        """Return a connection that the server has said it is ready on.

        Raises:
            OSError: there is none to be had, for its reasons; TimeoutError: not in time.
        """
        made: list[ApnsConnection] = []

        def make() -> ApnsConnection:
            made.append(
                ApnsConnection(
                    self._topic,
                    self._authority,
                    self,
                    self._auth_provider,
                    streams=self._streams,
                    grace_s=self._times.grace_s,
                    check_s=self._times.check_s,
                )
            )
            self.connections.append(made[-1])
            return made[-1]

        try:
            async with asyncio.timeout(self._times.connect_s):
                await self.loop.create_connection(
                    make, self._host, self._port, ssl=self.ssl_context, ssl_shutdown_timeout=_FAREWELL_S
                )
                await made[-1].ready
        except BaseException:
            for connection in made:
                connection.abort()
                if connection.transport is None:  # asyncio does not tell it that it is lost
                    self.connections.remove(connection)
            raise
        return made[-1]

    def close(self) -> None:
        """Settle all that is under way or waits, and close the connections."""
        self._is_closed = True
        for timer in (self._timer, self._again_timer):
            if timer is not None:
                timer.cancel()
        self._settle_waiting(SHUTTING_DOWN)
        super().close()

    async def closed(self) -> None:
        """Wait until all connections are gone, those that do not go by themselves after a while by force."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._all_ended()
        except TimeoutError:
            for connection in self._all():
                connection.abort()
            await self._all_ended()

    # What a connection tells

    def freed(self) -> None:
        """Send what waits, as far as there is room, and see to it that there will be more."""
        while (
            self._waiting
            and self._begun_in_turn < MOST_IN_TURN
            and (connection := self._with_most_room()) is not None
        ):
            request = self._waiting.popleft()
            if request.answer.done():
                continue
            if not self._begun_in_turn:
                self.loop.call_soon(self._begin_turn)
            self._begun_in_turn += 1
            try:
                connection.start(request)
            except ProtocolError:
                self._waiting.appendleft(request)
        if not self._waiting or self._begun_in_turn == MOST_IN_TURN:
            return  # the next turn goes on
        if not self._is_connecting and len(self._usable) < self.max_connections:
            self._connect_soon()

    def retired(self, connection: ApnsConnection, reason: str) -> None:
        """Leave it out from now on."""
        self._leave_out(connection)
        if reason:
            self._complain(reason)

    def refused(self, request: ApnsRequest) -> None:
        """Have it sent on another connection, once; the server has not seen it."""
        if request.put_back or self._is_closed:
            request.settle("", GOING_AWAY)
        elif not request.answer.done():
            request.put_back = True
            request.connection = None
            self._waiting.appendleft(request)

    def lost(self, connection: ApnsConnection, error: Exception | None) -> None:
        """Forget it."""
        if connection in self.connections:
            self.connections.remove(connection)
        if self._leave_out(connection) and error is not None:
            self._complain(_reason_of(error))
        if not self._is_closed:
            self.freed()

    # The rest

    def _begin_turn(self) -> None:
        self._begun_in_turn = 0
        self.freed()

    def _all(self) -> list[ApnsConnection]:
        return [one for one in self.connections if isinstance(one, ApnsConnection)]

    async def _all_ended(self) -> None:
        for connection in self._all():
            if connection.transport is not None:
                await connection.ended.wait()

    def _with_most_room(self) -> ApnsConnection | None:
        best = None
        for connection in self._usable:
            if connection.has_room and (best is None or connection.under_way < best.under_way):
                best = connection
        return best

    def _leave_out(self, connection: ApnsConnection) -> bool:
        """Send nothing more on it; return whether something could have been sent on it until now."""
        if connection not in self._usable:
            return False
        self._usable.remove(connection)
        if not connection.is_used:  # a server that takes nothing is not called again at once
            self._connect_later()
        return True

    def _connect_soon(self) -> None:
        if self._again_timer is None and not self._is_closed:
            self._is_connecting = True
            self._tasks.spawn(self._connect(), f"connection to {self._name}")

    async def _connect(self) -> None:
        connection, reason = None, ""
        try:
            connection = await self.create_connection()
        except (OSError, UnicodeError) as error:  # TimeoutError is one; UnicodeError: the host's name
            reason = _reason_of(error)
        finally:
            self._is_connecting = False
        if connection is None:
            self._fail_to_connect(reason)
        elif connection.is_retired:  # else we would connect again and again, without a pause
            self._fail_to_connect(GOING_AWAY)
        else:
            self._usable.append(connection)
            self.freed()

    def _fail_to_connect(self, reason: str) -> None:
        self._complain(reason)
        if not self._usable:
            self._settle_waiting(reason)
        else:  # the others do for now
            self._connect_later()

    def _connect_later(self) -> None:
        if self._again_timer is None and not self._is_closed:
            self._again_timer = self.loop.call_later(_CONNECT_PAUSE_S, self._connect_again)

    def _connect_again(self) -> None:
        self._again_timer = None
        self.freed()

    def _settle_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.settle("", reason)

    def _give_up_late_ones(self) -> None:
        self._timer = None
        now = self.loop.time()
        for request in self._asked:
            if request.due_at > now:
                self._timer = self.loop.call_at(request.due_at, self._give_up_late_ones)
                break
            self._give_up(request)
        self.freed()

    def _give_up(self, request: ApnsRequest) -> None:
        if request.answer.done():
            return
        request.settle("", TIMEOUT)
        if request.connection is not None:
            request.connection.retire(TIMEOUT)
            request.connection.drop(request)

    def _complain(self, reason: str) -> None:
        now = self._clock.monotonic()
        if now - self._logged_at >= _LOG_PAUSE_S:
            self._logged_at = now
            _log.info("Connection of %s: %s", self._name, reason)


def _reason_of(error: Exception) -> str:
    match error:
        case TimeoutError():
            return CONNECT_TIMEOUT
        case ssl.SSLCertVerificationError():
            return SERVER_NOT_TRUSTED
        case ssl.SSLError(reason=str(reason)) if any(word in reason for word in _CERTIFICATE_ALERTS):
            return CERTIFICATE_REFUSED
        case ssl.SSLError():
            return TLS_FAILURE
        case ConnectionRefusedError():
            return REFUSED
        case ConnectionError():
            return LOST
        case socket.gaierror() | UnicodeError():
            return UNKNOWN_HOST
    return UNREACHABLE
