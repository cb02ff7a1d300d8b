"""`POST /1/messages.json`: who sends, to whom, what; then one publish for all recipients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from math import ceil

from ntfyish.core.access import Access
from ntfyish.core.address_book import AddressBook, Recipient
from ntfyish.core.attachments import Attachments
from ntfyish.core.limits import account_key
from ntfyish.core.publisher import Publisher
from ntfyish.core.quota import Quotas
from ntfyish.core.receipts import app_owner
from ntfyish.model.errors import Invalid, LimitReached, NtfyishError, TooLarge
from ntfyish.model.message import Content, Draft
from ntfyish.model.people import App
from ntfyish.model.receipt import Emergency
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer, Value
from ntfyish.web.pushover.drafts import read_draft, split_list
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.limits import PushoverLimits
from ntfyish.web.pushover.uploads import Upload, read_upload
from ntfyish.web.visitor import Visitors

_log = logging.getLogger(__name__)

_NO_ATTACHMENTS = "attachments are not enabled on this server"
# Each takes memory for what is on its way to the disk, which does not get faster by more of them.
_STORED_AT_ONCE = 4
_LARGE_FIELD = "attachment_base64"
_NO_DEVICES = "no active devices to send to"


class Messages:
    """Answers the messages endpoint. Validates the token alone, then the user alone, then all the rest."""

    def __init__(
        self,
        directory: AddressBook,
        access: Access,
        visitors: Visitors,
        publisher: Publisher,
        quotas: Quotas,
        limits: PushoverLimits,
        attachments: Attachments | None = None,
    ) -> None:
        self._directory = directory
        self._access = access
        self._visitors = visitors
        self._publisher = publisher
        self._quotas = quotas
        self._limits = limits
        self._attachments = attachments
        self._storing = asyncio.Semaphore(_STORED_AT_ONCE)

    async def send(self, request: Request) -> Response:
        """Publish a message."""
        try:
            parameters = await read_parameters(
                request, self._limits.body_bytes, self._limits.spool_dir, _LARGE_FIELD
            )
        except TooLarge:
            length = request.headers.get("content-length", "")
            if not (_is_multipart(request) and length.isascii() and length.isdigit() and len(length) < 19):
                raise
            # Nothing else of a form is that large, and its exact size is not worth reading it.
            fault = faults.attachment_too_large(int(length), self._limits.attachment_bytes)
            return Answer(request).refusal([fault], close=True)
        return await self._send(request, parameters)

    async def send_or_decline(self, request: Request) -> Response | None:
        """Publish a message if the request has `token` and `user`; None if not, for it may be ntfy's.

        ``POST /1/messages`` is also how ntfy publishes to topic 1 under the sequence id "messages".
        """
        try:
            parameters = await read_parameters(
                request, self._limits.body_bytes, self._limits.spool_dir, _LARGE_FIELD
            )
        except (Invalid, TooLarge):
            return None
        if not (parameters.text("token") and parameters.text("user")):
            return None
        return await self._send(request, parameters)

    async def download(self, request: Request) -> Response:
        """Refuse: only Open Clients download messages, and there is no such client yet."""
        parameters = await read_parameters(request, self._limits.body_bytes, self._limits.spool_dir)
        missing = not parameters.text("secret")
        return Answer(request).refusal([faults.SECRET_MISSING if missing else faults.SECRET_INVALID])

    async def download_or_decline(self, request: Request) -> Response | None:
        """Refuse as `download` if the request looks like Pushover's; None if not."""
        query = request.query
        if not ("secret" in query or "token" in query or "device_id" in query):
            return None
        return await self.download(request)

    async def _send(self, request: Request, parameters: Parameters) -> Response:
        answer = Answer(request)
        app = await self._directory.find_app(parameters.text("token").strip())
        if app is None or not app.enabled:
            self._visitors.fail(request)
            return answer.refusal([faults.TOKEN_INVALID])
        with self._publisher.attempt as attempt:
            response = await self._send_for(app, request, answer, parameters)
            if response.status >= 400:
                attempt.fail()
        return response

    async def _send_for(self, app: App, request: Request, answer: Answer, parameters: Parameters) -> Response:
        found: list[Fault] = []
        recipients = await self._find_recipients(parameters, app, answer.request_id, found)
        if faults.USER_UNKNOWN in found:
            self._visitors.fail(request)
        if not found:
            devices = recipients[0].devices if len(recipients) == 1 else ()
            draft, receipt_draft = read_draft(
                parameters, app, devices, self._limits, found, self._directory.sounds_of(app.account)
            )
            upload = read_upload(parameters, self._limits.attachment_bytes, found)
        if found:
            answer.show_quota(await self._quotas.status(app))
            return answer.refusal(found)
        emergency = None if receipt_draft is None else Emergency(draft=receipt_draft, owner=app_owner(app))
        return await self._publish(answer, app, recipients, draft, emergency, upload)

    async def _find_recipients(
        self, parameters: Parameters, app: App, request_id: str, found: list[Fault]
    ) -> list[Recipient]:
        """Return who is meant. Unknown ones are left out as long as one is known."""
        keys = split_list(parameters.texts("user"))
        if len(keys) > self._limits.users:
            found.append(faults.too_many_users(self._limits.users))
            return []
        asked = [await self._directory.find_recipient(key, app=app) for key in keys]
        recipients = [recipient for recipient in asked if recipient is not None]
        if not recipients:
            found.append(faults.USER_UNKNOWN)
        elif len(recipients) < len(asked):
            # Not an error on the wire: the message did go out, and clients would send it again to everybody.
            unknown = len(asked) - len(recipients)
            _log.warning("Request %s: %d of %d recipients are unknown", request_id, unknown, len(asked))
        return recipients

    async def _publish(
        self,
        answer: Answer,
        app: App,
        recipients: Sequence[Recipient],
        draft: Draft,
        emergency: Emergency | None,
        upload: Upload | None,
    ) -> Response:
        fields: dict[str, Value] = {}
        if upload is not None and self._attachments is None:
            fields["info"] = _NO_ATTACHMENTS  # an alert without its picture is better than none
        topics, user_count = _reach(recipients)
        if not topics:
            answer.show_quota(await self._quotas.status(app))
            if emergency is not None:
                fields["receipt"] = await self._publisher.publish_to_nobody(emergency)
            fields["info"] = _NO_DEVICES
            return answer.success(fields)
        draft = replace(
            draft,
            variants=_variants(recipients, draft.content),
            owner=app_owner(app),
            request=answer.request_id,
        )
        if emergency is not None:
            emergency = replace(emergency, groups=_groups(recipients))
        try:
            count = await self._quotas.take(app, user_count)
        except LimitReached as error:
            answer.show_quota(await self._quotas.status(app))
            retry_after = ("Retry-After", str(ceil(error.retry_after_s)))
            return answer.refusal([faults.quota_used_up(app.monthly_limit)], 429, (retry_after,))
        try:
            answer.show_quota(await self._quotas.status(app))
            grant = self._access.grant_app(app, topics)
            async with self._with_file(app, draft, upload) as complete:
                posts = await self._publisher.publish(grant, complete, (count,), emergency)
        except NtfyishError:
            # Only then is it certain that nothing was published: a cancelled publish still completes.
            self._quotas.give_back(count)
            raise
        self._visitors.use_topics(topics)
        if emergency is not None:
            fields["receipt"] = posts[0].message.receipt
        return answer.success(fields)

    @asynccontextmanager
    async def _with_file(self, app: App, draft: Draft, upload: Upload | None) -> AsyncIterator[Draft]:
        """Lend the draft with its file, which counts against the account that owns the app."""
        if upload is None or self._attachments is None:
            yield draft
            return
        owner = account_key(app.account)
        async with AsyncExitStack() as stack:
            async with self._storing:
                receiving = self._attachments.receiving(
                    owner, draft, upload.pieces(), name=upload.name, claimed_type=upload.claimed_type
                )
                complete = await stack.enter_async_context(receiving)
            yield complete


def _reach(recipients: Sequence[Recipient]) -> tuple[tuple[str, ...], int]:
    """Return the topics of those who would receive anything, each once, and how many users that is."""
    if len(recipients) == 1:
        only = recipients[0]
        return (only.topics, only.user_count) if only.active else ((), 0)
    # Whoever is named twice, or is in two groups, is reached and counted once.
    topics = dict.fromkeys(
        topic for recipient in recipients if recipient.active for topic in recipient.topics
    )
    return tuple(topics), len(topics)


def _variants(recipients: Sequence[Recipient], content: Content) -> Mapping[str, Content]:
    """Return what is not `content` as it is: for some devices only, or with a subscriber's sound."""
    if not any(recipient.only or recipient.sound for recipient in recipients):
        return {}
    devices: dict[str, set[str]] = {}
    sounds: dict[str, str] = {}
    for recipient in recipients:
        for topic in recipient.topics:
            devices.setdefault(topic, set()).add(recipient.only.get(topic, ""))
            sounds[topic] = sounds.get(topic) or recipient.sound
    return {
        topic: replace(
            content,
            device=content.device or ("" if "" in names else ",".join(sorted(names))),
            sound=content.sound or sounds[topic],
        )
        for topic, names in devices.items()
    }


def _groups(recipients: Sequence[Recipient]) -> tuple[tuple[str, str], ...]:
    """Return the groups by which those are reached who are reached by a group only: (topic, key)."""
    direct = {topic for recipient in recipients if not recipient.group for topic in recipient.topics}
    groups: dict[str, str] = {}
    for recipient in recipients:
        for topic in recipient.topics if recipient.group else ():
            groups.setdefault(topic, recipient.group)
    return tuple((topic, key) for topic, key in groups.items() if topic not in direct)


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/")
