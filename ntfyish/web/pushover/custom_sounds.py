"""Custom sounds: apps upload and remove those of their account (our own calls), and clients fetch the files.

``POST /1/sounds/upload.json`` takes a multipart form with `token`, `name`, `label` and the file `sound`;
``POST /1/sounds/NAME/remove.json`` takes `token`. The file is at ``/sounds/NAME.mp3``, ``.wav`` or ``.ogg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ntfyish.core.directory import Directory
from ntfyish.core.ports import PeopleStore
from ntfyish.core.sounds import MAX_LABEL_CHARS, Sounds
from ntfyish.model.errors import Conflict, Invalid, NotFound
from ntfyish.model.sound import MAX_SOUND_BYTES, NAME_PATTERN, SoundKind, find_kind
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Answer
from ntfyish.web.pushover.calls import Call, Calls
from ntfyish.web.pushover.faults import Fault

SOUND_MISSING = Fault("sound", "must be supplied", "sound must be supplied as a file")
SOUND_TOO_LARGE = Fault(
    "sound", "is too large", f"sound is too large, must be at most {MAX_SOUND_BYTES} bytes"
)
SOUND_UNKNOWN_FORMAT = Fault("sound", "is invalid", "sound must be an MP3, WAV or Ogg file")
NAME_TAKEN = Fault("name", "has already been taken", "name has already been taken")
SOUND_UNKNOWN = Fault("sound", "not found", "sound not found or you are not authorized to edit it")

_TYPES = {SoundKind.MP3: "audio/mpeg", SoundKind.WAV: "audio/wav", SoundKind.OGG: "audio/ogg"}
_FILE = re.compile(r"/sounds/([a-z0-9_-]{1,20})\.(mp3|wav|ogg)")
_REMOVE = re.compile(r"/1/sounds/([^/.]+)/remove\.(?:json|xml)")
_UPLOAD = ("/1/sounds/upload.json", "/1/sounds/upload.xml")
_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "public, max-age=3600"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
)


class SoundCalls:
    """Answers ``/1/sounds/...`` and ``/sounds/...``."""

    def __init__(
        self,
        sounds: Sounds,
        store: PeopleStore,
        directory: Directory,
        calls: Calls,
    ) -> None:
        self._sounds = sounds
        self._store = store
        self._directory = directory
        self._calls = calls
        self._uploads: Mapping[str, Handler] = {"POST": calls.handler(self._upload)}
        self._file: Mapping[str, Handler] = {"GET": self._send, "HEAD": self._send}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        if path in _UPLOAD:
            return self._uploads
        if _FILE.fullmatch(path):
            return self._file
        if (match := _REMOVE.fullmatch(path)) is None:
            return None
        name = match[1]

        async def remove(call: Call) -> Response:
            try:
                await self._sounds.remove(name, call.app.account)
            except NotFound:
                return call.refuse(SOUND_UNKNOWN)
            await self._directory.refresh()
            return call.answer.success({})

        return {"POST": self._calls.handler(remove)}

    async def _upload(self, call: Call) -> Response:
        name, label = call.text("name").lower(), call.text("label")
        file = next((one for one in call.parameters.files if one.name == "sound"), None)
        if not NAME_PATTERN.fullmatch(name):
            return call.refuse(faults.invalid("name"))
        if len(label) > MAX_LABEL_CHARS:
            return call.refuse(faults.too_long("label", MAX_LABEL_CHARS))
        if file is None:
            return call.refuse(SOUND_MISSING)
        if len(file.data) > MAX_SOUND_BYTES:
            return call.refuse(SOUND_TOO_LARGE)
        data = bytes(file.data)
        if find_kind(data) is None:
            return call.refuse(SOUND_UNKNOWN_FORMAT)
        try:
            sound = await self._sounds.add(call.app.account, name, label, data)
        except Conflict:
            return call.refuse(NAME_TAKEN)
        except Invalid as error:
            return call.refuse(Fault("sound", "is invalid", error.detail))
        await self._directory.refresh()
        return call.answer.success({"sound": sound.name})

    async def _send(self, request: Request) -> Response:
        match = _FILE.fullmatch(request.path)
        sound = await self._directory.find_sound(match[1]) if match is not None else None
        data = None
        if match is not None and sound is not None and sound.kind == match[2]:
            data = await self._store.sound_file(sound.name)
        if sound is None or data is None:
            return Answer(request).refusal([faults.RESOURCE_UNKNOWN], 404)
        return Response(body=data, content_type=_TYPES[sound.kind], headers=_HEADERS)
