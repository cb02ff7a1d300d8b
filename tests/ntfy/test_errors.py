"""Each reason in ntfy's words."""

from __future__ import annotations

import orjson
import pytest

from ntfyish.model.errors import Invalid, LimitReached, Reason, Unauthenticated, Unavailable
from ntfyish.web.ntfy.errors import WORDINGS, error_response

D = "https://ntfy.sh/docs/"

NTFY = {
    Reason.REQUEST_INVALID: (40000, "invalid request", ""),
    Reason.EMAIL_DISABLED: (40001, "e-mail notifications are not enabled", "config/#e-mail-notifications"),
    Reason.DELAY_WITHOUT_CACHE: (40002, "cannot disable cache for delayed message", ""),
    Reason.DELAY_WITH_EMAIL: (40003, "delayed e-mail notifications are not supported", ""),
    Reason.DELAY_UNPARSABLE: (
        40004,
        "invalid delay parameter: unable to parse delay",
        "publish/#scheduled-delivery",
    ),
    Reason.DELAY_TOO_SMALL: (
        40005,
        "invalid delay parameter: too small, please refer to the docs",
        "publish/#scheduled-delivery",
    ),
    Reason.DELAY_TOO_LARGE: (
        40006,
        "invalid delay parameter: too large, please refer to the docs",
        "publish/#scheduled-delivery",
    ),
    Reason.PRIORITY_INVALID: (40007, "invalid priority parameter", "publish/#message-priority"),
    Reason.SINCE_INVALID: (40008, "invalid since parameter", "subscribe/api/#fetch-cached-messages"),
    Reason.TOPIC_INVALID: (40009, "invalid request: topic invalid", ""),
    Reason.TOPIC_DISALLOWED: (40010, "invalid request: topic name is not allowed", ""),
    Reason.MESSAGE_NOT_UTF8: (40011, "invalid request: message must be UTF-8 encoded", ""),
    Reason.ATTACH_URL_INVALID: (40013, "invalid request: attachment URL is invalid", "publish/#attachments"),
    Reason.ATTACHMENTS_DISALLOWED: (40014, "invalid request: attachments not allowed", "config/#attachments"),
    Reason.WEBSOCKET_EXPECTED: (
        40016,
        "invalid request: client not using the websocket protocol",
        "subscribe/api/#websockets",
    ),
    Reason.ACTIONS_INVALID: (40018, "invalid request: actions invalid", "publish/#action-buttons"),
    Reason.ICON_INVALID: (40021, "invalid request: icon URL is invalid", "publish/#icons"),
    Reason.JSON_INVALID: (40024, "invalid request: request body must be valid JSON", ""),
    Reason.CALL_DISABLED: (40032, "invalid request: calling is disabled", "config/#phone-calls"),
    Reason.DELAY_WITH_CALL: (40037, "invalid request: delayed call notifications are not supported", ""),
    Reason.UNAUTHENTICATED: (40101, "unauthorized", "publish/#authentication"),
    Reason.FORBIDDEN: (40301, "forbidden", "publish/#authentication"),
    Reason.NOT_FOUND: (40401, "page not found", ""),
    Reason.ATTACHMENT_EXPIRES_EARLY: (
        40015,
        "invalid request: attachment expiry before delayed delivery date",
        "publish/#scheduled-delivery",
    ),
    Reason.BANDWIDTH_LIMIT: (42905, "limit reached: daily bandwidth reached", "publish/#limitations"),
    Reason.ATTACHMENT_LIMIT: (
        41301,
        "attachment too large, or bandwidth limit reached",
        "publish/#limitations",
    ),
    Reason.JSON_TOO_LARGE: (41303, "JSON body too large", ""),
    Reason.REQUEST_LIMIT: (42901, "limit reached: too many requests", "publish/#limitations"),
    Reason.SUBSCRIPTION_LIMIT: (
        42903,
        "limit reached: too many active subscriptions",
        "publish/#limitations",
    ),
    Reason.TOPIC_LIMIT: (
        42904,
        "limit reached: the total number of topics on the server has been reached, please contact the admin",
        "publish/#limitations",
    ),
    Reason.MESSAGE_QUOTA: (42908, "limit reached: daily message quota reached", "publish/#limitations"),
    Reason.INTERNAL: (50001, "internal server error", ""),
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_code_of_its_own_that_begins_with_its_status(reason: Reason) -> None:
    response = error_response(Invalid(reason))
    body = orjson.loads(response.body)
    assert body["http"] == response.status == body["code"] // 100
    assert body["error"]
    assert [other for other in Reason if WORDINGS[other].code == body["code"]] == [reason]


@pytest.mark.parametrize("reason", NTFY)
def test_ntfys_errors_are_worded_as_ntfys(reason: Reason) -> None:
    code, text, page = NTFY[reason]
    response = error_response(Invalid(reason))
    expected = {"code": code, "http": code // 100, "error": text}
    if page:
        expected["link"] = D + page
    assert list(orjson.loads(response.body).items()) == list(expected.items())


def test_the_response_is_a_line_of_json_that_any_page_may_read() -> None:
    response = error_response(Invalid(Reason.NOT_FOUND))
    assert response.body == b'{"code":40401,"http":404,"error":"page not found"}\n'
    assert response.content_type == "application/json"
    assert ("Access-Control-Allow-Origin", "*") in response.headers


def test_the_detail_follows_after_a_semicolon() -> None:
    response = error_response(Invalid(Reason.ACTIONS_INVALID, "only 3 actions allowed"))
    assert orjson.loads(response.body)["error"] == "invalid request: actions invalid; only 3 actions allowed"


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (5, "5"), (12.01, "13")])
def test_a_limit_says_in_whole_seconds_when_to_try_again(seconds: float, header: str) -> None:
    response = error_response(LimitReached(Reason.REQUEST_LIMIT, retry_after_s=seconds))
    assert dict(response.headers)["Retry-After"] == header


def test_a_limit_that_does_not_know_says_nothing() -> None:
    assert "Retry-After" not in dict(error_response(LimitReached(Reason.MESSAGE_QUOTA)).headers)


@pytest.mark.parametrize(
    ("reason", "status", "retry"),
    [
        (Reason.STORAGE_BUSY, 503, True),
        (Reason.STORAGE_BROKEN, 503, True),
        (Reason.SHUTTING_DOWN, 503, True),
        (Reason.STORAGE_FULL, 507, False),
        (Reason.BODY_TIMEOUT, 408, False),
    ],
)
def test_the_servers_own_trouble_has_its_own_status(reason: Reason, status: int, retry: bool) -> None:
    response = error_response(Unavailable(reason))
    assert response.status == status
    assert ("Retry-After" in dict(response.headers)) is retry
    assert response.close is (reason in (Reason.SHUTTING_DOWN, Reason.BODY_TIMEOUT))


def test_a_challenge_does_not_make_browsers_ask_for_a_password() -> None:
    challenge = dict(error_response(Unauthenticated()).headers)["WWW-Authenticate"]
    assert challenge.split()[0] == "Bearer"
