"""Whose address a request comes from, also behind proxies. Limits and logs use it; pure, no look-ups."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

UNKNOWN = "0.0.0.0"  # as ntfy: for Unix sockets and whatever is no address

Network = IPv4Network | IPv6Network


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
