from __future__ import annotations

import time
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.errors import Invalid, Reason, TooLarge
from ntfyish.web.body import FilePart, Parameters, parse_body, read_parameters
from ntfyish.web.form import MAX_PARAMETERS, parse_form
from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.multipart import MAX_PART_HEADER_BYTES

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=XX"


def multipart(*parts: bytes, boundary: bytes = b"XX") -> bytes:
    return (
        b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    )


def field(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def request(target: str, body: bytes = b"", content_type: str = "", method: str = "POST") -> Request:
    headers = {"content-type": content_type} if content_type else {}
    return Request(method, target, headers, "127.0.0.1", BufferedBody(body))


# Forms


@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        f"{FORM}; charset=utf-8",
        f"{FORM}; charset=no-such-charset",
        JSON,
        "text/plain",
        "",
        "multipart/form-data",
    ],
)
def test_a_form_is_read_whatever_its_label_says(content_type: str) -> None:
    parameters = parse_body(content_type, b"token=a&message=x+y%21%C3%A9&empty=&flag")
    assert parameters.text("token") == "a"
    assert parameters.text("message") == "x y!é"
    assert parameters.text("empty") == ""
    assert parameters.text("flag") == ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"message=100%", "100%"),
        (b"message=100%+sure", "100% sure"),
        (b"message=%zz%41", "%zzA"),
        (b"message=%4", "%4"),
        (b"message=%%41", "%A"),
        (b"message=%\nA", "%\nA"),
        (b"message=%\r\nA%41", "%\r\nAA"),
        (b"message=a=b%3D=", "a=b=="),
        (b"message=%FF%41", "\ufffdA"),
        (b"message=x=41%z", "x=41%z"),
        (b"message=\xff", "\ufffd"),
        (b"mess%61ge=hi", "hi"),
        (b"message=\xc3\xa9%20", "é "),
        (b"message=%00x", "\0x"),
        (b"message=a\r\nb", "a\r\nb"),
        (b"message=a;b", "a;b"),
        (b"\xef\xbb\xbfmessage=bom", "bom"),
    ],
)
def test_escapes_and_odd_bytes_are_decoded_or_kept(body: bytes, text: str) -> None:
    assert parse_body(FORM, body).text("message") == text


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_every_form_that_python_writes_is_read_back(pairs: list[tuple[str, str]]) -> None:
    assert parse_form(urlencode(pairs).encode()) == pairs


@given(
    st.lists(
        st.sampled_from(
            [b"%", b"%4", b"%41", b"=", b"+", b"41", b"z", b"\n", b"\r", b"%3D", b"a", b"%ff", b"\xe9"]
        )
    )
)
def test_broken_escapes_are_decoded_as_the_standard_library_does(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    expected = unquote_to_bytes(value.replace(b"+", b" ")).decode("latin-1")
    assert parse_form(b"n=" + value, "iso-8859-1") == [("n", expected)]


@given(st.binary(), st.sampled_from(["", FORM, JSON, MULTIPART, "multipart/mixed", f"{FORM}; charset=big5"]))
def test_no_body_does_worse_than_be_refused(body: bytes, content_type: str) -> None:
    try:
        parameters = parse_body(content_type, body)
    except Invalid:
        return
    assert isinstance(parameters.text("message"), str)


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (f"{FORM}; charset=iso-8859-1", b"message=caf%E9+\xe9", "café é"),
        (f'{FORM}; Charset="ISO-8859-1"', b"message=%E9", "é"),
        (f"{FORM};charset=windows-1252", b"message=%80", "€"),
        (f"{JSON}; charset=iso-8859-1", b'{"message":"caf\xe9"}', "café"),
        (f"{MULTIPART}; charset=iso-8859-1", multipart(field("message", b"caf\xe9")), "café"),
        (f"{FORM}; charset=punycode", b"message=a-%E9", "a-\ufffd"),
        (f"{FORM}; charset=zlib_codec", b"message=a", "a"),
    ],
)
def test_the_charset_of_the_label_is_honoured_if_it_is_a_known_one(
    content_type: str, body: bytes, text: str
) -> None:
    assert parse_body(content_type, body).text("message") == text


# JSON


@pytest.mark.parametrize(
    "content_type", [JSON, "application/json; charset=utf-8", FORM, "text/plain", "", "text/json"]
)
def test_json_is_read_whatever_its_label_says(content_type: str) -> None:
    parameters = parse_body(content_type, b' \r\n{"token":"a","message":"a=b&c=d"}')
    assert parameters.text("token") == "a"
    assert parameters.text("message") == "a=b&c=d"


def test_json_values_become_what_a_form_would_carry() -> None:
    body = b'{"i":-1,"f":1.5,"whole":1700000000.0,"yes":true,"no":false,"null":null,"text":"x",'
    body += b'"list":["a",2,null]}'
    parameters = parse_body(JSON, body)
    assert [parameters.text(name) for name in ("i", "f", "whole", "yes", "no", "null", "text")] == [
        "-1", "1.5", "1700000000", "true", "false", "", "x",
    ]  # fmt: skip
    assert parameters.texts("list") == ["a", "2"]
    assert parameters.flag("yes")
    assert not parameters.flag("no")


def test_an_object_as_a_value_is_named_as_malformed_and_otherwise_absent() -> None:
    parameters = parse_body(JSON, b'{"message":{"a":1},"title":[["x"]],"token":"t"}')
    assert parameters.malformed == {"message", "title"}
    assert parameters.text("message") == ""
    assert parameters.text("token") == "t"


def test_a_bad_byte_in_json_is_replaced() -> None:
    assert parse_body(JSON, b'{"message":"caf\xe9"}').text("message") == "caf\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b'{"message":"x"', b"[1]", b'"x"', b"null", b"hello", b'{"a":NaN}', b'{"a":1} x',
        b'{"message":"\\ud800"}', b'{"a":' + b"[" * 1_000_000, b"{" * 100_000,
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)  # fmt: skip
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_body(JSON, body)


def test_a_form_that_begins_with_a_brace_stays_a_form() -> None:
    assert parse_body(FORM, b"{x=1&message=hi").text("message") == "hi"


def test_millions_of_small_json_values_are_refused_before_they_take_memory() -> None:
    with pytest.raises(Invalid):
        parse_body(JSON, b'{"a":[' + b"[]," * 2_000_000 + b"[]]}")


def test_a_big_file_in_json_is_read() -> None:
    text = "QUJD" * 1_700_000
    body = orjson.dumps({"token": "t", "attachment_base64": text})
    assert parse_body(JSON, body).text("attachment_base64") == text


# Multipart


def test_the_multipart_of_curl_is_read() -> None:
    body = multipart(field("token", b"a"), field("message", "h\u00e9\r\nllo".encode()), field("title", b""))
    parameters = parse_body(MULTIPART, body)
    assert parameters.text("token") == "a"
    assert parameters.text("message") == "h\u00e9\r\nllo"
    assert parameters.text("title") == ""
    assert parameters.files == []


WELL_FORMED = multipart(field("token", b"a"), field("message", b"hi there"))
MALFORMED_MULTIPART = {
    "as it should be": WELL_FORMED,
    "a preamble": b"preamble\r\n" + WELL_FORMED,
    "a leading line break": b"\r\n" + WELL_FORMED,
    "an epilogue": WELL_FORMED + b"epilogue\r\n--XX\r\nno part",
    "no final boundary": WELL_FORMED.removesuffix(b"--XX--\r\n"),
    "a final boundary that is not closed": WELL_FORMED.removesuffix(b"--\r\n") + b"\r\n",
    "no line break at the end": WELL_FORMED.removesuffix(b"\r\n"),
    "line feeds only": WELL_FORMED.replace(b"\r\n", b"\n"),
    "no line break before the boundaries": WELL_FORMED.replace(b"a\r\n--XX", b"a--XX"),
    "blanks after the boundaries": WELL_FORMED.replace(b"--XX\r\n", b"--XX  \r\n"),
    "header names in lower case": WELL_FORMED.replace(b"Content-Disposition", b"content-disposition"),
    "header names in upper case": WELL_FORMED.replace(b"Content-Disposition", b"CONTENT-DISPOSITION"),
    "names without quotes": WELL_FORMED.replace(b'"', b""),
    "names in single case": WELL_FORMED.replace(b"; name=", b" ;NAME = "),
    "a missing closing quote": WELL_FORMED.replace(b'name="message"', b'name="message'),
    "no form-data": WELL_FORMED.replace(b"form-data; ", b"; "),
    "part headers of all kinds": WELL_FORMED.replace(
        b"\r\n\r\n", b"\r\nContent-Length: 9\r\nContent-Type: text/plain; charset=utf-8\r\nbroken\r\n\r\n"
    ),
    "a nameless part": WELL_FORMED.replace(b"--XX--", b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--"),
    "a part without a header": WELL_FORMED.replace(b"--XX--", b"--XX\r\n\r\nx\r\n--XX--"),
    "a part that ends in its header": WELL_FORMED.replace(b"--XX--", b"--XX\r\nContent-Dispos"),
}


@pytest.mark.parametrize("body", MALFORMED_MULTIPART.values(), ids=MALFORMED_MULTIPART)
@pytest.mark.parametrize(
    "content_type",
    [
        MULTIPART,
        'Multipart/Form-Data; charset=utf-8; Boundary="XX"',
        "multipart/form-data",
        "multipart/form-data; boundary=other",
    ],
)
def test_malformed_multipart_of_real_clients_is_read(body: bytes, content_type: str) -> None:
    if "XX" not in content_type and not body.lstrip().startswith(b"--XX"):
        body = WELL_FORMED  # without a label, only the first line can tell
    parameters = parse_body(content_type, body)
    assert parameters.text("token") == "a"
    assert parameters.text("message") == "hi there"


@pytest.mark.parametrize("content_type", ["", FORM, JSON, "application/octet-stream"])
def test_multipart_is_recognised_without_its_label(content_type: str) -> None:
    assert parse_body(content_type, WELL_FORMED).text("message") == "hi there"


def test_bytes_like_the_boundary_within_a_part_do_not_end_it() -> None:
    content = b"a--XXb\r\n--XXL\r\n -- XX"
    for parts in ([field("message", content)], [field("message", content), field("title", b"t")]):
        assert parse_body(MULTIPART, multipart(*parts)).text("message") == content.decode()


def test_files_keep_their_bytes_name_and_type() -> None:
    data = bytes(range(256)) + b"\r\n\r\n--X\r\n"
    body = multipart(
        field("token", b"a"),
        b'Content-Disposition: form-data; name="attachment"; filename="C:\\dir\\a \\"b\\".jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + data,
        b'Content-Disposition: form-data; name="bare"; filename="attachment"\r\n\r\nx',
        b"Content-Disposition: form-data; name=star; filename=old; filename*=UTF-8''n%C3%A9w.txt\r\n\r\ny",
        b'Content-Disposition: form-data; name="untitled"\r\nContent-Type: application/octet-stream\r\n\r\nz',
        b'Content-Disposition: form-data; name="none"; filename=""\r\n\r\n',
    )
    parameters = parse_body(MULTIPART, body)
    assert parameters.text("token") == "a"
    assert parameters.files == [
        FilePart(name="attachment", filename='a "b".jpg', content_type="image/jpeg", data=data),
        FilePart(name="bare", filename="attachment", content_type="", data=b"x"),
        FilePart(name="star", filename="néw.txt", content_type="", data=b"y"),
        FilePart(name="untitled", filename="", content_type="application/octet-stream", data=b"z"),
        FilePart(name="none", filename="", content_type="", data=b""),
    ]


def test_a_file_of_five_mebibytes_is_read() -> None:
    data = b"\r\n--X" * 1_000_000
    body = multipart(b'Content-Disposition: form-data; name="attachment"; filename="x"\r\n\r\n' + data)
    assert parse_body(MULTIPART, body).files[0].data == data


# Everywhere


def test_a_blank_value_counts_as_absent() -> None:
    parameters = parse_body(FORM, b"empty=&blank=%20%09%0A&space=%C2%A0&text=+x+")
    assert [parameters.text(name) for name in ("empty", "blank", "space", "missing")] == [""] * 4
    assert parameters.text("text") == " x "


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"device=a&device=&device=b&x=1", FORM),
        (b"device[]=a&device%5B%5D=b", FORM),
        (b'{"device":["a",null,"b"]}', JSON),
        (multipart(field("device", b"a"), field("device", b"b")), MULTIPART),
        (multipart(field("device[]", b"a"), field("device[]", b"b")), MULTIPART),
    ],
)
def test_repeated_names_are_a_list(body: bytes, content_type: str) -> None:
    assert parse_body(content_type, body).texts("device") == ["a", "b"]


def test_the_last_value_of_a_repeated_name_counts_unless_it_is_blank() -> None:
    parameters = parse_body(FORM, b"a=1&a=2&b=1&b=&c=&c=")
    assert [parameters.text(name) for name in "abc"] == ["2", "1", ""]
    assert parameters.texts("a") == ["1", "2"]
    assert parameters.texts("c") == []
    assert parameters.texts("d") == []


@pytest.mark.parametrize("text", ["1", "true", "True", "TRUE", "yes", "on", " 1 "])
def test_words_for_yes(text: str) -> None:
    assert Parameters([("html", text)]).flag("html")


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "off", "None", "null", "2", "x", " "])
def test_words_for_no(text: str) -> None:
    assert not Parameters([("html", text)]).flag("html")
    assert not Parameters([]).flag("html")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_query_and_body_are_merged_and_the_body_wins(method: str) -> None:
    target = "/x?token=query&message=query&device=q&blank=query&only=q%20q"
    body = b"token=body&device=a&device=b&blank="
    parameters = await read_parameters(request(target, body, FORM, method))
    assert parameters.text("token") == "body"
    assert parameters.text("message") == "query"
    assert parameters.text("blank") == "query"
    assert parameters.text("only") == "q q"
    assert parameters.texts("device") == ["a", "b"]


async def test_the_query_alone_is_enough() -> None:
    parameters = await read_parameters(request("/x?token=a&device=b&device=c"))
    assert parameters.text("token") == "a"
    assert parameters.texts("device") == ["b", "c"]


async def test_a_body_over_the_limit_is_too_large() -> None:
    assert (await read_parameters(request("/x", b"a=34567"), 7)).text("a") == "34567"
    with pytest.raises(TooLarge) as caught:
        await read_parameters(request("/x", b"a=345678"), 7)
    assert caught.value.reason is Reason.BODY_TOO_LARGE


async def test_compressed_bodies_are_not_inflated() -> None:
    import gzip

    body = gzip.compress(b"token=" + b"a" * 10_000_000)
    parameters = await read_parameters(request("/x", body, FORM))
    assert parameters.text("token") == ""


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"&".join([b"a=1"] * (MAX_PARAMETERS + 1))),
        (JSON, orjson.dumps({f"n{i}": 1 for i in range(MAX_PARAMETERS + 1)})),
        (JSON, orjson.dumps({"device": ["x"] * (MAX_PARAMETERS + 1)})),
        (MULTIPART, multipart(*[field("a", b"1")] * (MAX_PARAMETERS + 1))),
        (MULTIPART, multipart(b"X: " + b"x" * MAX_PART_HEADER_BYTES + b"\r\n\r\n")),
    ],
)
def test_too_much_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_body(content_type, body)


def test_as_many_parameters_as_allowed_are_read() -> None:
    for content_type, body in (
        (FORM, b"&".join([b"a=1"] * MAX_PARAMETERS)),
        (MULTIPART, multipart(*[field("a", b"1")] * MAX_PARAMETERS)),
    ):
        assert len(parse_body(content_type, body).texts("a")) == MAX_PARAMETERS


SIZE = 7_200_000
HOSTILE = {
    "escapes": (FORM, b"message=" + b"%41" * (SIZE // 3)),
    "broken escapes": (FORM, b"message=" + b"%" * SIZE),
    "almost sound escapes": (FORM, b"message=%4" + b"%41" * (SIZE // 3)),
    "plus signs": (FORM, b"message=" + b"+" * SIZE),
    "equal signs": (FORM, b"=" * SIZE + b"%41"),
    "ampersands": (FORM, b"&" * SIZE),
    "bad bytes": (FORM, b"message=" + b"\xff" * SIZE),
    "boundaries": ("multipart/form-data; boundary=a", b"--a" * (SIZE // 3)),
    "false boundaries": ("multipart/form-data; boundary=a", b"--a\r\n" + b"--ab" * 900 + b"x" * SIZE),
    "near boundaries": ("multipart/form-data; boundary=" + "-" * 200, b"--" + b"-" * SIZE),
    "semicolons": (MULTIPART, multipart(*[b'Content-Disposition: x;a="' * 300 + b"\r\n\r\nx"] * 900)),
    "quotes": (MULTIPART, multipart(*[b"Content-Disposition: " + b';"\\' * 2000 + b"\r\n\r\nx"] * 900)),
    "header lines": (MULTIPART, multipart(*[b"a:\n" * 2000 + b"\r\n\r\nx"] * 900)),
    "line breaks": (MULTIPART, multipart(*[b"\r\n" * 4000] * 900)),
    "brackets": (JSON, b'{"a":' + b"[" * SIZE),
    "braces": ("", b"{" * SIZE),
    "a long number": (JSON, b'{"a":' + b"9" * SIZE + b"}"),
    "a long label": ("multipart/form-data" + '; boundary="' * 600, b"--" + b"x" * SIZE),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "body"), HOSTILE.values(), ids=HOSTILE)
def test_the_time_for_hostile_bodies_is_bounded(content_type: str, body: bytes) -> None:
    began = time.process_time()
    try:
        parse_body(content_type, body)
    except Invalid:
        pass
    assert time.process_time() - began < 1.0


def test_large_values_are_decoded_right() -> None:
    text = "grüße %&+= " * 20_000
    assert parse_body(FORM, b"message=" + quote_from_bytes(text.encode()).encode()).text("message") == text
