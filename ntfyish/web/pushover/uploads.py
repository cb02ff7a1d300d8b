"""The file of a Pushover message: a part of a multipart form, or base64 in a field. Pure.

A form is read as a whole before anything is known of it (its token may come last), so Pushover's files are in
memory until they are stored; the limit of the body (some 7 MB) is the bound of that.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from ntfyish.web.body import Parameters
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.faults import Fault

_FIELD = "attachment"
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
    data: bytes = field(repr=False)


def read_upload(parameters: Parameters, limit_bytes: int, found: list[Fault]) -> Upload | None:
    """Return the file of a message, None if there is none; `found` gets what is wrong with it.

    A part without content is what a browser sends for a field that was left empty.
    """
    claimed_type = parameters.text("attachment_type").strip()
    for part in parameters.files:
        if part.name == _FIELD and part.data:
            upload = Upload(
                name=part.filename, claimed_type=claimed_type or part.content_type, data=part.data
            )
            break
    else:
        text = parameters.text("attachment_base64")
        if not text:
            return None
        # An unescaped + of base64 is a blank in a form.
        text = _BLANKS.sub("", text.strip()).replace(" ", "+")
        if data_url := _DATA_URL.match(text):
            text = text[data_url.end() :]
            claimed_type = claimed_type or data_url[1]
        try:
            data = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
        except (binascii.Error, ValueError):
            found.append(faults.invalid("attachment_base64"))
            return None
        upload = Upload(name="", claimed_type=claimed_type, data=data)
    if len(upload.data) > limit_bytes:
        found.append(faults.attachment_too_large(len(upload.data), limit_bytes))
    return upload
