"""ntfy's service API: health, figures, tiers, the configuration that clients may know, and the version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ntfyish import __version__
from ntfyish.core.directory import Directory
from ntfyish.core.limits import LimitValues, allowance, email_rate
from ntfyish.core.statistics import Statistics
from ntfyish.model.errors import NotFound
from ntfyish.model.people import Tier
from ntfyish.web.http import Request, Response
from ntfyish.web.ntfy.callers import CORS, Caller, Handler, answer, filled
from ntfyish.web.ntfy.rules import ServiceRules, shown_limits

_NOT_CACHED = (*CORS, ("Cache-Control", "no-cache"))


class ServerService:
    """The handlers of ``/v1/health`` and its neighbours.

    Args:
        healthy: whether the server takes requests (False while it shuts down).
        limits: everybody's, for the list of tiers.
    """

    def __init__(
        self,
        *,
        healthy: Callable[[], bool],
        statistics: Statistics,
        directory: Directory,
        limits: LimitValues,
        rules: ServiceRules,
    ) -> None:
        self._healthy = healthy
        self._statistics = statistics
        self._directory = directory
        self._limits = limits
        self._rules = rules
        configuration = _configuration(rules)
        self._json = answer(configuration, _NOT_CACHED)
        self._script = Response(
            body=_script(configuration), content_type="text/javascript", headers=_NOT_CACHED
        )
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", "/v1/health"): self._health,
            ("GET", "/v1/stats"): self._stats,
            ("GET", "/v1/tiers"): self._tiers,
            ("GET", "/v1/config"): self._config,
            ("GET", "/config.js"): self._config_script,
            ("GET", "/v1/version"): self._version,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        return self._handlers.get((method, path))

    async def _health(self, request: Request, caller: Caller) -> Response:
        if self._healthy():
            return answer({"healthy": True})
        response = answer({"healthy": False})
        response.status, response.close = 503, True
        return response

    async def _stats(self, request: Request, caller: Caller) -> Response:
        return answer(
            {"messages": self._statistics.messages, "messages_rate": self._statistics.messages_per_s}
        )

    async def _tiers(self, request: Request, caller: Caller) -> Response:
        """List the tiers. ntfy does so where they can be bought, we where there are any."""
        tiers = self._directory.people.tiers
        if not tiers:
            raise NotFound
        # The first stands for having none, and has no name.
        return answer([self._shown_tier(tier, caller) for tier in (None, *tiers)])

    def _shown_tier(self, tier: Tier | None, caller: Caller) -> dict[str, Any]:
        messages = allowance(self._limits, tier.message_limit if tier else 0).messages_a_day
        names = {} if tier is None else filled({"code": tier.code, "name": tier.name})
        limits = shown_limits(
            messages,
            self._rules,
            tier,
            emails_a_day=email_rate(self._limits, tier).a_day,
            files=None if caller.attachments is None else caller.attachments.allowed_in(tier),
        )
        return {**names, "limits": limits}

    async def _config(self, request: Request, caller: Caller) -> Response:
        return self._json

    async def _config_script(self, request: Request, caller: Caller) -> Response:
        return self._script

    async def _version(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        return answer({"version": __version__, "commit": "", "date": ""})


def _configuration(rules: ServiceRules) -> dict[str, Any]:
    configuration = {
        "base_url": "",  # clients take the address by which they have come
        "app_root": "/",
        "enable_login": rules.enable_login,
        "require_login": rules.require_login,
        "enable_signup": rules.enable_signup,
        "enable_payments": False,
        "enable_calls": False,
        "enable_emails": rules.enable_emails,
        "enable_reset_password": False,
        "enable_reservations": rules.enable_reservations,
        "enable_web_push": bool(rules.web_push_public_key),
        "billing_contact": "",
        "web_push_public_key": rules.web_push_public_key,
        "disallowed_topics": list(rules.disallowed_topics),
    }
    digest = hashlib.sha256(orjson.dumps([__version__, configuration])).hexdigest()
    return {**configuration, "config_hash": digest[:32]}


def _script(configuration: Mapping[str, Any]) -> bytes:
    text = orjson.dumps(configuration, option=orjson.OPT_INDENT_2)
    return b"// Generated server configuration\nvar config = " + text + b";\n"
