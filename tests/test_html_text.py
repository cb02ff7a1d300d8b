"""HTML messages reduced to text, by themselves and on the raw stream."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.html_text import reduce_html
from tests.conftest import APP_TOKEN, TOPIC_KEY, Server


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<b>bold</b> and <i>it</i>", "bold and it"),
        ('<font color="red">a</font><br>b<br/>c', "a\nb\nc"),
        ('<a href="https://example.org/?a=1&amp;b=2">here</a>', "here"),
        ("1 &lt; 2 &amp; 3", "1 < 2 & 3"),
        ("a < b > c", "a < b > c"),
        ("<b", "<b"),
        ("", ""),
    ],
)
def test_markup_goes_and_text_stays(html: str, text: str) -> None:
    assert reduce_html(html) == text


@given(st.text(alphabet="<>&;/b =\"'a!-[]"))
def test_no_input_makes_it_fail(text: str) -> None:
    reduce_html(text)


@pytest.mark.parametrize("piece", ["<", "<!--", "&", "<a ", "<b>", "&#"])
def test_hostile_input_costs_no_more_than_its_length(piece: str) -> None:
    began = time.process_time()
    reduce_html(piece * (4096 // len(piece)))
    assert time.process_time() - began < 1


async def test_a_raw_stream_shows_an_html_message_as_text_and_the_others_keep_it(server: Server) -> None:
    form = urlencode({"token": APP_TOKEN, "user": TOPIC_KEY, "message": "<b>Disk</b> full", "html": "1"})
    wire = await server.wire()
    answer = await wire.request(
        "POST /1/messages.json", "Content-Type: application/x-www-form-urlencoded", body=form.encode()
    )
    assert answer.status == 200
    assert (await wire.request("GET /alerts/raw?poll=1")).body == b"Disk full\n"
    (message,) = await server.poll("alerts")
    assert (message["message"], message["html"]) == ("<b>Disk</b> full", 1)
