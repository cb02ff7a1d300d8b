"""What every publish by ntfy's API goes through: its publisher is let in, the message counted and sent.

The routes of `dialect` and the gateway of `matrix` call it: `admit` before they look at the message, `send`
when they have understood it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ntfyish.core.access import Access, Grant
from ntfyish.core.attachments import Attachments
from ntfyish.core.limits import Visitor
from ntfyish.core.ports import Count, Post
from ntfyish.core.publisher import Publisher
from ntfyish.core.rate_owners import RateOwners
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Invalid, NtfyishError, Reason, Unavailable
from ntfyish.model.message import Draft
from ntfyish.model.receipt import Emergency
from ntfyish.web.http import Body, BufferedBody, Request
from ntfyish.web.ntfy.drafts import is_upload

_NO_BODY = BufferedBody()


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to publish.

    Attributes:
        visitor: who publishes.
        payer: against whose limits the request and the message count.
        is_owned: whether somebody else pays for messages to that topic, or would.
    """

    visitor: Visitor
    payer: Visitor
    grant: Grant
    is_owned: bool


class Publishing:
    """Lets publishers in, and publishes.

    Args:
        attachments: takes files in; None where no draft has one.
        rate_owners: who pays for topics of UnifiedPush; None if that is always who publishes.
    """

    def __init__(
        self,
        *,
        access: Access,
        publisher: Publisher,
        disallowed_topics: frozenset[str],
        attachments: Attachments | None = None,
        rate_owners: RateOwners | None = None,
    ) -> None:
        self._access = access
        self._publisher = publisher
        self._disallowed_topics = disallowed_topics
        self._attachments = attachments
        self._rate_owners = rate_owners
        self.attempt = publisher.attempt

    def check_allowed(self, topics: Sequence[str]) -> None:
        """Refuse names that are never topics.

        Raises:
            Invalid: TOPIC_DISALLOWED.
        """
        if not self._disallowed_topics.isdisjoint(topics):
            raise Invalid(Reason.TOPIC_DISALLOWED)

    def admit(self, request: Request, visitor: Visitor, topic: str) -> Admission:
        """Let a publisher in, up to where the message is looked at. It has cost a request by then.

        Raises:
            Invalid: TOPIC_DISALLOWED.
            LimitReached: TOPIC_LIMIT, REQUEST_LIMIT.
            Forbidden, Unauthenticated: they may not write there.
        """
        self.check_allowed((topic,))
        visitor.check_room((topic,))
        payer = None if self._rate_owners is None else self._rate_owners.find_payer(visitor, topic)
        request.visitor = paying = payer or visitor  # the answer tells of its limits
        paying.take_request()
        grant = self._access.grant(visitor.principal, Permission.WRITE, (topic,))
        return Admission(visitor, paying, grant, payer is not None)

    async def send(
        self,
        admission: Admission,
        draft: Draft,
        body: Body = _NO_BODY,
        emergency: Emergency | None = None,
    ) -> Post:
        """Publish, and return the message; `body` is the file if there is one.

        Raises:
            LimitReached: NEW_TOPIC_LIMIT, TOPIC_LIMIT, MESSAGE_QUOTA, EMAIL_LIMIT, ATTACHMENT_LIMIT.
            TooLarge: see `Attachments.receiving`.
            Unavailable: SUBSCRIBER_MISSING; the message store as ever. Nothing was published or counted.
        """
        payer, topic = admission.payer, admission.grant.topics[0]
        if draft.unifiedpush and self._rate_owners is not None and not admission.is_owned:
            raise Unavailable(Reason.SUBSCRIBER_MISSING)
        taken = await payer.take_message(topic)
        mailed = False
        try:
            if draft.email:
                payer.take_email()
                mailed = True
            # What is not stored does not wait for the disk, and neither does its count.
            counts = taken.counts if draft.cache else ()
            post = await self._publish(admission, draft, counts, body, emergency)
        except NtfyishError:
            payer.give_back(taken)
            if mailed:
                payer.give_back_email()
            raise
        if not draft.cache:
            payer.postpone(taken)
        return post

    async def _publish(
        self,
        admission: Admission,
        draft: Draft,
        counts: Sequence[Count],
        body: Body,
        emergency: Emergency | None,
    ) -> Post:
        publisher, grant = self._publisher, admission.grant
        if not is_upload(draft):
            (post,) = await publisher.publish(grant, draft, counts, emergency)
            return post
        assert self._attachments is not None
        assert draft.content.attachment is not None
        name, key = draft.content.attachment.name, admission.visitor.key
        async with self._attachments.receiving(key, draft, body.chunks(), name=name) as complete:
            (post,) = await publisher.publish(grant, complete, counts, emergency)
        return post
