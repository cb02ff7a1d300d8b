"""Finds what `Administration` is to change among `People`, and says what may not be changed so. Pure."""

from __future__ import annotations

import re
import secrets
import string

from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import People, Remove
from ntfyish.model.acl import EVERYONE, PATTERN, AclEntry, matches
from ntfyish.model.errors import Conflict, Invalid, NotFound, Reason
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, AccessToken, Account, App, Tier

MAX_TOKENS = 60  # of an account, as with ntfy
MAX_NAME_LENGTH = 254  # as long as a mail address may be, for that is what many are named after
SYNC_PREFIX = "st_"

_TIER_CODE_PATTERN = re.compile(r"[-_a-zA-Z0-9]{1,64}")
_RESERVED_NAMES = frozenset({EVERYONE, "everyone", "*"})


def check_account_name(name: str) -> None:
    """Refuse what cannot name an account.

    Raises:
        Invalid: NAME_INVALID.
    """
    if not ACCOUNT_NAME_PATTERN.fullmatch(name) or len(name) > MAX_NAME_LENGTH or name in _RESERVED_NAMES:
        raise Invalid(Reason.NAME_INVALID)


def check_pattern(pattern: str) -> None:
    """Refuse what is no pattern of topics.

    Raises:
        Invalid: TOPIC_INVALID.
    """
    if not PATTERN.fullmatch(pattern):
        raise Invalid(Reason.TOPIC_INVALID)


def new_sync_topic() -> str:
    """Return a random name for an account's private topic: ``st_`` and 29 letters and digits."""
    alphabet = string.ascii_letters + string.digits
    return SYNC_PREFIX + "".join(secrets.choice(alphabet) for _ in range(29))


def find_account(people: People, name: str) -> Account | None:
    """Return the account of that name."""
    return next((account for account in people.accounts if account.name == name), None)


def get_account(people: People, name: str) -> Account:
    """Return the account of that name.

    Raises:
        NotFound: ACCOUNT_UNKNOWN.
    """
    account = find_account(people, name)
    if account is None:
        raise NotFound(Reason.ACCOUNT_UNKNOWN)
    return account


def own_account(people: People, name: str) -> Account:
    """Return an account that may be changed.

    Raises:
        NotFound: ACCOUNT_UNKNOWN.
        Conflict: DECLARED.
    """
    account = get_account(people, name)
    if account.declared:
        raise Conflict(Reason.DECLARED)
    return account


def own_token(people: People, account: str, token: str) -> AccessToken:
    """Return the account's token of that secret or hint, which may be changed.

    Raises:
        NotFound: there is none.
        Conflict: DECLARED.
    """
    digest = hash_access_token(token)
    for known in people.tokens:
        if known.account == account and (known.token_hash == digest or known.hint == token):
            if known.declared:
                raise Conflict(Reason.DECLARED)
            return known
    raise NotFound(detail="no such token")


def own_app(people: People, token: str) -> App:
    """Return the app of that token, which may be changed.

    Raises:
        NotFound: there is none.
        Conflict: DECLARED.
    """
    app = next((app for app in people.apps if app.token == token), None)
    if app is None:
        raise NotFound(detail="no such app")
    if app.declared:
        raise Conflict(Reason.DECLARED)
    return app


def find_entry(people: People, account: str, pattern: str) -> AclEntry | None:
    """Return the access entry of an account for a pattern."""
    wanted = (account, pattern)
    return next((entry for entry in people.access if (entry.account, entry.pattern) == wanted), None)


def removal_of(entry: AclEntry) -> Remove:
    """Return the change that removes an access entry."""
    return Remove(AclEntry, (entry.account, entry.pattern))


def reservations_of(people: People, account: str) -> list[AclEntry]:
    """Return what an account has reserved: the entries for everybody else, by topic."""
    found = [entry for entry in people.access if entry.owner == account and entry.account == EVERYONE]
    return sorted(found, key=lambda entry: entry.pattern)


def check_free(people: People, account: str, topic: str) -> None:
    """Refuse a topic that is somebody else's in any way.

    Raises:
        Conflict: ACCESS_EXISTS.
    """
    foreign = (
        topic.startswith(SYNC_PREFIX)
        or any(entry.owner != account and matches(entry.pattern, topic) for entry in people.access)
        or any(other.user_key == topic for other in people.accounts)
        or any(key.key == topic for key in people.keys)
        or any(group.key == topic for group in people.groups)
    )
    if foreign:
        raise Conflict(Reason.ACCESS_EXISTS)


def surplus_tokens(tokens: list[AccessToken], now: int) -> list[AccessToken]:
    """Return what goes for one more token to have its place."""
    expired = [token for token in tokens if 0 < token.expires_at <= now and not token.declared]
    alive = [token for token in tokens if token not in expired]
    unused = sorted(
        (token for token in alive if not token.declared),
        key=lambda token: max(token.last_access_at, token.created_at),
    )
    return expired + unused[: max(0, len(alive) + 1 - MAX_TOKENS)]


def find_tier(people: People, code: str) -> Tier | None:
    """Return the tier of that code."""
    return next((tier for tier in people.tiers if tier.code == code), None)


def check_tier(people: People, code: str) -> Tier | None:
    """Return the tier of that code; None for "".

    Raises:
        Invalid: TIER_UNKNOWN.
    """
    tier = find_tier(people, code)
    if code and tier is None:
        raise Invalid(Reason.TIER_UNKNOWN)
    return tier


def check_tier_limits(tier: Tier) -> None:
    """Refuse a tier with a code or limits that make no sense.

    Raises:
        Invalid: REQUEST_INVALID.
    """
    if not _TIER_CODE_PATTERN.fullmatch(tier.code):
        raise Invalid(Reason.REQUEST_INVALID, "a tier's code has 1 to 64 of A-Z, a-z, 0-9, _ and -")
    limits = (
        tier.message_limit,
        tier.message_expiry_s,
        tier.email_limit,
        tier.call_limit,
        tier.reservation_limit,
        tier.attachment_file_size_bytes,
        tier.attachment_total_size_bytes,
        tier.attachment_expiry_s,
        tier.attachment_bandwidth_bytes,
    )
    if not all(0 <= limit < 2**63 for limit in limits):
        raise Invalid(Reason.REQUEST_INVALID, "a tier's limits are 0 or more")
