"""Pushover's Open Client API: log in, register a device, download, confirm, acknowledge, ``GET /push``.

A secret stands for the password from the login on. Every call takes its parameters from the query or a body,
also on GET: clients do either.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ntfyish.core.devices import Devices, OpenClient
from ntfyish.core.ports import Queued
from ntfyish.core.receipts import Receipts
from ntfyish.model.errors import Conflict, LimitReached, Unauthenticated
from ntfyish.model.line import decode
from ntfyish.model.message import Attachment, priority_to_pushover
from ntfyish.model.people import DEVICE_PATTERN, Account, Device
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response, Takeover
from ntfyish.web.push_socket import PushSocket, PushSockets
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer, Value
from ntfyish.web.pushover.icons import ICON
from ntfyish.web.pushover.limits import PushoverLimits
from ntfyish.web.responses import HeadWriter
from ntfyish.web.visitor import Visitors
from ntfyish.web.websocket import UnsupportedVersion, accept_key, wants_websocket

PUSH_PATH = "/push"

_CONFIRM = re.compile(r"/1/devices/([A-Za-z0-9]{1,64})/update_highest_message(?:\.json|\.xml)?")
_ACKNOWLEDGE = re.compile(r"/1/receipts/([A-Za-z0-9]{30})/acknowledge(?:\.json|\.xml)?")
_CODE_NEEDED = 412
_MAX_NAME_CHARS = 25
_MAX_ID = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,30}")
_NTFY_APP = "ntfy"


class OpenClients:
    """Answers Open Clients."""

    def __init__(
        self,
        devices: Devices,
        receipts: Receipts,
        sockets: PushSockets,
        visitors: Visitors,
        heads: HeadWriter,
        limits: PushoverLimits,
    ) -> None:
        self._devices = devices
        self._receipts = receipts
        self._sockets = sockets
        self._visitors = visitors
        self._heads = heads
        self._limits = limits
        log_in: Mapping[str, Handler] = {"POST": self.log_in}
        self._routes = {f"/1/users/login{suffix}": log_in for suffix in (".json", ".xml")}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`; see `dialect.Service`."""
        if (route := self._routes.get(path)) is not None:
            return route
        if (found := _CONFIRM.fullmatch(path)) is not None:
            return {"POST": partial(self.confirm, found[1])}
        if (found := _ACKNOWLEDGE.fullmatch(path)) is not None:
            return {"POST": partial(self.acknowledge, found[1])}
        return None

    async def log_in(self, request: Request) -> Response:
        """Give a secret to whoever has the password, and the one-time code if the account wants one."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        account = await self._check_password(request, parameters)
        if account is None:
            return answer.refusal([faults.LOGIN_WRONG])
        if account.totp_secret:
            code = "".join(parameters.text("twofa").split())
            if not code:
                return answer.refusal([faults.CODE_MISSING], _CODE_NEEDED)
            if not self._devices.is_code(account, code):
                self._visitors.fail(request)
                return answer.refusal([faults.CODE_WRONG])
        secret = await self._devices.log_in(account)
        return answer.success({"id": account.user_key, "secret": secret})

    async def register(self, request: Request) -> Response:
        """Register a device under a name; `PushDeviceCalls` has the path."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        client = await self._find_client(request, parameters)
        if client is None:
            return _refuse_secret(answer, parameters)
        name = parameters.text("name").strip()
        if wrong := find_name_fault(name):
            return answer.refusal_by_field({"name": [wrong]})
        if parameters.text("os").strip() not in ("", "O"):
            return answer.refusal_by_field({"os": ["is invalid"]})
        try:
            device_id = await self._devices.register(client, name, force=parameters.flag("force"))
        except Conflict:
            return answer.refusal_by_field({"name": ["has already been taken"]})
        except LimitReached:
            return answer.refusal_by_field({"name": ["cannot be added, there are too many devices"]})
        return answer.success({"id": device_id})

    async def download(self, request: Request) -> Response:
        """Return what waits for a device."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        client = await self._find_client(request, parameters)
        if client is None:
            return _refuse_secret(answer, parameters)
        device = self._devices.find_device(client, parameters.text("device_id").strip())
        if device is None:
            return answer.refusal([faults.DEVICE_ID_INVALID])
        queued = await self._devices.download(device)
        account = client.account
        return answer.success(
            {
                "messages": [message_fields(one, account) for one in queued],
                "user": self._user_fields(account),
                "device": _device_fields(device, account),
            }
        )

    async def download_or_decline(self, request: Request) -> Response | None:
        """Return what waits for a device if the request looks like Pushover's; None if not.

        ``GET /1/messages``, which several clients send, may also be for ntfy's topic 1.
        """
        query = request.query
        if not ("secret" in query or "token" in query or "device_id" in query):
            return None
        return await self.download(request)

    async def confirm(self, device_id: str, request: Request) -> Response:
        """Delete what a device has got, up to the message that it names."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        client = await self._find_client(request, parameters)
        if client is None:
            return _refuse_secret(answer, parameters)
        device = self._devices.find_device(client, device_id)
        if device is None:
            return answer.refusal([faults.DEVICE_ID_INVALID])
        highest = (parameters.text("message") or parameters.text("highest_message_id")).strip()
        if not _NUMBER.fullmatch(highest):
            return answer.refusal([faults.invalid("message")])
        await self._devices.confirm(device, min(int(highest), _MAX_ID))
        return answer.success({})

    async def acknowledge(self, receipt: str, request: Request) -> Response:
        """Acknowledge an emergency."""
        answer = Answer(request)
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        client = await self._find_client(request, parameters)
        if client is None:
            return _refuse_secret(answer, parameters)
        device = self._devices.find_device(client, parameters.text("device_id").strip())
        name = device.name if device is not None else self._devices.find_device_name(client)
        await self._receipts.acknowledge(receipt, client.account.name, name)
        return answer.success({})

    async def connect(self, request: Request) -> Response | Takeover | None:
        """Open the WebSocket; None for what is no upgrade, for "push" may be a topic."""
        if not wants_websocket(request):
            return None
        visitor = await self._visitors.visitor(request, "")
        visitor.take_request()
        try:
            accept = accept_key(request)
        except UnsupportedVersion:
            return Response(status=426, content_type="", headers=(("Sec-WebSocket-Version", "13"),))
        fields = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept))
        return PushSocket(
            sockets=self._sockets,
            head=self._heads.stream(101, fields),
            failed=lambda: self._visitors.fail(request),
            released=visitor.open_subscription(),
        )

    async def _check_password(self, request: Request, parameters: Parameters) -> Account | None:
        """Return the account whose password that is; what is wrong counts as every other failed login."""
        email, password = parameters.text("email").strip(), parameters.text("password")
        if not email or not password:
            self._visitors.fail(request)
            return None
        # A name that nobody has takes as long; a colon would end it early.
        name = self._devices.find_login_name(email) or email.replace(":", "?")
        credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
        try:
            visitor = await self._visitors.visitor(request, f"Basic {credentials}")
        except Unauthenticated:
            return None
        return visitor.principal.account

    async def _find_client(self, request: Request, parameters: Parameters) -> OpenClient | None:
        secret = parameters.text("secret").strip()
        client = await self._devices.find_client(secret) if secret else None
        if client is None:
            self._visitors.fail(request)
        return client

    def _user_fields(self, account: Account) -> Value:
        return {
            "quiet_hours": self._devices.is_quiet(account),
            "is_android_licensed": True,
            "is_ios_licensed": True,
            "is_desktop_licensed": True,
            "email": account.email,
            "created_at": account.created_at,
            "first_email_alias": "",
            "show_tipjar": "disabled",
            "show_team_ad": "0",
        }


def message_fields(queued: Queued, account: Account) -> Value:
    """Return a message as Open Clients get it. What is not set is left out: some clients trip over null."""
    message = decode(queued.line)
    content = message.content
    app = content.app or _NTFY_APP
    aid = _number(app)
    optional: dict[str, Any] = {
        "title": content.title,
        "expiration_date": queued.queued_at + content.ttl_s if content.ttl_s else 0,
        "sound": content.sound or account.default_sound,
        "url": content.click,
        "url_title": content.url_title,
        "receipt": message.receipt,
        "html": int(content.html),
        "monospace": int(content.monospace),
        "encrypted": int(content.encrypted),
        "attachment": _attachment_fields(content.attachment),
    }
    return {
        "id": queued.id,
        "id_str": str(queued.id),
        "umid": queued.umid,
        "umid_str": str(queued.umid),
        "message": content.message,
        "app": app,
        "aid": aid,
        "aid_str": str(aid),
        "icon": ICON,
        "date": content.timestamp or message.time,
        "queued_date": queued.queued_at,
        "dispatched_date": queued.queued_at,
        "priority": priority_to_pushover(content.priority),
        "acked": int(queued.acknowledged),
        **{name: value for name, value in optional.items() if value},
    }


def find_name_fault(name: str) -> str:
    """Return what is wrong with a device's name; or ""."""
    if not name:
        return "can't be blank"
    if len(name) > _MAX_NAME_CHARS:
        return f"is too long (maximum is {_MAX_NAME_CHARS} characters)"
    return "" if DEVICE_PATTERN.fullmatch(name) else "is invalid"


def _attachment_fields(attachment: Attachment | None) -> Value:
    if attachment is None:
        return None
    fields: dict[str, Any] = {
        "name": attachment.name,
        "url": attachment.url,
        "type": attachment.type,
        "size": attachment.size_bytes,
    }
    return {name: value for name, value in fields.items() if value}


def _device_fields(device: Device, account: Account) -> Value:
    return {
        "name": device.name,
        "eid": _number(device.id),
        "encryption_enabled": False,
        "default_sound": account.default_sound or "pushover",
        "always_use_default_sound": False,
        "default_high_priority_sound": account.default_sound or "pushover",
        "always_use_default_high_priority_sound": False,
        "dismissal_sync_enabled": False,
    }


def _number(name: str) -> int:
    """Return a number that stands for a name: 31 bits, the same every time."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _refuse_secret(answer: Answer, parameters: Parameters) -> Response:
    return answer.refusal([faults.SECRET_INVALID if parameters.text("secret") else faults.SECRET_MISSING])
