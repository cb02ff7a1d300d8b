"""What the server knows by heart, and when it looks again."""

from __future__ import annotations

from pathlib import Path

from ntfyish.core.directory import Directory
from ntfyish.core.ports import Add, Remove
from ntfyish.model.people import Account, UserKey
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people import PeopleDatabase
from tests.clock import FakeClock

DEVICE = PushDevice(
    id="d" * 40,
    kind=PushKind.APNS,
    account="vera",
    name="phone",
    topics=("alerts",),
    token="ab" * 32,
    bundle_id="app.example",
    registered_at=1,
)


async def test_a_device_that_registers_again_makes_nobody_decide_anew_who_may_do_what(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        await people.apply(Add(Account(name="vera", user_key=UserKey(""))), Add(DEVICE))
        directory = Directory(people, FakeClock())
        reloads: list[int] = []
        directory.on_change(lambda: reloads.append(directory.revision))
        await directory.load()
        (account,) = directory.people.accounts
        assert await people.touch_devices([DEVICE.id], 5) == 1
        await directory.refresh()
        touched = directory.find_push_device(DEVICE.id)
        assert touched is not None
        assert touched.registered_at == 5
        assert directory.people.push_devices == (touched,)
        for topic in ("alerts", account.user_key):
            assert list(directory.push_devices(topic)) == [touched]
        assert directory.find_push_token(PushKind.APNS, DEVICE.token, DEVICE.bundle_id) == touched
        assert reloads == [1]
        await people.apply(Remove(PushDevice, DEVICE.id))
        await directory.refresh()
        assert directory.find_push_device(DEVICE.id) is None
        assert not directory.has_push_devices("alerts")
        assert reloads == [1, 2]
