"""From request to answer: asks the dialects in turn, and is the outermost place where errors end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ntfyish.model.errors import NotFound, NtfyishError, Reason, Unavailable
from ntfyish.web.http import BufferedBody, Dialect, Request, Response, Takeover

_log = logging.getLogger(__name__)


class Router:
    """Finds the dialect that answers.

    Args:
        dialects: in the order in which they are asked; the last one refuses what nobody knows.
    """

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = dialects
        self.shutting_down = False

    async def answer(self, request: Request) -> Response | Takeover:
        """Answer `request`; never raises but when cancelled."""
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
        return self._dialects[-1].refuse(Request("", "/", {}, "", BufferedBody()), error)
