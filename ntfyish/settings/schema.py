"""Every setting: its key, its kind, its default, its bounds and what it is for.

The attribute is the key in snake case, with `_s` for seconds and `_bytes` for bytes. Flags, environment
variables, the example file and the reports of mistakes are all made from this one list.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.config import JsonDict
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ntfyish.settings.entries import (
    AccessLine,
    AccountEntry,
    ApnsEntry,
    AppEntry,
    GroupEntry,
    KeyEntry,
    OwnedTokenEntry,
    SubscriptionEntry,
    TokenLine,
    TopicDeviceEntry,
    UserLine,
)
from ntfyish.settings.values import (
    BaseUrl,
    Bytes,
    Count,
    EmailAddress,
    Entries,
    FileMode,
    FilePath,
    HeaderName,
    HostPort,
    Items,
    Listen,
    ListenAddress,
    MailDomain,
    MailPrefix,
    Network,
    NetworkOrHost,
    Seconds,
    Switch,
    Text,
    TimeZone,
    Topic,
    Word,
)

_DAY_S = 86_400.0
_KIB = 1024
_MIB = 1024 * _KIB
_MOST = 10**9
_SOONEST_S = 0.001
_LATEST_S = 366 * _DAY_S

# What `pushover-profile: legacy` changes, unless it is set: Pushover's older limits.
LEGACY: Mapping[str, object] = {
    "pushover-message-limit": 512,
    "pushover-title-limit": 512,
    "pushover-expire-max": _DAY_S,
    "pushover-monthly-limit": 7500,
}


def key_of(attribute: str) -> str:
    """Return the key of a setting's attribute: ``keepalive_interval_s`` -> ``keepalive-interval``."""
    return attribute.removesuffix("_s").removesuffix("_bytes").replace("_", "-")


def _setting(
    default: object,
    description: str,
    *,
    section: str = "",
    example: str = "",
    shown: str = "",
    secret: bool = False,
    **bounds: Any,
) -> Any:
    """Describe a setting.

    Args:
        section: heading in the example file, for the first of a group.
        example: YAML to show where there is no default; several lines begin with a newline.
        shown: the default in YAML, where it is not a constant.
        secret: no flag, and never shown.
        bounds: `ge` and `le`.
    """
    extra: JsonDict = {"section": section, "example": example, "shown": shown, "secret": secret}
    return Field(default, description=description, repr=not secret, json_schema_extra=extra, **bounds)


class Settings(BaseSettings):
    """All settings. Made by `ntfyish.settings.load`; immutable.

    Args:
        layers: values by key, the strongest layer first.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        case_sensitive=True,
        hide_input_in_errors=True,
        validate_default=False,
        alias_generator=key_of,
    )

    listen_http: Listen = _setting(
        ListenAddress("127.0.0.1", 8080),
        "Address for HTTP: host:port, :port for all interfaces, [::1]:port, or - for none.",
        section="Where the server listens",
    )
    listen_unix: FilePath | None = _setting(
        None, "Path of a Unix socket to listen on, too.", example='"/run/ntfyish/ntfyish.sock"'
    )
    listen_unix_mode: FileMode | None = _setting(
        None, "File mode of the Unix socket, in octal.", example='"0660"'
    )
    base_url: BaseUrl = _setting(
        "",
        "Address at which people reach the server: http(s)://host[:port], without a path.",
        example='"https://push.example.com"',
    )
    behind_proxy: Switch = _setting(
        False,
        "Take the visitor's address from proxy-forwarded-header. Only behind a proxy that sets it.",
    )
    proxy_forwarded_header: HeaderName = _setting(
        "X-Forwarded-For",
        "Header with the visitor's address: a list of addresses, or RFC 7239's Forwarded. The right-most"
        " address that is no trusted proxy counts.",
    )
    proxy_trusted_hosts: Annotated[tuple[Network, ...], Items] = _setting(
        (),
        "Addresses and networks of further proxies, to be passed over in that header.",
        example='["10.0.0.0/8", "2001:db8::1"]',
    )

    data_dir: FilePath = _setting(
        Path(),
        "Folder of the databases. By default $XDG_DATA_HOME/ntfyish or ~/.local/share/ntfyish; for root"
        " /var/lib/ntfyish if that folder exists.",
        section="Messages",
        shown='"~/.local/share/ntfyish"',
    )
    cache_duration_s: Seconds = _setting(
        12 * 3600.0,
        "How long messages are kept for those who ask later. 0 keeps none.",
        ge=0,
    )
    message_size_limit_bytes: Bytes = _setting(4 * _KIB, "Largest message.", ge=1, le=5 * _MIB)
    message_delay_limit_s: Seconds = _setting(3 * _DAY_S, "How far ahead a message may be scheduled.", ge=0)
    message_delay_minimum_s: Seconds = _setting(
        10.0, "How far ahead a scheduled message must be at least.", ge=0
    )
    disallowed_topics: Annotated[tuple[Topic, ...], Items] = _setting(
        (),
        "Names that are no topics, besides the ones of the server's own paths.",
        example='["admin", "test"]',
    )
    keepalive_interval_s: Seconds = _setting(
        45.0, "How often a stream gets a sign of life. Proxies must wait longer than this.", ge=5
    )
    manager_interval_s: Seconds = _setting(60.0, "How often expired messages are removed.", ge=5)

    attachment_cache_dir: FilePath | None = _setting(
        None,
        "Folder of the files that people upload, which the server alone writes to. By default attachments in"
        " data-dir. Files can be uploaded only if base-url is set: their addresses begin with it.",
        section="Attachments",
        example='"/var/cache/ntfyish/attachments"',
    )
    attachment_total_size_limit_bytes: Bytes = _setting(5 * 1024 * _MIB, "All files together.", ge=0)
    attachment_file_size_limit_bytes: Bytes = _setting(15 * _MIB, "Largest file.", ge=0)
    attachment_expiry_duration_s: Seconds = _setting(
        3 * 3600.0, "How long a file is kept, at most as long as its message.", ge=1, le=_LATEST_S
    )
    attachment_access: Annotated[Literal["public", "signed"], Word] = _setting(
        "public",
        "Who may fetch a file: public is whoever knows its name; signed is whoever was told its whole"
        " address, which carries a signature and is good until the file expires.",
    )
    visitor_attachment_total_size_limit_bytes: Bytes = _setting(
        100 * _MIB, "All files of a visitor together.", ge=0
    )
    visitor_attachment_daily_bandwidth_limit_bytes: Bytes = _setting(
        500 * _MIB,
        "Bytes that a visitor may upload, and others fetch of that, between two midnights (UTC).",
        ge=0,
    )

    auth_default_access: Annotated[Literal["read-write", "read-only", "write-only", "deny-all"], Word] = (
        _setting(
            "read-write",
            "What everybody may do with topics without a login: read-write, read-only, write-only, deny-all.",
            section="Who may do what",
        )
    )
    auth_users: Annotated[tuple[UserLine, ...], Items] = _setting(
        (),
        "Accounts in ntfy's form: user:bcrypt-hash:role, with the role user or admin.",
        example='\n- "ben:$2a$10$Onhj5qUC9X0jxfWT73xGtuzhq.uW8Rp9Cb.PcOY7TC1y0ouV1FISu:user"',
        secret=True,
    )
    auth_access: Annotated[tuple[AccessLine, ...], Items] = _setting(
        (),
        "Who may do what with which topics, in ntfy's form: user:topic-pattern:permission. The user is"
        " everyone, or declared and no administrator; * in a pattern is any run of characters; permissions"
        " are as in auth-default-access. A user's own entries decide before everyone's, longer patterns"
        " before shorter ones.",
        example='\n- "everyone:up*:write-only"\n- "ben:alerts:read-only"',
        secret=True,
    )
    auth_tokens: Annotated[tuple[TokenLine, ...], Items] = _setting(
        (),
        "Access tokens in ntfy's form: user:token[:label]. The user must be declared.",
        example='\n- "ben:tk_exampleexampleexampleexample1:backups"',
        secret=True,
    )
    accounts: Annotated[tuple[AccountEntry, ...], Entries] = _setting(
        (),
        "Accounts. password or password-hash (bcrypt); role: user or admin; user-key is made when left out;"
        " devices are Open Client devices, by name, and devices of apps that are pushed to (see apns);"
        " stream: false stops delivery to the inbox topic; with"
        " totp-secret (base32) an Open Client's login needs a code, too; in quiet-hours messages come"
        " silently, unless their priority is high; default-sound is for messages without a sound;"
        " e-mail goes out to email and verified-emails; e-mail to one of the aliases comes in with that"
        " alias's sound, priority (-2 to 1) and device, and with the time at which it comes in if"
        " ignore-timestamps is true. A token's"
        " permissions are publish, subscribe, or both; its topics are patterns; without either it may do what"
        " its account may.",
        example='\n- name: phil\n  password: "change me"\n  role: user\n'
        "  user-key: uQiRzpo4DXghDmr9QzzfQu27cmVRsG\n  email: phil@example.org\n"
        "  devices:\n    - droid2\n    - name: iphone\n      kind: apns\n"
        "      token: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
        "      bundle-id: app.example\n      sandbox: false\n      topics: [alerts]\n"
        "  stream: true\n  totp-secret: JBSWY3DPEHPK3PXP\n"
        '  quiet-hours: "22:00-07:00"\n  time-zone: Europe/Berlin\n  default-sound: bike\n'
        "  verified-emails: [phil@example.com]\n  aliases:\n    - name: phil-backups\n      sound: bike\n"
        "      priority: -1\n      device: droid2\n      ignore-timestamps: true\n"
        "  tokens:\n"
        "    - token: tk_exampleexampleexampleexample2\n      label: doorbell\n      permissions: publish\n"
        "      topics: [door, alarm-*]",
        secret=True,
    )
    apps: Annotated[tuple[AppEntry, ...], Entries] = _setting(
        (),
        "Apps, which publish with a token. flavour: pushover or nzbclient; monthly-limit: 0 for no limit.",
        example="\n- name: Backups\n  token: azGDORePK8gMaC0QOYAMyEEuzJnyUi\n  account: phil\n"
        "  flavour: pushover\n  monthly-limit: 10000\n  enabled: true",
        secret=True,
    )
    keys: Annotated[tuple[KeyEntry, ...], Entries] = _setting(
        (),
        "Keys of 30 letters and digits with which Pushover clients write to a topic.",
        example="\n- key: tAlertsAlertsAlertsAlertsAlert\n  topic: alerts",
        secret=True,
    )
    groups: Annotated[tuple[GroupEntry, ...], Entries] = _setting(
        (),
        "Groups of accounts with one key, to which Pushover clients write. device: one device only;"
        " enabled: false keeps a member from getting anything.",
        example="\n- name: oncall\n  key: gznej3rKEVAvPUxu9vvNnqpmZpokzF\n  account: phil\n  members:\n"
        "    - account: phil\n    - account: vera\n      device: pad\n      memo: weekends\n"
        "      enabled: false",
        secret=True,
    )
    subscriptions: Annotated[tuple[SubscriptionEntry, ...], Entries] = _setting(
        (),
        "Pages on which people let an app write to them: /subscribe/<code>. The app is one of apps, by its"
        " name or token; the code has a hyphen in it.",
        example="\n- code: PhilsBlog-abc123\n  app: Backups",
        secret=True,
    )
    enable_login: Switch = _setting(False, "Let people log in in the web app.")
    enable_signup: Switch = _setting(False, "Let everybody make an account. Needs enable-login.")
    enable_reservations: Switch = _setting(
        False, "Let accounts reserve topics, as many as their tier allows; administrators any number."
    )
    require_login: Switch = _setting(False, "Show the web app only to those logged in. Needs enable-login.")

    visitor_request_limit_burst: Count = _setting(
        60,
        "Requests that a visitor may make at once. A visitor is an account, or else an address or network.",
        section="Limits of visitors",
        ge=1,
        le=_MOST,
    )
    visitor_request_limit_replenish_s: Seconds = _setting(
        5.0, "How long until a visitor may make one more request.", ge=_SOONEST_S, le=_LATEST_S
    )
    visitor_request_limit_exempt_hosts: Annotated[tuple[NetworkOrHost, ...], Items] = _setting(
        (),
        "Addresses, networks and host names without these limits of requests and messages. Names are looked"
        " up once, at the start.",
        example='["10.0.0.0/8", "2001:db8::/32", "printer.example.com"]',
    )
    visitor_message_daily_limit: Count = _setting(
        0,
        "Messages that a visitor may publish between two midnights (UTC). 0 for as many as"
        " visitor-request-limit-replenish allows in a day.",
        le=_MOST,
    )
    visitor_subscription_limit: Count = _setting(
        30, "Streams that a visitor may have open at once.", ge=1, le=_MOST
    )
    visitor_auth_failure_limit_burst: Count = _setting(
        30,
        "Failed logins from an address or network at once. What fails beyond that is one request too many.",
        ge=1,
        le=_MOST,
    )
    visitor_auth_failure_limit_replenish_s: Seconds = _setting(
        60.0, "How long until one more login may fail.", ge=_SOONEST_S, le=_LATEST_S
    )
    visitor_account_creation_limit_burst: Count = _setting(
        3, "Accounts that may be made from an address or network at once.", ge=1, le=_MOST
    )
    visitor_account_creation_limit_replenish_s: Seconds = _setting(
        _DAY_S, "How long until one more account may be made.", ge=_SOONEST_S, le=_LATEST_S
    )
    visitor_email_limit_burst: Count = _setting(
        16, "E-mails that a visitor may have sent at once.", ge=1, le=_MOST
    )
    visitor_email_limit_replenish_s: Seconds = _setting(
        3600.0, "How long until a visitor may have one more sent.", ge=_SOONEST_S, le=_LATEST_S
    )
    visitor_topic_creation_limit_burst: Count = _setting(
        100, "New topics that a visitor may use at once.", ge=1, le=_MOST
    )
    visitor_topic_creation_limit_replenish_s: Seconds = _setting(
        60.0, "How long until a visitor may use one more new topic.", ge=_SOONEST_S, le=_LATEST_S
    )
    visitor_prefix_bits_ipv4: Count = _setting(
        32, "IPv4 addresses that have these first bits in common are one visitor.", ge=1, le=32
    )
    visitor_prefix_bits_ipv6: Count = _setting(
        64, "IPv6 addresses that have these first bits in common are one visitor.", ge=1, le=128
    )
    visitor_subscriber_rate_limiting: Switch = _setting(
        False,
        "Count messages of UnifiedPush against who subscribes to the topic instead of who publishes; refuse"
        " them where nobody does.",
    )
    global_topic_limit: Count = _setting(15_000, "Topics in use at once, by all visitors.", ge=1, le=_MOST)

    pushover_profile: Annotated[Literal["current", "legacy"], Word] = _setting(
        "current",
        "Pushover's limits of today, or the older ones: 512 characters of message and title together,"
        " emergencies of up to 24h, 7500 messages a month. Single limits can be set besides.",
        section="Pushover's API",
    )
    pushover_message_limit: Count = _setting(1024, "Longest message, in characters.", ge=1, le=_MIB)
    pushover_title_limit: Count = _setting(250, "Longest title, in characters.", ge=1, le=_MIB)
    pushover_url_limit: Count = _setting(512, "Longest URL, in characters.", ge=1, le=_MIB)
    pushover_url_title_limit: Count = _setting(100, "Longest title of a URL, in characters.", ge=1, le=_MIB)
    pushover_over_length: Annotated[Literal["reject", "truncate"], Word] = _setting(
        "reject", "What to do with what is longer: reject or truncate."
    )
    pushover_relax_when_encrypted: Switch = _setting(
        True, "Allow four times the length where the text is encrypted."
    )
    pushover_users_limit: Count = _setting(50, "Most users that one message may name.", ge=1, le=10_000)
    pushover_retry_min_s: Seconds = _setting(
        30.0, "Shortest time between two repeats of an emergency message.", ge=1
    )
    pushover_expire_max_s: Seconds = _setting(
        3 * 3600.0, "Longest time for which an emergency message is repeated.", ge=1
    )
    pushover_expire_clamp_s: Seconds = _setting(
        _DAY_S, "What is longer than that is shortened up to here, and refused above.", ge=1
    )
    pushover_monthly_limit: Count = _setting(
        10_000, "Messages a month for an app that says nothing else. 0 for no limit."
    )
    pushover_attachment_limit_bytes: Bytes = _setting(
        5 * _MIB, "Largest attachment that comes in by Pushover's API.", ge=1, le=1024 * _MIB
    )
    pushover_quota_timezone: TimeZone = _setting(
        "America/Chicago", "Where a month begins at midnight of its first day."
    )
    pushover_strict_device: Switch = _setting(
        False, "Refuse unknown device names instead of delivering to all devices."
    )

    callback_allow: Annotated[tuple[Network, ...], Items] = _setting(
        (),
        "Networks and addresses that callbacks of receipts may reach though they are not public, as in a home"
        " network. Callbacks are POSTs to URLs that publishers name.",
        example='["127.0.0.1", "192.168.0.0/16"]',
    )

    apns: Annotated[tuple[ApnsEntry, ...], Entries] = _setting(
        (),
        "Apps for iOS and the like whose devices are pushed to through APNs. key-file (.p8) with key-id and"
        " team-id, or certificate-file (certificate and key, PEM); sandbox: true for devices of the"
        " development environment; endpoint and ca-file name another server than Apple's; payload-keys give"
        " custom keys of the payload other names.",
        section="Pushes",
        example="\n- bundle-id: app.example\n  key-file: /etc/ntfyish/AuthKey.p8\n  key-id: KEYID12345\n"
        "  team-id: TEAMID1234\n  sandbox: false\n  endpoint: api.push.apple.com:443\n"
        "  payload-keys:\n    isEncrypted: encrypted",
        secret=True,
    )
    topic_devices: Annotated[tuple[TopicDeviceEntry, ...], Entries] = _setting(
        (),
        "Devices that are pushed the messages of topics, and that belong to no account.",
        example="\n- topics: [alerts, backups]\n  kind: apns\n"
        "  token: fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n"
        "  bundle-id: app.example\n  sandbox: false",
        secret=True,
    )
    push_connections: Count = _setting(4, "Connections to APNs for each of the apps, at most.", ge=1, le=64)
    push_expiry_duration_s: Seconds = _setting(
        21 * _DAY_S,
        "How long APNs keeps a message without ttl for a device that is switched off.",
        ge=1,
        le=_LATEST_S,
    )
    push_retry_duration_s: Seconds = _setting(
        _DAY_S, "How long a push is tried again while its service cannot be reached.", ge=60, le=_LATEST_S
    )
    push_status_duration_s: Seconds = _setting(
        _DAY_S, "How long a publisher can ask what became of its pushes.", ge=60, le=_LATEST_S
    )
    push_queue_limit: Count = _setting(
        1_000_000,
        "Pushes that may wait; further ones are dropped. Devices without an account have half of it.",
        ge=1,
        le=_MOST,
    )
    web_push_public_key: Text = _setting(
        "",
        "Public key of Web Push (VAPID); ntfyish webpush keys makes a pair. Needs web-push-private-key,"
        " web-push-email-address, base-url, and the extra webpush (pip install 'ntfyish[webpush]').",
        example='"BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"',
    )
    web_push_private_key: Text = _setting(
        "",
        "Private key of Web Push (VAPID). The example's is in RFC 8291, and no secret.",
        example='"yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"',
        secret=True,
    )
    web_push_email_address: EmailAddress = _setting(
        "", "Whom browsers' push services may write to about our pushes.", example="admin@example.com"
    )
    web_push_expiry_duration_s: Seconds = _setting(
        60 * _DAY_S, "How long a browser is pushed to that has not been back.", ge=1, le=10 * _LATEST_S
    )
    web_push_expiry_warning_duration_s: Seconds = _setting(
        55 * _DAY_S, "After how long it is told so.", ge=1, le=10 * _LATEST_S
    )
    web_push_endpoint_allow: Annotated[tuple[Text, ...], Items] = _setting(
        (),
        "Hosts of push services that browsers may name, besides those of the known ones; with :port if that"
        " is not 443. One with a private address needs callback-allow, too.",
        example="[push.example.com]",
    )
    upstream_base_url: BaseUrl = _setting(
        "",
        "Another ntfy server, which is told of every new message by poll requests (no content), so that"
        " ntfy's app for iOS fetches it from here. Needs base-url.",
        example='"https://ntfy.sh"',
    )
    upstream_access_token: Text = _setting(
        "", "Access token at that server.", example='"tk_exampleexampleexampleexample3"', secret=True
    )

    smtp_server_listen: Listen = _setting(
        None,
        "Address on which e-mail comes in, as host:port or :port; needs smtp-server-domain, and the extra"
        " mail (pip install 'ntfyish[mail]'). <user key or alias>@domain writes to an account,"
        " topic@domain or topic+token@domain to a topic.",
        section="E-mail",
        example='":25"',
    )
    smtp_server_domain: MailDomain = _setting(
        "", "Domain of those addresses; mail to others is refused.", example="push.example.com"
    )
    smtp_server_addr_prefix: MailPrefix = _setting(
        "", "What stands before a topic's name in its address, against guesses.", example="ntfy-"
    )
    smtp_server_message_size_limit_bytes: Bytes = _setting(
        _MIB, "Largest e-mail that is taken in.", ge=_KIB, le=64 * _MIB
    )
    smtp_server_cert_file: FilePath | None = _setting(
        None,
        "Certificate chain (PEM), with which STARTTLS is offered to who brings e-mail.",
        example='"/etc/ssl/push.example.com.pem"',
    )
    smtp_server_key_file: FilePath | None = _setting(
        None,
        "Private key (PEM) of that certificate, if it is in a file of its own.",
        example='"/etc/ssl/private/push.example.com.key"',
    )
    smtp_sender_addr: HostPort = _setting(
        None,
        "Mail server, as host:port, through which e-mail goes out (X-Email); needs smtp-sender-from, base-url"
        " and the extra mail. Port 465 is TLS from the start; on others STARTTLS is used if it is offered,"
        " and it must be where a password goes to another machine.",
        example='"mail.example.com:587"',
    )
    smtp_sender_user: Text = _setting("", "User name at that mail server.", example="ntfyish@example.com")
    smtp_sender_pass: Text = _setting("", "Password at that mail server.", example='"change me"', secret=True)
    smtp_sender_from: EmailAddress = _setting(
        "", "Sender's address of that e-mail.", example="ntfyish@example.com"
    )
    smtp_sender_verify: Switch = _setting(
        True,
        "Send e-mail only to addresses of the account that publishes (email and verified-emails). Without"
        " this, everybody who may publish may have this server write to anybody.",
    )

    header_timeout_s: Seconds = _setting(
        75.0,
        "How long a connection may take for a request's header, and be idle between two.",
        section="Limits of connections",
        ge=1,
    )
    body_timeout_s: Seconds = _setting(
        20.0, "How long a request's body may take, besides what body-minimum-rate allows.", ge=1
    )
    body_minimum_rate_bytes: Bytes = _setting(
        10 * _KIB, "Bytes of a body that earn another second for it.", ge=1
    )
    subscriber_backlog_size_bytes: Bytes = _setting(
        _MIB, "Bytes that a slow reader may owe before its stream is cut (it can resume).", ge=4 * _KIB
    )
    subscriber_send_buffer_bytes: Bytes = _setting(
        64 * _KIB, "Size of a stream's send buffer in the kernel.", ge=4 * _KIB, le=1024 * _MIB
    )
    shutdown_timeout_s: Seconds = _setting(
        10.0, "How long requests may take to finish when the server stops.", ge=0
    )
    storage_busy_timeout_s: Seconds = _setting(
        5.0, "How long to wait for a database that another process has locked.", ge=0, le=3600
    )

    enable_metrics: Switch = _setting(
        False, "Answer /metrics with figures for Prometheus, to everybody.", section="Metrics"
    )
    metrics_listen_http: Listen = _setting(
        None,
        "Address for /metrics alone, as host:port; it is not answered on the other addresses then.",
        example='"127.0.0.1:9090"',
    )

    log_level: Annotated[Literal["debug", "info", "warn", "error"], Word] = _setting(
        "info", "debug, info, warn or error.", section="Logs"
    )
    log_format: Annotated[Literal["text", "json"], Word] = _setting("text", "text or json.")
    log_file: FilePath | None = _setting(
        None, "File to write to instead of standard error.", example='"/var/log/ntfyish.log"'
    )

    def __init__(self, *layers: Mapping[str, object]) -> None:
        super().__init__(layers=layers)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the layers, each of which knows where it is from, instead of this process's environment."""
        assert isinstance(init_settings, InitSettingsSource)
        return tuple(InitSettingsSource(settings_cls, layer) for layer in init_settings.init_kwargs["layers"])


def owned_tokens(settings: Settings) -> tuple[OwnedTokenEntry, ...]:
    """Return all declared access tokens: those in ntfy's form, then those of the accounts."""
    return settings.auth_tokens + tuple(
        OwnedTokenEntry(account=account.name, token=token)
        for account in settings.accounts
        for token in account.tokens
    )
