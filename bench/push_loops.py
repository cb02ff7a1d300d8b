"""What a push costs without a server: ntfyish's sender alone, or plain aioapns. Prints figures as JSON.

    python -m bench.push_loops sender|aioapns DEVICES APP

APP is an entry of the setting `apns`, as JSON. A thousand pushes are under way at any time, as from the
server, over at most four connections; all have the same payload, as one message to many devices has.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol

from ntfyish.core.clock import SystemClock
from ntfyish.model.message import Content, Message, new_id
from ntfyish.model.push import Push, PushDevice, PushKind, Verdict, push_id
from ntfyish.push.apns.payload import build
from ntfyish.push.apns.sender import ApnsApp, ApnsSender

_CONNECTIONS = 4
_UNDER_WAY = 1_000
_WARM = 1_000

Send = Callable[[str], Awaitable[bool]]
"""Pushes to the device with that token, and says whether that went well."""


async def main(name: str, devices: int, entry: dict[str, str]) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        send = await {"sender": _sender, "aioapns": _aioapns}[name](entry, stack)
        await _send_all(send, _tokens(devices, _WARM))
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        begun, used = time.monotonic(), time.process_time()
        await _send_all(send, _tokens(0, devices))
        spent, used = time.monotonic() - begun, time.process_time() - used
    print(json.dumps({"rate": devices / spent, "cpu": used / devices * 1e6}))


def _tokens(first: int, count: int) -> Iterator[str]:
    return (f"{number:064x}" for number in range(first, first + count))


async def _send_all(send: Send, tokens: Iterator[str]) -> None:
    async def work() -> None:
        for token in tokens:
            if not await send(token):
                raise RuntimeError("a push was refused")

    async with asyncio.TaskGroup() as group:
        for _ in range(_UNDER_WAY):
            group.create_task(work())


def _message() -> Message:
    content = Content(message="The disk is full".ljust(100, "."))
    return Message(id=new_id(), time=int(time.time()), topic="many", content=content)


async def _sender(entry: dict[str, str], stack: AsyncExitStack) -> Send:
    host, _, port = entry["endpoint"].partition(":")
    app = ApnsApp(
        bundle_id=entry["bundle-id"],
        key_file=Path(entry["key-file"]),
        key_id=entry["key-id"],
        team_id=entry["team-id"],
        host=host,
        port=int(port),
        ca_file=Path(entry["ca-file"]),
    )
    sender = await stack.enter_async_context(ApnsSender(app, SystemClock(), connections=_CONNECTIONS))
    message = _message()
    expires_at = message.time + 86_400

    async def send(token: str) -> bool:
        device = PushDevice(id=token[-40:], kind=PushKind.APNS, token=token, bundle_id=app.bundle_id)
        push = Push(
            message=message,
            device=device,
            id=push_id(message.id, device.id),
            collapse_id=message.id,
            expires_at=expires_at,
        )
        return (await sender.send(push)).verdict is Verdict.DELIVERED

    return send


async def _aioapns(entry: dict[str, str], stack: AsyncExitStack) -> Send:
    host, _, port = entry["endpoint"].partition(":")
    context = ssl.create_default_context(cafile=entry["ca-file"])
    context.set_alpn_protocols(["h2"])
    key = await asyncio.to_thread(Path(entry["key-file"]).read_text)
    client = APNs(
        key=key,
        key_id=entry["key-id"],
        team_id=entry["team-id"],
        topic=entry["bundle-id"],
        max_connections=_CONNECTIONS,
        ssl_context=context,
    )

    class Fake(APNsProductionClientProtocol):
        APNS_SERVER = host
        APNS_PORT = int(port)

    client.pool.protocol_class = Fake
    stack.callback(client.pool.close)
    message = _message()
    payload = build(message, small=False, keys={}).data

    async def send(token: str) -> bool:
        request = NotificationRequest(
            device_token=token,
            message=payload,
            notification_id=push_id(message.id, token[-40:]),
            time_to_live=86_400,
            priority=10,
            collapse_key=message.id,
            push_type=PushType.ALERT,
        )
        return bool((await client.send_notification(request)).is_successful)

    return send


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
