"""What is written to the table of push devices besides whole records: uses, deaths, and what is declared.

`people` and `people_declared` call it in the connection's thread, within a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from ntfyish.core.ports import DeadDevice
from ntfyish.model.errors import Conflict
from ntfyish.model.push import PushDevice, PushKind
from ntfyish.store.sqlite.people_tables import PUSH_DEVICES

_TokenKey = tuple[PushKind, str, str]

_DISOWNED = "id = ? AND token = ? AND (registered_at <= ? OR ? = 0)"


def touch_devices(connection: sqlite3.Connection, ids: Sequence[str], registered_at: int) -> int:
    """Note that devices were registered again, and return how many of them there are.

    One that was told that it is about to expire no longer is.
    """
    statement = "UPDATE push_devices SET registered_at = max(registered_at, ?), warned_at = 0 WHERE id = ?"
    return connection.executemany(statement, ((registered_at, id) for id in ids)).rowcount


def bury_devices(connection: sqlite3.Connection, dead: Sequence[DeadDevice]) -> int:
    """Delete devices that their service has disowned, and mark declared ones; return how many."""
    buried = 0
    for one in dead:
        condition = (one.device_id, one.token, one.gone_at, one.gone_at)
        statement = f"DELETE FROM push_devices WHERE NOT declared AND {_DISOWNED}"
        buried += connection.execute(statement, condition).rowcount
        statement = (
            "UPDATE push_devices SET dead_at = max(1, ?), dead_reason = ?"
            f" WHERE declared AND dead_at = 0 AND {_DISOWNED}"
        )
        buried += connection.execute(statement, (int(one.at), one.reason, *condition)).rowcount
    return buried


def reconcile_push_devices(connection: sqlite3.Connection, declared: Sequence[PushDevice]) -> None:
    """Make the declared devices in the database equal to `declared`; their accounts are there already.

    A declared device is the one of its account that has its token, else the one that has its name, and keeps
    that one's id. It keeps `registered_at`, and whether it is dead, as long as its token, app and environment
    are the same. Whatever else has its token or name goes.

    Raises:
        Conflict: two of the declared devices have the same token, or the same name.
    """
    if _have_twins(declared):
        raise Conflict(detail="two of the declared push devices are the same")
    stored = PUSH_DEVICES.load(connection)
    known = _known_devices(stored, declared)
    final = [_final(device, known.get(_token_key(device))) for device in declared]
    kept = {device.id: device for device in final}
    tokens = {_token_key(device) for device in final}
    names = {(device.account, device.name) for device in final if device.name}
    # Devices may exchange their names or tokens, so all that changes is taken away first.
    written = {device.id for device in stored if kept.get(device.id) == device}
    for device in stored:
        is_taken = _token_key(device) in tokens or (device.account, device.name) in names
        if device.id not in written and (device.declared or device.id in kept or is_taken):
            PUSH_DEVICES.delete(connection, (device.id,))
    for device in final:
        if device.id not in written:
            PUSH_DEVICES.insert(connection, device)


def _known_devices(
    stored: Sequence[PushDevice], declared: Sequence[PushDevice]
) -> dict[_TokenKey, PushDevice]:
    """Return which stored device each of the declared ones is, by the declared one's token."""
    by_token = {(device.account, _token_key(device)): device for device in stored}
    by_name = {(device.account, device.name): device for device in stored if device.name}
    known = {
        _token_key(device): found
        for device in declared
        if (found := by_token.get((device.account, _token_key(device)))) is not None
    }
    claimed = {device.id for device in known.values()}
    for device in declared:
        found = by_name.get((device.account, device.name))
        if found is not None and found.id not in claimed:
            known.setdefault(_token_key(device), found)
    return known


def _final(device: PushDevice, known: PushDevice | None) -> PushDevice:
    """Return the device as it is to be stored, given the stored one that it is."""
    final = replace(device, declared=True)
    if known is None:
        return final
    final = replace(final, id=known.id)
    if _token_key(device) != _token_key(known) or device.sandbox != known.sandbox:
        return final
    return replace(
        final,
        registered_at=known.registered_at,
        warned_at=known.warned_at,
        dead_at=known.dead_at,
        dead_reason=known.dead_reason,
    )


def _have_twins(devices: Sequence[PushDevice]) -> bool:
    names = [(device.account, device.name) for device in devices if device.name]
    return len(set(names)) != len(names) or len({*map(_token_key, devices)}) != len(devices)


def _token_key(device: PushDevice) -> _TokenKey:
    return device.kind, device.token, device.bundle_id
