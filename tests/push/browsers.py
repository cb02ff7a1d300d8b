"""A browser with real keys, and its push service: a local https server that answers as told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_ece  # type: ignore[import-untyped]
import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ntfyish.model.push import PushDevice, PushKind
from ntfyish.model.web_push_keys import new_vapid_keys

HOST = "push.test"
PUBLIC, PRIVATE = new_vapid_keys()
EMAIL = "admin@push.example"


def answer(status: int, *fields: str, body: bytes = b"") -> bytes:
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *fields]
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body


CREATED = answer(201)


@dataclass
class Received:
    """A request."""

    line: str
    fields: dict[str, str]
    body: bytes

    def claims(self, audience: str) -> dict[str, Any]:
        """Return what the sender says of itself, if its signature is right."""
        scheme, _, parameters = self.fields["authorization"].partition(" ")
        assert scheme == "vapid"
        given = dict(one.strip().split("=", 1) for one in parameters.split(","))
        assert given["k"] == PUBLIC
        point = base64.urlsafe_b64decode(PUBLIC + "=" * (-len(PUBLIC) % 4))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        checks = {"verify_exp": False}  # the server's clock is the test's
        claims = jwt.decode(given["t"], key, algorithms=["ES256"], audience=audience, options=checks)
        return dict(claims)


@dataclass
class PushService:
    """Gives each request the next of its answers; the last one stays. None hangs, b"" hangs up.

    Attributes:
        answering: cleared, answers wait until it is set again.
    """

    answers: list[bytes | None]
    ca_file: Path
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    def endpoint(self, name: str = "b1") -> str:
        return f"https://{self.host}/send/{name}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.split("\r\n")[:-2]
                pairs = (one.partition(":") for one in fields)
                known = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(known["content-length"]))
                self.requests.append(Received(line, known, body))
                reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await self.answering.wait()
                if reply is None:
                    await reader.read()
                if not reply:
                    return
                writer.write(reply)
                while reply.endswith(b"ENDLESS"):
                    writer.write(b"x" * 65_536)
                    await writer.drain()
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def push_service(folder: Path, *answers: bytes | None) -> AsyncIterator[PushService]:
    authority = trustme.CA()
    ca_file = folder / "push-service-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "*.googleapis.com").configure_cert(context)
    service = PushService(list(answers) or [CREATED], ca_file)
    service.answering.set()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=context)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()


class Browser:
    """Has subscribed to a push service, and reads what comes from there."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)

    @property
    def p256dh(self) -> str:
        return encode(self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    @property
    def auth(self) -> str:
        return encode(self.secret)

    def subscription(self, *topics: str) -> dict[str, Any]:
        """Return what its page sends to the server."""
        keys = {"auth": self.auth, "p256dh": self.p256dh}
        return {"endpoint": self.endpoint, **keys, "topics": list(topics)}

    def device(self) -> PushDevice:
        return PushDevice(
            id="b" * 40,
            kind=PushKind.WEB_PUSH,
            topics=("alerts",),
            token=self.endpoint,
            p256dh=self.p256dh,
            auth=self.auth,
            registered_at=1,
        )

    def read(self, received: Received) -> dict[str, Any]:
        """Return what a push says."""
        assert received.fields["content-encoding"] == "aes128gcm"
        assert len(received.body) <= 4096
        plain = http_ece.decrypt(
            received.body, private_key=self.key, auth_secret=self.secret, version="aes128gcm"
        )
        return dict(json.loads(plain))


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
