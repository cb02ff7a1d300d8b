"""What tests of pushes through APNs share: a sender that is aimed at a fake, and pushes to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ntfyish.model.message import Content, Message, MessageId
from ntfyish.model.push import Push, PushDevice, PushKind, PushOutcome, push_id
from ntfyish.push.apns.pool import Times
from ntfyish.push.apns.sender import ApnsApp, ApnsSender
from tests.clock import FakeClock
from tests.push.apple_checks import BUNDLE_ID, KEY_ID, TEAM_ID
from tests.push.fake_apns import FakeApns

EXPIRES_AT = 1_800_000_000


def app_for(apns: FakeApns, directory: Path, **changes: Any) -> ApnsApp:
    """Return an app whose server is the fake."""
    apns.write_files(directory)
    identity: dict[str, Any] = {
        "key_file": directory / "AuthKey.p8",
        "key_id": KEY_ID,
        "team_id": TEAM_ID,
    }
    if apns.client_certificates:
        identity = {"certificate_file": directory / "client.pem"}
    values = {
        "bundle_id": BUNDLE_ID,
        "host": "localhost",
        "port": apns.port,
        "ca_file": directory / "ca.pem",
        **identity,
    }
    return ApnsApp(**(values | changes))


@asynccontextmanager
async def sending_to(
    apns: FakeApns,
    directory: Path,
    clock: FakeClock,
    *,
    connections: int = 4,
    streams: int = 250,
    times: Times = Times(),  # noqa: B008 - immutable
    **changes: Any,
) -> AsyncIterator[ApnsSender]:
    """Yield a sender that is aimed at the fake."""
    app = app_for(apns, directory, **changes)
    async with ApnsSender(app, clock, connections=connections, streams=streams, times=times) as sender:
        yield sender


def device_token(number: int) -> str:
    return f"{number:064x}"


def push_to(number: int = 1, text: str = "hi", *, id: str = "abcdefABCDEF", **content: Any) -> Push:
    """Return a push to the device of that number."""
    message = Message(
        id=MessageId(id),
        time=1_700_000_000,
        topic="alerts",
        content=Content(message=text, title="Secret title", **content),
    )
    device = PushDevice(
        id=f"{number:040d}", kind=PushKind.APNS, token=device_token(number), bundle_id=BUNDLE_ID
    )
    return Push(
        message=message, device=device, id=push_id(id, device.id), collapse_id=id, expires_at=EXPIRES_AT
    )


async def send_all(sender: ApnsSender, pushes: Sequence[Push]) -> list[PushOutcome]:
    """Send them side by side."""
    return await asyncio.gather(*[sender.send(push) for push in pushes])
