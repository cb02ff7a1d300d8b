"""Checks across several settings. Each stands alone: one mistake hides no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ntfyish.model.acl import EVERYONE
from ntfyish.model.durations import format_duration, format_size
from ntfyish.model.endpoint import endpoint_host
from ntfyish.model.topic import DISALLOWED
from ntfyish.settings.entries import PushDeviceEntry, TopicDeviceEntry, find_sandbox
from ntfyish.settings.schema import Settings, owned_tokens


@dataclass(frozen=True, slots=True)
class Check:
    """A rule between settings.

    Attributes:
        keys: what it looks at; the first is the one that is reported. It is left out if one of them is wrong.
        find: yields what is wrong.
    """

    keys: tuple[str, ...]
    find: Callable[[Settings], Iterator[str]]


def _somewhere_to_listen(settings: Settings) -> Iterator[str]:
    if settings.listen_http is None and settings.listen_unix is None:
        yield "the server would listen nowhere; set listen-http or listen-unix"


def _cache_outlives_sweep(settings: Settings) -> Iterator[str]:
    if 0 < settings.cache_duration_s < settings.manager_interval_s:
        interval = format_duration(settings.manager_interval_s)
        yield f"must be 0, or at least manager-interval, which is {interval}"


def _delay_range(settings: Settings) -> Iterator[str]:
    if settings.message_delay_minimum_s > settings.message_delay_limit_s:
        limit = format_duration(settings.message_delay_limit_s)
        yield f"must be at most message-delay-limit, which is {limit}"


def _message_fits_backlog(settings: Settings) -> Iterator[str]:
    if settings.subscriber_backlog_size_bytes < settings.message_size_limit_bytes:
        limit = format_size(settings.message_size_limit_bytes)
        yield f"must be at least message-size-limit, which is {limit}, or no reader gets such a message"


def _emergency_ranges(settings: Settings) -> Iterator[str]:
    longest = format_duration(settings.pushover_expire_max_s)
    if settings.pushover_retry_min_s > settings.pushover_expire_max_s:
        yield f"pushover-retry-min must be at most pushover-expire-max, which is {longest}"
    if settings.pushover_expire_clamp_s < settings.pushover_expire_max_s:
        yield f"pushover-expire-clamp must be at least pushover-expire-max, which is {longest}"


def _twice(values: Iterator[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if value and count > 1]


def _account_names_differ(settings: Settings) -> Iterator[str]:
    for name in _twice(account.name for account in (*settings.accounts, *settings.auth_users)):
        yield f"the account {name} is declared twice"


def _keys_differ(settings: Settings) -> Iterator[str]:
    addressed: dict[str, str] = {}
    for key, owner in (
        *((account.user_key, f"account {account.name}") for account in settings.accounts),
        *((key.key, f"topic {key.topic}") for key in settings.keys),
        *((group.key, f"group {group.name}") for group in settings.groups),
    ):
        if key and (other := addressed.setdefault(key, owner)) is not owner:
            yield f"{owner} has the same key as {other}"


def _app_tokens_differ(settings: Settings) -> Iterator[str]:
    if _twice(app.token for app in settings.apps):
        yield "two apps have the same token"


def _access_tokens_differ(settings: Settings) -> Iterator[str]:
    if _twice(declared.token.token for declared in owned_tokens(settings)):
        yield "two of the tokens are the same"


def _declared_roles(settings: Settings) -> dict[str, str]:
    return {account.name: account.role for account in (*settings.accounts, *settings.auth_users)}


def _tokens_have_accounts(settings: Settings) -> Iterator[str]:
    for name in sorted({token.account for token in settings.auth_tokens} - _declared_roles(settings).keys()):
        yield f"the account {name} is declared neither in accounts nor in auth-users"


def _entries_have_accounts(settings: Settings) -> Iterator[str]:
    roles = _declared_roles(settings)
    for name in sorted({entry.account for entry in settings.auth_access} - {EVERYONE}):
        if name not in roles:
            yield f"the account {name} is declared neither in accounts nor in auth-users"
        elif roles[name] == "admin":
            yield f"the account {name} is an administrator's, who may do everything; it needs no entries"


def _entries_differ(settings: Settings) -> Iterator[str]:
    for entry in _twice(f"{entry.account}:{entry.pattern}" for entry in settings.auth_access):
        yield f"there are two entries for {entry}"


def _members_differ(settings: Settings) -> Iterator[str]:
    for group in settings.groups:
        for name in _twice(
            f"{member.account}'s device {member.device}" if member.device else member.account
            for member in group.members
        ):
            yield f"{name} is in the group {group.name} twice"


def _subscriptions_have_apps(settings: Settings) -> Iterator[str]:
    for code in _twice(subscription.code for subscription in settings.subscriptions):
        yield f"there are two subscriptions of the code {code}"
    for subscription in settings.subscriptions:
        count = sum(subscription.app in (app.name, app.token) for app in settings.apps)
        if count != 1:
            found = "no app is declared" if not count else "several apps are declared"
            yield f"{found} that the subscription {subscription.code} could be to"


def _signup_needs_login(settings: Settings) -> Iterator[str]:
    if settings.enable_signup and not settings.enable_login:
        yield "needs enable-login"


def _required_login_needs_login(settings: Settings) -> Iterator[str]:
    if settings.require_login and not settings.enable_login:
        yield "needs enable-login"


def _mail_comes_in(settings: Settings) -> Iterator[str]:
    if settings.smtp_server_listen is not None and not settings.smtp_server_domain:
        yield "needs smtp-server-domain"
    if settings.smtp_server_key_file is not None and settings.smtp_server_cert_file is None:
        yield "smtp-server-key-file needs smtp-server-cert-file"


def _mail_goes_out(settings: Settings) -> Iterator[str]:
    if settings.smtp_sender_addr is None:
        return
    if not settings.smtp_sender_from:
        yield "needs smtp-sender-from"
    if not settings.base_url:
        yield "needs base-url, for the address of the topic in the mail"
    if bool(settings.smtp_sender_user) != bool(settings.smtp_sender_pass):
        yield "needs both of smtp-sender-user and smtp-sender-pass, or neither"


def _aliases_differ(settings: Settings) -> Iterator[str]:
    for name in _twice(alias.name for account in settings.accounts for alias in account.aliases):
        yield f"the alias {name} is declared twice"


def _push_apps_differ(settings: Settings) -> Iterator[str]:
    for name in _twice(
        f"{app.bundle_id} ({'sandbox' if app.sandbox else 'production'})" for app in settings.apns
    ):
        yield f"the app {name} is there twice"


def _accounts_devices_have_apps(settings: Settings) -> Iterator[str]:
    for account in settings.accounts:
        for device in account.push_devices:
            if fault := _app_fault(settings, device):
                yield f"the device {device.name} of {account.name}: {fault}"


def _topics_devices_have_apps(settings: Settings) -> Iterator[str]:
    for device in settings.topic_devices:
        if fault := _app_fault(settings, device):
            yield f"a device of {', '.join(device.topics)}: {fault}"


def _app_fault(settings: Settings, device: PushDeviceEntry | TopicDeviceEntry) -> str:
    if find_sandbox(settings.apns, device.bundle_id, device.sandbox) is not None:
        return ""
    where = {None: "", False: " with sandbox: false", True: " with sandbox: true"}[device.sandbox]
    return f"apns has no such app: {device.bundle_id}{where}"


def _push_tokens_differ(settings: Settings) -> Iterator[str]:
    devices: list[PushDeviceEntry | TopicDeviceEntry] = [*settings.topic_devices]
    devices += (device for account in settings.accounts for device in account.push_devices)
    for (_, bundle_id), count in Counter((device.token, device.bundle_id) for device in devices).items():
        if count > 1:
            yield f"two devices of the app {bundle_id} have the same token"


def _web_push_is_complete(settings: Settings) -> Iterator[str]:
    needed = {
        "web-push-public-key": settings.web_push_public_key,
        "web-push-private-key": settings.web_push_private_key,
        "web-push-email-address": settings.web_push_email_address,
    }
    if not any(needed.values()):
        return
    for key, value in needed.items():
        if not value:
            yield f"needs {key}, too"
    if not settings.base_url:
        yield "needs base-url"


def _web_push_keys_are_a_pair(settings: Settings) -> Iterator[str]:
    if not (settings.web_push_public_key and settings.web_push_private_key):
        return
    from ntfyish.model.web_push_keys import read_vapid_keys  # needs cryptography

    try:
        read_vapid_keys(settings.web_push_public_key, settings.web_push_private_key)
    except ValueError as error:
        yield f"{error}; ntfyish webpush keys makes a pair"


def _web_push_hosts(settings: Settings) -> Iterator[str]:
    for host in settings.web_push_endpoint_allow:
        if endpoint_host(f"https://{host}/") != host:
            yield f"{host} must be a host in lower case, with :port if that is not 443"


def _web_push_warns_before(settings: Settings) -> Iterator[str]:
    if settings.web_push_expiry_warning_duration_s >= settings.web_push_expiry_duration_s:
        longest = format_duration(settings.web_push_expiry_duration_s)
        yield f"must be less than web-push-expiry-duration, which is {longest}"


def _upstream_is_another(settings: Settings) -> Iterator[str]:
    if settings.upstream_base_url and not settings.base_url:
        yield "needs base-url, by which the messages are known there"
    if settings.upstream_base_url and settings.upstream_base_url == settings.base_url:
        yield "must be another server than base-url"
    if settings.upstream_access_token and not settings.upstream_base_url:
        yield "upstream-access-token needs upstream-base-url"
    token = settings.upstream_access_token
    if not (token.isascii() and token.isprintable()) or " " in token:
        yield "upstream-access-token is no access token"


def _keys_have_topics(settings: Settings) -> Iterator[str]:
    for key in settings.keys:
        if key.topic in DISALLOWED or key.topic in settings.disallowed_topics:
            yield f"{key.topic} is not allowed as a topic"


CHECKS = (
    Check(("listen-http", "listen-unix"), _somewhere_to_listen),
    Check(("cache-duration", "manager-interval"), _cache_outlives_sweep),
    Check(("message-delay-minimum", "message-delay-limit"), _delay_range),
    Check(("subscriber-backlog-size", "message-size-limit"), _message_fits_backlog),
    Check(("pushover-expire-max", "pushover-expire-clamp", "pushover-retry-min"), _emergency_ranges),
    Check(("accounts", "auth-users"), _account_names_differ),
    Check(("keys", "accounts", "groups"), _keys_differ),
    Check(("apps",), _app_tokens_differ),
    Check(("auth-tokens", "accounts"), _access_tokens_differ),
    Check(("auth-tokens", "auth-users", "accounts"), _tokens_have_accounts),
    Check(("auth-access", "auth-users", "accounts"), _entries_have_accounts),
    Check(("auth-access",), _entries_differ),
    Check(("groups",), _members_differ),
    Check(("accounts",), _aliases_differ),
    Check(
        ("smtp-server-listen", "smtp-server-domain", "smtp-server-key-file", "smtp-server-cert-file"),
        _mail_comes_in,
    ),
    Check(
        ("smtp-sender-addr", "smtp-sender-from", "base-url", "smtp-sender-user", "smtp-sender-pass"),
        _mail_goes_out,
    ),
    Check(("subscriptions", "apps"), _subscriptions_have_apps),
    Check(("enable-signup", "enable-login"), _signup_needs_login),
    Check(("require-login", "enable-login"), _required_login_needs_login),
    Check(("keys", "disallowed-topics"), _keys_have_topics),
    Check(("apns",), _push_apps_differ),
    Check(("accounts", "apns"), _accounts_devices_have_apps),
    Check(("topic-devices", "apns"), _topics_devices_have_apps),
    Check(("topic-devices", "accounts"), _push_tokens_differ),
    Check(
        ("web-push-public-key", "web-push-private-key", "web-push-email-address", "base-url"),
        _web_push_is_complete,
    ),
    Check(("web-push-public-key", "web-push-private-key"), _web_push_keys_are_a_pair),
    Check(("web-push-endpoint-allow",), _web_push_hosts),
    Check(("web-push-expiry-warning-duration", "web-push-expiry-duration"), _web_push_warns_before),
    Check(("upstream-base-url", "base-url", "upstream-access-token"), _upstream_is_another),
)
