"""A receiver as Pushover's Open Client documents describe it: log in, register, download, confirm, listen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.conftest import Server
from tests.wire import PATIENCE_S


@dataclass
class Receiver:
    """One installation of a client."""

    server: Server
    secret: str = ""
    user_key: str = ""
    device_id: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    socket: aiohttp.ClientWebSocketResponse | None = None

    async def post(self, path: str, **fields: object) -> tuple[int, dict[str, Any]]:
        """Post a form and return status and body."""
        data = {name: str(value) for name, value in fields.items()}
        async with self.server.http.post(f"{self.server.url}/1/{path}", data=data) as response:
            return response.status, await response.json()

    async def log_in(self, email: str = "phil", password: str = "secret", **more: str) -> None:
        status, answer = await self.post("users/login.json", email=email, password=password, **more)
        assert (status, answer["status"]) == (200, 1), answer
        self.secret, self.user_key = answer["secret"], answer["id"]

    async def register(self, name: str, **more: str) -> None:
        status, answer = await self.post("devices.json", secret=self.secret, name=name, os="O", **more)
        assert (status, answer["status"]) == (200, 1), answer
        self.device_id = answer["id"]

    async def download(self) -> dict[str, Any]:
        """Fetch the messages; they become `messages`, and everything is returned."""
        query = {"secret": self.secret, "device_id": self.device_id}
        async with self.server.http.get(f"{self.server.url}/1/messages.json", params=query) as response:
            answer = await response.json()
            assert response.status == 200, answer
            self.messages = answer["messages"]
            return dict(answer)

    async def confirm(self) -> None:
        """Tell that all that was downloaded has been shown."""
        highest = max(message["id"] for message in self.messages)
        path = f"devices/{self.device_id}/update_highest_message.json"
        status, answer = await self.post(path, secret=self.secret, message=highest)
        assert (status, answer["status"]) == (200, 1), answer

    async def listen(self, *, binary: bool = False) -> None:
        """Open the WebSocket and log in there."""
        self.socket = await self.server.http.ws_connect(f"{self.server.url}/push")
        line = f"login:{self.device_id}:{self.secret}\n"
        await (self.socket.send_bytes(line.encode()) if binary else self.socket.send_str(line))

    async def frame(self) -> bytes | None:
        """Wait for a frame, which must be one binary byte; None when the server has closed."""
        assert self.socket is not None
        async with asyncio.timeout(PATIENCE_S):
            message = await self.socket.receive()
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
            return None
        assert message.type is aiohttp.WSMsgType.BINARY
        assert len(message.data) == 1
        return bytes(message.data)

    async def signal(self) -> bytes | None:
        """Wait for a frame that is no keep-alive."""
        while (frame := await self.frame()) == b"#":
            pass
        return frame


async def new_receiver(server: Server, name: str = "desk") -> Receiver:
    """Return a receiver of phil's that has registered."""
    receiver = Receiver(server)
    await receiver.log_in()
    await receiver.register(name)
    return receiver
