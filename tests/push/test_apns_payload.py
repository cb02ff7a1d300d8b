"""What is pushed through APNs: titles, levels, custom keys, ciphertexts, and never more than 4096 bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntfyish.model.message import Action, Attachment, Content, Event, Message, MessageId
from ntfyish.push.apns.payload import LARGEST_BYTES, SMALL_BYTES, Payload, build, cut

INBOX = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
FERNET = "gAAAAABl" + "aZ09-_" * 30 + "=="
PUSHOVER_CIPHER = base64.b64encode(bytes(range(96))).decode()
NOTHING_CUSTOM = {"id", "topic", "time"}


def message(
    text: str = "hi", *, topic: str = "alerts", event: Event = Event.MESSAGE, **content: Any
) -> Message:
    fields = {name: content.pop(name) for name in ("sequence_id", "poll_id", "receipt") if name in content}
    return Message(
        id=MessageId("abcdefABCDEF"),
        time=1_700_000_000,
        topic=topic,
        event=event,
        content=Content(message=text, **content),
        **fields,
    )


def alert_of(payload: Payload) -> dict[str, str]:
    alert: dict[str, str] = payload.data["aps"]["alert"]
    return alert


def custom_of(payload: Payload) -> dict[str, Any]:
    return {name: value for name, value in payload.data.items() if name != "aps"}


def test_a_plain_message_is_an_alert_that_says_where_it_comes_from() -> None:
    payload = build(message("Disk full", title="Backups", priority=3))
    assert json.loads(payload.body) == {
        "aps": {
            "alert": {"title": "Backups", "body": "Disk full"},
            "interruption-level": "active",
            "sound": "default",
            "thread-id": "alerts",
        },
        "id": "abcdefABCDEF",
        "topic": "alerts",
        "time": 1_700_000_000,
        "priority": 3,
    }
    assert (payload.push_type, payload.priority) == ("alert", 10)


@pytest.mark.parametrize(
    ("priority", "level", "sound", "header"),
    [
        (0, "active", "default", 10),
        (1, "passive", None, 5),
        (2, "passive", None, 5),
        (3, "active", "default", 10),
        (4, "time-sensitive", "default", 10),
        (5, "time-sensitive", "default", 10),
    ],
)
def test_the_priority_decides_how_loud_it_is(
    priority: int, level: str, sound: str | None, header: int
) -> None:
    payload = build(message(priority=priority))
    aps = payload.data["aps"]
    assert (aps["interruption-level"], aps.get("sound"), payload.priority) == (level, sound, header)
    assert payload.data.get("priority") == (priority or None)


def test_a_named_sound_is_the_apps_to_play_and_none_is_no_sound() -> None:
    bugle = build(message(sound="bugle"))
    assert (bugle.data["aps"]["sound"], bugle.data["sound"]) == ("default", "bugle")
    silent = build(message(sound="none"))
    assert "sound" not in silent.data["aps"]
    assert silent.data["aps"]["interruption-level"] == "active"


@pytest.mark.parametrize(
    ("topic", "content", "title"),
    [
        ("alerts", {"title": "T", "app": "A"}, "T"),
        ("alerts", {"app": "A"}, "A"),
        ("alerts", {}, "alerts"),
        ("alerts", {"title": " \t"}, "alerts"),
        (INBOX, {}, "New message"),
        (INBOX, {"app": "Backups"}, "Backups"),
        ("a" * 29, {}, "a" * 29),
    ],
)
def test_the_title_is_the_messages_the_apps_or_the_topic_but_never_a_key(
    topic: str, content: dict[str, Any], title: str
) -> None:
    assert alert_of(build(message(topic=topic, **content)))["title"] == title


@pytest.mark.parametrize(
    ("content", "thread"),
    [
        ({"nzb_app": "nzbget", "app": "Home"}, "nzbget"),
        ({"app": "Home"}, "Home"),
        ({}, "alerts"),
    ],
)
def test_alerts_are_grouped_by_app_or_else_by_topic(content: dict[str, Any], thread: str) -> None:
    assert build(message(**content)).data["aps"]["thread-id"] == thread


def test_markup_is_taken_out_of_html_and_left_in_other_texts() -> None:
    assert alert_of(build(message("<b>1 &lt; 2</b>", html=True)))["body"] == "1 < 2"
    assert alert_of(build(message("<b>x</b>")))["body"] == "<b>x</b>"


@pytest.mark.parametrize(
    "odd", [message(""), message(" \n"), message("<b></b>", html=True), message("", app="", topic="")]
)
def test_an_alert_without_words_says_at_least_that_there_is_a_message(odd: Message) -> None:
    assert alert_of(build(odd))["body"] == "New message"
    assert alert_of(build(odd))["title"]


def test_bytes_are_not_shown_as_text() -> None:
    payload = build(message("AAECAw==", encoding="base64"))
    assert alert_of(payload)["body"] == "Binary message"
    assert payload.data["fetch"] is True


def test_everything_a_message_has_is_there_under_its_name() -> None:
    payload = build(
        message(
            "done",
            title="Backup",
            subtitle="nightly",
            priority=4,
            tags=("tada", "x"),
            click="nzbclient://history?nzbid=1234",
            url_title="Open",
            icon="https://example.com/i.png",
            sound="bugle",
            attachment=Attachment(name="a.png", url="https://example.com/a.png", type="image/png"),
            actions=(Action(id="1", action="view", label="Open", url="https://example.com"),),
            app="Home",
            nzb_app="nzbget",
            nzb_id="1234",
            timestamp=1_600_000_000,
            receipt="r" * 30,
            sequence_id="seq",
        )
    )
    assert alert_of(payload) == {"title": "Backup", "subtitle": "nightly", "body": "done"}
    assert custom_of(payload) == {
        "id": "abcdefABCDEF",
        "topic": "alerts",
        "time": 1_700_000_000,
        "sequence_id": "seq",
        "priority": 4,
        "tags": ["tada", "x"],
        "url": "nzbclient://history?nzbid=1234",
        "url_title": "Open",
        "icon": "https://example.com/i.png",
        "sound": "bugle",
        "attachment": {"name": "a.png", "url": "https://example.com/a.png", "type": "image/png"},
        "actions": [
            {"id": "1", "action": "view", "label": "Open", "clear": False, "url": "https://example.com"}
        ],
        "receipt": "r" * 30,
        "app": "nzbget",
        "nzbID": "1234",
        "timestamp": 1_600_000_000,
    }
    assert payload.data["aps"]["mutable-content"] == 1


def test_a_file_without_a_type_has_none() -> None:
    payload = build(message(attachment=Attachment(name="a", url="https://example.com/a")))
    assert payload.data["attachment"] == {"name": "a", "url": "https://example.com/a"}


def test_what_a_message_does_not_have_is_not_there() -> None:
    payload = build(message())
    assert custom_of(payload).keys() == NOTHING_CUSTOM
    assert "mutable-content" not in payload.data["aps"]


def test_nzbclients_ciphertext_is_passed_on_beside_a_title_in_plain_words() -> None:
    payload = build(
        message(
            FERNET,
            title="NZB Downloaded",
            encrypted=True,
            encryption_type="fernet",
            nzb_app="nzbget",
            click="nzbclient://history?nzbid=7",
            html=True,
        )
    )
    assert alert_of(payload) == {"title": "NZB Downloaded", "body": "Encrypted message"}
    assert payload.data["aps"]["mutable-content"] == 1
    assert payload.data["message"] == FERNET
    assert (payload.data["isEncrypted"], payload.data["encryptionType"]) == (True, "fernet")
    assert payload.data["url"] == "nzbclient://history?nzbid=7"
    assert "title" not in payload.data
    assert "fetch" not in payload.data


def test_pushovers_ciphertexts_are_passed_on_and_none_of_them_is_shown() -> None:
    payload = build(
        message(
            PUSHOVER_CIPHER,
            title=PUSHOVER_CIPHER,
            click=PUSHOVER_CIPHER,
            url_title=PUSHOVER_CIPHER,
            subtitle=PUSHOVER_CIPHER,
            app="Backups",
            encrypted=True,
        )
    )
    assert alert_of(payload) == {"title": "Backups", "body": "Encrypted message"}
    for name in ("message", "title", "subtitle", "url", "url_title"):
        assert payload.data[name] == PUSHOVER_CIPHER
    assert payload.data["isEncrypted"] is True
    assert "encryptionType" not in payload.data


def test_openssls_lines_are_passed_on_as_they_are() -> None:
    lines = "U2FsdGVkX1" + "A" * 54 + "\n" + "B" * 64 + "\n"
    payload = build(message(lines, encrypted=True, encryption_type="aes256CBC", app="A"))
    assert json.loads(payload.body)["message"] == lines


def test_a_ciphertext_that_does_not_fit_is_left_out_whole_and_asked_for() -> None:
    payload = build(
        message("A" * 4000, encrypted=True, app="A", nzb_id="1234", click="nzbclient://search", topic=INBOX)
    )
    assert len(payload.body) <= LARGEST_BYTES
    assert "message" not in payload.data
    assert payload.data["fetch"] is True
    assert (payload.data["nzbID"], payload.data["url"]) == ("1234", "nzbclient://search")
    assert alert_of(payload)["body"] == "Encrypted message"


def test_a_ciphertext_comes_before_what_an_app_can_do_without() -> None:
    payload = build(message("A" * 3000, encrypted=True, app="A", icon="https://example.com/" + "i" * 1000))
    assert payload.data["message"] == "A" * 3000
    assert "icon" not in payload.data
    assert payload.data["fetch"] is True


def test_a_poll_request_wakes_the_app_to_fetch() -> None:
    payload = build(message("New message", event=Event.POLL_REQUEST, poll_id="xyz"))
    assert payload.data["aps"]["mutable-content"] == 1
    assert (payload.data["event"], payload.data["poll_id"]) == ("poll_request", "xyz")
    assert payload.push_type == "alert"


@pytest.mark.parametrize("event", [Event.MESSAGE_DELETE, Event.MESSAGE_CLEAR])
def test_what_takes_a_message_back_shows_nothing(event: Event) -> None:
    payload = build(message("", event=event, sequence_id="seq"))
    assert payload.data == {
        "aps": {"content-available": 1},
        "id": "abcdefABCDEF",
        "topic": "alerts",
        "time": 1_700_000_000,
        "event": event.value,
        "sequence_id": "seq",
    }
    assert (payload.push_type, payload.priority) == ("background", 5)


def test_a_thousand_emoji_are_cut_between_two_of_them() -> None:
    payload = build(message("😀" * 1024, title="T"))
    body = alert_of(payload)["body"]
    assert LARGEST_BYTES - 4 < len(payload.body) <= LARGEST_BYTES
    assert body == "😀" * (len(body) - 1) + "…"
    assert payload.data["fetch"] is True


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 3000, '"' * 3000, "\x01" * 1000, "\n" * 2500])
def test_a_long_text_fills_what_there_is_whatever_it_is_made_of(text: str) -> None:
    payload = build(message("start" + text, click="https://example.com/1"))
    assert LARGEST_BYTES - 8 < len(payload.body) <= LARGEST_BYTES
    body = alert_of(payload)["body"]
    assert body[-1] == "…"
    assert ("start" + text).startswith(body[:-1])
    assert payload.data["url"] == "https://example.com/1"


def test_a_text_that_just_fits_is_not_cut() -> None:
    room = LARGEST_BYTES - len(build(message("x")).body)
    whole = build(message("x" * (room + 1)))
    assert (len(whole.body), alert_of(whole)["body"]) == (LARGEST_BYTES, "x" * (room + 1))
    assert "fetch" not in whole.data
    assert alert_of(build(message("x" * (room + 2))))["body"].endswith("…")


def test_buttons_go_before_the_text_is_cut() -> None:
    buttons = (Action(id="1", action="view", label="Open", url="https://example.com/" + "b" * 500),)
    payload = build(message("x" * 3600, actions=buttons))
    assert alert_of(payload)["body"] == "x" * 3600
    assert "actions" not in payload.data
    assert payload.data["fetch"] is True


def test_the_important_keys_outlive_the_bulky_ones() -> None:
    payload = build(
        message("x" * 900, icon="https://example.com/" + "i" * 3500, click="https://example.com", nzb_id="1")
    )
    assert "icon" not in payload.data
    assert alert_of(payload)["body"] == "x" * 900
    assert (payload.data["url"], payload.data["nzbID"]) == ("https://example.com", "1")


def test_an_absurd_title_is_cut_and_leaves_room_for_the_text() -> None:
    payload = build(message("b" * 900, title="t" * 9000, subtitle="s" * 9000))
    alert = alert_of(payload)
    assert alert["body"] == "b" * 900
    assert alert["title"].rstrip("…") == "t" * (len(alert["title"]) - 1)
    assert len(payload.body) <= LARGEST_BYTES


def test_a_payload_that_was_too_large_is_made_much_smaller() -> None:
    long = message("x" * 4000, title="T", click="https://example.com")
    payload = build(long, small=True)
    assert SMALL_BYTES - 8 < len(payload.body) <= SMALL_BYTES
    assert payload.data["url"] == "https://example.com"


@pytest.mark.parametrize(
    "whole",
    ["e\u0301", "👨\u200d👩\u200d👧", "👍\U0001f3fd", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e007f"],
)
@pytest.mark.parametrize("spare", range(30))
def test_what_looks_like_one_character_is_cut_off_as_one(whole: str, spare: int) -> None:
    kept = cut("ab" + whole * 20, 5 + spare).removesuffix("…").removeprefix("ab")
    assert kept == whole * (len(kept) // len(whole))


@pytest.mark.parametrize("spare", range(30))
def test_flags_are_not_cut_into_halves(spare: int) -> None:
    kept = cut("🇩🇪" * 9, 3 + spare).removesuffix("…")
    assert kept == "🇩🇪" * (len(kept) // 2)
    assert len(kept) // 2 == spare // 8


def test_endless_accents_are_cut_all_the_same() -> None:
    payload = build(message("a" + "\u0301" * 5000))
    assert len(payload.body) > LARGEST_BYTES - 8


def test_half_a_surrogate_pair_does_no_harm() -> None:
    payload = build(message("\ud800" * 5000, title="\udfff"))
    assert len(payload.body) <= LARGEST_BYTES
    assert json.loads(payload.body)["aps"]["alert"]["title"] == "?"


def test_an_app_can_have_other_names_for_the_custom_keys() -> None:
    payload = build(
        message(FERNET, encrypted=True, click="nzbclient://search", app="A"),
        keys={"isEncrypted": "encrypted", "url": "id"},
    )
    assert payload.data["encrypted"] is True
    assert "isEncrypted" not in payload.data
    assert payload.data["id"] == "nzbclient://search"


@pytest.mark.parametrize("spare", range(0, 200, 3))
def test_that_something_is_missing_is_said_however_little_room_there_is(spare: int) -> None:
    payload = build(message("x", nzb_app="a" * (3900 + spare), icon="https://example.com/i.png"))
    assert len(payload.body) <= LARGEST_BYTES
    assert payload.data["id"] == "abcdefABCDEF"
    assert payload.data["fetch"] is True


TEXTS = st.one_of(
    st.text(max_size=40),
    st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=8), st.integers(1, 1500)),
)
NAMES = st.text(min_size=0, max_size=70)
ACTIONS = st.builds(Action, id=NAMES, action=st.just("view"), label=TEXTS, url=TEXTS, body=TEXTS)
ATTACHMENTS = st.builds(Attachment, name=TEXTS, url=TEXTS, type=NAMES)
CONTENTS = st.builds(
    Content,
    title=TEXTS,
    message=TEXTS,
    priority=st.integers(0, 5),
    tags=st.lists(TEXTS, max_size=4).map(tuple),
    click=TEXTS,
    icon=TEXTS,
    actions=st.lists(ACTIONS, max_size=3).map(tuple),
    attachment=st.none() | ATTACHMENTS,
    encoding=st.sampled_from(["", "base64"]),
    app=TEXTS,
    url_title=TEXTS,
    sound=NAMES,
    subtitle=TEXTS,
    timestamp=st.integers(0, 2**40),
    html=st.booleans(),
    encrypted=st.booleans(),
    encryption_type=TEXTS,
    nzb_app=TEXTS,
    nzb_id=TEXTS,
)
MESSAGES = st.builds(
    Message,
    id=NAMES.map(MessageId),
    time=st.integers(0, 2**40),
    topic=TEXTS,
    event=st.sampled_from(Event),
    sequence_id=NAMES,
    poll_id=NAMES,
    receipt=NAMES,
    content=CONTENTS,
)


@settings(max_examples=400, deadline=None)
@given(one=MESSAGES, small=st.booleans())
def test_any_message_gives_a_payload_that_apple_takes(one: Message, small: bool) -> None:
    payload = build(one, small=small)
    assert len(payload.body) <= (SMALL_BYTES if small else LARGEST_BYTES)
    data = json.loads(payload.body)
    assert data == payload.data
    if payload.push_type == "background":
        assert data["aps"] == {"content-available": 1}
        return
    alert = data["aps"]["alert"]
    assert alert["title"]
    assert alert["body"]
    content = one.content
    if content.encrypted:
        assert alert["body"] == "Encrypted message"
        assert data["aps"]["mutable-content"] == 1
        assert data["isEncrypted"] is True
        assert data.get("message", "") == content.message or ("message" not in data and data["fetch"])
    elif not (content.html or content.encoding) and content.message.strip():
        body = alert["body"]
        assert body == content.message or (content.message.startswith(body[:-1]) and body[-1] == "…")
        assert body == content.message or data["fetch"]
    for name, value in (("url", content.click), ("nzbID", content.nzb_id), ("icon", content.icon)):
        assert data.get(name, "") == value or data["fetch"]


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, limit_bytes=st.integers(3, 5000))
def test_a_cut_text_is_the_beginning_of_the_whole_and_fits(text: str, limit_bytes: int) -> None:
    short = cut(text, limit_bytes)
    assert text.startswith(short.removesuffix("…"))
    assert len(json.dumps(short, ensure_ascii=False).encode()) - 2 <= limit_bytes


def test_the_same_message_gives_the_same_payload() -> None:
    one = message("x" * 5000, tags=("a", "b"))
    assert build(one) == build(replace(one))
