"""What Apple checks of a push before it takes it, with Apple's words for what is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

KEY_ID, TEAM_ID, BUNDLE_ID = "KEYID12345", "TEAMID1234", "app.example"
LARGEST_BYTES = 4096
STATUSES = {
    "MissingProviderToken": 403,
    "InvalidProviderToken": 403,
    "ExpiredProviderToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "PayloadTooLarge": 413,
}  # all others: 400

_HOUR_S = 3600
_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PUSH_TYPES = frozenset({b"alert", b"background", b"voip", b"complication", b"fileprovider", b"mdm"})


class Checks:
    """Knows whose pushes are taken: of whoever signs with the key, or (None) of anybody, to one app.

    Attributes:
        authorizations: the headers that were seen, and how often.
    """

    def __init__(
        self, key: EllipticCurvePublicKey | None, now: Callable[[], float], bundle_id: str = BUNDLE_ID
    ) -> None:
        self._key = key
        self._topic = bundle_id.encode()
        self._now = now
        self._issued: dict[bytes, float] = {}
        self.authorizations: Counter[bytes] = Counter()

    def find_fault(self, headers: dict[bytes, bytes], body: bytes) -> str:
        """Return Apple's word for what is wrong with a request; "" if nothing is."""
        if headers.get(b":method") != b"POST":
            return "MethodNotAllowed"
        if not headers.get(b":path", b"").startswith(b"/3/device/"):
            return "BadPath"
        return self._identity_fault(headers) or _headers_fault(headers) or _payload_fault(headers, body)

    def _identity_fault(self, headers: dict[bytes, bytes]) -> str:
        if not headers.get(b"apns-topic"):
            return "MissingTopic"
        if headers[b"apns-topic"] != self._topic:
            return "TopicDisallowed"
        if self._key is None:
            return ""
        authorization = headers.get(b"authorization", b"")
        if not authorization.startswith(b"bearer "):
            return "MissingProviderToken"
        self.authorizations[authorization] += 1
        issued_at = self._issued.get(authorization)
        if issued_at is None:
            if (issued_at := self._issued_at(authorization[7:].decode())) is None:
                return "InvalidProviderToken"
            self._issued[authorization] = issued_at
        return "" if abs(self._now() - issued_at) <= _HOUR_S else "ExpiredProviderToken"

    def _issued_at(self, token: str) -> float | None:
        assert self._key is not None
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["ES256"],
                options={"verify_iat": False, "require": ["iat", "iss"]},
            )
        except jwt.InvalidTokenError:
            return None
        if jwt.get_unverified_header(token).get("kid") != KEY_ID or claims["iss"] != TEAM_ID:
            return None
        return float(claims["iat"])


def _headers_fault(headers: dict[bytes, bytes]) -> str:
    if headers.get(b"apns-push-type") not in _PUSH_TYPES:
        return "InvalidPushType"
    if headers.get(b"apns-priority") not in (b"1", b"5", b"10"):
        return "BadPriority"
    if not headers.get(b"apns-expiration", b"").isdigit():
        return "BadExpirationDate"
    if _UUID.fullmatch(headers.get(b"apns-id", b"")) is None:
        return "BadMessageId"
    if not 0 < len(headers.get(b"apns-collapse-id", b"")) <= 64:
        return "BadCollapseId"
    if headers[b"apns-push-type"] == b"background" and headers[b"apns-priority"] != b"5":
        return "BadPriority"
    return ""


def _payload_fault(headers: dict[bytes, bytes], body: bytes) -> str:
    if len(body) > LARGEST_BYTES:
        return "PayloadTooLarge"
    try:
        aps = json.loads(body)["aps"]
        shown = aps["content-available"] if headers[b"apns-push-type"] == b"background" else aps["alert"]
    except (ValueError, KeyError, TypeError):
        return "PayloadEmpty"
    return "" if shown else "PayloadEmpty"
