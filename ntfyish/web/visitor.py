"""Whose address a request comes from, also behind proxies, and which visitor that is. No look-ups."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ntfyish.core.limits import Limits, Visitor
from ntfyish.core.logins import Logins
from ntfyish.model.errors import LimitReached
from ntfyish.model.people import ANONYMOUS
from ntfyish.web.http import Request

UNKNOWN = "0.0.0.0"  # as ntfy: for Unix sockets and whatever is no address

Network = IPv4Network | IPv6Network

_EXPOSED = ("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After")


class Visitors:
    """Tells who sends a request, and fails those who fail too often. The dialects share it.

    Args:
        behind_proxy, forwarded_header, trusted: as `client_address` has them.
    """

    def __init__(
        self,
        limits: Limits,
        logins: Logins,
        *,
        behind_proxy: bool = False,
        forwarded_header: str = "x-forwarded-for",
        trusted: Sequence[Network] = (),
    ) -> None:
        self._limits = limits
        self._logins = logins
        self._behind_proxy = behind_proxy
        self._forwarded_header = forwarded_header.lower()
        self._trusted = tuple(trusted)

    def address(self, request: Request) -> str:
        """Return the address that a request comes from, in canonical form."""
        if not self._behind_proxy:
            return _peer(request.peer)
        name = self._forwarded_header
        headers = {name: ",".join(request.values(name))}
        return client_address(request.peer, headers, True, name, self._trusted)

    async def visitor(self, request: Request, authorization: str) -> Visitor:
        """Return the visitor that `authorization` makes of the sender; `request` keeps it, too.

        Raises:
            Unauthenticated, LimitReached: see `Logins.authenticate`.
        """
        address = self.address(request)
        principal = ANONYMOUS
        if authorization:
            try:
                principal = await self._logins.authenticate(authorization, address)
            except LimitReached:
                request.visitor = self._limits.visitor(address, ANONYMOUS)
                raise
        visitor = request.visitor = self._limits.visitor(address, principal)
        return visitor

    def fail(self, request: Request) -> None:
        """Count a token, key or the like that was wrong.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT: there were too many from there.
        """
        self._logins.fail(self.address(request))

    def use_topics(self, topics: Sequence[str]) -> None:
        """Note that there are messages for `topics`, which an app may write to: they are not new any more."""
        self._limits.use_topics(topics)


def limit_headers(visitor: Visitor | None) -> tuple[tuple[str, str], ...]:
    """Return the fields that tell a visitor its limits (draft-ietf-httpapi-ratelimit-headers)."""
    status = "" if visitor is None else visitor.status()
    if visitor is None or not status:
        return ()
    return (_EXPOSED, ("RateLimit-Policy", visitor.allowance.policy), ("RateLimit", status))


def client_address(
    peer: str,
    headers: Mapping[str, str],
    behind_proxy: bool = False,
    forwarded_header: str = "x-forwarded-for",
    trusted: Sequence[Network] = (),
) -> str:
    """Return the visitor's IP address in canonical form.

    Without a proxy that is the socket's peer. Behind one it is the rightmost address in the header that
    is not `trusted`: each proxy appends whom it was asked by, so what stands further left is hearsay.
    The header is a comma list of addresses, or of RFC 7239 elements (``for="[2001:db8::1]:4711"``);
    ports, quotes and zones are dropped, and so is what is no address. If nothing is left, it is the peer.

    Args:
        peer: the address of the socket's other end; "" if it has none.
        headers: lower-case name -> value; lines of the same name joined by commas. (If only the first
            line were kept, a client could forge its address: some proxies add a line of their own.)
        behind_proxy: whether to look at the header at all.
        forwarded_header: its name, in any case.
        trusted: networks of our own proxies.
    """
    if behind_proxy and (forwarded := headers.get(forwarded_header.lower())):
        for item in reversed(forwarded.lower().split(",")):
            address = _parse(_forwarded_for(item))
            if address is not None and not any(
                address.version == network.version and address in network for network in trusted
            ):
                return str(address)
    return _peer(peer)


def _peer(peer: str) -> str:
    try:
        socket.inet_pton(socket.AF_INET, peer)  # the common case, at a tenth of ipaddress's price
    except (OSError, ValueError):
        address = _parse(peer)
        return UNKNOWN if address is None else str(address)
    return peer


def _forwarded_for(item: str) -> str:
    for pair in item.split(";"):
        name, equals, value = pair.partition("=")
        if equals and name.strip() == "for":
            return value
    return item


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 visitors as ::ffff:a.b.c.d; they are the same visitor.
    return (address.ipv4_mapped if address.version == 6 else None) or address
