"""What `web.metrics` shows: one row for each metric, with its name, kind and meaning, and how it is read.

Those that ntfy has are called as ntfy calls them and mean the same, so that its dashboards work; the others
begin with `ntfyish_`. No label has a topic, a person's name or a key as its value, and each has few values,
whatever is sent to the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from ntfyish import __version__
from ntfyish.core.counters import Counters, Histogram
from ntfyish.core.figures import LiveFigures, StoredFigures
from ntfyish.model.push import PushKind, PushState, Verdict

# A service says why it refuses in a word; whatever it says instead, it becomes a label that can be shown.
_LONGEST = 200

_ENDS = (PushState.DELIVERED, PushState.FAILED, PushState.EXPIRED, PushState.DROPPED)

Labelled = Mapping[tuple[str, ...], float]
Value = float | Labelled | Histogram


class Kind(Enum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the figures are at one moment (Unix seconds); `stored` is None if the store has not said yet."""

    counters: Counters
    live: LiveFigures
    stored: StoredFigures | None
    now: float


@dataclass(frozen=True, slots=True)
class Row:
    """A metric.

    Attributes:
        text: what it means.
        read: returns its value, or label values -> value, or None if it is not known.
    """

    name: str
    kind: Kind
    text: str
    read: Callable[[Snapshot], Value | None]
    labels: tuple[str, ...] = ()


def _http_requests(now: Snapshot) -> Labelled:
    """Count as ntfy does: the code of a success is its status and 00."""
    return {
        (str(int(status)), str(code or int(status) * 100), method): count
        for (status, code, method), count in now.counters.http_requests.items()
    }


def _pushes(now: Snapshot) -> Labelled:
    return _filled([verdict.name.lower() for verdict in Verdict], now.counters.pushes)


def _push_results(now: Snapshot) -> Labelled:
    return _filled([state.value for state in _ENDS], now.counters.push_results)


def _filled(ends: Sequence[str], counts: Counter[tuple[str, str]]) -> Labelled:
    """Return `counts`, and 0 for each kind and end that there has not been: rates need a beginning."""
    known = product([kind.value for kind in PushKind], ends)
    return {pair: counts[pair] for pair in (*known, *counts)}


def _by_kind(counts: Mapping[str, float]) -> Labelled:
    return {**{(kind,): 0 for kind in PushKind}, **{(kind,): count for kind, count in counts.items()}}


def _paused(now: Snapshot) -> Labelled:
    paused = now.counters.push_paused.items()
    return {(_plain(destination), _plain(reason)): 1 for destination, reason in paused}


def _plain(word: str) -> str:
    return word[:_LONGEST].encode("ascii", "replace").decode()


def _stored(read: Callable[[StoredFigures], Value]) -> Callable[[Snapshot], Value | None]:
    return lambda now: None if now.stored is None else read(now.stored)


def _oldest_push_age(now: Snapshot) -> float | None:
    if now.stored is None:
        return None
    return _age(now, now.stored.oldest_push_at)


def _errand_ages(now: Snapshot) -> Labelled | None:
    if now.stored is None:
        return None
    return {(kind,): _age(now, waiting.oldest_at) for kind, waiting in now.stored.rows.errands.items()}


def _age(now: Snapshot, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now.now - since)


ROWS: Sequence[Row] = (
    Row(
        "ntfy_messages_published_success",
        Kind.COUNTER,
        "Publishes, by any API; one to several recipients counts once.",
        lambda now: now.counters.published,
    ),
    Row(
        "ntfy_messages_published_failure",
        Kind.COUNTER,
        "Publishes that failed or were refused, after the publisher was let in.",
        lambda now: now.counters.publish_failures,
    ),
    Row(
        "ntfy_messages_cached_total",
        Kind.GAUGE,
        "Messages that can be read.",
        _stored(lambda stored: stored.rows.messages),
    ),
    Row(
        "ntfy_message_publish_duration_ms",
        Kind.GAUGE,
        "Time that the last publish took, in milliseconds.",
        lambda now: now.counters.publish_duration_ms,
    ),
    Row(
        "ntfy_emails_sent_success",
        Kind.COUNTER,
        "E-mails that the mail server has taken.",
        lambda now: now.counters.emails_sent,
    ),
    Row(
        "ntfy_emails_sent_failure",
        Kind.COUNTER,
        "E-mails that the mail server refused, or that were given up.",
        lambda now: now.counters.email_send_failures,
    ),
    Row(
        "ntfy_emails_received_success",
        Kind.COUNTER,
        "E-mails that came in and were published.",
        lambda now: now.counters.emails_received,
    ),
    Row(
        "ntfy_emails_received_failure",
        Kind.COUNTER,
        "E-mails, or their recipients, that were refused.",
        lambda now: now.counters.email_receive_failures,
    ),
    Row(
        "ntfy_unifiedpush_published_success",
        Kind.COUNTER,
        "Publishes by way of UnifiedPush, among all.",
        lambda now: now.counters.unifiedpush_published,
    ),
    Row(
        "ntfy_matrix_published_success",
        Kind.COUNTER,
        "Publishes by the Matrix gateway, among all.",
        lambda now: now.counters.matrix_published,
    ),
    Row(
        "ntfy_matrix_published_failure",
        Kind.COUNTER,
        "Requests to the Matrix gateway that failed or were refused.",
        lambda now: now.counters.matrix_failures,
    ),
    Row(
        "ntfy_attachments_total_size",
        Kind.GAUGE,
        "Bytes of all files.",
        lambda now: now.live.attachments_bytes,
    ),
    Row(
        "ntfy_visitors_total",
        Kind.GAUGE,
        "Accounts and networks that have used some of their limits lately, or have open streams.",
        lambda now: now.live.visitors,
    ),
    Row("ntfy_users_total", Kind.GAUGE, "Accounts.", lambda now: now.live.accounts),
    Row("ntfy_subscribers_total", Kind.GAUGE, "Open streams.", lambda now: now.live.subscribers),
    Row("ntfy_topics_total", Kind.GAUGE, "Topics in use.", lambda now: now.live.topics),
    Row(
        "ntfy_http_requests_total",
        Kind.COUNTER,
        "Answers, by status, ntfy's code (or the status and 00), and method (or OTHER); a stream counts when"
        " it begins, as 200.",
        _http_requests,
        ("http_code", "ntfy_code", "http_method"),
    ),
    Row(
        "ntfyish_build_info",
        Kind.GAUGE,
        "Always 1; the label says the version.",
        lambda now: {(__version__,): 1},
        ("version",),
    ),
    Row(
        "ntfyish_publish_duration_seconds",
        Kind.HISTOGRAM,
        "Time that publishes took until they were on disk and announced, without reading the requests.",
        lambda now: now.counters.publish_durations,
    ),
    Row(
        "ntfyish_fanout_deliveries_total",
        Kind.COUNTER,
        "Messages written to live streams, one for each reader.",
        lambda now: now.counters.deliveries,
    ),
    Row(
        "ntfyish_streams_dropped_total",
        Kind.COUNTER,
        "Streams that were cut because their readers were too slow.",
        lambda now: now.counters.streams_dropped,
    ),
    Row(
        "ntfyish_open_clients",
        Kind.GAUGE,
        "Connected Open Clients.",
        lambda now: now.live.open_clients,
    ),
    Row(
        "ntfyish_scheduled_messages",
        Kind.GAUGE,
        "Messages that are still to come.",
        _stored(lambda stored: stored.rows.scheduled),
    ),
    Row(
        "ntfyish_receipts_active",
        Kind.GAUGE,
        "Emergencies that are repeated until somebody acknowledges them.",
        _stored(lambda stored: stored.rows.receipts),
    ),
    Row(
        "ntfyish_receipts_begun_total",
        Kind.COUNTER,
        "Emergencies.",
        lambda now: now.counters.receipts_begun,
    ),
    Row(
        "ntfyish_receipt_sends_total",
        Kind.COUNTER,
        "How often emergencies were sent, the first time and again.",
        lambda now: now.counters.receipt_sends,
    ),
    Row(
        "ntfyish_receipts_acknowledged_total",
        Kind.COUNTER,
        "Emergencies that were acknowledged.",
        lambda now: now.counters.receipts_acknowledged,
    ),
    Row(
        "ntfyish_receipts_cancelled_total",
        Kind.COUNTER,
        "Emergencies that were cancelled.",
        lambda now: now.counters.receipts_cancelled,
    ),
    Row(
        "ntfyish_receipts_expired_total",
        Kind.COUNTER,
        "Emergencies that nobody acknowledged in time.",
        lambda now: now.counters.receipts_expired,
    ),
    Row(
        "ntfyish_errands_pending",
        Kind.GAUGE,
        "Callbacks, e-mails and the like that wait or are under way.",
        _stored(lambda stored: {(kind,): one.count for kind, one in stored.rows.errands.items()}),
        ("kind",),
    ),
    Row(
        "ntfyish_errands_oldest_age_seconds",
        Kind.GAUGE,
        "Age of the oldest of them.",
        _errand_ages,
        ("kind",),
    ),
    Row(
        "ntfyish_push_devices",
        Kind.GAUGE,
        "Devices that are pushed to.",
        lambda now: _by_kind(now.live.push_devices),
        ("kind",),
    ),
    Row(
        "ntfyish_pushes_entered_total",
        Kind.COUNTER,
        "Pushes that were entered into the queue, one for each device of a message.",
        lambda now: _by_kind(now.counters.pushes_entered),
        ("kind",),
    ),
    Row(
        "ntfyish_pushes_total",
        Kind.COUNTER,
        "Tries to push, by what the service said: delivered, gone, refused, too_large, busy, unavailable,"
        " misconfigured.",
        _pushes,
        ("kind", "verdict"),
    ),
    Row(
        "ntfyish_push_results_total",
        Kind.COUNTER,
        "Pushes that are over, by how they ended: delivered, failed, expired, dropped. Those whose place a"
        " later message has taken are in none of them.",
        _push_results,
        ("kind", "state"),
    ),
    Row(
        "ntfyish_push_duration_seconds",
        Kind.HISTOGRAM,
        "Time that tries to push took.",
        lambda now: now.counters.push_durations,
    ),
    Row(
        "ntfyish_push_queue_pending",
        Kind.GAUGE,
        "Pushes that wait or are under way.",
        _stored(lambda stored: _by_kind(stored.pushes)),
        ("kind",),
    ),
    Row(
        "ntfyish_push_queue_oldest_age_seconds",
        Kind.GAUGE,
        "Age of the oldest of them; 0 if there is none.",
        _oldest_push_age,
    ),
    Row(
        "ntfyish_push_destinations_paused",
        Kind.GAUGE,
        "1 for each destination whose pushes wait for the operator, because keys or names are wrong.",
        _paused,
        ("destination", "reason"),
    ),
    Row(
        "ntfyish_store_commits_total",
        Kind.COUNTER,
        "Transactions of the message database, each of which takes what has come meanwhile.",
        lambda now: now.live.commits,
    ),
    Row(
        "ntfyish_store_writes_total",
        Kind.COUNTER,
        "Pieces of work in these transactions; a publish is one.",
        lambda now: now.live.writes,
    ),
    Row(
        "ntfyish_store_write_queue",
        Kind.GAUGE,
        "Pieces of work that wait for the next transaction.",
        lambda now: now.live.write_queue,
    ),
    Row(
        "ntfyish_store_figures_age_seconds",
        Kind.GAUGE,
        "Age of the figures that are read from the store; grows while it does not answer.",
        lambda now: None if now.stored is None else _age(now, now.stored.read_at),
    ),
    Row(
        "ntfyish_event_loop_lag_seconds",
        Kind.GAUGE,
        "How late the event loop was when last looked at, which is twice a second.",
        lambda now: now.counters.loop_lag_s,
    ),
    Row(
        "ntfyish_event_loop_lag_max_seconds",
        Kind.GAUGE,
        "How late it was at most within a minute.",
        lambda now: now.counters.loop_lag_max_s,
    ),
)
