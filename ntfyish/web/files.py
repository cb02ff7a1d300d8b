"""``GET /file/<id>.<ext>``: hands out the files that messages carry, whichever dialect they came in by.

A file is anybody's content under our own name, so a browser must neither run nor guess anything: types are
those of `model.media_types.served_as`, with ``nosniff`` and a sandbox; only pictures are shown in place.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ntfyish.core.attachments import Attachments
from ntfyish.core.limits import Visitor
from ntfyish.model.errors import NtfyishError
from ntfyish.model.filenames import content_disposition
from ntfyish.model.media_types import RASTER, served_as
from ntfyish.model.message import ID_LENGTH, KeptFile
from ntfyish.web.http import FileResponse, Handler, Request, Response

_PATH = re.compile(rf"/file/([A-Za-z0-9]{{{ID_LENGTH}}})(?:\.[A-Za-z0-9]{{1,16}})?")
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*", re.IGNORECASE)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Accept-Ranges, Content-Disposition, Content-Range, ETag"),
)
_SAFETY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Referrer-Policy", "no-referrer"),
)


class Files:
    """The dialect of files; it has no form of its own for errors.

    Args:
        identify: tells who is asking, and fails wrong credentials.
        refuse: puts an error into words.
    """

    def __init__(
        self,
        attachments: Attachments,
        now: Callable[[], float],
        identify: Callable[[Request], Awaitable[Visitor]],
        refuse: Callable[[Request, NtfyishError], Response],
    ) -> None:
        self._attachments = attachments
        self._now = now
        self._identify = identify
        self._refuse = refuse

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers; None for whatever does not look exactly like the address of a file."""
        return self._send if method in ("GET", "HEAD") and _PATH.fullmatch(path) else None

    def refuse(self, request: Request, error: NtfyishError) -> Response:
        """Put `error` into words."""
        return self._refuse(request, error)

    async def _send(self, request: Request) -> Response:
        visitor = await self._identify(request)
        visitor.take_request()
        match = _PATH.fullmatch(request.path)
        assert match is not None
        query = request.query
        file = await self._attachments.find(match[1], query.get("expires", ""), query.get("signature", ""))
        headers = self._headers(file)
        etag = f'"{file.id}"'
        if _names(request.headers.get("if-none-match", ""), etag):
            return Response(status=304, content_type="", headers=headers)
        size = file.size_bytes
        found: tuple[int, int] | None = None
        if request.method == "GET" and request.headers.get("if-range", etag) == etag:
            found = find_range(request.headers.get("range", ""), size)
        if found is not None and found[0] >= found[1]:
            unsatisfied = (*headers, ("Content-Range", f"bytes */{size}"))
            return Response(status=416, content_type="", headers=unsatisfied)
        start, end = found or (0, size)
        opened = await self._attachments.open_file(file)
        response = FileResponse(content_type=served_as(file.type), headers=headers, length=end - start)
        if found is not None:
            response.status = 206
            response.headers += (("Content-Range", f"bytes {start}-{end - 1}/{size}"),)
        if request.method == "HEAD":
            opened.close()
            return response
        try:
            await self._attachments.charge_download(file, end - start)
        except BaseException:
            opened.close()
            raise
        opened.limit(start, end)
        response.source = opened
        return response

    def _headers(self, file: KeptFile) -> tuple[tuple[str, str], ...]:
        inline = file.type.partition(";")[0] in RASTER
        left_s = max(0, int(file.expires_at - self._now()))
        return (
            *_CORS,
            *_SAFETY,
            ("Content-Disposition", content_disposition(file.name, inline=inline)),
            ("Accept-Ranges", "bytes"),
            ("ETag", f'"{file.id}"'),
            ("Cache-Control", f"private, max-age={left_s}, immutable"),
        )


def find_range(text: str, size: int) -> tuple[int, int] | None:
    """Return the bytes that a Range field asks for, from the first up to, not including, the last.

    None if it is to be ignored (RFC 9110, 14.2): malformed, another unit, several ranges at once. What
    the file does not have is an empty range.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    end = min(int(last) + 1, size) if last else size
    return int(first), max(end, 0)


def _names(text: str, etag: str) -> bool:
    """Whether an If-None-Match field names `etag`."""
    if not text:
        return False
    return text.strip() == "*" or any(item.strip().removeprefix("W/") == etag for item in text.split(","))
