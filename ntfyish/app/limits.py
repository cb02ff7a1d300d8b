"""Makes the limits of visitors from the settings; names of exempt hosts are looked up here.

Called by `core_services`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_network

from ntfyish.app.data import Data
from ntfyish.core.buckets import Rate
from ntfyish.core.limits import Limits, LimitValues, Network
from ntfyish.core.ports import Clock
from ntfyish.core.topics import IDLE_S
from ntfyish.settings import Settings

_log = logging.getLogger(__package__)


async def make_limits(settings: Settings, clock: Clock, data: Data) -> Limits:
    """Return the limits, which know the topics that are in use."""
    limits = Limits(
        await _limit_values(settings),
        clock,
        load=data.store.counter,
        write=data.store.post,
        find_tier=data.directory.find_tier,
        is_heard=data.hub.is_heard,
    )
    limits.topics.use(await data.store.topics(settings.global_topic_limit), clock.monotonic())
    return limits


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
