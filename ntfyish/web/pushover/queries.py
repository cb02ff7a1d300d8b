"""Pushover's questions that publish nothing: sounds, validation of keys, and what is left of the quota."""

from __future__ import annotations

from ntfyish.core.address_book import AddressBook
from ntfyish.core.quota import Quotas
from ntfyish.model.people import App
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer
from ntfyish.web.pushover.limits import PushoverLimits
from ntfyish.web.pushover.sounds import SOUNDS
from ntfyish.web.visitor import Visitors

# Every account may use every kind of client.
_LICENSES = ("Android", "iOS", "Desktop")


class Queries:
    """Answers `sounds`, `users/validate` and `apps/limits`."""

    def __init__(
        self, directory: AddressBook, visitors: Visitors, quotas: Quotas, limits: PushoverLimits
    ) -> None:
        self._directory = directory
        self._visitors = visitors
        self._quotas = quotas
        self._limits = limits

    async def sounds(self, request: Request) -> Response:
        """List the sounds, those of the app's owner last, for whoever has a token."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        app = await self._find_app(request, parameters)
        if app is None:
            return answer.refusal([faults.TOKEN_INVALID])
        return answer.success({"sounds": {**SOUNDS, **self._directory.sounds_of(app.account)}})

    async def limits(self, request: Request) -> Response:
        """Tell how many messages the app may still send this month."""
        answer = Answer(request)
        app = await self._find_app(
            request, await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        )
        if app is None:
            return answer.refusal([faults.TOKEN_INVALID])
        status = await self._quotas.status(app)
        return answer.success(
            {"limit": status.limit, "remaining": status.remaining, "reset": status.reset_at}
        )

    async def validate(self, request: Request) -> Response:
        """Tell whether a user key, and a device of that user, can be written to."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        app = await self._find_app(request, parameters)
        if app is None:
            return answer.refusal([faults.TOKEN_INVALID])
        recipient = await self._directory.find_recipient(parameters.text("user").strip(), app=app)
        if recipient is None:
            self._visitors.fail(request)
            return answer.refusal([faults.USER_KEY_INVALID])
        device = parameters.text("device").strip()
        # Only accounts have devices; as with Pushover's groups, the name means nothing for a topic.
        if device and recipient.kind == "account" and device not in recipient.devices:
            return answer.refusal([faults.DEVICE_UNKNOWN])
        if not recipient.active:
            return answer.refusal([faults.USER_WITHOUT_DEVICES])
        return answer.success(
            {
                "group": int(recipient.kind == "group"),
                "devices": list(recipient.devices),
                "licenses": _LICENSES,
            }
        )

    async def _find_app(self, request: Request, parameters: Parameters) -> App | None:
        app = await self._directory.find_app(parameters.text("token").strip())
        if app is None or not app.enabled:
            self._visitors.fail(request)
            return None
        return app
