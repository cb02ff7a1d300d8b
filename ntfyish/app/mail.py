"""Makes what takes e-mail in and publishes it, if the settings ask for it. Called by `lifetime`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ntfyish.app.core_services import Core
from ntfyish.app.extras import ExtraMissing
from ntfyish.core.mailbox import Mailbox, MailRules


async def listen_for_mail(core: Core, stack: AsyncExitStack) -> int:
    """Take mail in as long as `stack` lasts; return the port, 0 if none is taken in.

    Raises:
        ExtraMissing: it needs what is not installed.
        OSError: the address cannot be listened on.
    """
    settings = core.settings
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
            _mailbox(core),
            host=address.host,
            port=address.port,
            domain=settings.smtp_server_domain,
            size_limit_bytes=settings.smtp_server_message_size_limit_bytes,
            tls=tls,
        )
    )


def _mailbox(core: Core) -> Mailbox:
    settings = core.settings
    return Mailbox(
        MailRules(
            domain=settings.smtp_server_domain,
            prefix=settings.smtp_server_addr_prefix,
            message_bytes=settings.message_size_limit_bytes,
            message_chars=settings.pushover_message_limit,
            title_chars=settings.pushover_title_limit,
            disallowed_topics=core.disallowed_topics,
        ),
        directory=core.data.directory,
        access=core.access,
        logins=core.logins,
        limits=core.limits,
        publisher=core.sending.publisher,
        attachments=core.attachments,
        counters=core.data.counters,
    )
