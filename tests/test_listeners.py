"""Which addresses are good for this machine only."""

from __future__ import annotations

import pytest

from ntfyish.app.listeners import is_loopback


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://192.168.1.2:8080", False),
        ("http://myhost:8080", False),
        ("", False),
    ],
)
def test_only_loopback_addresses_are_good_for_this_machine_only(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
