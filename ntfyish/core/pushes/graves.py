"""Buries devices that their service has disowned, many at a time, and says what becomes of their pushes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ntfyish.core.directory import Directory
from ntfyish.core.ports import ClaimedPush, Clock, DeadDevice, PeopleStore, PushNote
from ntfyish.core.pushes.breaker import Random
from ntfyish.core.pushes.verdicts import again, judge_gone
from ntfyish.model.errors import Unavailable
from ntfyish.model.push import PushDevice, PushOutcome

_log = logging.getLogger(__name__)

_LATER_S = 60.0
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Gone:
    """A push whose device (as it was then) the service has disowned."""

    claimed: ClaimedPush
    device: PushDevice
    outcome: PushOutcome


class PushGraves:
    """Removes dead devices. The store decides: a device that was registered since stays."""

    def __init__(self, people: PeopleStore, directory: Directory, clock: Clock, random: Random) -> None:
        self._people = people
        self._directory = directory
        self._clock = clock
        self._random = random
        self._times: dict[int, int] = {}

    async def bury(self, gone: Sequence[Gone]) -> list[PushNote]:
        """Bury the devices; return what becomes of each push."""
        now = self._clock.now()
        try:
            buried = await self._people.bury_devices([_dead(one, now) for one in gone])
            await self._directory.refresh()
        except Unavailable as error:
            _log.warning("Dead devices are not removed yet: %s", error.reason.name)
            return [again(one.claimed, one.outcome.reason, now, now + _LATER_S) for one in gone]
        if buried:
            _log.info("%d devices are gone, by the word of their service", buried)
        return [self._judge(one, now) for one in gone]

    def _judge(self, one: Gone, now: float) -> PushNote:
        device = self._directory.find_push_device(one.device.id)
        is_back = device is not None and not device.dead_at
        times = self._times.pop(one.claimed.entry, 0) + 1
        if is_back:
            if len(self._times) >= _REMEMBERED:
                del self._times[next(iter(self._times))]
            self._times[one.claimed.entry] = times
        return judge_gone(one.claimed, one.outcome, now, self._random, times=times, is_back=is_back)


def _dead(one: Gone, now: float) -> DeadDevice:
    return DeadDevice(one.device.id, one.device.token, one.outcome.gone_at, now, one.outcome.reason)
