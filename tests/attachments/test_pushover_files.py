"""Files that come in by Pushover's API."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import urlencode

import pytest

from tests.attachments.conftest import BASE_URL
from tests.attachments.sending import BOUNDARY, PNG, fetch, files, push
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.ntfy.talking import NOW, PHIL, ask

GROUP = "gAllAllAllAllAllAllAllAllAllAl"
AUTH = "Authorization: Basic " + base64.b64encode(b"phil:secret").decode()
JSON = "Content-Type: application/json"


async def last(server: Server) -> dict[str, object]:
    wire = await server.wire()
    answer = await wire.request(f"GET /{USER_KEY}/json?poll=1", AUTH)
    return answer.json_lines()[-1]


async def test_a_file_of_a_form_shows_on_streams_as_ntfys_do(server: Server) -> None:
    answer = await push(server, attachment=("snap.png", "image/png", PNG))
    assert answer.json()["status"] == 1
    message = await last(server)
    assert message["attachment"] == {
        "name": "snap.png",
        "type": "image/png",
        "size": len(PNG),
        "expires": NOW + 3 * 3600,
        "url": f"{BASE_URL}/file/{message['id']}.png",
    }
    assert message["message"] == "look"
    assert (await fetch(server, message)).body == PNG


@pytest.mark.parametrize("name", ["attachment", ""])
async def test_the_bytes_tell_the_type_whatever_the_form_says(server: Server, name: str) -> None:
    await push(server, attachment=(name, "application/octet-stream", PNG))
    attachment = (await last(server))["attachment"]
    assert isinstance(attachment, dict)
    assert (attachment["name"], attachment["type"]) == (name or "attachment.png", "image/png")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_a_file_can_come_as_base64(server: Server, as_json: bool, prefix: str) -> None:
    fields = {
        "token": APP_TOKEN,
        "user": USER_KEY,
        "message": "look",
        "attachment_base64": prefix + base64.b64encode(PNG).decode(),
        "attachment_type": "image/png",
    }
    body = json.dumps(fields) if as_json else urlencode(fields)
    headers = (JSON,) if as_json else ()
    assert (await ask(server, "POST /1/messages.json", *headers, body=body)).status == 200
    message = await last(server)
    assert (await fetch(server, message)).body == PNG


async def test_a_type_is_believed_where_the_bytes_do_not_tell(server: Server) -> None:
    odd = base64.b64encode(b"\x00\x01\x02").decode()
    for claim, type_ in (("image/x-odd", "image/x-odd"), ("text/html", "application/octet-stream")):
        await push(server, attachment_base64=odd, attachment_type=claim)
        attachment = (await last(server))["attachment"]
        assert isinstance(attachment, dict)
        assert attachment["type"] == type_


async def test_a_large_file_is_refused_in_pushovers_words(server: Server) -> None:
    answer = await push(server, attachment=("a.bin", "image/png", b"x" * 5_242_881))
    refusal = answer.json()
    del refusal["request"]
    assert answer.status == 400
    assert refusal == {
        "attachment": "is too large",
        "errors": ["attachment is too large (5242881 bytes is more than 5242880 limit"],
        "status": 0,
    }
    assert (await push(server, attachment=("a.bin", "image/png", b"x" * 5_242_880))).status == 200
    answer = await push(server, attachment=("a.bin", "image/png", b"x" * 8_000_000))
    assert (answer.status, answer.json()["attachment"]) == (400, "is too large")


async def test_base64_that_is_none_is_refused(server: Server) -> None:
    answer = await push(server, attachment_base64="*")
    assert (answer.status, answer.json()["attachment_base64"]) == (400, "is invalid")


async def test_a_field_left_empty_is_no_file(server: Server) -> None:
    assert (await push(server, attachment=("", "application/octet-stream", b""))).status == 200
    assert "attachment" not in await last(server)
    assert files(server) == []


async def test_a_message_that_is_refused_leaves_no_file(server: Server) -> None:
    answer = await push(server, attachment=("a.png", "image/png", PNG), message=" ")
    assert answer.status == 400
    assert files(server) == []


async def test_one_file_goes_to_all_recipients(start_server: StartServer) -> None:
    vera = {"name": "vera", "user-key": "uVeraVeraVeraVeraVeraVeraVera0", "password": "secret"}
    server = await start_server(accounts=[PHIL, vera], base_url=BASE_URL)
    users = f"{USER_KEY},{vera['user-key']}"
    assert (await push(server, user=users, attachment=("a.png", "image/png", PNG))).status == 200
    assert len(files(server)) == 1
    message = await last(server)
    assert (await fetch(server, message)).body == PNG


async def test_a_server_without_files_publishes_and_says_so(start_server: StartServer) -> None:
    server = await start_server(accounts=[PHIL])
    answer = await push(server, attachment=("a.png", "image/png", PNG))
    assert (answer.status, answer.json()["info"]) == (200, "attachments are not enabled on this server")
    assert "attachment" not in await last(server)


async def test_a_message_with_a_short_life_takes_its_file_along(server: Server) -> None:
    await push(server, attachment=("a.png", "image/png", PNG), ttl="60")
    attachment = (await last(server))["attachment"]
    assert isinstance(attachment, dict)
    assert attachment["expires"] == NOW + 60


async def test_curl_sends_a_file(server: Server, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "snap.png"
    path.write_bytes(PNG)
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--form-string", f"token={APP_TOKEN}", "--form-string", f"user={USER_KEY}"),
        *("--form-string", "message=look", "-F", f"attachment=@{path}", f"{server.url}/1/messages.json"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await curl.communicate()
    assert json.loads(out)["status"] == 1
    message = await last(server)
    assert (await fetch(server, message)).body == PNG
    assert BOUNDARY not in str(message)


async def test_a_file_also_goes_to_who_is_written_to_on_one_device_only(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[{"name": "phil", "user-key": USER_KEY, "password": "secret", "devices": ["pad"]}],
        groups=[
            {
                "name": "all",
                "key": GROUP,
                "account": "phil",
                "members": [{"account": "phil", "device": "pad"}],
            }
        ],
        base_url="https://push.example.com",
    )
    assert (await push(server, user=GROUP, attachment=("a.png", "image/png", PNG))).status == 200
    (message,) = await server.poll(USER_KEY)
    assert (message["device"], message["attachment"]["name"]) == ("pad", "a.png")
    assert (await fetch(server, message)).body == PNG
