"""What the calls of apps have in common: a token that must be right before anything else is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ntfyish.core.address_book import AddressBook
from ntfyish.model.people import App
from ntfyish.web.body import BODY_LIMIT_BYTES, Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.visitor import Visitors


@dataclass(frozen=True, slots=True)
class Call:
    """A request by an app that is known and enabled."""

    request: Request
    answer: Answer
    parameters: Parameters
    app: App

    def text(self, name: str) -> str:
        """Return a parameter, trimmed; "" if it is absent or blank."""
        return self.parameters.text(name).strip()

    def refuse(self, *found: Fault) -> Response:
        """Answer 400 with what is wrong."""
        return self.answer.refusal(found)


class Calls:
    """Makes handlers of functions that answer a `Call`."""

    def __init__(
        self,
        directory: AddressBook,
        visitors: Visitors,
        body_bytes: int = BODY_LIMIT_BYTES,
        spool_dir: Path | None = None,
    ) -> None:
        self._directory = directory
        self._visitors = visitors
        self._body_bytes = body_bytes
        self._spool_dir = spool_dir

    def handler(self, work: Callable[[Call], Awaitable[Response]]) -> Handler:
        """Return the handler that reads a request, finds the app, and lets `work` answer."""

        async def handle(request: Request) -> Response:
            answer = Answer(request)
            parameters = await read_parameters(request, self._body_bytes, self._spool_dir)
            app = await self._directory.find_app(parameters.text("token").strip())
            if app is None or not app.enabled:
                self._visitors.fail(request)
                return answer.refusal([faults.TOKEN_INVALID])
            return await work(Call(request, answer, parameters, app))

        return handle

    def fail(self, call: Call) -> None:
        """Count a key that was wrong: who guesses keys is slowed down like who guesses passwords.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT.
        """
        self._visitors.fail(call.request)
