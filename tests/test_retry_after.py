"""How long other servers ask us to wait, however they write it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.retry_after import parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        (" 120 ", 120),
        ("120.5", 0),
        ("-5", 0),
        ("٣", 0),
        ("soon", 0),
        ("9" * 400, 86_400),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW + 90), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (formatdate(NOW + 10**9, usegmt=True), 86_400),
        ("Tue, 14 Nov 2023 22:14:50", 90),
        ("Tue, 14 Nov 99999 22:14:50 GMT", 0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30),
        ("Tue, 14 Nov 2023 22:13:50 +99999999999", 0),
        ("Tue, 99 Nov 2023 22:14:50 GMT", 0),
    ],
)
def test_seconds_and_dates_are_understood(text: str, seconds: float) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(st.text() | st.integers().map(str) | st.datetimes().map(lambda date: formatdate(date.second * 1e9)))
def test_whatever_is_written_the_wait_has_its_bounds(text: str) -> None:
    assert 0 <= parse_retry_after(text, NOW, 60) <= 60
