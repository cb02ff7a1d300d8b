"""Pushes to the devices of one app through Apple's push service (APNs).

The composition root makes an `ApnsSender` for each entry of the setting `apns`, `core.pushes.lane` sends
through it. It tries once and says what came of it; when and how often to try again is not decided here,
except that a provider token which has expired is signed again at once.

The time of tries is the event loop's; what is said about dates comes from the `Clock`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from aioapns.common import PushType
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509 import load_pem_x509_certificate

from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks
from ntfyish.model.message import Message
from ntfyish.model.push import Push, PushOutcome, apns_destination
from ntfyish.push.apns.connection import ApnsAnswer, ApnsRequest
from ntfyish.push.apns.outcomes import EXPIRED_TOKEN, read_outcome
from ntfyish.push.apns.payload import CUSTOM_KEYS, Payload, build
from ntfyish.push.apns.pool import ApnsPool, Times
from ntfyish.push.apns.provider_token import ProviderToken, read_key

PRODUCTION = "api.push.apple.com"
SANDBOX = "api.sandbox.push.apple.com"
PORT = 443

_COLLAPSE_ID = re.compile(r"[!-~]{1,64}")
_PAYLOADS_KEPT = 64
_WARNED_S = 30 * 86_400

_log = logging.getLogger(__name__)


class ApnsUnusable(ValueError):
    """What an entry of the setting `apns` names cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsApp:
    """An app, and what Apple knows us by.

    Attributes:
        key_file: Apple's key (.p8), with `key_id` and `team_id`; or
        certificate_file: certificate and private key in one PEM file.
        host, port: of another server than Apple's; "" for Apple's.
        ca_file: certificates (PEM) that the server's is checked against; None for the system's.
        payload_keys: other names for the payload's custom keys: ours -> the app's.
    """

    bundle_id: str
    sandbox: bool = False
    key_file: Path | None = None
    key_id: str = ""
    team_id: str = ""
    certificate_file: Path | None = None
    host: str = ""
    port: int = PORT
    ca_file: Path | None = None
    payload_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def destination(self) -> str:
        """Where its pushes go, as the outbox names it."""
        return apns_destination(self.bundle_id, sandbox=self.sandbox)


def find_faults(app: ApnsApp) -> list[str]:
    """Return why the entry of an app or its files cannot be used, in the words of `ApnsUnusable`."""
    faults = []
    for read in (_context, _key, _check_payload_keys):
        try:
            read(app)
        except ApnsUnusable as error:
            faults.append(str(error))
    return faults


class ApnsSender:
    """A `PushSender` for one app. A context manager, which is entered in the event loop it is used in.

    Args:
        connections: how many there are at most.
        streams: how many pushes may be under way on each.
    """

    def __init__(
        self,
        app: ApnsApp,
        clock: Clock,
        *,
        connections: int = 4,
        streams: int = 250,
        times: Times = Times(),  # noqa: B008 - immutable
    ) -> None:
        self._app = app
        self._clock = clock
        self._connections = connections
        self._streams = streams
        self._times = times
        self._token: ProviderToken | None = None
        self._pool: ApnsPool | None = None
        self._stack = AsyncExitStack()
        self._payloads: dict[tuple[str, bool], tuple[Message, Payload]] = {}

    async def __aenter__(self) -> ApnsSender:
        """Read key and certificates.

        Raises:
            ApnsUnusable: one of them cannot be used.
        """
        app = self._app
        _check_payload_keys(app)
        context = _context(app)
        _warn_of_expiry(app, self._clock.now())
        self._token = _provider_token(app, self._clock)
        self._pool = ApnsPool(
            app.destination,
            app.bundle_id,
            app.host or (SANDBOX if app.sandbox else PRODUCTION),
            app.port,
            context,
            self._token,
            self._clock,
            await self._stack.enter_async_context(Tasks()),
            max_connections=self._connections,
            streams=self._streams,
            times=self._times,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._pool is not None
        self._pool.close()
        await self._stack.aclose()
        await self._pool.closed()

    @property
    def capacity(self) -> int:
        """How many pushes may be under way at once."""
        return self._connections * self._streams

    async def send(self, push: Push) -> PushOutcome:
        """Try once, within half a minute."""
        request, answer = await self._try(push)
        if answer.description == EXPIRED_TOKEN and self._token is not None:
            if self._token.replace(request.authorization):
                request, answer = await self._try(push)
        return read_outcome(answer, self._clock.now())

    async def _try(self, push: Push) -> tuple[ApnsRequest, ApnsAnswer]:
        assert self._pool is not None
        payload = self._payload(push)
        request = ApnsRequest(
            push.device.token,
            payload.data,
            push.id,
            body=payload.body,
            expires_at=max(1, push.expires_at),  # 0 means: now or never
            priority=payload.priority,
            collapse_key=_collapse_key(push.collapse_id),
            push_type=PushType(payload.push_type),
        )
        return request, await self._pool.send_notification(request)

    def _payload(self, push: Push) -> Payload:
        """Return the payload, which is made once for all devices that a message goes to."""
        key = (push.message.id, push.small)
        kept = self._payloads.get(key)
        if kept is not None and (kept[0] is push.message or kept[0] == push.message):
            return kept[1]
        payload = build(push.message, small=push.small, keys=self._app.payload_keys)
        if len(self._payloads) >= _PAYLOADS_KEPT:
            del self._payloads[next(iter(self._payloads))]
        self._payloads[key] = (push.message, payload)
        return payload


def _collapse_key(collapse_id: str) -> str:
    """Return what Apple takes: at most 64 bytes, and nothing that has no place in a header."""
    if _COLLAPSE_ID.fullmatch(collapse_id):
        return collapse_id
    return hashlib.sha256(collapse_id.encode("utf-8", "replace")).hexdigest()


def _context(app: ApnsApp) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=app.ca_file)
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        raise _unusable(app, "ca-file", app.ca_file, error, "has no certificates (PEM)") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if app.certificate_file is not None:
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(app.certificate_file, password="")
        except (OSError, ValueError) as error:
            expected = "does not have both a certificate and its private key (PEM), without a password"
            raise _unusable(app, "certificate-file", app.certificate_file, error, expected) from error
    return context


def _warn_of_expiry(app: ApnsApp, now: float) -> None:
    if app.certificate_file is None:
        return
    try:
        certificate = load_pem_x509_certificate(app.certificate_file.read_bytes())
    except (OSError, ValueError):  # OpenSSL has taken it all the same
        return
    end = certificate.not_valid_after_utc
    if end.timestamp() - now < _WARNED_S:
        verb = "expires" if end.timestamp() > now else "has expired"
        _log.warning("apns: %s: certificate-file: %s on %s", app.bundle_id, verb, end.date())


def _provider_token(app: ApnsApp, clock: Clock) -> ProviderToken | None:
    key = _key(app)
    return None if key is None else ProviderToken(key, app.key_id, app.team_id, clock)


def _key(app: ApnsApp) -> EllipticCurvePrivateKey | None:
    if app.key_file is None:
        return None
    try:
        return read_key(app.key_file.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(app, "key-file", app.key_file, error, str(error)) from error


def _check_payload_keys(app: ApnsApp) -> None:
    if unknown := sorted(app.payload_keys.keys() - CUSTOM_KEYS):
        raise ApnsUnusable(
            f"apns: {app.bundle_id}: payload-keys: there is no {', '.join(unknown)};"
            f" there are {', '.join(sorted(CUSTOM_KEYS))}"
        )


def _unusable(app: ApnsApp, key: str, path: Path | None, error: Exception, expected: str) -> ApnsUnusable:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        expected = f"cannot be read: {error.strerror}"
    return ApnsUnusable(f"apns: {app.bundle_id}: {key}: {path} {expected}")
