"""What is said of a request that got no answer. Pure; `upstream` and `web_push` ask."""

from __future__ import annotations

import ssl

import aiohttp


def words_for_failure(error: Exception) -> str:
    """Return in a few words why there was no answer. They are few, so that they can be counted by."""
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "unknown host"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return "server certificate not trusted"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "TLS failure"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "connection refused"
        case aiohttp.ClientConnectorError():
            return "unreachable"
        case aiohttp.ClientResponseError():
            return "answer is no HTTP"
        case aiohttp.ClientError() | ConnectionError():
            return "connection lost"
    return type(error).__name__
