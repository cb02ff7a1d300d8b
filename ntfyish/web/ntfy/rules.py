"""What the configuration says about ntfy's service and account APIs, and the limits that they show."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ntfyish.core.attachments import AttachmentRules
from ntfyish.model.people import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRules:
    """How the server is set up.

    Attributes:
        enable_signup: whether everybody may make an account.
        enable_login, require_login: what a web app should offer.
        enable_reservations: whether accounts with a tier may reserve topics.
        enable_emails: whether messages can be sent by e-mail.
        web_push_public_key: what browsers subscribe with; "" if there is no Web Push.
        disallowed_topics: the names that are no topics, in the order in which they are shown.
        cache_duration_s: how long messages are kept.
    """

    enable_signup: bool = False
    enable_login: bool = False
    require_login: bool = False
    enable_reservations: bool = False
    enable_emails: bool = False
    web_push_public_key: str = ""
    disallowed_topics: tuple[str, ...] = ()
    cache_duration_s: int = 0


def shown_limits(
    messages_a_day: int,
    rules: ServiceRules,
    tier: Tier | None = None,
    *,
    emails_a_day: int = 0,
    files: AttachmentRules | None = None,
) -> dict[str, str | int]:
    """Return limits in ntfy's form.

    Without a tier they are the server's own: no calls or reservations.

    Args:
        emails_a_day: what counts if the server sends mail at all.
        files: what counts if the server keeps files.
    """
    tier_or_none = tier or Tier(code="")
    emails = emails_a_day if rules.enable_emails else tier_or_none.email_limit
    if files is not None:
        tier_or_none = replace(
            tier_or_none,
            attachment_total_size_bytes=files.visitor_total_size_bytes,
            attachment_file_size_bytes=files.file_size_bytes,
            attachment_expiry_s=files.expiry_s,
            attachment_bandwidth_bytes=files.visitor_bandwidth_bytes,
        )
    return {
        "basis": "ip" if tier is None else "tier",
        "messages": messages_a_day,
        "messages_expiry_duration": tier_or_none.message_expiry_s or rules.cache_duration_s,
        "emails": emails,
        "calls": tier_or_none.call_limit,
        "reservations": tier_or_none.reservation_limit,
        "attachment_total_size": tier_or_none.attachment_total_size_bytes,
        "attachment_file_size": tier_or_none.attachment_file_size_bytes,
        "attachment_expiry_duration": tier_or_none.attachment_expiry_s,
        "attachment_bandwidth": tier_or_none.attachment_bandwidth_bytes,
    }
