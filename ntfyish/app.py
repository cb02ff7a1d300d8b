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
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from aiohttp.abc import AbstractResolver

from ntfyish import __version__
from ntfyish.bus.local import LocalBus
from ntfyish.core.access import NOTE_USES_S, Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.administration import Administration
from ntfyish.core.attachments import AttachmentRules, Attachments
from ntfyish.core.buckets import Rate
from ntfyish.core.clock import SystemClock
from ntfyish.core.daily_counts import COUNTS_S, DAY_S, SUBJECT_PREFIX, day_of
from ntfyish.core.declared import declared_people
from ntfyish.core.deliveries import Deliveries, TellingBus
from ntfyish.core.devices import Devices
from ntfyish.core.directory import REFRESH_S, Directory
from ntfyish.core.errands import Errands
from ntfyish.core.feed import Feed
from ntfyish.core.first_start import FirstStart, make_first
from ntfyish.core.glances import Glances
from ntfyish.core.groups import Groups
from ntfyish.core.holdings import Holdings
from ntfyish.core.hub import Hub
from ntfyish.core.letters import EMAIL, Letters
from ntfyish.core.limits import Limits, LimitValues, Network, account_of
from ntfyish.core.logins import Logins
from ntfyish.core.mailbox import Mailbox, MailRules
from ntfyish.core.ports import Clock, MailSender, MessageStore, People, PeopleStore
from ntfyish.core.publisher import Publisher
from ntfyish.core.quota import Quotas
from ntfyish.core.receipts import CALLBACK, Receipts
from ntfyish.core.sounds import Sounds
from ntfyish.core.statistics import Statistics
from ntfyish.core.subscriptions import Subscriptions
from ntfyish.core.tasks import Tasks
from ntfyish.core.teams import Teams
from ntfyish.core.timetable import Timetable
from ntfyish.core.topics import IDLE_S, SWEEP_S
from ntfyish.logs import logging_to
from ntfyish.model.acl import TopicAccess
from ntfyish.model.errors import Unavailable
from ntfyish.model.people import Tier
from ntfyish.model.topic import DISALLOWED
from ntfyish.push.callbacks import Callbacks
from ntfyish.settings import Settings
from ntfyish.store.files import FileFolder
from ntfyish.store.sqlite.messages import MessageDatabase
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.web.body import BODY_LIMIT_BYTES
from ntfyish.web.files import Files
from ntfyish.web.front import Fronts
from ntfyish.web.http import Dialect
from ntfyish.web.ntfy.accounts import Accounts
from ntfyish.web.ntfy.admin import Users
from ntfyish.web.ntfy.callers import Service
from ntfyish.web.ntfy.dialect import NtfyDialect
from ntfyish.web.ntfy.drafts import PublishLimits
from ntfyish.web.ntfy.emergencies import EmergencyLimits
from ntfyish.web.ntfy.rules import ServiceRules
from ntfyish.web.ntfy.service import ServerService
from ntfyish.web.push_socket import PUSH_KEEPALIVE_S, PushSockets
from ntfyish.web.pushover.calls import Calls
from ntfyish.web.pushover.custom_sounds import SoundCalls
from ntfyish.web.pushover.dialect import PushoverDialect
from ntfyish.web.pushover.dialect import Service as PushoverService
from ntfyish.web.pushover.glances import GlanceCalls
from ntfyish.web.pushover.groups import GroupCalls
from ntfyish.web.pushover.licenses import LicenseCalls
from ntfyish.web.pushover.limits import OverLength, PushoverLimits
from ntfyish.web.pushover.open_client import OpenClients
from ntfyish.web.pushover.receipts import AckLinks, ReceiptRoutes
from ntfyish.web.pushover.sounds import SOUNDS
from ntfyish.web.pushover.subscriptions import SubscriptionCalls
from ntfyish.web.pushover.teams import TeamCalls
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


class ExtraMissing(Exception):
    """A setting asks for what comes with an extra of the package that is not installed."""

    def __init__(self, key: str, extra: str) -> None:
        super().__init__(f"{key} needs a package that is not installed: pip install 'ntfyish[{extra}]'")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        url: where, over HTTP; "" if it listens on a Unix socket only.
        first: what was made at the first start, or None.
        mail_port: where mail comes in; 0 if none does.
    """

    url: str
    first: FirstStart | None
    streams: Streams
    hub: Hub
    mail_port: int = 0


@asynccontextmanager
async def running(
    settings: Settings, clock: Clock | None = None, resolver: AbstractResolver | None = None
) -> AsyncIterator[RunningServer]:
    """Run a server as long as the context lasts; leaving it ends it cleanly.

    Args:
        resolver: looks up the names in callbacks; the system's if None.

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
        people = await stack.enter_async_context(
            PeopleDatabase.open(settings.data_dir, busy_timeout_s=settings.storage_busy_timeout_s)
        )
        await people.reconcile(declared_people(settings))
        first = await make_first(people, monthly_limit=settings.pushover_monthly_limit)
        directory = Directory(people, clock)
        await directory.load()
        deliveries = Deliveries(directory)
        store = await stack.enter_async_context(
            MessageDatabase.open(
                settings.data_dir,
                clock,
                TellingBus(bus, deliveries).announce,
                busy_timeout_s=settings.storage_busy_timeout_s,
                plan=deliveries.plan,
            )
        )
        access = Access(directory, clock, TopicAccess(settings.auth_default_access))
        stack.callback(access.close)
        stack.push_async_callback(_note_last_uses, access, people)
        tasks = await stack.enter_async_context(Tasks())
        timetable = Timetable(clock, tasks)
        links = AckLinks(settings.base_url)
        publisher = Publisher(
            store,
            bus,
            clock,
            cache_duration_s=settings.cache_duration_s,
            due=lambda due_at: timetable.note("release", due_at),
            deliveries=deliveries,
            repeat_due=lambda due_at: timetable.note("repeat", due_at),
            link=links,
            errand_due=lambda due_at: timetable.note("errands", due_at),
        )
        receipts = Receipts(
            store.receipts,
            publisher,
            directory,
            clock,
            errand_due=lambda due_at: timetable.note("errands", due_at),
        )
        callbacks = await stack.enter_async_context(Callbacks(clock, settings.callback_allow, resolver))
        letters = Letters(
            _mail_sender(settings),
            clock,
            base_url=settings.base_url,
            from_address=settings.smtp_sender_from,
            verify=settings.smtp_sender_verify,
        )
        errands = Errands(
            store.outbox,
            clock,
            await stack.enter_async_context(Tasks()),
            {CALLBACK: callbacks, EMAIL: letters},
            due=lambda due_at: timetable.note("errands", due_at),
        )
        timetable.when_due("repeat", receipts.repeat)
        timetable.when_due("errands", errands.run_due)
        timetable.every("receipts", settings.manager_interval_s, receipts.purge)
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
        attachments = await _attachments(settings, stack, clock, store, limits, directory)
        logins = Logins(access, limits, clock)
        visitors = Visitors(
            limits,
            logins,
            behind_proxy=settings.behind_proxy,
            forwarded_header=settings.proxy_forwarded_header,
            trusted=settings.proxy_trusted_hosts,
        )
        devices = Devices(people, store.queues, directory, clock)
        sockets = PushSockets(devices, directory, deliveries, tasks, clock)
        statistics = Statistics(lambda: store.head, settings.manager_interval_s)
        heads = HeadWriter(clock.now)
        disallowed = DISALLOWED | frozenset(settings.disallowed_topics)
        router: Router

        def is_healthy() -> bool:
            return not router.shutting_down

        address_book = AddressBook(directory, access, disallowed)
        quotas = Quotas(clock, ZoneInfo(settings.pushover_quota_timezone), store.counter)
        dialects: list[Dialect] = [
            PushoverDialect(
                directory=address_book,
                publisher=publisher,
                quotas=quotas,
                access=access,
                visitors=visitors,
                limits=_pushover_limits(settings),
                attachments=attachments,
                services=(
                    ReceiptRoutes(address_book, visitors, receipts, _pushover_limits(settings), clock),
                    *_pushover_services(
                        store=store,
                        people=people,
                        directory=directory,
                        address_book=address_book,
                        access=access,
                        visitors=visitors,
                        devices=devices,
                        quotas=quotas,
                        publisher=publisher,
                        clock=clock,
                    ),
                ),
                open_clients=OpenClients(
                    devices, receipts, sockets, visitors, heads, _pushover_limits(settings)
                ),
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
                    uploads=attachments is not None,
                ),
                letters=letters,
                attachments=attachments,
                disallowed_topics=disallowed,
                emergency_limits=EmergencyLimits(
                    retry_min_s=int(settings.pushover_retry_min_s),
                    expire_max_s=int(settings.pushover_expire_max_s),
                    expire_tolerated_s=int(settings.pushover_expire_clamp_s),
                    url_chars=settings.pushover_url_limit,
                ),
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
        if attachments is not None:
            dialects.insert(-1, _files(attachments, clock, dialects[-1]))
            timetable.every("attachments", settings.manager_interval_s, attachments.sweep)
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
        timetable.every("push keepalive", PUSH_KEEPALIVE_S, sockets.keepalive)
        timetable.every("queues", settings.manager_interval_s, devices.prune)
        timetable.every("expire", EXPIRE_S, streams.expire)
        timetable.every("uses", NOTE_USES_S, lambda: access.note_uses(people))
        mailbox = Mailbox(
            MailRules(
                domain=settings.smtp_server_domain,
                prefix=settings.smtp_server_addr_prefix,
                message_bytes=settings.message_size_limit_bytes,
                message_chars=settings.pushover_message_limit,
                title_chars=settings.pushover_title_limit,
                disallowed_topics=disallowed,
            ),
            directory=directory,
            access=access,
            logins=logins,
            limits=limits,
            publisher=publisher,
            attachments=attachments,
        )
        mail_port = await _listen_for_mail(settings, stack, mailbox)
        listeners, url = await _listen(settings, fronts)
        if not links.base_url and settings.listen_http and not settings.behind_proxy:
            links.base_url = url if _is_loopback(url) else ""
        tasks.spawn(timetable.run(), "timetable")
        try:
            yield RunningServer(url, first, streams, hub, mail_port)
        finally:
            router.shutting_down = True
            for listener in listeners:
                listener.close()
            streams.abort_all()
            sockets.restart()
            fronts.close_after_answers()
            await tasks.drain(settings.shutdown_timeout_s)
            streams.abort_all()
            fronts.close()
            await lane.close()


def _is_loopback(url: str) -> bool:
    """Whether whoever reads messages there must be on this machine, so that the address is good for them."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or (bool(host) and ip_address(host).is_loopback)


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
        enable_emails=settings.smtp_sender_addr is not None,
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


async def _attachments(
    settings: Settings,
    stack: AsyncExitStack,
    clock: Clock,
    store: MessageDatabase,
    limits: Limits,
    directory: Directory,
) -> Attachments | None:
    """Return what takes files in; None if the server has no address that theirs could begin with."""
    if not settings.base_url:
        return None

    def find_tier(owner: str) -> Tier | None:
        account = directory.find_account(account_of(owner))
        return directory.find_tier(account.tier) if account is not None and account.tier else None

    folder = settings.attachment_cache_dir or settings.data_dir / "attachments"
    attachments = Attachments(
        AttachmentRules(
            base_url=settings.base_url,
            file_size_bytes=settings.attachment_file_size_limit_bytes,
            total_size_bytes=settings.attachment_total_size_limit_bytes,
            visitor_total_size_bytes=settings.visitor_attachment_total_size_limit_bytes,
            visitor_bandwidth_bytes=settings.visitor_attachment_daily_bandwidth_limit_bytes,
            expiry_s=int(settings.attachment_expiry_duration_s),
            cache_duration_s=int(settings.cache_duration_s),
            signed=settings.attachment_access == "signed",
        ),
        store.attachments,
        await stack.enter_async_context(FileFolder.open(folder)),
        clock,
        limits.bandwidth,
        find_tier,
    )
    await attachments.open()
    return attachments


def _files(attachments: Attachments, clock: Clock, ntfy: Dialect) -> Files:
    """Return what hands files out; who asks and what is refused is as in ntfy's API."""
    assert isinstance(ntfy, NtfyDialect)
    return Files(attachments, clock.now, ntfy.identify, ntfy.refuse)


def _mail_sender(settings: Settings) -> MailSender | None:
    """Return what sends e-mail; None if none is sent.

    Raises:
        ExtraMissing: it needs what is not installed.
    """
    server = settings.smtp_sender_addr
    if server is None:
        return None
    try:
        from ntfyish.mail.sender import SmtpSender
    except ImportError as error:
        raise ExtraMissing("smtp-sender-addr", "mail") from error
    return SmtpSender(
        server.host,
        server.port,
        user=settings.smtp_sender_user,
        password=settings.smtp_sender_pass,
        from_address=settings.smtp_sender_from,
    )


async def _listen_for_mail(settings: Settings, stack: AsyncExitStack, mailbox: Mailbox) -> int:
    """Take mail in as long as `stack` lasts; return the port, 0 if none is taken in.

    Raises:
        ExtraMissing: it needs what is not installed.
    """
    address = settings.smtp_server_listen
    if address is None:
        return 0
    try:
        from ntfyish.mail.listener import listening, tls_context
    except ImportError as error:
        raise ExtraMissing("smtp-server-listen", "mail") from error
    tls = None
    if settings.smtp_server_cert_file is not None:
        tls = tls_context(settings.smtp_server_cert_file, settings.smtp_server_key_file)
    return await stack.enter_async_context(
        listening(
            mailbox,
            host=address.host,
            port=address.port,
            domain=settings.smtp_server_domain,
            size_limit_bytes=settings.smtp_server_message_size_limit_bytes,
            tls=tls,
        )
    )


def _pushover_services(
    *,
    store: MessageDatabase,
    people: PeopleStore,
    directory: Directory,
    address_book: AddressBook,
    access: Access,
    visitors: Visitors,
    devices: Devices,
    quotas: Quotas,
    publisher: Publisher,
    clock: Clock,
) -> tuple[PushoverService, ...]:
    """Return what answers Pushover's calls that send no messages."""

    async def newest() -> People:
        await directory.refresh()
        return directory.people

    calls = Calls(address_book, visitors)
    groups = Groups(people, load=newest)
    return (
        GroupCalls(groups, directory, calls),
        LicenseCalls(directory, calls),
        SoundCalls(Sounds(people, SOUNDS, load=newest), people, directory, calls),
        TeamCalls(Teams(Administration(people, clock, load=newest), directory), groups, directory, visitors),
        SubscriptionCalls(Subscriptions(people, load=newest), devices, directory, visitors, calls),
        GlanceCalls(Glances(store.glances, publisher), address_book, access, quotas, calls),
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
        emails=Rate.of(settings.visitor_email_limit_burst, settings.visitor_email_limit_replenish_s),
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
    await limits.bandwidth.flush()
    yesterday = day_of(clock.now() - DAY_S)
    while await store.forget_counts(SUBJECT_PREFIX, yesterday, _PRUNE_BATCH) == _PRUNE_BATCH:
        pass


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
        attachment_bytes=settings.pushover_attachment_limit_bytes,
        body_bytes=max(BODY_LIMIT_BYTES, settings.pushover_attachment_limit_bytes * 4 // 3 + 200_000),
    )
