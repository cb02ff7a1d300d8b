"""Receipts of emergencies: what apps ask and cancel, and the link by which readers acknowledge.

An app asks with its token. What was published by ntfy's API is asked for with the publisher's
`Authorization` header, or its access token as `token`; what nobody in particular has published, with nothing
but its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from ntfyish.core.address_book import AddressBook
from ntfyish.core.ports import Clock
from ntfyish.core.receipts import Receipts, account_owner, app_owner
from ntfyish.model.errors import NotFound
from ntfyish.model.receipt import Receipt
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer, Value
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.limits import PushoverLimits
from ntfyish.web.visitor import Visitors

_END = r"(?:\.json|\.xml)?"
_READ = re.compile(rf"/1/receipts/([A-Za-z0-9]+){_END}")
_CANCEL = re.compile(rf"/1/receipts/([A-Za-z0-9]+)/cancel{_END}")
_CANCEL_BY_TAG = re.compile(r"/1/receipts/cancel_by_tag/(.+?)(?:\.json|\.xml)?", re.DOTALL)
_LINK = re.compile(r"/1/receipts/([A-Za-z0-9]+)/ack/([A-Za-z0-9]+)")
_ACCESS_TOKEN = "tk_"

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title>
<style>body{{font:1.2em sans-serif;margin:3em auto;max-width:20em;text-align:center}}
button{{font:inherit;padding:.7em 1.5em}}</style></head>
<body>{body}</body></html>
"""
_FORM = '<p>An emergency waits for you.</p><form method="post"><button>Acknowledge</button></form>'
_PAGE_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Access-Control-Allow-Origin", "*"),
)


class AckLinks:
    """Makes the addresses at which readers acknowledge.

    Attributes:
        base_url: where people reach the server; "" if nobody has said so, and then there are no links: what a
            request claims to have been sent to must not get into messages.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def __call__(self, receipt: str, secret: str) -> str:
        """Return the address; "" without a base."""
        return f"{self.base_url}/1/receipts/{receipt}/ack/{secret}" if self.base_url else ""


class ReceiptRoutes:
    """Answers below ``/1/receipts/``, but for the Open Clients' own way to acknowledge."""

    def __init__(
        self,
        directory: AddressBook,
        visitors: Visitors,
        receipts: Receipts,
        limits: PushoverLimits,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._visitors = visitors
        self._receipts = receipts
        self._limits = limits
        self._clock = clock

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return method -> handler for a path of ours; None for any other."""
        if found := _LINK.fullmatch(path):
            show = partial(self._show_link, found[1], found[2])
            return {"GET": show, "HEAD": show, "POST": partial(self._acknowledge, found[1], found[2])}
        if found := _CANCEL_BY_TAG.fullmatch(path):
            return {"POST": partial(self._cancel_by_tag, found[1])}
        if found := _CANCEL.fullmatch(path):
            return {"POST": partial(self._cancel, found[1])}
        if found := _READ.fullmatch(path):
            read = partial(self._read, found[1])
            return {"GET": read, "HEAD": read}
        return None

    async def _read(self, id: str, request: Request) -> Response:
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        owner = await self._find_owner(request, parameters)
        if isinstance(owner, Fault):
            return answer.refusal([owner])
        try:
            receipt = await self._receipts.find(id, owner)
        except NotFound:
            return _unknown(answer, owner)
        return answer.success(_fields(receipt, self._clock.now()))

    async def _cancel(self, id: str, request: Request) -> Response:
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        if secret := parameters.text("secret").strip():
            await self._receipts.cancel_by_secret(id, secret)
            return answer.success({})
        owner = await self._find_owner(request, parameters)
        if isinstance(owner, Fault):
            return answer.refusal([owner])
        try:
            await self._receipts.cancel(id, owner)
        except NotFound:
            return _unknown(answer, owner)
        return answer.success({})

    async def _cancel_by_tag(self, tag: str, request: Request) -> Response:
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        owner = await self._find_owner(request, parameters)
        if isinstance(owner, Fault) or not owner:
            return answer.refusal([owner or faults.TOKEN_INVALID])
        return answer.success({"canceled": await self._receipts.cancel_by_tag(tag, owner)})

    async def _show_link(self, id: str, secret: str, request: Request) -> Response:
        """Show a button, and change nothing: programs that preview links follow them, too."""
        try:
            receipt = await self._receipts.find_by_link(id, secret)
        except NotFound:
            return _page(404, "This link is not valid any more.")
        if receipt.acknowledged_at:
            return _page(200, "This emergency has been acknowledged.")
        if receipt.has_expired(self._clock.now()):
            return _page(200, "This emergency is over.")
        return _page(200, "Emergency", _FORM)

    async def _acknowledge(self, id: str, secret: str, request: Request) -> Response:
        try:
            await self._receipts.acknowledge_by_link(id, secret)
        except NotFound:
            return _page(404, "This link is not valid any more.")
        return _page(200, "Acknowledged.")

    async def _find_owner(self, request: Request, parameters: Parameters) -> str | Fault:
        """Return whose receipts the request may ask for: an app's, an account's, or ""."""
        token = parameters.text("token").strip()
        if token and not token.startswith(_ACCESS_TOKEN):
            app = await self._directory.find_app(token)
            if app is None or not app.enabled:
                self._visitors.fail(request)
                return faults.TOKEN_INVALID
            return app_owner(app)
        # An app's token counts before the header, which Pushover's clients fill with all sorts of things.
        authorization = f"Bearer {token}" if token else request.headers.get("authorization", "")
        if not authorization:
            return ""
        visitor = await self._visitors.visitor(request, authorization)
        return account_owner(visitor.principal.account)


def _unknown(answer: Answer, owner: str) -> Response:
    """Refuse; who has not said who they are is told that."""
    return answer.refusal([faults.RECEIPT_UNKNOWN if owner else faults.TOKEN_INVALID])


def _fields(receipt: Receipt, now: float) -> dict[str, Value]:
    return {
        "acknowledged": int(bool(receipt.acknowledged_at)),
        "acknowledged_at": receipt.acknowledged_at,
        "acknowledged_by": receipt.acknowledged_by,
        "acknowledged_by_device": receipt.acknowledged_by_device,
        "last_delivered_at": receipt.last_delivered_at,
        "expired": int(receipt.has_expired(now)),
        "expires_at": receipt.expires_at,
        "called_back": int(bool(receipt.called_back_at)),
        "called_back_at": receipt.called_back_at,
    }


def _page(status: int, title: str, body: str = "") -> Response:
    return Response(
        status=status,
        body=_PAGE.format(title=title, body=body or f"<p>{title}</p>").encode(),
        content_type="text/html; charset=utf-8",
        headers=_PAGE_HEADERS,
    )
