"""The character sets that a text may name besides UTF-8: their labels, and Python's names for them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Only these: Python knows codecs that are not character sets (zip), or that take quadratic time
# (punycode), and remembers every unknown name it was ever asked for.
CODECS: Mapping[str, str] = MappingProxyType(
    {
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
        **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
        **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
    }
)
