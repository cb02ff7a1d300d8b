"""Action buttons, in the short form and as JSON."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.message import Action
from ntfyish.web.ntfy.actions import parse_actions
from tests.ntfy.asking import reason_of


def detail(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        parse_actions(text)
    assert caught.value.reason is Reason.ACTIONS_INVALID
    return caught.value.detail


def without_ids(actions: tuple[Action, ...]) -> list[dict[str, object]]:
    """Return what is set of each action."""
    names = [name for name in Action.__slots__ if name != "id"]
    return [{name: value for name in names if (value := getattr(action, name))} for action in actions]


SHORT = {
    "view, Open portal, https://x.org": [{"action": "view", "label": "Open portal", "url": "https://x.org"}],
    "action=http, label=Open door, url=https://door.lan/open; view, Show, https://door.lan": [
        {"action": "http", "label": "Open door", "url": "https://door.lan/open"},
        {"action": "view", "label": "Show", "url": "https://door.lan"},
    ],
    "http, Put it, https://x.org, body=this is a body, method=put, clear=YES": [
        {
            "action": "http",
            "label": "Put it",
            "url": "https://x.org",
            "body": "this is a body",
            "method": "PUT",
            "clear": True,
        }
    ],
    "broadcast, Do, extras.command=some command, extras.some_param=x, intent=io.heckel.ntfy.TEST": [
        {
            "action": "broadcast",
            "label": "Do",
            "extras": (("command", "some command"), ("some_param", "x")),
            "intent": "io.heckel.ntfy.TEST",
        }
    ],
    "http, Send, https://x.org, headers.Content-Type=application/json, headers.Authorization=Basic abc=": [
        {
            "action": "http",
            "label": "Send",
            "url": "https://x.org",
            "headers": (("Content-Type", "application/json"), ("Authorization", "Basic abc=")),
        }
    ],
    r"""http, "Look ma, \"quotes\"; and semicolons", url=https://x.org""": [
        {"action": "http", "label": 'Look ma, "quotes"; and semicolons', "url": "https://x.org"}
    ],
    r"""http, '"quotes" and \'single quotes\'', url=https://x.org""": [
        {"action": "http", "label": "\"quotes\" and 'single quotes'", "url": "https://x.org"}
    ],
    """http, Post, https://x.org, body='{"temperature": 65}'""": [
        {"action": "http", "label": "Post", "url": "https://x.org", "body": '{"temperature": 65}'}
    ],
    'label="Out of order!" , action="view", url=https://x.org': [
        {"action": "view", "label": "Out of order!", "url": "https://x.org"}
    ],
    "action = view, label = 'a label', URL = \"https://x.org\"": [
        {"action": "view", "label": "a label", "url": "https://x.org"}
    ],
    "http , 'Make love, not war 💙🫤' , https://x.org ; view, \" yo \", https://y.org, clear=true": [
        {"action": "http", "label": "Make love, not war 💙🫤", "url": "https://x.org"},
        {"action": "view", "label": " yo ", "url": "https://y.org", "clear": True},
    ],
    "copy, Copy code, 1234": [{"action": "copy", "label": "Copy code", "value": "1234"}],
    "action=COPY, label=Copy, clear=no, value=abc-123": [
        {"action": "copy", "label": "Copy", "value": "abc-123"}
    ],
    "view, a, https://x.org;": [{"action": "view", "label": "a", "url": "https://x.org"}],
    "view, a, https://x.org ; \n": [{"action": "view", "label": "a", "url": "https://x.org"}],
    "broadcast, back\\slash": [{"action": "broadcast", "label": "back\\slash"}],
    "view, a, https://x.org?q=1": [{"action": "view", "label": "a", "url": "https://x.org?q=1"}],
}


@pytest.mark.parametrize("text", SHORT)
def test_the_short_form_is_read(text: str) -> None:
    assert without_ids(parse_actions(text)) == SHORT[text]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('label="Out of order!" x, action="http"', "unexpected character 'x' at position 22"),
        ('label="Öut of order!" x, action="http"', "unexpected character 'x' at position 23"),
        ("''\";,;\"", "unexpected character '\"' at position 2"),
        ('label="", action="http", url=http://x.org', "parameter 'label' is required"),
        ("label=, action=http, url=http://x.org", "parameter 'label' is required"),
        ("view, a, https://x.org, what is this anyway", "term 'what is this anyway' unknown"),
        ("VIEW, a, https://x.org", "term 'https://x.org' unknown"),
        ("broadcast, a, b", "term 'b' unknown"),
        (",,,,,,;;", "term '' unknown"),
        ("view, a, https://x.org,", "term '' unknown"),
        (
            "fdsfdsf",
            "parameter 'action' cannot be 'fdsfdsf', valid values are 'view', 'broadcast', 'http' and 'copy'",
        ),
        (
            "view, a, https://x.org;;",
            "parameter 'action' cannot be '', valid values are 'view', 'broadcast', 'http' and 'copy'",
        ),
        ('aaa=a, "bbb, \'ccc, ddd, eee "', "key 'aaa' unknown"),
        ("view, a, HEADERS.x=1", "key 'HEADERS.x' unknown"),
        ("view, a, headers=1", "key 'headers' unknown"),
        (
            'action=http, label="omg the end quote is missing',
            "unexpected end of input, quote started at position 20",
        ),
        ('view, "ends in a backslash\\"', "unexpected end of input, quote started at position 7"),
        (";;;;", "only 3 actions allowed"),
        ("view,a,b;view,a,b;view,a,b;view,a,b", "only 3 actions allowed"),
        ("http, a label, body=somebody", "parameter 'url' is required for action 'http'"),
        ("View=1", "key 'View' unknown"),
        ("view, a", "parameter 'url' is required for action 'view'"),
        ("copy, Copy code", "parameter 'value' is required for action 'copy'"),
        (
            "http, a, http://x.org, method=head, body=somebody",
            "parameter 'body' cannot be set if method is HEAD",
        ),
        ("http, a, http://x.org, method=GET, body=b", "parameter 'body' cannot be set if method is GET"),
        (
            "http, a, http://x.org, clear=x",
            "parameter 'clear' cannot be 'x', only boolean values are allowed (true/yes/1/false/no/0)",
        ),
    ],
)
def test_mistakes_in_the_short_form_are_explained_in_ntfys_words(text: str, words: str) -> None:
    assert detail(text) == words


def test_json_is_read_with_keys_in_any_case_and_nulls_and_strangers_passed_over() -> None:
    actions = parse_actions(
        ' [{"ACTION":"HTTP","Label":"Open","url":"https://x.org","method":"post","body":null,"clear":true,'
        '"headers":{"X-A":"1","X-B":null},"extras":{},"id":"mine","unknown":[1]},'
        '{"action":"copy","label":"Copy","value":"567"}] '
    )
    assert without_ids(actions) == [
        {
            "action": "http",
            "label": "Open",
            "url": "https://x.org",
            "method": "POST",
            "clear": True,
            "headers": (("X-A", "1"), ("X-B", "")),
        },
        {"action": "copy", "label": "Copy", "value": "567"},
    ]
    assert actions[0].id != "mine"


def test_an_empty_array_is_no_action() -> None:
    assert parse_actions("[]") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[ invalid json ]",
        "[",
        "[] x",
        "[1]",
        '["view"]',
        '[{"action":1}]',
        '[{"label":["a"]}]',
        '[{"clear":"yes"}]',
        '[{"clear":1}]',
        '[{"headers":["a"]}]',
        '[{"extras":{"a":1}}]',
        "[" * 100_000,
        '[{"label":"\\ud800"}]',
    ],
)
def test_broken_json_is_said_to_be_json(text: str) -> None:
    assert detail(text).startswith("JSON error: ")


@pytest.mark.parametrize("text", ['[{"some":"object"}]', "[null]"])
def test_a_json_object_without_an_action_is_an_action_without_a_name(text: str) -> None:
    assert detail(text).startswith("parameter 'action' cannot be ''")


def test_each_action_gets_an_id_of_its_own() -> None:
    ids = [action.id for action in parse_actions("view,a,b;view,a,b;view,a,b")]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[A-Za-z0-9]{10}", id) for id in ids)


# What the short form can carry between quotes: no backslash just before a quote or the end
VALUES = st.text(min_size=1).filter(lambda text: not re.search(r"""\\(["']|$)""", text, re.DOTALL))
NAMES = st.from_regex(r"[-\w]{1,8}", fullmatch=True).filter(str.isascii)
PAIRS = st.dictionaries(NAMES, VALUES, max_size=2)
ACTIONS = st.one_of(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["view", "http"]), "label": VALUES, "url": VALUES},
        optional={"clear": st.booleans(), "headers": PAIRS, "intent": VALUES},
    ),
    st.fixed_dictionaries({"action": st.just("copy"), "label": VALUES, "value": VALUES}),
    st.fixed_dictionaries(
        {"action": st.just("broadcast"), "label": VALUES}, optional={"extras": PAIRS, "body": VALUES}
    ),
)


def short(action: dict[str, object], quote: str) -> str:
    sections = []
    for name, value in action.items():
        pairs = (
            {f"{name}.{key}": text for key, text in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        for key, text in pairs.items():
            escaped = str(text).lower() if isinstance(text, bool) else str(text).replace(quote, "\\" + quote)
            sections.append(f"{key} = {quote}{escaped}{quote}")
    return " , ".join(sections)


def plain(action: dict[str, object]) -> dict[str, object]:
    return {
        name: tuple(value.items()) if isinstance(value, dict) else value
        for name, value in action.items()
        if value
    }


@given(st.lists(ACTIONS, min_size=1, max_size=3), st.sampled_from("\"'"))
def test_both_forms_say_the_same_and_lose_nothing(actions: list[dict[str, object]], quote: str) -> None:
    expected = [plain(action) for action in actions]
    assert without_ids(parse_actions(orjson.dumps(actions).decode())) == expected
    assert without_ids(parse_actions("; ".join(short(action, quote) for action in actions))) == expected


@given(st.text(alphabet="view,;=\"'\\ ab.[{}]\n", max_size=40))
def test_any_text_gives_actions_or_a_refusal(text: str) -> None:
    assert reason_of(lambda: parse_actions(text)) in (None, Reason.ACTIONS_INVALID)
