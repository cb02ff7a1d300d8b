"""Enters everything that happens by itself into the timetable. Called by `lifetime`."""

from __future__ import annotations

from ntfyish.app.core_services import Core
from ntfyish.app.web_services import Web
from ntfyish.core.access import NOTE_USES_S
from ntfyish.core.daily_counts import COUNTS_S, DAY_S, SUBJECT_PREFIX, day_of
from ntfyish.core.directory import REFRESH_S
from ntfyish.core.limits import Limits
from ntfyish.core.ports import Clock, MessageStore
from ntfyish.core.topics import SWEEP_S
from ntfyish.web.front import Fronts
from ntfyish.web.push_socket import PUSH_KEEPALIVE_S
from ntfyish.web.streams import EXPIRE_S

_SWEEP_S = 5.0
_RELEASE_BATCH = 500
_PRUNE_BATCH = 500


def enter_duties(core: Core, web: Web, fronts: Fronts) -> None:
    """Enter everything; `Timetable.run` does it."""
    _enter_sending(core)
    _enter_store(core)
    _enter_connections(core, web, fronts)
    _enter_visitors(core)


def _enter_sending(core: Core) -> None:
    store, timetable, sending = core.data.store, core.timetable, core.sending

    async def release(now: float) -> float | None:
        released = _RELEASE_BATCH
        while released == _RELEASE_BATCH:
            released = await store.release_due(now, _RELEASE_BATCH)
            if released:
                timetable.note("errands", now)
        return await store.next_due()

    timetable.when_due("repeat", sending.receipts.repeat)
    timetable.when_due("errands", sending.errands.run_due)
    timetable.when_due("pushes", core.pushes.lanes.run_due)
    timetable.when_due("release", release)


def _enter_store(core: Core) -> None:
    """Enter the deleting of what nobody can ask for any more, the counting, and the reading anew."""
    timetable, period_s = core.timetable, core.settings.manager_interval_s
    timetable.every("receipts", period_s, core.sending.receipts.purge)
    timetable.every("late errands", period_s, core.sending.errands.drop_late)
    timetable.every("late pushes", period_s, core.pushes.lanes.sweep)
    if core.attachments is not None:
        timetable.every("attachments", period_s, core.attachments.sweep)
    timetable.every("push devices", period_s, core.push_devices.sweep)
    if core.browsers is not None:
        timetable.every("browsers", period_s, core.browsers.sweep)
    timetable.every("prune", period_s, lambda: _prune(core.data.store, core.clock))
    timetable.every("statistics", period_s, core.statistics.sample)
    timetable.every("queues", period_s, core.devices.prune)
    timetable.every("refresh", REFRESH_S, core.data.directory.refresh)


def _enter_connections(core: Core, web: Web, fronts: Fronts) -> None:
    settings, clock, timetable, hub = core.settings, core.clock, core.timetable, core.data.hub
    timetable.every("keepalive", settings.keepalive_interval_s, lambda: hub.keepalive(lambda: clock.sleep(0)))
    timetable.every("push keepalive", PUSH_KEEPALIVE_S, web.sockets.keepalive)
    timetable.every("expire", EXPIRE_S, web.streams.expire)
    enter_sweep(core, "sweep", fronts)


def enter_sweep(core: Core, name: str, fronts: Fronts) -> None:
    """Enter the closing of connections that have been silent for too long."""
    core.timetable.every(name, min(_SWEEP_S, core.settings.body_timeout_s), fronts.sweep)


def _enter_visitors(core: Core) -> None:
    limits, clock, data, timetable = core.limits, core.clock, core.data, core.timetable
    timetable.every("topics", SWEEP_S, lambda: _sweep_topics(limits, clock))
    if core.rate_owners is not None:
        timetable.every("rate owners", SWEEP_S, core.rate_owners.sweep)
    timetable.every("counts", COUNTS_S, lambda: _keep_counts(limits, data.store, clock))
    timetable.every("uses", NOTE_USES_S, lambda: core.access.note_uses(data.people))


async def _prune(store: MessageStore, clock: Clock) -> None:
    now = clock.now()
    while await store.prune(now, _PRUNE_BATCH) == _PRUNE_BATCH:
        pass


async def _sweep_topics(limits: Limits, clock: Clock) -> None:
    limits.topics.sweep(clock.monotonic())


async def _keep_counts(limits: Limits, store: MessageStore, clock: Clock) -> None:
    """Write the counts that waited, and delete those of days before yesterday."""
    await limits.messages.flush()
    await limits.bandwidth.flush()
    yesterday = day_of(clock.now() - DAY_S)
    while await store.forget_counts(SUBJECT_PREFIX, yesterday, _PRUNE_BATCH) == _PRUNE_BATCH:
        pass
