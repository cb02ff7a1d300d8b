"""The character sets that a body may name: their labels, and Python's names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from ntfyish.model import charsets

CODECS: Mapping[str, str] = MappingProxyType(
    {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", **charsets.CODECS}
)

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,32})", re.IGNORECASE)


def find_codec(content_type: str) -> str:
    """Return Python's name for the charset that `content_type` gives; "" if none, or one that is unknown."""
    match = _CHARSET.search(content_type) if "charset" in content_type.lower() else None
    return "" if match is None else CODECS.get(match[1].lower(), "")
