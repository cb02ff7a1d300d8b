"""Logging: standard library, text or JSON lines, written by a thread so that nobody waits for it."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
# Control characters would let a hostile name forge log lines or drive the terminal.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
_QUEUED = 10_000
_PER_MINUTE = 5
_MINUTE_S = 60.0
_REMEMBERED = 1000


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO ntfyish.app: Listening on ...``"""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback follows on further lines, indented."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = record.getMessage().replace("\n", "\\n").translate(_ESCAPES)
        line = f"{moment} {record.levelname} {record.name}: {text}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).translate(_ESCAPES)
            line += "\n    " + trace.replace("\n", "\n    ")
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, option=orjson.OPT_NON_STR_KEYS, default=str).decode()


class _Moderation(logging.Filter):
    """Lets the same complaint through a few times a minute: strangers and full disks can cause it at will.

    The same is what has the same text before its arguments. What was held back is counted in the next one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._minutes: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log `record`."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, str(record.msg))
        began, count = self._minutes.get(key, (record.created, 0))
        held_back = 0
        if not 0 <= record.created - began < _MINUTE_S:
            held_back = max(0, count - _PER_MINUTE)
            began, count = record.created, 0
        if len(self._minutes) > _REMEMBERED:
            self._minutes.clear()
        self._minutes[key] = (began, count + 1)
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} more like this)"
            record.args = None
        return count < _PER_MINUTE


class _Enqueue(logging.handlers.QueueHandler):
    """Queues records as they are; drops them when the writer cannot keep up (a full disk, a stuck pipe)."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix the message now, while its arguments are what they were."""
        record.msg = record.getMessage()
        record.args = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue without waiting."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass


@contextmanager
def logging_to(file: Path | None, *, level: str, format: str) -> Iterator[None]:
    """Log to `file` (or standard error) while the context lasts.

    Args:
        level: debug, info, warn or error.
        format: text or json.

    Raises:
        OSError: the file cannot be opened.
    """
    target: logging.Handler
    if file is None:
        target = logging.StreamHandler(sys.stderr)
    else:
        target = logging.handlers.WatchedFileHandler(file, encoding="utf-8")  # reopens after a rotation
    target.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    records: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUED)
    writer = logging.handlers.QueueListener(records, target)
    enqueue = _Enqueue(records)
    enqueue.addFilter(_Moderation())
    root = logging.getLogger()
    before = root.level
    root.addHandler(enqueue)
    root.setLevel(_LEVELS[level])
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(enqueue)
        root.setLevel(before)
        writer.stop()
        try:
            target.close()
        except OSError:  # a full disk has kept the last lines; there is nowhere left to say so
            pass
