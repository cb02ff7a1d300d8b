"""E-mail that comes in: whom an address means, and what message a mail becomes. `mail.listener` calls it.

``<user key or alias>@domain`` writes to an account, as with Pushover's gateway: whoever knows the address
may. ``topic@domain`` and ``topic+token@domain`` publish to a topic with the rights of everybody, or of the
token, as with ntfy. A prefix, if one is set, stands before topics only. Visitors are the IP addresses that
mail comes from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from ntfyish.core.access import Access, Grant
from ntfyish.core.attachments import Attachments
from ntfyish.core.counters import Counters
from ntfyish.core.directory import Directory
from ntfyish.core.limits import Limits, Visitor
from ntfyish.core.logins import Logins
from ntfyish.core.ports import Count
from ntfyish.core.publisher import Publisher
from ntfyish.model.acl import Permission
from ntfyish.model.errors import Invalid, NotFound, NtfyishError, Reason, TooLarge, Unavailable
from ntfyish.model.message import Content, Draft
from ntfyish.model.mime import Mail, Picture, parse_mail
from ntfyish.model.people import ANONYMOUS, KEY_PATTERN, Account, MailAlias, Principal
from ntfyish.model.topic import DISALLOWED, is_topic

_log = logging.getLogger(__name__)

_APP = "E-mail"
_EMPTY_MESSAGE = "triggered"
_TITLE_BYTES = 1024
_LONGEST_ADDRESS = 320
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRules:
    """How addresses read, and how much of a mail is kept: the rest is cut off.

    Attributes:
        domain: in lower case.
        prefix: what stands before a topic.
        message_bytes: of a message to a topic.
        message_chars, title_chars: of one to an account.
    """

    domain: str
    prefix: str = ""
    message_bytes: int = 4096
    message_chars: int = 1024
    title_chars: int = 250
    disallowed_topics: frozenset[str] = DISALLOWED


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Whom an address means.

    Attributes:
        topic: where the message goes.
        principal: with whose rights.
        account: whose inbox that is; None for a topic.
        alias: the alias that was used; None for a user key.
    """

    topic: str
    principal: Principal
    account: Account | None = None
    alias: MailAlias | None = None


class Mailbox:
    """Takes mail in."""

    def __init__(
        self,
        rules: MailRules,
        *,
        directory: Directory,
        access: Access,
        logins: Logins,
        limits: Limits,
        publisher: Publisher,
        attachments: Attachments | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._rules = rules
        self._directory = directory
        self._access = access
        self._logins = logins
        self._limits = limits
        self._publisher = publisher
        self._attachments = attachments

    async def find(self, recipient: str, peer: str) -> Addressee:
        """Return whom `recipient` means, for a mail from the IP address `peer`.

        Raises:
            NotFound: nobody.
            Unauthenticated: the token is wrong.
            Forbidden: the topic may not be written to.
            LimitReached: too many were wrong from there.
        """
        try:
            return await self._find(recipient, peer)
        except NtfyishError:
            self._counters.email_receive_failures += 1
            raise

    async def _find(self, recipient: str, peer: str) -> Addressee:
        local, _, domain = recipient.rpartition("@")
        if len(recipient) > _LONGEST_ADDRESS or domain.lower() != self._rules.domain:
            raise NotFound
        found = await self._find_account(local) or await self._find_topic(local, peer)
        if found is None:
            self._logins.fail(peer)
            raise NotFound
        self._grant(found)
        return found

    async def deliver(self, addressee: Addressee, raw: bytes, peer: str) -> None:
        """Publish what a mail says; it is on disk when this returns.

        Raises:
            Unauthenticated, Forbidden: the addressee's rights have changed meanwhile.
            LimitReached: `peer` may not send as much.
            Invalid: the mail says nothing.
            Unavailable: nothing was published.
        """
        try:
            await self._deliver(addressee, raw, peer)
        except NtfyishError:
            self._counters.email_receive_failures += 1
            raise
        self._counters.emails_received += 1

    async def _deliver(self, addressee: Addressee, raw: bytes, peer: str) -> None:
        visitor = self._limits.visitor(peer, addressee.principal if addressee.account is None else ANONYMOUS)
        visitor.take_request()
        grant = self._grant(addressee)
        mail = await asyncio.to_thread(parse_mail, raw)
        draft = self._draft(addressee, mail)
        taken = await visitor.take_message(addressee.topic)
        try:
            with self._publisher.attempt:
                await self._publish(visitor, grant, draft, mail.picture, taken.counts)
        except NtfyishError:
            visitor.give_back(taken)
            raise

    async def _find_account(self, local: str) -> Addressee | None:
        account: Account | None = None
        alias: MailAlias | None = None
        if KEY_PATTERN.fullmatch(local):
            key = await self._directory.find_by_key(local)
            account = key if isinstance(key, Account) else None
        if account is None and (alias := await self._directory.find_alias(local.lower())) is not None:
            account = self._directory.find_account(alias.account)
        if account is None:
            return None
        return Addressee(topic=account.user_key, principal=Principal(account), account=account, alias=alias)

    async def _find_topic(self, local: str, peer: str) -> Addressee | None:
        prefix = self._rules.prefix
        name, plus, token = local.partition("+")
        topic = name.removeprefix(prefix)
        if not name.startswith(prefix) or not is_topic(topic) or topic in self._rules.disallowed_topics:
            return None
        if KEY_PATTERN.fullmatch(topic) and await self._directory.find_by_key(topic) is None:
            return None  # far more often a mistyped key than a topic
        principal = await self._logins.authenticate(f"Bearer {token}", peer) if plus else ANONYMOUS
        return Addressee(topic=topic, principal=principal)

    def _grant(self, addressee: Addressee) -> Grant:
        return self._access.grant(addressee.principal, Permission.WRITE, (addressee.topic,))

    def _draft(self, addressee: Addressee, mail: Mail) -> Draft:
        title, text = mail.subject, mail.text
        if not text:  # then the subject is what there is to say
            title, text = "", title
        if not text and mail.picture is None:
            raise Invalid(Reason.REQUEST_INVALID, "the mail has neither a subject nor a text")
        rules = self._rules
        if addressee.account is None:
            title, text = _cut(title, _TITLE_BYTES), _cut(text, rules.message_bytes)
            return Draft(content=Content(title=title, message=text))
        alias = addressee.alias or MailAlias(name="", account=addressee.account.name)
        return Draft(
            content=Content(
                title=title[: rules.title_chars] or _APP,
                message=text[: rules.message_chars],
                app=_APP,
                priority=alias.priority,
                sound=alias.sound,
                device=alias.device,
                timestamp=0 if alias.ignore_timestamps else mail.sent_at,
            )
        )

    async def _publish(
        self, visitor: Visitor, grant: Grant, draft: Draft, picture: Picture | None, counts: Sequence[Count]
    ) -> None:
        """Publish with the picture, or without if it cannot be taken in: it is the lesser part of a mail."""
        if picture is not None and self._attachments is not None:
            taken_in = False
            pieces = _pieces(picture.data)
            try:
                async with self._attachments.receiving(
                    visitor.key, draft, pieces, name=picture.name, claimed_type=picture.type
                ) as complete:
                    taken_in = True
                    await self._publisher.publish(grant, complete, counts)
                return
            except (Invalid, TooLarge, Unavailable) as error:
                if taken_in:
                    raise
                _log.info("The picture of a mail is left out: %s", error.reason.name)
        if not draft.content.message:
            draft = replace(draft, content=replace(draft.content, message=_EMPTY_MESSAGE))
        await self._publisher.publish(grant, draft, counts)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


def _cut(text: str, size_bytes: int) -> str:
    """Return `text`, or as much of it as fits, in whole characters."""
    return text.encode("utf-8", "replace")[:size_bytes].decode("utf-8", "ignore")
