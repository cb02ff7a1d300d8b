"""What can be wrong with a Pushover request, in Pushover's own words, and the table for the core's errors.

Clients compare these texts, so they are exact. One rule above all: ``"user": "invalid"`` is said of a
recipient that does not exist and of nothing else, because some senders then give the recipient up for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ntfyish.model.errors import Reason


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request.

    Attributes:
        field: the parameter at fault; "" for none in particular.
        phrase: what is said under the parameter's own name.
        sentence: what is said in the list `errors`.
    """

    field: str
    phrase: str
    sentence: str


TOKEN_INVALID = Fault("token", "invalid", "application token is invalid")
USER_UNKNOWN = Fault("user", "invalid", "user identifier is not a valid user, group, or subscribed user key")
USER_KEY_INVALID = Fault("user", "invalid", "user key is invalid")
USER_WITHOUT_DEVICES = Fault("user", "has no active devices", "user is valid but has no active devices")
DEVICE_UNKNOWN = Fault("device", "invalid for this user", "device name is not valid for this user")
MESSAGE_BLANK = Fault("message", "cannot be blank", "message cannot be blank")
EXPIRE_MISSING = Fault(
    "expire", "must be supplied with priority=2", "expire must be supplied with priority=2"
)
RETRY_MISSING = Fault("retry", "must be supplied with priority=2", "retry must be supplied with priority=2")
HTML_AND_MONOSPACE = Fault(
    "html", "cannot be used with monospace", "html and monospace are mutually exclusive"
)
SECRET_MISSING = Fault(
    "secret", "must be supplied", "secret must be supplied to download messages; send messages with POST"
)
SECRET_INVALID = Fault("secret", "invalid", "secret is invalid")
RECEIPT_UNKNOWN = Fault("receipt", "not found", "receipt not found; may be invalid or expired")
DELIVERIES_UNKNOWN = Fault("message", "not found", "message not found; may be unknown, old or not pushed")
LOGIN_WRONG = Fault("", "", "invalid email and/or password")
CODE_MISSING = Fault("twofa", "must be supplied", "two-factor code must be supplied")
CODE_WRONG = Fault("twofa", "invalid", "two-factor code is invalid")
DEVICE_ID_INVALID = Fault("device_id", "invalid", "device not found")
METHOD_WRONG = Fault("", "", "request method is not allowed for this resource")
RESOURCE_UNKNOWN = Fault("", "", "resource not found")
BODY_UNREADABLE = Fault("", "", "request body could not be parsed")


def invalid(field: str) -> Fault:
    """The value of `field` is not one of those allowed."""
    return Fault(field, "is invalid", f"{field} is invalid")


def too_long(field: str, limit: int) -> Fault:
    """The text of `field` has more than `limit` characters."""
    phrase = f"is too long (maximum is {limit} characters)"
    return Fault(field, phrase, f"{field} {phrase}")


def too_long_together(limit: int) -> Fault:
    """Title and message have more than `limit` characters."""
    phrase = f"is too long (maximum is {limit} characters, including the title)"
    return Fault("message", phrase, f"message {phrase}")


def too_many_users(limit: int) -> Fault:
    """The list of recipients is too long."""
    return Fault("user", "has too many entries", f"user may list at most {limit} keys")


def retry_too_small(least_s: int) -> Fault:
    """Repeats would come too often."""
    return Fault("retry", f"is too small, must be at least {least_s} seconds", "retry is invalid")


def expire_too_large(most_s: int) -> Fault:
    """Repeats would go on for too long."""
    return Fault("expire", f"is too large, must be at most {most_s} seconds", "expire is invalid")


def attachment_too_large(size_bytes: int, limit_bytes: int) -> Fault:
    """The file has more bytes than allowed. The missing parenthesis is Pushover's."""
    sentence = f"attachment is too large ({size_bytes} bytes is more than {limit_bytes} limit"
    return Fault("attachment", "is too large", sentence)


def quota_used_up(limit: int) -> Fault:
    """The app has sent all that it may send this month."""
    return Fault("token", "invalid", f"application has exceeded current limit of {limit} messages")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one of the core's reasons is answered; `close` ends the connection."""

    status: int
    fault: Fault
    close: bool = False


def _say(sentence: str, status: int = 400, field: str = "", phrase: str = "is invalid") -> Refusal:
    return Refusal(status, Fault(field, phrase, sentence))


_TEMPORARY = "server is temporarily unavailable, please try again later"

# A client gives up for good on every 4xx and tries again on every 5xx: the server's own trouble is 5xx.
REFUSALS: Mapping[Reason, Refusal] = MappingProxyType(
    {
        Reason.REQUEST_INVALID: Refusal(400, BODY_UNREADABLE),
        Reason.JSON_INVALID: Refusal(400, BODY_UNREADABLE),
        Reason.MESSAGE_NOT_UTF8: Refusal(400, invalid("message")),
        Reason.PRIORITY_INVALID: Refusal(400, invalid("priority")),
        Reason.TITLE_TOO_LARGE: _say("title is too long", 400, "title", "is too long"),
        Reason.TAGS_TOO_LARGE: _say("tags is too long", 400, "tags", "is too long"),
        Reason.TOPIC_INVALID: _say("recipient cannot be published to", 400, "user", "is not a topic"),
        Reason.TOPIC_DISALLOWED: _say("recipient cannot be published to", 400, "user", "is not allowed"),
        Reason.SINCE_INVALID: _say("since is invalid"),
        Reason.DELAY_UNPARSABLE: _say("delay is invalid"),
        Reason.DELAY_TOO_SMALL: _say("delay is too small"),
        Reason.DELAY_TOO_LARGE: _say("delay is too large"),
        Reason.DELAY_WITHOUT_CACHE: _say("delayed messages must be kept"),
        Reason.DELAY_WITH_EMAIL: _say("delayed messages cannot be sent by e-mail"),
        Reason.DELAY_WITH_CALL: _say("delayed messages cannot be sent by phone"),
        Reason.ATTACH_URL_INVALID: Refusal(400, invalid("attachment")),
        Reason.ATTACHMENTS_DISALLOWED: _say(
            "attachments are not allowed", 400, "attachment", "is not allowed"
        ),
        Reason.ATTACHMENT_EXPIRES_EARLY: _say("attachment expires too early", 400, "attachment"),
        Reason.ATTACHMENT_LIMIT: _say(
            "attachment is too large, or the limit of the account's attachments is reached",
            400,
            "attachment",
            "is too large",
        ),
        Reason.BANDWIDTH_LIMIT: _say("daily bandwidth is used up", 429),
        Reason.ICON_INVALID: _say("icon is invalid"),
        Reason.ACTIONS_INVALID: _say("actions are invalid"),
        Reason.SEQUENCE_ID_INVALID: _say("sequence id is invalid"),
        Reason.EMERGENCY_INVALID: _say("emergency is invalid"),
        Reason.EMAIL_DISABLED: _say("e-mail is not available"),
        Reason.EMAIL_INVALID: _say("e-mail address is invalid", 400, "email"),
        Reason.EMAIL_UNVERIFIED: _say("e-mail address is not verified", 400, "email"),
        Reason.EMAIL_ANONYMOUS: _say("e-mail needs an account"),
        Reason.EMAIL_LIMIT: _say("too many e-mails", 429),
        Reason.CALL_DISABLED: _say("phone calls are not available"),
        Reason.TEMPLATES_DISABLED: _say("templates are not available"),
        Reason.WEBSOCKET_EXPECTED: _say("websocket request expected"),
        Reason.PERMISSION_INVALID: _say("permission is invalid"),
        Reason.NAME_INVALID: _say("name is invalid"),
        Reason.PASSWORD_INVALID: _say("password cannot be used"),
        Reason.PASSWORD_WRONG: _say("password is wrong"),
        Reason.TOKEN_MISSING: _say("token is missing"),
        Reason.ACCOUNT_UNKNOWN: _say("account does not exist"),
        Reason.TIER_UNKNOWN: _say("tier does not exist"),
        Reason.SIGNUP_DISABLED: _say("sign-up is not enabled"),
        Reason.MATRIX_INVALID: _say("matrix notification is invalid"),
        Reason.WEB_PUSH_INVALID: _say("web push subscription is invalid"),
        Reason.WEB_PUSH_ENDPOINT_UNKNOWN: _say("web push endpoint is unknown"),
        Reason.WEB_PUSH_TOPICS: _say("too many web push topics"),
        Reason.UNAUTHENTICATED: Refusal(400, TOKEN_INVALID),
        Reason.FORBIDDEN: _say("application may not publish to this recipient"),
        Reason.NOT_FOUND: Refusal(404, RESOURCE_UNKNOWN),
        Reason.RECEIPT_UNKNOWN: Refusal(400, RECEIPT_UNKNOWN),
        Reason.CONFLICT: _say("already exists"),
        Reason.ACCOUNT_EXISTS: _say("account already exists"),
        Reason.ACCESS_EXISTS: _say("access entry already exists"),
        Reason.SUBSCRIPTION_EXISTS: _say("subscription already exists"),
        Reason.DECLARED: _say("is declared in the configuration"),
        Reason.JSON_TOO_LARGE: Refusal(413, Fault("", "", "request body is too large"), close=True),
        Reason.MATRIX_TOO_LARGE: Refusal(413, Fault("", "", "request body is too large"), close=True),
        Reason.BODY_TOO_LARGE: Refusal(413, Fault("", "", "request body is too large"), close=True),
        Reason.REQUEST_LIMIT: _say("too many requests, please slow down", 429),
        Reason.SUBSCRIPTION_LIMIT: _say("too many connections", 429),
        Reason.TOPIC_LIMIT: _say("too many topics", 429),
        Reason.NEW_TOPIC_LIMIT: _say("too many new topics", 429),
        Reason.AUTH_FAILURE_LIMIT: _say("too many failed attempts, please slow down", 429),
        Reason.SIGNUP_LIMIT: _say("too many accounts created", 429),
        Reason.RESERVATION_LIMIT: _say("too many reservations", 429),
        Reason.MESSAGE_QUOTA: _say(
            "application has exceeded its current limit of messages", 429, "token", "invalid"
        ),
        Reason.BODY_TIMEOUT: Refusal(408, Fault("", "", "request body took too long"), close=True),
        Reason.INTERNAL: _say("internal server error", 500),
        Reason.BASE_URL_MISSING: _say("server does not know its own address", 500),
        Reason.SUBSCRIBER_MISSING: _say(_TEMPORARY, 503),
        Reason.STORAGE_BUSY: _say(_TEMPORARY, 503),
        Reason.STORAGE_FULL: _say(_TEMPORARY, 507),
        Reason.STORAGE_BROKEN: _say(_TEMPORARY, 500),
        Reason.SHUTTING_DOWN: Refusal(503, Fault("", "", _TEMPORARY), close=True),
    }
)
