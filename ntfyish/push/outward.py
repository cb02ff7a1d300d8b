"""How other servers are called: names looked up apart, only where it is allowed, and no more than asked for.

`callbacks` and `web_push` call URLs that are anybody's word: their connections go only to addresses that
`addresses` allows (checked for the very address that is connected to, so that a name cannot mean one thing
when it is looked at and another when it is used). `upstream` calls the operator's choice.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ntfyish.push.addresses import Network, may_call

_LOOKUPS = 16


def open_session(
    connector: aiohttp.BaseConnector, *, timeout_s: float, headers: Mapping[str, str], **options: Any
) -> aiohttp.ClientSession:
    """Return a session that keeps no cookies, unpacks nothing, and gives up after `timeout_s`.

    Args:
        options: others of `aiohttp.ClientSession`.
    """
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=headers,
        **options,
    )


class Refused(OSError):
    """The server does not call that address."""


class SystemResolver(AbstractResolver):
    """Asks the system, in threads of its own: names whose servers hang must hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, "callback names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedResolver(AbstractResolver):
    """Asks another resolver, and leaves out what may not be called.

    If any of a name's addresses is refused, so is the name: one that points both outside and inside means no
    good.
    """

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._resolver = resolver
        self._allowed = tuple(allowed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises:
            Refused: one of them may not be called.
        """
        found = await self._resolver.resolve(host, port, family)
        if not found:  # aiohttp would stumble over it
            raise OSError("the name has no address")
        if not all(may_call(one["host"], self._allowed) for one in found):
            raise Refused("the address may not be called")
        return found

    async def close(self) -> None:
        """Close the other resolver."""
        await self._resolver.close()


class CheckedConnector(aiohttp.TCPConnector):
    """Connects only where `addresses` allows it, also to hosts that are written as addresses.

    Such hosts are not resolved; and what is resolved is connected to as resolved, without another look-up.

    Args:
        idle_s: how long a connection is kept that nobody uses; 0 for none.
        tls: what the other side must prove over https; what aiohttp wants if None.
    """

    def __init__(
        self,
        resolver: AbstractResolver,
        allowed: Sequence[Network],
        *,
        idle_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            resolver=CheckedResolver(resolver, allowed),
            ssl=True if tls is None else tls,
            use_dns_cache=False,
            force_close=not idle_s,
            keepalive_timeout=idle_s or None,
            limit=0,
        )
        self._allowed = tuple(allowed)

    async def _resolve_host(
        self, host: str, port: int, traces: Sequence[aiohttp.tracing.Trace] | None = None
    ) -> list[ResolveResult]:
        found = await super()._resolve_host(host, port, traces)
        if not all(may_call(one["host"], self._allowed) for one in found):
            raise Refused("the address may not be called")
        return found
