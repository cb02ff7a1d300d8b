"""Whose address a request comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.web.visitor import UNKNOWN, client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", UNKNOWN),
        ("/run/ntfyish.sock", UNKNOWN),
        ("nonsense\0", UNKNOWN),
    ],
)
def test_without_a_proxy_it_is_the_peer_in_canonical_form(peer: str, address: str) -> None:
    assert client_address(peer, {"x-forwarded-for": "1.2.3.4"}) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1,203.0.113.9,10.1.2.3", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.1.2.3", "203.0.113.9"),
        ("203.0.113.9, fd00::1, 10.0.0.1", "203.0.113.9"),
        ("203.0.113.9, garbage, ", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=1.1.1.1, For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ("proto=http; for=203.0.113.9", "203.0.113.9"),
        ('for="203.0.113.9"', "203.0.113.9"),
        # nothing that is left: the peer
        ("10.0.0.1, 10.0.0.2", "192.0.2.7"),
        ("for=unknown", "192.0.2.7"),
        ("for=_hidden", "192.0.2.7"),
        ("by=203.0.113.9", "192.0.2.7"),
        ("1.2.3.4.5", "192.0.2.7"),
        ("1.2.3", "192.0.2.7"),
        ("٣.1.1.1", "192.0.2.7"),
        (",,,", "192.0.2.7"),
        ("", "192.0.2.7"),
    ],
)
def test_behind_a_proxy_the_rightmost_address_that_is_not_ours_counts(forwarded: str, address: str) -> None:
    headers = {"x-forwarded-for": forwarded}
    assert client_address("192.0.2.7", headers, behind_proxy=True, trusted=TRUSTED) == address


def test_the_header_is_the_configured_one_in_any_case() -> None:
    headers = {"x-forwarded-for": "1.1.1.1", "x-real-ip": "203.0.113.9"}
    assert client_address("192.0.2.7", headers, True, "X-Real-IP") == "203.0.113.9"


@given(st.text(), st.text())
def test_it_is_always_an_address(peer: str, forwarded: str) -> None:
    address = client_address(peer, {"x-forwarded-for": forwarded}, behind_proxy=True, trusted=TRUSTED)
    assert client_address(address, {}) == address
