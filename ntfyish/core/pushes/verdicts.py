"""What is done about what a service said to a push: the rules, pure. `core.pushes.lane` follows them."""

from __future__ import annotations

from ntfyish.core.ports import ClaimedPush, PushNote
from ntfyish.core.pushes.breaker import Random, backoff_s, bounded_retry_after_s
from ntfyish.model.push import PushOutcome, PushState, Verdict

# By this last word the next try knows that it has to be smaller: Apple's, whatever the service calls it.
TOO_LARGE = "PayloadTooLarge"
MOST_GONE = 3  # further tries for a device that its service has disowned, but that was registered again
_OUTAGE_WAIT_S = 60.0


def is_small(claimed: ClaimedPush) -> bool:
    """Whether an earlier try of the push was too large."""
    return claimed.reason == TOO_LARGE


def judge(claimed: ClaimedPush, outcome: PushOutcome, now: float, random: Random) -> PushNote:
    """Return what becomes of a push after a try; `GONE` is for `judge_gone`.

    An outage is the service's trouble, not the push's: it waits a little, so that all that failed together
    does not come back together; how long the service is left alone is `core.pushes.breaker`'s matter.
    """
    match outcome.verdict:
        case Verdict.DELIVERED:
            return end(claimed, PushState.DELIVERED, outcome.reason, now)
        case Verdict.TOO_LARGE if not is_small(claimed):
            return again(claimed, TOO_LARGE, now, now)
        case Verdict.BUSY:
            wait_s = max(bounded_retry_after_s(outcome), backoff_s(claimed.attempt, random))
            return again(claimed, outcome.reason, now, now + wait_s)
        case Verdict.UNAVAILABLE:
            due_at = now + backoff_s(claimed.attempt, random, _OUTAGE_WAIT_S)
            return again(claimed, outcome.reason, now, due_at)
        case Verdict.MISCONFIGURED:
            return again(claimed, outcome.reason, now, now)
    return end(claimed, PushState.FAILED, outcome.reason, now)


def judge_gone(
    claimed: ClaimedPush, outcome: PushOutcome, now: float, random: Random, *, times: int, is_back: bool
) -> PushNote:
    """Return what becomes of a push whose device the service has disowned.

    Args:
        times: how often it has said so, of this push.
        is_back: the device has another token by now, or was registered after it was gone.
    """
    if is_back and times <= MOST_GONE:
        return again(claimed, outcome.reason, now, now + backoff_s(times, random))
    return end(claimed, PushState.FAILED, outcome.reason, now)


def end(
    claimed: ClaimedPush, state: PushState, reason: str, now: float, *, attempted: bool = True
) -> PushNote:
    """Return the note that a push has come to its end."""
    return PushNote(claimed.entry, state, reason, now, 0.0, attempted)


def again(
    claimed: ClaimedPush, reason: str, now: float, due_at: float, *, attempted: bool = True
) -> PushNote:
    """Return the note that a push is due again at that time. Once too large, it stays small."""
    word = claimed.reason if is_small(claimed) else reason
    return PushNote(claimed.entry, PushState.PENDING, word, now, due_at, attempted)
