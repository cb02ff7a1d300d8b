"""What it costs to let a publisher in: who asks, limits, access. Runs by itself, prints figures as JSON.

It times the calls that the server makes for each publish, one after the other, with the limits at their
defaults (but never reached), ten thousand accounts and fifty thousand access entries. Requests come from
accounts with a token, each for another topic of its own; everything is remembered, as it is on a busy server.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt
import uvloop

from ntfyish.core.access import Access
from ntfyish.core.buckets import Rate
from ntfyish.core.clock import SystemClock
from ntfyish.core.directory import Directory
from ntfyish.core.limits import Limits, LimitValues
from ntfyish.core.logins import Logins
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Add, Change, Count, Post, Record
from ntfyish.model.acl import EVERYONE, AclEntry, Permission, TopicAccess
from ntfyish.model.people import ANONYMOUS, AccessToken, Account, Principal, UserKey
from ntfyish.store.sqlite.people import PeopleDatabase
from ntfyish.web.http import BufferedBody, Request
from ntfyish.web.visitor import Visitors, limit_headers

_ACCOUNTS = 10_000
_ENTRIES = 50_000
_PATTERNS = 5_000  # of the entries, these are everybody's, with a "*" in them
_ASKING = 2_000
_TURNS = 20_000
_LOGINS = 50
_PEER = "192.0.2.7"
_LIFTED = 1_000_000_000


@dataclass
class Admission:
    """What the server has for it."""

    access: Access
    directory: Directory
    visitors: Visitors
    accounts: Sequence[Account]


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        async with PeopleDatabase.open(Path(folder)) as store:
            accounts = _accounts()
            records: list[Record] = [*accounts, *_tokens(accounts), *_entries(accounts)]
            await store.apply(*map(Add, records))
            clock = SystemClock()
            directory = Directory(store, clock)
            await directory.load()
            access = Access(directory, clock, TopicAccess.DENY_ALL)
            limits = Limits(_values(), clock, load=_nothing_counted, write=_write_nothing)
            visitors = Visitors(limits, Logins(access, limits, clock))
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
            sys.setswitchinterval(0.0005)
            try:
                found = await _measure(Admission(access, directory, visitors, accounts), store)
            finally:
                access.close()
    print(json.dumps(found))


async def _measure(admission: Admission, store: PeopleDatabase) -> dict[str, float]:
    asking = [
        (f"Bearer {_secret(number)}", _topic(number), await _principal(admission, number))
        for number in range(_ASKING)
    ]
    publish = await _publish_us(admission, asking)
    nobody = await _publish_us(admission, [("", "public", ANONYMOUS)] * _ASKING)
    pairs = [(principal, topic) for _, topic, principal in asking]
    cached = _decision_us(admission.access, pairs * (_TURNS // _ASKING))
    unknown = [(principal, f"{random.getrandbits(64):x}") for principal, _ in pairs]
    uncached = _decision_us(admission.access, unknown)
    logins_lag, logins_s = await _lag_ms(_log_in(admission))
    change_lag, change_s = await _lag_ms(_change(admission, store))
    return {
        "publish": publish,
        "nobody": nobody,
        "cached": cached,
        "uncached": uncached,
        "logins_lag": logins_lag,
        "logins": logins_s,
        "change_lag": change_lag,
        "change": change_s,
    }


async def _publish_us(admission: Admission, asking: Sequence[tuple[str, str, Principal]]) -> float:
    """Return the microseconds of CPU of all that is asked before and after a publish."""
    visitors, access = admission.visitors, admission.access
    for turns in (len(asking), _TURNS):  # the first time is not counted
        requests = [
            (Request("POST", f"/{topic}", {"authorization": header}, _PEER, BufferedBody()), topic)
            for header, topic, _ in (asking[turn % len(asking)] for turn in range(turns))
        ]
        begun = time.thread_time()
        for request, topic in requests:
            visitor = await visitors.visitor(request, request.headers["authorization"])
            visitor.check_room((topic,))
            visitor.take_request()
            grant = access.grant(visitor.principal, Permission.WRITE, (topic,))
            taken = await visitor.take_message(grant.topics[0])
            visitor.postpone(taken)
            limit_headers(visitor)
        spent_s = time.thread_time() - begun
    return spent_s / _TURNS * 1e6


def _decision_us(access: Access, pairs: Sequence[tuple[Principal, str]]) -> float:
    begun = time.thread_time()
    for principal, topic in pairs:
        access.allows(principal, Permission.WRITE, topic)
    return (time.thread_time() - begun) / len(pairs) * 1e6


async def _lag_ms(work: Coroutine[object, object, None]) -> tuple[float, float]:
    """Return by how many milliseconds the loop was late at worst while `work` was done, and the seconds."""
    worst_s, begun = 0.0, time.perf_counter()
    task = asyncio.ensure_future(work)
    while not task.done():
        asked = time.perf_counter()
        await asyncio.sleep(0.001)
        worst_s = max(worst_s, time.perf_counter() - asked - 0.001)
    await task
    return worst_s * 1e3, time.perf_counter() - begun


async def _log_in(admission: Admission) -> None:
    """Log in with fifty accounts at once, each from an address of its own."""

    async def one(account: Account, number: int) -> None:
        principal = await admission.access.authenticate(_basic(account.name), f"198.51.100.{number}")
        assert principal.account == account

    await asyncio.gather(*(one(account, i) for i, account in enumerate(admission.accounts[:_LOGINS])))


async def _change(admission: Admission, store: PeopleDatabase) -> None:
    """Take a right away, as another process does, and wait until it is gone."""
    principal = await _principal(admission, 0)
    assert admission.access.allows(principal, Permission.WRITE, _topic(0))
    await store.apply(Change(replace(_own_entry(0), access=TopicAccess.DENY_ALL)))
    await admission.directory.refresh()
    assert not admission.access.allows(principal, Permission.WRITE, _topic(0))


async def _principal(admission: Admission, number: int) -> Principal:
    return await admission.access.authenticate(f"Bearer {_secret(number)}", _PEER)


def _accounts() -> list[Account]:
    # One hash for all: to make ten thousand takes as long as to guess ten thousand times.
    password_hash = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    return [
        Account(
            name=_name(number),
            user_key=UserKey(f"u{number:029d}"),
            password_hash=password_hash,
            sync_topic=f"st_{number}",
        )
        for number in range(_ACCOUNTS)
    ]


def _tokens(accounts: Sequence[Account]) -> list[AccessToken]:
    return [
        AccessToken(token_hash=hash_access_token(_secret(number)), account=account.name)
        for number, account in enumerate(accounts)
    ]


def _entries(accounts: Sequence[Account]) -> list[AclEntry]:
    own = [_own_entry(number) for number in range(len(accounts))]
    patterns = [
        AclEntry(
            account=EVERYONE,
            pattern=f"area-{number}-*" if number % 2 else f"*-area-{number}",
            access=TopicAccess.READ_ONLY,
        )
        for number in range(_PATTERNS - 1)
    ]
    public = AclEntry(account=EVERYONE, pattern="public", access=TopicAccess.READ_WRITE)
    rest = [
        AclEntry(
            account=accounts[number % len(accounts)].name,
            pattern=f"shared-{number}" if number % 2 else f"shared-{number}-*",
            access=TopicAccess.READ_WRITE,
        )
        for number in range(_ENTRIES - len(own) - _PATTERNS)
    ]
    return [*own, *patterns, public, *rest]


def _own_entry(number: int) -> AclEntry:
    return AclEntry(account=_name(number), pattern=_topic(number), access=TopicAccess.READ_WRITE)


def _name(number: int) -> str:
    return f"account{number}"


def _topic(number: int) -> str:
    return f"backups-of-{number}"


def _secret(number: int) -> str:
    return f"tk_{number:029d}"


def _basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()


def _values() -> LimitValues:
    generous = Rate(_LIFTED, 1)
    return LimitValues(requests=generous, new_topics=generous, messages_a_day=_LIFTED, topics=_LIFTED)


async def _nothing_counted(subject: str, period: str) -> int:
    return 0


async def _write_nothing(posts: Sequence[Post], counts: Sequence[Count] = ()) -> None:
    """The counts are written with the messages, once for many of them; that is no part of this."""


if __name__ == "__main__":
    uvloop.run(main())
