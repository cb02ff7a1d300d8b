"""Calls the callbacks of receipts: a form, by POST, to a URL that an app has named.

Such a URL is anybody's word. So the connection goes only to addresses that `addresses` allows (checked for
the very address that is connected to, so that a name cannot mean one thing when it is looked at and another
when it is used), redirects are not followed, proxies of the environment are not used, and neither time nor
bytes of the answer are without a bound.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult

from ntfyish.core.errands import Again, Done
from ntfyish.core.ports import CalledBack, ClaimedErrand, Clock
from ntfyish.push.addresses import Network, may_call

_log = logging.getLogger(__name__)

AGAIN_S = 60.0
TIMEOUT_S = 5.0
_ANSWER_BYTES = 1024
_LOOKUPS = 16


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


class Callbacks:
    """Runs the errands of kind "callback". A context manager.

    Args:
        allowed: networks that may be called though they are not public (`callback-allow`).
        resolver: looks names up; the system's if None.
    """

    def __init__(
        self, clock: Clock, allowed: Sequence[Network], resolver: AbstractResolver | None = None
    ) -> None:
        self._clock = clock
        self._allowed = allowed
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Callbacks:
        resolver = self._resolver or SystemResolver()
        self._session = aiohttp.ClientSession(
            connector=CheckedConnector(resolver, self._allowed),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "ntfyish"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def run(self, claimed: ClaimedErrand) -> Done | Again:
        """Call once: done if the answer is 2xx or it is too late for another try, else again in a minute."""
        payload = orjson.loads(claimed.errand.payload)
        if await self._call(claimed, payload["url"], payload["fields"]):
            return Done((CalledBack(claimed.errand.key, int(self._clock.now())),))
        again_at = self._clock.now() + AGAIN_S
        return Again(again_at) if again_at < payload["until"] else Done()

    async def _call(self, claimed: ClaimedErrand, url: str, fields: dict[str, str]) -> bool:
        assert self._session is not None
        try:
            async with self._session.post(url, data=fields, allow_redirects=False) as response:
                await response.content.read(_ANSWER_BYTES)
                status = response.status
                response.close()  # with whatever else would come
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            _log.info("Callback of %s failed: %s", claimed.errand.key, type(error).__name__)
            return False
        if not 200 <= status < 300:
            _log.info("Callback of %s was answered with %d", claimed.errand.key, status)
        return 200 <= status < 300
