"""Decodes messages that are kept as lines, each once while it is being pushed."""

from __future__ import annotations

import logging

from ntfyish.model.errors import NtfyishError
from ntfyish.model.line import decode
from ntfyish.model.message import Message

_log = logging.getLogger(__name__)

_REMEMBERED = 256


class StoredMessages:
    """Remembers the messages that were asked for last."""

    def __init__(self) -> None:
        self._messages: dict[str, Message | None] = {}

    def decode(self, id: str, line: bytes) -> Message | None:
        """Return the message of that id; None if its line is damaged."""
        try:
            return self._messages[id]
        except KeyError:
            pass
        if len(self._messages) >= _REMEMBERED:
            del self._messages[next(iter(self._messages))]
        try:
            message = decode(line)
        except (KeyError, TypeError, ValueError, NtfyishError):
            _log.error("Message %s cannot be pushed: its stored form is damaged", id)
            message = None
        self._messages[id] = message
        return message
