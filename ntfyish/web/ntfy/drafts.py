"""What a publish request of ntfy's API asks for: its parameters and body as a `Draft`. The routes call it.

Errors come in ntfy's order: attachment URL, icon, e-mail, call, priority, delay, actions, sequence id,
title and tags, template, body. Nothing is stored or sent here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from enum import Enum, auto
from urllib.parse import unquote, urlsplit

from ntfyish.model.delays import find_timezone, parse_delay
from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.message import FILE_MESSAGE, Action, Attachment, Content, Draft, Event
from ntfyish.model.topic import SEQUENCE_ID_PATTERN
from ntfyish.web.http import Request
from ntfyish.web.ntfy.actions import parse_actions
from ntfyish.web.ntfy.publish_json import JsonFields
from ntfyish.web.ntfy.publish_json import parse_publish_json as parse_publish_json
from ntfyish.web.params import Params

EMPTY_MESSAGE = "triggered"
POLL_REQUEST_MESSAGE = "New message"
MARKDOWN = "text/markdown"

PRIORITIES = {
    "1": 1,
    "min": 1,
    "2": 2,
    "low": 2,
    "3": 3,
    "default": 3,
    "4": 4,
    "high": 4,
    "5": 5,
    "max": 5,
    "urgent": 5,
}
_URL_STARTS = ("http://", "https://")
_OFF = frozenset({"0", "no", "false"})
_LINE_BREAKS = re.compile(r"[\0\r\n]+")
_ODD_BREAKS = re.compile(r"\r\n|[\0\r]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishLimits:
    """What a publish may be at most; sizes in bytes of UTF-8.

    Attributes:
        message_size_bytes: the longest text that stays a message; a JSON body may have twice that.
        title_size_bytes: of a title.
        tags_size_bytes: of all tags, joined by commas.
        delay_minimum_s: a message may be scheduled from so many seconds ahead ...
        delay_limit_s: ... up to so many.
        uploads: whether the server takes files in.
    """

    message_size_bytes: int = 4096
    title_size_bytes: int = 1024
    tags_size_bytes: int = 512
    delay_minimum_s: float = 10
    delay_limit_s: float = 3 * 24 * 3600
    uploads: bool = False

    @property
    def json_size_bytes(self) -> int:
        """Bytes of the body of a JSON publish."""
        return 2 * self.message_size_bytes


class BodyUse(Enum):
    """What the body of a publish is for."""

    NOTHING = auto()  # a poll request carries no text
    VERBATIM = auto()  # UnifiedPush: bytes for an app
    CAPTION = auto()  # the text that goes with an attachment elsewhere
    TEXT = auto()
    TEMPLATE_DATA = auto()
    UPLOAD = auto()


def draft_from_request(
    request: Request,
    body: bytes,
    more: bool,
    now: float,
    limits: PublishLimits,
    timezone: tzinfo | None = None,
    sequence_id: str = "",
    find_address: Callable[[str], str] = lambda asked: no_address(asked),
) -> Draft:
    """Return what a PUT, POST or GET to a topic asks for.

    If its body is a file, the draft has an attachment without an address, and maybe no text: both come with
    the file (see `is_upload`).

    Args:
        request: its headers and query.
        body: the first `limits.message_size_bytes` bytes of its body.
        more: whether the body goes on.
        now: Unix seconds.
        limits: what is allowed.
        timezone: of natural-language delays, if the request names none; None for the machine's.
        sequence_id: from the path; "" if it has none.
        find_address: tells where an e-mail goes that the request asks for in these words, or refuses it.

    Raises:
        Invalid: in the order above.
    """
    return _draft(Params(request), body, more, now, limits, timezone, sequence_id, find_address)


def draft_from_json(
    request: Request,
    fields: JsonFields,
    now: float,
    limits: PublishLimits,
    timezone: tzinfo | None = None,
    find_address: Callable[[str], str] = lambda asked: no_address(asked),
) -> Draft:
    """Return what a JSON publish asks for; headers and query of `request` apply where the JSON says nothing.

    Raises:
        Invalid: in the order above.
    """
    # ntfy, too, hands the message on as a body, so that a blank one is "triggered" even beside a file.
    body = (fields.message or EMPTY_MESSAGE).encode()
    limit = limits.message_size_bytes
    params = Params(request, fields.values)
    return _draft(params, body[:limit], len(body) > limit, now, limits, timezone, "", find_address)


def is_upload(draft: Draft) -> bool:
    """Whether the body is a file that is still to be taken in; the attachment's name is what it is to be."""
    attachment = draft.content.attachment
    return attachment is not None and not attachment.url


def body_use(params: Params, body: bytes, more: bool) -> BodyUse:
    """Decide what the body is for. This is the one place that does."""
    if params.get("poll_id"):
        return BodyUse.NOTHING
    if params.flag("unifiedpush") or params.get("content_encoding") == "aes128gcm":
        return BodyUse.VERBATIM
    if params.get("attach"):
        return BodyUse.CAPTION
    if params.get("filename"):
        return BodyUse.UPLOAD
    template = params.get("template")
    if template and template.lower() not in _OFF:
        return BodyUse.TEMPLATE_DATA
    if more or _text(body) is None:
        return BodyUse.UPLOAD
    return BodyUse.TEXT


def parse_priority(text: str) -> int:
    """Return 1 to 5 for a number or a name (any case), or 0 for "".

    Raises:
        Invalid: PRIORITY_INVALID.
    """
    if not text:
        return 0
    priority = PRIORITIES.get(text.strip().lower())
    if priority is None:
        raise Invalid(Reason.PRIORITY_INVALID)
    return priority


def _draft(
    params: Params,
    body: bytes,
    more: bool,
    now: float,
    limits: PublishLimits,
    timezone: tzinfo | None,
    path_sequence_id: str,
    find_address: Callable[[str], str],
) -> Draft:
    if not (params or path_sequence_id):  # most scripts send nothing but a text
        use = body_use(params, body, more)
        if use is not BodyUse.UPLOAD:
            message, encoding = _message(params, use, body, more, None)
            return Draft(content=Content(message=message, encoding=encoding))
    attachment = _attachment(params)
    icon = _icon(params)
    email = _email(params, find_address)
    priority = parse_priority(params.get("priority"))
    poll_id = _line(params.get("poll_id"))
    cache = not poll_id and params.flag("cache", True)
    due_at = _due_at(params, cache, now, limits, timezone, email)
    actions = _actions(params)
    sequence_id = path_sequence_id or params.get("sequence_id")
    if sequence_id and not SEQUENCE_ID_PATTERN.fullmatch(sequence_id):
        raise Invalid(Reason.SEQUENCE_ID_INVALID)
    title = _lines(params.get("title"))
    if _longer(title, limits.title_size_bytes):
        raise Invalid(Reason.TITLE_TOO_LARGE)
    tags = _tags(params, limits.tags_size_bytes)
    use = body_use(params, body, more)
    if use is BodyUse.NOTHING:
        return Draft(
            content=Content(message=POLL_REQUEST_MESSAGE),
            event=Event.POLL_REQUEST,
            cache=False,
            poll_id=poll_id,
            push=params.flag("firebase", True),
        )
    if use is BodyUse.UPLOAD:
        if not limits.uploads:
            raise Invalid(Reason.ATTACHMENTS_DISALLOWED)
        attachment = Attachment(name=_line(params.get("filename")), url="")
        body = b""
    message, encoding = _message(params, use, body, more, attachment)
    is_unifiedpush = use is BodyUse.VERBATIM
    return Draft(
        content=Content(
            title=title,
            message=message,
            priority=priority,
            tags=tags,
            click=_line(params.get("click")),
            icon=icon,
            actions=actions,
            attachment=attachment,
            content_type=MARKDOWN if _is_markdown(params) else "",
            encoding=encoding,
        ),
        sequence_id=sequence_id,
        due_at=due_at,
        cache=cache,
        email=email,
        push=not is_unifiedpush and params.flag("firebase", True),
        unifiedpush=is_unifiedpush,
    )


def _attachment(params: Params) -> Attachment | None:
    url = _line(params.get("attach"))
    if not url:
        return None
    if not url.startswith(_URL_STARTS):
        raise Invalid(Reason.ATTACH_URL_INVALID)
    name = _line(params.get("filename")) or _name_from_url(url) or "attachment"
    return Attachment(name=name, url=url)


def _name_from_url(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:  # brackets in the host that hold no address
        return ""
    return _line(unquote(path).rstrip("/").rpartition("/")[2])


def _icon(params: Params) -> str:
    icon = _line(params.get("icon"))
    if icon and not icon.startswith(_URL_STARTS):
        raise Invalid(Reason.ICON_INVALID)
    return icon


def no_address(asked: str) -> str:
    """Refuse every e-mail.

    Raises:
        Invalid: EMAIL_DISABLED.
    """
    raise Invalid(Reason.EMAIL_DISABLED)


def _email(params: Params, find_address: Callable[[str], str]) -> str:
    """Return the address to send an e-mail to, "" for none; and refuse phone calls."""
    asked = params.get("email")
    # What other servers ask for (poll requests) is not passed on by e-mail.
    email = find_address(asked) if asked and not params.get("poll_id") else ""
    if params.get("call"):
        raise Invalid(Reason.CALL_DISABLED)
    return email


def _due_at(
    params: Params, cache: bool, now: float, limits: PublishLimits, timezone: tzinfo | None, email: str
) -> int:
    delay = params.get("delay")
    if not delay:
        return 0
    if not cache:
        raise Invalid(Reason.DELAY_WITHOUT_CACHE)
    if email:
        raise Invalid(Reason.DELAY_WITH_EMAIL)
    if name := params.get("timezone"):
        timezone = find_timezone(name)
    return parse_delay(delay, now, timezone, min_s=limits.delay_minimum_s, max_s=limits.delay_limit_s)


def _actions(params: Params) -> tuple[Action, ...]:
    text = params.get("actions")
    return parse_actions(text) if text else ()


def _tags(params: Params, size_limit: int) -> tuple[str, ...]:
    text = params.get("tags")
    if not text:
        return ()
    tags = tuple([tag.strip() for tag in _line(text).split(",") if tag])
    if _longer(",".join(tags), size_limit):
        raise Invalid(Reason.TAGS_TOO_LARGE)
    return tags


def _is_markdown(params: Params) -> bool:
    media_type = params.get("content_type")
    if media_type and media_type.partition(";")[0].strip().lower() == MARKDOWN:
        return True
    return params.flag("markdown")


def _message(
    params: Params, use: BodyUse, body: bytes, more: bool, attachment: Attachment | None
) -> tuple[str, str]:
    """Return the message's text, and its encoding ("" for plain text)."""
    if use is BodyUse.VERBATIM:
        text = _text(body)
        if text is None:
            return base64.b64encode(body).decode("ascii"), "base64"
        return text or EMPTY_MESSAGE, ""
    if use is BodyUse.TEMPLATE_DATA:
        raise Invalid(Reason.TEMPLATES_DISABLED, "templates are not available on this server")
    if body:
        text = _text(_whole_characters(body) if more else body)
        if text is None:
            raise Invalid(Reason.MESSAGE_NOT_UTF8)
        message = text.strip()
    else:
        message = params.get("message").replace("\\n", "\n")
    if use is BodyUse.UPLOAD:
        return message, ""
    if not message and attachment is not None:
        message = FILE_MESSAGE + attachment.name
    return message or EMPTY_MESSAGE, ""


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _whole_characters(body: bytes) -> bytes:
    """Drop the character that the cut at the size limit has gone through, if it has."""
    for length in range(1, min(4, len(body) + 1)):
        lead = body[-length]
        if lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return body[:-length] if length < needed else body
        if lead < 0x80:
            break
    return body


def _line(text: str) -> str:
    """Return `text` as one line.

    A header cannot hold a line break, but an RFC 2047 word, a query or JSON can; what is one line to
    everybody who shows it must not become two in a mail header, a log or a terminal.
    """
    return _LINE_BREAKS.sub(" ", text).strip() if text and _LINE_BREAKS.search(text) else text


def _lines(text: str) -> str:
    """Return `text` with its line breaks, which ntfy allows in a title, as plain newlines."""
    return _ODD_BREAKS.sub("\n", text).strip() if text and _LINE_BREAKS.search(text) else text


def _longer(text: str, size_limit: int) -> bool:
    # A character has one to four bytes, so most texts need not be encoded to know.
    return len(text) * 4 > size_limit and len(text.encode()) > size_limit
