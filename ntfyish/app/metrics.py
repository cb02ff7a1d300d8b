"""Assembles the figures for Prometheus, and opens the address of their own that they may have.

Called by `lifetime`, and only if a setting asks for figures: Prometheus's library takes time to import.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from ntfyish.app.core_services import Core
from ntfyish.app.dialects import make_lanes
from ntfyish.app.duties import enter_sweep
from ntfyish.app.listeners import listen_tcp
from ntfyish.app.web_services import Web
from ntfyish.core.counters import Counters
from ntfyish.core.directory import Directory
from ntfyish.core.figures import LiveFigures, StoredFigureReader
from ntfyish.core.loop_lag import measuring_loop_lag
from ntfyish.core.ports import People
from ntfyish.settings.values import ListenAddress
from ntfyish.web.metrics import Metrics, MetricsAlone
from ntfyish.web.router import Router


@asynccontextmanager
async def measuring(core: Core, web: Web) -> AsyncIterator[Metrics]:
    """Return what says the figures, among them some that are measured as long as the context lasts."""
    store = core.data.store
    stored = StoredFigureReader(store.figures, store.pushes, core.clock, core.tasks)
    with measuring_loop_lag(core.data.counters):
        yield Metrics(core.data.counters, _live_figures(core, web), stored, core.clock.now)


@asynccontextmanager
async def listening_for_metrics(
    core: Core, web: Web, metrics: Metrics, address: ListenAddress
) -> AsyncIterator[str]:
    """Answer on an address that is for the figures alone; gives its URL.

    Raises:
        OSError: it cannot be listened on.
    """
    router = Router([MetricsAlone(metrics)], Counters())  # who looks is no user, and not counted
    lane, fronts = make_lanes(core, web, router)
    enter_sweep(core, "metrics sweep", fronts)
    servers, url = await listen_tcp(address, core.settings, fronts)
    try:
        yield url
    finally:
        router.shutting_down = True
        for server in servers:
            server.close()
        fronts.close()
        await lane.close()


def _live_figures(core: Core, web: Web) -> Callable[[], LiveFigures]:
    figures = core.data.store.figures
    devices = _DeviceCounts(core.data.directory)

    def read() -> LiveFigures:
        return LiveFigures(
            visitors=core.limits.count_visitors(),
            accounts=len(core.data.directory.people.accounts),
            topics=len(core.limits.topics),
            subscribers=len(web.streams.open),
            open_clients=len(web.sockets.open),
            attachments_bytes=0 if core.attachments is None else core.attachments.total_bytes,
            push_devices=devices.read(),
            commits=figures.commits,
            writes=figures.writes,
            write_queue=figures.write_queue,
        )

    return read


class _DeviceCounts:
    """Counts the devices that are pushed to, once for each change of the directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._people: People | None = None
        self._counts: Mapping[str, int] = {}

    def read(self) -> Mapping[str, int]:
        people = self._directory.people
        if people is not self._people:
            self._people = people
            self._counts = Counter(one.kind.value for one in people.push_devices if not one.dead_at)
        return self._counts
