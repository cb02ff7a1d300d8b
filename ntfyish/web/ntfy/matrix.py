"""The Matrix push gateway: what a Matrix homeserver sends goes, as it is, to a topic of UnifiedPush.

Apps that have themselves woken by UnifiedPush name their topic's address as `pushkey`. As with ntfy, only the
first device of a notification counts, and the whole JSON is the message: the app understands it, we do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ntfyish.core.counters import Counters
from ntfyish.core.rate_owners import RateOwners
from ntfyish.model.errors import Invalid, NtfyishError, Reason, TooLarge, Unavailable
from ntfyish.model.message import Content, Draft
from ntfyish.model.topic import is_topic
from ntfyish.web.http import Request, Response
from ntfyish.web.ntfy.callers import CORS, Caller, Handler, answer
from ntfyish.web.ntfy.publishing import Publishing
from ntfyish.web.visitor import limit_headers

PATH = "/_matrix/push/v1/notify"
# A homeserver forgets a rejected key for good, so its owner gets time to come back.
ABANDONED_S = 12 * 3600.0


class MatrixGateway:
    """The handlers of the gateway.

    Args:
        base_url: what push keys begin with; "" if the server does not know, and there is no gateway.
        size_limit: most bytes of a notification, as of a message.
        rate_owners: who pays for topics of UnifiedPush; None if that is always who publishes.
        counters: where notifications are counted.
    """

    def __init__(
        self,
        publishing: Publishing,
        *,
        base_url: str,
        size_limit: int,
        rate_owners: RateOwners | None,
        counters: Counters,
    ) -> None:
        self._publishing = publishing
        self._base_url = base_url
        self._size_limit = size_limit
        self._rate_owners = rate_owners
        self._counters = counters
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", PATH): self._discover,
            ("POST", PATH): self._notify,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        return self._handlers.get((method, path))

    async def _discover(self, request: Request, caller: Caller) -> Response:
        self._check_base_url()
        return answer({"unifiedpush": {"gateway": "matrix"}})

    async def _notify(self, request: Request, caller: Caller) -> Response:
        self._check_base_url()
        try:
            rejected = await self._pass_on(request, caller)
        except NtfyishError:
            self._counters.matrix_failures += 1
            raise
        headers = CORS if rejected else CORS + limit_headers(request.visitor)
        return answer({"rejected": rejected}, headers)

    async def _pass_on(self, request: Request, caller: Caller) -> list[str]:
        """Publish a notification, or return the push key that the homeserver is to forget."""
        body, more = await request.body.read(self._size_limit)
        if more:
            raise TooLarge(Reason.MATRIX_TOO_LARGE)
        pushkey = read_pushkey(body)
        topic = find_topic(pushkey, self._base_url)
        if not topic:
            return [pushkey]
        try:
            await self._publish(request, caller, topic, body.decode())
        except NtfyishError as error:
            if error.reason is not Reason.SUBSCRIBER_MISSING or not self._is_abandoned(topic):
                raise
            self._counters.matrix_failures += 1
            return [pushkey]
        self._counters.matrix_published += 1
        return []

    async def _publish(self, request: Request, caller: Caller, topic: str, text: str) -> None:
        admission = self._publishing.admit(request, caller.visitor, topic)
        with self._publishing.attempt:
            draft = Draft(content=Content(message=text), push=False, unifiedpush=True)
            await self._publishing.send(admission, draft)

    def _is_abandoned(self, topic: str) -> bool:
        return self._rate_owners is not None and self._rate_owners.note_refusal(topic) > ABANDONED_S

    def _check_base_url(self) -> None:
        if not self._base_url:
            raise Unavailable(Reason.BASE_URL_MISSING)


def read_pushkey(body: bytes) -> str:
    """Return the push key of a notification's first device.

    Raises:
        Invalid: MATRIX_INVALID: it is no JSON, or has no such thing.
    """
    try:
        found: Any = orjson.loads(body)["notification"]["devices"][0]["pushkey"]
    except (ValueError, TypeError, LookupError):
        raise Invalid(Reason.MATRIX_INVALID) from None
    if not isinstance(found, str) or not found:
        raise Invalid(Reason.MATRIX_INVALID)
    return found


def find_topic(pushkey: str, base_url: str) -> str:
    """Return the topic whose address `pushkey` is, "" if it is none of this server's.

    The query (``?up=1``) says only what is clear anyway.
    """
    path = pushkey.removeprefix(f"{base_url}/")
    if path == pushkey:
        return ""
    topic = path.partition("?")[0]
    return topic if is_topic(topic) else ""
