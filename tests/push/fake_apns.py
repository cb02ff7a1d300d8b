"""A fake of Apple's push service: TLS, HTTP/2, Apple's checks and errors, whatever trouble a test asks for.

In a test it is a context manager on a free port (`FakeApns`), whose answers a test scripts. As a process of
its own it answers everything after a while, for benchmarks:

    python -m tests.push.fake_apns --directory DIR --port 0 --latency-ms 50

It writes DIR/ca.pem, DIR/AuthKey.p8 and DIR/client.pem, prints its port, and answers lines on its standard
input, each with a line of JSON: ``summary``, ``counts`` (how often each push was delivered), ``reset``,
``down`` (drops all connections and listens no more), ``up``, ``quit``. SIGTERM ends it with a summary, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.push.apple_checks import BUNDLE_ID, STATUSES, Checks

_LARGEST_FRAME_BYTES = 16_384
_TOKEN = re.compile(rb"/3/device/((?:[0-9a-f]{2}){8,100})")


class Do(Enum):
    """What happens to a request instead of an answer, or with it."""

    ANSWER = auto()
    NOTHING = auto()  # it is held until `release`
    RESET = auto()
    CLOSE = auto()
    GARBAGE = auto()  # what is no HTTP/2
    GO_AWAY = auto()  # says that it goes, and answers this one after all
    GO_AWAY_UNSEEN = auto()  # says that it goes, and has not seen this one
    GO_AWAY_SILENT = auto()  # says that it goes, and never answers


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request is answered. `body` overrides what `reason` and `timestamp_ms` make."""

    status: int = 200
    reason: str = ""
    timestamp_ms: int | None = None
    retry_after: str = ""
    body: bytes | None = None
    with_id: bool = True
    delay_s: float = 0.0
    do: Do = Do.ANSWER


OK = Answer()
HOLD = Answer(do=Do.NOTHING)


@dataclass(slots=True)
class Recorded:
    """A request as it came in."""

    connection: int
    headers: dict[str, str]
    body: bytes = b""
    at: float = 0.0

    @property
    def device(self) -> str:
        return self.headers[":path"].rsplit("/", 1)[-1]

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(slots=True)
class _Stream:
    headers: dict[bytes, bytes]
    body: bytes = b""


class _Connection(asyncio.Protocol):
    """One connection to the fake."""

    def __init__(self, apns: FakeApns) -> None:
        self.apns = apns
        self.number = 0
        self.loop = asyncio.get_running_loop()
        self.conn = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                split_outbound_cookies=False,
                normalize_inbound_headers=False,
            )
        )
        values = {SettingCodes.INITIAL_WINDOW_SIZE: apns.window_bytes}
        if apns.streams is not None:
            values[SettingCodes.MAX_CONCURRENT_STREAMS] = apns.first_streams or apns.streams
        self.conn.local_settings = Settings(client=False, initial_values=values)
        self.streams: dict[int, _Stream] = {}
        self.held: list[tuple[int, bytes]] = []
        self.unacknowledged: list[tuple[int, int]] = []
        self.transport: asyncio.Transport | None = None
        self.is_open = False
        self.writing = False
        self.last_stream_id = (1 << 31) - 1  # what comes after it is not seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self.apns.connected(self)
        if self.apns.is_mute:
            return
        self.conn.initiate_connection()
        if self.apns.acknowledges:
            self.conn.increment_flow_control_window(1 << 24)
        if self.apns.is_leaving:
            self.go_away(0, "Shutdown")
        self.write()
        if self.apns.closes_after_s:
            asyncio.get_running_loop().call_later(self.apns.closes_after_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.apns.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self.apns.is_mute:
            return
        try:
            events = self.conn.receive_data(data)
        except ProtocolError as error:
            self.apns.protocol_errors.append(repr(error))
            self.write()
            if self.transport is not None:
                self.transport.close()
            return
        for event in events:
            if type(event) is RequestReceived:
                self.streams[event.stream_id] = _Stream(dict(event.headers))
            elif type(event) is DataReceived:
                self.take(event)
            elif type(event) is StreamEnded:
                stream = self.streams.pop(event.stream_id)
                if event.stream_id <= self.last_stream_id:
                    self.apns.asked(self, event.stream_id, stream)
            elif type(event) is StreamReset:
                self.apns.resets += 1
                self.streams.pop(event.stream_id, None)
                self.held = [one for one in self.held if one[0] != event.stream_id]
            elif type(event) is PingReceived:
                self.apns.pings += 1
            elif type(event) is WindowUpdated and event.stream_id == 0:
                self.apns.window_updates += 1
        self.write_soon()
        self.apns.notice()

    def take(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.body += event.data or b""
        size = event.flow_controlled_length or 0
        if self.apns.acknowledges:
            self.conn.acknowledge_received_data(size, event.stream_id)
        else:
            self.unacknowledged.append((size, event.stream_id))

    def respond(self, stream_id: int, apns_id: bytes, answer: Answer) -> None:
        """Do what the answer says."""
        if not self.is_open or self.transport is None:
            return
        if answer.do is Do.ANSWER:
            self.send(stream_id, apns_id, answer)
        elif answer.do is Do.NOTHING:
            self.held.append((stream_id, apns_id))
        elif answer.do is Do.RESET:
            self.conn.reset_stream(stream_id, 2)
        elif answer.do is Do.CLOSE:
            self.transport.abort()
        elif answer.do is Do.GARBAGE:
            self.transport.write(b"\0\0\4\0\0\0\0\0\0junk")  # DATA, of no stream
        elif answer.do is Do.GO_AWAY:
            self.go_away(stream_id, answer.reason)
            self.send(stream_id, apns_id, OK)
        elif answer.do is Do.GO_AWAY_UNSEEN:
            self.go_away(max(0, stream_id - 2), answer.reason)
        elif answer.do is Do.GO_AWAY_SILENT:
            self.go_away(stream_id, answer.reason)
        self.write_soon()

    def send(self, stream_id: int, apns_id: bytes, answer: Answer) -> None:
        headers = [(b":status", b"%d" % answer.status)]
        if answer.with_id:
            headers.append((b"apns-id", apns_id))
        if answer.retry_after:
            headers.append((b"retry-after", answer.retry_after.encode()))
        body = answer.body
        if body is None and answer.reason:
            content: dict[str, object] = {"reason": answer.reason}
            if answer.timestamp_ms is not None:
                content["timestamp"] = answer.timestamp_ms
            body = json.dumps(content).encode()
        try:
            self.conn.send_headers(stream_id, headers, end_stream=not body)
            while body:
                piece, body = body[:_LARGEST_FRAME_BYTES], body[_LARGEST_FRAME_BYTES:]
                self.conn.send_data(stream_id, piece, end_stream=not body)
        except ProtocolError:  # reset meanwhile
            return
        if answer.status == 200:
            self.apns.answered_ok += 1

    def go_away(self, last_stream_id: int, reason: str) -> None:
        """Write the frame past h2, which would say nothing any more."""
        self.last_stream_id = last_stream_id
        self.write()
        debug = json.dumps({"reason": reason}).encode() if reason else b""
        frame = last_stream_id.to_bytes(4, "big") + (0).to_bytes(4, "big") + debug
        assert self.transport is not None
        self.transport.write(len(frame).to_bytes(3, "big") + b"\x07\x00" + b"\0\0\0\0" + frame)

    def release(self, answer: Answer = OK) -> None:
        """Answer what is held."""
        held, self.held = self.held, []
        for stream_id, apns_id in held:
            self.respond(stream_id, apns_id, answer)

    def acknowledge(self) -> None:
        """Give back the room that the bodies have taken."""
        owed, self.unacknowledged = self.unacknowledged, []
        for size, _ in owed:
            self.conn.increment_flow_control_window(size)
        for stream_id in {stream_id for _, stream_id in owed if stream_id in self.streams}:
            self.conn.increment_flow_control_window(1 << 16, stream_id)
        self.write()

    def allow(self, streams: int) -> None:
        """Change how many streams may be open."""
        self.conn.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.write()

    def widen(self, window_bytes: int) -> None:
        """Change how much of a body is taken at once."""
        self.conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window_bytes})
        self.write()

    def write_soon(self) -> None:
        if not self.writing:
            self.writing = True
            self.loop.call_soon(self.write)

    def write(self) -> None:
        self.writing = False
        if self.is_open and self.transport is not None and (data := self.conn.data_to_send()):
            self.transport.write(data)


@dataclass
class FakeApns:
    """The fake; a context manager.

    Attributes:
        streams: MAX_CONCURRENT_STREAMS; None to say nothing about it.
        first_streams: what it is until the first request has been accepted, as Apple does it.
        window_bytes: how much of one body is taken before the rest must wait for `acknowledge`.
        acknowledges: whether room is given back at once, as a decent server does.
        client_certificates: whether one is demanded, and no provider token.
        is_mute: accept connections and say nothing at all.
        is_leaving: say of each connection at once that it goes.
        closes_after_s: how long connections last; 0 for as long as they may.
        latency_s: how long an answer takes that is not scripted.
        answers: what to answer, in order, whoever is pushed to; then
        by_device: what to answer for a device, in order; the last one stays; then
        otherwise: what to answer.
        delivered: how often each push was delivered, by device and collapse id; with which ids, from when to
            when (on the clock that never jumps).
        now: the time that the age of tokens is measured by.
        bundle_id: the app whose devices it has.
    """

    streams: int | None = 1000
    first_streams: int = 0
    window_bytes: int = 65_535
    acknowledges: bool = True
    client_certificates: bool = False
    is_mute: bool = False
    is_leaving: bool = False
    closes_after_s: float = 0.0
    latency_s: float = 0.0
    records: bool = True
    now: Callable[[], float] = time.time
    bundle_id: str = BUNDLE_ID
    port: int = 0
    answers: deque[Answer] = field(default_factory=deque)
    by_device: dict[str, deque[Answer]] = field(default_factory=dict)
    otherwise: Answer = OK

    requests: list[Recorded] = field(default_factory=list)
    delivered: Counter[tuple[str, str]] = field(default_factory=Counter)
    delivered_ids: set[bytes] = field(default_factory=set)
    first_at: float = 0.0
    last_at: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    protocol_errors: list[str] = field(default_factory=list)
    answered_ok: int = 0
    asked_count: int = 0
    connections_made: int = 0
    connections_most: int = 0
    in_flight: int = 0
    in_flight_most: int = 0
    resets: int = 0
    pings: int = 0
    window_updates: int = 0

    def __post_init__(self) -> None:
        self.ca = trustme.CA()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.live: list[_Connection] = []
        self._context = _server_context(self.ca, self.client_certificates)
        key = None if self.client_certificates else self.key.public_key()
        self.checks = Checks(key, self.now, self.bundle_id)
        self._later: deque[tuple[float, _Connection, int, bytes, Answer]] = deque()
        self._later_timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._is_down = True
        self._changed = asyncio.Event()

    async def __aenter__(self) -> FakeApns:
        await self.up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    # What a test asks for

    async def up(self) -> None:
        """Listen, on the same port as before."""
        self._is_down = False
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, ssl=self._context, backlog=128
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Listen no more, and drop all connections."""
        self._is_down = True
        if self._later_timer is not None:
            self._later_timer.cancel()
            self._later_timer = None
        self._later.clear()
        if self._server is None:
            return
        self._server.close()
        self.drop()
        await self._server.wait_closed()
        self._server = None
        await self.until(lambda: not self.live)

    def drop(self) -> None:
        """Drop all connections."""
        for connection in list(self.live):
            assert connection.transport is not None
            connection.transport.abort()

    def release(self, answer: Answer = OK) -> None:
        """Answer all requests that are held."""
        for connection in self.live:
            connection.release(answer)

    def acknowledge(self) -> None:
        """Give back the room that bodies have taken."""
        for connection in self.live:
            connection.acknowledge()

    def allow(self, streams: int) -> None:
        """Change how many streams each connection may have open."""
        for connection in self.live:
            connection.allow(streams)

    def widen(self, window_bytes: int) -> None:
        """Change how much of a body is taken at once."""
        for connection in self.live:
            connection.widen(window_bytes)

    @property
    def held_count(self) -> int:
        return sum(len(connection.held) for connection in self.live)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has happened here."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def key_pem(self) -> bytes:
        """Return the key of provider tokens as Apple hands it out."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def client_pem(self) -> bytes:
        """Return a certificate and its key."""
        issued = self.ca.issue_cert(common_name=BUNDLE_ID)
        return b"".join(part.bytes() for part in (issued.private_key_pem, *issued.cert_chain_pems))

    def write_files(self, directory: Path) -> None:
        """Write what its clients need: ca.pem, AuthKey.p8, client.pem."""
        directory.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(directory / "ca.pem")
        (directory / "AuthKey.p8").write_bytes(self.key_pem())
        (directory / "client.pem").write_bytes(self.client_pem())

    def summary(self) -> dict[str, Any]:
        """Return what has happened so far."""
        return {
            "requests": self.asked_count,
            "ok": self.answered_ok,
            "pushes": len(self.delivered),
            "apns_ids": len(self.delivered_ids),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "duplicates": sum(count - 1 for count in self.delivered.values()),
            "statuses": dict(self.statuses),
            "connections": self.connections_made,
            "connections_most": self.connections_most,
            "in_flight_most": self.in_flight_most,
            "provider_tokens": len(self.checks.authorizations),
            "protocol_errors": self.protocol_errors,
        }

    def reset(self) -> None:
        """Begin to count anew."""
        for counted in (self.delivered, self.statuses, self.checks.authorizations):
            counted.clear()
        self.requests.clear()
        self.delivered_ids.clear()
        self.asked_count = self.answered_ok = self.in_flight_most = 0
        self.first_at = self.last_at = 0.0
        self.connections_made = self.connections_most = len(self.live)

    # What connections tell

    def connected(self, connection: _Connection) -> None:
        self.connections_made += 1
        connection.number = self.connections_made
        self.live.append(connection)
        self.connections_most = max(self.connections_most, len(self.live))
        if self._is_down and connection.transport is not None:  # its handshake had begun before
            connection.transport.abort()
        self._changed.set()

    def notice(self) -> None:
        self._changed.set()

    def disconnected(self, connection: _Connection) -> None:
        if connection in self.live:
            self.live.remove(connection)
        self._changed.set()

    def asked(self, connection: _Connection, stream_id: int, stream: _Stream) -> None:
        """Answer a request: an error if something is wrong with it, else what the script says."""
        self.asked_count += 1
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        headers = stream.headers
        apns_id = headers.get(b"apns-id", b"")
        found = _TOKEN.fullmatch(headers.get(b":path", b""))
        device = found[1].decode() if found else ""
        if self.records:
            decoded = {name.decode(): value.decode() for name, value in headers.items()}
            self.requests.append(Recorded(connection.number, decoded, stream.body, time.monotonic()))
        fault = self.checks.find_fault(headers, stream.body) or ("" if found else "BadDeviceToken")
        if fault:
            answer = Answer(STATUSES.get(fault, 400), fault)
        elif self.answers:
            answer = self.answers.popleft()
        elif queue := self.by_device.get(device):
            answer = queue.popleft() if len(queue) > 1 else queue[0]
        else:
            answer = self.otherwise
        self.statuses[f"{answer.status} {answer.reason}".strip()] += 1
        if answer.status == 200 and answer.do in (Do.ANSWER, Do.NOTHING, Do.GO_AWAY):
            self.delivered[device, headers.get(b"apns-collapse-id", b"").decode()] += 1
            self.delivered_ids.add(apns_id)
            self.last_at = time.monotonic()
            self.first_at = self.first_at or self.last_at
        if not fault and self.first_streams and self.streams is not None:
            connection.conn.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.streams})
        self._respond(connection, stream_id, apns_id, answer)
        self._changed.set()

    def _respond(self, connection: _Connection, stream_id: int, apns_id: bytes, answer: Answer) -> None:
        loop = connection.loop
        if answer.delay_s:
            self.in_flight -= 1
            loop.call_later(answer.delay_s, connection.respond, stream_id, apns_id, answer)
        elif self.latency_s:
            self._later.append((loop.time() + self.latency_s, connection, stream_id, apns_id, answer))
            if self._later_timer is None:
                self._later_timer = loop.call_later(self.latency_s, self._respond_late)
        else:
            self.in_flight -= 1
            connection.respond(stream_id, apns_id, answer)

    def _respond_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._later and self._later[0][0] <= now + 0.0005:
            _, connection, stream_id, apns_id, answer = self._later.popleft()
            self.in_flight -= 1
            connection.respond(stream_id, apns_id, answer)
        self._later_timer = None
        if self._later:
            self._later_timer = loop.call_at(self._later[0][0], self._respond_late)


def _server_context(ca: trustme.CA, client_certificates: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    return context


# As a process


async def _obey(apns: FakeApns, line: str) -> bool:
    match line.strip():
        case "summary":
            _print(apns.summary())
        case "counts":
            _print({f"{device} {collapse}": count for (device, collapse), count in apns.delivered.items()})
        case "reset":
            apns.reset()
            _print({})
        case "down":
            await apns.down()
            _print({})
        case "up":
            await apns.up()
            _print({"port": apns.port})
        case "quit":
            return False
    return True


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)


async def _serve(apns: FakeApns) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with apns:
        _print({"port": apns.port})
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        listening = loop.create_task(_listen(apns, reader, ended))
        await ended.wait()
        listening.cancel()
        _print(apns.summary())


async def _listen(apns: FakeApns, reader: asyncio.StreamReader, ended: asyncio.Event) -> None:
    while (line := await reader.readline()) and await _obey(apns, line.decode()):
        pass
    ended.set()


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(description="A fake of Apple's push service.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--streams", type=int, default=1000)
    options = parser.parse_args()
    apns = FakeApns(
        port=options.port, latency_s=options.latency_ms / 1000, streams=options.streams, records=False
    )
    apns.write_files(options.directory)
    uvloop.run(_serve(apns))


if __name__ == "__main__":
    main()
