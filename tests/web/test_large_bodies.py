from __future__ import annotations

import base64
import mmap
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import orjson
import pytest

from ntfyish.model.errors import Invalid, TooLarge
from ntfyish.web.body import Parameters, parse_body, parse_mapped, read_parameters
from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.uploads import Upload, read_upload
from tests.test_body import FORM, HOSTILE, JSON, MALFORMED_MULTIPART, MULTIPART, field, multipart

LARGE = "attachment_base64"
DATA = os.urandom(100_001)
LINES = base64.encodebytes(DATA).decode()
DIGITS = base64.b64encode(DATA).decode()


def mapped(body: bytes) -> mmap.mmap:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(body)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def outcome(parameters: Parameters) -> object:
    names = ("token", "message", "title", "nothing")
    files = [(file.name, file.filename, file.content_type, bytes(file.data)) for file in parameters.files]
    return {name: parameters.texts(name) for name in names}, files


FILE = b'Content-Disposition: form-data; name="attachment"; filename="a.bin"\r\nContent-Type: x/y\r\n\r\n'
CORPUS = {
    **MALFORMED_MULTIPART,
    "bytes like the boundary": multipart(field("message", b"a--XXb\r\n--XXL"), FILE + b"\r\n--XXy\r\n"),
    "files": multipart(field("token", b"a"), FILE + bytes(range(256)) * 1000, FILE, field("title", b"t")),
    "a bom": b"\xef\xbb\xbf" + multipart(field("token", b"a")),
    "an unfinished file": multipart(FILE + b"x\n").removesuffix(b"--XX--\r\n"),
    "too many parts": multipart(*[field("a", b"1")] * 1001),
    "as many as allowed": multipart(*[field("token", b"1")] * 1000),
    "a long header": multipart(b"X: " + b"x" * 5000 + b"\r\n\r\n"),
    **{name: body for name, (label, body) in HOSTILE.items() if label == MULTIPART and len(body) < 900_000},
}  # fmt: skip


@pytest.mark.parametrize("body", CORPUS.values(), ids=CORPUS)
def test_multipart_says_the_same_in_memory_and_mapped(body: bytes) -> None:
    try:
        expected = outcome(parse_body(MULTIPART, body))
    except Invalid:
        with pytest.raises(Invalid):
            parse_mapped(MULTIPART, mapped(body))
    else:
        assert outcome(parse_mapped(MULTIPART, mapped(body))) == expected


@pytest.mark.parametrize(("content_type", "body"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("large", ["", "message", "a"])
def test_the_time_for_hostile_mapped_bodies_is_bounded(content_type: str, body: bytes, large: str) -> None:
    import time

    data = mapped(body)
    began = time.process_time()
    try:
        parse_mapped(content_type, data, (), large)
    except (Invalid, TooLarge):
        pass
    assert time.process_time() - began < 1.0


def bodies(value: str) -> list[tuple[str, bytes]]:
    fields = {"token": "t", LARGE: value, "message": "x"}
    json = orjson.dumps(fields)
    return [
        (FORM, urlencode(fields).encode()),
        (FORM, b"\xef\xbb\xbf" + urlencode({LARGE: value, "message": "x"}).encode()),
        (FORM, f"{LARGE}={value}&message=x".encode()),  # an unescaped plus sign is a blank
        (JSON, json),
        (JSON, json.replace(b"/", b"\\/").replace(b":", b" : ")),
        (MULTIPART, multipart(field(LARGE, value.encode()), field("message", b"x"))),
    ]


def upload_of(parameters: Parameters) -> tuple[Upload | None, list[Fault]]:
    found: list[Fault] = []
    return read_upload(parameters, 5_242_880, found), found


async def content(upload: Upload | None) -> bytes | None:
    return None if upload is None else b"".join([piece async for piece in upload.pieces()])


VALUES = {
    "digits": DIGITS,
    "no padding": DIGITS.rstrip("="),
    "much padding": DIGITS + "=" * 70_000,
    "lines": LINES,
    "blanks around": "\r\n " + LINES + " " * 70_000,
    "blanks before": " " * 70_000 + DIGITS,
    "blanks within": DIGITS[:40_000] + " " * 70_001 + DIGITS[40_001:],
    "a data address": "data:image/png;base64," + DIGITS,
    "padding within": DIGITS[:80_000] + "=" + DIGITS[80_000:],
    "another sign": DIGITS[:80_000] + "*" + DIGITS[80_000:],
    "a digit too many": "QUJD" * 30_000 + "Q",
    "escapes": "%41" * 50_000,
    "accents": "é" * 50_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_long_base64_says_the_same_in_memory_and_mapped(value: str) -> None:
    for content_type, body in bodies(value):
        in_memory = parse_body(content_type, body)
        expected, faults = upload_of(in_memory)
        parameters = parse_mapped(content_type, mapped(body), (), LARGE)
        assert parameters.large is not None
        upload, found = upload_of(parameters)
        assert found == faults, content_type
        assert await content(upload) == await content(expected), content_type
        assert parameters.text("message") == in_memory.text("message") == "x"
        if upload is not None and expected is not None:
            assert (upload.size_bytes, upload.claimed_type) == (expected.size_bytes, expected.claimed_type)


def test_a_long_value_within_another_object_is_not_the_file() -> None:
    body = orjson.dumps({"x": {LARGE: DIGITS}})
    assert parse_mapped(JSON, mapped(body), (), LARGE).large is None


def test_the_last_of_two_long_values_counts() -> None:
    body = f"{LARGE}={'A' * 70_000}&{LARGE}={DIGITS}".encode()
    large = parse_mapped(FORM, mapped(body), (), LARGE).large
    assert large is not None
    assert len(large.data) == len(DIGITS)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(FORM, b"message=" + b"x" * 70_000), (JSON, orjson.dumps({"message": "x" * 70_000})),
     (MULTIPART, multipart(field("message", b"x" * 70_000)))],
)  # fmt: skip
def test_other_fields_are_not_large(content_type: str, body: bytes) -> None:
    with pytest.raises((Invalid, TooLarge)):
        parse_mapped(content_type, mapped(body), (), LARGE)


class Pieces(BufferedBody):
    """A body that comes in pieces."""

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 10_000):
            yield self.data[start : start + 10_000]


@pytest.mark.parametrize("limit", [200_000, 100_000])
async def test_a_large_body_can_be_read_again_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    body = f"token=t&{LARGE}={DIGITS}".encode()
    request = Request("POST", "/x", {"content-type": FORM}, "", Pieces(body))
    try:
        parameters = await read_parameters(request, limit, tmp_path, LARGE)
        assert limit == 200_000
        assert parameters.text("token") == "t"
    except TooLarge:
        assert limit == 100_000
    assert os.listdir(tmp_path) == []
    assert await request.body.read(50) == (body[:50], True)
    assert await request.body.read(120_000) == (body[:120_000], True)
    assert b"".join([piece async for piece in request.body.chunks()]) == body
