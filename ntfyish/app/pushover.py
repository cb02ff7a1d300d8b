"""Assembles Pushover's API from the services and the settings. Called by `dialects`."""

from __future__ import annotations

from ntfyish.app.core_services import Core
from ntfyish.app.web_services import Web
from ntfyish.core.glances import Glances
from ntfyish.core.groups import Groups
from ntfyish.core.sounds import Sounds
from ntfyish.core.subscriptions import Subscriptions
from ntfyish.core.teams import Teams
from ntfyish.settings import Settings
from ntfyish.web.body import BODY_LIMIT_BYTES
from ntfyish.web.pushover.calls import Calls
from ntfyish.web.pushover.custom_sounds import SoundCalls
from ntfyish.web.pushover.deliveries import DeliveryCalls
from ntfyish.web.pushover.dialect import PushoverDialect, Service
from ntfyish.web.pushover.glances import GlanceCalls
from ntfyish.web.pushover.groups import GroupCalls
from ntfyish.web.pushover.licenses import LicenseCalls
from ntfyish.web.pushover.limits import OverLength, PushoverLimits
from ntfyish.web.pushover.open_client import OpenClients
from ntfyish.web.pushover.push_devices import PushDeviceCalls
from ntfyish.web.pushover.receipts import ReceiptRoutes
from ntfyish.web.pushover.sounds import SOUNDS
from ntfyish.web.pushover.subscriptions import SubscriptionCalls
from ntfyish.web.pushover.teams import TeamCalls


def pushover_dialect(core: Core, web: Web) -> PushoverDialect:
    """Return Pushover's API."""
    limits = _limits(core.settings)
    receipts = core.sending.receipts
    open_clients = OpenClients(core.devices, receipts, web.sockets, web.visitors, web.heads, limits)
    return PushoverDialect(
        directory=core.address_book,
        publisher=core.sending.publisher,
        quotas=core.quotas,
        access=core.access,
        visitors=web.visitors,
        limits=limits,
        attachments=core.attachments,
        services=(
            ReceiptRoutes(core.address_book, web.visitors, receipts, limits, core.clock),
            PushDeviceCalls(core.push_devices, core.devices, web.visitors, open_clients.register),
            *_services(core, web),
        ),
        open_clients=open_clients,
    )


def _services(core: Core, web: Web) -> tuple[Service, ...]:
    """Return what answers the calls that send no messages."""
    people, directory, newest = core.data.people, core.data.directory, core.data.newest
    calls = Calls(core.address_book, web.visitors, spool_dir=core.settings.data_dir)
    groups = Groups(people, load=newest)
    teams = Teams(core.administration, directory)
    subscriptions = Subscriptions(people, load=newest)
    glances = Glances(core.data.store.glances, core.sending.publisher)
    return (
        GroupCalls(groups, directory, calls),
        LicenseCalls(directory, calls),
        DeliveryCalls(core.data.store.pushes, calls),
        SoundCalls(Sounds(people, SOUNDS, load=newest), people, directory, calls),
        TeamCalls(teams, groups, directory, web.visitors),
        SubscriptionCalls(subscriptions, core.devices, directory, web.visitors, calls),
        GlanceCalls(glances, core.address_book, core.access, core.quotas, calls),
    )


def _limits(settings: Settings) -> PushoverLimits:
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
        spool_dir=settings.data_dir,
    )
