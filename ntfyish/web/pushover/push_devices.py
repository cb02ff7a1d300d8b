"""Devices that are pushed to register, are listed and go: ``/1/devices`` with ``kind=apns``.

The path is also an Open Client's, which registers there without saying a kind; it is handed on. Whoever calls
is an account, by an Open Client's secret or by the `Authorization` header (Basic, or Bearer with an access
token), or nobody: then a device gets only topics that everybody may read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil

from ntfyish.core.devices import Devices
from ntfyish.core.pushes.devices import NAME_FORBIDDEN, PushDevices, Registration
from ntfyish.core.pushes.registration import MOST_TOPICS
from ntfyish.model.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound, Reason, Unauthenticated
from ntfyish.model.people import Principal
from ntfyish.model.push import APNS_TOKEN_PATTERN, BUNDLE_ID_PATTERN, PushDevice, PushKind
from ntfyish.model.topic import is_topic
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer, Value
from ntfyish.web.pushover.drafts import split_list
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.open_client import find_name_fault
from ntfyish.web.visitor import Visitors

CREDENTIALS_WRONG = Fault("", "", "user name, password or access token is wrong")
CREDENTIALS_MISSING = Fault("secret", "must be supplied", "secret or Authorization must be supplied")
CREDENTIALS_DIFFER = Fault("secret", "invalid", "secret and Authorization are of different accounts")
DEVICE_UNKNOWN = Fault("id", "invalid", "device not found")
NAME_NOT_YOURS = Fault("", "", "this token is limited and cannot manage devices that have a name")

_DEVICE = re.compile(r"/1/devices/([A-Za-z0-9]{1,64})(/delete)?(?:\.json|\.xml)")
_ID = re.compile(r"[a-z0-9]{40}")
# Apple's own word for the sandbox, in an app's entitlements, is development.
_SANDBOX: Mapping[str, bool | None] = {"": None, "production": False, "sandbox": True, "development": True}
_BODY_BYTES = 65_536
_HINT_LENGTH = 8
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="ntfyish"'),)
_BLANK = "can't be blank"
_WRONG = "is invalid"

_FIELDS = frozenset(
    {"name", "device_token", "token", "bundle_id", "bundle-id", "environment", "topics", "id", "secret"}
)

_Faults = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Caller:
    """Whoever sends a request, and the key of the network that they send it from."""

    principal: Principal
    place: str


class PushDeviceCalls:
    """Answers ``/1/devices``, and what is below it about devices that are pushed to.

    Args:
        register_client: answers an Open Client that registers.
    """

    def __init__(
        self,
        devices: PushDevices,
        clients: Devices,
        visitors: Visitors,
        register_client: Callable[[Request], Awaitable[Response]],
    ) -> None:
        self._devices = devices
        self._clients = clients
        self._visitors = visitors
        self._register_client = register_client
        self._route: Mapping[str, Handler] = {"POST": self.register, "GET": self.show, "HEAD": self.show}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        if path in ("/1/devices.json", "/1/devices.xml"):
            return self._route
        found = _DEVICE.fullmatch(path)
        if found is None:
            return None
        return {"POST" if found[2] else "DELETE": partial(self.remove, found[1])}

    async def register(self, request: Request) -> Response:
        """Register a device, or note that it is still there."""
        answer = Answer(request)
        parameters = await read_parameters(request, _BODY_BYTES)
        kind = parameters.text("kind").strip()
        if not kind and parameters.text("device_token").strip():  # no Open Client has one
            kind = PushKind.APNS
        if kind in ("", "client") and "kind" not in parameters.malformed:
            return await self._register_client(request)
        if kind != PushKind.APNS:
            return answer.refusal_by_field({"kind": [_WRONG]})
        caller = await self._find_caller(request, answer, parameters)
        if isinstance(caller, Response):
            return caller
        found: _Faults = {}
        wanted = self._read(parameters, caller, found)
        if found:
            return answer.refusal_by_field(found)
        return await self._register(answer, caller, wanted)

    async def show(self, request: Request) -> Response:
        """List the caller's devices."""
        answer = Answer(request)
        parameters = await read_parameters(request, _BODY_BYTES)
        caller = await self._find_caller(request, answer, parameters)
        if isinstance(caller, Response):
            return caller
        if caller.principal.account is None:
            return answer.refusal([CREDENTIALS_MISSING], 401, _CHALLENGE)
        devices = self._devices.owned(caller.principal)
        return answer.success({"devices": [_fields(device) for device in devices]})

    async def remove(self, id: str, request: Request) -> Response:
        """Remove a device."""
        answer = Answer(request)
        parameters = await read_parameters(request, _BODY_BYTES)
        caller = await self._find_caller(request, answer, parameters)
        if isinstance(caller, Response):
            return caller
        try:
            await self._devices.remove(caller.principal, id)
        except NotFound:
            return answer.refusal([DEVICE_UNKNOWN], 404)
        except Forbidden:
            return answer.refusal([NAME_NOT_YOURS], 403)
        return answer.success({})

    async def _find_caller(
        self, request: Request, answer: Answer, parameters: Parameters
    ) -> _Caller | Response:
        """Count the request, and return who sends it, or the refusal if they are not who they say.

        Raises:
            LimitReached: REQUEST_LIMIT, AUTH_FAILURE_LIMIT.
        """
        try:
            visitor = await self._visitors.visitor(request, request.headers.get("authorization", ""))
        except Unauthenticated:
            return answer.refusal([CREDENTIALS_WRONG], 401, _CHALLENGE)
        visitor.take_request()
        principal = visitor.principal
        if secret := parameters.text("secret").strip():
            client = await self._clients.find_client(secret)
            if client is None:
                self._visitors.fail(request)
                return answer.refusal([faults.SECRET_INVALID])
            if principal.account is not None and principal.account.name != client.account.name:
                return answer.refusal([CREDENTIALS_DIFFER])
            principal = Principal(client.account)
        return _Caller(principal, visitor.place)

    def _read(self, parameters: Parameters, caller: _Caller, found: _Faults) -> Registration:
        """Return what is asked for. Adds what is wrong with its form to `found`."""
        is_nobody = caller.principal.account is None
        name = parameters.text("name").strip()
        token = (parameters.text("device_token") or parameters.text("token")).strip()
        bundle_id = (parameters.text("bundle_id") or parameters.text("bundle-id")).strip()
        topics = tuple(split_list(parameters.texts("topics")))
        id = parameters.text("id").strip()
        if name and is_nobody:
            found["name"] = ["needs an account; secret or Authorization must be supplied"]
        elif name and (wrong := find_name_fault(name)):
            found["name"] = [wrong]
        elif not name and not topics:
            found["topics" if is_nobody else "name"] = [_BLANK]
        if not APNS_TOKEN_PATTERN.fullmatch(token):
            found["device_token"] = [_WRONG if token else _BLANK]
        if not BUNDLE_ID_PATTERN.fullmatch(bundle_id):
            found["bundle_id"] = [_WRONG if bundle_id else _BLANK]
        if len(topics) > MOST_TOPICS:
            found["topics"] = [f"has too many items (maximum is {MOST_TOPICS})"]
        elif not all(map(is_topic, topics)):
            found["topics"] = [_WRONG]
        if id and not _ID.fullmatch(id):
            found["id"] = [_WRONG]
        found.update({field: [_WRONG] for field in parameters.malformed if field in _FIELDS})
        return Registration(
            token=token.lower(),
            bundle_id=bundle_id,
            name=name,
            topics=topics,
            sandbox=self._read_environment(parameters, bundle_id, found),
            id=id,
            force=parameters.flag("force"),
        )

    def _read_environment(self, parameters: Parameters, bundle_id: str, found: _Faults) -> bool | None:
        environment = parameters.text("environment").strip().lower()
        sandbox = _SANDBOX.get(environment)
        if environment not in _SANDBOX:
            found["environment"] = [_WRONG]
        elif "bundle_id" not in found and not self._devices.has_app(bundle_id):
            found["bundle_id"] = ["is not an app of this server"]
        elif "bundle_id" not in found and self._devices.find_sandbox(bundle_id, sandbox) is None:
            found["environment"] = ["is not configured for this app"]
        return sandbox

    async def _register(self, answer: Answer, caller: _Caller, wanted: Registration) -> Response:
        try:
            device = await self._devices.register(caller.principal, wanted, caller.place)
        except Conflict as error:
            if error.reason is Reason.DECLARED:
                return answer.refusal_by_field({"device_token": ["is declared in the configuration"]})
            return answer.refusal_by_field({"name": ["has already been taken"]})
        except Forbidden as error:
            field = "name" if error.detail == NAME_FORBIDDEN else "topics"
            return answer.refusal_by_field({field: ["is not allowed"]}, 403)
        except Invalid as error:
            if error.reason is not Reason.TOPIC_DISALLOWED:
                raise
            return answer.refusal_by_field({"topics": ["is not allowed"]})
        except LimitReached as error:
            headers = (("Retry-After", str(ceil(error.retry_after_s))),)
            field = "name" if caller.principal.account is not None else "device_token"
            return answer.refusal_by_field(
                {field: ["cannot be added, there are too many devices"]}, 429, headers
            )
        return answer.success(_fields(device))


def _fields(device: PushDevice) -> Mapping[str, Value]:
    return {
        "id": device.id,
        "name": device.name,
        "kind": device.kind.value,
        "bundle_id": device.bundle_id,
        "environment": "sandbox" if device.sandbox else "production",
        "topics": list(device.topics),
        "registered_at": device.registered_at,
        "device_token_hint": device.token[-_HINT_LENGTH:],
    }
