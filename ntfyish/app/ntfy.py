"""Assembles ntfy's API from the services and the settings. Called by `dialects`."""

from __future__ import annotations

from collections.abc import Callable

from ntfyish.app.core_services import Core
from ntfyish.app.web_services import Web
from ntfyish.core.holdings import Holdings
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings import Settings
from ntfyish.web.ntfy.accounts import Accounts
from ntfyish.web.ntfy.admin import Users
from ntfyish.web.ntfy.callers import Service
from ntfyish.web.ntfy.dialect import NtfyDialect
from ntfyish.web.ntfy.drafts import PublishLimits
from ntfyish.web.ntfy.emergencies import EmergencyLimits
from ntfyish.web.ntfy.matrix import MatrixGateway
from ntfyish.web.ntfy.publishing import Publishing
from ntfyish.web.ntfy.rules import ServiceRules
from ntfyish.web.ntfy.service import ServerService
from ntfyish.web.ntfy.web_push import WebPush


def ntfy_dialect(core: Core, web: Web, is_healthy: Callable[[], bool]) -> NtfyDialect:
    """Return ntfy's API.

    Args:
        is_healthy: whether the server means to go on answering.
    """
    publishing = Publishing(
        access=core.access,
        publisher=core.sending.publisher,
        disallowed_topics=core.disallowed_topics,
        attachments=core.attachments,
        rate_owners=core.rate_owners,
    )
    return NtfyDialect(
        access=core.access,
        visitors=web.visitors,
        publishing=publishing,
        streams=web.streams,
        clock=core.clock,
        heads=web.heads,
        limits=_publish_limits(core.settings, uploads=core.attachments is not None),
        letters=core.sending.letters,
        attachments=core.attachments,
        rate_owners=core.rate_owners,
        emergency_limits=_emergency_limits(core.settings),
        services=(*_services(core, is_healthy), _matrix(core, publishing)),
    )


def _matrix(core: Core, publishing: Publishing) -> MatrixGateway:
    return MatrixGateway(
        publishing,
        base_url=core.settings.base_url,
        size_limit=core.settings.message_size_limit_bytes,
        rate_owners=core.rate_owners,
        counters=core.data.counters,
    )


def _services(core: Core, is_healthy: Callable[[], bool]) -> tuple[Service, ...]:
    """Return what answers below ``/v1/``."""
    data, directory = core.data, core.data.directory
    holdings = Holdings(directory)
    rules = _rules(core.settings)
    browsers: tuple[Service, ...] = ()
    if core.browsers is not None:
        browsers = (WebPush(core.browsers, core.access, core.disallowed_topics),)
    return (
        *browsers,
        ServerService(
            healthy=is_healthy,
            statistics=core.statistics,
            directory=directory,
            limits=core.limits.values,
            rules=rules,
        ),
        Accounts(
            administration=core.administration,
            directory=directory,
            holdings=holdings,
            access=core.access,
            logins=core.logins,
            publisher=core.sending.publisher,
            store=data.store,
            clock=core.clock,
            rules=rules,
        ),
        Users(administration=core.administration, directory=directory, holdings=holdings, store=data.store),
    )


def _rules(settings: Settings) -> ServiceRules:
    return ServiceRules(
        enable_signup=settings.enable_signup,
        enable_login=settings.enable_login,
        require_login=settings.require_login,
        enable_reservations=settings.enable_reservations,
        enable_emails=settings.smtp_sender_addr is not None,
        web_push_public_key=settings.web_push_public_key,
        disallowed_topics=(*sorted(DISALLOWED), *settings.disallowed_topics),
        cache_duration_s=int(settings.cache_duration_s),
    )


def _publish_limits(settings: Settings, *, uploads: bool) -> PublishLimits:
    return PublishLimits(
        message_size_bytes=settings.message_size_limit_bytes,
        delay_minimum_s=settings.message_delay_minimum_s,
        delay_limit_s=settings.message_delay_limit_s,
        uploads=uploads,
    )


def _emergency_limits(settings: Settings) -> EmergencyLimits:
    return EmergencyLimits(
        retry_min_s=int(settings.pushover_retry_min_s),
        expire_max_s=int(settings.pushover_expire_max_s),
        expire_tolerated_s=int(settings.pushover_expire_clamp_s),
        url_chars=settings.pushover_url_limit,
    )
