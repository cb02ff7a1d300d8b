"""Sounds that the owners of apps have uploaded, besides Pushover's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

NAME_PATTERN = re.compile(r"[a-z0-9_-]{1,20}")
MAX_SOUND_BYTES = 500 * 1024
MAX_SOUNDS = 50  # of an account


class SoundKind(StrEnum):
    """The formats, by their file name extensions."""

    MP3 = "mp3"
    WAV = "wav"
    OGG = "ogg"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSound:
    """A sound of an account, for the messages of its apps.

    Attributes:
        name: what messages call it; no two sounds of the server have the same.
        label: what people call it.
        data: the file; b"" where only the rest has been read.
    """

    name: str
    account: str
    label: str
    kind: SoundKind
    data: bytes = field(default=b"", repr=False)


def find_kind(data: bytes) -> SoundKind | None:
    """Return the format that a file is of by its first bytes, whatever it is called; None for another."""
    if data[:4] == b"OggS":
        return SoundKind.OGG
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return SoundKind.WAV
    # A tag, or the sync word of a frame of MPEG audio layer III
    if data[:3] == b"ID3" or (len(data) > 3 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):
        return SoundKind.MP3
    return None
