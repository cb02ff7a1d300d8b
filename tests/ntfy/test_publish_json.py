"""The JSON body of a publish, as Go would read it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.model.message import Attachment, Content, Draft
from ntfyish.web.http import Request
from ntfyish.web.ntfy.drafts import PublishLimits, draft_from_json, draft_from_request, parse_publish_json
from tests.ntfy.asking import NOW, ask, reason_of

LIMITS = PublishLimits()


def draft(data: bytes | dict[str, object], request: Request | None = None) -> Draft:
    if isinstance(data, dict):
        data = orjson.dumps({"topic": "mytopic"} | data)
    topic, fields = parse_publish_json(data)
    assert topic == "mytopic"
    return draft_from_json(request or ask("/"), fields, NOW, LIMITS)


def content(data: bytes | dict[str, object], request: Request | None = None) -> Content:
    return draft(data, request).content


def refusal(data: bytes | dict[str, object]) -> Reason:
    with pytest.raises(Invalid) as caught:
        draft(data)
    return caught.value.reason


def test_every_key_finds_its_place() -> None:
    made = draft(
        {
            "message": "full",
            "title": "Disk",
            "priority": 4,
            "tags": ["warning", "skull"],
            "click": "https://x.org/click",
            "icon": "https://x.org/icon.png",
            "attach": "https://x.org/a.jpg",
            "filename": "b.jpg",
            "markdown": True,
            "delay": "30m",
            "cache": "yes",
            "firebase": "no",
            "sequence_id": "disk-1",
            "actions": [{"action": "copy", "label": "Copy", "value": "1"}],
        }
    )
    (action,) = made.content.actions
    assert (action.action, action.label, action.value) == ("copy", "Copy", "1")
    assert made == Draft(
        content=Content(
            title="Disk",
            message="full",
            priority=4,
            tags=("warning", "skull"),
            click="https://x.org/click",
            icon="https://x.org/icon.png",
            actions=(action,),
            attachment=Attachment(name="b.jpg", url="https://x.org/a.jpg"),
            content_type="text/markdown",
        ),
        sequence_id="disk-1",
        due_at=int(NOW) + 1800,
        push=False,
    )


def test_nulls_and_empty_values_are_as_good_as_left_out() -> None:
    # what Home Assistant sends
    names = [
        "message",
        "title",
        "priority",
        "click",
        "attach",
        "markdown",
        "icon",
        "filename",
        "delay",
        "email",
        "call",
        "cache",
        "actions",
    ]
    assert draft(dict.fromkeys(names) | {"tags": []}) == Draft(content=Content(message="triggered"))
    assert draft({"title": "", "priority": 0, "markdown": False, "tags": None, "actions": []}) == Draft(
        content=Content(message="triggered")
    )


def test_keys_are_read_in_any_case_and_strangers_passed_over() -> None:
    data = b'{"TOPIC":"mytopic","Message":"hi","TITLE":"t","what":{"ever":[1,2,{}]}}'
    assert content(data) == Content(message="hi", title="t")


def test_of_duplicate_keys_the_last_counts() -> None:
    assert content(b'{"topic":"other","message":"a","message":"b","topic":"mytopic"}').message == "b"


@pytest.mark.parametrize("rest", [b"{}", b" x", b"\n\n", b"\0", b"]", b'{"topic":"other"}'])
def test_what_follows_the_first_value_is_ignored(rest: bytes) -> None:
    assert content(b' {"topic":"mytopic","message":"hi"}' + rest).message == "hi"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"hi",
        b"{",
        b'{"topic":"mytopic"',
        b"[]",
        b'"mytopic"',
        b"1",
        b"true",
        b'{"topic":"mytopic","x":NaN}',
        b'{"topic":"mytopic","x":-Infinity} x',
        b'{"topic":"mytopic","x":' + b"9" * 5000 + b"} x",
        b'{"topic":"mytopic","message":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 8192,
        b'{"a":' * 1600,
        b"{'topic':'mytopic'}",
        b'{"topic":"mytopic","message":"a\nb"}',
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    assert refusal(data) is Reason.JSON_INVALID


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 1) for key in ("message", "title", "click", "attach", "icon", "filename", "delay")),
        *((key, True) for key in ("email", "call", "cache", "firebase", "sequence_id", "timezone", "topic")),
        ("priority", "5"),
        ("priority", 5.0),
        ("priority", True),
        ("markdown", "yes"),
        ("markdown", 1),
        ("tags", "a,b"),
        ("tags", [1]),
        ("tags", [["a"]]),
        ("actions", {}),
        ("actions", "view, a, https://x.org"),
        ("actions", ["view"]),
        ("actions", [{"action": "view", "label": 1}]),
        ("actions", [{"clear": "yes"}]),
    ],
)
def test_types_are_strict(key: str, value: object) -> None:
    assert refusal({key: value}) is Reason.JSON_INVALID


@pytest.mark.parametrize(
    "data", [b"null", b"{}", b'{"topic":null}', b'{"topic":""}', b'{"topic":"a b"}', b'{"topic":" a"}']
)
def test_a_topic_is_needed(data: bytes) -> None:
    assert refusal(data) is Reason.TOPIC_INVALID


def test_wrong_types_are_told_before_a_missing_topic() -> None:
    assert refusal(b'{"priority":"5"}') is Reason.JSON_INVALID


def test_a_body_that_goes_on_is_too_large() -> None:
    with pytest.raises(TooLarge) as caught:
        parse_publish_json(b"{}", more=True)
    assert caught.value.reason is Reason.JSON_TOO_LARGE
    assert LIMITS.json_size_bytes == 8192


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"priority": 6}, Reason.PRIORITY_INVALID),
        ({"priority": -1}, Reason.PRIORITY_INVALID),
        ({"delay": "banana"}, Reason.DELAY_UNPARSABLE),
        ({"delay": "1h", "timezone": "Unknown/Timezone"}, Reason.DELAY_UNPARSABLE),
        ({"attach": "x"}, Reason.ATTACH_URL_INVALID),
        ({"icon": "x"}, Reason.ICON_INVALID),
        ({"email": "a@b.c"}, Reason.EMAIL_DISABLED),
        ({"call": "yes"}, Reason.CALL_DISABLED),
        ({"filename": "a.txt", "message": "hi"}, Reason.ATTACHMENTS_DISALLOWED),
        ({"message": "x" * 4097}, Reason.ATTACHMENTS_DISALLOWED),
        ({"actions": [{"action": "view", "label": "a"}]}, Reason.ACTIONS_INVALID),
        ({"actions": [None]}, Reason.ACTIONS_INVALID),
        ({"sequence_id": "a b"}, Reason.SEQUENCE_ID_INVALID),
    ],
)
def test_the_rules_are_those_of_any_publish(values: dict[str, object], reason: Reason) -> None:
    assert refusal(values) is reason


def test_a_long_message_stays_a_message_up_to_the_limit() -> None:
    assert len(content({"message": "x" * 4096}).message) == 4096
    assert refusal({"message": "é" * 2049}) is Reason.ATTACHMENTS_DISALLOWED


def test_headers_and_query_apply_where_the_json_says_nothing() -> None:
    request = ask("/?priority=5&sid=seq", x_title="header", tags="header", x_message="header")
    made = draft({"message": "json", "title": "json"}, request)
    assert made.content == Content(message="json", title="json", tags=("header",), priority=5)
    assert made.sequence_id == "seq"
    assert content({"title": " "}, ask(title="header")).title == "header"
    # the message travels as the body, so a message parameter never counts
    assert content({}, request).message == "triggered"


def test_an_empty_message_is_triggered_even_beside_an_attachment() -> None:
    assert content({"attach": "https://x.org/a.jpg"}).message == "triggered"


def test_strings_are_trimmed_and_decoded_and_tags_split_again() -> None:
    made = content({"title": " =?utf-8?q?f=C3=BCrst?= ", "tags": ["a,b", " c ", None, ""]})
    assert made.title == "fürst"
    assert made.tags == ("a", "b", "c")


def test_the_message_is_taken_as_it_is() -> None:
    assert content({"message": "a\nb \\n =?utf-8?q?c?="}).message == "a\nb \\n =?utf-8?q?c?="


def test_half_a_surrogate_pair_is_repaired() -> None:
    made = content(
        b'{"topic":"mytopic","message":"a\\ud83d","title":"\\udc99b","tags":["\\ud800"],'
        b'"actions":[{"action":"copy","label":"\\ud800","value":"\\ud83d\\udc99"}]}'
    )
    assert (made.message, made.title, made.tags) == ("a\ufffd", "\ufffdb", ("\ufffd",))
    assert (made.actions[0].label, made.actions[0].value) == ("\ufffd", "💙")
    orjson.dumps(made)


def test_other_characters_survive() -> None:
    assert content({"message": "a\0b\u2028c💙"}).message == "a\0b\u2028c💙"


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\\="), max_size=30)


@given(
    st.fixed_dictionaries(
        {"message": TEXT.filter(str.strip)},
        optional={
            "title": TEXT,
            "click": TEXT,
            "priority": st.integers(1, 5),
            "tags": st.lists(TEXT.map(lambda tag: tag.replace(",", " ")), max_size=3),
        },
    )
)
def test_it_says_the_same_as_headers_and_a_body(values: dict[str, object]) -> None:
    headers: dict[str, str] = {}
    for name, value in values.items():
        if name != "message":
            headers[name] = ",".join(value) if isinstance(value, list) else str(value)
    body = str(values["message"]).encode()
    assert draft(values) == draft_from_request(ask(**headers), body, False, NOW, LIMITS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["message", "Title", "tags", "priority", "actions", "delay", "markdown", "attach", "icon", "email", "x"]
)


@given(st.dictionaries(KEYS, JSON, max_size=5), st.binary(max_size=5))
def test_any_json_gives_a_draft_or_a_refusal(values: dict[str, object], rest: bytes) -> None:
    try:
        made = draft(orjson.dumps({"topic": "mytopic"} | values) + rest)
    except Invalid:
        return
    orjson.dumps(made)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_draft_or_a_refusal(data: bytes) -> None:
    assert reason_of(lambda: parse_publish_json(data)) in (None, Reason.JSON_INVALID, Reason.TOPIC_INVALID)
