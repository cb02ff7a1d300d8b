"""Durations and sizes, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.durations import format_duration, format_size, parse_duration, parse_size
from ntfyish.model.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5h", 1800),
        ("1.s", 1),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("250us", 0.000_25),
        ("250µs", 0.000_25),
        ("250μs", 0.000_25),
        ("3ns", 3e-9),
        ("-5m", -300),
        ("+5m", 300),
        ("2d", 172_800),
        ("2 d", 172_800),
        ("1day", 86_400),
        ("2 days", 172_800),
        ("2 dAYS", 172_800),
        ("3 hours", 10_800),
        ("1 hour", 3_600),
        ("10 min", 600),
        ("10mins", 600),
        ("10 minutes", 600),
        ("1minute", 60),
        ("5 s", 5),
        ("5sec", 5),
        ("5 secs", 5),
        ("5 second", 5),
        ("5\tseconds", 5),
    ],
)
def test_a_duration_is_read_in_go_s_form_and_in_ntfy_s_words(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "45",
        "h",
        ".s",
        "1 h 30 m",
        "1h 30m",
        " 5m",
        "5m ",
        "5M",
        "2 Days",
        "2D",
        "1.5d",
        "-2d",
        "1w",
        "2 dayss",
        "1h30",
        "--5m",
        "1_0s",
        "٣s",
        "1e3s",
        "5\u00a0s",
        "5m\n\n\nx",
        "9" * 60 + "h",
        "300000d",
        "1" * 10_000 + "s",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1500", 1500),
        ("7b", 7),
        ("4K", 4096),
        ("4k", 4096),
        ("15M", 15_728_640),
        ("1g", 1_073_741_824),
    ],
)
def test_a_size_counts_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "k", "-1", "4KB", "4 K", "1.5M", "1T", "٣k", "9" * 40, "9" * 19 + "k", "1" * 10_000, "4K\n"]
)
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(Invalid):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (43_200, "12h"),
        (5_400, "1h30m"),
        (60, "1m"),
        (1.5, "1s500ms"),
        (-300, "-5m"),
        (1e-9, "1ns"),
        (259_200, "3d"),
        (86_400, "24h"),
        (-259_200, "-72h"),
    ],
)
def test_a_duration_is_written_without_zeroes(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0"), (4096, "4K"), (1500, "1500"), (1 << 20, "1M"), (3 << 30, "3G")]
)
def test_a_size_is_written_in_its_largest_whole_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_what_is_written_of_a_duration_is_read_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_what_is_written_of_a_size_is_read_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.text(max_size=80))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert isinstance(parse(text), int | float)
        except Invalid:
            pass
