"""What has happened since the start, counted by whoever does it; `web.metrics` shows it.

Plain numbers on one object, which the composition root makes and hands out: counting must cost next to
nothing on the hot path. What can be asked for at any time (topics, subscribers, waiting pushes) is not
counted here but read when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Seconds: from a message that is not stored to one behind a disk that stalls
PUBLISH_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# From a service nearby to one that hangs
PUSH_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """How often values fell into which range; costs a fifth of a microsecond a value.

    Attributes:
        bounds: the greatest value of each range, ascending; what is greater falls into one more.
        counts: of each range by itself, not of all up to it.
        total: the sum of the values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take in a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def _publish_histogram() -> Histogram:
    return Histogram(PUBLISH_BOUNDS_S)


def _push_histogram() -> Histogram:
    return Histogram(PUSH_BOUNDS_S)


@dataclass(slots=True)
class Counters:
    """The counts, all since the start.

    Attributes:
        published: publishes by any dialect, one to several recipients counted once.
        publish_failures: those that failed or were refused, once the publisher was let in.
        publish_duration_ms: of the last one, in milliseconds.
        publish_durations: of all, in seconds; without reading and understanding the request.
        unifiedpush_published: of these, by way of UnifiedPush.
        matrix_published, matrix_failures: by the Matrix gateway.
        emails_sent, email_send_failures: e-mails handed to the mail server, or given up.
        emails_received, email_receive_failures: e-mails taken in, or refused.
        http_requests: (status, error code of ntfy's or 0, method) -> answers; a stream counts when it begins,
            with status 200.
        pushes: (kind of service, verdict in lower case) -> tries.
        push_durations: of all tries, in seconds.
        push_results: (kind of service, final state) -> pushes.
        pushes_entered: kind of service -> pushes entered.
        push_paused: destination -> reason, for those that wait for the operator.
        receipts_begun, receipt_sends: emergencies, and how often they were sent.
        receipts_acknowledged, receipts_cancelled, receipts_expired: how they ended.
        deliveries: messages handed to subscribers (by the hub; counted a fan-out at a time).
        streams_dropped: readers that were cut because they fell behind.
        loop_lag_s, loop_lag_max_s: how late the event loop was when last looked at, and at most within a
            minute (`core.loop_lag`).
    """

    published: int = 0
    publish_failures: int = 0
    publish_duration_ms: float = 0.0
    publish_durations: Histogram = field(default_factory=_publish_histogram)
    unifiedpush_published: int = 0
    matrix_published: int = 0
    matrix_failures: int = 0
    emails_sent: int = 0
    email_send_failures: int = 0
    emails_received: int = 0
    email_receive_failures: int = 0
    http_requests: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    pushes: Counter[tuple[str, str]] = field(default_factory=Counter)
    push_durations: Histogram = field(default_factory=_push_histogram)
    push_results: Counter[tuple[str, str]] = field(default_factory=Counter)
    pushes_entered: Counter[str] = field(default_factory=Counter)
    push_paused: dict[str, str] = field(default_factory=dict)
    receipts_begun: int = 0
    receipt_sends: int = 0
    receipts_acknowledged: int = 0
    receipts_cancelled: int = 0
    receipts_expired: int = 0
    deliveries: int = 0
    streams_dropped: int = 0
    loop_lag_s: float = 0.0
    loop_lag_max_s: float = 0.0

    def note_publish(self, seconds: float) -> None:
        """Count a publish that took so long."""
        self.published += 1
        self.publish_duration_ms = seconds * 1000.0
        self.publish_durations.observe(seconds)
