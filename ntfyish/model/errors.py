"""The error tree and the reasons.

Core and dialects raise these; each dialect has one table that turns a `Reason` into its own status,
code and words. Nothing here knows an HTTP status.
"""

from __future__ import annotations

from enum import Enum, auto


class Reason(Enum):
    """Why a request is refused. Each dialect's error table covers every member (a test shows it)."""

    # What was asked for is malformed
    REQUEST_INVALID = auto()
    TOPIC_INVALID = auto()
    TOPIC_DISALLOWED = auto()
    PRIORITY_INVALID = auto()
    SINCE_INVALID = auto()
    DELAY_UNPARSABLE = auto()
    DELAY_TOO_SMALL = auto()
    DELAY_TOO_LARGE = auto()
    DELAY_WITHOUT_CACHE = auto()
    DELAY_WITH_EMAIL = auto()
    DELAY_WITH_CALL = auto()
    MESSAGE_NOT_UTF8 = auto()
    ATTACH_URL_INVALID = auto()
    ATTACHMENTS_DISALLOWED = auto()
    ATTACHMENT_EXPIRES_EARLY = auto()
    ICON_INVALID = auto()
    ACTIONS_INVALID = auto()
    SEQUENCE_ID_INVALID = auto()
    EMERGENCY_INVALID = auto()
    TITLE_TOO_LARGE = auto()
    TAGS_TOO_LARGE = auto()
    EMAIL_DISABLED = auto()
    EMAIL_INVALID = auto()
    EMAIL_UNVERIFIED = auto()
    EMAIL_ANONYMOUS = auto()
    CALL_DISABLED = auto()
    TEMPLATES_DISABLED = auto()
    WEBSOCKET_EXPECTED = auto()
    PERMISSION_INVALID = auto()
    NAME_INVALID = auto()
    PASSWORD_INVALID = auto()
    PASSWORD_WRONG = auto()
    TOKEN_MISSING = auto()
    ACCOUNT_UNKNOWN = auto()
    TIER_UNKNOWN = auto()
    SIGNUP_DISABLED = auto()
    JSON_INVALID = auto()
    MATRIX_INVALID = auto()
    WEB_PUSH_INVALID = auto()
    WEB_PUSH_ENDPOINT_UNKNOWN = auto()
    WEB_PUSH_TOPICS = auto()
    # Who asks
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    # What is asked for is not there, or clashes
    NOT_FOUND = auto()
    RECEIPT_UNKNOWN = auto()
    CONFLICT = auto()
    ACCOUNT_EXISTS = auto()
    ACCESS_EXISTS = auto()
    SUBSCRIPTION_EXISTS = auto()
    DECLARED = auto()
    # Too much
    JSON_TOO_LARGE = auto()
    MATRIX_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()
    ATTACHMENT_LIMIT = auto()
    BANDWIDTH_LIMIT = auto()
    REQUEST_LIMIT = auto()
    SUBSCRIPTION_LIMIT = auto()
    MESSAGE_QUOTA = auto()
    TOPIC_LIMIT = auto()
    NEW_TOPIC_LIMIT = auto()
    AUTH_FAILURE_LIMIT = auto()
    SIGNUP_LIMIT = auto()
    EMAIL_LIMIT = auto()
    RESERVATION_LIMIT = auto()
    # The server's own trouble
    BODY_TIMEOUT = auto()
    INTERNAL = auto()
    BASE_URL_MISSING = auto()
    SUBSCRIBER_MISSING = auto()
    STORAGE_BUSY = auto()
    STORAGE_FULL = auto()
    STORAGE_BROKEN = auto()
    SHUTTING_DOWN = auto()


class NtfyishError(Exception):
    """A refusal that a dialect can put into words.

    Attributes:
        reason: why.
        detail: extra words that help whoever asked ("" if there are none); never a secret.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.name, detail)
        self.reason = reason
        self.detail = detail


class Invalid(NtfyishError):
    """What was asked for is malformed or contradicts itself."""


class Unauthenticated(NtfyishError):
    """The credentials are wrong."""

    def __init__(self, reason: Reason = Reason.UNAUTHENTICATED, detail: str = "") -> None:
        super().__init__(reason, detail)


class Forbidden(NtfyishError):
    """Whoever asks may not do this."""

    def __init__(self, reason: Reason = Reason.FORBIDDEN, detail: str = "") -> None:
        super().__init__(reason, detail)


class NotFound(NtfyishError):
    """There is no such thing."""

    def __init__(self, reason: Reason = Reason.NOT_FOUND, detail: str = "") -> None:
        super().__init__(reason, detail)


class Conflict(NtfyishError):
    """It exists already, or was changed meanwhile."""

    def __init__(self, reason: Reason = Reason.CONFLICT, detail: str = "") -> None:
        super().__init__(reason, detail)


class TooLarge(NtfyishError):
    """More bytes than allowed."""


class LimitReached(NtfyishError):
    """Too often or too many.

    Attributes:
        retry_after_s: seconds until it is worth another try; 0 if unknown.
    """

    def __init__(self, reason: Reason, detail: str = "", *, retry_after_s: float = 0) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s


class Unavailable(NtfyishError):
    """The server cannot do it now (storage busy, full or broken; shutting down)."""
