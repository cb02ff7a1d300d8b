"""NZBClient's documented programs, unchanged but for the host: what they send reaches the phone.

They speak HTTPS only, so a TLS proxy stands before the server, as in every real set-up.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from tests.clock import FakeClock
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.push.apns_sending import device_token
from tests.push.apple_checks import BUNDLE_ID, KEY_ID, TEAM_ID
from tests.push.fake_apns import FakeApns, Recorded

HELLO = """
import http.client, urllib.parse
conn = http.client.HTTPSConnection("api.nzbclient.app:443")
conn.request("POST", "/1/messages.json",
  urllib.parse.urlencode({
    "token": "APP_TOKEN",
    "user": "USER_KEY",
    "message": "hello world",
  }), { "Content-type": "application/x-www-form-urlencoded" })
print(conn.getresponse().status)
"""

ENCRYPTED = """
from cryptography.fernet import Fernet
import http.client, urllib.parse

message = "hello world"

encryptedMessage = Fernet("PRIVATE_KEY").encrypt(message.encode())

conn = http.client.HTTPSConnection("api.nzbclient.app:443")
conn.request("POST", "/1/messages.json",
  urllib.parse.urlencode({
    "token": "APP_TOKEN",
    "user": "USER_KEY",
    "message": encryptedMessage,
    "isEncrypted": True,
  }), { "Content-type": "application/x-www-form-urlencoded" })
print(conn.getresponse().status)
"""

CURL = """
curl -s \\
  --form-string "token=APP_TOKEN" \\
  --form-string "user=USER_KEY" \\
  --form-string "message=hello world" \\
  https://api.nzbclient.app:443/1/messages.json
"""

# As NZBGet's push scripts send it: all values are texts, also where they are empty or None.
NZBGET = """
import http.client, urllib.parse
conn = http.client.HTTPSConnection("api.nzbclient.app:443")
conn.request("POST", "/1/messages.json",
  urllib.parse.urlencode({
    "token": "APP_TOKEN",
    "user": "USER_KEY",
    "title": "Download finished",
    "message": "MESSAGE",
    "url": "nzbclient://history?nzbid=42",
    "priority": "PRIORITY",
    "isEncrypted": "IS_ENCRYPTED",
    "encryptionType": "ENCRYPTION_TYPE",
    "app": "nzbget",
    "nzbID": "42",
    "device": "",
    "sound": "",
  }), { "Content-type": "application/x-www-form-urlencoded" })
print(conn.getresponse().status)
"""


@dataclass
class Relay:
    """A server behind TLS, and the phone that its messages are pushed to."""

    server: Server
    apns: FakeApns
    port: int
    directory: Path

    async def run(self, *command: str, program: str = "", **values: str) -> str:
        """Run a program with its host and placeholders filled in; return what it prints."""
        values = {"api.nzbclient.app:443": f"localhost:{self.port}", **values}
        text = program.replace("APP_TOKEN", APP_TOKEN).replace("USER_KEY", USER_KEY)
        for name, value in values.items():
            text = text.replace(name, value)
        authority = str(self.directory / "ca.pem")
        environ = {**os.environ, "SSL_CERT_FILE": authority, "CURL_CA_BUNDLE": authority}
        done = await asyncio.to_thread(
            subprocess.run, [*command, text], env=environ, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def push(self) -> Recorded:
        """Return the one push that has come."""
        await self.apns.until(lambda: bool(self.apns.requests))
        (request,) = self.apns.requests
        return request


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def _proxy(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.ensure_future(way) for way in (_relay(reader, inner_writer), _relay(inner_reader, writer))
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (inner_writer, writer):
            end.close()

    return serve


@pytest_asyncio.fixture
async def relay(start_server: StartServer, tmp_path: Path) -> AsyncIterator[Relay]:
    clock = FakeClock()
    apns = FakeApns(now=clock.now)
    apns.write_files(tmp_path)
    async with apns:
        server = await start_server(
            clock=clock,
            accounts=[
                {
                    "name": "phil",
                    "user-key": USER_KEY,
                    "devices": [
                        {"name": "phone", "kind": "apns", "token": device_token(1), "bundle-id": BUNDLE_ID}
                    ],
                }
            ],
            apps=[{"name": "NZBGet", "token": APP_TOKEN, "account": "phil", "flavour": "nzbclient"}],
            apns=[
                {
                    "bundle-id": BUNDLE_ID,
                    "key-file": str(tmp_path / "AuthKey.p8"),
                    "key-id": KEY_ID,
                    "team-id": TEAM_ID,
                    "endpoint": f"localhost:{apns.port}",
                    "ca-file": str(tmp_path / "ca.pem"),
                }
            ],
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        apns.ca.issue_cert("localhost").configure_cert(context)
        proxy = await asyncio.start_server(_proxy(server.port), "127.0.0.1", 0, ssl=context)
        async with proxy:
            yield Relay(server, apns, proxy.sockets[0].getsockname()[1], tmp_path)


async def test_the_python_program_reaches_the_phone(relay: Relay) -> None:
    assert await relay.run(sys.executable, "-c", program=HELLO) == "200"
    push = await relay.push()
    assert push.json["aps"]["alert"] == {"title": "NZBGet", "body": "hello world"}
    assert push.json["aps"]["interruption-level"] == "active"


async def test_the_curl_program_reaches_the_phone(relay: Relay) -> None:
    assert '"status":1' in await relay.run("bash", "-c", program=CURL)
    assert (await relay.push()).json["aps"]["alert"]["body"] == "hello world"


async def test_only_the_phone_can_read_what_the_fernet_program_sends(relay: Relay) -> None:
    key = Fernet.generate_key()
    assert await relay.run(sys.executable, "-c", program=ENCRYPTED, PRIVATE_KEY=key.decode()) == "200"
    push = await relay.push()
    assert b"hello world" not in push.body
    assert push.json["isEncrypted"] is True
    assert push.json["aps"]["mutable-content"] == 1
    assert push.json["aps"]["alert"]["title"]
    assert push.json["aps"]["alert"]["body"]
    assert Fernet(key).decrypt(push.json["message"]) == b"hello world"


@pytest.mark.parametrize(
    ("priority", "level", "apns_priority"),
    [
        ("-2", "passive", "5"),
        ("-1", "passive", "5"),
        ("0", "active", "10"),
        ("1", "time-sensitive", "10"),
        ("2", "time-sensitive", "10"),
    ],
)
async def test_what_nzbgets_script_sends_in_the_clear_keeps_its_links(
    relay: Relay, priority: str, level: str, apns_priority: str
) -> None:
    values = {
        "IS_ENCRYPTED": "False",
        "ENCRYPTION_TYPE": "None",
        "MESSAGE": "Linux.iso",
        "PRIORITY": priority,
    }
    assert await relay.run(sys.executable, "-c", program=NZBGET, **values) == "200"
    push = await relay.push()
    aps = push.json["aps"]
    assert aps["alert"] == {"title": "Download finished", "body": "Linux.iso"}
    assert (aps["interruption-level"], push.headers["apns-priority"]) == (level, apns_priority)
    assert aps.get("sound") == (None if level == "passive" else "default")
    assert aps["thread-id"] == "nzbget"
    assert (push.json["url"], push.json["nzbID"]) == ("nzbclient://history?nzbid=42", "42")
    assert "isEncrypted" not in push.json
    assert "mutable-content" not in aps


async def test_the_other_encryption_of_nzbgets_script_is_passed_on_as_it_is(relay: Relay) -> None:
    # As `openssl enc -aes-256-cbc -salt -pbkdf2 -base64` writes it, with its line breaks.
    ciphertext = base64.encodebytes(b"Salted__" + secrets.token_bytes(8 + 96)).decode()
    values = {
        "IS_ENCRYPTED": "True",
        "ENCRYPTION_TYPE": "aes256CBC",
        "MESSAGE": ciphertext.replace("\n", "\\n"),
        "PRIORITY": "0",
    }
    assert await relay.run(sys.executable, "-c", program=NZBGET, **values) == "200"
    push = await relay.push()
    assert push.json["message"] == ciphertext
    assert push.json["encryptionType"] == "aes256CBC"
    assert push.json["aps"]["alert"]["title"] == "Download finished"


async def test_a_ciphertext_that_does_not_fit_is_fetched_by_the_app(relay: Relay) -> None:
    plain = secrets.token_bytes(2_850)
    ciphertext = Fernet(Fernet.generate_key()).encrypt(plain).decode()
    fields = {"token": APP_TOKEN, "user": USER_KEY, "message": ciphertext, "isEncrypted": "True"}
    async with relay.server.http.post(f"{relay.server.url}/1/messages.json", data=fields) as response:
        assert response.status == 200, await response.text()
    push = await relay.push()
    assert push.json["fetch"] is True
    assert "message" not in push.json
    (stored,) = await relay.server.poll(USER_KEY)
    assert stored["id"] == push.json["id"]
    assert stored["message"] == ciphertext
