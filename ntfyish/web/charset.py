"""The character sets that a body may name: their labels, and Python's names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

# Only these: Python knows codecs that are not character sets (zip), or that take quadratic time
# (punycode), and remembers every unknown name it was ever asked for.
_LABELS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
    "cp1252": "cp1252",
    "shift_jis": "shift_jis",
    "euc-jp": "euc_jp",
    "euc-kr": "euc_kr",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    **{
        f"iso-8859-{part}": f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)
    },
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
}
CODECS: Mapping[str, str] = MappingProxyType(_LABELS)

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,32})", re.IGNORECASE)


def find_codec(content_type: str) -> str:
    """Return Python's name for the charset that `content_type` gives; "" if none, or one that is unknown."""
    match = _CHARSET.search(content_type) if "charset" in content_type.lower() else None
    return "" if match is None else CODECS.get(match[1].lower(), "")
