"""How pushes through APNs leave the event loop to others."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from ntfyish.push.apns.pool import MOST_IN_TURN
from tests.clock import FakeClock
from tests.push.apns_sending import push_to, send_all, sending_to
from tests.push.fake_apns import HOLD, FakeApns


async def test_many_pushes_are_begun_a_few_in_each_turn_of_the_event_loop(tmp_path: Path) -> None:
    clock = FakeClock()
    async with FakeApns(now=clock.now) as apns, sending_to(apns, tmp_path, clock) as sender:
        await sender.send(push_to(0))
        apns.otherwise = HOLD
        pool = sender._pool
        assert pool is not None
        sending = asyncio.create_task(send_all(sender, [push_to(number) for number in range(1, 251)]))
        begun = [0]
        while begun[-1] < 250:
            await asyncio.sleep(0)
            begun.append(sum(connection.under_way for connection in pool._usable))
        await apns.until(lambda: apns.held_count == 250)
        apns.release()
        await sending
    steps = [after - before for before, after in itertools.pairwise(begun)]
    assert max(steps) == MOST_IN_TURN
