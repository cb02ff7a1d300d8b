"""Pushes to browsers: what a push service gets, and what its answers mean."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ntfyish.model.message import Content, Event, Message, MessageId
from ntfyish.model.push import Push, PushDevice, PushOutcome, Verdict
from ntfyish.model.web_push_keys import read_vapid_keys
from ntfyish.push.web_push import WebPushSender
from tests.clock import FakeClock
from tests.push.browsers import CREATED, EMAIL, PRIVATE, PUBLIC, Browser, PushService, answer, push_service
from tests.push.test_callbacks import Names

NOW = FakeClock().now()
LOCAL = (ip_network("127.0.0.1"),)


class World:
    """A sender, a push service and a browser."""

    def __init__(self, stack: AsyncExitStack, service: PushService) -> None:
        self.clock = FakeClock()
        self.service = service
        self.browser = Browser(service.endpoint())
        self._stack = stack

    async def sender(self, **changes: Any) -> WebPushSender:
        options: dict[str, Any] = {
            "email": EMAIL,
            "base_url": "https://ntfy.example",
            "longest_ttl_s": 3600.0,
            "allowed_hosts": [self.service.host],
            "allowed": LOCAL,
            "resolver": Names(push=[["127.0.0.1"]]),
        } | changes
        keys = read_vapid_keys(PUBLIC, PRIVATE)
        return await self._stack.enter_async_context(WebPushSender(self.clock, keys, **options))

    def push(self, *, small: bool = False, expires_at: float = NOW + 600, **content: Any) -> Push:
        return Push(
            message=message(**content),
            device=self.browser.device(),
            id="x",
            collapse_id="x",
            expires_at=int(expires_at),
            small=small,
        )

    async def outcome(self, *answers: bytes | None) -> PushOutcome:
        self.service.answers[:] = answers
        return await (await self.sender()).send(self.push())


def message(**content: Any) -> Message:
    text = {"message": "hi", **content}
    return Message(id=MessageId("abcdefghijkl"), time=int(NOW), topic="alerts", content=Content(**text))


@pytest_asyncio.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(push_service(tmp_path))
        monkeypatch.setenv("SSL_CERT_FILE", str(service.ca_file))
        yield World(stack, service)


async def test_a_browser_can_read_what_its_push_service_cannot(world: World) -> None:
    sender = await world.sender()
    outcome = await sender.send(world.push(title="Disk", message="It is füll", priority=4, tags=("warning",)))
    assert outcome == PushOutcome(verdict=Verdict.DELIVERED, reason="201")
    (received,) = world.service.requests
    assert received.line == "POST /send/b1 HTTP/1.1"
    assert b"Disk" not in received.body
    assert world.browser.read(received) == {
        "event": "message",
        "subscription_id": "https://ntfy.example/alerts",
        "message": {
            "id": "abcdefghijkl",
            "time": int(NOW),
            "event": "message",
            "topic": "alerts",
            "title": "Disk",
            "message": "It is füll",
            "priority": 4,
            "tags": ["warning"],
        },
    }


async def test_clears_and_deletes_are_sent_as_what_they_are(world: World) -> None:
    sender = await world.sender()
    push = world.push()
    for event in (Event.MESSAGE_CLEAR, Event.MESSAGE_DELETE):
        change = Message(id=MessageId("abcdefghijkl"), time=1, topic="alerts", event=event, sequence_id="s")
        await sender.send(
            Push(message=change, device=push.device, id="x", collapse_id="s", expires_at=int(NOW) + 60)
        )
        read = world.browser.read(world.service.requests[-1])
        assert (read["event"], read["message"]["event"], read["message"]["sequence_id"]) == (
            "message",
            event.value,
            "s",
        )


async def test_the_push_service_learns_who_sends(world: World) -> None:
    await (await world.sender()).send(world.push())
    claims = world.service.requests[0].claims(f"https://{world.service.host}")
    assert claims["sub"] == f"mailto:{EMAIL}"
    assert 0 < claims["exp"] - NOW <= 86_400
    fields = world.service.requests[0].fields
    assert fields["urgency"] == "high"
    assert "topic" not in fields


async def test_who_sends_is_signed_anew_every_few_hours(world: World) -> None:
    sender = await world.sender()
    for hours in (0, 2, 2, 2):
        await world.clock.advance(hours * 3600)
        await sender.send(world.push())
    first, second, third, fourth = (one.fields["authorization"] for one in world.service.requests)
    assert first == second != third == fourth
    assert world.service.requests[2].claims(f"https://{world.service.host}")["exp"] > NOW + 4 * 3600


@pytest.mark.parametrize(
    ("left_s", "ttl"),
    [(600, "600"), (0, "0"), (-5, "0"), (86_400, "3600")],  # the server keeps messages for an hour
)
async def test_a_push_waits_as_long_as_its_message_is_worth(world: World, left_s: int, ttl: str) -> None:
    await (await world.sender()).send(world.push(expires_at=NOW + left_s))
    assert world.service.requests[0].fields["ttl"] == ttl


@pytest.mark.parametrize(
    ("reply", "verdict", "reason", "retry_after_s"),
    [
        (answer(200), Verdict.DELIVERED, "200", 0),
        (CREATED, Verdict.DELIVERED, "201", 0),
        (answer(202), Verdict.DELIVERED, "202", 0),
        (answer(400, body=b'{"reason":"BadDeviceToken"}'), Verdict.GONE, "BadDeviceToken", 0),
        (answer(400, body=b'{"reason":"a b<>"}'), Verdict.GONE, "400", 0),
        (answer(400, body=b'["reason"]'), Verdict.GONE, "400", 0),
        (answer(404), Verdict.GONE, "404", 0),
        (answer(410, body=b"\xff{"), Verdict.GONE, "410", 0),
        (answer(413), Verdict.TOO_LARGE, "413", 0),
        (answer(429), Verdict.BUSY, "429", 0),
        (answer(429, "Retry-After: 120"), Verdict.BUSY, "429", 120),
        (answer(429, "Retry-After: 99999999"), Verdict.BUSY, "429", 86_400),
        (answer(429, "Retry-After: -5"), Verdict.BUSY, "429", 0),
        (answer(429, "Retry-After: ٣"), Verdict.BUSY, "429", 0),
        (answer(429, "Retry-After: Tue, 32 Foo 2023"), Verdict.BUSY, "429", 0),
        (
            answer(
                503, f"Retry-After: {format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)}"
            ),
            Verdict.UNAVAILABLE,
            "503",
            90,
        ),
        (answer(503, "Retry-After: Tue, 14 Nov 2000 22:13:20 GMT"), Verdict.UNAVAILABLE, "503", 0),
        (answer(408), Verdict.UNAVAILABLE, "408", 0),
        (answer(500), Verdict.UNAVAILABLE, "500", 0),
        (answer(502, body=b"<html>" + b"x" * 100_000), Verdict.UNAVAILABLE, "502", 0),
    ],
)
async def test_each_answer_means_something(
    world: World, reply: bytes, verdict: Verdict, reason: str, retry_after_s: float
) -> None:
    assert await world.outcome(reply) == PushOutcome(
        verdict=verdict, reason=reason, retry_after_s=retry_after_s
    )


async def test_redirects_are_not_followed(world: World) -> None:
    outcome = await world.outcome(answer(307, f"Location: {world.service.endpoint('other')}"), CREATED)
    assert outcome.verdict is Verdict.REFUSED
    assert len(world.service.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_browser_of_another_key_harms_no_other(
    world: World, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as the service has not taken our token, it may be our fault: nobody is removed."""
    world.service.answers[:] = [answer(status), answer(status), CREATED, answer(status)]
    sender = await world.sender()
    first, again, good, bad = [await sender.send(world.push()) for _ in range(4)]
    assert first.verdict is again.verdict is Verdict.BUSY
    assert first.retry_after_s == 300
    assert good.verdict is Verdict.DELIVERED
    assert bad.verdict is Verdict.GONE
    await world.clock.advance(4 * 3600)  # a new token, of which nothing is known
    assert (await sender.send(world.push())).verdict is Verdict.BUSY
    complaints = [one for one in caplog.records if one.levelname == "ERROR"]
    assert [world.service.host in one.getMessage() for one in complaints] == [True, True]
    assert not any("send/b1" in one.getMessage() for one in caplog.records)


async def test_a_push_service_that_hangs_is_given_up(world: World) -> None:
    world.service.answers[:] = [None]
    sender = await world.sender(timeout_s=0.2)
    outcome = await sender.send(world.push())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="timeout")


async def test_an_endless_answer_is_cut_off(world: World) -> None:
    outcome = await world.outcome(b"HTTP/1.1 201 Created\r\n\r\nENDLESS")
    assert outcome.verdict is Verdict.DELIVERED
    await asyncio.wait_for(world.service.ended.wait(), 10)


async def test_pushes_one_after_the_other_take_one_connection(world: World) -> None:
    sender = await world.sender()
    for _ in range(5):
        assert (await sender.send(world.push())).verdict is Verdict.DELIVERED
    assert world.service.connections == 1


async def test_a_connection_that_is_just_being_closed_is_no_failure(world: World) -> None:
    world.service.answers[:] = [CREATED, b"", CREATED]
    sender = await world.sender()
    verdicts = [(await sender.send(world.push())).verdict for _ in range(2)]
    assert verdicts == [Verdict.DELIVERED] * 2
    assert world.service.connections == 2


async def test_one_that_always_hangs_up_is_a_failure(world: World) -> None:
    outcome = await world.outcome(b"")
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="connection lost")
    assert len(world.service.requests) == 2


async def test_an_answer_that_is_none_is_a_failure(world: World) -> None:
    outcome = await world.outcome(b"garbage\r\n\r\n")
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="answer is no HTTP")


async def test_a_certificate_that_nobody_vouches_for_is_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    outcome = await world.outcome(CREATED)
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="server certificate not trusted")
    assert world.service.requests == []


async def test_a_host_that_cannot_be_reached_is_a_failure(world: World) -> None:
    sender = await world.sender(resolver=Names(push=[[]]))
    assert (await sender.send(world.push())).verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"allowed": ()}, "address not allowed"),
        ({"allowed": (), "resolver": Names(push=[["8.8.8.8", "127.0.0.1"]])}, "address not allowed"),
        ({"allowed": (), "resolver": Names(push=[["::ffff:169.254.169.254"]])}, "address not allowed"),
        ({"allowed_hosts": ["push.test"]}, "host not allowed"),  # another port
        ({"allowed_hosts": []}, "host not allowed"),
    ],
)
async def test_what_may_not_be_called_is_not(world: World, changes: dict[str, Any], reason: str) -> None:
    sender = await world.sender(**changes)
    outcome = await sender.send(world.push())
    assert outcome == PushOutcome(verdict=Verdict.REFUSED, reason=reason)
    assert world.service.connections == 0


async def test_the_name_of_a_known_service_opens_no_way_inside(world: World) -> None:
    world.browser.endpoint = "https://fcm.googleapis.com/fcm/send/x"
    sender = await world.sender(allowed=(), resolver=Names(fcm=[["127.0.0.1"]]))
    assert (await sender.send(world.push())).reason == "address not allowed"


async def test_keys_that_are_none_are_refused(world: World) -> None:
    device = world.browser.device()
    sender = await world.sender()
    for p256dh, auth in (("", device.auth), (device.p256dh, "x"), (encode_zeros(65), device.auth)):
        broken = PushDevice(id="b", kind=device.kind, token=device.token, p256dh=p256dh, auth=auth)
        push = Push(message=message(), device=broken, id="x", collapse_id="x", expires_at=int(NOW) + 1)
        assert (await sender.send(push)).reason == "keys invalid"


def encode_zeros(count: int) -> str:
    return "A" * (count * 4 // 3 + 1)


async def test_the_longest_message_fits(world: World) -> None:
    sender = await world.sender()
    text = os.urandom(3000).hex()
    await sender.send(world.push(message=text, title="T", click="https://c.example"))
    await sender.send(world.push(message=text, small=True))
    first, second = (world.browser.read(one)["message"] for one in world.service.requests)
    assert len(world.service.requests[0].body) == 4096
    assert text.startswith(first["message"])
    assert (first["title"], first["click"], first["truncated"]) == ("T", "https://c.example", 1)
    assert len(world.service.requests[1].body) < 2200
    assert 0 < len(second["message"]) < len(first["message"])


async def test_a_warning_says_that_the_subscription_expires(world: World) -> None:
    outcome = await (await world.sender()).warn(world.browser.device())
    assert outcome.verdict is Verdict.DELIVERED
    assert world.browser.read(world.service.requests[0]) == {"event": "subscription_expiring"}
