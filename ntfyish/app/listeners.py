"""Opens the sockets that HTTP comes in through, TCP and Unix, and says where they are.

Called by `lifetime`; `serving` allows it as many files as there may be.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from ipaddress import ip_address
from urllib.parse import urlsplit

from ntfyish.settings import Settings
from ntfyish.settings.values import ListenAddress
from ntfyish.web.front import Fronts

_BACKLOG = 4096


async def listen(settings: Settings, fronts: Fronts) -> tuple[list[asyncio.AbstractServer], str]:
    """Listen; return what does and its URL, "" if there is a Unix socket only.

    Raises:
        OSError: an address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    servers: list[asyncio.AbstractServer] = []
    url = ""
    if settings.listen_http is not None:
        servers, url = await listen_tcp(settings.listen_http, settings, fronts)
    if settings.listen_unix is not None:
        path = settings.listen_unix
        servers.append(await loop.create_unix_server(fronts, str(path), backlog=_BACKLOG))
        if settings.listen_unix_mode is not None:
            path.chmod(settings.listen_unix_mode)
    return servers, url


async def listen_tcp(
    address: ListenAddress, settings: Settings, fronts: Fronts
) -> tuple[list[asyncio.AbstractServer], str]:
    """Listen on all that a name and port stand for; return what does and the URL.

    Raises:
        OSError: it cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    try:
        listeners = _tcp_listeners(address, settings)
    except OSError as error:  # it does not say which of the addresses
        raise OSError(error.errno, error.strerror, str(address)) from error
    servers: list[asyncio.AbstractServer] = [
        await loop.create_server(fronts, sock=listener, backlog=_BACKLOG) for listener in listeners
    ]
    return servers, address.url(listeners[0].getsockname()[1])


def _tcp_listeners(address: ListenAddress, settings: Settings) -> list[socket.socket]:
    """Return bound sockets; what is set on them here, each accepted connection inherits."""
    found = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    user_timeout_ms = int(2 * settings.keepalive_interval_s * 1000)
    listeners = []
    for family, kind, protocol, _, where in found:
        listener = socket.socket(family, kind, protocol)
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # One stuck phone would hold megabytes of kernel memory with the default buffer.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.subscriber_send_buffer_bytes)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            # A peer that vanished without a word is noticed two keepalives later.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        listener.bind(where)
        listeners.append(listener)
    return listeners


def raise_file_limit() -> None:
    """Allow as many connections as the system lets us have."""
    try:
        import resource
    except ImportError:  # not on this platform
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_loopback(url: str) -> bool:
    """Whether whoever reads messages there must be on this machine, so that the address is good for them."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name, or none
        return False
