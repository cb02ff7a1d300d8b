"""What is read from a mail's bytes."""

from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.mime import parse_mail, text_of_html


def nested(depth: int) -> bytes:
    head = b"Subject: deep\r\n"
    for level in range(depth):
        head += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return head + b"\r\nhello\r\n"


def test_the_plain_text_wins_over_the_html() -> None:
    mail = EmailMessage()
    mail["Subject"] = "Backup"
    mail.set_content("plain\nwords")
    mail.add_alternative("<p>marked up</p>", subtype="html")
    assert parse_mail(mail.as_bytes()).text == "plain\nwords"


def test_html_alone_is_reduced_to_text() -> None:
    markup = "<style>p{}</style><p>One &amp; two</p><p>three<br>four</p><!-- no --><script>x()</script>"
    raw = b"Content-Type: text/html\r\n\r\n" + markup.encode()
    assert parse_mail(raw).text == "One & two\nthree\nfour"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "Grüße"),
        ("iso-8859-1", "Grüße"),
        ("shift_jis", "日本"),
        ("koi8-r", "привет"),
        ("gbk", "你好"),
    ],
)
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_charsets_and_encodings_are_decoded(charset: str, text: str, encoding: str) -> None:
    mail = EmailMessage()
    mail.set_content(text, charset=charset, cte=encoding)
    assert parse_mail(mail.as_bytes()).text == text


@pytest.mark.parametrize(
    ("field", "subject"),
    [
        ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_an_alle?=", "Grüße an alle"),
        ("=?iso-8859-1?Q?=E4?= b", "ä b"),
        ("=?zip?B?R3Lw?=", "Gr�"),
        ("=?punycode?Q?abc?=", "abc"),
        ("=?utf-8?B?a\r\n Bcc: x?=", "=?utf-8?B?a Bcc: x?="),
        ("two\r\n lines", "two lines"),
    ],
)
def test_the_subject_is_one_decoded_line(field: str, subject: str) -> None:
    assert parse_mail(f"Subject: {field}\r\n\r\nhi".encode()).subject == subject


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999", "1, 1 Jan 99999999999 00:00:00 +0000"])
def test_a_date_that_cannot_be_read_is_none(date: str) -> None:
    assert parse_mail(f"Date: {date}\r\n\r\nhi".encode()).sent_at == 0


def test_the_first_picture_is_found() -> None:
    mail = EmailMessage()
    mail.set_content("see")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    mail.add_attachment(b"\x89PNG1", maintype="image", subtype="png", filename="../one.png")
    mail.add_attachment(b"\x89PNG2", maintype="image", subtype="png", filename="two.png")
    picture = parse_mail(mail.as_bytes()).picture
    assert picture is not None
    assert (picture.data, picture.type, picture.name) == (b"\x89PNG1", "image/png", ".._one.png")


@pytest.mark.parametrize(
    "raw",
    [
        nested(1000),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 200_000,
        b"Subject: " + b"=?utf-8?q?" * 100_000,
        b"Subject: x\r\n" + b" y\r\n" * 250_000,
        b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000,
        b"Content-Type: text/html\r\n\r\n" + b"<!--" * 250_000,
        b"Content-Type: text/html\r\n\r\n" + b"<script>" * 125_000,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 1_000_000,
        b"\r\n" * 500_000,
        b"X: " + b"\r" * 1_000_000,
        b"Content-Type: multipart/mixed" + b"; boundary=" * 90_000,
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_a_megabyte_of_anything_takes_little_time(raw: bytes) -> None:
    started = time.perf_counter()
    parse_mail(raw)
    assert time.perf_counter() - started < 2


@given(st.binary(max_size=2000))
def test_no_bytes_are_too_odd(raw: bytes) -> None:
    mail = parse_mail(raw)
    assert "\n" not in mail.subject
    assert "\r" not in mail.text
    text_of_html(raw.decode("latin-1"))
