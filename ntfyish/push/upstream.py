"""Tells another ntfy server of messages: poll requests, which say nothing but whom to ask for what.

ntfy's app for iOS gets its pushes from one server only. That server is told the hash of a topic's address and
the id of a message; the app, which knows the address, then fetches the message from here. `core.errands`
calls it. The server is the operator's choice, so it may stand in a private network; but it is another's, so
neither its time nor the bytes of its answers are without a bound, and redirects are not followed.
"""

from __future__ import annotations

import hashlib
import logging
import random
from types import TracebackType

import aiohttp
import orjson

from ntfyish import __version__
from ntfyish.core.errands import LONGEST_PAUSE_S, Done, Pause
from ntfyish.core.ports import ClaimedErrand, Clock
from ntfyish.model.retry_after import parse_retry_after
from ntfyish.push.failures import words_for_failure
from ntfyish.push.outward import SystemResolver, open_session

_log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
# A poll request that comes an hour late wakes nobody who still waits for it.
PATIENCE_S = 3600.0
_FIRST_PAUSE_S = 5.0
_LONGEST_OWN_PAUSE_S = 300.0
_SAME_S = 0.5  # the wall clock, by which pauses end, and the other one run apart a little
_ANSWER_BYTES = 65_536
_COMPLAIN_S = 60.0
# Besides 5xx: what says nothing about the message itself. 0 is no answer at all.
_PASSING = frozenset({0, 408, 429})


class Upstream:
    """Runs the errands of kind "upstream". A context manager.

    Args:
        base_url: of this server, as readers know it; no slash at its end.
        upstream_base_url: of the other one; likewise.
        access_token: at the other one; "" for none.
        timeout_s: how long an answer may take.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        base_url: str,
        upstream_base_url: str,
        access_token: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._clock = clock
        self._base_url = base_url
        self._upstream_base_url = upstream_base_url
        self._access_token = access_token
        self._timeout_s = timeout_s
        self._resolver = SystemResolver()
        self._session: aiohttp.ClientSession | None = None
        self._failures = 0
        self._resume_at = 0.0  # monotonic
        self._complained_at: dict[int, float] = {}

    async def __aenter__(self) -> Upstream:
        headers = {"User-Agent": f"ntfyish/{__version__}"}
        if self._access_token:
            headers["Authorization"] = f"Bearer {self._access_token}"
        self._session = open_session(
            aiohttp.TCPConnector(resolver=self._resolver, limit=0),
            timeout_s=self._timeout_s,
            headers=headers,
            skip_auto_headers=("Content-Type",),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()
        await self._resolver.close()

    async def run(self, claimed: ClaimedErrand) -> Done | Pause:
        """Tell once: done if the answer is 2xx or refuses it for good, else all wait for a while."""
        topic, message_id = orjson.loads(claimed.errand.payload)
        status, retry_after = await self._tell(topic, message_id)
        if status in _PASSING or status >= 500:
            return self._pause(status, parse_retry_after(retry_after, self._clock.now(), LONGEST_PAUSE_S))
        self._failures = 0
        if not 200 <= status < 300:
            self._note_refusal(status)
        return Done()

    async def _tell(self, topic: str, message_id: str) -> tuple[int, str]:
        """Return the status and the field Retry-After of the answer; 0 and "" if there is none."""
        assert self._session is not None
        url = f"{self._upstream_base_url}/{topic_hash(self._base_url, topic)}"
        fields = {"X-Poll-ID": message_id}
        try:
            async with self._session.post(url, headers=fields, allow_redirects=False) as response:
                await _skip(response)
                return response.status, response.headers.get("Retry-After", "")
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._complain(
                logging.WARNING,
                "Poll requests wait: upstream-base-url gives no answer (%s)",
                words_for_failure(error),
            )
            return 0, ""

    def _pause(self, status: int, asked_s: float) -> Pause:
        """Return until when nothing is to be told: for twice as long as the last time, or as it asks for."""
        now = self._clock.monotonic()
        if status:
            self._complain(logging.WARNING, "Poll requests wait: upstream-base-url answers with %d", status)
        if now > self._resume_at - _SAME_S:  # else it failed along with others, and counts as one with them
            longest_s = min(_LONGEST_OWN_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures, 20))
            self._failures += 1
            self._resume_at = now + longest_s * random.uniform(0.5, 1.0)
        self._resume_at = max(self._resume_at, now + asked_s)
        return Pause(self._clock.now() + self._resume_at - now)

    def _note_refusal(self, status: int) -> None:
        if status in (401, 403):
            self._complain(
                logging.ERROR, "upstream-base-url refuses us (%d): see upstream-access-token", status
            )
        else:
            self._complain(logging.WARNING, "upstream-base-url refuses poll requests: %d", status)

    def _complain(self, level: int, text: str, *values: object) -> None:
        """Say so in the log, but not for every message."""
        now = self._clock.monotonic()
        if now - self._complained_at.get(level, float("-inf")) >= _COMPLAIN_S:
            self._complained_at[level] = now
            _log.log(level, text, *values)


def topic_hash(base_url: str, topic: str) -> str:
    """Return under which topic another server is told of messages to `topic`. ntfy's apps know it, too."""
    return hashlib.sha256(f"{base_url}/{topic}".encode()).hexdigest()


async def _skip(response: aiohttp.ClientResponse) -> None:
    """Read the answer, so that the connection can be used again; a long one ends with its connection."""
    left = _ANSWER_BYTES
    try:
        while left > 0 and (piece := await response.content.read(left)):
            left -= len(piece)
    except (TimeoutError, aiohttp.ClientError, OSError):  # its status has been said
        left = 0
    if left <= 0:
        response.close()
