"""Assembles what takes files in (`open_attachments`) and what hands them out (`files`).

Called by `core_services` and `dialects`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from ntfyish.app.data import Data
from ntfyish.core.attachments import AttachmentRules, Attachments
from ntfyish.core.limits import Limits, account_of
from ntfyish.core.ports import Clock
from ntfyish.model.people import Tier
from ntfyish.settings import Settings
from ntfyish.store.files import FileFolder
from ntfyish.web.files import Files
from ntfyish.web.ntfy.dialect import NtfyDialect


async def open_attachments(
    settings: Settings, clock: Clock, data: Data, limits: Limits, stack: AsyncExitStack
) -> Attachments | None:
    """Return what takes files in; None if the server has no address that theirs could begin with."""
    if not settings.base_url:
        return None

    def find_tier(owner: str) -> Tier | None:
        account = data.directory.find_account(account_of(owner))
        return data.directory.find_tier(account.tier) if account is not None and account.tier else None

    folder = settings.attachment_cache_dir or settings.data_dir / "attachments"
    attachments = Attachments(
        _rules(settings),
        data.store.attachments,
        await stack.enter_async_context(FileFolder.open(folder)),
        clock,
        limits.bandwidth,
        find_tier,
    )
    await attachments.open()
    return attachments


def files(attachments: Attachments, clock: Clock, ntfy: NtfyDialect) -> Files:
    """Return what hands files out; who asks and what is refused is as in ntfy's API."""
    return Files(attachments, clock.now, ntfy.identify, ntfy.refuse)


def _rules(settings: Settings) -> AttachmentRules:
    return AttachmentRules(
        base_url=settings.base_url,
        file_size_bytes=settings.attachment_file_size_limit_bytes,
        total_size_bytes=settings.attachment_total_size_limit_bytes,
        visitor_total_size_bytes=settings.visitor_attachment_total_size_limit_bytes,
        visitor_bandwidth_bytes=settings.visitor_attachment_daily_bandwidth_limit_bytes,
        expiry_s=int(settings.attachment_expiry_duration_s),
        cache_duration_s=int(settings.cache_duration_s),
        signed=settings.attachment_access == "signed",
    )
