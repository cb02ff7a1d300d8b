"""Web Push: messages to browsers, encrypted for each of them, by way of their push services.

RFC 8030 (the call), 8188 and 8291 (the encryption), 8292 (VAPID: who we are). The endpoint is anybody's word,
so it is called as `callbacks` calls: only public addresses or those the operator allows, no redirects, no
proxies of the environment, a bound of time and of the answer's bytes.

There is no ``Topic`` header, which would let a later push take the place of one that still waits: Google's
service keeps four of those per device, and drops others. Pages know a message that comes twice by its id.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType

import aiohttp
import http_ece  # type: ignore[import-untyped]
import jwt
import orjson
from aiohttp.abc import AbstractResolver
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from ntfyish.core.ports import Clock
from ntfyish.model.endpoint import endpoint_host, may_push_to
from ntfyish.model.push import Push, PushDevice, PushOutcome, Verdict
from ntfyish.model.retry_after import parse_retry_after
from ntfyish.model.web_push_keys import VapidKeys, decode_subscription_keys
from ntfyish.push.addresses import Network
from ntfyish.push.failures import words_for_failure
from ntfyish.push.outward import CheckedConnector, Refused, SystemResolver, open_session
from ntfyish.push.web_push_payload import EXPIRING, MOST_BYTES, SMALL_BYTES, message_payload

_log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
CAPACITY = 32

_ANSWER_BYTES = 2048
_IDLE_S = 15.0
_WARNING_TTL_S = 86_400
_DAY_S = 86_400

# RFC 8292: good for at most a day. Half of it leaves room for a clock that is wrong.
_TOKEN_GOOD_S = 43_200.0
_TOKEN_USED_S = 10_800.0
_MOST_TOKENS = 1024
_SUSPECT_RETRY_S = 300.0
_COMPLAIN_S = 3600.0

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
# The server's trouble, or a moment's, though the number says that it is the request's.
_PASSING = frozenset({408, 421, 425})


@dataclass(slots=True)
class _Token:
    """What we show one push service.

    Attributes:
        made_at: Unix seconds.
        accepted: whether the service has taken a push with it: then the keys and the clock are right.
        complained_at: Unix seconds at which the log last said that they may not be.
    """

    authorization: str
    made_at: float
    accepted: bool = False
    complained_at: float = float("-inf")


class WebPushSender:
    """Pushes to browsers. A context manager; `core.ports.BrowserSender`.

    To encrypt takes some 75 us of the event loop, which is less than the call itself.

    Args:
        email: whom push services may write to about our pushes.
        base_url: of this server; a subscription's id begins with it.
        longest_ttl_s: how long a push service keeps what a browser that is away is to get.
        allowed_hosts: of push services besides the known ones (`web-push-endpoint-allow`).
        allowed: networks that may be called though they are not public (`callback-allow`).
        resolver: looks names up; the system's if None.
        timeout_s: of one call.
    """

    def __init__(
        self,
        clock: Clock,
        keys: VapidKeys,
        *,
        email: str,
        base_url: str,
        longest_ttl_s: float,
        allowed_hosts: Collection[str] = (),
        allowed: Sequence[Network] = (),
        resolver: AbstractResolver | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._clock = clock
        self._keys = keys
        self._email = email
        self._base_url = base_url
        self._longest_ttl_s = longest_ttl_s
        self._allowed_hosts = frozenset(allowed_hosts)
        self._allowed = tuple(allowed)
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._tokens: dict[str, _Token] = {}
        self._session: aiohttp.ClientSession | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> WebPushSender:
        resolver = self._resolver
        if resolver is None:
            resolver = SystemResolver()
            self._stack.push_async_callback(resolver.close)
        self._session = await self._stack.enter_async_context(
            open_session(
                # A context of its own trusts what the environment names (SSL_CERT_FILE), too.
                CheckedConnector(resolver, self._allowed, idle_s=_IDLE_S, tls=ssl.create_default_context()),
                timeout_s=self._timeout_s,
                headers={"User-Agent": "ntfyish"},
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def capacity(self) -> int:
        """How many pushes to one destination may be under way at once."""
        return CAPACITY

    async def send(self, push: Push) -> PushOutcome:
        """Try once, within ten seconds or so."""
        most = SMALL_BYTES if push.small else MOST_BYTES
        payload = message_payload(push.message, self._base_url, most)
        ttl_s = max(0.0, min(push.expires_at - self._clock.now(), self._longest_ttl_s))
        return await self._push(push.device, payload, int(ttl_s))

    async def warn(self, device: PushDevice) -> PushOutcome:
        """Tell a browser that it will soon be pushed to no more."""
        return await self._push(device, EXPIRING, _WARNING_TTL_S)

    async def _push(self, device: PushDevice, payload: bytes, ttl_s: int) -> PushOutcome:
        host = endpoint_host(device.token)
        if not may_push_to(host, self._allowed_hosts):
            return PushOutcome(verdict=Verdict.REFUSED, reason="host not allowed")
        try:
            body = _encrypt(payload, device)
        except ValueError:
            return PushOutcome(verdict=Verdict.REFUSED, reason="keys invalid")
        token = self._token(host)
        headers = {
            "Authorization": token.authorization,
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(ttl_s),
            # Apple gives a browser that is asleep nothing else.
            "Urgency": "high",
        }
        try:
            status, fields, answer = await self._call(device.token, body, headers)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            if _is_refusal(error):
                return PushOutcome(verdict=Verdict.REFUSED, reason="address not allowed")
            return PushOutcome(verdict=Verdict.UNAVAILABLE, reason=words_for_failure(error))
        return self._judge(host, token, status, fields, answer)

    async def _call(
        self, endpoint: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, header (lower-case names) and the beginning of the answer.

        A kept connection that the other side was just closing is no failure: it is tried once more.
        """
        try:
            return await self._post(endpoint, body, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError):
            return await self._post(endpoint, body, headers)

    async def _post(
        self, endpoint: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        assert self._session is not None
        url = URL(endpoint, encoded=True)  # as it was given: the service may compare it byte by byte
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            answer = await response.content.read(_ANSWER_BYTES)  # what else comes ends the connection
            fields = {name.lower(): value for name, value in response.headers.items()}
            return response.status, fields, answer

    def _judge(
        self, host: str, token: _Token, status: int, fields: dict[str, str], answer: bytes
    ) -> PushOutcome:
        """Say what an answer means.

        As with ntfy, whatever a service has against a request is the end of the subscription; but not what
        is the service's own trouble. If it does not accept who we are (401, 403), that can be the fault of
        one subscription, which was made with another key, or of our keys or clock, and of all. It is the
        subscription's if the service has accepted the very same token from us; until then the push waits,
        without holding up any other: anybody can register a browser with another server's key.
        """
        reason = _reason(status, answer)
        retry_after_s = parse_retry_after(fields.get("retry-after", ""), self._clock.now())
        if 200 <= status < 300:
            token.accepted = True
            verdict = Verdict.DELIVERED
        elif status == 413:
            verdict = Verdict.TOO_LARGE
        elif status == 429:
            verdict = Verdict.BUSY
        elif status >= 500 or status in _PASSING:
            verdict = Verdict.UNAVAILABLE
        elif status in (401, 403) and not token.accepted:
            self._complain(host, token, status)
            verdict, retry_after_s = Verdict.BUSY, max(retry_after_s, _SUSPECT_RETRY_S)
        elif status >= 400:
            verdict = Verdict.GONE
        else:  # there are no redirects to a push service
            verdict = Verdict.REFUSED
        return PushOutcome(verdict=verdict, reason=reason, retry_after_s=retry_after_s)

    def _complain(self, host: str, token: _Token, status: int) -> None:
        now = self._clock.now()
        if now - token.complained_at >= _COMPLAIN_S:
            token.complained_at = now
            _log.error(
                "Web Push: %s answers %d to our key. Either a browser has subscribed with another"
                " web-push-public-key, or the keys, web-push-email-address or the clock are wrong",
                host,
                status,
            )

    def _token(self, host: str) -> _Token:
        """Return what we show the service at `host`, for some hours the same (RFC 8292)."""
        now = self._clock.now()
        token = self._tokens.get(host)
        if token is not None and 0 <= now - token.made_at < _TOKEN_USED_S:
            return token
        claims = {
            "aud": f"https://{host}",
            "exp": int(now + _TOKEN_GOOD_S),
            "sub": f"mailto:{self._email}",
        }
        signed = jwt.encode(claims, self._keys.private, algorithm="ES256")
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens.clear()
        complained_at = token.complained_at if token is not None else float("-inf")
        token = self._tokens[host] = _Token(
            f"vapid t={signed}, k={self._keys.public}", now, complained_at=complained_at
        )
        return token


def _encrypt(payload: bytes, device: PushDevice) -> bytes:
    """Return the payload in one record of aes128gcm.

    Raises:
        ValueError: the browser's keys are none.
    """
    point, secret = decode_subscription_keys(device.p256dh, device.auth)
    encrypted: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=point,
        auth_secret=secret,
        version="aes128gcm",
    )
    return encrypted


def _is_refusal(error: BaseException | None) -> bool:
    """Whether it was the address that must not be called; aiohttp wraps that in errors of its own."""
    while error is not None:
        if isinstance(error, Refused):
            return True
        error = error.__cause__
    return False


def _reason(status: int, answer: bytes) -> str:
    """Return the service's word (Apple's ``reason``) or its status."""
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        value = None
    word = value.get("reason") if isinstance(value, dict) else None
    return word if isinstance(word, str) and _REASON.fullmatch(word) else str(status)
