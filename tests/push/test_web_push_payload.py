"""Any message fits into a push, and says as much as it can."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ntfyish.model.message import Action, Attachment, Content, Message, MessageId
from ntfyish.push.web_push_payload import MOST_BYTES, SMALL_BYTES, message_payload

BASE = "https://ntfy.example.com"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LONG = st.builds(lambda text, count: text * count, TEXT, st.integers(0, 3000))
SHORT = TEXT.map(lambda text: text[:60])

ACTIONS = st.builds(
    Action,
    id=SHORT,
    action=st.just("http"),
    label=SHORT,
    clear=st.booleans(),
    url=LONG,
    body=LONG,
    headers=st.dictionaries(SHORT, LONG, max_size=2).map(lambda one: tuple(one.items())),
)
CONTENTS = st.builds(
    Content,
    title=LONG,
    message=LONG,
    priority=st.integers(0, 5),
    tags=st.lists(LONG, max_size=3).map(tuple),
    click=LONG,
    icon=LONG,
    actions=st.lists(ACTIONS, max_size=3).map(tuple),
    attachment=st.none() | st.builds(Attachment, name=LONG, url=LONG),
    encoding=st.sampled_from(["", "base64"]),
    app=LONG,
    subtitle=LONG,
    url_title=LONG,
    encrypted=st.booleans(),
    encryption_type=SHORT,
)


def message(content: Content) -> Message:
    return Message(
        id=MessageId("abcdefghijkl"),
        time=1_700_000_000,
        expires=1_700_043_200,
        topic="t" * 64,
        sequence_id="s" * 64,
        content=content,
    )


@settings(max_examples=300)
@given(CONTENTS, st.sampled_from([MOST_BYTES, SMALL_BYTES]))
def test_any_message_fits(content: Content, most: int) -> None:
    payload = message_payload(message(content), BASE, most)
    assert len(payload) <= most
    read = json.loads(payload)
    assert read["event"] == "message"
    assert read["subscription_id"] == f"{BASE}/{'t' * 64}"
    fields = read["message"]
    assert (fields["id"], fields["topic"], fields["sequence_id"]) == ("abcdefghijkl", "t" * 64, "s" * 64)
    assert content.message.startswith(fields.get("message", ""))
    assert content.title.startswith(fields.get("title", ""))
    if "truncated" not in fields:
        assert fields.get("message", "") == content.message
        assert fields.get("title", "") == content.title


@given(LONG.filter(lambda text: len(text) > MOST_BYTES))
def test_the_text_is_cut_as_late_as_possible(text: str) -> None:
    content = Content(message=text, title="T", click="https://c.example", tags=("a",))
    payload = message_payload(message(content), BASE)
    fields = json.loads(payload)["message"]
    assert (fields["title"], fields["click"], fields["tags"]) == ("T", "https://c.example", ["a"])
    assert MOST_BYTES - 6 <= len(payload) <= MOST_BYTES  # a character has at most 6 bytes
    assert text.startswith(fields["message"])


def test_a_ciphertext_is_whole_or_not_there() -> None:
    for content in (
        Content(message="x" * 9000, encrypted=True),
        Content(message="x" * 9000, encoding="base64"),
    ):
        fields = json.loads(message_payload(message(content), BASE))["message"]
        assert "message" not in fields
        assert fields["truncated"] == 1
        short = replace(content, message="x" * 3000)
        assert json.loads(message_payload(message(short), BASE))["message"]["message"] == "x" * 3000


def test_buttons_go_before_the_link_and_the_link_before_the_title() -> None:
    button = Action(id="1", action="view", label="Open", clear=False, url="https://x.example/" + "x" * 3000)
    content = Content(message="m" * 5000, title="T" * 1000, click="https://c.example", actions=(button,))
    fields = json.loads(message_payload(message(content), BASE))["message"]
    assert "actions" not in fields
    assert fields["click"] == "https://c.example"
    assert fields["title"] == "T" * 1000
    assert fields["message"]
    fields = json.loads(message_payload(message(replace(content, click="c" * 4000)), BASE))["message"]
    assert "click" not in fields
    assert fields["title"] == "T" * 1000
