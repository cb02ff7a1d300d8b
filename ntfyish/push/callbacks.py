"""Calls the callbacks of receipts: a form, by POST, to a URL that an app has named.

Such a URL is anybody's word. So the connection goes only where `outward` allows it, redirects are not
followed, proxies of the environment are not used, and neither time nor bytes of the answer are without a
bound.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from ntfyish.core.errands import Again, Done
from ntfyish.core.ports import CalledBack, ClaimedErrand, Clock
from ntfyish.push.addresses import Network
from ntfyish.push.outward import CheckedConnector, SystemResolver, open_session

_log = logging.getLogger(__name__)

AGAIN_S = 60.0
TIMEOUT_S = 5.0
_ANSWER_BYTES = 1024


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
        self._session = open_session(
            CheckedConnector(resolver, self._allowed),
            timeout_s=TIMEOUT_S,
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
