"""What registering a device that is pushed to changes: which record it is, what gives way, what is refused.

`PushDevices` (the HTTP API) and the command line register through `register_push_device`. A token is one
installation of an app: whoever registers it has the app in hand, so the last one to do so has the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ntfyish.core.devices import MOST_DEVICES
from ntfyish.core.ports import Add, Change, People, PeopleChange, PeopleStore, Remove
from ntfyish.model.errors import Conflict, Invalid, LimitReached, Reason
from ntfyish.model.people import Device
from ntfyish.model.push import PushDevice
from ntfyish.model.topic import DISALLOWED, is_topic

MOST_TOPICS = 50  # of a device
MOST_OF_ADDRESS = 50  # devices without an account
MOST_OF_NOBODY = 20_000  # addresses are cheap

# A place becomes free when somebody removes a device, and nobody knows when.
_FULL_RETRY_S = 3600

NAME_TAKEN = "another device of the account has this name"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a registration amounts to.

    Attributes:
        device: as it will be.
        changes: () if the device is known, and the same: it is enough to note that it is still there.
    """

    device: PushDevice
    changes: tuple[PeopleChange, ...] = field(default=())


def check_topics(topics: Sequence[str], disallowed: frozenset[str] = DISALLOWED) -> None:
    """See whether a device can have these topics, whoever may read them.

    Raises:
        Invalid: TOPIC_INVALID, TOPIC_DISALLOWED; the detail says which.
        LimitReached: TOPIC_LIMIT.
    """
    if len(topics) > MOST_TOPICS:
        raise LimitReached(Reason.TOPIC_LIMIT, f"a device has at most {MOST_TOPICS} topics")
    for topic in topics:
        if not is_topic(topic):
            raise Invalid(Reason.TOPIC_INVALID, "a topic is 1 to 64 of A-Z a-z 0-9 _ -")
        if topic in disallowed:
            raise Invalid(Reason.TOPIC_DISALLOWED, f"{topic} is not allowed as a topic")


async def register_push_device(
    store: PeopleStore, people: People, wanted: PushDevice, *, replaces: str = "", force: bool = False
) -> PushDevice | None:
    """Register a device, new or again, and return it as it is stored.

    None if it was known and the same, but has just been removed: `people` are not the newest.

    Args:
        people: everybody, as known last.
        wanted: with an id for the case that it is new.
        replaces: the id of the device that has got another token; "" or what is not the account's for none.
        force: take the name over from another device of the account, which is a device no more.

    Raises:
        Conflict: CONFLICT, another device has the name; DECLARED, the configuration says something else.
        LimitReached: there are too many.
        NotFound: ACCOUNT_UNKNOWN.
    """
    plan = plan_registration(people, wanted, replaces=replaces, force=force)
    if plan.changes:
        await store.apply(*plan.changes)
        return plan.device
    return plan.device if await store.touch_devices([plan.device.id], wanted.registered_at) else None


def plan_registration(people: People, wanted: PushDevice, *, replaces: str = "", force: bool = False) -> Plan:
    """Return what is to be done to register a device; see `register_push_device`."""
    holder = next((one for one in people.push_devices if _has_token(one, wanted)), None)
    former = _find_former(people, wanted, replaces)
    if former is None and holder is not None and holder.account in ("", wanted.account):
        former = holder
    if former is not None and former is holder and is_same(former, wanted):
        device = replace(former, registered_at=wanted.registered_at)
        if not former.dead_at:
            return Plan(device)
        device = replace(device, dead_at=0, dead_reason="")
        return Plan(device, (Change(device),))
    gone = [holder] if holder is not None and holder is not former else []
    namesakes, removals = _find_namesakes(people, wanted, [former, *gone])
    if (namesakes or removals) and not force:
        raise Conflict(detail=NAME_TAKEN)
    gone += namesakes
    if any(one.declared for one in (former, *gone) if one is not None):
        raise Conflict(Reason.DECLARED, "this device")
    if former is None or former.account != wanted.account:
        _check_room(people, wanted, gone)
    device = wanted
    if former is not None:
        is_nobodys = former.account == wanted.account == ""
        device = replace(wanted, id=former.id, address=former.address if is_nobodys else wanted.address)
    removals += [Remove(PushDevice, one.id) for one in gone]
    return Plan(device, (*removals, Add(device) if former is None else Change(device)))


def is_same(known: PushDevice, wanted: PushDevice) -> bool:
    """Whether a registration says nothing new; where it comes from does not matter."""
    return (
        known.account == wanted.account
        and known.name == wanted.name
        and known.sandbox == wanted.sandbox
        and set(known.topics) == set(wanted.topics)
    )


def _has_token(device: PushDevice, wanted: PushDevice) -> bool:
    return (device.token, device.kind, device.bundle_id) == (wanted.token, wanted.kind, wanted.bundle_id)


def _find_former(people: People, wanted: PushDevice, id: str) -> PushDevice | None:
    """Return the device of that id, if it is the same app's, and the same account's or nobody's."""
    for device in people.push_devices:
        if device.id == id and device.account in ("", wanted.account):
            is_same_app = (device.kind, device.bundle_id) == (wanted.kind, wanted.bundle_id)
            return device if is_same_app else None
    return None


def _find_namesakes(
    people: People, wanted: PushDevice, passed: Sequence[PushDevice | None]
) -> tuple[list[PushDevice], list[PeopleChange]]:
    """Return the account's other push devices of that name, and what removes its Open Client of that name."""
    if not wanted.name:
        return [], []
    name = (wanted.account, wanted.name)
    pushed = [one for one in people.push_devices if (one.account, one.name) == name and one not in passed]
    clients = [one for one in people.devices if (one.account, one.name) == name]
    if any(one.name == wanted.account and wanted.name in one.devices for one in people.accounts):
        # The configuration names an Open Client so, which can register at any time.
        raise Conflict(detail=NAME_TAKEN)
    return pushed, [Remove(Device, one.id) for one in clients]


def _check_room(people: People, wanted: PushDevice, gone: Sequence[PushDevice]) -> None:
    others = [
        one
        for one in people.push_devices
        if one.account == wanted.account and one.kind is wanted.kind and not one.declared and one not in gone
    ]
    if wanted.account:
        is_full = len(others) >= MOST_DEVICES
    else:
        of_address = sum(one.address == wanted.address for one in others)
        is_full = len(others) >= MOST_OF_NOBODY or of_address >= MOST_OF_ADDRESS
    if is_full:
        raise LimitReached(Reason.REQUEST_LIMIT, "there are too many devices", retry_after_s=_FULL_RETRY_S)
