"""Which addresses callbacks may reach."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ntfyish.push.addresses import may_call


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:8.8.8.8",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "100::1",
        "",
        "localhost",
        "1.2.3",
        "0177.0.0.1",
        "2130706433",
    ],
)
def test_what_is_not_a_public_address_is_not_called(address: str) -> None:
    assert not may_call(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_called(address: str) -> None:
    assert may_call(address, ())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("192.168.7.9", "192.168.0.0/16"),
        ("fd00::7", "fd00::/8"),
        ("fe80::1%eth0", "fe80::/10"),
    ],
)
def test_what_is_allowed_is_called_and_nothing_beside_it(address: str, network: str) -> None:
    assert may_call(address, [ip_network(network)])
    assert not may_call("10.9.9.9", [ip_network(network)])
