"""What a publish asks for: parameters and body as a draft, and the order of errors."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.message import Attachment, Content, Draft, Event
from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.ntfy.drafts import PublishLimits, draft_from_request
from ntfyish.web.params import NAMES
from tests.ntfy.asking import NOW, ask

LIMITS = PublishLimits()


def draft(request: Request, body: bytes = b"", more: bool = False, sequence_id: str = "") -> Draft:
    return draft_from_request(request, body, more, NOW, LIMITS, sequence_id=sequence_id)


def content(request: Request, body: bytes = b"", more: bool = False) -> Content:
    return draft(request, body, more).content


def refusal(request: Request, body: bytes = b"", more: bool = False) -> Reason:
    with pytest.raises(Invalid) as caught:
        draft(request, body, more)
    return caught.value.reason


def test_a_bare_body_is_the_message_and_all_else_is_unset() -> None:
    assert draft(ask(), b"Disk full") == Draft(content=Content(message="Disk full"))


def test_every_parameter_finds_its_place() -> None:
    request = ask(
        x_title="Disk",
        x_priority="high",
        x_tags="warning,skull",
        x_click="https://x.org/click",
        x_icon="https://x.org/icon.png",
        x_actions="view, Open, https://x.org",
        x_attach="https://x.org/a.jpg",
        x_filename="b.jpg",
        x_markdown="yes",
        x_sequence_id="disk-1",
        x_delay="30m",
    )
    made = draft(request, b"full")
    (action,) = made.content.actions
    assert (action.action, action.label, action.url) == ("view", "Open", "https://x.org")
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
    )


@pytest.mark.parametrize(
    ("request_", "body", "message"),
    [
        (ask(), b"", "triggered"),
        (ask(), b"  \n ", "triggered"),
        (ask(), b"\n hi there \n", "hi there"),
        (ask(), "größer".encode(), "größer"),
        (ask(), b"a\nb", "a\nb"),
        (ask(), rb"a\nb", r"a\nb"),
        (ask(x_message="param"), b"", "param"),
        (ask(x_message="param"), b"body", "body"),
        (ask(x_message="param"), b"  ", "triggered"),
        (ask(x_message=r"a\nb"), b"", "a\nb"),
        (ask(x_message="=?utf-8?q?h=C3=A9?="), b"", "hé"),
        (ask("/t/publish?message=by+GET"), b"", "by GET"),
        (ask(a="https://x.org/a.jpg"), b"", "You received a file: a.jpg"),
        (ask(a="https://x.org/a.jpg"), b"  ", "You received a file: a.jpg"),
        (ask(a="https://x.org/a.jpg", m="look"), b"", "look"),
        (ask(a="https://x.org/a.jpg", m="look"), b"body", "body"),
    ],
)
def test_the_body_comes_before_the_message_parameter(request_: Request, body: bytes, message: str) -> None:
    assert content(request_, body).message == message


def test_a_text_of_exactly_the_limit_is_still_a_message() -> None:
    assert content(ask(), b"x" * 4096).message == "x" * 4096


@pytest.mark.parametrize(
    ("request_", "body", "more"),
    [
        (ask(), b"x" * 4096, True),
        (ask(), b"\xff\xfe", False),
        (ask(x_message="caption"), b"\x89PNG", False),
        (ask(filename="a.txt"), b"tiny", False),
        (ask("/t?f=a.txt"), b"", False),
        (ask(filename="a.txt", template="yes"), b"{}", False),
    ],
)
def test_what_would_be_an_upload_is_refused(request_: Request, body: bytes, more: bool) -> None:
    assert refusal(request_, body, more) is Reason.ATTACHMENTS_DISALLOWED


@pytest.mark.parametrize(
    ("url", "filename", "name"),
    [
        ("https://x.org/a/b.jpg", "", "b.jpg"),
        ("http://x.org/a/b.jpg?x=1#y", "", "b.jpg"),
        ("https://x.org/a/b/", "", "b"),
        ("https://x.org/a%20b.jpg", "", "a b.jpg"),
        ("https://x.org", "", "attachment"),
        ("https://x.org/", "", "attachment"),
        ("https://[x/a.jpg", "", "attachment"),
        ("https://x.org/a.jpg", "c.jpg", "c.jpg"),
    ],
)
def test_an_attachment_elsewhere_is_named_by_parameter_or_url(url: str, filename: str, name: str) -> None:
    made = content(ask(attach=url, filename=filename), b"hi")
    assert made.attachment == Attachment(name=name, url=url)
    assert made.message == "hi"


def test_a_long_text_beside_an_attachment_is_cut_between_characters() -> None:
    request = ask(attach="https://x.org/a.jpg")
    for cut in range(4):
        body = b"x" * (4096 - cut) + "💙".encode()[:cut]
        assert content(request, body, more=True).message == "x" * (4096 - cut)
    assert content(request, b"x" * 4095 + "é".encode()[:1], more=True).message == "x" * 4095
    assert content(request, b"x" * 4092 + "💙".encode(), more=True).message == "x" * 4092 + "💙"
    assert refusal(request, b"\xff" + b"x" * 4095, more=True) is Reason.MESSAGE_NOT_UTF8
    assert refusal(request, b"x\xe2\x82", more=False) is Reason.MESSAGE_NOT_UTF8


@pytest.mark.parametrize(
    "value", ["x.org/a", "ftp://x.org", "HTTP://x.org", "javascript:alert(1)", "//x.org"]
)
def test_attachment_and_icon_must_be_urls(value: str) -> None:
    assert refusal(ask(attach=value)) is Reason.ATTACH_URL_INVALID
    assert refusal(ask(icon=value)) is Reason.ICON_INVALID


@pytest.mark.parametrize(
    ("word", "priority"),
    [
        ("1", 1),
        ("min", 1),
        ("2", 2),
        ("low", 2),
        ("3", 3),
        ("default", 3),
        ("4", 4),
        ("HIGH", 4),
        ("5", 5),
        ("max", 5),
        ("Urgent", 5),
        (" ", 0),
    ],
)
def test_priorities_have_numbers_and_names(word: str, priority: int) -> None:
    assert content(ask(priority=word)).priority == priority


@pytest.mark.parametrize("word", ["0", "6", "-1", "highest", "4.0", "٤", "u=1x"])
def test_other_priorities_are_refused(word: str) -> None:
    assert refusal(ask(priority=word)) is Reason.PRIORITY_INVALID


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a", ("a",)),
        ("a, b ,c", ("a", "b", "c")),
        ("a,,b,", ("a", "b")),
        ("a, ,b", ("a", "", "b")),
        (",", ()),
        ("=?utf-8?q?w=C3=A4rm=2Ckalt?=", ("wärm", "kalt")),
        ("a,a", ("a", "a")),
    ],
)
def test_tags_are_split_at_commas_and_trimmed(text: str, tags: tuple[str, ...]) -> None:
    assert content(ask(tags=text)).tags == tags


@pytest.mark.parametrize(
    ("request_", "markdown"),
    [
        (ask(markdown="1"), True),
        (ask("/t?md=yes"), True),
        (ask(content_type="text/markdown"), True),
        (ask(content_type="Text/Markdown; charset=utf-8"), True),
        (ask("/t?content_type=text/markdown"), True),
        (ask(content_type="text/markdown", markdown="no"), True),
        (ask(content_type="text/markdownish"), False),
        (ask(content_type="text/plain"), False),
        (ask(markdown="no"), False),
    ],
)
def test_markdown_is_asked_for_by_parameter_or_content_type(request_: Request, markdown: bool) -> None:
    assert content(request_).content_type == ("text/markdown" if markdown else "")


@pytest.mark.parametrize(("word", "cache"), [("no", False), ("0", False), ("yes", True), ("", True)])
def test_caching_can_be_turned_off(word: str, cache: bool) -> None:
    assert draft(ask(cache=word)).cache is cache


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"delay": "banana"}, Reason.DELAY_UNPARSABLE),
        ({"at": "5s"}, Reason.DELAY_TOO_SMALL),
        ({"in": "4d"}, Reason.DELAY_TOO_LARGE),
        ({"delay": "1h", "cache": "no"}, Reason.DELAY_WITHOUT_CACHE),
        ({"delay": "1h", "poll_id": "nFS3knfcQ1xe"}, Reason.DELAY_WITHOUT_CACHE),
        ({"delay": "1h", "timezone": "Unknown/Timezone"}, Reason.DELAY_UNPARSABLE),
    ],
)
def test_bad_delays_are_refused(headers: dict[str, str], reason: Reason) -> None:
    assert refusal(ask(**headers)) is reason


def test_the_time_zone_counts_only_for_a_delay() -> None:
    assert draft(ask(timezone="Unknown/Timezone")).due_at == 0
    tokyo = draft(ask("/t?delay=tomorrow+10am&timezone=Asia/Tokyo")).due_at
    assert tokyo == 1_763_600_400  # 2025-11-20 10:00 in Tokyo, where it is 22:30 on the 19th now


def test_the_limits_of_a_delay_are_settings() -> None:
    limits = PublishLimits(delay_minimum_s=1, delay_limit_s=2)
    made = draft_from_request(ask(delay="2s"), b"", False, NOW, limits)
    assert made.due_at == int(NOW) + 2
    with pytest.raises(Invalid):
        draft_from_request(ask(delay="3s"), b"", False, NOW, limits)


@pytest.mark.parametrize("id", ["a", "Disk_full-1", "x" * 64])
def test_a_sequence_id_comes_from_the_path_or_a_parameter(id: str) -> None:
    assert draft(ask(), sequence_id=id).sequence_id == id
    assert draft(ask(sid=id)).sequence_id == id
    assert draft(ask(sid="other"), sequence_id=id).sequence_id == id


@pytest.mark.parametrize("id", ["a b", "x" * 65, "ä", "a/b", "a\n"])
def test_a_sequence_id_is_spelt_like_a_topic(id: str) -> None:
    with pytest.raises(Invalid) as caught:
        draft(ask(), sequence_id=id)
    assert caught.value.reason is Reason.SEQUENCE_ID_INVALID


def test_a_bad_sequence_id_in_a_header_is_refused() -> None:
    assert refusal(ask(x_sequence_id="a b")) is Reason.SEQUENCE_ID_INVALID


def test_title_and_tags_have_limits_in_bytes() -> None:
    assert len(content(ask(title="x" * 1024)).title) == 1024
    assert refusal(ask(title="x" * 1025)) is Reason.TITLE_TOO_LARGE
    assert content(ask(title="é" * 512)).title
    assert refusal(ask(title="é" * 513)) is Reason.TITLE_TOO_LARGE
    assert content(ask(tags="é" * 255 + ",a")).tags
    assert refusal(ask(tags="é" * 255 + ",aa")) is Reason.TAGS_TOO_LARGE


@pytest.mark.parametrize("word", ["yes", "1", "grafana", "my-template"])
def test_templates_are_refused_in_so_many_words(word: str) -> None:
    with pytest.raises(Invalid) as caught:
        draft(ask(template=word), b'{"a":1}')
    assert caught.value.reason is Reason.TEMPLATES_DISABLED
    assert "not available" in caught.value.detail


@pytest.mark.parametrize("word", ["no", "False", "0"])
def test_a_template_that_is_turned_off_is_none(word: str) -> None:
    assert content(ask(tpl=word), b"hi").message == "hi"


@pytest.mark.parametrize("name", NAMES["email"])
def test_e_mail_is_not_available(name: str) -> None:
    assert refusal(ask(**{name: "phil@example.com"})) is Reason.EMAIL_DISABLED


def test_calls_are_not_available() -> None:
    assert refusal(ask(call="+123456789")) is Reason.CALL_DISABLED


UP = [ask("/t?up=1"), ask(x_unifiedpush="yes"), ask(content_encoding="aes128gcm")]


@pytest.mark.parametrize("request_", UP)
def test_unifiedpush_bodies_are_kept_as_they_are(request_: Request) -> None:
    assert content(request_, b" hi \n") == Content(message=" hi \n")
    assert content(request_, b"").message == "triggered"
    binary = bytes(range(256))
    made = content(request_, binary)
    assert made.encoding == "base64"
    assert base64.b64decode(made.message) == binary
    assert content(request_, b"x" * 4096, more=True).message == "x" * 4096


def test_unifiedpush_knows_no_attachments_and_no_parameter_for_the_message() -> None:
    made = content(ask("/t?up=1", filename="a.txt", message="m", template="yes"), b"\xff")
    assert (made.message, made.encoding) == ("/w==", "base64")
    assert content(ask("/t?up=1", message="m"), b"").message == "triggered"


def test_another_content_encoding_is_no_unifiedpush() -> None:
    assert content(ask(content_encoding="AES128GCM"), b" hi ").message == "hi"


def test_a_poll_request_says_nothing_but_whom_to_poll() -> None:
    request = ask("/t?up=1", poll_id="nFS3knfcQ1xe", title="t", priority="5", tags="a", sid="s")
    assert draft(request, b"\xff", more=True) == Draft(
        content=Content(message="New message"),
        event=Event.POLL_REQUEST,
        cache=False,
        poll_id="nFS3knfcQ1xe",
    )


ORDER = [
    ("attach", "ftp://x", Reason.ATTACH_URL_INVALID),
    ("icon", "ftp://x", Reason.ICON_INVALID),
    ("email", "a@b.c", Reason.EMAIL_DISABLED),
    ("call", "yes", Reason.CALL_DISABLED),
    ("priority", "9", Reason.PRIORITY_INVALID),
    ("delay", "banana", Reason.DELAY_UNPARSABLE),
    ("actions", "banana", Reason.ACTIONS_INVALID),
    ("sid", "a b", Reason.SEQUENCE_ID_INVALID),
    ("title", "x" * 1025, Reason.TITLE_TOO_LARGE),
    ("tags", "x" * 513, Reason.TAGS_TOO_LARGE),
    ("filename", "a.txt", Reason.ATTACHMENTS_DISALLOWED),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_several_mistakes_the_first_in_ntfys_order_is_told(first: int) -> None:
    headers = {name: value for name, value, _ in reversed(ORDER[first:])}
    assert refusal(ask(**headers)) is ORDER[first][2]


def test_no_cache_is_told_before_an_unparsable_delay() -> None:
    assert refusal(ask(delay="banana", cache="no")) is Reason.DELAY_WITHOUT_CACHE


INJECTION = "=?utf-8?q?a=0D=0ABcc:_x=00=0A?="


def test_a_title_keeps_its_lines_as_plain_newlines() -> None:
    assert content(ask(title=INJECTION)).title == "a\nBcc: x"
    assert content(ask(title="=?utf-8?q?a=0D=0A=0Db=0Ac?=")).title == "a\n\nb\nc"


def test_what_is_one_line_stays_one_line() -> None:
    made = content(ask(tags=INJECTION, click=INJECTION, message=INJECTION), b"")
    assert (made.tags, made.click) == (("a Bcc: x",), "a Bcc: x")
    assert made.message == "a\r\nBcc: x\0"
    url = "=?utf-8?q?https://x.org/=0D=0Aa?="
    made = content(ask(attach=url, icon=url, filename=INJECTION))
    assert made.attachment == Attachment(name="a Bcc: x", url="https://x.org/ a")
    assert made.icon == "https://x.org/ a"
    assert content(ask(attach="https://x.org/a%0D%0Ab")).attachment == Attachment(
        name="a b", url="https://x.org/a%0D%0Ab"
    )


@given(
    st.dictionaries(
        st.sampled_from([name for names in NAMES.values() for name in names if name == name.lower()]),
        st.text(max_size=40),
        max_size=6,
    ),
    st.binary(max_size=60),
    st.booleans(),
)
def test_any_request_gives_a_draft_that_is_valid_json_text_or_a_refusal(
    headers: dict[str, str], body: bytes, more: bool
) -> None:
    try:
        made = draft(Request("POST", "/t", headers, "", BufferedBody()), body, more)
    except Invalid:
        return
    orjson.dumps(made)
    assert made.content.message
    assert not {"\0", "\r", "\n"} & set(made.content.click + made.content.icon)
    assert not {"\0", "\r"} & set(made.content.title)
