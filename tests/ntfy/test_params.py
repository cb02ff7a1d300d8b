"""The look-up of parameters: headers first, then the query; RFC 2047 as Go decodes it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.params import NAMES, Params, decode_words
from tests.ntfy.asking import ask


@pytest.mark.parametrize(
    ("parameter", "name"), [(parameter, name) for parameter, names in NAMES.items() for name in names]
)
def test_every_name_is_found_in_the_query_and_every_lower_case_one_in_a_header(
    parameter: str, name: str
) -> None:
    assert Params(ask(f"/t?{name}=some+value")).get(parameter) == "some value"
    if name == name.lower():
        request = Request("POST", "/t", {name: "some value"}, "", BufferedBody())
        assert Params(request).get(parameter) == "some value"


def test_no_name_stands_for_two_parameters() -> None:
    names = [name for aliases in NAMES.values() for name in aliases]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("parameter", "names"), NAMES.items())
def test_earlier_names_win(parameter: str, names: tuple[str, ...]) -> None:
    for place in range(len(names)):
        query = "&".join(f"{name}={name}" for name in reversed(names[place:]))
        assert Params(ask(f"/t?{query}")).get(parameter) == names[place]
        headers = {name: name for name in reversed(names[place:]) if name == name.lower()}
        if headers:
            request = Request("POST", "/t", headers, "", BufferedBody())
            assert Params(request).get(parameter) == names[place]


def test_a_header_of_a_late_name_beats_a_query_of_the_first() -> None:
    assert Params(ask("/t?x-title=query", t="header")).get("title") == "header"


@pytest.mark.parametrize("blank", ["", "  ", "=?utf-8?q?_?="])
def test_a_blank_header_falls_through_to_the_next_name_and_then_to_the_query(blank: str) -> None:
    assert Params(ask("/t?t=query", x_title=blank, title="next")).get("title") == "next"
    assert Params(ask("/t?t=query", x_title=blank, title=blank)).get("title") == "query"


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("Title=a", ""),
        ("X-Title=a", ""),
        ("x-title=a", "a"),
        ("title=a+b%20c", "a b c"),
        ("title=&t=next", "next"),
        ("title=&title=second&t=next", "next"),
        ("title=first&title=second", "first"),
        ("title=%20%0Aa%20", "a"),
        ("title=%C3%BC", "ü"),
        ("title=%FF", "\ufffd"),
        ("title=%3D%3Futf-8%3Fq%3Fa%3F%3D", "=?utf-8?q?a?="),
    ],
)
def test_the_query_is_exact_takes_first_values_and_is_decoded_once(query: str, title: str) -> None:
    assert Params(ask(f"/t?{query}")).get("title") == title


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        ("u=1", "p"),
        ("u=1, i", "p"),
        ("u=1,i", "p"),
        ("u=3,5", "p"),
        (" u=1, i ", "p"),
        ("u=9i", "u=9i"),
        ("4", "4"),
    ],
)
def test_a_transfer_priority_is_no_message_priority(value: str, priority: str) -> None:
    assert Params(ask(priority=value, p="p")).get("priority") == priority


def test_only_the_header_named_priority_may_be_a_transfer_priority() -> None:
    assert Params(ask("/t?priority=u=2", x_priority="u=1")).get("priority") == "u=1"
    assert Params(ask("/t?priority=u=2")).get("priority") == "u=2"


@pytest.mark.parametrize(
    ("word", "flag"),
    [("1", True), ("yes", True), ("TRUE", True), ("Yes", True), ("0", False), ("on", False), ("sure", False)],
)
def test_a_flag_is_on_for_three_words_and_off_for_all_others(word: str, flag: bool) -> None:
    assert Params(ask(poll=word)).flag("poll", not flag) is flag


def test_a_flag_without_a_value_has_its_default() -> None:
    assert Params(ask(cache=" ")).flag("cache", True) is True
    assert Params(ask()).flag("poll") is False


def test_values_given_first_beat_headers_and_are_decoded_like_them() -> None:
    request = ask(x_title="header", x_icon="header")
    params = Params(request, {"title": " =?utf-8?q?f=C3=BCrst?= ", "icon": " "})
    assert (params.get("title"), params.get("icon")) == ("fürst", "header")


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?UTF-8?B?8J+HqfCfh6o=?=", "🇩🇪"),
        ("=?utf-8?b?aMOpbGxv?=", "héllo"),
        ("=?utf-8?Q?h=C3=A9llo_w=C3=B6rld?=", "héllo wörld"),
        ("=?utf-8?q?under=5Fscore?=", "under_score"),
        ("=?ISO-8859-1?Q?caf=E9?=", "café"),
        ("=?us-ascii?q?caf=E9?=", "caf\ufffd"),
        ("=?utf-8?q?caf=E9?=", "caf\ufffd"),
        # plain text around words stays, blanks between words go
        ("a =?utf-8?q?b?= c", "a b c"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=  \t =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        ("=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        # a character cut in two by the end of a word
        ("=?utf-8?q?=F0=9F?= =?utf-8?q?=87=A9?=", "🇩"),
        # blanks before the first word are not between two
        ("  =?utf-8?q?a?=", "  a"),
        # a list with encoded elements
        ("=?utf-8?q?w=C3=A4rm?=,=?utf-8?q?k=C3=BChl?=", "wärm,kühl"),
        # an unknown charset: all stays as it is
        ("=?utf-8?q?a?= =?koi8-r?q?b?=", "=?utf-8?q?a?= =?koi8-r?q?b?="),
        # broken words stay, the others are decoded
        ("=?utf-8?q?=ZZ?= =?utf-8?q?b?=", "=?utf-8?q?=ZZ?= b"),
        ("=?utf-8?b?a?= =?utf-8?q?b?=", "=?utf-8?b?a?= b"),
        ("=?utf-8?b?ä?= =?utf-8?q?b?=", "=?utf-8?b?ä?= b"),
        ("=?utf-8?b?YQ==YQ==?=", "=?utf-8?b?YQ==YQ==?="),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q?ü?=", "=?utf-8?q?ü?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=?utf-8?", "=?utf-8?"),
        ("=?", "=?"),
        ("=?=?utf-8?q?a?=", "=?=?utf-8?q?a?="),
        ("=?utf-8?q??=", ""),
    ],
)
def test_encoded_words_are_decoded_as_go_decodes_them(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


def test_a_value_full_of_broken_words_is_given_up_on() -> None:
    text = "=?a?q?\xff" * 20_000 + "=?utf-8?q?b?="
    assert decode_words(text) == text


def _b_words(text: str, size: int) -> str:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return " ".join(f"=?utf-8?B?{base64.b64encode(piece).decode()}?=" for piece in pieces)


def _q_words(text: str, size: int) -> str:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return "\t".join(f"=?UTF-8?q?{''.join(f'={byte:02X}' for byte in piece)}?=" for piece in pieces)


@given(st.text(min_size=1), st.integers(1, 9))
def test_whatever_is_encoded_comes_back_even_if_words_cut_characters(text: str, size: int) -> None:
    assert decode_words(_b_words(text, size)) == text
    assert decode_words(_q_words(text, size)) == text


@given(st.text(alphabet="=?uUtTfF-8qQbB_ aZ0\xff\t,", max_size=60))
def test_decoding_never_fails_and_always_gives_text(text: str) -> None:
    decode_words(text).encode()
    Params(ask(x_title=text)).get("title").encode()


@given(st.text().filter(lambda text: "=?" not in text))
def test_text_without_words_is_left_alone(text: str) -> None:
    assert decode_words(text) == text
