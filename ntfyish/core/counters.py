"""What has happened since the start, counted by whoever does it; `web.metrics` shows it.

Plain numbers on one object, which the composition root makes and hands out: counting must cost next to
nothing on the hot path. What can be asked for at any time (topics, subscribers, waiting pushes) is not
counted here but read when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """The counts, all since the start.

    Attributes:
        published, publish_failures: publishes by any dialect; a failure is the server's or a refusal.
        publish_duration_ms: of the last one, in milliseconds.
        unifiedpush_published: of these, by way of UnifiedPush.
        matrix_published, matrix_failures: by the Matrix gateway.
        emails_sent, email_send_failures: e-mails handed to the mail server, or given up.
        emails_received, email_receive_failures: e-mails taken in, or refused.
        http_requests: (status, error code of ntfy's or 0, method) -> answers.
        pushes: (kind of service, verdict in lower case) -> tries.
        push_latency_s, push_latency_count: time of all tries together in seconds, and how many.
        push_results: (kind of service, final state) -> pushes.
        pushes_entered: kind of service -> pushes entered.
        push_paused: destination -> reason, for those that wait for the operator.
        receipts_begun, receipt_sends, receipts_acknowledged, receipts_expired: emergencies.
        deliveries: messages handed to subscribers (by the hub; counted a fan-out at a time).
        streams_dropped: readers that were cut because they fell behind.
        loop_lag_s, loop_lag_max_s: how late the event loop was when last looked at, and at most since the
            figures were last read.
    """

    published: int = 0
    publish_failures: int = 0
    publish_duration_ms: float = 0.0
    unifiedpush_published: int = 0
    matrix_published: int = 0
    matrix_failures: int = 0
    emails_sent: int = 0
    email_send_failures: int = 0
    emails_received: int = 0
    email_receive_failures: int = 0
    http_requests: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    pushes: Counter[tuple[str, str]] = field(default_factory=Counter)
    push_latency_s: float = 0.0
    push_latency_count: int = 0
    push_results: Counter[tuple[str, str]] = field(default_factory=Counter)
    pushes_entered: Counter[str] = field(default_factory=Counter)
    push_paused: dict[str, str] = field(default_factory=dict)
    receipts_begun: int = 0
    receipt_sends: int = 0
    receipts_acknowledged: int = 0
    receipts_expired: int = 0
    deliveries: int = 0
    streams_dropped: int = 0
    loop_lag_s: float = 0.0
    loop_lag_max_s: float = 0.0
