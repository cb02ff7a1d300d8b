"""ntfy's errors: the one table from `Reason` to code, status, words and link. The routes use it.

Codes are ntfy's where it has one; the first three digits are always the status. Our own, for what ntfy
does not tell apart: 40091, 40491, 40801, 40900, 41300, 50301-50303, 50702.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from ntfyish.model.errors import LimitReached, NtfyishError, Reason
from ntfyish.web.http import Response

_DOCS = "https://ntfy.sh/docs/"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a reason is put.

    Attributes:
        code: five digits, the status first.
        text: ntfy's words.
        page: the page of ntfy's documentation that helps, relative to its root; "" if none does.
        retry_after_s: when it is worth another try, if the error itself does not say; 0 for never.
        close: whether the connection is of no more use.
    """

    code: int
    text: str
    page: str = ""
    retry_after_s: int = 0
    close: bool = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code // 100


_DELAY = "publish/#scheduled-delivery"
_LIMITS = "publish/#limitations"
_AUTH = "publish/#authentication"

WORDINGS: Mapping[Reason, Wording] = {
    Reason.REQUEST_INVALID: Wording(40000, "invalid request"),
    Reason.EMAIL_DISABLED: Wording(
        40001, "e-mail notifications are not enabled", "config/#e-mail-notifications"
    ),
    Reason.EMAIL_INVALID: Wording(40050, "invalid request: e-mail address invalid"),
    Reason.EMAIL_UNVERIFIED: Wording(
        40052, "invalid request: e-mail address not verified", "publish/#e-mail-notifications"
    ),
    Reason.EMAIL_ANONYMOUS: Wording(
        40053, "invalid request: anonymous e-mail sending is not allowed", "publish/#e-mail-notifications"
    ),
    Reason.DELAY_WITHOUT_CACHE: Wording(40002, "cannot disable cache for delayed message"),
    Reason.DELAY_WITH_EMAIL: Wording(40003, "delayed e-mail notifications are not supported"),
    Reason.DELAY_UNPARSABLE: Wording(40004, "invalid delay parameter: unable to parse delay", _DELAY),
    Reason.DELAY_TOO_SMALL: Wording(
        40005, "invalid delay parameter: too small, please refer to the docs", _DELAY
    ),
    Reason.DELAY_TOO_LARGE: Wording(
        40006, "invalid delay parameter: too large, please refer to the docs", _DELAY
    ),
    Reason.PRIORITY_INVALID: Wording(40007, "invalid priority parameter", "publish/#message-priority"),
    Reason.SINCE_INVALID: Wording(40008, "invalid since parameter", "subscribe/api/#fetch-cached-messages"),
    Reason.TOPIC_INVALID: Wording(40009, "invalid request: topic invalid"),
    Reason.TOPIC_DISALLOWED: Wording(40010, "invalid request: topic name is not allowed"),
    Reason.MESSAGE_NOT_UTF8: Wording(40011, "invalid request: message must be UTF-8 encoded"),
    Reason.ATTACH_URL_INVALID: Wording(
        40013, "invalid request: attachment URL is invalid", "publish/#attachments"
    ),
    Reason.ATTACHMENTS_DISALLOWED: Wording(
        40014, "invalid request: attachments not allowed", "config/#attachments"
    ),
    Reason.ATTACHMENT_EXPIRES_EARLY: Wording(
        40015, "invalid request: attachment expiry before delayed delivery date", _DELAY
    ),
    Reason.WEBSOCKET_EXPECTED: Wording(
        40016, "invalid request: client not using the websocket protocol", "subscribe/api/#websockets"
    ),
    Reason.ACTIONS_INVALID: Wording(40018, "invalid request: actions invalid", "publish/#action-buttons"),
    Reason.MATRIX_INVALID: Wording(40019, "invalid request: Matrix JSON invalid", "publish/#matrix-gateway"),
    Reason.ICON_INVALID: Wording(40021, "invalid request: icon URL is invalid", "publish/#icons"),
    Reason.SIGNUP_DISABLED: Wording(40022, "invalid request: signup not enabled", "config"),
    Reason.TOKEN_MISSING: Wording(40023, "invalid request: no token provided"),
    Reason.JSON_INVALID: Wording(40024, "invalid request: request body must be valid JSON"),
    Reason.PERMISSION_INVALID: Wording(40025, "invalid request: incorrect permission string"),
    Reason.PASSWORD_WRONG: Wording(40026, "invalid request: password confirmation is not correct"),
    Reason.TIER_UNKNOWN: Wording(40030, "invalid request: tier does not exist"),
    Reason.ACCOUNT_UNKNOWN: Wording(40031, "invalid request: user does not exist"),
    Reason.CALL_DISABLED: Wording(40032, "invalid request: calling is disabled", "config/#phone-calls"),
    Reason.DELAY_WITH_CALL: Wording(40037, "invalid request: delayed call notifications are not supported"),
    Reason.WEB_PUSH_INVALID: Wording(40038, "invalid request: web push payload malformed"),
    Reason.WEB_PUSH_ENDPOINT_UNKNOWN: Wording(40039, "invalid request: web push endpoint unknown"),
    Reason.WEB_PUSH_TOPICS: Wording(40040, "invalid request: too many web push topic subscriptions"),
    Reason.NAME_INVALID: Wording(40046, "invalid request: invalid username"),
    Reason.PASSWORD_INVALID: Wording(40059, "invalid request: password cannot be used"),
    # ntfy always has templates, so it has no code for this; the nearest is the one that fits templates
    # given by name as well as those in the message.
    Reason.TEMPLATES_DISABLED: Wording(
        40045, "invalid request: template execution failed", "publish/#message-templating"
    ),
    Reason.SEQUENCE_ID_INVALID: Wording(
        40049, "invalid request: sequence ID invalid", "publish/#updating-deleting-notifications"
    ),
    Reason.EMERGENCY_INVALID: Wording(40091, "invalid emergency"),
    Reason.TITLE_TOO_LARGE: Wording(40057, "invalid request: title too large", _LIMITS),
    Reason.TAGS_TOO_LARGE: Wording(40058, "invalid request: tags too large", _LIMITS),
    Reason.UNAUTHENTICATED: Wording(40101, "unauthorized", _AUTH),
    Reason.FORBIDDEN: Wording(40301, "forbidden", _AUTH),
    Reason.NOT_FOUND: Wording(40401, "page not found"),
    Reason.RECEIPT_UNKNOWN: Wording(40491, "receipt not found"),
    Reason.BODY_TIMEOUT: Wording(40801, "the request body came too slowly", close=True),
    Reason.CONFLICT: Wording(40900, "conflict"),
    Reason.ACCOUNT_EXISTS: Wording(40901, "conflict: user already exists"),
    Reason.ACCESS_EXISTS: Wording(
        40902, "conflict: access control entry for topic or topic pattern already exists"
    ),
    Reason.SUBSCRIPTION_EXISTS: Wording(40903, "conflict: topic subscription already exists"),
    Reason.DECLARED: Wording(40905, "conflict: cannot change what is declared in the configuration"),
    Reason.BODY_TOO_LARGE: Wording(41300, "request body too large", _LIMITS),
    Reason.ATTACHMENT_LIMIT: Wording(41301, "attachment too large, or bandwidth limit reached", _LIMITS),
    Reason.MATRIX_TOO_LARGE: Wording(41302, "Matrix request is larger than the max allowed length"),
    Reason.JSON_TOO_LARGE: Wording(41303, "JSON body too large"),
    Reason.REQUEST_LIMIT: Wording(42901, "limit reached: too many requests", _LIMITS),
    Reason.EMAIL_LIMIT: Wording(42902, "limit reached: too many emails", _LIMITS),
    Reason.SUBSCRIPTION_LIMIT: Wording(42903, "limit reached: too many active subscriptions", _LIMITS),
    Reason.TOPIC_LIMIT: Wording(
        42904,
        "limit reached: the total number of topics on the server has been reached, please contact the admin",
        _LIMITS,
    ),
    Reason.BANDWIDTH_LIMIT: Wording(42905, "limit reached: daily bandwidth reached", _LIMITS),
    Reason.MESSAGE_QUOTA: Wording(42908, "limit reached: daily message quota reached", _LIMITS),
    Reason.SIGNUP_LIMIT: Wording(42906, "limit reached: too many accounts created", _LIMITS),
    Reason.RESERVATION_LIMIT: Wording(42907, "limit reached: too many topic reservations for this user"),
    Reason.AUTH_FAILURE_LIMIT: Wording(42909, "limit reached: too many auth failures", _LIMITS),
    Reason.NEW_TOPIC_LIMIT: Wording(42911, "limit reached: too many new topics", _LIMITS),
    Reason.INTERNAL: Wording(50001, "internal server error"),
    Reason.BASE_URL_MISSING: Wording(
        50003, "internal server error: base-url must be be configured for this feature", "config/"
    ),
    Reason.STORAGE_BUSY: Wording(50301, "unavailable: the message store is busy", retry_after_s=1),
    Reason.STORAGE_BROKEN: Wording(50302, "unavailable: the message store is broken", retry_after_s=30),
    Reason.SHUTTING_DOWN: Wording(
        50303, "unavailable: the server is shutting down", retry_after_s=5, close=True
    ),
    # Not 4xx: some app servers would take the subscription for void, and forget it.
    Reason.SUBSCRIBER_MISSING: Wording(
        50701, "cannot publish to UnifiedPush topic without previously active subscriber"
    ),
    Reason.STORAGE_FULL: Wording(50702, "insufficient storage: the disk is full"),
}

_ALLOW_ORIGIN = ("Access-Control-Allow-Origin", "*")
# RFC 9110 wants a challenge with every 401. "Basic" would make browsers open their password dialog over
# a web app that handles the 401 itself; they leave a scheme alone that they do not know.
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="ntfyish"')


def error_response(error: NtfyishError) -> Response:
    """Return ntfy's response to `error`.

    The body is ``{"code","http","error","link"?}`` and a newline; the error's detail follows ntfy's words
    after "; ". 429 and 503 say when to try again.
    """
    wording = WORDINGS[error.reason]
    headers = [_ALLOW_ORIGIN]
    retry_after_s = wording.retry_after_s
    if isinstance(error, LimitReached) and error.retry_after_s > 0:
        retry_after_s = math.ceil(error.retry_after_s)
    if retry_after_s:
        headers.append(("Retry-After", str(retry_after_s)))
    if error.reason is Reason.UNAUTHENTICATED:
        headers.append(_CHALLENGE)
    return Response(
        status=wording.status,
        body=_body(wording, error.detail),
        headers=tuple(headers),
        close=wording.close,
        code=wording.code,
    )


def _body(wording: Wording, detail: str) -> bytes:
    body: dict[str, str | int] = {
        "code": wording.code,
        "http": wording.status,
        "error": f"{wording.text}; {detail}" if detail else wording.text,
    }
    if wording.page:
        body["link"] = _DOCS + wording.page
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
