"""Assembles pushes to devices: what expands messages, the lanes, and the senders by their destinations.

Called by `core_services`. What the senders need is imported only if the settings ask for it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING

from ntfyish.app.data import Data
from ntfyish.app.extras import SettingUnusable
from ntfyish.core.access import Access
from ntfyish.core.ports import Clock, PushSender
from ntfyish.core.pushes.backlog import PushBacklog
from ntfyish.core.pushes.fan_out import PushFanOut
from ntfyish.core.pushes.graves import PushGraves
from ntfyish.core.pushes.lane import LaneParts
from ntfyish.core.pushes.lanes import FindSender, PushLanes
from ntfyish.core.pushes.maker import PushMaker
from ntfyish.core.pushes.recipients import PushRecipients
from ntfyish.core.tasks import Tasks
from ntfyish.core.timetable import Timetable
from ntfyish.model.push import PushKind
from ntfyish.settings import Settings
from ntfyish.settings.entries import ApnsEntry

if TYPE_CHECKING:
    from ntfyish.push.apns.sender import ApnsApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushes:
    """What pushes.

    Attributes:
        fan_out: does the errands of messages.
        lanes: send.
    """

    fan_out: PushFanOut
    lanes: PushLanes


async def open_pushes(
    settings: Settings,
    clock: Clock,
    data: Data,
    access: Access,
    timetable: Timetable,
    find_sender: FindSender,
    stack: AsyncExitStack,
) -> Pushes:
    """Return what pushes, as long as `stack` lasts."""
    outbox, counters = data.store.pushes, data.counters
    recipients = PushRecipients(data.directory, access)
    backlog = PushBacklog(
        outbox,
        clock,
        counters,
        limit=settings.push_queue_limit,
        retry_s=settings.push_retry_duration_s,
        kept_s=settings.push_status_duration_s,
    )
    parts = LaneParts(
        outbox=outbox,
        backlog=backlog,
        maker=PushMaker(recipients, backlog),
        graves=PushGraves(data.people, data.directory, clock, random),
        counters=counters,
        clock=clock,
        tasks=await stack.enter_async_context(Tasks()),
        random=random,
        tell=lambda due_at: timetable.note("pushes", due_at),
    )
    lanes = await stack.enter_async_context(PushLanes(parts, find_sender))
    fan_out = PushFanOut(
        data.store.post,
        clock,
        recipients,
        backlog,
        counters,
        expiry_s=settings.push_expiry_duration_s,
        wake=lanes.wake,
    )
    return Pushes(fan_out=fan_out, lanes=lanes)


async def open_senders(
    settings: Settings, clock: Clock, web_push: PushSender | None, stack: AsyncExitStack
) -> FindSender:
    """Return what finds the sender for a destination, as long as `stack` lasts.

    Args:
        web_push: pushes to browsers; None if nothing does.

    Raises:
        SettingUnusable: a key or certificate cannot be used.
    """
    apps: dict[str, PushSender] = {}
    for entry in settings.apns:
        destination, sender = await _open_apns(settings, entry, clock, stack)
        apps[destination] = sender

    def find_sender(destination: str) -> PushSender | None:
        if destination.startswith(f"{PushKind.WEB_PUSH}:"):
            return web_push
        return apps.get(destination)

    return find_sender


def find_push_faults(settings: Settings) -> list[str]:
    """Return which keys and certificates of apps cannot be used, and why."""
    if not settings.apns:
        return []
    from ntfyish.push.apns.sender import find_faults

    return [fault for entry in settings.apns for fault in find_faults(_app(entry))]


async def _open_apns(
    settings: Settings, entry: ApnsEntry, clock: Clock, stack: AsyncExitStack
) -> tuple[str, PushSender]:
    from ntfyish.push.apns.sender import ApnsSender, ApnsUnusable

    app = _app(entry)
    sender = ApnsSender(app, clock, connections=settings.push_connections)
    try:
        return app.destination, await stack.enter_async_context(sender)
    except ApnsUnusable as error:
        raise SettingUnusable(str(error)) from error


def _app(entry: ApnsEntry) -> ApnsApp:
    from ntfyish.push.apns.sender import PORT, ApnsApp

    return ApnsApp(
        bundle_id=entry.bundle_id,
        sandbox=entry.sandbox,
        key_file=entry.key_file,
        key_id=entry.key_id,
        team_id=entry.team_id,
        certificate_file=entry.certificate_file,
        host="" if entry.endpoint is None else entry.endpoint.host,
        port=PORT if entry.endpoint is None else entry.endpoint.port,
        ca_file=entry.ca_file,
        payload_keys=entry.payload_keys,
    )
