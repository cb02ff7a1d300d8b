"""Names of files: made harmless when they come in, and written into a header when they go out (RFC 6266)."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

MAX_CHARS = 200
_MAX_EXTENSION_CHARS = 20
_SEPARATOR = re.compile(r"[/\\]")
# Control and format characters (the second turn the direction of text, so that exe.png is gnp.exe),
# halves of surrogates, and line and paragraph separators.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_QUOTABLE = re.compile(r"[^ !#$&'()+,\-.0-9;=@A-Z\[\]^_`a-z{}~]")


def clean_name(text: str) -> str:
    """Return the last component of a path as one line of visible characters; "" if nothing is left."""
    last = _SEPARATOR.split(text.strip())[-1]
    if len(last) > 4 * MAX_CHARS:
        last = last[: 3 * MAX_CHARS] + last[-MAX_CHARS:]
    kept = "".join(c if unicodedata.category(c) not in _HARMFUL else " " for c in last)
    name = " ".join(kept.split())
    if name.strip(". ") == "":
        return ""
    if len(name) <= MAX_CHARS:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > _MAX_EXTENSION_CHARS:
        return name[:MAX_CHARS]
    return stem[: MAX_CHARS - len(extension) - 1] + dot + extension


def content_disposition(name: str, *, inline: bool = False) -> str:
    """Return the value of a Content-Disposition field for a name that `clean_name` has returned."""
    kind = "inline" if inline else "attachment"
    plain = _QUOTABLE.sub("_", name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
