"""Pushover's responses: JSON or XML with `status` and `request`, and the headers that clients look for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from xml.sax.saxutils import escape

import orjson

from ntfyish.core.quota import QuotaStatus
from ntfyish.web.http import Request, Response
from ntfyish.web.pushover.faults import Fault

Value = str | int | None | Sequence["Value"] | Mapping[str, "Value"]

_NOTHING: Mapping[str, str] = MappingProxyType({})
_JSON = "application/json; charset=utf-8"
_XML = "application/xml; charset=utf-8"
_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What the items of a list are called in XML
_ITEMS = MappingProxyType(
    {
        "errors": "error",
        "devices": "device",
        "deliveries": "delivery",
        "licenses": "license",
        "messages": "message",
        "groups": "group",
        "users": "user",
        "topics": "topic",
    }
)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    (
        "Access-Control-Allow-Headers",
        "X-Requested-With, X-Prototype-Version, Origin, Accept, Content-Type, X-CSRF-Token, X-Pushover-App",
    ),
    ("Access-Control-Max-Age", "1728000"),
)


class Answer:
    """The answer to one request, while it is being made.

    Attributes:
        request_id: a random UUID (version 4): `request` in the body, X-Request-Id in the header.
    """

    __slots__ = ("_headers", "_xml", "request_id")

    def __init__(self, request: Request) -> None:
        self.request_id = _new_uuid()
        self._xml = request.path.endswith(".xml")
        self._headers: tuple[tuple[str, str], ...] = (*_CORS, ("X-Request-Id", self.request_id))

    def show_quota(self, status: QuotaStatus) -> None:
        """Tell what the app may still send, in the header."""
        self._headers += (
            ("X-Limit-App-Limit", str(status.limit)),
            ("X-Limit-App-Remaining", str(status.remaining)),
            ("X-Limit-App-Reset", str(status.reset_at)),
        )

    def success(self, fields: Mapping[str, Value]) -> Response:
        """Answer 200 with `fields` and status 1."""
        return self._respond(200, {**fields, "status": 1}, (), close=False)

    def refusal(
        self,
        faults: Sequence[Fault],
        status: int = 400,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        also: Mapping[str, str] = _NOTHING,
        close: bool = False,
    ) -> Response:
        """Answer `status` with what is wrong: the fields, then the sentences, then status 0.

        Args:
            also: further fields with their phrases, for which no sentence of their own is said.
        """
        fields: dict[str, Value] = {fault.field: fault.phrase for fault in faults if fault.field}
        fields.update(also)
        fields["errors"] = [fault.sentence for fault in faults]
        fields["status"] = 0
        return self._respond(status, fields, headers, close=close)

    def refusal_by_field(
        self,
        faults: Mapping[str, Sequence[str]],
        status: int = 400,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        """Answer `status` with `errors` as an object of lists, as the Open Client API has it for devices."""
        return self._respond(status, {"errors": faults, "status": 0}, headers, close=False)

    def preflight(self) -> Response:
        """Answer a browser that asks whether it may."""
        return Response(content_type="text/plain; charset=utf-8", headers=self._headers)

    def _respond(
        self, status: int, fields: dict[str, Value], headers: tuple[tuple[str, str], ...], *, close: bool
    ) -> Response:
        fields["request"] = self.request_id
        return Response(
            status=status,
            body=_to_xml(fields) if self._xml else orjson.dumps(fields),
            content_type=_XML if self._xml else _JSON,
            headers=self._headers + headers,
            close=close,
        )


def _new_uuid() -> str:
    digits = secrets.token_hex(16)
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _to_xml(fields: Mapping[str, Value]) -> bytes:
    body = "".join([f"<{name}>{_element(name, value)}</{name}>" for name, value in fields.items()])
    return f"{_XML_HEAD}<response>{body}</response>".encode()


def _element(name: str, value: Value) -> str:
    """Return the content of an element. Names are ours, values may be anybody's."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(int(value)) if value is not True and value is not False else str(value).lower()
    if isinstance(value, str):
        return escape(_NOT_XML.sub("\ufffd", value), {"\r": "&#13;"})
    if isinstance(value, Mapping):
        return "".join([f"<{key}>{_element(key, item)}</{key}>" for key, item in value.items()])
    item_name = _ITEMS.get(name, "item")
    return "".join([f"<{item_name}>{_element(item_name, item)}</{item_name}>" for item in value])
