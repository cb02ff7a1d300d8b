"""Endpoints of Web Push: the URL of a browser's push service at which one browser can be written to.

Whoever registers a browser names the URL, and the server calls it. So it must be one of the services that
browsers use, or a host that the operator names. Pure; the address that a host turns out to have is looked at
when it is connected to (`push.addresses`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

# Google (Chrome, Edge on Android), Mozilla, Microsoft (Edge), Apple (Safari): ntfy's list.
_SERVICES = (
    "google.com",
    "googleapis.com",
    "mozilla.com",
    "mozaws.net",
    "windows.com",
    "microsoft.com",
    "apple.com",
)
_LONGEST = 2048
_LONGEST_HOST = 253
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# As browsers spell it: nothing in lower and upper case, no user, no fragment. What one parser takes for the
# host another must not take for something else, so the URL is matched whole.
_ENDPOINT = re.compile(
    rf"https://(?P<host>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[1-9][0-9]{{0,4}}))?"
    r"/[A-Za-z0-9._~:/?@!$&'()*+,;=%|\[\]-]*"
)


def endpoint_host(endpoint: str) -> str:
    """Return the host of an endpoint, with its port if it is not 443; "" if that is no endpoint."""
    found = _ENDPOINT.fullmatch(endpoint) if len(endpoint) <= _LONGEST else None
    if found is None or len(found["host"]) > _LONGEST_HOST:
        return ""
    port = int(found["port"] or 443)
    if port > 65_535:
        return ""
    return found["host"] if port == 443 else f"{found['host']}:{port}"


def may_push_to(host: str, allowed: Collection[str]) -> bool:
    """Whether that is the host of a push service that browsers use, or one of `allowed`.

    Args:
        host: as `endpoint_host` returns it.
        allowed: further hosts, with a port if it is not 443.
    """
    if not host:
        return False
    return host in allowed or host.endswith(tuple(f".{service}" for service in _SERVICES))
