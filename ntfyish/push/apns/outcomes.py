"""What APNs' answers mean for a push and its device. Pure; used by `push.apns.sender`.

After Apple's table of status codes and reasons.
"""

from __future__ import annotations

from ntfyish.model.push import PushOutcome, Verdict
from ntfyish.model.retry_after import parse_retry_after
from ntfyish.push.apns.connection import ApnsAnswer
from ntfyish.push.apns.pool import CERTIFICATE_REFUSED, SERVER_NOT_TRUSTED

EXPIRED_TOKEN = "ExpiredProviderToken"

_NEVER_THIS_DEVICE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
_OUR_FAULT = frozenset(
    {
        "BadCertificate", "BadCertificateEnvironment", "BadEnvironmentKeyIdInToken", "BadTopic",
        "InvalidProviderToken", "MissingProviderToken", "MissingTopic", "TopicDisallowed",
        "UnrelatedKeyIdInToken", "TopicMismatch", EXPIRED_TOKEN,
        CERTIFICATE_REFUSED, SERVER_NOT_TRUSTED,
    }
)  # fmt: skip
# These are about the connection, not about the push.
_PASSING = frozenset({"IdleTimeout", "TooManyProviderTokenUpdates"})


def read_outcome(answer: ApnsAnswer, now: float) -> PushOutcome:
    """Return what an answer means; `now` in Unix seconds."""
    status, word = answer.status, answer.description or ""
    verdict = _verdict(status, word)
    reason = word or ("" if verdict is Verdict.DELIVERED else f"status {status}")
    gone_at = (answer.timestamp or 0) / 1000 if status == "410" else 0.0
    return PushOutcome(
        verdict=verdict,
        reason=reason,
        gone_at=max(0.0, gone_at),
        retry_after_s=parse_retry_after(answer.retry_after, now),
    )


def _verdict(status: str, reason: str) -> Verdict:
    match status:
        case "200":
            return Verdict.DELIVERED
        case "410":
            return Verdict.GONE
        case "413":
            return Verdict.TOO_LARGE
    if reason in _OUR_FAULT:
        return Verdict.MISCONFIGURED
    if reason in _PASSING:
        return Verdict.UNAVAILABLE
    match status:
        case "400" if reason in _NEVER_THIS_DEVICE:
            return Verdict.GONE
        case "403":
            return Verdict.MISCONFIGURED
        case "429":
            return Verdict.BUSY
        case "408":
            return Verdict.UNAVAILABLE
    return Verdict.REFUSED if status.startswith("4") else Verdict.UNAVAILABLE
