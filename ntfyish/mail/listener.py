"""The SMTP listener: hands what comes in to `core.mailbox`, one recipient to a mail. aiosmtpd speaks SMTP.

What a sender can use up is bounded: connections (altogether and of one address), bytes and time of a
connection, and how long the event loop is kept busy with one connection's bytes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from ntfyish.core.mailbox import Addressee, Mailbox
from ntfyish.model.errors import (
    Forbidden,
    Invalid,
    LimitReached,
    NotFound,
    NtfyishError,
    TooLarge,
    Unauthenticated,
)

_log = logging.getLogger(__name__)

TIMEOUT_S = 60.0
_MOST_CONNECTIONS = 64
_MOST_OF_ONE = 8
_MOST_MAILS = 100  # of one connection
_LONGEST_LINE = 16 * 1024  # RFC 5321 allows 1000, and scripts send paragraphs
_SLICE_BYTES = 4096
_SPARE_BYTES = 64 * 1024
_BACKLOG = 64

_FULL = b"421 4.7.0 Too many connections, try again later\r\n"
_TOO_MUCH = b"552 5.3.4 Message too big\r\n"
_UNKNOWN = "550 5.1.1 No such recipient here"
_NOT_ALLOWED = "550 5.7.1 Not allowed"
_LATER = "450 4.7.1 Too much mail, try again later"
_TROUBLE = "451 4.3.0 Try again later"


def tls_context(cert_file: Path, key_file: Path | None) -> ssl.SSLContext:
    """Return what STARTTLS needs.

    Raises:
        OSError: the files cannot be used (`ssl.SSLError` is one, too).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert_file, key_file)
    return context


@asynccontextmanager
async def listening(
    mailbox: Mailbox,
    *,
    host: str,
    port: int,
    domain: str,
    size_limit_bytes: int,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = TIMEOUT_S,
) -> AsyncIterator[int]:
    """Take mail in as long as the context lasts. Gives the port, which matters if `port` is 0.

    Raises:
        OSError: the address cannot be listened on.
    """
    # It logs the addresses of recipients, which hold keys and tokens, and with "debug" the mail itself.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    doorway = _Doorway()
    connect = partial(_Connection, mailbox, doorway, loop, domain, size_limit_bytes, tls, timeout_s)
    server = await loop.create_server(
        connect, host or None, port, backlog=_BACKLOG, family=socket.AF_UNSPEC, reuse_address=True
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        handlers = [connection.abort() for connection in list(doorway.open)]
        if handlers:
            await asyncio.wait([handler for handler in handlers if handler is not None])


class _Doorway:
    """The open connections."""

    def __init__(self) -> None:
        self.open: set[_Connection] = set()
        self.by_peer: Counter[str] = Counter()

    def let_in(self, connection: _Connection, peer: str) -> bool:
        if len(self.open) >= _MOST_CONNECTIONS or self.by_peer[peer] >= _MOST_OF_ONE:
            return False
        self.open.add(connection)
        self.by_peer[peer] += 1
        return True

    def let_out(self, connection: _Connection, peer: str) -> None:
        if connection in self.open:
            self.open.discard(connection)
            self.by_peer[peer] -= 1
            if not self.by_peer[peer]:
                del self.by_peer[peer]


class _Connection(SMTP):
    """One connection, with bounds that aiosmtpd does not have."""

    line_length_limit = _LONGEST_LINE

    def __init__(
        self,
        mailbox: Mailbox,
        doorway: _Doorway,
        loop: asyncio.AbstractEventLoop,
        domain: str,
        size_limit_bytes: int,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        super().__init__(
            _Receiver(mailbox, self),
            data_size_limit=size_limit_bytes,
            enable_SMTPUTF8=False,
            hostname=domain,
            ident="ntfyish",
            tls_context=tls,
            timeout=timeout_s,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
            command_call_limit=_MOST_MAILS,
            loop=loop,
        )
        self._doorway = doorway
        self._socket: asyncio.Transport | None = None
        self._budget_bytes = size_limit_bytes + _SPARE_BYTES
        self._left_bytes = self._budget_bytes
        self._waiting = bytearray()
        self._scheduled: asyncio.Handle | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or not; also called when TLS has begun."""
        if self._socket is None:
            self._socket = cast(asyncio.Transport, transport)  # uvloop's is none by its class
            self.peer = _peer(transport)
            if not self._doorway.let_in(self, self.peer):
                self._socket.write(_FULL)
                self._socket.close()
                return
        # What was sent in the clear after STARTTLS must not count as sent under TLS.
        self._drop_waiting()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._drop_waiting()
        known = self in self._doorway.open
        self._doorway.let_out(self, self.peer)
        if known:
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on in slices, so that a mail of empty lines does not keep the loop busy."""
        if self not in self._doorway.open:
            return
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.refuse_more()
            return
        self._waiting += data
        if self._scheduled is None:
            self._hand_on()

    def eof_received(self) -> bool | None:
        """End the connection: whoever does not wait for an answer has not sent anything."""
        self._drop_waiting()
        return super().eof_received() if self in self._doorway.open else None

    def new_mail(self) -> None:
        """Allow the bytes of one more mail."""
        self._left_bytes = self._budget_bytes

    def refuse_more(self) -> None:
        """End the connection of somebody who sends more than was ever allowed."""
        self._drop_waiting()
        writer = cast(asyncio.Transport, self.transport or self._socket)
        writer.write(_TOO_MUCH)
        writer.close()

    def abort(self) -> asyncio.Task[None] | None:
        """End the connection at once; return what ends then."""
        handler = self._handler_coroutine
        if self._socket is not None:
            self._socket.abort()
        if handler is not None:
            handler.cancel()
        return handler

    def _hand_on(self) -> None:
        self._scheduled = None
        data = bytes(self._waiting[:_SLICE_BYTES])
        del self._waiting[:_SLICE_BYTES]
        if data:
            super().data_received(data)
        if self._waiting:
            self._scheduled = self.loop.call_soon(self._hand_on)

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None


class _Receiver:
    """The handler of one connection: aiosmtpd calls its methods for the commands they are named after."""

    def __init__(self, mailbox: Mailbox, connection: _Connection) -> None:
        self._mailbox = mailbox
        self._connection = connection
        self._addressee: Addressee | None = None

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a mail."""
        self._addressee = None
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept the one recipient."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        try:
            self._addressee = await self._mailbox.find(address, self._connection.peer)
        except NtfyishError as error:
            return _reply(error)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Publish the mail."""
        self._connection.new_mail()
        content = envelope.original_content or b""
        addressee, self._addressee = self._addressee, None
        if addressee is None:
            return "503 5.5.1 Need RCPT first"
        try:
            await self._mailbox.deliver(addressee, content, self._connection.peer)
        except NtfyishError as error:
            return _reply(error)
        return "250 2.0.0 Published"

    async def handle_exception(self, error: Exception) -> str:
        """Answer what should not happen; the sender tries again."""
        _log.error("Mail from %s fails", self._connection.peer, exc_info=error)
        return _TROUBLE


def _reply(error: NtfyishError) -> str:
    """Return what SMTP says for `error`: 5yz for good, 4yz for now."""
    match error:
        case NotFound():
            return _UNKNOWN
        case Forbidden() | Unauthenticated():
            return _NOT_ALLOWED
        case LimitReached():
            return _LATER
        case TooLarge():
            return "552 5.3.4 Message too big"
        case Invalid():
            return "554 5.6.0 The mail says nothing"
    return _TROUBLE


def _peer(transport: Any) -> str:
    """Return the canonical address of a connection's other end."""
    name = transport.get_extra_info("peername")
    try:
        address = ip_address(str(name[0]).partition("%")[0])
    except (TypeError, IndexError, ValueError):
        return "0.0.0.0"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
