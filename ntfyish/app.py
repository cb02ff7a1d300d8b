"""The composition root: the only module that constructs services, opens sockets and ends the server.

`running` is a server as a context manager (tests use it with a clock of theirs); `serve` runs one until a
signal ends it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from ntfyish import __version__
from ntfyish.bus.local import LocalBus
from ntfyish.core.access import NOTE_USES_S, Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.administration import Administration
from ntfyish.core.buckets import Rate
from ntfyish.core.clock import SystemClock
from ntfyish.core.daily_counts import COUNTS_S, DAY_S, SUBJECT_PREFIX, day_of
from ntfyish.core.declared import declared_people
from ntfyish.core.directory import REFRESH_S, Directory
from ntfyish.core.feed import Feed
from ntfyish.core.first_start import FirstStart, make_first
from ntfyish.core.holdings import Holdings
from ntfyish.core.hub import Hub
from ntfyish.core.limits import Limits, LimitValues, Network
from ntfyish.core.logins import Logins
from ntfyish.core.ports import Clock, MessageStore, People, PeopleStore
from ntfyish.core.publisher import Publisher
from ntfyish.core.quota import Quotas
from ntfyish.core.statistics import Statistics
from ntfyish.core.tasks import Tasks
from ntfyish.core.timetable import Timetable
from ntfyish.core.topics import IDLE_S, SWEEP_S
from ntfyish.logs import logging_to
from ntfyish.model.acl import TopicAccess
from ntfyish.model.errors import Unavailable
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings import Settings
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.web.front import Fronts
from ntfyish.web.http import Dialect
from ntfyish.web.ntfy.accounts import Accounts
from ntfyish.web.ntfy.admin import Users
from ntfyish.web.ntfy.callers import Service
from ntfyish.web.ntfy.dialect import NtfyDialect
from ntfyish.web.ntfy.drafts import PublishLimits
from ntfyish.web.ntfy.rules import ServiceRules
from ntfyish.web.ntfy.service import ServerService
from ntfyish.web.pushover.dialect import PushoverDialect
from ntfyish.web.pushover.limits import OverLength, PushoverLimits
from ntfyish.web.responses import HeadWriter
from ntfyish.web.router import Router
from ntfyish.web.server import AiohttpLane
from ntfyish.web.streams import EXPIRE_S, Streams
from ntfyish.web.visitor import Visitors

_log = logging.getLogger(__name__)

_BACKLOG = 4096
_SWEEP_S = 5.0
_RELEASE_BATCH = 500
_PRUNE_BATCH = 500


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        url: where, over HTTP; "" if it listens on a Unix socket only.
        first: what was made at the first start, or None.
    """

    url: str
    first: FirstStart | None
    streams: Streams
    hub: Hub


@asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[RunningServer]:
    """Run a server as long as the context lasts; leaving it ends it cleanly.

    Raises:
        DatabaseUnusable: the data cannot be used as it is.
        OSError: an address cannot be listened on.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        hub = Hub(loop.call_soon)
        bus = LocalBus(hub)
        store = await stack.enter_async_context(
            MessageDatabase.open(
                settings.data_dir, clock, bus.announce, busy_timeout_s=settings.storage_busy_timeout_s
            )
        )
        people = await stack.enter_async_context(
            PeopleDatabase.open(settings.data_dir, busy_timeout_s=settings.storage_busy_timeout_s)
        )
        await people.reconcile(declared_people(settings))
        first = await make_first(people, monthly_limit=settings.pushover_monthly_limit)
        directory = Directory(people, clock)
        await directory.load()
        access = Access(directory, clock, TopicAccess(settings.auth_default_access))
        stack.callback(access.close)
        stack.push_async_callback(_note_last_uses, access, people)
        tasks = await stack.enter_async_context(Tasks())
        timetable = Timetable(clock, tasks)
        publisher = Publisher(
            store,
            bus,
            clock,
            cache_duration_s=settings.cache_duration_s,
            due=lambda due_at: timetable.note("release", due_at),
        )
        feed = Feed(store, hub, clock)
        streams = Streams(feed, tasks, access, clock.now, settings.subscriber_backlog_size_bytes)
        directory.on_change(streams.recheck)
        limits = Limits(
            await _limit_values(settings),
            clock,
            load=store.counter,
            write=store.post,
            find_tier=directory.find_tier,
            is_heard=hub.is_heard,
        )
        limits.topics.use(await store.topics(settings.global_topic_limit), clock.monotonic())
        stack.push_async_callback(_note_last_counts, limits)
        logins = Logins(access, limits, clock)
        visitors = Visitors(
            limits,
            logins,
            behind_proxy=settings.behind_proxy,
            forwarded_header=settings.proxy_forwarded_header,
            trusted=settings.proxy_trusted_hosts,
        )
        statistics = Statistics(lambda: store.head, settings.manager_interval_s)
        heads = HeadWriter(clock.now)
        disallowed = DISALLOWED | frozenset(settings.disallowed_topics)
        router: Router

        def is_healthy() -> bool:
            return not router.shutting_down

        dialects: list[Dialect] = [
            PushoverDialect(
                directory=AddressBook(directory, access, disallowed),
                publisher=publisher,
                quotas=Quotas(clock, ZoneInfo(settings.pushover_quota_timezone), store.counter),
                access=access,
                visitors=visitors,
                limits=_pushover_limits(settings),
            ),
            NtfyDialect(
                access=access,
                visitors=visitors,
                publisher=publisher,
                streams=streams,
                clock=clock,
                heads=heads,
                limits=PublishLimits(
                    message_size_bytes=settings.message_size_limit_bytes,
                    delay_minimum_s=settings.message_delay_minimum_s,
                    delay_limit_s=settings.message_delay_limit_s,
                ),
                disallowed_topics=disallowed,
                services=_services(
                    settings,
                    clock,
                    is_healthy,
                    store=store,
                    people=people,
                    directory=directory,
                    access=access,
                    logins=logins,
                    limits=limits,
                    publisher=publisher,
                    statistics=statistics,
                ),
            ),
        ]
        router = Router(dialects)
        lane = AiohttpLane(
            router,
            tasks,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            body_min_rate=settings.body_minimum_rate_bytes,
        )
        fronts = Fronts(
            router,
            tasks,
            clock,
            heads,
            lane.protocol,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
        )
        _set_timetable(timetable, clock, settings, store, hub, directory, fronts)
        timetable.every("topics", SWEEP_S, lambda: _sweep_topics(limits, clock))
        timetable.every("counts", COUNTS_S, lambda: _keep_counts(limits, store, clock))
        timetable.every("statistics", settings.manager_interval_s, statistics.sample)
        timetable.every("expire", EXPIRE_S, streams.expire)
        timetable.every("uses", NOTE_USES_S, lambda: access.note_uses(people))
        listeners, url = await _listen(settings, fronts)
        tasks.spawn(timetable.run(), "timetable")
        try:
            yield RunningServer(url, first, streams, hub)
        finally:
            router.shutting_down = True
            for listener in listeners:
                listener.close()
            streams.abort_all()
            fronts.close_after_answers()
            await tasks.drain(settings.shutdown_timeout_s)
            streams.abort_all()
            fronts.close()
            await lane.close()


def _services(
    settings: Settings,
    clock: Clock,
    healthy: Callable[[], bool],
    *,
    store: MessageStore,
    people: PeopleStore,
    directory: Directory,
    access: Access,
    logins: Logins,
    limits: Limits,
    publisher: Publisher,
    statistics: Statistics,
) -> tuple[Service, ...]:
    """Return what answers below ``/v1/``."""

    async def newest() -> People:
        await directory.refresh()
        return directory.people

    administration = Administration(
        people, clock, load=newest, disallowed_topics=DISALLOWED | frozenset(settings.disallowed_topics)
    )
    holdings = Holdings(directory)
    rules = ServiceRules(
        enable_signup=settings.enable_signup,
        enable_login=settings.enable_login,
        require_login=settings.require_login,
        enable_reservations=settings.enable_reservations,
        disallowed_topics=(*sorted(DISALLOWED), *settings.disallowed_topics),
        cache_duration_s=int(settings.cache_duration_s),
    )
    return (
        ServerService(
            healthy=healthy, statistics=statistics, directory=directory, limits=limits.values, rules=rules
        ),
        Accounts(
            administration=administration,
            directory=directory,
            holdings=holdings,
            access=access,
            logins=logins,
            publisher=publisher,
            store=store,
            clock=clock,
            rules=rules,
        ),
        Users(administration=administration, directory=directory, holdings=holdings, store=store),
    )


async def _limit_values(settings: Settings) -> LimitValues:
    return LimitValues(
        requests=Rate.of(settings.visitor_request_limit_burst, settings.visitor_request_limit_replenish_s),
        messages_a_day=settings.visitor_message_daily_limit,
        subscriptions=settings.visitor_subscription_limit,
        auth_failures=Rate.of(
            settings.visitor_auth_failure_limit_burst, settings.visitor_auth_failure_limit_replenish_s
        ),
        signups=Rate.of(
            settings.visitor_account_creation_limit_burst,
            settings.visitor_account_creation_limit_replenish_s,
        ),
        new_topics=Rate.of(
            settings.visitor_topic_creation_limit_burst, settings.visitor_topic_creation_limit_replenish_s
        ),
        topics=settings.global_topic_limit,
        topic_idle_s=max(IDLE_S, settings.cache_duration_s),
        exempt=await _resolve(settings.visitor_request_limit_exempt_hosts),
        ipv4_bits=settings.visitor_prefix_bits_ipv4,
        ipv6_bits=settings.visitor_prefix_bits_ipv6,
    )


async def _resolve(hosts: Iterable[object]) -> tuple[Network, ...]:
    """Return the networks that `hosts` are or, for names, have now."""
    loop = asyncio.get_running_loop()
    networks: list[Network] = []
    for host in map(str, hosts):
        try:
            networks.append(ip_network(host, strict=False))
            continue
        except ValueError:
            pass
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            _log.warning("visitor-request-limit-exempt-hosts: %s is not exempt: %s", host, error)
            continue
        networks += [ip_network(str(address[4][0]).partition("%")[0]) for address in found]
    return tuple(networks)


async def _sweep_topics(limits: Limits, clock: Clock) -> None:
    limits.topics.sweep(clock.monotonic())


async def _keep_counts(limits: Limits, store: MessageStore, clock: Clock) -> None:
    """Write the counts that waited, and delete those of days before yesterday."""
    await limits.messages.flush()
    yesterday = day_of(clock.now() - DAY_S)
    while await store.forget_counts(SUBJECT_PREFIX, yesterday, _PRUNE_BATCH) == _PRUNE_BATCH:
        pass


async def _note_last_counts(limits: Limits) -> None:
    try:
        await limits.messages.flush()
    except Unavailable as error:
        _log.warning("Some messages of today are not counted: %s", error.reason.name)


async def _note_last_uses(access: Access, people: PeopleStore) -> None:
    try:
        await access.note_uses(people)
    except Unavailable as error:
        _log.warning("The last uses of tokens are not noted: %s", error.reason.name)


def _set_timetable(
    timetable: Timetable,
    clock: Clock,
    settings: Settings,
    store: MessageStore,
    hub: Hub,
    directory: Directory,
    fronts: Fronts,
) -> None:
    """Enter everything that happens by itself."""

    async def release(now: float) -> float | None:
        while await store.release_due(now, _RELEASE_BATCH) == _RELEASE_BATCH:
            pass
        return await store.next_due()

    async def prune() -> None:
        now = clock.now()
        while await store.prune(now, _PRUNE_BATCH) == _PRUNE_BATCH:
            pass

    timetable.when_due("release", release)
    timetable.every("prune", settings.manager_interval_s, prune)
    timetable.every("keepalive", settings.keepalive_interval_s, lambda: hub.keepalive(lambda: clock.sleep(0)))
    timetable.every("refresh", REFRESH_S, directory.refresh)
    timetable.every("sweep", min(_SWEEP_S, settings.body_timeout_s), fronts.sweep)


async def serve(settings: Settings, announce: Callable[[RunningServer], None] = lambda server: None) -> int:
    """Run a server until SIGTERM or SIGINT, then end it; a second signal ends the process at once.

    Args:
        announce: called once the server answers.

    Returns the exit code.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    with logging_to(settings.log_file, level=settings.log_level, format=settings.log_format):
        _raise_file_limit()
        async with running(settings) as server:
            _log.info("ntfyish %s listens on %s, data in %s", __version__, server.url, settings.data_dir)
            announce(server)
            # What has been made so far stays for good: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
            sys.setswitchinterval(0.0001)
            await stop.wait()
            _log.info("Stopping")
        _log.info("Stopped")
    return 0


async def _listen(settings: Settings, fronts: Fronts) -> tuple[list[asyncio.AbstractServer], str]:
    loop = asyncio.get_running_loop()
    servers: list[asyncio.AbstractServer] = []
    url = ""
    if settings.listen_http is not None:
        for listener in _tcp_listeners(settings):
            servers.append(await loop.create_server(fronts, sock=listener, backlog=_BACKLOG))
            url = url or settings.listen_http.url(listener.getsockname()[1])
    if settings.listen_unix is not None:
        path = settings.listen_unix
        servers.append(await loop.create_unix_server(fronts, str(path), backlog=_BACKLOG))
        if settings.listen_unix_mode is not None:
            path.chmod(settings.listen_unix_mode)
    return servers, url


def _tcp_listeners(settings: Settings) -> list[socket.socket]:
    """Return bound sockets; what is set on them here, each accepted connection inherits."""
    address = settings.listen_http
    assert address is not None
    found = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    user_timeout_ms = int(2 * settings.keepalive_interval_s * 1000)
    listeners = []
    for family, kind, protocol, _, where in found:
        listener = socket.socket(family, kind, protocol)
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # One stuck phone would hold megabytes of kernel memory with the default buffer.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.subscriber_send_buffer_bytes)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            # A peer that vanished without a word is noticed two keepalives later.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        listener.bind(where)
        listeners.append(listener)
    return listeners


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets us have."""
    try:
        import resource
    except ImportError:  # not on this platform
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _pushover_limits(settings: Settings) -> PushoverLimits:
    return PushoverLimits(
        message_chars=settings.pushover_message_limit,
        title_chars=settings.pushover_title_limit,
        combined_chars=settings.pushover_message_limit if settings.pushover_profile == "legacy" else 0,
        url_chars=settings.pushover_url_limit,
        url_title_chars=settings.pushover_url_title_limit,
        over_length=OverLength(settings.pushover_over_length),
        relax_when_encrypted=settings.pushover_relax_when_encrypted,
        users=settings.pushover_users_limit,
        retry_min_s=int(settings.pushover_retry_min_s),
        expire_max_s=int(settings.pushover_expire_max_s),
        expire_tolerated_s=int(max(settings.pushover_expire_clamp_s, settings.pushover_expire_max_s)),
        device_strict=settings.pushover_strict_device,
    )
