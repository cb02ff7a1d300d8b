"""Custom sounds: uploads, files, the list, and messages that name them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from ntfyish.model.sound import MAX_SOUND_BYTES
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer

VERAS_TOKEN = "aVeraVeraVeraVeraVeraVeraVera0"
MP3 = b"ID3\x04" + bytes(200)
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(64)
OGG = b"OggS\0\x02" + bytes(64)
UNKNOWN = {
    "sound": "not found",
    "errors": ["sound not found or you are not authorized to edit it"],
    "status": 0,
}


@pytest_asyncio.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(
        accounts=[{"name": "phil", "user-key": USER_KEY}, {"name": "vera"}],
        apps=[
            {"name": "Backups", "token": APP_TOKEN, "account": "phil"},
            {"name": "Weather", "token": VERAS_TOKEN, "account": "vera"},
        ],
    )


async def post(server: Server, path: str, data: Any) -> tuple[int, dict[str, Any]]:
    async with server.http.post(f"{server.url}/1/{path}", data=data) as response:
        answer = await response.json()
        return response.status, {name: value for name, value in answer.items() if name != "request"}


async def upload(
    server: Server,
    name: str = "chime",
    data: bytes | None = MP3,
    token: str = APP_TOKEN,
    label: str = "Chime",
) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData({"token": token, "name": name, "label": label})
    if data is not None:
        form.add_field("sound", data, filename="../x.html", content_type="text/html")
    return await post(server, "sounds/upload.json", form)


async def listed(server: Server, token: str) -> list[tuple[str, str]]:
    async with server.http.get(f"{server.url}/1/sounds.json?token={token}") as response:
        return list((await response.json())["sounds"].items())


@pytest.mark.parametrize(
    ("data", "kind", "media_type"),
    [(MP3, "mp3", "audio/mpeg"), (WAV, "wav", "audio/wav"), (OGG, "ogg", "audio/ogg")],
)
async def test_a_sound_is_served_as_what_it_is_whatever_it_is_called(
    server: Server, data: bytes, kind: str, media_type: str
) -> None:
    assert await upload(server, data=data) == (200, {"sound": "chime", "status": 1})
    async with server.http.get(f"{server.url}/sounds/chime.{kind}") as response:
        assert (response.status, response.headers["content-type"]) == (200, media_type)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in response.headers["content-security-policy"]
        assert await response.read() == data
    other = "ogg" if kind != "ogg" else "mp3"
    for path in (f"chime.{other}", "bike.mp3", f"other.{kind}"):
        async with server.http.get(f"{server.url}/sounds/{path}") as response:
            assert response.status == 404


async def test_only_the_owners_apps_have_a_sound(server: Server) -> None:
    await upload(server)
    assert (await listed(server, APP_TOKEN))[-2:] == [("none", "None (silent)"), ("chime", "Chime")]
    assert ("chime", "Chime") not in await listed(server, VERAS_TOKEN)
    for token in (APP_TOKEN, VERAS_TOKEN):
        message = {"token": token, "user": USER_KEY, "message": "hi", "sound": "Chime"}
        assert (await post(server, "messages.json", message))[0] == 200
    assert [one.get("sound") for one in await server.poll(USER_KEY)] == ["chime", None]


async def test_a_sound_is_removed_by_its_owners_apps_only(server: Server) -> None:
    await upload(server)
    assert await post(server, "sounds/chime/remove.json", {"token": VERAS_TOKEN}) == (400, UNKNOWN)
    assert await post(server, "sounds/chime/remove.json", {"token": APP_TOKEN}) == (200, {"status": 1})
    assert await post(server, "sounds/chime/remove.json", {"token": APP_TOKEN}) == (400, UNKNOWN)
    async with server.http.get(f"{server.url}/sounds/chime.mp3") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"token": "x"}, "application token is invalid"),
        ({"name": ""}, "name is invalid"),
        ({"name": "../x"}, "name is invalid"),
        ({"name": "x" * 21}, "name is invalid"),
        ({"name": "bike"}, "name has already been taken"),
        ({"name": "taken", "token": VERAS_TOKEN}, "name has already been taken"),
        ({"data": None}, "sound must be supplied as a file"),
        ({"data": b""}, "sound must be an MP3, WAV or Ogg file"),
        ({"data": b"<html>"}, "sound must be an MP3, WAV or Ogg file"),
        ({"data": MP3 + bytes(MAX_SOUND_BYTES)}, "sound is too large"),
        ({"label": "x" * 101}, "label is too long"),
    ],
)
async def test_what_is_wrong_is_refused(server: Server, fields: dict[str, Any], sentence: str) -> None:
    await upload(server, "taken")
    status, answer = await upload(server, **fields)
    assert (status, answer["status"]) == (400, 0)
    assert answer["errors"][0].startswith(sentence)


async def test_ntfys_topic_sounds_stays_ntfys(server: Server) -> None:
    await server.publish("sounds", "hi")
    assert [one["message"] for one in await server.poll("sounds")] == ["hi"]
