"""Whatever Apple answers to a push, through the front door: device, outbox and figures afterwards."""

from __future__ import annotations

from collections import deque

import pytest

from tests.hardening.process import PEOPLE
from tests.push.apns_stage import APP, PHONE, SET, WATCH, AppleStage, AppleStages, State
from tests.push.fake_apns import OK, Answer, Do

REFUSED = [
    Answer(400, "BadCollapseId"),
    Answer(400, "BadExpirationDate"),
    Answer(400, "BadMessageId"),
    Answer(400, "BadPriority"),
    Answer(400, "DuplicateHeaders"),
    Answer(400, "InvalidPushType"),
    Answer(400, "MissingDeviceToken"),
    Answer(400, "PayloadEmpty"),
    Answer(400, "SomethingThatAppleMayInvent"),
    Answer(400),
    Answer(404, "BadPath"),
    Answer(405, "MethodNotAllowed"),
]
MISCONFIGURED = [
    Answer(400, "BadTopic"),
    Answer(400, "MissingTopic"),
    Answer(400, "TopicDisallowed"),
    Answer(403, "BadCertificate"),
    Answer(403, "BadCertificateEnvironment"),
    Answer(403, "BadEnvironmentKeyIdInToken"),
    Answer(403, "ExpiredProviderToken"),
    Answer(403, "Forbidden"),
    Answer(403, "InvalidProviderToken"),
    Answer(403, "MissingProviderToken"),
    Answer(403, "UnrelatedKeyIdInToken"),
    Answer(403),
]
UNAVAILABLE = [
    (Answer(400, "IdleTimeout"), "IdleTimeout"),
    (Answer(429, "TooManyProviderTokenUpdates"), "TooManyProviderTokenUpdates"),
    (Answer(500, "InternalServerError"), "InternalServerError"),
    (Answer(500), "status 500"),
    (Answer(500, body=b"<html>oops</html>", with_id=False), "status 500"),
    (Answer(502), "status 502"),
    (Answer(503, "ServiceUnavailable"), "ServiceUnavailable"),
    (Answer(503, "Shutdown"), "Shutdown"),
    (Answer(503, with_id=False), "status 503"),
    (Answer(do=Do.RESET), "stream reset"),
    (Answer(do=Do.CLOSE), "connection lost"),
    (Answer(do=Do.GARBAGE), "malformed answer"),
]


def label(answer: object) -> str | None:
    if isinstance(answer, Answer):
        return f"{answer.status} {answer.reason or answer.do.name.lower()}"
    return ""


async def push_to_phone(stage: AppleStage, *answers: Answer, text: str = "hi") -> str:
    """Publish to the phone, for which these are the answers, and then 200; return the request's id."""
    stage.apns.by_device[PHONE] = deque([*answers, OK])
    return str((await stage.pushover(text))["request"])


async def told(stage: AppleStage, request: str) -> tuple[str, str, str, int, str]:
    """Return what the publisher is told became of its push to the phone."""
    (one,) = await stage.deliveries(request)
    return one["device"], one["kind"], one["state"], one["attempts"], one["reason"]


async def test_what_apple_takes_is_delivered(stage: AppleStage) -> None:
    request = await push_to_phone(stage)
    await stage.until_state(PHONE, State("delivered", 1))
    stage.arrived_once(PHONE, 1)
    assert await told(stage, request) == ("phone", "apns", "delivered", 1, "")
    assert await stage.devices() == ["phone"]
    await stage.server.publish("alerts")
    await stage.until_state(WATCH, State("delivered", 1))
    await stage.until_state(SET, State("delivered", 1))
    await stage.figures_are(delivered=3, ended_delivered=3, entered=3, devices=3)
    assert await stage.paused() == []


@pytest.mark.parametrize("answer", REFUSED, ids=label)
async def test_a_push_that_is_refused_is_over_and_nothing_else(
    stage: AppleStage, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    request = await push_to_phone(stage, answer)
    reason = answer.reason or "status 400"
    await stage.until_state(PHONE, State("failed", 1, reason))
    assert await told(stage, request) == ("phone", "apns", "failed", 1, reason)
    assert await stage.devices() == ["phone"]
    assert [one.levelname for one in caplog.records if reason in one.message] == ["ERROR"]
    await stage.server.publish("alerts")
    await stage.pushover("next")
    for token in (WATCH, SET):
        await stage.until_state(token, State("delivered", 1))
    await stage.until_state(PHONE, State("failed", 1, reason), State("delivered", 1))
    assert len(stage.requests(PHONE)) == 2
    await stage.figures_are(refused=1, delivered=3, ended_failed=1, ended_delivered=3, entered=4, devices=3)
    assert await stage.paused() == []


def gone_answers(at_s: float) -> list[Answer]:
    """Return how Apple says that a device has been gone since then."""
    return [
        Answer(400, "BadDeviceToken"),
        Answer(400, "DeviceTokenNotForTopic"),
        Answer(410, "Unregistered", timestamp_ms=round(at_s * 1000)),
        Answer(410, "ExpiredToken", timestamp_ms=round(at_s * 1000)),
        Answer(410, "Unregistered"),
        Answer(410),
    ]


@pytest.mark.parametrize("answer", gone_answers(1_700_000_000.5), ids=label)
async def test_a_device_that_is_gone_is_forgotten(stage: AppleStage, answer: Answer) -> None:
    request = await push_to_phone(stage, answer)
    reason = answer.reason or "status 410"
    await stage.until_state(PHONE, State("failed", 1, reason))
    assert await told(stage, request) == ("phone", "apns", "failed", 1, reason)
    assert await stage.devices() == []
    await stage.pushover("to nobody")
    await stage.server.publish("alerts")
    for token in (WATCH, SET):
        await stage.until_state(token, State("delivered", 1))
    assert len(stage.requests(PHONE)) == 1
    await stage.figures_are(gone=1, delivered=2, ended_failed=1, ended_delivered=2, entered=3, devices=2)
    await stage.register(name="phone")
    await stage.pushover("back")
    await stage.until_state(PHONE, State("failed", 1, reason), State("delivered", 1))


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
async def test_what_apple_says_about_the_time_before_a_device_came_back_does_not_count(
    stage: AppleStage, reason: str
) -> None:
    gone_at_ms = round((stage.clock.now() + 30) * 1000)
    await stage.clock.leap(60)
    await stage.register(name="phone")  # the same token: it is only noted that it is still there
    request = await push_to_phone(stage, Answer(410, reason, timestamp_ms=gone_at_ms))
    await stage.until_state(PHONE, State("pending", 1, reason))
    assert await told(stage, request) == ("phone", "apns", "pending", 1, reason)
    assert await stage.devices() == ["phone"]
    await stage.server.publish("alerts")
    for token in (WATCH, SET):
        await stage.until_state(token, State("delivered", 1))
    await stage.clock.leap(3)
    await stage.until_state(PHONE, State("delivered", 2))
    stage.arrived_once(PHONE, 2)
    await stage.figures_are(gone=1, delivered=3, ended_delivered=3, entered=3, devices=3)


async def test_a_push_to_a_device_that_came_back_and_is_disowned_all_the_same_fails_in_the_end(
    stage: AppleStage,
) -> None:
    gone_at_ms = round((stage.clock.now() - 30) * 1000)
    stage.apns.by_device[PHONE] = deque([Answer(410, "Unregistered", timestamp_ms=gone_at_ms)])
    await stage.pushover()
    await stage.until_state(PHONE, State("pending", 1, "Unregistered"))
    await stage.pass_time(15)
    await stage.until_state(PHONE, State("failed", 4, "Unregistered"))
    assert await stage.devices() == ["phone"]
    await stage.figures_are(gone=4, ended_failed=1, entered=1, devices=3)


async def test_a_device_that_gets_a_new_token_meanwhile_gets_the_push_there(stage: AppleStage) -> None:
    stage.apns.by_device[PHONE] = deque([Answer(do=Do.NOTHING)])
    phone = await stage.register(name="phone")
    await stage.pushover()
    await stage.apns.until(lambda: stage.apns.held_count == 1)
    await stage.register("ab" * 32, name="phone", id=phone["id"])
    at_ms = round(stage.clock.now() * 1000)
    stage.apns.release(Answer(410, "Unregistered", timestamp_ms=at_ms))
    await stage.until_state(PHONE, State("pending", 1, "Unregistered"))
    await stage.clock.leap(3)
    await stage.until_state(PHONE, State("delivered", 2))
    assert [one.device for one in stage.apns.requests] == [PHONE, "ab" * 32]
    assert await stage.devices() == ["phone"]


@pytest.mark.parametrize("answer", MISCONFIGURED, ids=label)
async def test_what_apple_has_against_us_waits_for_the_operator(
    stage: AppleStage, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    request = await push_to_phone(stage, answer)
    reason = answer.reason or "status 403"
    await stage.until_state(PHONE, State("pending", 1, reason))
    assert await told(stage, request) == ("phone", "apns", "pending", 1, reason)
    await stage.server.publish("alerts")
    await stage.until_state(SET, State("delivered", 1))  # another app of ours has nothing to do with it
    assert [one.levelname for one in caplog.records if f": {reason}. " in one.message] == ["ERROR"]
    assert await stage.paused() == [f"apns:{APP},{reason}"]
    await stage.figures_are(misconfigured=1, delivered=1, ended_delivered=1, waiting=2, entered=3, devices=3)
    await stage.clock.leap(590)
    await stage.pass_time(1)
    assert stage.states_of(WATCH) == [State("pending")]
    assert len(stage.apns.requests) == 1
    await stage.clock.leap(20)
    await stage.until_state(PHONE, State("delivered", 2))
    await stage.until_state(WATCH, State("delivered", 1))
    stage.arrived_once(PHONE, 2)
    stage.arrived_once(WATCH, 1)
    assert await stage.paused() == []
    assert await stage.devices() == ["phone"]
    await stage.figures_are(misconfigured=1, delivered=3, ended_delivered=3, entered=3, devices=3)


@pytest.mark.parametrize(("answer", "reason"), UNAVAILABLE, ids=label)
async def test_while_apple_has_trouble_pushes_wait_a_little(
    stage: AppleStage, answer: Answer, reason: str
) -> None:
    request = await push_to_phone(stage, answer)
    await stage.until_state(PHONE, State("pending", 1, reason))
    assert await told(stage, request) == ("phone", "apns", "pending", 1, reason)
    await stage.server.publish("alerts")
    await stage.until_state(SET, State("delivered", 1))
    assert stage.states_of(WATCH) == [State("pending")]
    await stage.figures_are(unavailable=1, delivered=1, ended_delivered=1, waiting=2, entered=3, devices=3)
    await stage.clock.leap(4)
    await stage.until_state(PHONE, State("delivered", 2))
    await stage.until_state(WATCH, State("delivered", 1))
    stage.arrived_once(PHONE, 2)
    stage.arrived_once(WATCH, 1)
    assert await stage.paused() == []
    assert await stage.devices() == ["phone"]
    await stage.figures_are(unavailable=1, delivered=3, ended_delivered=3, entered=3, devices=3)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(429, "TooManyProviderTokenUpdates", retry_after="120"),
        Answer(500, retry_after="120"),
        Answer(503, "Shutdown", retry_after="120"),
        Answer(503, "ServiceUnavailable", retry_after="Tue, 14 Nov 2023 22:15:20 GMT"),
    ],
    ids=label,
)
async def test_apple_is_left_alone_for_as_long_as_it_asks(stage: AppleStage, answer: Answer) -> None:
    await push_to_phone(stage, answer)
    await stage.until_state(PHONE, State("pending", 1, answer.reason or "status 500"))
    await stage.server.publish("alerts")
    await stage.until_state(SET, State("delivered", 1))
    await stage.clock.leap(115)
    await stage.pushover("meanwhile")
    await stage.pass_time(1)
    assert len(stage.apns.requests) == 1
    await stage.clock.leap(5)
    await stage.until_states(delivered=4)
    stage.arrived_once(WATCH, 1)
    assert [one.json["aps"]["alert"]["body"] for one in stage.requests(PHONE)] == ["hi", "hi", "meanwhile"]


@pytest.mark.parametrize(("retry_after", "early_s", "late_s"), [("", 0, 2), ("90", 85, 6)])
async def test_too_much_for_one_device_is_nobody_elses_business(
    stage: AppleStage, retry_after: str, early_s: float, late_s: float
) -> None:
    request = await push_to_phone(stage, Answer(429, "TooManyRequests", retry_after=retry_after))
    await stage.until_state(PHONE, State("pending", 1, "TooManyRequests"))
    assert await told(stage, request) == ("phone", "apns", "pending", 1, "TooManyRequests")
    await stage.server.publish("alerts")
    for token in (WATCH, SET):
        await stage.until_state(token, State("delivered", 1))
    await stage.figures_are(busy=1, delivered=2, ended_delivered=2, waiting=1, entered=3, devices=3)
    if early_s:
        await stage.clock.leap(early_s)
        await stage.pass_time(1)
        assert len(stage.requests(PHONE)) == 1
    await stage.clock.leap(late_s)
    await stage.until_state(PHONE, State("delivered", 2))
    stage.arrived_once(PHONE, 2)
    assert await stage.devices() == ["phone"]
    await stage.figures_are(busy=1, delivered=3, ended_delivered=3, entered=3, devices=3)


async def test_what_is_too_large_for_apple_is_sent_smaller_at_once(stage: AppleStage) -> None:
    await push_to_phone(stage, Answer(413, "PayloadTooLarge"), text="x" + "語" * 1000)
    await stage.until_state(PHONE, State("delivered", 2))
    stage.arrived_once(PHONE, 2)
    whole, small = stage.requests(PHONE)
    assert len(whole.body) > 2048 >= len(small.body)
    assert small.json["fetch"] is True
    assert await stage.devices() == ["phone"]
    await stage.figures_are(too_large=1, delivered=1, ended_delivered=1, entered=1, devices=3)


async def test_what_is_too_large_however_small_fails(stage: AppleStage) -> None:
    answer = Answer(413, "PayloadTooLarge")
    request = await push_to_phone(stage, answer, answer)
    await stage.until_state(PHONE, State("failed", 2, "PayloadTooLarge"))
    assert await told(stage, request) == ("phone", "apns", "failed", 2, "PayloadTooLarge")
    await stage.server.publish("alerts")
    await stage.until_state(WATCH, State("delivered", 1))
    assert await stage.devices() == ["phone"]


async def test_a_provider_token_that_apple_finds_too_old_is_signed_again_within_the_try(
    stage: AppleStage,
) -> None:
    await push_to_phone(stage)
    await stage.until_state(PHONE, State("delivered", 1))
    await stage.clock.leap(25 * 60)
    await push_to_phone(stage, Answer(403, "ExpiredProviderToken"), text="again")
    await stage.until_state(PHONE, State("delivered", 1), State("delivered", 1))
    tokens = [one.headers["authorization"] for one in stage.requests(PHONE)]
    assert tokens[0] == tokens[1] != tokens[2]
    assert await stage.paused() == []
    await stage.figures_are(delivered=2, ended_delivered=2, entered=2, devices=3)


async def test_a_declared_device_is_silent_once_it_is_gone(stages: AppleStages) -> None:
    phone = {"name": "phone", "kind": "apns", "token": PHONE, "bundle-id": APP}
    [phil] = PEOPLE["accounts"]  # type: ignore[misc]
    stage = await stages.set(accounts=[{**phil, "devices": [phone]}])
    await push_to_phone(stage)
    await stage.until_state(PHONE, State("delivered", 1))
    at_ms = round(stage.clock.now() * 1000)
    await push_to_phone(stage, Answer(410, "Unregistered", timestamp_ms=at_ms))
    failed = State("failed", 1, "Unregistered")
    await stage.until_state(PHONE, State("delivered", 1), failed)
    assert await stage.devices() == []
    await push_to_phone(stage)
    await stage.pass_time(1)
    assert len(stage.requests(PHONE)) == 2
    await stage.register(name="phone")
    await push_to_phone(stage)
    await stage.until_state(PHONE, State("delivered", 1), failed, State("delivered", 1))
