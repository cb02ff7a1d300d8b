"""When a service that fails is left alone, and when it is tried again: a circuit breaker. Pure.

Each push service has one (`lane`). An outage pauses it for a time that doubles with every outage in a row;
then one try goes alone, to see whether the others may follow. A service that says that we are misconfigured
waits for the operator: it is asked again every ten minutes.
"""

from __future__ import annotations

from collections.abc import Callable

from ntfyish.model.push import PushOutcome, Verdict

LONGEST_PAUSE_S = 60.0
MISCONFIGURED_PAUSE_S = 600.0
# What a service may ask for: who is sent away for longer asks again all the same.
LONGEST_RETRY_AFTER_S = 3600.0

_LONGEST_WAIT_S = 600.0
_PAUSES = (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED)

Random = Callable[[], float]  # returns a number from 0 up to 1


def backoff_s(attempt: int, random: Random, longest_s: float = _LONGEST_WAIT_S) -> float:
    """Return how long to wait after the try of that number (1 for the first): at most its power of 2."""
    return random() * min(longest_s, 2.0 ** min(attempt, 30))


def bounded_retry_after_s(outcome: PushOutcome) -> float:
    """Return how long the service wants to be left alone, within reason; 0 if it does not say."""
    return min(max(0.0, outcome.retry_after_s), LONGEST_RETRY_AFTER_S)


class Breaker:
    """Whether a service may be asked, judging by its last answers.

    Tries that were under way when it paused say nothing about the time after: only an answer counts then that
    is none of an outage.

    Attributes:
        is_open: whether there has been an outage, and no answer since.
        resumes_at: Unix seconds from which one try may go alone, while it is open.
        misconfigured: the service's word for what is wrong with us; "" for nothing.
        failures: outages in a row.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._generation = 0
        self._asked_until = 0.0
        self._is_probing = False
        self.is_open = False
        self.resumes_at = 0.0
        self.misconfigured = ""
        self.failures = 0

    def is_paused(self, now: float) -> bool:
        """Whether nothing may begin. A pause is over, too, if the clock has been set back before it."""
        if not self.is_open:
            return False
        return self._is_probing or now < self.resumes_at <= now + LONGEST_RETRY_AFTER_S

    def begin(self) -> int:
        """Note that a try begins; return what `note` or `interrupt` is to be told with it."""
        self._is_probing = self.is_open
        return self._generation

    def interrupt(self, begun: int) -> None:
        """Note that a try has ended without an answer, by no fault of the service."""
        if begun == self._generation:
            self._is_probing = False

    def note(self, begun: int, outcome: PushOutcome, now: float) -> None:
        """Take in an answer.

        Args:
            begun: what `begin` returned.
        """
        if outcome.verdict not in _PAUSES:
            if self.is_open and (begun == self._generation or now >= self._asked_until):
                self._close()
        elif begun == self._generation:
            self._pause(outcome, now)

    def _pause(self, outcome: PushOutcome, now: float) -> None:
        self._generation += 1
        self._is_probing = False
        self.is_open = True
        asked_s = bounded_retry_after_s(outcome)
        self._asked_until = now + asked_s
        if outcome.verdict is Verdict.MISCONFIGURED:
            self.misconfigured = outcome.reason or "refused"
            pause_s = MISCONFIGURED_PAUSE_S
        else:
            self.failures += 1
            longest_s = min(LONGEST_PAUSE_S, 2.0 ** min(self.failures, 30))
            pause_s = longest_s * (0.5 + 0.5 * self._random())
        self.resumes_at = now + max(pause_s, asked_s)

    def _close(self) -> None:
        self._generation += 1
        self._is_probing = False
        self.is_open = False
        self.misconfigured = ""
        self.failures = 0
