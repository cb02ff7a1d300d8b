"""Opens what pushes to browsers (Web Push), and what registers them, if the settings ask for it.

Called by `core_services`. What both need is imported only then: it comes with an extra of the package.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from ntfyish.app.data import Data
from ntfyish.app.extras import ExtraMissing
from ntfyish.core.ports import BrowserSender, Clock
from ntfyish.settings import Settings

if TYPE_CHECKING:
    from ntfyish.core.pushes.browsers import Browsers


async def open_web_push(
    settings: Settings, clock: Clock, resolver: AbstractResolver | None, stack: AsyncExitStack
) -> BrowserSender | None:
    """Return what pushes to the destinations that begin with "webpush:", as long as `stack` lasts.

    None if there is no Web Push.

    Args:
        resolver: looks up the names of push services; the system's if None.

    Raises:
        ExtraMissing: it needs what is not installed.
    """
    if not settings.web_push_public_key:
        return None
    try:
        from ntfyish.push.web_push import WebPushSender
    except ImportError as error:
        raise ExtraMissing("web-push-public-key", "webpush") from error
    from ntfyish.model.web_push_keys import read_vapid_keys

    return await stack.enter_async_context(
        WebPushSender(
            clock,
            read_vapid_keys(settings.web_push_public_key, settings.web_push_private_key),
            email=settings.web_push_email_address,
            base_url=settings.base_url,
            longest_ttl_s=settings.cache_duration_s,
            allowed_hosts=settings.web_push_endpoint_allow,
            allowed=settings.callback_allow,
            resolver=resolver,
        )
    )


def make_browsers(
    settings: Settings, clock: Clock, data: Data, sender: BrowserSender | None
) -> Browsers | None:
    """Return what registers browsers; None without `sender`, what pushes to them."""
    if sender is None:
        return None
    from ntfyish.core.pushes.browsers import Browsers

    return Browsers(
        data.people,
        data.directory,
        clock,
        sender,
        allowed_hosts=settings.web_push_endpoint_allow,
        warn_after_s=settings.web_push_expiry_warning_duration_s,
        expire_after_s=settings.web_push_expiry_duration_s,
    )
