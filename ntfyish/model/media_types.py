"""What a file is, by its first bytes; and under which type it may be shown. `core.attachments` calls it.

Never by what its sender says or how it is named: both are anybody's claim. The one exception is Android's
package, which is a ZIP archive by its bytes (ntfy goes by its name, too).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type and the extension of its files, with the dot."""

    name: str
    extension: str


UNKNOWN = MediaType("application/octet-stream", ".bin")
TEXT = MediaType("text/plain; charset=utf-8", ".txt")
_HTML = MediaType("text/html; charset=utf-8", ".html")
_XML = MediaType("text/xml; charset=utf-8", ".xml")
_SVG = MediaType("image/svg+xml", ".svg")
_JSON = MediaType("application/json", ".json")
_APK = MediaType("application/vnd.android.package-archive", ".apk")
_WAV = MediaType("audio/wav", ".wav")

# Offset, bytes, type; the first that fits counts.
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", MediaType("image/png", ".png")),
    (0, b"\xff\xd8\xff", MediaType("image/jpeg", ".jpg")),
    (0, b"GIF87a", MediaType("image/gif", ".gif")),
    (0, b"GIF89a", MediaType("image/gif", ".gif")),
    (0, b"BM", MediaType("image/bmp", ".bmp")),
    (0, b"II*\0", MediaType("image/tiff", ".tiff")),
    (0, b"MM\0*", MediaType("image/tiff", ".tiff")),
    (0, b"\0\0\1\0", MediaType("image/x-icon", ".ico")),
    (0, b"%PDF-", MediaType("application/pdf", ".pdf")),
    (0, b"PK\3\4", MediaType("application/zip", ".zip")),
    (0, b"PK\5\6", MediaType("application/zip", ".zip")),
    (0, b"\x1f\x8b", MediaType("application/gzip", ".gz")),
    (0, b"BZh", MediaType("application/x-bzip2", ".bz2")),
    (0, b"\xfd7zXZ\0", MediaType("application/x-xz", ".xz")),
    (0, b"\x28\xb5\x2f\xfd", MediaType("application/zstd", ".zst")),
    (0, b"7z\xbc\xaf\x27\x1c", MediaType("application/x-7z-compressed", ".7z")),
    (0, b"Rar!\x1a\x07", MediaType("application/x-rar-compressed", ".rar")),
    (257, b"ustar", MediaType("application/x-tar", ".tar")),
    (0, b"SQLite format 3\0", MediaType("application/vnd.sqlite3", ".sqlite")),
    (0, b"\x7fELF", MediaType("application/x-elf", "")),
    (0, b"MZ", MediaType("application/vnd.microsoft.portable-executable", ".exe")),
    (0, b"OggS", MediaType("audio/ogg", ".ogg")),
    (0, b"fLaC", MediaType("audio/flac", ".flac")),
    (0, b"ID3", MediaType("audio/mpeg", ".mp3")),
    (0, b"\xff\xfb", MediaType("audio/mpeg", ".mp3")),
    (0, b"\xff\xf3", MediaType("audio/mpeg", ".mp3")),
    (0, b"MThd", MediaType("audio/midi", ".midi")),
    (0, b"#!AMR", MediaType("audio/amr", ".amr")),
    (0, b"\0\0\1\xba", MediaType("video/mpeg", ".mpeg")),
    (0, b"\0\0\1\xb3", MediaType("video/mpeg", ".mpeg")),
    (0, b"FLV\1", MediaType("video/x-flv", ".flv")),
    (0, b"wOFF", MediaType("font/woff", ".woff")),
    (0, b"wOF2", MediaType("font/woff2", ".woff2")),
)
_RIFF = {
    b"WEBP": MediaType("image/webp", ".webp"),
    b"WAVE": _WAV,
    b"AVI ": MediaType("video/x-msvideo", ".avi"),
}
_BRANDS = {
    b"avif": MediaType("image/avif", ".avif"),
    b"avis": MediaType("image/avif", ".avif"),
    b"heic": MediaType("image/heic", ".heic"),
    b"heix": MediaType("image/heic", ".heic"),
    b"mif1": MediaType("image/heif", ".heif"),
    b"M4A ": MediaType("audio/x-m4a", ".m4a"),
    b"qt  ": MediaType("video/quicktime", ".mov"),
    b"3gp4": MediaType("video/3gpp", ".3gp"),
    b"3gp5": MediaType("video/3gpp", ".3gp"),
}
_MP4 = MediaType("video/mp4", ".mp4")
_WEBM = MediaType("video/webm", ".webm")
_MATROSKA = MediaType("video/x-matroska", ".mkv")
_WAVE_HEAD = 12
_HTML_START = re.compile(
    rb"<(?:!doctype html|html|head|body|script|iframe|style|title|h1|div|font|table|a|br|p|b|!--)[\s>/]",
    re.IGNORECASE,
)
_SVG_START = re.compile(rb"<svg[\s>]", re.IGNORECASE)
# What a text does not have (WHATWG, MIME Sniffing, "binary data byte")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_MARKS = {b"\xfe\xff": "utf-16be", b"\xff\xfe": "utf-16le"}

RASTER = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif"})
# A browser runs nothing that is in these; what it might run is shown as the text that it is.
_PASSIVE = re.compile(r"audio/|video/|font/|text/plain\b")
_PASSIVE_APPLICATIONS = re.compile(r"application/(?!xhtml|xml|[\w.-]+\+xml|javascript|ecmascript)")


def sniff(head: bytes, name: str = "") -> MediaType:
    """Return the type of a file that begins with `head` (its first `HEAD_BYTES` bytes, or all of it)."""
    if name.lower().endswith(".apk"):
        return _APK
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            return MediaType(found.name, found.extension or UNKNOWN.extension)
    return _in_container(head) or _textual(head) or UNKNOWN


def served_as(name: str) -> str:
    """Return the type under which a file of type `name` is handed out: never one that a browser would run."""
    plain = name.partition(";")[0].strip().lower()
    if plain in RASTER or _PASSIVE.match(plain) or (plain.startswith("image/") and plain != _SVG.name):
        return name
    if plain.startswith("text/") or plain == _SVG.name:
        return TEXT.name
    return name if _PASSIVE_APPLICATIONS.match(plain) else UNKNOWN.name


def _in_container(head: bytes) -> MediaType | None:
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:_WAVE_HEAD])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _MP4)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _WEBM if b"webm" in head[:64] else _MATROSKA
    return None


def _textual(head: bytes) -> MediaType | None:
    charset = _MARKS.get(head[:2])
    if charset is not None:
        return MediaType(f"text/plain; charset={charset}", TEXT.extension)
    if _BINARY.search(head):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The end of the head may go through the middle of a character.
        if len(head) < HEAD_BYTES or error.end < len(head) or len(head) - error.start > 3:
            return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HTML_START.match(start):
        return _HTML
    if start.startswith(b"<?xml") or _SVG_START.match(start):
        return _SVG if _SVG_START.search(start) else _XML
    if start[:1] in (b"{", b"[") and start.rstrip()[-1:] in (b"}", b"]") and len(head) < HEAD_BYTES:
        return _JSON if _is_json(start) else TEXT
    return TEXT


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
