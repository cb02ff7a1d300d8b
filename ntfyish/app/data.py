"""Opens what is kept: everybody who is known, and the messages, with what is told when they change.

Called by `core_services`, before anything else is made.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ntfyish.bus.local import LocalBus
from ntfyish.core.counters import Counters
from ntfyish.core.declared import declared_people
from ntfyish.core.deliveries import Deliveries, TellingBus
from ntfyish.core.directory import Directory
from ntfyish.core.first_start import FirstStart, make_first
from ntfyish.core.hub import Hub
from ntfyish.core.ports import Clock, People
from ntfyish.settings import Settings
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.people import PeopleDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is kept, and who hears of it.

    Attributes:
        counters: what happens from now on; whoever does it counts.
        first: what was made at the first start, or None.
    """

    counters: Counters
    hub: Hub
    bus: LocalBus
    people: PeopleDatabase
    first: FirstStart | None
    directory: Directory
    deliveries: Deliveries
    store: MessageDatabase

    async def newest(self) -> People:
        """Return everybody, as the store has them now."""
        await self.directory.refresh()
        return self.directory.people


async def open_data(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Data:
    """Open the databases as long as `stack` lasts.

    Raises:
        DatabaseUnusable: the data cannot be used as it is.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    counters = Counters()
    hub = Hub(asyncio.get_running_loop().call_soon, counters=counters)
    bus = LocalBus(hub)
    people, first = await _open_people(settings, clock, stack)
    directory = Directory(people, clock)
    await directory.load()
    deliveries = Deliveries(directory, upstream=bool(settings.upstream_base_url))
    store = await stack.enter_async_context(
        MessageDatabase.open(
            settings.data_dir,
            clock,
            TellingBus(bus, deliveries).announce,
            busy_timeout_s=settings.storage_busy_timeout_s,
            plan=deliveries.plan_released,
        )
    )
    return Data(
        counters=counters,
        hub=hub,
        bus=bus,
        people=people,
        first=first,
        directory=directory,
        deliveries=deliveries,
        store=store,
    )


async def _open_people(
    settings: Settings, clock: Clock, stack: AsyncExitStack
) -> tuple[PeopleDatabase, FirstStart | None]:
    """Open the database of people, with those in it whom the configuration declares and a first one."""
    people = await stack.enter_async_context(
        PeopleDatabase.open(settings.data_dir, busy_timeout_s=settings.storage_busy_timeout_s)
    )
    await people.reconcile(declared_people(settings, clock.now()))
    return people, await make_first(people, monthly_limit=settings.pushover_monthly_limit)
