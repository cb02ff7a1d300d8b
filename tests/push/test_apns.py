"""Pushes through APNs, over real sockets to a fake of Apple's service: answers, faults, load, tokens."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
import warnings
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from ntfyish.model.push import PushOutcome, Verdict, push_id
from ntfyish.push.apns.connection import ApnsConnection
from ntfyish.push.apns.pool import Times
from ntfyish.push.apns.provider_token import ProviderToken, read_key
from ntfyish.push.apns.sender import PRODUCTION, SANDBOX, ApnsApp, ApnsSender, ApnsUnusable
from tests.clock import FakeClock
from tests.push.apns_sending import EXPIRES_AT, app_for, device_token, push_to, send_all, sending_to
from tests.push.apple_checks import BUNDLE_ID, KEY_ID, TEAM_ID
from tests.push.fake_apns import HOLD, OK, Answer, Do, FakeApns

DELIVERED = PushOutcome(verdict=Verdict.DELIVERED)
MINUTE_S = 60.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture
async def apns(clock: FakeClock) -> AsyncIterator[FakeApns]:
    async with FakeApns(now=clock.now) as fake:
        yield fake
        assert not fake.protocol_errors


@pytest_asyncio.fixture
async def sender(apns: FakeApns, tmp_path: Path, clock: FakeClock) -> AsyncIterator[ApnsSender]:
    async with sending_to(apns, tmp_path, clock) as made:
        yield made


# What is sent


async def test_a_push_says_what_apple_wants_to_know(apns: FakeApns, sender: ApnsSender) -> None:
    push = push_to(7, "Disk full", priority=5)
    assert await sender.send(push) == DELIVERED
    [request] = apns.requests
    token = request.headers.pop("authorization")
    assert token.startswith("bearer ")
    assert request.headers == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": f"localhost:{apns.port}",
        ":path": f"/3/device/{device_token(7)}",
        "apns-topic": BUNDLE_ID,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-id": push_id("abcdefABCDEF", push.device.id),
        "apns-expiration": str(EXPIRES_AT),
        "apns-collapse-id": "abcdefABCDEF",
    }
    assert request.json["aps"]["alert"] == {"title": "Secret title", "body": "Disk full"}


async def test_every_push_on_a_connection_has_headers_of_its_own(apns: FakeApns, sender: ApnsSender) -> None:
    for number in range(40):
        push = replace(
            push_to(number, id=f"m{number:011d}", priority=number % 6), expires_at=EXPIRES_AT + number
        )
        assert await sender.send(push) == DELIVERED
    assert [(one.device, one.headers["apns-collapse-id"]) for one in apns.requests] == [
        (device_token(number), f"m{number:011d}") for number in range(40)
    ]
    assert [one.headers["apns-expiration"] for one in apns.requests] == [
        str(EXPIRES_AT + number) for number in range(40)
    ]
    assert [one.headers["apns-priority"] for one in apns.requests] == [
        "5" if number % 6 in (1, 2) else "10" for number in range(40)
    ]
    assert apns.connections_made == 1


async def test_a_message_that_was_changed_under_its_id_is_not_taken_from_memory(
    apns: FakeApns, sender: ApnsSender
) -> None:
    for text in ("one", "two", "one"):
        await sender.send(push_to(text=text))
    assert [one.json["aps"]["alert"]["body"] for one in apns.requests] == ["one", "two", "one"]


async def test_a_push_that_was_too_large_is_sent_smaller(apns: FakeApns, sender: ApnsSender) -> None:
    push = push_to(text="x" * 5000)
    await sender.send(push)
    await sender.send(replace(push, small=True))
    whole, small = [len(one.body) for one in apns.requests]
    assert 4000 < whole <= 4096
    assert small <= 2048


async def test_the_apps_own_names_are_used_for_custom_keys(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, payload_keys={"url": "link"}) as sender:
        await sender.send(push_to(click="nzbclient://search"))
    assert apns.requests[0].json["link"] == "nzbclient://search"


@pytest.mark.parametrize("odd", ["", "x" * 65, "a\r\nb: c", "ü", "two words"])
async def test_a_collapse_id_that_apple_would_not_take_is_replaced_by_one_it_does(
    apns: FakeApns, sender: ApnsSender, odd: str
) -> None:
    assert await sender.send(replace(push_to(), collapse_id=odd)) == DELIVERED
    assert await sender.send(replace(push_to(2), collapse_id=odd)) == DELIVERED
    first, second = [one.headers["apns-collapse-id"] for one in apns.requests]
    assert first == second
    assert len(first) == 64


async def test_a_push_never_asks_to_be_delivered_now_or_never(apns: FakeApns, sender: ApnsSender) -> None:
    await sender.send(replace(push_to(), expires_at=0))
    assert apns.requests[0].headers["apns-expiration"] == "1"


def test_apples_hosts_are_those_of_the_environment() -> None:
    assert (PRODUCTION, SANDBOX) == ("api.push.apple.com", "api.sandbox.push.apple.com")
    assert ApnsApp(bundle_id="a.b").destination == "apns:a.b"
    assert ApnsApp(bundle_id="a.b", sandbox=True).destination == "apns:a.b:sandbox"


# What is answered

GONE_AT_MS = 1_699_999_999_123


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, DELIVERED),
        (Answer(with_id=False), DELIVERED),
        (
            Answer(410, "Unregistered", GONE_AT_MS),
            PushOutcome(verdict=Verdict.GONE, reason="Unregistered", gone_at=GONE_AT_MS / 1000),
        ),
        (
            Answer(410, "ExpiredToken", GONE_AT_MS),
            PushOutcome(verdict=Verdict.GONE, reason="ExpiredToken", gone_at=GONE_AT_MS / 1000),
        ),
        (Answer(410, "Unregistered"), PushOutcome(verdict=Verdict.GONE, reason="Unregistered")),
        (
            Answer(410, body=b'{"reason":"Unregistered","timestamp":-5}'),
            PushOutcome(verdict=Verdict.GONE, reason="Unregistered"),
        ),
        (Answer(410, body=b""), PushOutcome(verdict=Verdict.GONE, reason="status 410")),
        (Answer(400, "BadDeviceToken"), PushOutcome(verdict=Verdict.GONE, reason="BadDeviceToken")),
        (
            Answer(400, "DeviceTokenNotForTopic", GONE_AT_MS),
            PushOutcome(verdict=Verdict.GONE, reason="DeviceTokenNotForTopic"),
        ),
        *[
            (Answer(400, reason), PushOutcome(verdict=Verdict.REFUSED, reason=reason))
            for reason in (
                "BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "DuplicateHeaders",
                "InvalidPushType", "MissingDeviceToken", "PayloadEmpty", "SomethingNew",
            )
        ],
        *[
            (Answer(400, reason), PushOutcome(verdict=Verdict.MISCONFIGURED, reason=reason))
            for reason in ("BadTopic", "MissingTopic", "TopicDisallowed")
        ],
        (Answer(400, "IdleTimeout"), PushOutcome(verdict=Verdict.UNAVAILABLE, reason="IdleTimeout")),
        (Answer(400), PushOutcome(verdict=Verdict.REFUSED, reason="status 400")),
        *[
            (Answer(403, reason), PushOutcome(verdict=Verdict.MISCONFIGURED, reason=reason))
            for reason in (
                "InvalidProviderToken", "MissingProviderToken", "BadCertificate",
                "BadCertificateEnvironment", "Forbidden", "ExpiredProviderToken",
            )
        ],
        (Answer(403), PushOutcome(verdict=Verdict.MISCONFIGURED, reason="status 403")),
        (Answer(404, "BadPath"), PushOutcome(verdict=Verdict.REFUSED, reason="BadPath")),
        (Answer(405, "MethodNotAllowed"), PushOutcome(verdict=Verdict.REFUSED, reason="MethodNotAllowed")),
        (Answer(413, "PayloadTooLarge"), PushOutcome(verdict=Verdict.TOO_LARGE, reason="PayloadTooLarge")),
        (Answer(413), PushOutcome(verdict=Verdict.TOO_LARGE, reason="status 413")),
        (
            Answer(429, "TooManyRequests", retry_after="7"),
            PushOutcome(verdict=Verdict.BUSY, reason="TooManyRequests", retry_after_s=7),
        ),
        (
            Answer(429, "TooManyProviderTokenUpdates"),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="TooManyProviderTokenUpdates"),
        ),
        (
            Answer(500, "InternalServerError"),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="InternalServerError"),
        ),
        (Answer(500), PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 500")),
        (
            Answer(503, retry_after="120"),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 503", retry_after_s=120),
        ),
        (
            Answer(503, "Shutdown", retry_after=formatdate(1_700_000_030, usegmt=True)),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="Shutdown", retry_after_s=30),
        ),
        (
            Answer(503, retry_after="99999999999"),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 503", retry_after_s=86_400),
        ),
        (
            Answer(503, retry_after="soon"),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 503"),
        ),
        (
            Answer(503, "ServiceUnavailable", with_id=False),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="ServiceUnavailable"),
        ),
        (
            Answer(502, body=b"<html>Bad Gateway</html>", with_id=False),
            PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 502"),
        ),
        (
            Answer(400, body=b'{"padding":"' + b"x" * 40_000 + b'","reason":"PayloadEmpty"}'),
            PushOutcome(verdict=Verdict.REFUSED, reason="status 400"),
        ),
        (Answer(400, body=b"[1]"), PushOutcome(verdict=Verdict.REFUSED, reason="status 400")),
        (Answer(400, body=b'{"reason":7}'), PushOutcome(verdict=Verdict.REFUSED, reason="status 400")),
        (
            Answer(410, body=b'{"reason":"Unregistered","timestamp":"soon"}'),
            PushOutcome(verdict=Verdict.GONE, reason="Unregistered"),
        ),
        (Answer(302), PushOutcome(verdict=Verdict.UNAVAILABLE, reason="status 302")),
    ],
)  # fmt: skip
async def test_each_answer_of_apples_has_its_meaning(
    apns: FakeApns, sender: ApnsSender, answer: Answer, outcome: PushOutcome
) -> None:
    apns.answers.append(answer)
    assert await sender.send(push_to()) == outcome
    assert await sender.send(push_to(2)) == DELIVERED
    assert apns.connections_made == 1


async def test_answers_in_another_order_find_their_pushes(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.by_device[device_token(1)] = deque([replace(HOLD, status=200)])
    apns.by_device[device_token(2)] = deque([Answer(410, "Unregistered")])
    async with sending_to(apns, tmp_path, clock, connections=1) as sender:
        slow = asyncio.create_task(sender.send(push_to(1)))
        await apns.until(lambda: apns.held_count == 1)
        assert (await sender.send(push_to(2))).verdict is Verdict.GONE
        assert not slow.done()
        apns.release()
        assert await slow == DELIVERED


# What goes wrong


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Do.RESET, "stream reset"),
        (Do.CLOSE, "connection lost"),
        (Do.GARBAGE, "malformed answer"),
        (Do.GO_AWAY_SILENT, "server going away"),
    ],
)
async def test_a_push_that_is_not_answered_failed_for_now(
    apns: FakeApns, tmp_path: Path, clock: FakeClock, trouble: Do, reason: str
) -> None:
    apns.answers.append(Answer(do=trouble))
    async with sending_to(apns, tmp_path, clock, times=Times(grace_s=0.05)) as sender:
        outcome = await sender.send(push_to())
        assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason=reason)
        assert await sender.send(push_to(2)) == DELIVERED


async def test_a_reset_ends_one_push_alone(apns: FakeApns, tmp_path: Path, clock: FakeClock) -> None:
    apns.answers.extend([HOLD, Answer(do=Do.RESET), HOLD])
    async with sending_to(apns, tmp_path, clock) as sender:
        tasks = [asyncio.create_task(sender.send(push_to(number))) for number in range(3)]
        await apns.until(lambda: apns.held_count == 2 and apns.asked_count == 3)
        apns.release()
        verdicts = [(await task).verdict for task in tasks]
    assert verdicts == [Verdict.DELIVERED, Verdict.UNAVAILABLE, Verdict.DELIVERED]
    assert apns.connections_made == 1


async def test_the_loss_of_a_connection_fails_all_that_is_under_way_and_the_next_push_gets_a_new_one(
    apns: FakeApns, sender: ApnsSender, caplog: pytest.LogCaptureFixture
) -> None:
    apns.otherwise = HOLD
    tasks = [asyncio.create_task(sender.send(push_to(number))) for number in range(20)]
    await apns.until(lambda: apns.held_count == 20)
    tasks[3].cancel()
    apns.drop()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes.pop(3), asyncio.CancelledError)
    assert set(outcomes) == {PushOutcome(verdict=Verdict.UNAVAILABLE, reason="connection lost")}
    apns.otherwise = OK
    assert await sender.send(push_to()) == DELIVERED
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_goaway_gives_back_what_the_server_has_not_seen(apns: FakeApns, sender: ApnsSender) -> None:
    apns.answers.append(Answer(do=Do.GO_AWAY_UNSEEN, reason="Shutdown"))
    assert await sender.send(push_to()) == DELIVERED
    assert [one.connection for one in apns.requests] == [1, 2]
    assert len({one.headers["apns-id"] for one in apns.requests}) == 1


async def test_a_push_is_given_back_only_once(apns: FakeApns, sender: ApnsSender) -> None:
    apns.otherwise = Answer(do=Do.GO_AWAY_UNSEEN)
    outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="server going away")
    assert apns.asked_count == 2


async def test_a_server_that_goes_at_once_is_not_called_again_and_again(
    apns: FakeApns, sender: ApnsSender
) -> None:
    apns.is_leaving = True
    outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="server going away")
    assert apns.connections_made == 1
    apns.is_leaving = False
    assert await sender.send(push_to()) == DELIVERED


async def test_a_server_that_takes_nothing_is_called_once_a_second(apns: FakeApns, tmp_path: Path) -> None:
    apns.streams, apns.closes_after_s = 0, 0.01
    async with sending_to(apns, tmp_path, FakeClock(), times=Times(answer_s=0.5)) as sender:
        outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="timeout")
    assert apns.connections_made <= 8


async def test_after_goaway_answers_still_count(apns: FakeApns, sender: ApnsSender) -> None:
    apns.answers.extend([HOLD, Answer(do=Do.GO_AWAY, reason="IdleTimeout")])
    first = asyncio.create_task(sender.send(push_to(1)))
    await apns.until(lambda: apns.held_count == 1)
    assert await sender.send(push_to(2)) == DELIVERED
    assert await sender.send(push_to(3)) == DELIVERED
    assert not first.done()
    apns.release()
    assert await first == DELIVERED
    assert [one.connection for one in apns.requests] == [1, 1, 2]
    await apns.until(lambda: len(apns.live) == 1)  # the one that goes has been closed


async def test_silence_ends_after_a_time_and_the_connection_gets_no_more(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.by_device[device_token(1)] = deque([HOLD])
    async with sending_to(apns, tmp_path, clock, times=Times(answer_s=0.6)) as sender:
        outcome = await sender.send(push_to(1))
        assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="timeout")
        assert await sender.send(push_to(2)) == DELIVERED
        assert [one.connection for one in apns.requests] == [1, 2]
        await apns.until(lambda: len(apns.live) == 1)
        assert apns.resets == 1


async def test_what_else_is_under_way_on_a_silent_connection_may_still_be_answered(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.otherwise = HOLD
    async with sending_to(apns, tmp_path, clock, times=Times(answer_s=0.8)) as sender:
        early = asyncio.create_task(sender.send(push_to(1)))
        await apns.until(lambda: apns.held_count == 1)
        await asyncio.wait([early], timeout=0.4)
        late = asyncio.create_task(sender.send(push_to(2)))
        assert (await early).reason == "timeout"
        assert apns.held_count <= 2
        apns.release()
        assert await late == DELIVERED
        await apns.until(lambda: not apns.live)


async def test_each_push_has_its_own_time(apns: FakeApns, tmp_path: Path, clock: FakeClock) -> None:
    apns.otherwise = HOLD
    async with sending_to(apns, tmp_path, clock, times=Times(answer_s=0.6)) as sender:
        early = asyncio.create_task(sender.send(push_to(1)))
        await apns.until(lambda: apns.held_count == 1)
        await asyncio.wait([early], timeout=0.3)
        late = asyncio.create_task(sender.send(push_to(2)))
        assert (await early).reason == "timeout"
        assert not late.done()
        async with asyncio.timeout(10):
            assert (await late).reason == "timeout"


async def test_what_waits_for_a_place_on_a_connection_that_is_lost_gets_another(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.answers.append(HOLD)
    async with sending_to(apns, tmp_path, clock, connections=1, streams=1) as sender:
        first = asyncio.create_task(sender.send(push_to(1)))
        await apns.until(lambda: apns.held_count == 1)
        second = asyncio.create_task(sender.send(push_to(2)))
        await asyncio.wait([second], timeout=0.01)
        apns.drop()
        assert (await first).reason == "connection lost"
        assert await second == DELIVERED


async def test_a_server_that_does_not_say_anything_is_given_up(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        FakeApns(is_mute=True, now=clock.now) as apns,
        sending_to(apns, tmp_path, clock, times=Times(connect_s=0.1)) as sender,
    ):
        outcomes = await send_all(sender, [push_to(number) for number in range(5)])
        assert set(outcomes) == {PushOutcome(verdict=Verdict.UNAVAILABLE, reason="connect timeout")}
        assert apns.connections_made == 1
        await apns.until(lambda: not apns.live)


async def test_all_that_wait_for_a_connection_fail_with_it(apns: FakeApns, sender: ApnsSender) -> None:
    await apns.down()
    started = time.monotonic()
    outcomes = await send_all(sender, [push_to(number) for number in range(500)])
    assert set(outcomes) == {PushOutcome(verdict=Verdict.UNAVAILABLE, reason="connection refused")}
    assert time.monotonic() - started < 5
    await apns.up()
    assert await sender.send(push_to()) == DELIVERED


async def test_a_host_without_an_address_is_a_trouble_for_now(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, host="a..b") as sender:
        outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="unknown host")


async def test_a_server_whose_certificate_is_not_trusted_is_for_the_operator(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with sending_to(apns, tmp_path, clock, ca_file=other) as sender:
        outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.MISCONFIGURED, reason="server certificate not trusted")
    assert not apns.requests


async def test_a_server_of_another_name_is_not_trusted(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, host="127.1") as sender:
        outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.MISCONFIGURED, reason="server certificate not trusted")
    assert not apns.requests


async def test_a_certificate_stands_in_for_the_token(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        FakeApns(client_certificates=True, now=clock.now) as apns,
        sending_to(apns, tmp_path, clock) as sender,
    ):
        assert await sender.send(push_to()) == DELIVERED
        assert "authorization" not in apns.requests[0].headers


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (60, []),
        (29, ["apns: app.example: certificate-file: expires on 2023-12-13"]),
        (-1, ["apns: app.example: certificate-file: has expired on 2023-11-13"]),
    ],
)
async def test_a_certificate_that_expires_soon_is_told_of_at_the_start(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture, days: int, warning: list[str]
) -> None:
    apns = FakeApns(client_certificates=True)
    app = app_for(apns, tmp_path)
    until = datetime.fromtimestamp(clock.now(), UTC) + timedelta(days=days)
    issued = apns.ca.issue_cert(common_name=BUNDLE_ID, not_after=until)
    (tmp_path / "client.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    async with ApnsSender(app, clock):
        assert [record.getMessage() for record in caplog.records] == warning


@contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """Yield the port of a server that says why it refuses a handshake (asyncio's just hang up)."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, context.wrap_socket(connection, True, do_handshake_on_connect=False) as secure:
                with suppress(OSError):
                    secure.do_handshake()
                with suppress(OSError):
                    socket.socket.shutdown(secure, socket.SHUT_WR)
                    while socket.socket.recv(secure, 4096):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_that_is_not_accepted_is_for_the_operator(
    tmp_path: Path, clock: FakeClock, version: ssl.TLSVersion
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(FakeApns().client_pem())
    apns = FakeApns(client_certificates=True)
    apns._context.maximum_version = version
    with refusing(apns._context) as apns.port:
        async with sending_to(apns, tmp_path, clock, certificate_file=stranger) as sender:
            outcomes = await send_all(sender, [push_to(1), push_to(2)])
    assert set(outcomes) == {PushOutcome(verdict=Verdict.MISCONFIGURED, reason="client certificate refused")}


async def test_a_server_of_an_old_tls_is_not_spoken_to(tmp_path: Path, clock: FakeClock) -> None:
    apns = FakeApns()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        apns._context.minimum_version = ssl.TLSVersion.TLSv1_1
        apns._context.maximum_version = ssl.TLSVersion.TLSv1_1
    with refusing(apns._context) as apns.port:
        async with sending_to(apns, tmp_path, clock) as sender:
            outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.UNAVAILABLE, reason="TLS failure")


# Many at once


async def test_a_thousand_pushes_share_few_connections_and_one_token(
    apns: FakeApns, sender: ApnsSender
) -> None:
    apns.latency_s = 0.05
    started = time.monotonic()
    outcomes = await send_all(sender, [push_to(number) for number in range(1000)])
    took_s = time.monotonic() - started
    assert set(outcomes) == {DELIVERED}
    assert took_s < 5  # one after another they would take 50 s
    assert 1 < apns.connections_most <= 4
    assert apns.in_flight_most > 300
    assert len(apns.checks.authorizations) == 1
    assert set(apns.delivered.values()) == {1}
    assert len(apns.delivered) == 1000


async def test_there_are_never_more_under_way_than_the_capacity(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.latency_s = 0.002
    async with sending_to(apns, tmp_path, clock, connections=2, streams=5) as sender:
        assert sender.capacity == 10
        outcomes = await send_all(sender, [push_to(number) for number in range(200)])
    assert set(outcomes) == {DELIVERED}
    assert apns.in_flight_most <= 10
    assert apns.connections_most == 2
    per_connection = [sum(one.connection == number for one in apns.requests) for number in (1, 2)]
    assert min(per_connection) > 50


async def test_pushes_are_spread_over_the_connections_there_are(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.otherwise = HOLD
    async with sending_to(apns, tmp_path, clock, connections=2, streams=10) as sender:
        for count in (20, 10):
            tasks = [asyncio.create_task(sender.send(push_to(number))) for number in range(count)]
            await apns.until(lambda: apns.held_count == count)  # noqa: B023 - waited for at once
            assert [len(one.held) for one in apns.live] == [count // 2] * 2
            apns.release()
            assert {await task for task in tasks} == {DELIVERED}


async def test_few_pushes_need_no_second_connection(apns: FakeApns, sender: ApnsSender) -> None:
    apns.latency_s = 0.01
    await send_all(sender, [push_to(number) for number in range(100)])
    assert apns.connections_made == 1


@pytest.mark.parametrize("first", [1, 2])
async def test_the_servers_bound_on_streams_is_kept_when_it_begins_small(
    tmp_path: Path, clock: FakeClock, first: int
) -> None:
    async with FakeApns(streams=20, first_streams=first, latency_s=0.005, now=clock.now) as apns:
        async with sending_to(apns, tmp_path, clock, connections=1) as sender:
            outcomes = await send_all(sender, [push_to(number) for number in range(100)])
        assert set(outcomes) == {DELIVERED}
        assert apns.in_flight_most <= 20
        assert apns.in_flight_most > first
        assert not apns.protocol_errors


async def test_a_bound_that_shrinks_and_grows_again_is_kept(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.otherwise = HOLD
    async with sending_to(apns, tmp_path, clock, connections=1) as sender:
        tasks = [asyncio.create_task(sender.send(push_to(0)))]
        await apns.until(lambda: apns.held_count == 1)
        apns.allow(0)
        apns.release()
        await asyncio.wait(tasks)
        tasks += [asyncio.create_task(sender.send(push_to(number))) for number in range(1, 6)]
        await asyncio.wait(tasks[1:], timeout=0.05)
        assert apns.asked_count == 1
        apns.allow(3)
        await apns.until(lambda: apns.held_count == 3)
        apns.otherwise = OK
        apns.release()
        assert {await task for task in tasks} == {DELIVERED}


async def test_bodies_wait_for_room_and_go_on_when_there_is_some(tmp_path: Path, clock: FakeClock) -> None:
    async with FakeApns(window_bytes=1000, acknowledges=False, now=clock.now) as apns:
        async with sending_to(apns, tmp_path, clock, connections=1) as sender:
            tasks = [
                asyncio.create_task(sender.send(push_to(number, "x" * 3000, id=f"m{number:011d}")))
                for number in range(40)
            ]
            await apns.until(lambda: any(one.streams for one in apns.live))
            await asyncio.wait(tasks, timeout=0.02)
            assert [len(one.streams) for one in apns.live] == [1]  # the others do not take their places
            while not all(task.done() for task in tasks):
                apns.acknowledge()
                await asyncio.wait(tasks, timeout=0.005)
            assert {await task for task in tasks} == {DELIVERED}
        assert not apns.protocol_errors
        assert {len(one.json["aps"]["alert"]["body"]) for one in apns.requests} == {3000}


async def test_a_server_that_takes_more_at_once_gets_the_rest(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        FakeApns(window_bytes=100, acknowledges=False, now=clock.now) as apns,
        sending_to(apns, tmp_path, clock) as sender,
    ):
        push = asyncio.create_task(sender.send(push_to(1, "x" * 3000)))
        await apns.until(lambda: any(one.streams for one in apns.live))
        apns.widen(65_535)
        assert await push == DELIVERED


async def test_the_room_for_all_bodies_together_is_kept_and_given_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with FakeApns(acknowledges=False, now=clock.now) as apns:
        async with sending_to(apns, tmp_path, clock, connections=1) as sender:
            tasks = [asyncio.create_task(sender.send(push_to(number, "x" * 3500))) for number in range(60)]
            await apns.until(lambda: apns.asked_count >= 15)
            await asyncio.wait(tasks, timeout=0.05)
            assert apns.asked_count < 25
            while not all(task.done() for task in tasks):
                apns.acknowledge()
                await asyncio.wait(tasks, timeout=0.005)
            assert {await task for task in tasks} == {DELIVERED}
        assert not apns.protocol_errors


async def test_a_long_body_that_is_refused_early_leaves_the_connection_usable(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with FakeApns(window_bytes=500, acknowledges=False, now=clock.now) as apns:
        async with sending_to(apns, tmp_path, clock, connections=1) as sender:
            stuck = asyncio.create_task(sender.send(push_to(1, "x" * 3000)))
            await apns.until(lambda: any(one.streams for one in apns.live))
            [connection] = apns.live
            connection.respond(1, b"", Answer(413, "PayloadTooLarge"))
            assert (await stuck).verdict is Verdict.TOO_LARGE
            assert await sender.send(push_to(2)) == DELIVERED
        assert apns.connections_made == 1
        assert apns.resets == 1


async def test_what_the_server_sends_is_acknowledged_so_that_it_can_go_on(
    apns: FakeApns, sender: ApnsSender
) -> None:
    apns.otherwise = Answer(400, body=b'{"reason":"PayloadEmpty","padding":"' + b"x" * 16_000 + b'"}')
    outcomes = [await sender.send(push_to(number)) for number in range(30)]
    assert {one.verdict for one in outcomes} == {Verdict.REFUSED}
    assert apns.connections_made == 1


async def test_a_connection_whose_streams_are_used_up_is_replaced(apns: FakeApns, sender: ApnsSender) -> None:
    await sender.send(push_to(1))
    assert sender._pool is not None
    [connection] = sender._pool._usable
    connection.conn.highest_outbound_stream_id = 2**31 - 3  # as after a billion pushes
    assert await sender.send(push_to(2)) == DELIVERED
    assert await sender.send(push_to(3)) == DELIVERED
    assert [one.connection for one in apns.requests] == [1, 1, 2]


async def test_a_push_that_nobody_waits_for_any_more_gives_up_its_place(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    apns.answers.append(HOLD)
    async with sending_to(apns, tmp_path, clock, connections=1, streams=1) as sender:
        given_up = asyncio.create_task(sender.send(push_to(1)))
        await apns.until(lambda: apns.held_count == 1)
        waiting = asyncio.create_task(sender.send(push_to(2)))
        also_given_up = asyncio.create_task(sender.send(push_to(3)))
        await asyncio.wait([waiting], timeout=0.01)
        also_given_up.cancel()
        given_up.cancel()
        assert await waiting == DELIVERED
        assert apns.resets == 1
    assert [one.device for one in apns.requests] == [device_token(1), device_token(2)]
    assert apns.connections_made == 1


# Long-lived connections


async def test_an_unused_connection_is_asked_whether_it_lives_and_kept(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, times=Times(check_s=0.3)) as sender:
        await sender.send(push_to(1))
        await apns.until(lambda: apns.pings >= 1 or not apns.live)
        await sender.send(push_to(2))
    assert apns.connections_made == 1


async def test_a_connection_that_has_died_unnoticed_is_found_out(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, times=Times(check_s=0.3)) as sender:
        await sender.send(push_to(1))
        apns.is_mute = True
        await apns.until(lambda: not apns.live)
        apns.is_mute = False
        assert await sender.send(push_to(2)) == DELIVERED


async def test_a_connection_is_closed_when_it_was_not_used_for_long_but_never_while_it_is(
    apns: FakeApns, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ApnsConnection.INACTIVITY_TIME == 600
    monkeypatch.setattr(ApnsConnection, "INACTIVITY_TIME", 0)
    apns.answers.append(HOLD)
    async with sending_to(apns, tmp_path, clock, times=Times(check_s=0.3)) as sender:
        push = asyncio.create_task(sender.send(push_to(1)))
        await asyncio.wait([push], timeout=0.8)
        assert apns.held_count == 1
        assert await sender.send(push_to(2)) == DELIVERED
        assert apns.connections_made == 1
        apns.release()
        assert await push == DELIVERED
        await apns.until(lambda: not apns.live)
        assert await sender.send(push_to(3)) == DELIVERED


async def test_a_sender_that_ends_lets_nobody_wait(
    apns: FakeApns, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    apns.otherwise = HOLD
    async with sending_to(apns, tmp_path, clock, connections=1, streams=2) as sender:
        tasks = [asyncio.create_task(sender.send(push_to(number))) for number in range(5)]
        await apns.until(lambda: apns.held_count == 2)
        tasks.pop(0).cancel()
    outcomes = [await task for task in tasks]
    assert {one.verdict for one in outcomes} == {Verdict.UNAVAILABLE}
    assert [one.reason for one in outcomes].count("shutting down") == 3
    assert (await sender.send(push_to())).reason == "shutting down"
    await apns.until(lambda: not apns.live)
    assert not caplog.records


async def test_a_sender_may_end_while_it_connects(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeApns(is_mute=True, now=clock.now) as apns:
        async with sending_to(apns, tmp_path, clock) as sender:
            push = asyncio.create_task(sender.send(push_to()))
            await apns.until(lambda: len(apns.live) == 1)
        assert (await push).reason == "shutting down"
        await apns.until(lambda: not apns.live)
    assert not caplog.records


# The provider token


async def test_a_token_is_used_for_fifty_minutes(
    apns: FakeApns, sender: ApnsSender, clock: FakeClock
) -> None:
    for _ in range(3):
        assert await sender.send(push_to()) == DELIVERED
        await clock.advance(24 * MINUTE_S)
    assert len(apns.checks.authorizations) == 1
    assert await sender.send(push_to()) == DELIVERED
    assert len(apns.checks.authorizations) == 2


async def test_a_token_that_has_expired_for_apple_is_signed_again_at_once_and_by_all_together(
    apns: FakeApns, sender: ApnsSender, clock: FakeClock
) -> None:
    await sender.send(push_to())
    await clock.advance(21 * MINUTE_S)
    apns.answers.extend([Answer(403, "ExpiredProviderToken")] * 10)
    outcomes = await send_all(sender, [push_to(number) for number in range(10)])
    assert set(outcomes) == {DELIVERED}
    assert len(apns.checks.authorizations) == 2


async def test_a_token_is_not_signed_again_within_twenty_minutes(
    apns: FakeApns, sender: ApnsSender, clock: FakeClock
) -> None:
    apns.checks._now = lambda: clock.now() + 7200  # Apple's clock and ours differ
    expired = PushOutcome(verdict=Verdict.MISCONFIGURED, reason="ExpiredProviderToken")
    assert await sender.send(push_to()) == expired
    await clock.advance(19 * MINUTE_S)
    assert await sender.send(push_to()) == expired
    assert apns.asked_count == 2
    await clock.advance(2 * MINUTE_S)
    assert await sender.send(push_to()) == expired
    assert apns.asked_count == 4
    assert len(apns.checks.authorizations) == 2


async def test_a_token_for_another_team_is_for_the_operator(
    apns: FakeApns, tmp_path: Path, clock: FakeClock
) -> None:
    async with sending_to(apns, tmp_path, clock, team_id="OTHERTEAM1") as sender:
        outcome = await sender.send(push_to())
    assert outcome == PushOutcome(verdict=Verdict.MISCONFIGURED, reason="InvalidProviderToken")


def test_a_token_is_signed_again_when_the_clock_has_been_set(clock: FakeClock) -> None:
    token = ProviderToken(read_key(FakeApns().key_pem()), KEY_ID, TEAM_ID, clock)
    first = token.get_header()
    assert token.get_header() == first
    clock.set_wall(clock.now() - 3600)
    second = token.get_header()
    assert second != first
    clock.set_wall(clock.now() + 3600)
    assert token.get_header() != second


# What is said


async def test_a_trouble_with_connections_is_told_once_a_minute_and_tells_no_secrets(
    apns: FakeApns, sender: ApnsSender, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await sender.send(push_to(1, "Secret text"))
    await apns.down()
    for _ in range(3):
        await send_all(sender, [push_to(number, "Secret text") for number in range(10)])
    told = [one for one in caplog.records if one.levelno >= logging.INFO]  # whoever sends warns of it
    assert [one.getMessage() for one in told] == ["Connection of apns:app.example: connection refused"]
    await clock.advance(61)
    await sender.send(push_to())
    assert len([one for one in caplog.records if one.levelno >= logging.INFO]) == 2
    for secret in ("Secret", device_token(1), "bearer"):
        assert secret not in caplog.text


async def test_answers_are_not_logged(
    apns: FakeApns, sender: ApnsSender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    apns.answers.extend([Answer(410, "Unregistered"), Answer(500), Answer(do=Do.RESET)])
    for number in range(4):
        await sender.send(push_to(number))
    assert not caplog.records


# What is configured


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key_file": "missing.p8"}, "key-file: {}/missing.p8 cannot be read: No such file or directory"),
        ({"key_file": "."}, "key-file: {} cannot be read: Is a directory"),
        ({"key_file": "garbage"}, "key-file: {}/garbage is not a private key (PEM) without a password"),
        ({"key_file": "ca.pem"}, "key-file: {}/ca.pem is not a private key (PEM) without a password"),
        ({"key_file": "rsa.pem"}, "key-file: {}/rsa.pem is not a key for ES256, as Apple gives them"),
        (
            {"key_file": None, "certificate_file": "missing.pem"},
            "certificate-file: {}/missing.pem cannot be read: No such file or directory",
        ),
        (
            {"key_file": None, "certificate_file": "ca.pem"},
            "certificate-file: {}/ca.pem does not have both a certificate and its private key (PEM),"
            " without a password",
        ),
        (
            {"key_file": None, "certificate_file": "locked.pem"},
            "certificate-file: {}/locked.pem does not have both a certificate and its private key (PEM),"
            " without a password",
        ),
        ({"ca_file": "missing.pem"}, "ca-file: {}/missing.pem cannot be read: No such file or directory"),
        ({"ca_file": "garbage"}, "ca-file: {}/garbage has no certificates (PEM)"),
    ],
)
async def test_files_that_cannot_be_used_are_named_at_the_start(
    tmp_path: Path, clock: FakeClock, changes: dict[str, Any], complaint: str
) -> None:
    apns = FakeApns()
    app = app_for(apns, tmp_path)
    (tmp_path / "garbage").write_bytes(b"\x00garbage")
    issued = apns.ca.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    (tmp_path / "rsa.pem").write_bytes(issued.private_key_pem.bytes())
    locked = apns.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "locked.pem").write_bytes(locked + issued.cert_chain_pems[0].bytes())
    files = {name: value and tmp_path / value for name, value in changes.items()}
    with pytest.raises(ApnsUnusable) as caught:
        async with ApnsSender(replace(app, **files), clock):
            pass
    assert str(caught.value) == "apns: app.example: " + complaint.format(str(tmp_path))
