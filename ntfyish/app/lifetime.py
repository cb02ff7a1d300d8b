"""The life of a server: open, assemble, listen, answer, end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from ntfyish.app.core_services import Core, open_core
from ntfyish.app.dialects import make_lanes, make_router
from ntfyish.app.duties import enter_duties
from ntfyish.app.listeners import is_loopback, listen
from ntfyish.app.mail import listen_for_mail
from ntfyish.app.web_services import Web, make_web
from ntfyish.core.clock import SystemClock
from ntfyish.core.first_start import FirstStart
from ntfyish.core.hub import Hub
from ntfyish.core.ports import Clock
from ntfyish.core.pushes.lanes import FindSender
from ntfyish.settings import Settings
from ntfyish.web.front import Fronts
from ntfyish.web.server import AiohttpLane
from ntfyish.web.streams import Streams

if TYPE_CHECKING:
    from ntfyish.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        url: where, over HTTP; "" if it listens on a Unix socket only.
        first: what was made at the first start, or None.
        mail_port: where mail comes in; 0 if none does.
        metrics_url: where the figures for Prometheus are; "" if there are none.
    """

    url: str
    first: FirstStart | None
    streams: Streams
    hub: Hub
    mail_port: int = 0
    metrics_url: str = ""


@asynccontextmanager
async def running(
    settings: Settings,
    clock: Clock | None = None,
    resolver: AbstractResolver | None = None,
    find_sender: FindSender | None = None,
) -> AsyncIterator[RunningServer]:
    """Run a server as long as the context lasts; leaving it ends it cleanly.

    Args:
        resolver: looks up the names in callbacks; the system's if None.
        find_sender: returns what pushes to a destination; what the settings say if None.

    Raises:
        DatabaseUnusable: the data cannot be used as it is.
        ExtraMissing: a setting needs what is not installed.
        SettingUnusable: a setting names a file that cannot be used.
        OSError: an address cannot be listened on.
    """
    async with AsyncExitStack() as stack:
        core = await open_core(settings, clock or SystemClock(), resolver, find_sender, stack)
        web = make_web(core)
        metrics = await _measure(core, web, stack)
        router = make_router(core, web, metrics if settings.metrics_listen_http is None else None)
        lane, fronts = make_lanes(core, web, router)
        enter_duties(core, web, fronts)
        mail_port = await listen_for_mail(core, stack)
        metrics_url = await _listen_for_metrics(core, web, metrics, stack)
        listeners, url = await listen(settings, fronts)
        if metrics is not None:
            metrics_url = f"{metrics_url or url}/metrics"
        _complete_links(core, url)
        core.tasks.spawn(core.timetable.run(), "timetable")
        try:
            yield RunningServer(url, core.data.first, web.streams, core.data.hub, mail_port, metrics_url)
        finally:
            router.shutting_down = True
            for listener in listeners:
                listener.close()
            await _end_connections(core, web, fronts, lane)


async def _measure(core: Core, web: Web, stack: AsyncExitStack) -> Metrics | None:
    """Return what says the figures; None if nobody wants any."""
    if not core.settings.enable_metrics and core.settings.metrics_listen_http is None:
        return None
    from ntfyish.app.metrics import measuring

    return await stack.enter_async_context(measuring(core, web))


async def _listen_for_metrics(core: Core, web: Web, metrics: Metrics | None, stack: AsyncExitStack) -> str:
    """Give the figures the address of their own that the settings name; return its URL, "" for none."""
    address = core.settings.metrics_listen_http
    if metrics is None or address is None:
        return ""
    from ntfyish.app.metrics import listening_for_metrics

    return await stack.enter_async_context(listening_for_metrics(core, web, metrics, address))


def _complete_links(core: Core, url: str) -> None:
    """Let links begin with where the server listens, if no setting says it and that is right for readers."""
    links, settings = core.sending.links, core.settings
    if not links.base_url and settings.listen_http and not settings.behind_proxy:
        links.base_url = url if is_loopback(url) else ""


async def _end_connections(core: Core, web: Web, fronts: Fronts, lane: AiohttpLane) -> None:
    """End streams at once, requests and pushes when they are answered or `shutdown_timeout_s` has passed."""
    core.tasks.start(core.pushes.lanes.finish(), "last pushes")
    web.streams.abort_all()
    web.sockets.restart()
    fronts.close_after_answers()
    await core.tasks.drain(core.settings.shutdown_timeout_s)
    web.streams.abort_all()
    fronts.close()
    await lane.close()
