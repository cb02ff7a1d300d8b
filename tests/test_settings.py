"""Settings: where they come from, what is refused, and what is said about it."""

import json
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ntfyish.cli.publish import publish
from ntfyish.cli.subscribe import subscribe
from ntfyish.core.declared import declared_people
from ntfyish.model.acl import BOTH, AclEntry, Permission, TopicAccess
from ntfyish.model.people import Flavour, Group, Member, Role
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.settings import (
    ListenAddress,
    Settings,
    SettingsError,
    find_config_file,
    load,
    owned_tokens,
    read,
)
from ntfyish.settings.example import example, report
from ntfyish.settings.loading import default_data_dir
from ntfyish.settings.schema import key_of
from ntfyish.settings.sources import CLIENT_VARIABLES
from ntfyish.settings.yaml_text import read_yaml

HASH = "$2a$10$" + "a" * 53
KEY = "u" + "K" * 29
TOKEN = "a" + "T" * 29
ACCESS_TOKEN = "tk_" + "s" * 29
SECRETS = ("geheim", HASH, KEY, TOKEN, ACCESS_TOKEN)
PEOPLE = "accounts: [{name: phil}, {name: root, role: admin}]\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def mistakes(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, environ or {}, config_file)
    return caught.value.mistakes


def what_is_said(
    flags: Mapping[str, object], environ: Mapping[str, str], config_file: Path | None = None
) -> tuple[str, ...]:
    try:
        load(flags, environ, config_file)
    except SettingsError as error:
        return error.mistakes
    return ()


def of_yaml(config: Path, text: str) -> Settings:
    config.write_text(text)
    return load({}, {}, config)


def mistakes_of_yaml(config: Path, text: str) -> tuple[str, ...]:
    config.write_text(text)
    return mistakes(config_file=config)


def test_without_any_configuration_everything_has_its_default() -> None:
    settings = load({}, {"HOME": "/home/phil"}, None)
    assert settings.listen_http == ListenAddress("127.0.0.1", 8080)
    assert settings.listen_unix is None
    assert settings.base_url == ""
    assert settings.cache_duration_s == 12 * 3600
    assert settings.keepalive_interval_s == 45
    assert settings.message_size_limit_bytes == 4096
    assert settings.message_delay_limit_s == 3 * 86_400
    assert settings.auth_default_access == "read-write"
    assert settings.pushover_message_limit == 1024
    assert settings.pushover_expire_max_s == 10_800
    assert settings.pushover_monthly_limit == 10_000
    assert settings.subscriber_backlog_size_bytes == 1_048_576


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(config: Path) -> None:
    config.write_text("keepalive-interval: 30s\nmanager-interval: 30s\nheader-timeout: 30s\n")
    environ = {"NTFYISH_KEEPALIVE_INTERVAL": "20s", "NTFYISH_MANAGER_INTERVAL": "20s"}
    settings = load({"keepalive_interval": "10s", "manager_interval": None}, environ, config)
    assert settings.keepalive_interval_s == 10
    assert settings.manager_interval_s == 20
    assert settings.header_timeout_s == 30
    assert settings.body_timeout_s == 20


@pytest.mark.parametrize("name", ["keepalive-interval", "keepalive_interval"])
def test_keys_are_written_with_hyphens_or_underscores(config: Path, name: str) -> None:
    assert of_yaml(config, f"{name}: 10s").keepalive_interval_s == 10
    assert load({name: "10s"}, {}, None).keepalive_interval_s == 10


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":80", ListenAddress("", 80)),
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("localhost:0", ListenAddress("localhost", 0)),
        ("[::1]:80", ListenAddress("::1", 80)),
    ],
)
def test_listen_addresses_are_read(text: str, address: ListenAddress) -> None:
    assert load({"listen-http": text}, {}, None).listen_http == address


@pytest.mark.parametrize(
    "text", ["80", "::1:80", "[::1]", "host", "host:", "host:99999", "a b:80", ":-1", "[x]:1"]
)
def test_anything_else_is_no_listen_address(text: str) -> None:
    [mistake] = mistakes({"listen-http": text})
    assert mistake.startswith("listen-http (--listen-http): ")


def test_a_hyphen_switches_http_off_where_there_is_a_unix_socket(tmp_path: Path) -> None:
    settings = load({"listen-http": "-", "listen-unix": str(tmp_path / "s")}, {}, None)
    assert settings.listen_http is None
    assert settings.listen_unix == tmp_path / "s"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (ListenAddress("", 80), "http://127.0.0.1:80"),
        (ListenAddress("::", 80), "http://[::1]:80"),
        (ListenAddress("10.1.2.3", 80), "http://10.1.2.3:80"),
    ],
)
def test_a_listen_address_knows_a_url_that_reaches_it(address: ListenAddress, url: str) -> None:
    assert address.url() == url
    assert ListenAddress("::1", 0).url(8080) == "http://[::1]:8080"


@pytest.mark.parametrize("text", ["https://push.example.com/", "https://push.example.com"])
def test_a_base_url_loses_its_last_slash(text: str) -> None:
    assert load({"base-url": text}, {}, None).base_url == "https://push.example.com"


@pytest.mark.parametrize(
    "text",
    [
        "push.example.com",
        "ftp://push.example.com",
        "https://push.example.com/ntfy",
        "https://push.example.com//",
        "https://push.example.com?x",
        "https://phil:secret@push.example.com",
        "https://push.example.com:port",
        "https://",
        "https://:80",
        "https://a b",
    ],
)
def test_a_base_url_is_http_without_a_path(text: str) -> None:
    assert mistakes({"base-url": text})[0].startswith("base-url (--base-url): ")


def test_yaml_scalars_are_text_until_their_field_says_otherwise(config: Path) -> None:
    settings = of_yaml(
        config, f"accounts:\n  - name: 007\n    password: 0123\n    user-key: '{KEY}'\nlisten-http: :80\n"
    )
    assert settings.accounts[0].name == "007"
    assert settings.accounts[0].password == "0123"


def test_a_file_of_comments_and_blank_values_sets_nothing(config: Path) -> None:
    assert of_yaml(config, "# nothing\n").base_url == ""
    assert of_yaml(config, "base-url:\nkeepalive-interval: ''\nlog-file: null\n") == load({}, {}, None)
    assert load({}, {"NTFYISH_BASE_URL": ""}, None).base_url == ""
    assert load({"base-url": ""}, {"NTFYISH_BASE_URL": "http://x"}, None).base_url == "http://x"


def test_lists_are_yaml_lists_or_separated_by_commas(config: Path) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert of_yaml(config, "proxy-trusted-hosts: [10.0.0.0/8, '::1']").proxy_trusted_hosts == networks
    assert of_yaml(config, "proxy-trusted-hosts: 10.0.0.1/8, ::1").proxy_trusted_hosts == (
        ip_network("10.0.0.0/8"),
        ip_network("::1"),
    )
    assert load({}, {"NTFYISH_DISALLOWED_TOPICS": "a, b"}, None).disallowed_topics == ("a", "b")


def test_accounts_apps_and_keys_may_come_from_the_environment_as_json() -> None:
    environ = {
        "NTFYISH_ACCOUNTS": json.dumps([{"name": "phil", "password_hash": HASH, "devices": ["droid2"]}]),
        "NTFYISH_APPS": json.dumps([{"name": "Backups", "token": TOKEN, "account": "phil"}], indent=1),
        "NTFYISH_KEYS": json.dumps([{"key": KEY, "topic": "alerts"}]),
    }
    settings = load({}, environ, None)
    assert settings.accounts[0].devices == ("droid2",)
    assert settings.apps[0].token == TOKEN
    assert settings.keys[0].topic == "alerts"


def test_every_mistake_is_reported_at_once_with_its_key_and_its_place(config: Path) -> None:
    config.write_text(
        "keepalive-interval: 2s\n"
        "cache-duraton: 3h\n"
        "message-size-limit: 12T\n"
        "accounts:\n"
        "  - name: phil\n"
        "    rolle: user\n"
        "    role: boss\n"
        "  - role: user\n"
        "cache-duration: 30s\n"
    )
    found = mistakes({"log-level": "loud"}, {"NTFYISH_LISTN_HTTP": ":80", "NTFYISH_BASE_URL": "x"}, config)
    assert sorted(found) == sorted(
        [
            "NTFYISH_LISTN_HTTP: there is no such setting; did you mean NTFYISH_LISTEN_HTTP?",
            f"cache-duraton ({config} line 2): there is no such setting; did you mean cache-duration?",
            f"keepalive-interval ({config} line 1): must be at least 5s",
            f"message-size-limit ({config} line 3): '12T' is not a size; write it like 4096, 4K, 15M or 1G",
            f"accounts[0].rolle ({config} line 6): there is no such key; did you mean role?",
            f"accounts[0].role ({config} line 7): must be one of 'user' or 'admin'",
            f"accounts[1].name ({config} line 8): is missing",
            "log-level (--log-level): must be one of 'debug', 'info', 'warn' or 'error'",
            "base-url (NTFYISH_BASE_URL): 'x' is not http(s)://host[:port] without a path",
            f"cache-duration ({config} line 9): must be 0, or at least manager-interval, which is 1m",
        ]
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("keepalive-interval: 4s", "keepalive-interval"),
        ("keepalive-interval: 45", "keepalive-interval"),
        ("keepalive-interval: [1s]", "keepalive-interval"),
        ("manager-interval: 1s", "manager-interval"),
        ("cache-duration: -1h", "cache-duration"),
        ("message-size-limit: 6M", "message-size-limit"),
        ("message-size-limit: 0", "message-size-limit"),
        ("message-delay-minimum: 4d", "message-delay-minimum"),
        ("auth-default-access: all", "auth-default-access"),
        ("behind-proxy: perhaps", "behind-proxy"),
        ("proxy-forwarded-header: 'X Y'", "proxy-forwarded-header"),
        ("proxy-trusted-hosts: example.org", "proxy-trusted-hosts[0]"),
        ("disallowed-topics: [a/b]", "disallowed-topics[0]"),
        ("listen-unix-mode: 999", "listen-unix-mode"),
        ("pushover-quota-timezone: Mars/Base", "pushover-quota-timezone"),
        ("pushover-quota-timezone: ../../../etc/passwd", "pushover-quota-timezone"),
        ("pushover-quota-timezone: America", "pushover-quota-timezone"),
        ("pushover-message-limit: -1", "pushover-message-limit"),
        ("pushover-expire-max: 2d", "pushover-expire-max"),
        ("pushover-retry-min: 4h", "pushover-expire-max"),
        ("listen-http: '-'", "listen-http"),
        ("subscriber-backlog-size: 4K\nmessage-size-limit: 5K", "subscriber-backlog-size"),
        ("accounts: phil", "accounts"),
        ("accounts: [phil]", "accounts[0]"),
        ("accounts: [{name: a b}]", "accounts[0].name"),
        ("accounts: [{name: phil, password: ['x']}]", "accounts[0].password"),
        ("accounts: [{name: phil, user-key: short}]", "accounts[0].user-key"),
        ("accounts: [{name: phil, devices: [a b]}]", "accounts[0].devices[0]"),
        ("accounts: [{name: phil, devices: [{name: x}]}]", "accounts[0].devices[0]"),
        (f"accounts: [{{name: phil, password: x, password-hash: {HASH}}}]", "accounts[0]"),
        (f"accounts: [{{name: phil, password: {'x' * 73}}}]", "accounts[0].password"),
        ('accounts: [{name: phil, password: "a\\0b"}]', "accounts[0].password"),
        ("accounts: [{name: phil}, {name: phil}]", "accounts"),
        (f"accounts: [{{name: phil}}]\nauth-users: ['phil:{HASH}:user']", "accounts"),
        (f"accounts: [{{name: p, user-key: {KEY}}}]\nkeys: [{{key: {KEY}, topic: t}}]", "keys"),
        (f"apps: [{{name: a, token: {TOKEN}, account: p, monthly-limit: many}}]", "apps[0].monthly-limit"),
        (f"apps: [{{name: a, token: {TOKEN}, account: p, flavour: sweet}}]", "apps[0].flavour"),
        (f"apps: [{{name: a, token: {TOKEN}}}]", "apps[0].account"),
        (f"apps: [{{name: a, token: {TOKEN}, account: p}}, {{name: b, token: {TOKEN}, account: p}}]", "apps"),
        ('apps: [{name: "a\\eb", token: x, account: p}]', "apps[0].name"),
        (f"keys: [{{key: {KEY}, topic: v1}}]", "keys"),
        (f"keys: [{{key: {KEY}, topic: mine}}]\ndisallowed-topics: [mine]", "keys"),
        ("auth-users: ['phil:secret:user']", "auth-users[0]"),
        (f"auth-users: ['phil:{HASH}:boss']", "auth-users[0]"),
        (f"auth-users: ['phil:{HASH}']", "auth-users[0]"),
        (f"auth-tokens: ['phil:tk_{'x' * 29}']", "auth-tokens"),
        (f"auth-users: ['phil:{HASH}:user']\nauth-tokens: ['phil:{'x' * 32}']", "auth-tokens[0]"),
        (f"{PEOPLE}auth-tokens: ['phil:{ACCESS_TOKEN}', 'phil:{ACCESS_TOKEN}']", "auth-tokens"),
        (
            f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}}}]}}]\n"
            f"auth-tokens: ['phil:{ACCESS_TOKEN}']",
            "auth-tokens",
        ),
        ("accounts: [{name: phil, tokens: [{token: tk_short}]}]", "accounts[0].tokens[0].token"),
        ("accounts: [{name: phil, tokens: [{label: x}]}]", "accounts[0].tokens[0].token"),
        ("accounts: [{name: phil, tokens: x}]", "accounts[0].tokens"),
        (
            f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}, permissions: write}}]}}]",
            "accounts[0].tokens[0].permissions[0]",
        ),
        (
            f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}, permissions: []}}]}}]",
            "accounts[0].tokens[0].permissions",
        ),
        (
            f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}, topics: ['a/b']}}]}}]",
            "accounts[0].tokens[0].topics[0]",
        ),
        ("accounts: [{name: everyone}]", "accounts[0].name"),
        (f"auth-users: ['everyone:{HASH}:user']", "auth-users[0]"),
        (f"{PEOPLE}auth-access: ['phil:x']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: ['phil:x:rw:y']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: ['phil:x y:rw']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: ['phil:{'x' * 65}:rw']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: ['phil:x:all']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: [':x:rw']", "auth-access[0]"),
        (f"{PEOPLE}auth-access: [{{phil: x}}]", "auth-access[0]"),
        (f"{PEOPLE}auth-access: ['vera:x:rw']", "auth-access"),
        (f"{PEOPLE}auth-access: ['root:x:rw']", "auth-access"),
        ("auth-access: ['everyone:x:rw', '*:x:ro']", "auth-access"),
        (f"groups: [{{name: a, key: {KEY}}}]", "groups[0].account"),
        ("groups: [{name: a, key: short, account: p}]", "groups[0].key"),
        (f"groups: [{{name: a, key: {KEY}, account: p, members: [p]}}]", "groups[0].members[0]"),
        (
            f"groups: [{{name: a, key: {KEY}, account: p, members: [{{account: p, memo: {'x' * 201}}}]}}]",
            "groups[0].members[0].memo",
        ),
        (
            f"groups: [{{name: a, key: {KEY}, account: p, members: [{{account: p}}, {{account: p}}]}}]",
            "groups",
        ),
        (
            f"keys: [{{key: {KEY}, topic: t}}]\ngroups: [{{name: a, key: {KEY}, account: p}}]",
            "keys",
        ),
        ("enable-signup: true", "enable-signup"),
        ("require-login: true", "require-login"),
        ("visitor-request-limit-burst: 0", "visitor-request-limit-burst"),
        ("visitor-request-limit-replenish: 0s", "visitor-request-limit-replenish"),
        ("visitor-request-limit-replenish: 5", "visitor-request-limit-replenish"),
        ("visitor-message-daily-limit: -1", "visitor-message-daily-limit"),
        ("visitor-subscription-limit: 0", "visitor-subscription-limit"),
        ("visitor-prefix-bits-ipv4: 33", "visitor-prefix-bits-ipv4"),
        ("visitor-prefix-bits-ipv4: 0", "visitor-prefix-bits-ipv4"),
        ("visitor-prefix-bits-ipv6: 129", "visitor-prefix-bits-ipv6"),
        ("global-topic-limit: 0", "global-topic-limit"),
        ("a: 1", "a "),
    ],
)
def test_what_is_wrong_is_refused_under_its_key(config: Path, text: str, start: str) -> None:
    assert mistakes_of_yaml(config, text)[0].startswith(start)


def test_a_wrong_value_does_not_hide_what_is_wrong_between_others(config: Path) -> None:
    found = mistakes_of_yaml(
        config,
        "base-url: x\nlisten-http: '-'\nmanager-interval: 1h\ncache-duration: 1m\nmessage-delay-limit: 1s\n",
    )
    assert [mistake.split(" ")[0] for mistake in found] == [
        "base-url",
        "listen-http",
        "cache-duration",
        "message-delay-minimum",
    ]


def test_without_a_cache_the_interval_of_its_sweeps_does_not_matter(config: Path) -> None:
    assert of_yaml(config, "cache-duration: 0\nmanager-interval: 1h").cache_duration_s == 0


def test_ntfy_s_users_and_tokens_are_read_from_their_lines(config: Path) -> None:
    token = "tk_" + "s" * 29
    settings = of_yaml(
        config, f"auth-users:\n  - 'phil:{HASH}:admin'\nauth-tokens:\n  - 'phil:{token}:my: label'\n"
    )
    [account] = settings.auth_users
    assert (account.name, account.password_hash, account.role) == ("phil", HASH, "admin")
    [declared] = settings.auth_tokens
    assert (declared.account, declared.token.token, declared.token.label) == ("phil", token, "my: label")


def test_ntfy_s_access_entries_are_read_from_their_lines(config: Path) -> None:
    lines = ["everyone:up*:write-only", "*:a_b:RO", "phil:*:deny", " phil : x : rw ", "phil:X:read"]
    settings = of_yaml(config, f"{PEOPLE}auth-access: {json.dumps(lines)}")
    assert [(one.account, one.pattern, one.access) for one in settings.auth_access] == [
        ("*", "up*", TopicAccess.WRITE_ONLY),
        ("*", "a_b", TopicAccess.READ_ONLY),
        ("phil", "*", TopicAccess.DENY_ALL),
        ("phil", "x", TopicAccess.READ_WRITE),
        ("phil", "X", TopicAccess.READ_ONLY),
    ]
    environ = {"NTFYISH_AUTH_ACCESS": "everyone:up*:wo, everyone:x:none"}
    assert len(load({}, environ, None).auth_access) == 2


def test_the_limits_of_visitors_have_ntfy_s_names_and_defaults() -> None:
    settings = load({}, {}, None)
    assert settings.visitor_request_limit_burst == 60
    assert settings.visitor_request_limit_replenish_s == 5
    assert settings.visitor_request_limit_exempt_hosts == ()
    assert settings.visitor_message_daily_limit == 0
    assert settings.visitor_subscription_limit == 30
    assert settings.visitor_auth_failure_limit_burst == 30
    assert settings.visitor_auth_failure_limit_replenish_s == 60
    assert settings.visitor_account_creation_limit_burst == 3
    assert settings.visitor_account_creation_limit_replenish_s == 86_400
    assert settings.visitor_topic_creation_limit_burst == 100
    assert settings.visitor_topic_creation_limit_replenish_s == 60
    assert (settings.visitor_prefix_bits_ipv4, settings.visitor_prefix_bits_ipv6) == (32, 64)
    assert settings.global_topic_limit == 15_000
    assert not settings.enable_login
    assert not settings.enable_signup
    assert not settings.enable_reservations
    assert not settings.require_login


def test_exempt_hosts_are_addresses_networks_or_names() -> None:
    hosts = "10.0.0.7/8, ::1, printer, printer.example.com"
    settings = load({"visitor-request-limit-exempt-hosts": hosts}, {}, None)
    assert settings.visitor_request_limit_exempt_hosts == (
        ip_network("10.0.0.0/8"),
        ip_network("::1"),
        "printer",
        "printer.example.com",
    )


@pytest.mark.parametrize(
    "host", ["10.0.0.256", "10.0.0.0/33", "a b", "-x", "x..y", "x" * 64, "1.2.3", "[::1]"]
)
def test_anything_else_is_no_exempt_host(host: str) -> None:
    [mistake] = mistakes({"visitor-request-limit-exempt-hosts": host})
    assert mistake.startswith("visitor-request-limit-exempt-hosts[0] (")


def test_signup_and_required_login_work_where_login_is_enabled(config: Path) -> None:
    settings = of_yaml(config, "enable-login: true\nenable-signup: true\nrequire-login: true")
    assert settings.enable_signup
    assert settings.require_login


def test_the_legacy_profile_changes_the_limits_that_are_not_set(config: Path) -> None:
    settings = of_yaml(config, "pushover-profile: Legacy\npushover-monthly-limit: 5")
    assert settings.pushover_message_limit == 512
    assert settings.pushover_expire_max_s == 86_400
    assert settings.pushover_monthly_limit == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1, 2", "this is not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("base-url: http://a\nbase_url: http://b\n", "base-url is set twice"),
        ("? [a]\n: b\n", "a key must be text"),
        ("accounts: &a [*a]\n", "too deeply nested"),
        ("x: " + "[" * 5000 + "]" * 5000, "too deeply nested"),
        ("a: \x01", "this is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "this is not valid YAML"),
    ],
)
def test_a_broken_file_is_one_mistake_among_others(config: Path, text: str, problem: str) -> None:
    config.write_text(text)
    found = mistakes({"log-level": "loud"}, {}, config)
    assert any(problem in mistake and str(config) in mistake for mistake in found)
    assert any(mistake.startswith("log-level") for mistake in found)


def test_control_characters_are_escaped_in_what_is_said(config: Path) -> None:
    [mistake] = mistakes_of_yaml(config, '"a\\e[2J\\nb": 1')
    assert mistake.startswith("a\\x1b[2J\\nb (")


def test_accounts_may_leave_their_user_keys_to_the_store(config: Path) -> None:
    settings = of_yaml(config, "accounts: [{name: phil}, {name: vera}]")
    assert [account.user_key for account in settings.accounts] == ["", ""]


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "latin.yml").write_bytes(b"base-url: \xff")
    assert mistakes(config_file=tmp_path / "latin.yml") == (f"{tmp_path}/latin.yml: is not UTF-8",)
    assert "cannot be read: No such file" in mistakes(config_file=tmp_path / "none.yml")[0]
    assert "cannot be read: Is a directory" in mistakes(config_file=tmp_path)[0]


def test_broken_structures_in_the_environment_are_mistakes() -> None:
    [mistake] = mistakes(environ={"NTFYISH_ACCOUNTS": "[{"})
    assert mistake.startswith("accounts (NTFYISH_ACCOUNTS): this is not valid YAML")


@pytest.mark.parametrize(
    "text",
    [
        "accounts: [{name: phil, password-hash: geheim}]",
        "accounts: [{name: phil, password: *geheim}]",
        "accounts: [{name: phil, password: !geheim!x y}]",
        "accounts: [{name: phil, password: 'geheim' 'geheim'}]",
        "accounts: [{name: phil, password: %geheim}]",
        f"accounts: [{{name: phil, password: {'geheim' * 20}}}]",
        "accounts: [{name: phil, password: [geheim]}]",
        "accounts: geheim",
        "base-url: https://phil:geheim@example.org",
        "accounts: [geheim]",
        f"accounts: [{{name: phil, password: geheim, password-hash: {HASH}}}]",
        f"accounts: [{{name: phil, user-key: {KEY}x}}]",
        f"accounts: [{{name: phil, user-key: {KEY}}}, {{name: p, user-key: {KEY}}}]",
        f"apps: [{{name: a, token: {TOKEN}x, account: p}}]",
        f"apps: [{{name: a, token: {TOKEN}, account: p}}, {{name: b, token: {TOKEN}, account: p}}]",
        f"keys: [{{key: {KEY}x, topic: t}}]",
        "auth-users: ['geheim']",
        "auth-users: ['phil:geheim:user']",
        f"auth-users: ['phil:{HASH}:geheim']",
        f"auth-tokens: ['geheim:tk_{'s' * 29}', 'x:geheim', 'geheim']",
        f"auth-users: ['phil:{HASH}:user']\nauth-tokens: ['phil:tk_{'s' * 29}', 'phil:tk_{'s' * 29}']",
        f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}x}}, {ACCESS_TOKEN}]}}]",
        f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}}}, {{token: {ACCESS_TOKEN}}}]}}]",
        f"auth-access: ['{ACCESS_TOKEN}', 'phil:{HASH}:geheim', 'phil:x:geheim']",
        f"groups: [{{name: a, key: {KEY}x, account: p}}]",
    ],
)
def test_no_message_contains_a_secret(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load({}, {}, config)
    told = repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)
    for secret in SECRETS:
        assert secret not in told


def test_the_repr_of_settings_contains_no_secret(config: Path) -> None:
    settings = of_yaml(
        config,
        f"accounts: [{{name: p, password: geheim, user-key: {KEY}, tokens: [{{token: {ACCESS_TOKEN}}}]}},\n"
        f"  {{name: q, password-hash: {HASH}}}]\ngroups: [{{name: g, key: g{KEY[1:]}, account: p}}]\n"
        f"apps: [{{name: a, token: {TOKEN}, account: p}}]\nkeys: [{{key: t{KEY[1:]}, topic: t}}]\n"
        f"auth-users: ['phil:{HASH}:user']\nauth-tokens: ['phil:tk_{'r' * 29}']",
    )
    shown = (
        repr(settings) + str(settings) + repr(settings.accounts) + repr(settings.apps) + repr(settings.keys)
    )
    shown += (
        repr(settings.auth_tokens)
        + repr(settings.groups)
        + repr(owned_tokens(settings))
        + report(read({}, {}, config), config)
    )
    for secret in (*SECRETS, KEY[1:], "r" * 29):
        assert secret not in shown


def test_settings_cannot_be_changed() -> None:
    settings = load({}, {}, None)
    with pytest.raises(ValidationError):
        settings.base_url = "http://x"


def test_what_kubernetes_and_the_client_commands_set_is_no_setting() -> None:
    environ = {
        "NTFYISH_SERVICE_HOST": "10.0.0.1",
        "NTFYISH_SERVICE_PORT": "80",
        "NTFYISH_SERVICE_PORT_HTTP": "80",
        "NTFYISH_PORT": "tcp://10.0.0.1:80",
        "NTFYISH_PORT_80_TCP": "tcp://10.0.0.1:80",
        "NTFYISH_PORT_80_TCP_ADDR": "10.0.0.1",
        "NTFYISH_CONFIG": "x",
        "NTFYISH_TOPIC": "alerts",
    }
    assert load({}, environ, None) == load({}, {}, None)


def test_every_variable_of_the_client_commands_is_known_to_be_no_setting() -> None:
    variables = {parameter.envvar for command in (publish, subscribe) for parameter in command.params}
    assert variables - {None} <= CLIENT_VARIABLES
    settings = {"NTFYISH_" + key_of(name).replace("-", "_").upper() for name in Settings.model_fields}
    assert not settings & CLIENT_VARIABLES


def test_the_environment_of_the_process_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTFYISH_KEEPALIVE_INTERVAL", "10s")
    monkeypatch.setenv("keepalive-interval", "10s")
    assert load({}, {}, None).keepalive_interval_s == 45


def test_the_data_is_in_a_folder_of_the_user_unless_root_has_one_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir({"XDG_DATA_HOME": "/xdg", "HOME": "/home/phil"}, tmp_path) == "/xdg/ntfyish"
    assert default_data_dir({"XDG_DATA_HOME": "xdg", "HOME": "/h"}, tmp_path) == "/h/.local/share/ntfyish"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir({"HOME": "/root"}, tmp_path) == str(tmp_path)
    assert default_data_dir({"HOME": "/root"}, tmp_path / "none") == "/root/.local/share/ntfyish"


def test_a_relative_data_dir_becomes_absolute_and_a_tilde_the_home_folder() -> None:
    assert load({"data-dir": "here"}, {}, None).data_dir == Path.cwd() / "here"
    assert load({"data-dir": "~/there"}, {}, None).data_dir == Path.home() / "there"
    assert "home folder" in mistakes({"data-dir": "~nobody-of-that-name/x"})[0]


def test_the_configuration_file_is_named_by_the_environment_or_is_the_system_s(tmp_path: Path) -> None:
    there = tmp_path / "config.yml"
    assert find_config_file({}, there) is None
    there.touch()
    assert find_config_file({}, there) == there
    assert find_config_file({"NTFYISH_CONFIG": "/else.yml"}, there) == Path("/else.yml")


def test_it_is_known_where_each_setting_comes_from(config: Path) -> None:
    config.write_text("\nkeepalive-interval: 10s\npushover-profile: legacy\n")
    loaded = read({"log-level": "debug"}, {"NTFYISH_LOG_FORMAT": "json"}, config)
    assert loaded.origins == {
        "log-level": "--log-level",
        "log-format": "NTFYISH_LOG_FORMAT",
        "keepalive-interval": f"{config} line 2",
        "pushover-profile": f"{config} line 3",
        **dict.fromkeys(
            (
                "pushover-message-limit",
                "pushover-title-limit",
                "pushover-expire-max",
                "pushover-monthly-limit",
            ),
            "pushover-profile",
        ),
    }


def test_the_example_is_up_to_date() -> None:
    assert (Path(__file__).parent.parent / "config.example.yml").read_text() == example(), (
        "make it anew: ntfyish serve --print-config > config.example.yml"
    )


def uncommented(text: str) -> str:
    lines = [line for line in text.splitlines() if not re.match(r"# \S|#$", line)]
    return "\n".join(line.removeprefix("#") for line in lines)


def test_the_example_can_be_switched_on_as_a_whole(config: Path) -> None:
    text = uncommented(example())
    settings = of_yaml(config, text)
    document = read_yaml(text)
    assert isinstance(document.value, dict)
    assert set(document.value) == {key_of(name) for name in Settings.model_fields}
    assert settings.accounts[0].name == "phil"
    assert settings.auth_tokens[0].account == "ben"
    assert settings.listen_unix_mode == 0o660


def test_what_the_example_gives_as_a_default_is_the_default(config: Path) -> None:
    text = "\n".join(part.split("\n# Not set by default")[0] for part in example().split("\n\n"))
    assert of_yaml(config, uncommented(text)) == load({}, {}, None)


def test_declared_people_are_accounts_apps_keys_and_tokens(config: Path) -> None:
    token = "tk_" + "s" * 25 + "wxyz"
    settings = of_yaml(
        config,
        "accounts:\n"
        f"  - {{name: phil, password: geheim, role: admin, user-key: {KEY}, devices: [droid2],\n"
        "     stream: false}\n"
        f"  - {{name: vera}}\n"
        f"auth-users: ['ben:{HASH}:user']\n"
        f"auth-tokens: ['ben:{token}:backups']\n"
        "apps:\n"
        f"  - {{name: A, token: {TOKEN}, account: phil, flavour: nzbclient, monthly-limit: 0,\n"
        "     enabled: false}\n"
        f"  - {{name: B, token: b{TOKEN[1:]}, account: phil}}\n"
        f"keys: [{{key: t{KEY[1:]}, topic: alerts}}]\n"
        "pushover-monthly-limit: 77\n",
    )
    people = declared_people(settings, 1_750_000_000)
    phil, vera, ben = people.accounts
    assert (phil.role, phil.user_key, phil.devices, phil.stream) == (Role.ADMIN, KEY, ("droid2",), False)
    assert phil.password_hash.startswith("$2b$10$")
    assert (vera.user_key, vera.password_hash) == ("", "")
    assert ben.password_hash == HASH
    first, second = people.apps
    assert (first.flavour, first.monthly_limit, first.enabled) == (Flavour.NZBCLIENT, 0, False)
    assert second.monthly_limit == 77
    assert people.keys[0].topic == "alerts"
    assert (people.tokens[0].label, people.tokens[0].hint) == ("backups", token[:11])
    assert all(
        one.declared for many in (people.accounts, people.apps, people.keys, people.tokens) for one in many
    )


def test_declared_people_are_also_limited_tokens_access_entries_and_groups(config: Path) -> None:
    settings = of_yaml(
        config,
        "accounts:\n"
        "  - name: phil\n"
        "    tokens:\n"
        f"      - {{token: {ACCESS_TOKEN}, label: bell, permissions: Publish, topics: [door, 'up*']}}\n"
        f"      - {{token: tk_{'r' * 29}, permissions: 'subscribe, publish'}}\n"
        "auth-access: ['everyone:door:ro', 'phil:up*:wo']\n"
        f"groups: [{{name: G, key: {KEY}, account: phil,\n"
        "  members: [{account: phil}, {account: vera, device: pad, memo: m, enabled: false}]}]\n",
    )
    people = declared_people(settings, 1_750_000_000)
    bell, other = people.tokens
    assert (bell.account, bell.label, bell.permissions) == ("phil", "bell", {Permission.WRITE})
    assert bell.patterns == ("door", "up*")
    assert (other.permissions, other.patterns, other.is_limited) == (BOTH, (), False)
    assert bell.token_hash != other.token_hash
    assert people.access == (
        AclEntry(account="*", pattern="door", access=TopicAccess.READ_ONLY, declared=True),
        AclEntry(account="phil", pattern="up*", access=TopicAccess.WRITE_ONLY, declared=True),
    )
    members = (Member(account="phil"), Member(account="vera", device="pad", memo="m", enabled=False))
    assert people.groups == (Group(key=KEY, name="G", account="phil", members=members, declared=True),)


APNS = """
apns:
- {bundle-id: app.example, key-file: AuthKey.p8, key-id: K, team-id: T}
- {bundle-id: app.example, sandbox: true, key-file: AuthKey.p8, key-id: K, team-id: T}
- {bundle-id: app.beta, sandbox: true, certificate-file: beta.pem}
"""


def test_declared_people_have_devices_that_are_pushed_to(config: Path) -> None:
    settings = of_yaml(
        config,
        APNS + "accounts:\n"
        "- name: phil\n"
        "  devices:\n"
        "  - droid2\n"
        f"  - {{name: phone, kind: apns, token: {'AB' * 32}, bundle-id: app.example, topics: [a, b, a]}}\n"
        f"  - {{name: pad, token: {'cd' * 32}, bundle-id: app.example, sandbox: true}}\n"
        f"  - {{name: beta, token: {'ab' * 32}, bundle-id: app.beta}}\n"
        "topic-devices:\n"
        f"- {{topics: 'alerts, backups', token: {'ef' * 8}, bundle-id: app.example, sandbox: false}}\n",
    )
    people = declared_people(settings, 1_750_000_000.9)
    phone, pad, beta, sign = people.push_devices
    assert people.accounts[0].devices == ("droid2",)
    assert phone == PushDevice(
        id=phone.id,
        kind=PushKind.APNS,
        account="phil",
        name="phone",
        topics=("a", "b"),
        token="ab" * 32,
        bundle_id="app.example",
        sandbox=False,
        registered_at=1_750_000_000,
        declared=True,
    )
    assert (pad.name, pad.sandbox, beta.name, beta.sandbox) == ("pad", True, "beta", True)
    assert (sign.account, sign.name, sign.topics, sign.sandbox) == ("", "", ("alerts", "backups"), False)
    assert len({device.id for device in people.push_devices}) == 4


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (f"{{name: phone, token: {'ab' * 32}, bundle-id: app.other}}", "apns has no such app: app.other"),
        (f"{{name: p, token: {'ab' * 32}, bundle-id: app.beta, sandbox: no}}", "apns has no such app"),
        ("{name: phone, token: nothex, bundle-id: app.beta}", "must be hex digits"),
        (f"{{name: phone, token: {'ab' * 101}, bundle-id: app.beta}}", "must be hex digits"),
        (f"{{name: phone, kind: fcm, token: {'ab' * 32}, bundle-id: app.beta}}", "apns"),
        (f"{{name: my phone, token: {'ab' * 32}, bundle-id: app.beta}}", "must be 1 to 25"),
        (f"{{token: {'ab' * 32}, bundle-id: app.beta}}", "name"),
        (f"phone, {{name: phone, token: {'ab' * 32}, bundle-id: app.beta}}", "have the same name"),
        (
            f"{{name: a, token: {'ab' * 32}, bundle-id: app.beta}},"
            f" {{name: b, token: {'AB' * 32}, bundle-id: app.beta}}",
            "two devices of the app app.beta have the same token",
        ),
        (f"{{name: a, token: {'ab' * 32}, bundle-id: app.beta, topics: 'a b'}}", "must be 1 to 64"),
    ],
)
def test_what_cannot_be_pushed_to_is_refused(config: Path, devices: str, words: str) -> None:
    found = mistakes_of_yaml(config, f"{APNS}\naccounts: [{{name: phil, devices: [{devices}]}}]")
    assert any(words in mistake for mistake in found), found
    assert not any("abab" in mistake.lower() for mistake in found), "a token is shown"


def test_an_unknown_key_within_an_entry_is_compared_with_those_that_belong_there(config: Path) -> None:
    [mistake] = mistakes_of_yaml(
        config, f"accounts: [{{name: phil, tokens: [{{token: {ACCESS_TOKEN}, topic: x}}]}}]"
    )
    assert mistake.endswith("there is no such key; did you mean topics?")


@pytest.mark.parametrize(
    ("yaml", "known"),
    [
        ("apns: [{bundle-id: app.beta, certificate-file: c.pem, sandbx: true}]", "sandbox"),
        ("topic-devices: [{topics: a, token: XX, bundle-id: app.beta, sandbx: true}]", "sandbox"),
        ("subscriptions: [{code: a-b, ap: c}]", "app"),
        ("accounts: [{name: phil, aliases: [{name: a, soundd: bike}]}]", "sound"),
        ("accounts: [{name: phil, devices: [{name: a, token: XX, bundle-id: a.b, topic: a}]}]", "topics"),
    ],
)
def test_an_unknown_key_is_a_mistake_in_every_list(config: Path, yaml: str, known: str) -> None:
    found = mistakes_of_yaml(config, yaml.replace("XX", "ab" * 32))
    assert any(mistake.endswith(f"there is no such key; did you mean {known}?") for mistake in found), found


def test_what_is_wrong_with_an_accounts_device_is_said_once_and_of_its_key(config: Path) -> None:
    found = mistakes_of_yaml(
        config, "accounts: [{name: phil, devices: [{name: a b, token: 7f, bundle-id: a.b}]}]"
    )
    assert sorted(mistake.partition(" (")[0] for mistake in found) == [
        "accounts[0].devices[0].name",
        "accounts[0].devices[0].token",
    ]


def test_a_device_without_an_app_is_named_where_it_is_declared(config: Path) -> None:
    app, token = "bundle-id: app.gamma", "ab" * 32
    found = mistakes_of_yaml(
        config,
        f"{APNS}\naccounts: [{{name: phil, devices: [{{name: a, token: {token}, {app}}}]}}]\n"
        f"topic-devices: [{{topics: [b, c], token: {token}, {app}, sandbox: true}}]",
    )
    said = {mistake.partition(" (")[0]: mistake.partition("): ")[2] for mistake in found}
    assert said["accounts"] == "the device a of phil: apns has no such app: app.gamma"
    assert "a device of b, c: apns has no such app: app.gamma with sandbox: true" in "".join(found)


def test_the_report_says_of_a_secret_only_whether_it_is_set() -> None:
    settings = {"upstream-access-token": "tk_hidden", "upstream-base-url": "https://x.example"}
    loaded = read({**settings, "base-url": "https://y.example"}, {}, None)
    lines = report(loaded, None)
    assert "\nupstream-access-token: set, and not shown  (--upstream-access-token)\n" in lines
    assert "\nsmtp-sender-pass:   (default)\n" in lines


@given(
    st.dictionaries(st.sampled_from([key_of(name) for name in Settings.model_fields]), st.text(max_size=40))
)
def test_no_values_break_the_settings(values: dict[str, str]) -> None:
    environ = {"NTFYISH_" + key.upper().replace("-", "_"): value for key, value in values.items()}
    for flags, environment in ((values, {}), ({}, environ)):
        assert all(line.isprintable() for line in what_is_said(flags, environment))


@given(st.binary(max_size=200))
def test_no_file_breaks_the_settings(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.yml"
    path.write_bytes(content)
    assert all(line.isprintable() for line in what_is_said({}, {}, path))
