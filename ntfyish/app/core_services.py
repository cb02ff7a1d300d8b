"""Opens the services of the core, in the order in which they need each other; the stack ends them in reverse.

Called by `lifetime`. What has to do with HTTP is made by `web_services` and `dialects` from what is here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from aiohttp.abc import AbstractResolver

from ntfyish.app.attachments import open_attachments
from ntfyish.app.data import Data, open_data
from ntfyish.app.limits import make_limits
from ntfyish.app.pushes import Pushes, open_pushes, open_senders
from ntfyish.app.sending import Sending, open_sending
from ntfyish.app.web_push import make_browsers, open_web_push
from ntfyish.core.access import Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.administration import Administration
from ntfyish.core.attachments import Attachments
from ntfyish.core.devices import Devices
from ntfyish.core.limits import Limits
from ntfyish.core.logins import Logins
from ntfyish.core.ports import Clock, PeopleStore
from ntfyish.core.pushes.devices import PushDevices
from ntfyish.core.pushes.lanes import FindSender
from ntfyish.core.quota import Quotas
from ntfyish.core.rate_owners import RateOwners
from ntfyish.core.statistics import Statistics
from ntfyish.core.tasks import Tasks
from ntfyish.core.timetable import Timetable
from ntfyish.model.acl import TopicAccess
from ntfyish.model.errors import Unavailable
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings import Settings

if TYPE_CHECKING:
    from ntfyish.core.pushes.browsers import Browsers

_log = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The services, ready for use, and the settings and clock that they were made with.

    Attributes:
        timetable: of all that happens by itself; empty, and not running yet.
        attachments: None if the server takes no files.
        browsers: None if there is no Web Push.
        disallowed_topics: what is never a topic.
        rate_owners: who pays for topics of UnifiedPush; None if that is always who publishes.
    """

    settings: Settings
    clock: Clock
    tasks: Tasks
    timetable: Timetable
    data: Data
    pushes: Pushes
    sending: Sending
    access: Access
    administration: Administration
    address_book: AddressBook
    limits: Limits
    rate_owners: RateOwners | None
    logins: Logins
    quotas: Quotas
    attachments: Attachments | None
    devices: Devices
    push_devices: PushDevices
    browsers: Browsers | None
    statistics: Statistics
    disallowed_topics: frozenset[str]


async def open_core(
    settings: Settings,
    clock: Clock,
    resolver: AbstractResolver | None,
    find_sender: FindSender | None,
    stack: AsyncExitStack,
) -> Core:
    """Open the services as long as `stack` lasts.

    Args:
        resolver: looks up the names in callbacks; the system's if None.
        find_sender: returns what pushes to a destination; what the settings say if None.

    Raises:
        DatabaseUnusable: the data cannot be used as it is.
        ExtraMissing: a setting needs what is not installed.
        SettingUnusable: a setting names a file that cannot be used.
    """
    data = await open_data(settings, clock, stack)
    web_push = await open_web_push(settings, clock, resolver, stack)
    access = _open_access(settings, clock, data, stack)
    tasks = await stack.enter_async_context(Tasks())
    timetable = Timetable(clock, tasks)
    if find_sender is None:
        find_sender = await open_senders(settings, clock, web_push, stack)
    pushes = await open_pushes(settings, clock, data, access, timetable, find_sender, stack)
    sending = await open_sending(settings, clock, data, timetable, pushes.fan_out, resolver, stack)
    limits = await make_limits(settings, clock, data)
    stack.push_async_callback(_note_last_counts, limits)
    disallowed = DISALLOWED | frozenset(settings.disallowed_topics)
    names = asyncio.Lock()  # of devices, whatever their kind
    return Core(
        settings=settings,
        clock=clock,
        tasks=tasks,
        timetable=timetable,
        data=data,
        pushes=pushes,
        sending=sending,
        access=access,
        administration=Administration(data.people, clock, load=data.newest, disallowed_topics=disallowed),
        address_book=AddressBook(data.directory, access, disallowed),
        limits=limits,
        rate_owners=_rate_owners(settings, clock, data, access, limits),
        logins=Logins(access, limits, clock),
        quotas=Quotas(clock, ZoneInfo(settings.pushover_quota_timezone), data.store.counter),
        attachments=await open_attachments(settings, clock, data, limits, stack),
        devices=Devices(data.people, data.store.queues, data.directory, clock, names),
        push_devices=PushDevices(
            data.people, data.directory, access, clock, settings.apns, names, disallowed
        ),
        browsers=make_browsers(settings, clock, data, web_push),
        statistics=Statistics(lambda: data.store.head, settings.manager_interval_s),
        disallowed_topics=disallowed,
    )


def _open_access(settings: Settings, clock: Clock, data: Data, stack: AsyncExitStack) -> Access:
    access = Access(data.directory, clock, TopicAccess(settings.auth_default_access))
    stack.callback(access.close)
    stack.push_async_callback(_note_last_uses, access, data.people)
    return access


def _rate_owners(
    settings: Settings, clock: Clock, data: Data, access: Access, limits: Limits
) -> RateOwners | None:
    if not settings.visitor_subscriber_rate_limiting:
        return None
    # They are kept in mind for longer than their topics.
    return RateOwners(access, limits, data.directory, clock, 2 * settings.global_topic_limit)


async def _note_last_counts(limits: Limits) -> None:
    try:
        await limits.messages.flush()
        await limits.bandwidth.flush()
    except Unavailable as error:
        _log.warning("Some messages of today are not counted: %s", error.reason.name)


async def _note_last_uses(access: Access, people: PeopleStore) -> None:
    try:
        await access.note_uses(people)
    except Unavailable as error:
        _log.warning("The last uses of tokens are not noted: %s", error.reason.name)
