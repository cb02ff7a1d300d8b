"""From request to answer: asks the dialects in turn, and is the outermost place where errors end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ntfyish.core.counters import Counters
from ntfyish.model.errors import NotFound, NtfyishError, Reason, Unavailable
from ntfyish.web.http import BufferedBody, Dialect, Request, Response, Takeover

_log = logging.getLogger(__name__)

# Whoever asks may call a method anything; each name that is told apart costs a row of the figures.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STREAM_STATUS = 200


class Router:
    """Finds the dialect that answers.

    Args:
        dialects: in the order in which they are asked; the last one refuses what nobody knows.
        counters: where answers are counted.
    """

    def __init__(self, dialects: Sequence[Dialect], counters: Counters) -> None:
        self._dialects = dialects
        self._counts = counters.http_requests
        self.shutting_down = False

    async def answer(self, request: Request) -> Response | Takeover:
        """Answer `request`, and count that; never raises but when cancelled."""
        answer = await self._answer(request)
        if isinstance(answer, Response):
            self.count(request.method, answer.status, answer.code)
        else:
            self.count(request.method, _STREAM_STATUS)
        return answer

    def count(self, method: str, status: int, code: int = 0) -> None:
        """Count an answer; `code` is ntfy's, 0 if it has none."""
        self._counts[status, code, method if method in _METHODS else "OTHER"] += 1

    async def _answer(self, request: Request) -> Response | Takeover:
        dialect = self._dialects[-1]
        try:
            for dialect in self._dialects:
                handler = dialect.match(request.method, request.path)
                if handler is None:
                    continue
                if (answer := await handler(request)) is not None:
                    return answer
            raise NotFound
        except NtfyishError as error:
            return dialect.refuse(request, error)
        except Exception:  # noqa: BLE001
            # The outermost handler: whatever escapes is our mistake, and the client must hear of it.
            _log.exception("%s %s failed", request.method, request.path)
            return dialect.refuse(request, Unavailable(Reason.INTERNAL))

    def refuse(self, error: NtfyishError) -> Response:
        """Refuse what could not be read as a request."""
        answer = self._dialects[-1].refuse(Request("", "/", {}, "", BufferedBody()), error)
        self.count("", answer.status, answer.code)
        return answer
