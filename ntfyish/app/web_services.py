"""Makes what the dialects share about HTTP: streams, sockets of Open Clients, visitors, heads of answers.

Called by `lifetime`, between `core_services` and `dialects`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntfyish.app.core_services import Core
from ntfyish.core.feed import Feed
from ntfyish.web.push_socket import PushSockets
from ntfyish.web.responses import HeadWriter
from ntfyish.web.streams import Streams
from ntfyish.web.visitor import Visitors


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What the dialects share."""

    streams: Streams
    sockets: PushSockets
    visitors: Visitors
    heads: HeadWriter


def make_web(core: Core) -> Web:
    """Return what the dialects share; it hears of changes in the directory from now on."""
    settings, clock, data = core.settings, core.clock, core.data
    feed = Feed(data.store, data.hub, clock)
    streams = Streams(
        feed, core.tasks, core.access, clock.now, settings.subscriber_backlog_size_bytes, data.counters
    )
    data.directory.on_change(streams.recheck)
    visitors = Visitors(
        core.limits,
        core.logins,
        behind_proxy=settings.behind_proxy,
        forwarded_header=settings.proxy_forwarded_header,
        trusted=settings.proxy_trusted_hosts,
    )
    sockets = PushSockets(core.devices, data.directory, data.deliveries, core.tasks, clock)
    return Web(streams=streams, sockets=sockets, visitors=visitors, heads=HeadWriter(clock.now))
