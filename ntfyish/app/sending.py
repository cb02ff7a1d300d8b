"""Assembles what sends: the publisher, emergency receipts, letters, and errands to other servers.

Called by `core_services`. What they have to do later they note in the timetable under the names of `duties`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver

from ntfyish.app.data import Data
from ntfyish.app.extras import ExtraMissing
from ntfyish.core.counters import Counters
from ntfyish.core.deliveries import PUSH, UPSTREAM
from ntfyish.core.errands import ErrandRunner, Errands
from ntfyish.core.letters import EMAIL, Letters
from ntfyish.core.ports import Clock, MailSender
from ntfyish.core.publisher import Publisher
from ntfyish.core.receipts import CALLBACK, Receipts
from ntfyish.core.tasks import Tasks
from ntfyish.core.timetable import Timetable
from ntfyish.push.callbacks import Callbacks
from ntfyish.push.upstream import PATIENCE_S, Upstream
from ntfyish.settings import Settings
from ntfyish.web.pushover.receipts import AckLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What sends messages and what follows from them.

    Attributes:
        links: makes the addresses that acknowledge; without a `base_url` until the server listens, perhaps.
    """

    links: AckLinks
    publisher: Publisher
    receipts: Receipts
    letters: Letters
    errands: Errands


async def open_sending(
    settings: Settings,
    clock: Clock,
    data: Data,
    timetable: Timetable,
    push: ErrandRunner,
    resolver: AbstractResolver | None,
    stack: AsyncExitStack,
) -> Sending:
    """Return what sends, as long as `stack` lasts.

    Args:
        push: pushes messages to devices.
        resolver: looks up the names in callbacks; the system's if None.

    Raises:
        ExtraMissing: e-mail needs what is not installed.
    """
    links = AckLinks(settings.base_url)
    publisher = _publisher(settings, clock, data, timetable, links)
    receipts = Receipts(
        data.store.receipts,
        publisher,
        data.directory,
        clock,
        errand_due=lambda due_at: timetable.note("errands", due_at),
        counters=data.counters,
    )
    callbacks = await stack.enter_async_context(Callbacks(clock, settings.callback_allow, resolver))
    letters = _letters(settings, clock, data.counters)
    runners: dict[str, ErrandRunner] = {CALLBACK: callbacks, EMAIL: letters, PUSH: push}
    if settings.upstream_base_url:
        runners[UPSTREAM] = await stack.enter_async_context(_upstream(settings, clock))
    errands = Errands(
        data.store.outbox,
        clock,
        await stack.enter_async_context(Tasks()),
        runners,
        due=lambda due_at: timetable.note("errands", due_at),
        patience_s={UPSTREAM: PATIENCE_S},
    )
    return Sending(links=links, publisher=publisher, receipts=receipts, letters=letters, errands=errands)


def _publisher(
    settings: Settings, clock: Clock, data: Data, timetable: Timetable, links: AckLinks
) -> Publisher:
    return Publisher(
        data.store,
        data.bus,
        clock,
        cache_duration_s=settings.cache_duration_s,
        due=lambda due_at: timetable.note("release", due_at),
        deliveries=data.deliveries,
        repeat_due=lambda due_at: timetable.note("repeat", due_at),
        link=links,
        errand_due=lambda due_at: timetable.note("errands", due_at),
        counters=data.counters,
    )


def _upstream(settings: Settings, clock: Clock) -> Upstream:
    return Upstream(
        clock,
        base_url=settings.base_url,
        upstream_base_url=settings.upstream_base_url,
        access_token=settings.upstream_access_token,
    )


def _letters(settings: Settings, clock: Clock, counters: Counters) -> Letters:
    return Letters(
        _mail_sender(settings),
        clock,
        base_url=settings.base_url,
        from_address=settings.smtp_sender_from,
        verify=settings.smtp_sender_verify,
        counters=counters,
    )


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
