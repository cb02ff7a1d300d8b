"""Which addresses the server may be told to call: public ones, and those that the operator has allowed.

URLs of callbacks come from whoever has an app; they must not become a way into the network that the server
stands in. Pure; `callbacks` asks at the moment of the connection, for the address that is connected to.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What `ipaddress` calls global, but is not somebody's server on the internet: the way to IPv4 networks, and
# multicast. 64:ff9b:1::/48 is NAT64 with local prefixes, 192.88.99.0/24 the old 6to4 relays, ::/96 the old
# IPv4-compatible form, fec0::/10 the old site-local one.
_EMBEDDING: tuple[IPv6Network, ...] = (
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2002::/16"),
    IPv6Network("2001::/32"),
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("fec0::/10"),
    IPv6Network("5f00::/16"),
)
_SPECIAL: tuple[IPv4Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("168.63.129.16/32"),  # Azure's metadata has a public address
    IPv4Network("224.0.0.0/3"),
)


def may_call(text: str, allowed: Sequence[Network]) -> bool:
    """Whether the server may connect to the address `text`.

    Args:
        allowed: networks that it may connect to, whatever they are. An IPv4 address written as an IPv6 one
            (``::ffff:192.0.2.1``) is looked up as both.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if any(one in network for one in (address, mapped) if one is not None for network in allowed):
        return True
    return _is_public(address)


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    networks: Sequence[Network] = _EMBEDDING if isinstance(address, IPv6Address) else _SPECIAL
    return not any(address in network for network in networks)
