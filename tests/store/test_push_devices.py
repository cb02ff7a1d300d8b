"""What `PeopleStore` promises about push devices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ntfyish.core.ports import Add, Change, DeadDevice, People, Put, Remove
from ntfyish.model.errors import Conflict, NotFound
from ntfyish.model.people import Account, UserKey
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people import PeopleDatabase

PHIL = Account(name="phil", user_key=UserKey("uPhilPhilPhilPhilPhilPhilPhil0"))
VERA = Account(name="vera", user_key=UserKey("uVeraVeraVeraVeraVeraVeraVera0"))
PHONE = PushDevice(
    id="1" * 40,
    kind=PushKind.APNS,
    account="phil",
    name="phone",
    topics=("alerts", "news"),
    token="aa" * 32,
    bundle_id="app.example",
    sandbox=True,
    address="ip:192.0.2.1",
    registered_at=1_000,
    warned_at=2_000,
)
BROWSER = PushDevice(
    id="2" * 40,
    kind=PushKind.WEB_PUSH,
    topics=("news",),
    token="https://push.example.com/x",
    auth="YXV0aA",
    p256dh="cDI1NmRo",
    address="ip:192.0.2.1",
    registered_at=1_000,
)
PAD = replace(PHONE, id="3" * 40, name="pad", token="bb" * 32)


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[PeopleDatabase]:
    async with PeopleDatabase.open(tmp_path) as database:
        await database.apply(Add(PHIL), Add(VERA))
        yield database


async def devices(people: PeopleDatabase) -> Sequence[PushDevice]:
    return (await people.load()).push_devices


async def test_devices_are_kept_as_they_are(people: PeopleDatabase, tmp_path: Path) -> None:
    dead = replace(PAD, dead_at=5, dead_reason="Unregistered")
    await people.apply(Add(PHONE), Add(BROWSER), Add(dead))
    assert await devices(people) == (PHONE, BROWSER, dead)
    async with PeopleDatabase.open(tmp_path) as other:
        assert await devices(other) == (PHONE, BROWSER, dead)


async def test_devices_are_changed_and_removed_by_their_id(people: PeopleDatabase) -> None:
    await people.apply(Add(PHONE), Put(BROWSER))
    changed = replace(PHONE, account="", name="", token="cc" * 32)
    await people.apply(Change(changed), Remove(PushDevice, BROWSER.id))
    assert await devices(people) == (changed,)
    with pytest.raises(NotFound):
        await people.apply(Remove(PushDevice, BROWSER.id))


@pytest.mark.parametrize(
    "twin",
    [
        replace(PHONE, id="9" * 40, name="other"),
        replace(PHONE, id="9" * 40, name="other", account="vera"),
        replace(PHONE, id="9" * 40, name="", account="", sandbox=False),
        replace(PHONE, id="9" * 40, token="cc" * 32),
        replace(PHONE, name="other", token="cc" * 32),
    ],
)
async def test_a_token_or_a_name_is_had_once(people: PeopleDatabase, twin: PushDevice) -> None:
    await people.apply(Add(PHONE))
    with pytest.raises(Conflict):
        await people.apply(Add(twin))
    assert await devices(people) == (PHONE,)


async def test_what_differs_enough_is_another_device(people: PeopleDatabase) -> None:
    await people.apply(
        Add(PHONE),
        Add(replace(PHONE, id="4" * 40, name="", bundle_id="app.beta")),
        Add(replace(PHONE, id="5" * 40, name="", token="cc" * 32)),
        Add(replace(PHONE, id="6" * 40, account="vera", token="dd" * 32)),
    )
    assert len(await devices(people)) == 4


async def test_devices_go_with_their_account(people: PeopleDatabase) -> None:
    await people.apply(Add(PHONE), Add(BROWSER))
    await people.apply(Remove(Account, "phil"))
    assert await devices(people) == (BROWSER,)


async def test_a_device_needs_an_account_that_exists(people: PeopleDatabase) -> None:
    with pytest.raises(NotFound):
        await people.apply(Add(replace(PHONE, account="nobody")))


# Registered again


async def test_a_touch_is_seen_but_is_no_change(people: PeopleDatabase, tmp_path: Path) -> None:
    await people.apply(Add(PHONE), Add(PAD))
    async with PeopleDatabase.open(tmp_path) as other:
        await other.load()
        await people.load()
        assert await people.touch_devices([PHONE.id, "0" * 40], 3_000) == 1
        assert not await people.changed()
        assert not await other.changed()
        assert await devices(people) == (replace(PHONE, registered_at=3_000, warned_at=0), PAD)
        await other.apply(Add(BROWSER))
        assert (await devices(other))[0].registered_at == 3_000


async def test_what_is_loaded_stays_the_same_object_until_the_next_touch(people: PeopleDatabase) -> None:
    await people.apply(Add(PHONE))
    await people.touch_devices([PHONE.id], 3_000)
    loaded = await people.load()
    assert await people.load() is loaded
    await people.touch_devices([PHONE.id], 3_001)
    assert await people.load() is not loaded


async def test_a_touch_never_moves_the_time_back(people: PeopleDatabase, tmp_path: Path) -> None:
    await people.apply(Add(PHONE))
    await people.load()
    await people.touch_devices([PHONE.id], 500)
    assert (await devices(people))[0].registered_at == 1_000
    async with PeopleDatabase.open(tmp_path) as other:
        assert (await devices(other))[0].registered_at == 1_000


async def test_a_touch_of_nothing_is_nothing(people: PeopleDatabase) -> None:
    loaded = await people.load()
    assert await people.touch_devices([], 3_000) == 0
    assert await people.load() is loaded


# Disowned


def dead(device: PushDevice = PHONE, **changes: object) -> DeadDevice:
    fields: dict[str, object] = {
        "device_id": device.id, "token": device.token, "gone_at": 0.0, "at": 4_000.5, "reason": "Unregistered"
    }  # fmt: skip
    return DeadDevice(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grave", "count"),
    [
        (dead(), 1),
        (dead(gone_at=1_000.0), 1),
        (dead(gone_at=1_000.5), 1),
        (dead(gone_at=999.999), 0),
        (dead(token="cc" * 32), 0),
        (dead(token=""), 0),
        (dead(token=PHONE.token.upper()), 0),
        (dead(device_id="0" * 40), 0),
    ],
)
async def test_a_disowned_device_goes_unless_it_has_registered_since(
    people: PeopleDatabase, grave: DeadDevice, count: int
) -> None:
    await people.apply(Add(PHONE), Add(PAD))
    await people.load()
    assert await people.bury_devices([grave]) == count
    assert await people.changed() is bool(count)
    assert await devices(people) == ((PAD,) if count else (PHONE, PAD))


async def test_a_touched_device_is_not_buried_for_what_was_before(people: PeopleDatabase) -> None:
    await people.apply(Add(PHONE))
    await people.touch_devices([PHONE.id], 3_000)
    assert await people.bury_devices([dead(gone_at=2_999.0)]) == 0
    assert await people.bury_devices([dead(gone_at=3_000.0)]) == 1


async def test_many_are_buried_at_once_and_nothing_is_no_change(people: PeopleDatabase) -> None:
    many = [replace(PHONE, id=f"{n:040x}", name="", token=f"{n:064x}") for n in range(600)]
    await people.apply(*map(Add, many))
    assert await people.bury_devices([dead(one) for one in many]) == 600
    await people.load()
    assert await people.bury_devices([]) == 0
    assert await people.bury_devices([dead()]) == 0
    assert not await people.changed()


async def test_a_declared_device_is_marked_once(people: PeopleDatabase) -> None:
    declared = replace(PHONE, declared=True)
    await people.apply(Add(declared))
    assert await people.bury_devices([dead(gone_at=500.0)]) == 0
    assert await people.bury_devices([dead(), dead(reason="again")]) == 1
    assert await people.changed()
    assert await devices(people) == (replace(declared, dead_at=4_000, dead_reason="Unregistered"),)


# Declared

WISH = PushDevice(
    id="d" * 40,
    kind=PushKind.APNS,
    account="phil",
    name="phone",
    token=PHONE.token,
    bundle_id=PHONE.bundle_id,
    registered_at=7_000,
)
TABLET = replace(WISH, id="e" * 40, name="tablet", token="bb" * 32)
SIGN = replace(WISH, id="f" * 40, account="", name="", topics=("alerts",), token="cc" * 32)


async def declare(people: PeopleDatabase, *wanted: PushDevice) -> Sequence[PushDevice]:
    """Reconcile as a start at a later time does, with other random ids."""
    accounts = (replace(PHIL, declared=True),)
    await people.reconcile(People(accounts=accounts, push_devices=wanted))
    return await devices(people)


def again(device: PushDevice, **changes: object) -> PushDevice:
    """The same declaration at the next start."""
    return replace(device, id=device.id[::-1][:39] + "z", registered_at=9_000, **changes)  # type: ignore[arg-type]


async def test_declared_devices_come_stay_and_go(people: PeopleDatabase) -> None:
    marked = tuple(replace(one, declared=True) for one in (WISH, TABLET, SIGN))
    assert await declare(people, WISH, TABLET, SIGN) == marked
    assert await declare(people, again(WISH), again(TABLET), again(SIGN)) == marked
    assert not await people.changed()
    assert await declare(people, again(SIGN)) == (marked[2],)
    assert await declare(people) == ()


async def test_a_declared_device_keeps_what_happened_to_it(people: PeopleDatabase) -> None:
    await declare(people, WISH)
    await people.touch_devices([WISH.id], 8_000)
    await people.bury_devices([dead(WISH)])
    (device,) = await declare(people, again(WISH, topics=("news",)))
    assert (device.id, device.registered_at, device.topics) == (WISH.id, 8_000, ("news",))
    assert (device.dead_at, device.dead_reason) == (4_000, "Unregistered")


@pytest.mark.parametrize(
    "changes", [{"token": "ee" * 32}, {"bundle_id": "app.beta"}, {"sandbox": True}], ids=str
)
async def test_a_declared_device_with_another_token_is_alive_again(
    people: PeopleDatabase, changes: dict[str, object]
) -> None:
    await declare(people, WISH)
    await people.bury_devices([dead(WISH)])
    (device,) = await declare(people, again(WISH, **changes))
    assert device == replace(
        again(WISH, **changes), id=WISH.id, registered_at=9_000, declared=True, dead_at=0, dead_reason=""
    )


async def test_a_sign_of_another_token_is_another_device(people: PeopleDatabase) -> None:
    await declare(people, SIGN)
    wanted = again(SIGN, token="ee" * 32)
    assert await declare(people, wanted) == (replace(wanted, declared=True),)


async def test_declared_devices_may_exchange_their_names(people: PeopleDatabase) -> None:
    await declare(people, WISH, TABLET)
    await declare(people, again(WISH, name="tablet"), again(TABLET, name="phone"))
    assert [(one.id, one.name, one.token, one.registered_at) for one in await devices(people)] == [
        (WISH.id, "tablet", WISH.token, 7_000),
        (TABLET.id, "phone", TABLET.token, 7_000),
    ]


async def test_declared_devices_may_pass_their_tokens_on(people: PeopleDatabase) -> None:
    await declare(people, WISH, TABLET)
    new = "ee" * 32
    await declare(people, again(WISH, token=new), again(TABLET, token=WISH.token))
    found = {one.name: (one.id, one.token, one.registered_at) for one in await devices(people)}
    # The one that has the phone's token now is that installation; the other one is new.
    assert found["tablet"] == (WISH.id, WISH.token, 7_000)
    assert found["phone"][1:] == (new, 9_000)
    assert len({id for id, _, _ in found.values()}) == 2


async def test_a_declared_device_takes_over_the_one_that_has_its_token(people: PeopleDatabase) -> None:
    await people.apply(Add(replace(PHONE, name="other", sandbox=False)))
    (device,) = await declare(people, WISH)
    assert (device.id, device.name, device.declared, device.registered_at) == (PHONE.id, "phone", True, 1_000)


@pytest.mark.parametrize("account", ["vera", ""])
async def test_a_token_that_somebody_else_has_becomes_a_device_of_a_new_id(
    people: PeopleDatabase, account: str
) -> None:
    await people.apply(Add(replace(PHONE, account=account, name="x" if account else "")))
    await people.reconcile(
        People(accounts=(replace(PHIL, declared=True), replace(VERA, declared=True)), push_devices=(WISH,))
    )
    assert await devices(people) == (replace(WISH, declared=True),)


async def test_a_declared_device_takes_over_the_one_that_has_its_name(people: PeopleDatabase) -> None:
    await people.apply(Add(replace(PHONE, token="ee" * 32)))
    (device,) = await declare(people, WISH)
    assert (device.id, device.token, device.registered_at) == (PHONE.id, WISH.token, 7_000)


async def test_a_declared_device_takes_over_one_by_its_token_and_another_by_its_name(
    people: PeopleDatabase,
) -> None:
    await people.apply(Add(replace(PHONE, name="other")), Add(replace(PAD, name="phone")))
    (device,) = await declare(people, WISH)
    assert (device.id, device.name, device.token) == (PHONE.id, "phone", WISH.token)


async def test_other_devices_are_left_alone(people: PeopleDatabase) -> None:
    await people.apply(Add(BROWSER), Add(PAD), Add(replace(PAD, id="7" * 40, name="", token="77" * 32)))
    await declare(people, WISH, SIGN)
    assert len(await declare(people)) == 3


async def test_declared_devices_go_with_their_declared_account(people: PeopleDatabase) -> None:
    await declare(people, WISH, SIGN)
    await people.reconcile(People(push_devices=(again(SIGN),)))
    assert [one.id for one in await devices(people)] == [SIGN.id]


@pytest.mark.parametrize("twin", [{"token": "ee" * 32}, {"name": "other"}, {"name": "", "account": ""}])
async def test_what_is_declared_twice_is_refused(people: PeopleDatabase, twin: dict[str, str]) -> None:
    await declare(people, TABLET)
    with pytest.raises(Conflict):
        await declare(people, WISH, again(WISH, **twin))
    assert [one.name for one in await devices(people)] == ["tablet"]


async def test_a_declared_device_needs_an_account_that_exists(people: PeopleDatabase) -> None:
    with pytest.raises(NotFound):
        await declare(people, replace(WISH, account="nobody"))
