"""The file of a Pushover message: a part of a multipart form, or base64 in a field. Pure.

A form is read as a whole before anything is known of it (its token may come last). A large one is in a file
meanwhile (`web.body`), and what is here is a view of that, which is copied or decoded piece by piece.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ntfyish.web.body import Parameters
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.base64_files import Base64File
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.spool import LargeText

_FIELD = "attachment"
_PIECE_BYTES = 65_536
_BLANKS = re.compile(r"[\r\n\t]+")
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})[^,]{0,100},")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that came with a message.

    Attributes:
        name: as sent; "" for none.
        claimed_type: what its sender says that it is; "" for nothing.
    """

    name: str
    claimed_type: str
    data: bytes | memoryview | Base64File = field(repr=False)

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return self.data.size_bytes if isinstance(self.data, Base64File) else len(self.data)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the file's content, never much of it at once."""
        if isinstance(self.data, Base64File):
            for piece in self.data.pieces():
                yield piece
            return
        for start in range(0, len(self.data), _PIECE_BYTES):
            yield bytes(self.data[start : start + _PIECE_BYTES])


def read_upload(parameters: Parameters, limit_bytes: int, found: list[Fault]) -> Upload | None:
    """Return the file of a message, None if there is none; `found` gets what is wrong with it.

    A part without content is what a browser sends for a field that was left empty.
    """
    claimed_type = parameters.text("attachment_type").strip()
    for part in parameters.files:
        if part.name == _FIELD and part.data:
            claimed_type = claimed_type or part.content_type
            upload = Upload(name=part.filename, claimed_type=claimed_type, data=part.data)
            break
    else:
        text = parameters.text("attachment_base64")
        if not text and parameters.large is None:
            return None
        try:
            upload = _read_base64(parameters.large or text, claimed_type)
        except ValueError:
            found.append(faults.invalid("attachment_base64"))
            return None
    if upload.size_bytes > limit_bytes:
        found.append(faults.attachment_too_large(upload.size_bytes, limit_bytes))
    return upload


def _read_base64(text: str | LargeText, claimed_type: str) -> Upload:
    """Return a file that came as base64. Raises: ValueError if it is not."""
    if isinstance(text, LargeText):
        file = Base64File(text)
        return Upload(name="", claimed_type=claimed_type or file.claimed_type, data=file)
    # An unescaped + of base64 is a blank in a form.
    text = _BLANKS.sub("", text.strip()).replace(" ", "+")
    if data_url := _DATA_URL.match(text):
        text = text[data_url.end() :]
        claimed_type = claimed_type or data_url[1]
    text = text.rstrip("=")
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    return Upload(name="", claimed_type=claimed_type, data=data)
