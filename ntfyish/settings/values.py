"""How each kind of value is written: the annotated types of the settings' fields.

Flags and the environment give text, and so does the YAML file (its scalars are not typed before they get
here, so that ``0123`` stays a password and ``1:30`` no number of seconds). Python callers may also pass the
values themselves. What is wrong is a `ValueError` whose text says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator

from ntfyish.model.acl import PATTERN
from ntfyish.model.durations import parse_duration, parse_size
from ntfyish.model.errors import Invalid
from ntfyish.model.mail_address import HOST, is_mail_address
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, ALIAS_PATTERN, DEVICE_PATTERN, KEY_PATTERN
from ntfyish.model.push import APNS_TOKEN_PATTERN, BUNDLE_ID_PATTERN
from ntfyish.model.topic import TOPIC_PATTERN

_SWITCHES = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_BASE_URL = re.compile(r"https?://[^\s/?#@\\]+/?", re.IGNORECASE)
_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})"
)
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MODE = re.compile(r"(?:0o?)?([0-7]{3})")
EVERYBODY_WORD = "everyone"  # instead of "*" in an access entry
_LONGEST_SHOWN = 60
_LONGEST_NAME = 250


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen: `host` is "" for all interfaces, `port` is 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, port: int = 0) -> str:
        """Return a URL that reaches it from this machine; `port` says which one it became if it was 0."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{ListenAddress(host, port or self.port)}"


def show(value: object) -> str:
    """Return `value` as it may stand in a message: quoted, escaped, not too long."""
    text = value if isinstance(value, str) else repr(value)
    return ascii(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip()


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return parse_duration(_text(value))
    except Invalid:
        raise ValueError(f"{show(value)} is not a duration; write it like 500ms, 45s, 1h30m or 2d") from None


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return parse_size(_text(value))
    except Invalid:
        raise ValueError(f"{show(value)} is not a size; write it like 4096, 4K, 15M or 1G") from None


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value)
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise ValueError(f"{show(value)} is not a whole number")
    return int(text)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    switch = _SWITCHES.get(_text(value).lower())
    if switch is None:
        raise ValueError(f"{show(value)} is neither true nor false")
    return switch


def _word(value: object) -> str:
    return _text(value).lower()


def _listen(value: object) -> ListenAddress | None:
    if value is None or isinstance(value, ListenAddress):
        return value
    text = _text(value)
    if text == "-":
        return None
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(
            f"{show(value)} is no address; write it like :80, 127.0.0.1:8080, [::1]:80, or - for none"
        )
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def _path(value: object) -> Path:
    if not isinstance(value, Path):
        value = Path(_text(value))
    if "\0" in str(value):
        raise ValueError("must not contain a NUL character")
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{show(str(value))} needs a home folder, and there is none") from None


def _host_port(value: object) -> ListenAddress | None:
    if value is None or isinstance(value, ListenAddress):
        return value
    match = _LISTEN.fullmatch(_text(value))
    if match is None or not (match["v6"] or match["host"]) or not 0 < int(match["port"]) <= 65_535:
        raise ValueError(f"{show(value)} is no server; write it like mail.example.com:587")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def _mail_domain(value: object) -> str:
    text = _text(value).lower()
    if text and HOST.fullmatch(text) is None:
        raise ValueError(f"{show(value)} is no domain; write it like push.example.com")
    return text


def _mail_prefix(value: object) -> str:
    text = _text(value)
    if re.fullmatch(r"[A-Za-z0-9._-]{0,32}", text) is None:
        raise ValueError(f"{show(value)} must be at most 32 of A-Z a-z 0-9 . _ -")
    return text


def _mail_address(text: str) -> str:
    if text and not is_mail_address(text):
        raise ValueError(f"{show(text)} is no e-mail address")
    return text


def _mail_priority(value: object) -> int:
    text = str(value).strip() if isinstance(value, str | int) else ""
    if text not in ("-2", "-1", "0", "1"):
        raise ValueError(f"{show(value)} is none of -2, -1, 0, 1")
    return int(text)


def _mode(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _MODE.fullmatch(_text(value))
    if match is None:
        raise ValueError(f"{show(value)} is no file mode; write it in octal, like 0660")
    return int(match[1], 8)


def _base_url(value: object) -> str:
    text = _text(value)
    try:
        valid = _BASE_URL.fullmatch(text) is not None and bool(urlsplit(text).hostname)
        _ = urlsplit(text).port
    except ValueError:
        valid = False
    if not valid:
        shown = "this" if "@" in text else show(text)  # a password may stand before the host
        raise ValueError(f"{shown} is not http(s)://host[:port] without a path")
    return text.removesuffix("/")


def _header(value: object) -> str:
    text = _text(value)
    if _HEADER.fullmatch(text) is None:
        raise ValueError(f"{show(value)} is not the name of a header")
    return text


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(_text(value), strict=False)
    except ValueError:
        raise ValueError(f"{show(value)} is neither an IP address nor a network like 10.0.0.0/8") from None


def _network_or_host(value: object) -> IPv4Network | IPv6Network | str:
    text = _text(value)
    try:
        return ip_network(text, strict=False)
    except ValueError:
        # A last label of digits is a mistyped address: there is no such top-level domain.
        if _HOST.fullmatch(text) is None or text.rstrip(".").rpartition(".")[2].isdigit():
            raise ValueError(
                f"{show(value)} is neither an IP address, nor a network like 10.0.0.0/8, nor a host name"
            ) from None
        return text


def timezone_name(value: object) -> str:
    """Return `value` if it names a time zone.

    Raises:
        ValueError: it does not.
    """
    text = _text(value)
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{show(value)} is not a time zone like Europe/Berlin or UTC") from None
    return text


def _items(value: object) -> object:
    """Split ``a, b`` at the commas; a list stays as it is."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError("must be a list")
    return value


def _entries(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of entries")
    return value


def _matching(pattern: re.Pattern[str], allowed: str) -> Callable[[str], str]:
    # The value is not shown: most of what has such a form is a key or a token.
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(allowed)
        return text

    return check


def _name(text: str) -> str:
    if not text or len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"must be 1 to {_LONGEST_NAME} printable characters")
    return text


def account_name(text: str) -> str:
    """Return `text` if it may name an account.

    Raises:
        ValueError: it may not.
    """
    if ACCOUNT_NAME_PATTERN.fullmatch(text) is None:
        raise ValueError("must be letters, digits and - _ . + @ only")
    if text == EVERYBODY_WORD:
        raise ValueError(f"must not be {EVERYBODY_WORD}, which means everybody")
    return text


Text = Annotated[str, BeforeValidator(_text)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Count = Annotated[int, BeforeValidator(_count)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Word = BeforeValidator(_word)
HostPort = Annotated[ListenAddress | None, BeforeValidator(_host_port)]
MailDomain = Annotated[str, BeforeValidator(_mail_domain)]
MailPrefix = Annotated[str, BeforeValidator(_mail_prefix)]
MailPriority = Annotated[int, BeforeValidator(_mail_priority)]
Listen = Annotated[ListenAddress | None, BeforeValidator(_listen)]
FilePath = Annotated[Path, BeforeValidator(_path)]
FileMode = Annotated[int, BeforeValidator(_mode)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
HeaderName = Annotated[str, BeforeValidator(_header)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
NetworkOrHost = Annotated[IPv4Network | IPv6Network | str, BeforeValidator(_network_or_host)]
TimeZone = Annotated[str, BeforeValidator(timezone_name)]
Items = BeforeValidator(_items)
Entries = BeforeValidator(_entries)
Name = Annotated[Text, AfterValidator(_name)]
Topic = Annotated[Text, AfterValidator(_matching(TOPIC_PATTERN, "must be 1 to 64 of A-Z a-z 0-9 _ -"))]
Key = Annotated[Text, AfterValidator(_matching(KEY_PATTERN, "must be 30 letters and digits"))]
Device = Annotated[Text, AfterValidator(_matching(DEVICE_PATTERN, "must be 1 to 25 of A-Z a-z 0-9 _ -"))]
DeviceToken = Annotated[
    Text,
    AfterValidator(_matching(APNS_TOKEN_PATTERN, "must be hex digits, 16 to 200 of them")),
    AfterValidator(str.lower),
]
BundleId = Annotated[
    Text, AfterValidator(_matching(BUNDLE_ID_PATTERN, "must be letters, digits, dots and hyphens"))
]
Pattern = Annotated[
    Text, AfterValidator(_matching(PATTERN, "must be 1 to 64 of A-Z a-z 0-9 _ - and * for anything"))
]
EmailAddress = Annotated[Text, AfterValidator(_mail_address)]
AliasName = Annotated[
    Text,
    AfterValidator(
        _matching(ALIAS_PATTERN, "must be 1 to 64 of a-z 0-9 . _ -, and begin and end with a letter or digit")
    ),
]
AccountName = Annotated[Text, AfterValidator(account_name)]
