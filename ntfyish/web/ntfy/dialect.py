"""The ntfy dialect: routes, and the handlers behind them.

Decides nothing: it parses, asks `Access` for a grant, calls the publisher or opens a stream, and encodes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ntfyish.core.access import Access, Grant
from ntfyish.core.attachments import Attachments
from ntfyish.core.letters import Letters
from ntfyish.core.limits import Visitor
from ntfyish.core.ports import Clock, Post
from ntfyish.core.rate_owners import RateOwners
from ntfyish.core.receipts import account_owner
from ntfyish.model.acl import Permission
from ntfyish.model.errors import NtfyishError, Reason, Unauthenticated
from ntfyish.model.line import encode
from ntfyish.model.message import MAX_PRIORITY, Draft, Event
from ntfyish.model.query import Query
from ntfyish.model.receipt import Emergency, without_button
from ntfyish.model.topic import TOPIC, is_topic, parse_topics
from ntfyish.web.formats import Format, JsonFormat, RawFormat, SseFormat, WebSocketFormat
from ntfyish.web.http import BufferedBody, Handler, Request, Response
from ntfyish.web.ntfy.callers import Caller, Service
from ntfyish.web.ntfy.callers import Handler as ServiceHandler
from ntfyish.web.ntfy.drafts import (
    EMPTY_MESSAGE,
    BodyUse,
    PublishLimits,
    body_use,
    draft_from_json,
    draft_from_request,
)
from ntfyish.web.ntfy.emergencies import EMERGENCY_LIMITS, EmergencyLimits, read_emergency
from ntfyish.web.ntfy.errors import error_response
from ntfyish.web.ntfy.matrix import PATH as MATRIX_PATH
from ntfyish.web.ntfy.publish_json import parse_publish_json
from ntfyish.web.ntfy.publishing import Publishing
from ntfyish.web.ntfy.queries import query_from_request
from ntfyish.web.params import Params
from ntfyish.web.responses import HeadWriter
from ntfyish.web.streams import Stream, Streams
from ntfyish.web.visitor import Visitors, limit_headers
from ntfyish.web.websocket import UnsupportedVersion, accept_key, wants_websocket

# The second part is a word or a sequence id, which is spelt like a topic.
_PATH = re.compile(rf"/(?P<topics>{TOPIC}(?:,{TOPIC})*)(?:/(?P<second>{TOPIC})(?:/(?P<third>[a-z]+))?)?")
# What else begins so is about a topic of a name that is not allowed.
_SERVICES = re.compile(
    r"/v1/(?:health|stats|tiers|config|version|account|users|webpush)(?:/|$)|/config\.js$"
    rf"|{re.escape(MATRIX_PATH)}$"
)
_PUBLISH_BY_GET = frozenset({"publish", "send", "trigger"})
_TRANSPORTS = frozenset({"json", "sse", "raw", "ws"})
_EVENTS = {"clear": Event.MESSAGE_CLEAR, "read": Event.MESSAGE_CLEAR, "delete": Event.MESSAGE_DELETE}

_CORS = (("Access-Control-Allow-Origin", "*"),)
_PREFLIGHT = (
    *_CORS,
    ("Access-Control-Allow-Methods", "GET, PUT, POST, PATCH, DELETE"),
    # "*" does not cover Authorization (Fetch standard), so it is named
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "86400"),
)
_STREAM_HEADERS = (
    *_CORS,
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),  # nginx would hold the stream back
)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_SUCCESS = b'{"success":true}\n'
_UNIFIEDPUSH = Response(body=b'{"unifiedpush":{"version":1}}\n', headers=_CORS)


class NtfyDialect:
    """Routes of ntfy's topic API, and the way to the services.

    Args:
        services: what answers below ``/v1/`` (and the script of the same kind), and the Matrix gateway.
        attachments: takes files in; None where `limits.uploads` is off.
        rate_owners: who pays for topics of UnifiedPush; None if that is always who publishes.
    """

    def __init__(
        self,
        *,
        access: Access,
        visitors: Visitors,
        publishing: Publishing,
        streams: Streams,
        clock: Clock,
        heads: HeadWriter,
        limits: PublishLimits,
        letters: Letters,
        services: Sequence[Service],
        attachments: Attachments | None = None,
        rate_owners: RateOwners | None = None,
        emergency_limits: EmergencyLimits = EMERGENCY_LIMITS,
    ) -> None:
        self._access = access
        self._visitors = visitors
        self._publishing = publishing
        self._streams = streams
        self._clock = clock
        self._heads = heads
        self._limits = limits
        self._letters = letters
        self._services = services
        self._attachments = attachments
        self._rate_owners = rate_owners
        self._emergency_limits = emergency_limits
        now = clock.now
        self._formats: dict[tuple[str, bool], Format] = {
            (kind, framed): make(now, framed=framed)
            for kind, make in (("json", JsonFormat), ("sse", SseFormat), ("raw", RawFormat))
            for framed in (True, False)
        }
        self._websocket_format = WebSocketFormat(now)

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        if method == "OPTIONS":
            return self._preflight
        if path == "/":
            return self._publish_json if method in ("PUT", "POST") else self._decline
        if _SERVICES.match(path):
            return self._match_service(method, path)
        found = _PATH.fullmatch(path)
        if found is None:
            return self._decline
        topics, second, third = found.groups()
        handler: Handler | None = None
        if second is None:
            handler = self._match_one(method, topics) if is_topic(topics) else None
        elif third is None:
            handler = self._match_two(method, topics, second)
        elif (
            is_topic(topics)
            and third in _EVENTS
            and (method == "GET" or (method == "PUT" and third != "delete"))
        ):
            handler = partial(self._publish_event, topics, second, _EVENTS[third])
        return handler or self._decline

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Return the error as JSON; to a WebSocket client as a bare status, which is all it can see."""
        response = error_response(error)
        if response.status == 429:
            response.headers += limit_headers(request.visitor)
        elif response.status >= 500 and request.visitor is not None:
            if error.reason is not Reason.SUBSCRIBER_MISSING:  # the only one that is not our own trouble
                request.visitor.give_back_request()
        if wants_websocket(request):
            response.body = b""
            response.content_type = ""
        return response

    def _match_service(self, method: str, path: str) -> Handler:
        for service in self._services:
            if (handler := service.match(method, path)) is not None:
                return partial(self._call, handler)
        return self._decline

    def _match_one(self, method: str, topic: str) -> Handler | None:
        if method in ("PUT", "POST"):
            return partial(self._publish, topic)
        return self._discover if method == "GET" else None

    def _match_two(self, method: str, topics: str, second: str) -> Handler | None:
        if method == "GET":
            if second in _TRANSPORTS:
                return partial(self._subscribe, topics, second)
            if second == "auth":
                return partial(self._probe, topics)
            if second in _PUBLISH_BY_GET and is_topic(topics):
                return partial(self._publish, topics)
        elif is_topic(topics):
            if method in ("PUT", "POST"):
                return partial(self._publish, topics, sequence_id=second)
            if method == "DELETE":
                return partial(self._publish_event, topics, second, Event.MESSAGE_DELETE)
        return None

    # Handlers

    async def _decline(self, request: Request) -> None:
        """Leave what is not ours to the others; as with ntfy, wrong credentials are wrong there, too."""
        await self._visitor(request)

    async def _preflight(self, request: Request) -> Response:
        (await self._visitor(request)).take_request()
        return Response(content_type="", headers=_PREFLIGHT)

    async def _call(self, handler: ServiceHandler, request: Request) -> Response:
        visitor = await self._visitor(request)
        return await handler(request, Caller(visitor, self._visitors.address(request), self._attachments))

    async def _discover(self, request: Request) -> Response | None:
        """Tell an app that this is a place for UnifiedPush; a topic has no page here otherwise."""
        await self._visitor(request)
        return _UNIFIEDPUSH if Params(request).flag("unifiedpush") else None

    async def _publish(self, topic: str, request: Request, sequence_id: str = "") -> Response:
        visitor = await self._visitor(request)
        publishing = self._publishing
        admission = publishing.admit(request, visitor, topic)
        with publishing.attempt:
            self._check_length(visitor, request)
            body, more = await request.body.read(self._limits.message_size_bytes)
            draft = draft_from_request(
                request,
                body,
                more,
                self._clock.now(),
                self._limits,
                sequence_id=sequence_id,
                find_address=partial(self._letters.address_for, visitor.principal),
            )
            emergency = self._emergency(visitor, request, draft)
            post = await publishing.send(admission, draft, request.body, emergency)
        return _answer(post, admission.payer, emergency)

    async def _publish_json(self, request: Request) -> Response:
        visitor = await self._visitor(request)
        limit = self._limits.json_size_bytes
        body, more = await request.body.read(limit)
        topic, fields = parse_publish_json(body, more)
        publishing = self._publishing
        admission = publishing.admit(request, visitor, topic)
        with publishing.attempt:
            find_address = partial(self._letters.address_for, visitor.principal)
            now = self._clock.now()
            draft = draft_from_json(request, fields, now, self._limits, find_address=find_address)
            text = BufferedBody((fields.message or EMPTY_MESSAGE).encode())
            emergency = self._emergency(visitor, request, draft, fields.values)
            post = await publishing.send(admission, draft, text, emergency)
        return _answer(post, admission.payer, emergency)

    async def _publish_event(self, topic: str, sequence_id: str, event: Event, request: Request) -> Response:
        visitor = await self._visitor(request)
        publishing = self._publishing
        admission = publishing.admit(request, visitor, topic)
        with publishing.attempt:
            post = await publishing.send(admission, Draft(event=event, sequence_id=sequence_id))
        return _answer(post, admission.payer)

    def _check_length(self, visitor: Visitor, request: Request) -> None:
        """Refuse a file that says that it is too large, before its client sends it."""
        length = request.headers.get("content-length", "")
        if self._attachments is None or not _LENGTH.fullmatch(length):
            return
        size = int(length)
        if size > self._limits.message_size_bytes and body_use(Params(request), b"", True) is BodyUse.UPLOAD:
            self._attachments.check_length(visitor.key, size)

    def _emergency(
        self, visitor: Visitor, request: Request, draft: Draft, fields: Mapping[str, str] | None = None
    ) -> Emergency | None:
        """Return how the message is to be repeated; None for almost all of them."""
        if draft.content.priority != MAX_PRIORITY:
            return None
        receipt = read_emergency(Params(request, fields), draft, self._emergency_limits)
        owner = account_owner(visitor.principal.account)
        return None if receipt is None else Emergency(draft=receipt, owner=owner)

    async def _probe(self, topic_text: str, request: Request) -> Response:
        visitor = await self._visitor(request)
        visitor.take_request()
        self._access.grant(visitor.principal, Permission.READ, parse_topics(topic_text))
        return Response(body=_SUCCESS, headers=_CORS + limit_headers(visitor))

    async def _subscribe(self, topic_text: str, transport: str, request: Request) -> Response | Stream:
        visitor = await self._visitor(request)
        visitor.take_request()
        topics = parse_topics(topic_text)
        grant = self._access.grant(visitor.principal, Permission.READ, topics)
        release = visitor.open_subscription()
        answer: Response | Stream | None = None
        new: tuple[str, ...] = ()
        try:
            self._publishing.check_allowed(topics)
            new = visitor.take_topics(topics)
            query = query_from_request(request, topics, topic_text, now=self._clock.now())
            if self._rate_owners is not None:
                leave = self._rate_owners.enter(visitor, self._visitors.address(request), topics)
                release = partial(_call_both, release, leave)
            answer = self._open(request, visitor, grant, query, transport, release)
        finally:
            if not isinstance(answer, Stream):
                release()
                visitor.give_back_topics(new)
        return answer

    def _open(
        self,
        request: Request,
        visitor: Visitor,
        grant: Grant,
        query: Query,
        transport: str,
        release: Callable[[], None],
    ) -> Response | Stream:
        if transport == "ws":
            try:
                accept = accept_key(request)
            except UnsupportedVersion:
                return Response(status=426, content_type="", headers=(("Sec-WebSocket-Version", "13"),))
            head = self._heads.stream(
                101,
                (
                    ("Upgrade", "websocket"),
                    ("Connection", "Upgrade"),
                    ("Sec-WebSocket-Accept", accept),
                    *limit_headers(visitor),
                ),
            )
            return Stream(
                streams=self._streams,
                grant=grant,
                query=query,
                format=self._websocket_format,
                head=head,
                websocket=True,
                released=release,
            )
        framed = request.version >= (1, 1)
        format = self._formats[transport, framed]
        framing = ("Transfer-Encoding", "chunked") if framed else ("Connection", "close")
        fields = (("Content-Type", format.content_type), framing, *_STREAM_HEADERS, *limit_headers(visitor))
        return Stream(
            streams=self._streams,
            grant=grant,
            query=query,
            format=format,
            head=self._heads.stream(200, fields),
            keeps_alive=framed,
            released=release,
        )

    async def identify(self, request: Request) -> Visitor:
        """Return who sends a request that is none of ntfy's; see `_visitor`."""
        return await self._visitor(request)

    async def _visitor(self, request: Request) -> Visitor:
        """Return who is asking: `?auth=` (base64url of a header value) counts before the header."""
        authorization = request.headers.get("authorization", "")
        if request.query_string:
            hidden = request.query.get("auth") or request.query.get("authorization")
            if hidden:
                authorization = self._reveal(request, hidden)
        return await self._visitors.visitor(request, authorization)

    def _reveal(self, request: Request, hidden: str) -> str:
        try:
            return _reveal(hidden)
        except Unauthenticated:
            self._visitors.fail(request)
            raise


def _answer(post: Post, payer: Visitor, emergency: Emergency | None = None) -> Response:
    """Answer a publish with its message."""
    # Who may publish need not be one of the readers, who alone may acknowledge.
    line = post.line if emergency is None else encode(without_button(post.message))
    return Response(body=line + b"\n", headers=_CORS + limit_headers(payer))


def _call_both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()


def _reveal(hidden: str) -> str:
    """Decode `?auth=`. ntfy takes it without padding; with padding it is as clear, so it is taken too."""
    text = hidden.rstrip("=")
    try:
        header = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthenticated from None
    if not header.lower().startswith(("basic ", "bearer ")):
        raise Unauthenticated  # whoever takes this way means to log in
    return header
