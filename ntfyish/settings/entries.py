"""What is declared in lists: accounts, apps, keys, groups, and ntfy's one-line users, tokens and access."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from ntfyish.model.acl import EVERYONE, PATTERN, TopicAccess, parse_access
from ntfyish.model.errors import Invalid
from ntfyish.model.passwords import BCRYPT_PATTERN, find_password_fault
from ntfyish.model.quiet import parse_quiet_hours
from ntfyish.model.subscription import CODE_PATTERN
from ntfyish.model.totp import decode_secret
from ntfyish.settings.values import (
    EVERYBODY_WORD,
    AccountName,
    AliasName,
    BundleId,
    Count,
    Device,
    DeviceToken,
    EmailAddress,
    Entries,
    FilePath,
    HostPort,
    Items,
    Key,
    MailPriority,
    Name,
    Pattern,
    Switch,
    Text,
    TimeZone,
    Topic,
    Word,
    account_name,
    timezone_name,
)

_ACCESS_TOKEN = re.compile(r"tk_[-_A-Za-z0-9]{29}")
_TOKEN_FORM = "must be tk_ and 29 letters and digits"
_SOUND = re.compile(r"[a-z0-9_-]{1,20}")
_LONGEST_MEMO = 200  # as Pushover allows

_CLIENT, _PUSHED = "<client>", "<pushed>"
# They stand in the places of faults, after a device's number; no key looks like them.
DEVICE_KINDS = frozenset({_CLIENT, _PUSHED})


def _password(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    if fault := find_password_fault(value):
        raise ValueError(fault)
    return value


def _password_hash(value: object) -> str:
    if not isinstance(value, str) or BCRYPT_PATTERN.fullmatch(value) is None:
        raise ValueError("must be a bcrypt hash: 60 characters that begin with $2a$, $2b$ or $2y$")
    return value


def _access_token(value: object) -> str:
    if not isinstance(value, str) or _ACCESS_TOKEN.fullmatch(value) is None:
        raise ValueError(_TOKEN_FORM)
    return value


def _totp_secret(text: str) -> str:
    if text:
        decode_secret(text)
    return text


def _quiet_hours(text: str) -> str:
    if text:
        parse_quiet_hours(text)
    return text


def _sound(text: str) -> str:
    if text and _SOUND.fullmatch(text) is None:
        raise ValueError("must be the name of a sound: letters, digits, _ and -")
    return text


def find_inbox_fault(name: str, text: str) -> str:
    """Return what is wrong with a value of quiet-hours, time-zone, default-sound or totp-secret; or ""."""
    check = {
        "quiet-hours": _quiet_hours,
        "time-zone": timezone_name,
        "default-sound": _sound,
        "totp-secret": _totp_secret,
    }[name]
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


def _memo(text: str) -> str:
    if len(text) > _LONGEST_MEMO or not (text.isprintable() or not text):
        raise ValueError(f"must be at most {_LONGEST_MEMO} printable characters")
    return text


def _code(text: str) -> str:
    if CODE_PATTERN.fullmatch(text) is None:
        raise ValueError("must be letters and digits, a hyphen, and letters and digits")
    return text


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("must be publish, subscribe, or both")
    return values


class Entry(BaseModel):
    """One item of a list of declarations: immutable, keys in kebab case, unknown ones refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_name=True,
    )


class TokenEntry(Entry):
    """A declared access token of an account, which may be limited.

    Attributes:
        permissions: ``publish``, ``subscribe``, or both, which is the default.
        topics: patterns of the topics it may be used for; () for all.
    """

    token: Annotated[str, BeforeValidator(_access_token)] = Field(repr=False)
    label: Text = ""
    permissions: Annotated[
        tuple[Annotated[Literal["publish", "subscribe"], Word], ...], Items, AfterValidator(_some)
    ] = ("publish", "subscribe")
    topics: Annotated[tuple[Pattern, ...], Items] = ()


class AliasEntry(Entry):
    """A declared name under which an account gets e-mail, and what such messages are like.

    Attributes:
        priority: Pushover's, -2 to 1; None for none of its own.
    """

    name: AliasName
    sound: Annotated[Text, AfterValidator(_sound)] = ""
    priority: MailPriority | None = None
    device: Device = ""
    ignore_timestamps: Switch = False


class PushDeviceEntry(Entry):
    """A declared device that is pushed to through APNs.

    Attributes:
        token: the device token, in hex.
        sandbox: None for what the app's entry in `apns` says (production if it has both).
    """

    name: Device
    kind: Annotated[Literal["apns"], Word] = "apns"
    token: DeviceToken = Field(repr=False)
    bundle_id: BundleId
    sandbox: Switch | None = None
    topics: Annotated[tuple[Topic, ...], Items] = ()


class TopicDeviceEntry(Entry):
    """A declared device that is pushed the messages of topics, whoever publishes there."""

    topics: Annotated[tuple[Topic, ...], Items]
    kind: Annotated[Literal["apns"], Word] = "apns"
    token: DeviceToken = Field(repr=False)
    bundle_id: BundleId
    sandbox: Switch | None = None

    @model_validator(mode="after")
    def _has_topics(self) -> Self:
        if not self.topics:
            raise ValueError("needs topics")
        return self


class ApnsEntry(Entry):
    """An app whose devices are pushed to, and what Apple knows us by.

    Attributes:
        key_file: Apple's key (.p8, PEM), with `key_id` and `team_id`; or
        certificate_file: certificate and private key in one PEM file.
        endpoint: host and port instead of Apple's.
        ca_file: certificates (PEM) that the endpoint's is checked against; the system's if None.
        payload_keys: other names for the payload's custom keys: ours -> the app's.
    """

    bundle_id: BundleId
    key_file: FilePath | None = None
    certificate_file: FilePath | None = None
    key_id: Text = ""
    team_id: Text = ""
    sandbox: Switch = False
    endpoint: HostPort = None
    ca_file: FilePath | None = None
    payload_keys: dict[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if (self.key_file is None) == (self.certificate_file is None):
            raise ValueError("needs either a key-file or a certificate-file")
        if self.key_file is not None and not (self.key_id and self.team_id):
            raise ValueError("key-file needs key-id and team-id")
        if "aps" in self.payload_keys.values():
            raise ValueError("payload-keys: aps is Apple's own")
        if len(set(self.payload_keys.values())) != len(self.payload_keys):
            raise ValueError("payload-keys: two keys have the same name")
        return self


def find_sandbox(apps: Iterable[ApnsEntry], bundle_id: str, asked: bool | None) -> bool | None:
    """Return whether a device of an app is of the sandbox; None if there is no such app, or not there.

    Args:
        asked: None for whatever the app has; production if it has both.
    """
    environments = {app.sandbox for app in apps if app.bundle_id == bundle_id}
    if asked is None:
        return min(environments, default=None)
    return asked if asked in environments else None


def _device(value: object) -> object:
    """Tell a device that is an Open Client's, by its name alone, from one that says more."""
    return value if isinstance(value, dict | PushDeviceEntry) else str(value).strip()


_AccountDevice = Annotated[
    Annotated[Device, Tag(_CLIENT)] | Annotated[PushDeviceEntry, Tag(_PUSHED)],
    Discriminator(lambda value: _CLIENT if isinstance(value, str) else _PUSHED),
    BeforeValidator(_device),
]


class AccountEntry(Entry):
    """A declared account.

    Attributes:
        password: in plain text, to be hashed at start; "" if there is none.
        password_hash: bcrypt; "" if there is none.
        user_key: "" for one that the store makes, and then keeps.
        email, verified_emails: its primary address, and others that are its own.
        devices: names of Open Client devices, which are active at once; and devices that are pushed to.
        totp_secret: base32; "" if a password is enough.
        quiet_hours: as "22:00-07:00", in `time_zone`; "" for none.
    """

    name: AccountName
    password: Annotated[str, BeforeValidator(_password)] = Field("", repr=False)
    password_hash: Annotated[str, BeforeValidator(_password_hash)] = Field("", repr=False)
    role: Annotated[Literal["user", "admin"], Word] = "user"
    user_key: Key = Field("", repr=False)
    email: EmailAddress = ""
    verified_emails: Annotated[tuple[EmailAddress, ...], Items] = ()
    aliases: Annotated[tuple[AliasEntry, ...], Entries] = ()
    devices: Annotated[tuple[_AccountDevice, ...], Items] = ()
    stream: Switch = True
    totp_secret: Annotated[Text, AfterValidator(_totp_secret)] = Field("", repr=False)
    quiet_hours: Annotated[Text, AfterValidator(_quiet_hours)] = ""
    time_zone: TimeZone = "UTC"
    default_sound: Annotated[Text, AfterValidator(_sound)] = ""
    tokens: Annotated[tuple[TokenEntry, ...], Entries] = ()

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password and self.password_hash:
            raise ValueError("has both a password and a password-hash; one of them is enough")
        return self

    @model_validator(mode="after")
    def _devices_differ(self) -> Self:
        names = [*self.client_devices, *(device.name for device in self.push_devices)]
        if len(set(names)) != len(names):
            raise ValueError("devices: two of them have the same name")
        return self

    @property
    def client_devices(self) -> tuple[str, ...]:
        """The names of the Open Client devices."""
        return tuple(device for device in self.devices if isinstance(device, str))

    @property
    def push_devices(self) -> tuple[PushDeviceEntry, ...]:
        """The devices that are pushed to."""
        return tuple(device for device in self.devices if isinstance(device, PushDeviceEntry))


class AppEntry(Entry):
    """A declared app; `monthly_limit` is None for the setting `pushover-monthly-limit`."""

    name: Name
    token: Key = Field(repr=False)
    account: AccountName
    flavour: Annotated[Literal["pushover", "nzbclient"], Word] = "pushover"
    monthly_limit: Count | None = None
    enabled: Switch = True


class KeyEntry(Entry):
    """A declared topic key."""

    key: Key = Field(repr=False)
    topic: Topic


class MemberEntry(Entry):
    """An account in a group; `device` is "" for all of its devices."""

    account: AccountName
    device: Device = ""
    memo: Annotated[Text, AfterValidator(_memo)] = ""
    enabled: Switch = True


class GroupEntry(Entry):
    """A declared group of accounts, and the account it belongs to."""

    name: Name
    key: Key = Field(repr=False)
    account: AccountName
    members: Annotated[tuple[MemberEntry, ...], Entries] = ()


class SubscriptionEntry(Entry):
    """A declared page on which people subscribe to an app, which is declared, too: its name or token."""

    code: Annotated[Text, AfterValidator(_code)]
    app: Text = Field(repr=False)


class OwnedTokenEntry(Entry):
    """A declared access token in ntfy's form."""

    account: AccountName
    token: TokenEntry


class AccessEntry(Entry):
    """What an account, or `EVERYONE`, may do with the topics of a pattern."""

    account: str
    pattern: str
    access: TopicAccess


def _user_line(value: object) -> object:
    """Take ntfy's ``user:bcrypt:role`` apart."""
    if isinstance(value, AccountEntry):
        return value
    parts = [part.strip() for part in value.split(":")] if isinstance(value, str) else []
    if len(parts) != 3:
        raise ValueError("must be user:bcrypt-hash:role")
    name, password_hash, role = parts
    if role not in ("user", "admin"):
        raise ValueError("the role must be user or admin")
    return AccountEntry.model_validate(
        {"name": _user_name(name), "password-hash": _password_hash(password_hash), "role": role}
    )


def _token_line(value: object) -> object:
    """Take ntfy's ``user:tk_...[:label]`` apart."""
    if isinstance(value, OwnedTokenEntry):
        return value
    parts = [part.strip() for part in value.split(":", 2)] if isinstance(value, str) else []
    if len(parts) < 2:
        raise ValueError("must be user:tk_...[:label]")
    if _ACCESS_TOKEN.fullmatch(parts[1]) is None:
        raise ValueError(f"the token {_TOKEN_FORM}")
    token = TokenEntry(token=parts[1], label=parts[2] if len(parts) == 3 else "")
    return OwnedTokenEntry(account=_user_name(parts[0]), token=token)


def _access_line(value: object) -> object:
    """Take ntfy's ``user:pattern:permission`` apart."""
    if isinstance(value, AccessEntry):
        return value
    parts = [part.strip() for part in value.split(":")] if isinstance(value, str) else []
    if len(parts) != 3:
        raise ValueError("must be user:topic-pattern:permission")
    name, pattern, word = parts
    account = EVERYONE if name in (EVERYONE, EVERYBODY_WORD) else _user_name(name)
    if PATTERN.fullmatch(pattern) is None:
        raise ValueError("the topic pattern must be 1 to 64 of A-Z a-z 0-9 _ - and * for anything")
    try:
        access = parse_access(word)
    except Invalid:
        raise ValueError("the permission must be read-write, read-only, write-only or deny-all") from None
    return AccessEntry(account=account, pattern=pattern, access=access)


def _user_name(name: str) -> str:
    try:
        return account_name(name)
    except ValueError as error:
        raise ValueError(f"the user's name {error}") from None


UserLine = Annotated[AccountEntry, BeforeValidator(_user_line)]
TokenLine = Annotated[OwnedTokenEntry, BeforeValidator(_token_line)]
AccessLine = Annotated[AccessEntry, BeforeValidator(_access_line)]
