"""The state machine of emergencies, on its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.model.receipt import MAX_SENDS, Addressee, Receipt, ReceiptDraft, State, begin

START = 1_700_000_000.25
SOMEBODY = (Addressee(topic="alerts", message_id="m", secret="s"),)


def started(retry_s: int = 60, expire_s: int = 600) -> Receipt:
    return begin(
        ReceiptDraft(retry_s=retry_s, expire_s=expire_s),
        id="r",
        owner="",
        secret="",
        now=START,
        addressees=SOMEBODY,
    )


def test_a_receipt_begins_pending_and_sent_once() -> None:
    receipt = started()
    assert receipt.state(START) is State.PENDING
    assert (receipt.sends, receipt.last_delivered_at, receipt.next_at) == (1, int(START), START + 60)
    assert receipt.expires_at == int(START) + 600


def test_whoever_comes_first_stays() -> None:
    receipt = started().acknowledge(START + 1, "phil", "droid")
    assert receipt is not None
    assert receipt.acknowledge(START + 2, "vera", "pad") is receipt
    assert receipt.cancel(START + 3) is receipt
    assert not receipt.due(START + 60)


@pytest.mark.parametrize("after_s", [600, 10_000])
def test_nothing_changes_what_has_expired(after_s: int) -> None:
    receipt = started()
    assert receipt.state(START + after_s) is State.EXPIRED
    assert receipt.acknowledge(START + after_s, "phil", "") is None
    assert receipt.cancel(START + after_s) is receipt


def test_what_is_cancelled_has_expired_then() -> None:
    receipt = started().cancel(START + 30)
    assert receipt.state(START + 30) is State.CANCELLED
    assert (receipt.expires_at, receipt.has_expired(START + 30)) == (int(START) + 30, True)
    assert receipt.has_expired(START)  # by a clock that has been set back
    assert receipt.acknowledge(START + 31, "phil", "") is None


def test_an_acknowledged_one_expires_when_its_time_has_come() -> None:
    receipt = started().acknowledge(START + 1, "phil", "")
    assert receipt is not None
    assert not receipt.has_expired(receipt.expires_at - 1)
    assert receipt.has_expired(receipt.expires_at)
    assert receipt.state(receipt.expires_at) is State.ACKNOWLEDGED


def test_a_retry_longer_than_the_expiry_sends_once() -> None:
    receipt = started(retry_s=700)
    assert receipt.next_at == receipt.expires_at
    assert not receipt.due(receipt.next_at)


@given(
    retry_s=st.integers(30, 90_000),
    expire_s=st.integers(1, 90_000),
    delays=st.lists(st.floats(0, 5_000), max_size=80),
)
def test_sends_are_few_on_the_grid_and_never_late(retry_s: int, expire_s: int, delays: list[float]) -> None:
    receipt = started(retry_s, expire_s)
    for delay in delays:
        now = receipt.next_at + delay
        if not receipt.due(now):
            assert now >= receipt.ends_at
            break
        before, receipt = receipt, receipt.sent(now)
        assert receipt.sends == before.sends + 1 <= MAX_SENDS
        assert now < receipt.next_at <= now + retry_s + 1e-3
        if receipt.next_at < receipt.ends_at:
            slots = (receipt.next_at - START) / retry_s
            assert abs(slots - round(slots)) < 1e-6
            assert receipt.next_at < receipt.expires_at
    if receipt.sends == MAX_SENDS:
        assert not receipt.due(receipt.next_at)
