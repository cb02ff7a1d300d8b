"""E-mail that goes out for a message: to whom it may go, what it looks like, and how long it is tried.

The dialect asks `address_for` before it publishes; the publisher writes `letter_errand` in the transaction of
the message; `core.errands` has it done by `run`. So a mail survives a restart, and a publish succeeds also
while the mail server is down. The sender's IP address, which ntfy names in the mail, is nobody's business and
left out.
"""

from __future__ import annotations

import base64
import logging
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlsplit

import orjson

from ntfyish.core.counters import Counters
from ntfyish.core.errands import Again, Done
from ntfyish.core.ports import ClaimedErrand, Clock, Errand, MailOutcome, MailSender
from ntfyish.model.emoji import find_emoji
from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.line import decode
from ntfyish.model.mail_address import is_mail_address
from ntfyish.model.message import DEFAULT_PRIORITY, Message
from ntfyish.model.people import Principal

_log = logging.getLogger(__name__)

EMAIL = "email"
_YES = frozenset({"1", "yes", "true"})
_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 3600.0
_GIVE_UP_S = 2 * 86_400.0
_MOST_SUBJECT_CHARS = 500
_WORD_BYTES = 39  # 52 of base64: with =?utf-8?b?...?= and the name of the header a line of 78 at most
_NOT_HOST = re.compile(r"[^A-Za-z0-9.:\[\]_-]")
_PRIORITY_NAMES = {1: "min", 2: "low", 4: "high", 5: "max"}


def letter_errand(message: Message, line: bytes, address: str, now: float) -> Errand:
    """Return what has `message` (its canonical JSON is `line`) sent to `address`."""
    payload = b'{"to":' + orjson.dumps(address) + b',"message":' + line + b"}"
    return Errand(EMAIL, message.id, payload, now)


class Letters:
    """Writes and sends letters.

    Args:
        sender: None if the server sends no e-mail.
        base_url: what the addresses of topics begin with.
        verify: send only to the publisher's own addresses.
        counters: where letters are counted that are sent or given up.
    """

    def __init__(
        self,
        sender: MailSender | None,
        clock: Clock,
        *,
        base_url: str,
        from_address: str,
        verify: bool,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._sender = sender
        self._clock = clock
        self._base_url = base_url
        self._from_address = from_address
        self._verify = verify

    def address_for(self, principal: Principal, asked: str) -> str:
        """Return where a mail goes that `principal` asks for with `asked`: an address, or yes for their own.

        Raises:
            Invalid: EMAIL_DISABLED, EMAIL_ANONYMOUS, EMAIL_INVALID or EMAIL_UNVERIFIED.
        """
        if self._sender is None:
            raise Invalid(Reason.EMAIL_DISABLED)
        account = principal.account
        wants_own = asked.strip().lower() in _YES
        if account is None and (wants_own or self._verify):
            raise Invalid(Reason.EMAIL_ANONYMOUS)
        if wants_own:
            assert account is not None
            if not account.email:
                raise Invalid(Reason.EMAIL_UNVERIFIED)
            return account.email
        address = asked.strip()
        if not is_mail_address(address):
            raise Invalid(Reason.EMAIL_INVALID)
        if not self._verify:
            return address
        assert account is not None
        for own in (account.email, *account.emails):
            if own and own.lower() == address.lower():
                return own
        raise Invalid(Reason.EMAIL_UNVERIFIED)

    async def run(self, claimed: ClaimedErrand) -> Done | Again:
        """Send one letter; `core.errands` calls it."""
        now = self._clock.now()
        if self._sender is None:  # it was configured when the message came
            return self._again(claimed, now)
        fields = orjson.loads(claimed.errand.payload)
        message = decode(orjson.dumps(fields["message"]))
        letter = compose(message, fields["to"], base_url=self._base_url, from_address=self._from_address)
        outcome = await self._sender.send(fields["to"], letter)
        if outcome is MailOutcome.ACCEPTED:
            self._counters.emails_sent += 1
            return Done()
        if outcome is MailOutcome.REFUSED:
            self._counters.email_send_failures += 1
            _log.warning("The e-mail for message %s is refused", message.id)
            return Done()
        return self._again(claimed, self._clock.now())

    def _again(self, claimed: ClaimedErrand, now: float) -> Done | Again:
        if now - claimed.created_at >= _GIVE_UP_S:
            self._counters.email_send_failures += 1
            _log.warning("The e-mail for message %s is given up", claimed.errand.key)
            return Done()
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(claimed.attempt - 1, 20))
        return Again(now + pause_s)


def compose(message: Message, address: str, *, base_url: str, from_address: str) -> bytes:
    """Return the letter (RFC 5322) that tells of `message`, in ntfy's form.

    Nothing of the message can become a header of its own: what is not plain ASCII text is encoded.
    """
    content = message.content
    url = f"{base_url}/{message.topic}"
    emoji, tags = _sort_tags(content.tags)
    subject = " ".join((content.title or content.message).split())[:_MOST_SUBJECT_CHARS]
    if emoji:
        subject = f"{' '.join(emoji)} {subject}"
    trailer = []
    if tags:
        trailer.append(f"Tags: {', '.join(tags)}")
    if content.priority and content.priority != DEFAULT_PRIORITY:
        trailer.append(f"Priority: {_PRIORITY_NAMES[content.priority]}")
    sent = datetime.fromtimestamp(message.time, UTC)
    text = content.message + ("\n\n" + "\n".join(trailer) if trailer else "")
    text += f"\n\n--\nThis message was sent at {sent:%a, %d %b %Y %H:%M:%S} UTC via {url}\n"
    host = _NOT_HOST.sub("", urlsplit(base_url).netloc)
    head = (
        f'From: "{host}/{message.topic}" <{from_address}>',
        f"To: <{address}>",
        f"Subject: {_encoded(subject)}",
        f"Date: {format_datetime(sent)}",
        # The same at each attempt, so that a letter that is sent twice can be told.
        f"Message-ID: <{message.id}@{from_address.rpartition('@')[2]}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: base64",
    )
    body = base64.encodebytes(text.encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + body


def _sort_tags(tags: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the emoji of the tags that name one, and the other tags."""
    emoji: list[str] = []
    others: list[str] = []
    for tag in tags:
        found = find_emoji(tag)
        (emoji if found else others).append(found or " ".join(tag.split()))
    return emoji, others


def _encoded(text: str) -> str:
    """Return `text` for a header: as it is if it is short and plain, else as encoded words (RFC 2047)."""
    if text.isascii() and text.isprintable() and len(text) <= 70 and "=?" not in text:
        return text
    words: list[str] = []
    piece = b""
    for character in text:
        data = character.encode("utf-8", "replace")
        if len(piece) + len(data) > _WORD_BYTES:
            words.append(_word(piece))
            piece = b""
        piece += data
    words.append(_word(piece))
    return "\r\n ".join(words)


def _word(piece: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(piece).decode()}?="
