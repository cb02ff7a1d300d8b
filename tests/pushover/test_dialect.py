from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.pushover.answers import Answer
from ntfyish.web.pushover.faults import Fault
from tests.pushover.world import MUTE, PHIL, TOKEN, World, body_of, header

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, X-Prototype-Version, Origin, Accept, Content-Type,"
    " X-CSRF-Token, X-Pushover-App",
    "Access-Control-Max-Age": "1728000",
}


# Paths


@pytest.mark.parametrize(
    "line",
    [
        "GET /1/json", "GET /1/sse", "GET /1/raw", "GET /1/ws", "GET /1/auth", "GET /1", "GET /1/", "PUT /1",
        "POST /1", "PUT /1/abc", "POST /1/abc", "POST /1/sounds", "PUT /1/messages", "DELETE /1/messages",
        "GET /1/messages", "OPTIONS /1/json", "DELETE /1/users", "PUT /1/receipts/clear", "GET /1/abc/read",
        "GET /1,2/json", "GET /2/messages.json", "GET /10/sounds.json", "GET /v1/health", "POST /",
        "POST /messages.json", "GET /1/a/b", "POST /11/messages.json",
    ],
)  # fmt: skip
async def test_topic_1_and_everything_else_stay_with_ntfy(world: World, line: str) -> None:
    assert await world.ask(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "GET /1/nothing.json", "POST /1/glances.json", "GET /1/receipts/r123.json", "GET /1/receipts/r123",
        "POST /1/receipts/r123/cancel.json", "GET /1/groups/g123.json", "POST /1/users/other", "PUT /1/a.b",
        "GET /1/messages.json/", "GET /1/messages.txt", "GET /1/../x.json", "GET /1/%2e",
    ],
)  # fmt: skip
async def test_unknown_resources_of_pushover_are_not_found(world: World, line: str) -> None:
    response = await world.ask(line)
    assert response is not None
    assert response.status == 404
    assert body_of(response) == {"errors": ["resource not found"], "status": 0}


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("PUT /1/messages.json", "POST, GET, OPTIONS"),
        ("DELETE /1/sounds.json", "GET, HEAD, OPTIONS"),
        ("POST /1/sounds.json", "GET, HEAD, OPTIONS"),
        ("GET /1/users/validate.json", "POST, OPTIONS"),
        ("POST /1/apps/limits.json", "GET, HEAD, OPTIONS"),
        ("BREW /1/messages.json", "POST, GET, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_refused(world: World, line: str, allowed: str) -> None:
    response = await world.ask(line)
    assert response is not None
    assert response.status == 405
    assert header(response, "Allow") == allowed
    assert body_of(response) == {"errors": ["request method is not allowed for this resource"], "status": 0}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (f"GET /1/messages.json?token={TOKEN}", "secret"),
        ("GET /1/messages.json", "secret"),
        (f"GET /1/messages?token={TOKEN}", "secret"),
        ("GET /1/messages.json?secret=x&device_id=y", "secret"),
        ("GET /1/messages?secret=x&device_id=y", "secret"),
    ],
)
async def test_messages_cannot_be_downloaded_without_a_secret(world: World, line: str, field: str) -> None:
    response = await world.ask(line)
    assert response is not None
    assert response.status == 400
    assert field in body_of(response)


@pytest.mark.parametrize(
    "path", ["messages.json", "messages.xml", "sounds.json", "glances.json", "receipts/r/cancel"]
)
async def test_browsers_may_ask_first(world: World, path: str) -> None:
    response = await world.ask(f"OPTIONS /1/{path}")
    assert response is not None
    assert (response.status, response.body) == (200, b"")
    assert CORS.items() <= dict(response.headers).items()


async def test_every_answer_is_for_browsers_too(world: World) -> None:
    for response in (await world.send(), await world.send(message=""), await world.ask("GET /1/x.json")):
        assert response is not None
        assert CORS.items() <= dict(response.headers).items()
        assert len(dict(response.headers)) == len(response.headers)


# XML


def parse(body: bytes) -> ElementTree.Element:
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?><response>')
    return ElementTree.fromstring(body)


async def test_messages_answer_in_xml(world: World) -> None:
    fields = {"token": TOKEN, "user": PHIL, "message": "hi", "priority": "2", "retry": "30", "expire": "60"}
    response = await world.ask("POST /1/messages.xml", fields)
    assert response is not None
    assert response.content_type == "application/xml; charset=utf-8"
    root = parse(response.body)
    assert [child.tag for child in root] == ["receipt", "status", "request"]
    assert root.findtext("status") == "1"
    assert root.findtext("receipt") == world.message.receipt
    assert root.findtext("request") == header(response, "X-Request-Id")


async def test_faults_are_told_in_xml(world: World) -> None:
    response = await world.ask("POST /1/messages.xml", {"token": TOKEN, "user": PHIL, "priority": "2"})
    assert response is not None
    assert response.status == 400
    root = parse(response.body)
    assert root.findtext("message") == "cannot be blank"
    assert [error.text for error in root.findall("errors/error")] == [
        "message cannot be blank",
        "expire must be supplied with priority=2",
        "retry must be supplied with priority=2",
    ]
    assert root.findtext("status") == "0"


async def test_errors_of_the_core_are_told_in_xml(world: World) -> None:
    response = await world.ask("POST /1/messages.xml", b"{", "application/json")
    assert response is not None
    assert parse(response.body).findtext("errors/error") == "request body could not be parsed"


async def test_info_and_validation_and_sounds_are_told_in_xml(world: World) -> None:
    response = await world.ask("POST /1/messages.xml", {"token": TOKEN, "user": MUTE, "message": "hi"})
    assert response is not None
    assert parse(response.body).findtext("info") == "no active devices to send to"
    response = await world.ask("POST /1/users/validate.xml", {"token": TOKEN, "user": PHIL})
    assert response is not None
    root = parse(response.body)
    assert [device.text for device in root.findall("devices/device")] == ["droid2", "iphone"]
    assert [item.text for item in root.findall("licenses/license")] == ["Android", "iOS", "Desktop"]
    response = await world.ask(f"GET /1/sounds.xml?token={TOKEN}")
    assert response is not None
    sounds = parse(response.body).find("sounds")
    assert sounds is not None
    assert [sound.tag for sound in sounds][:2] == ["pushover", "bike"]


@given(st.text())
def test_xml_is_well_formed_whatever_is_in_it(text: str) -> None:
    answer = Answer(Request("POST", "/1/messages.xml", {}, "", BufferedBody()))
    root = parse(answer.refusal([Fault("user", text, text)]).body)
    expected = "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
        for c in text
    )
    assert (root.findtext("user") or "") == expected
    assert (root.findtext("errors/error") or "") == expected
