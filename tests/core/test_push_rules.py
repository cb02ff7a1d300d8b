"""When a push service is left alone, and what is done about each of its answers: the pure rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.core.ports import ClaimedPush, PushedMessage
from ntfyish.core.pushes.breaker import MISCONFIGURED_PAUSE_S, Breaker, backoff_s
from ntfyish.core.pushes.verdicts import TOO_LARGE, judge, judge_gone
from ntfyish.model.push import PushOutcome, PushState, Verdict

NOW = 1_700_000_000.0
OUTAGES = (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED)


def outcome(verdict: Verdict, reason: str = "Word", retry_after_s: float = 0.0) -> PushOutcome:
    return PushOutcome(verdict=verdict, reason=reason, retry_after_s=retry_after_s)


def breaker(random: float = 1.0) -> Breaker:
    return Breaker(lambda: random)


def claimed(attempt: int = 1, reason: str = "") -> ClaimedPush:
    message = PushedMessage(
        id="m",
        request="",
        owner="",
        topic="t",
        collapse_id="m",
        created_at=NOW,
        expires_at=int(NOW),
        line=b"",
    )
    return ClaimedPush(7, message, "device", attempt, reason)


@pytest.mark.parametrize(
    ("random", "pauses"), [(1.0, [2, 4, 8, 16, 32, 60, 60]), (0.0, [1, 2, 4, 8, 16, 30, 30])]
)
def test_pauses_double_up_to_a_minute(random: float, pauses: list[float]) -> None:
    one, now = breaker(random), NOW
    for pause_s in pauses:
        begun = one.begin()
        one.note(begun, outcome(Verdict.UNAVAILABLE), now)
        assert one.is_paused(now + pause_s - 0.01)
        now += pause_s
        assert one.is_open
        assert not one.is_paused(now)
    one.note(one.begin(), outcome(Verdict.BUSY), now)
    assert not one.is_open
    one.note(one.begin(), outcome(Verdict.UNAVAILABLE), now)
    assert one.resumes_at == now + pauses[0]


def test_one_try_goes_ahead_at_a_time() -> None:
    one = breaker()
    one.note(one.begin(), outcome(Verdict.UNAVAILABLE), NOW)
    later = NOW + 2
    assert not one.is_paused(later)
    begun = one.begin()
    assert one.is_paused(later)
    one.interrupt(begun)
    assert not one.is_paused(later)


def test_what_began_before_an_outage_does_not_make_it_longer() -> None:
    one = breaker()
    tries = [one.begin() for _ in range(100)]
    for begun in tries:
        one.note(begun, outcome(Verdict.UNAVAILABLE), NOW)
    assert (one.failures, one.resumes_at) == (1, NOW + 2)


@pytest.mark.parametrize("verdict", [one for one in Verdict if one not in OUTAGES])
def test_any_other_answer_ends_an_outage(verdict: Verdict) -> None:
    one = breaker()
    first, second, third = one.begin(), one.begin(), one.begin()
    one.note(first, outcome(Verdict.UNAVAILABLE), NOW)
    one.note(second, outcome(verdict), NOW + 0.1)
    assert not one.is_open
    one.note(third, outcome(Verdict.UNAVAILABLE), NOW + 0.2)  # it began with the first
    assert not one.is_open


def test_a_pause_that_the_service_asks_for_is_kept() -> None:
    one = breaker()
    first, second = one.begin(), one.begin()
    one.note(first, outcome(Verdict.UNAVAILABLE, retry_after_s=50), NOW)
    one.note(second, outcome(Verdict.DELIVERED), NOW + 49)
    assert one.is_paused(NOW + 49.9)
    assert not one.is_paused(NOW + 50)
    one.note(one.begin(), outcome(Verdict.UNAVAILABLE, retry_after_s=1e9), NOW)
    assert one.resumes_at == NOW + 3600


def test_misconfiguration_waits_ten_minutes_and_for_an_answer() -> None:
    one = breaker()
    one.note(one.begin(), outcome(Verdict.MISCONFIGURED, "BadCertificate"), NOW)
    assert (one.misconfigured, one.resumes_at) == ("BadCertificate", NOW + MISCONFIGURED_PAUSE_S)
    one.note(one.begin(), outcome(Verdict.UNAVAILABLE), NOW + 600)
    assert one.misconfigured == "BadCertificate"
    one.note(one.begin(), outcome(Verdict.DELIVERED), NOW + 700)
    assert not one.misconfigured


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    one = breaker()
    one.note(one.begin(), outcome(Verdict.UNAVAILABLE), NOW)
    assert not one.is_paused(NOW - 86_400)


@given(st.lists(st.tuples(st.sampled_from([*Verdict, None]), st.floats(0, 100)), max_size=60))
def test_whatever_happens_it_comes_back(events: list[tuple[Verdict | None, float]]) -> None:
    one, now = breaker(0.5), NOW
    begun: list[int] = []
    for verdict, seconds in events:
        now += seconds
        if not one.is_paused(now):
            begun.append(one.begin())
        if begun and verdict is not None:
            one.note(begun.pop(0), outcome(verdict), now)
    for number in begun:
        one.interrupt(number)
    assert not one.is_paused(now + MISCONFIGURED_PAUSE_S)


@pytest.mark.parametrize("attempt", [1, 2, 5, 50, 10_000])
def test_waits_have_full_jitter_and_an_end(attempt: int) -> None:
    assert backoff_s(attempt, lambda: 0.0) == 0
    assert backoff_s(attempt, lambda: 1.0) == min(600, 2.0 ** min(attempt, 30))


@pytest.mark.parametrize(
    ("verdict", "state", "wait_s", "reason"),
    [
        (Verdict.DELIVERED, PushState.DELIVERED, 0, "Word"),
        (Verdict.REFUSED, PushState.FAILED, 0, "Word"),
        (Verdict.TOO_LARGE, PushState.PENDING, 0, TOO_LARGE),
        (Verdict.BUSY, PushState.PENDING, 8, "Word"),
        (Verdict.UNAVAILABLE, PushState.PENDING, 8, "Word"),
        (Verdict.MISCONFIGURED, PushState.PENDING, 0, "Word"),
    ],
)
def test_each_verdict_has_its_consequence(
    verdict: Verdict, state: PushState, wait_s: float, reason: str
) -> None:
    note = judge(claimed(attempt=3), outcome(verdict), NOW, lambda: 1.0)
    assert (note.entry, note.state, note.reason, note.at, note.attempted) == (7, state, reason, NOW, True)
    assert note.due_at == (NOW + wait_s if state is PushState.PENDING else 0)


def test_a_busy_device_waits_at_least_as_long_as_asked() -> None:
    note = judge(claimed(), outcome(Verdict.BUSY, retry_after_s=77), NOW, lambda: 1.0)
    assert note.due_at == NOW + 77


def test_a_small_push_that_is_too_large_fails() -> None:
    note = judge(claimed(2, TOO_LARGE), outcome(Verdict.TOO_LARGE), NOW, lambda: 1.0)
    assert (note.state, note.reason) == (PushState.FAILED, "Word")


@pytest.mark.parametrize(
    ("times", "is_back", "state"), [(1, False, "failed"), (3, True, "pending"), (4, True, "failed")]
)
def test_a_device_that_is_back_gets_three_more_tries(times: int, is_back: bool, state: str) -> None:
    note = judge_gone(claimed(), outcome(Verdict.GONE), NOW, lambda: 1.0, times=times, is_back=is_back)
    assert note.state.value == state
