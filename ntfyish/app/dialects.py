"""Puts the dialects together: the router, and the two lanes that requests take to it.

Called by `lifetime`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntfyish.app.attachments import files
from ntfyish.app.core_services import Core
from ntfyish.app.ntfy import ntfy_dialect
from ntfyish.app.pushover import pushover_dialect
from ntfyish.app.web_services import Web
from ntfyish.web.front import Fronts
from ntfyish.web.http import Dialect
from ntfyish.web.router import Router
from ntfyish.web.server import AiohttpLane

if TYPE_CHECKING:
    from ntfyish.web.metrics import Metrics


def make_router(core: Core, web: Web, metrics: Metrics | None = None) -> Router:
    """Return the router of all dialects; ntfy's comes last, for it takes every path.

    Args:
        metrics: the figures for Prometheus, if they are to be found among the other paths.
    """
    router: Router

    def is_healthy() -> bool:
        return not router.shutting_down

    ntfy = ntfy_dialect(core, web, is_healthy)
    dialects: list[Dialect] = [pushover_dialect(core, web)]
    if core.attachments is not None:
        dialects.append(files(core.attachments, core.clock, ntfy))
    if metrics is not None:
        from ntfyish.web.metrics import MetricsOnMain

        dialects.append(MetricsOnMain(metrics, ntfy.identify, ntfy.refuse))
    dialects.append(ntfy)
    router = Router(dialects, core.data.counters)
    return router


def make_lanes(core: Core, web: Web, router: Router) -> tuple[AiohttpLane, Fronts]:
    """Return aiohttp's lane, and the front lane that hands over to it."""
    settings = core.settings
    lane = AiohttpLane(
        router,
        core.tasks,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        body_min_rate=settings.body_minimum_rate_bytes,
    )
    fronts = Fronts(
        router,
        core.tasks,
        core.clock,
        web.heads,
        lane.protocol,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
    )
    return lane, fronts
