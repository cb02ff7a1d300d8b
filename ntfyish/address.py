"""How servers, topics and credentials are written down by the users of the client. Pure."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from ntfyish.model.topic import TOPIC_LIST_PATTERN


def parse_address(text: str, default_server: str) -> tuple[str, str]:
    """Split a topic argument into (base URL, topic or comma list of topics).

    `text` is ``mytopic`` (at `default_server`), ``host/mytopic`` (by https), or a whole URL.

    Raises:
        ValueError: it is none of these.
    """
    if "/" not in text:
        base, topics = default_server, text
    else:
        base, _, topics = (text if "://" in text else f"https://{text}").rpartition("/")
    if TOPIC_LIST_PATTERN.fullmatch(topics) is None or ("/" in text and base.endswith("/")):
        raise ValueError(f"{_shown(text)!r} is not a topic, host/topic or URL of a topic")
    return base, topics


def split_base_url(base_url: str) -> tuple[str, str, str]:
    """Return (URL without credentials and trailing slash, user, password); the latter are "" if not given.

    Raises:
        ValueError: it is not ``http(s)://[user:password@]host[:port][/path]``.
    """
    wrong = ValueError(f"{_shown(base_url)!r} is not an http or https URL of a server")
    try:
        parts = urlsplit(base_url)
        port = parts.port
        host = parts.hostname or ""
        host.encode("idna")  # what cannot be encoded cannot be looked up either
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise wrong
    if not base_url.isprintable() or " " in base_url:
        raise wrong
    authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/')}", user, password


def authorization(token: str, user: str, password: str) -> dict[str, str]:
    """Return the header field that carries the credentials, if there are any.

    Raises:
        ValueError: there are two, or they cannot be put into a header.
    """
    if token and user:
        raise ValueError("give a token or a user, not both")
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("the token has characters that no token has")
        return {"Authorization": f"Bearer {token}"}
    if user:
        if ":" in user:
            raise ValueError("a user name has no colon")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


def one_line(text: str) -> str:
    """Return `text` fit for a terminal or a log: one line, without control characters, not too long."""
    return "".join(char if char.isprintable() else " " for char in text)[:300]


def _shown(url: str) -> str:
    return one_line(url.rpartition("@")[2])  # what stands before it may be a password
