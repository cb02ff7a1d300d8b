"""``GET /metrics``: figures for Prometheus, in its text format or as OpenMetrics.

`web.metric_rows` says which there are. Off unless a setting asks for it: among the other paths of the server
(`MetricsOnMain`), or on an address of its own (`MetricsAlone`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ntfyish.core.counters import Counters, Histogram
from ntfyish.core.figures import LiveFigures, StoredFigureReader
from ntfyish.core.limits import Visitor
from ntfyish.model.errors import Invalid, NotFound, NtfyishError
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.metric_rows import ROWS, Kind, Labelled, Row, Snapshot, Value

PATH = "/metrics"
_OPENMETRICS = "application/openmetrics-text"
_OPENMETRICS_TYPE = f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
_TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = (("Cache-Control", "no-cache"), ("Vary", "Accept"))
_TOTAL = "_total"

# Prometheus's library wants the names of counters to end in _total, and ntfy's do not.
_PLAIN_COUNTERS = frozenset(
    row.name for row in ROWS if row.kind is Kind.COUNTER and not row.name.endswith(_TOTAL)
)


class Metrics:
    """Says what the figures are.

    Args:
        live: returns what is in memory.
        now: Unix seconds.
    """

    def __init__(
        self,
        counters: Counters,
        live: Callable[[], LiveFigures],
        stored: StoredFigureReader,
        now: Callable[[], float],
    ) -> None:
        self._counters = counters
        self._live = live
        self._stored = stored
        self._now = now
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    async def answer(self, request: Request) -> Response:
        """Return the figures, in the format that the request accepts."""
        stored = await self._stored.newest()
        snapshot = Snapshot(counters=self._counters, live=self._live(), stored=stored, now=self._now())
        families = _Families(_families(snapshot), self._process)
        if _OPENMETRICS in request.headers.get("accept", "").lower():
            # In a thread: it reads files of the system, and lists all open ones.
            body = await asyncio.to_thread(generate_openmetrics, families)
            return Response(body=body, content_type=_OPENMETRICS_TYPE, headers=_HEADERS)
        body = await asyncio.to_thread(_as_text, families)
        return Response(body=body, content_type=_TEXT_TYPE, headers=_HEADERS)


class _Families(Collector):
    """Metrics that have been read, and those of the process, which are read as they are written."""

    def __init__(self, families: Sequence[Metric], process: CollectorRegistry) -> None:
        self._read = families
        self._process = process

    def collect(self) -> Iterable[Metric]:
        yield from self._read
        yield from self._process.collect()


def _as_text(families: Collector) -> bytes:
    text = generate_latest(families)
    for name in _PLAIN_COUNTERS:
        text = text.replace(f"# TYPE {name} untyped\n".encode(), f"# TYPE {name} counter\n".encode())
    return text


def _families(snapshot: Snapshot) -> Sequence[Metric]:
    """Return all rows whose values are known."""
    found = ((row, row.read(snapshot)) for row in ROWS)
    return [_family(row, value) for row, value in found if value is not None]


def _family(row: Row, value: Value) -> Metric:
    if isinstance(value, Histogram):
        return _histogram(row, value)
    kind = "unknown" if row.name in _PLAIN_COUNTERS else row.kind.value
    name = row.name.removesuffix(_TOTAL) if kind == Kind.COUNTER.value else row.name
    family = Metric(name, row.text, kind)
    values: Labelled = value if isinstance(value, Mapping) else {(): value}
    for labels, number in values.items():
        family.add_sample(row.name, dict(zip(row.labels, labels, strict=True)), number)
    return family


def _histogram(row: Row, histogram: Histogram) -> Metric:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    counts = list(accumulate(histogram.counts))
    return HistogramMetricFamily(
        row.name, row.text, buckets=list(zip(bounds, counts, strict=True)), sum_value=histogram.total
    )


class MetricsOnMain:
    """The figures among the other paths of the server; who asks and what is refused is as in ntfy's API.

    Args:
        identify: tells who is asking, and fails wrong credentials.
        refuse: puts an error into words.
    """

    def __init__(
        self,
        metrics: Metrics,
        identify: Callable[[Request], Awaitable[Visitor]],
        refuse: Callable[[Request, NtfyishError], Response],
    ) -> None:
        self._metrics = metrics
        self._identify = identify
        self._refuse = refuse

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers."""
        return self._answer if method in ("GET", "HEAD") and path == PATH else None

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Put `error` into words."""
        return self._refuse(request, error)

    async def _answer(self, request: Request) -> Response:
        (await self._identify(request)).take_request()
        return await self._metrics.answer(request)


class MetricsAlone:
    """The figures on an address of their own, where there is nothing else."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers."""
        return self._metrics.answer if method in ("GET", "HEAD") and path == PATH else None

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Return a status and no more than a line."""
        status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, Invalid) else 503
        return Response(status=status, body=b"%d\n" % status, content_type="text/plain", close=status != 404)
