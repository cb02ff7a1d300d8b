"""Who is known to the server: accounts, apps, keys; and who is asking: `Principal`."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from ntfyish.model.acl import BOTH, Permission

UserKey = NewType("UserKey", str)
AppToken = NewType("AppToken", str)

KEY_LENGTH = 30
KEY_PATTERN = re.compile(r"[A-Za-z0-9]{30}")
DEVICE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,25}")
ALIAS_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
ACCOUNT_NAME_PATTERN = re.compile(r"[-_.+@a-zA-Z0-9]+")
_KEY_ALPHABET = string.ascii_letters + string.digits


class Role(StrEnum):
    """What an account is allowed in general."""

    ADMIN = "admin"
    USER = "user"
    ANONYMOUS = "anonymous"


class Flavour(StrEnum):
    """How strictly an app follows Pushover: NZBClient clamps -2 to -1 and 2 to 1 and has no receipts."""

    PUSHOVER = "pushover"
    NZBCLIENT = "nzbclient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who can log in and be written to.

    Attributes:
        user_key: 30 letters and digits; also the topic that is the account's inbox.
        password_hash: bcrypt; "" means that nobody can log in with a password.
        email: its primary e-mail address; "" for none.
        emails: further addresses that are known to be its own.
        devices: names of the Open Client devices, active.
        stream: whether the built-in device, the inbox topic itself, is active.
        tier: code of its set of limits; "" for the server's own.
        sync_topic: private topic on which the account's clients hear of changes (``st_...``).
        preferences: what ntfy's clients keep at the server (language, notification, subscriptions), as a
            JSON object; "" for none.
        created_at: Unix seconds.
        totp_secret: base32; an Open Client's login then needs a code, too. "" for none.
        quiet_hours: when messages come silently, as "22:00-07:00"; "" for never (see `model.quiet`).
        time_zone: whose hours those are; "" for UTC.
        default_sound: what a message without a sound of its own sounds like; "" for the client's choice.
        declared: comes from the configuration, and is changed only there.
    """

    name: str
    user_key: UserKey
    password_hash: str = field(default="", repr=False)
    role: Role = Role.USER
    email: str = ""
    emails: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    stream: bool = True
    tier: str = ""
    sync_topic: str = ""
    preferences: str = ""
    created_at: int = 0
    totp_secret: str = field(default="", repr=False)
    quiet_hours: str = ""
    time_zone: str = ""
    default_sound: str = ""
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """What an Open Client got when it logged in, and shows instead of a password from then on.

    Attributes:
        secret_hash: SHA-256 of the secret, in hex; the secret itself is shown once and not kept.
        created_at: Unix seconds.
    """

    secret_hash: str = field(repr=False)
    account: str
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An Open Client that has registered; it has a queue of its own.

    Attributes:
        id: 40 of ``[a-z0-9]``; with any secret of the account it opens the queue.
        secret_hash: of the secret it was registered with.
        created_at: Unix seconds.
    """

    id: str
    account: str
    name: str
    secret_hash: str = field(default="", repr=False)
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Something that publishes with a token.

    Attributes:
        token: 30 letters and digits.
        name: default title of its messages.
        account: name of the owning account.
        monthly_limit: messages a month; 0 means no limit.
    """

    token: AppToken = field(repr=False)
    name: str
    account: str
    flavour: Flavour = Flavour.PUSHOVER
    monthly_limit: int = 10_000
    enabled: bool = True
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicKey:
    """A key of 30 characters that addresses a topic for clients that insist on that form."""

    key: str
    topic: str
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAlias:
    """A name under which an account gets e-mail as messages, and what they are like then.

    Attributes:
        name: what stands before the @, in lower case.
        sound, device: Pushover's; "" for what is usual.
        priority: 1 to 5; 0 for none.
        ignore_timestamps: messages have the time at which they come, not that of the mail.
    """

    name: str
    account: str
    sound: str = ""
    priority: int = 0
    device: str = ""
    ignore_timestamps: bool = False
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A bearer token of an account.

    Attributes:
        token_hash: SHA-256 of the token, in hex; the token itself is shown once and not kept.
        hint: its first eleven characters (``tk_`` and eight), which name it in lists and calls.
        permissions: what it may be used for; both by default.
        patterns: the topics (patterns) it may be used for; () for all. A token never allows more than its
            account does, and one that is limited in either way cannot manage the account.
        created_at, expires_at, last_access_at: Unix seconds; `expires_at` 0 means never.
        last_origin: address of its last use.
    """

    token_hash: str = field(repr=False)
    account: str
    label: str = ""
    hint: str = ""
    permissions: frozenset[Permission] = BOTH
    patterns: tuple[str, ...] = ()
    created_at: int = 0
    expires_at: int = 0
    last_access_at: int = 0
    last_origin: str = ""
    declared: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether it allows less than its account does."""
        return self.permissions != BOTH or bool(self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named set of limits; 0 where a number is to be the server's own setting."""

    code: str
    name: str = ""
    message_limit: int = 0
    message_expiry_s: int = 0
    email_limit: int = 0
    call_limit: int = 0
    reservation_limit: int = 0
    attachment_file_size_bytes: int = 0
    attachment_total_size_bytes: int = 0
    attachment_expiry_s: int = 0
    attachment_bandwidth_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An account in a group; `device` is "" for all of its devices."""

    account: str
    device: str = ""
    memo: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Several accounts with one key (30 letters and digits) and one owner."""

    key: str
    name: str
    account: str
    members: tuple[Member, ...] = ()
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: an account, maybe by one of its tokens, or nobody in particular (`account` is None)."""

    account: Account | None = None
    token: AccessToken | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything."""
        return self.account is not None and self.account.role is Role.ADMIN


ANONYMOUS = Principal()


def new_key(prefix: str) -> str:
    """Return a random key of 30 letters and digits that begins with `prefix` (Pushover: a, u, g, r)."""
    count = KEY_LENGTH - len(prefix)
    return prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(count))


def new_client_secret() -> str:
    """Return a random secret of an Open Client: 60 letters and digits."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(60))


def new_device_id() -> str:
    """Return a random id of an Open Client device: 40 of ``[a-z0-9]``."""
    return secrets.token_hex(20)


def declared_device_id(user_key: str, name: str) -> str:
    """Return the id of a device that the configuration names and that has not registered yet.

    It is what such a device gets when it does, so that what has queued up by then is its own. No secret.
    """
    return hashlib.sha256(f"{user_key}/{name}".encode()).hexdigest()[:40]


def new_access_token() -> str:
    """Return a random access token in ntfy's form: ``tk_`` and 29 of ``[a-z0-9]``."""
    alphabet = string.ascii_lowercase + string.digits
    return "tk_" + "".join(secrets.choice(alphabet) for _ in range(29))
