"""The bytes of response headers, the same in both lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus

from ntfyish.web.http import Response

SERVER = "ntfyish"
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LINES = {code: f"HTTP/1.1 {code} {phrase}\r\n" for code, phrase in _REASONS.items()}


class HeadWriter:
    """Writes response headers; makes the `Date` once a second."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self._date = ""

    def response(self, response: Response, *, close: bool) -> bytes:
        """Return a complete response, header and body."""
        lines = [
            _LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n",
            f"Content-Length: {len(response.body)}\r\n",
            self._common(),
        ]
        if response.content_type:
            lines.append(f"Content-Type: {response.content_type}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in response.headers]
        if close:
            lines.append("Connection: close\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("utf-8", "replace") + response.body

    def stream(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        """Return the header of a response whose body follows by itself."""
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
        return f"{_LINES[status]}{self._common()}{fields}\r\n".encode()

    def _common(self) -> str:
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\nServer: {SERVER}\r\n"
        return self._date
