"""One destination's pushes: takes them from the outbox, tries many at once, writes down what became of them.

A lane has no loop of its own. `_pump` does what there is to do with the outbox and ends; whatever gives it
new work (a push that is entered, a try that ends, a time that comes) starts it again, one at a time. Between
them run workers, each of which takes one claimed push after the other, so that a push costs no task. What is
held in memory is bounded by the sender's capacity.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ntfyish.core.counters import Counters
from ntfyish.core.ports import ClaimedPush, Clock, PushNote, PushOutbox, PushSender
from ntfyish.core.pushes.backlog import PushBacklog
from ntfyish.core.pushes.breaker import Breaker, Random
from ntfyish.core.pushes.graves import Gone, PushGraves
from ntfyish.core.pushes.maker import PushMaker
from ntfyish.core.pushes.verdicts import again, judge
from ntfyish.core.tasks import Tasks
from ntfyish.model.errors import Unavailable
from ntfyish.model.push import Push, PushKind, PushOutcome, PushState, Verdict

_log = logging.getLogger(__name__)

LEASE_S = 60.0
# A try takes at most half a minute; it must end before somebody else may take the push.
_BEGIN_WITHIN_S = 30.0
_PIECE = 500
_NOTES = 250
_NOTES_WAIT_S = 0.25
# To bury devices has everybody read anew, so the dead of a busy lane wait for each other.
_GRAVES_WAIT_S = 5.0
_MOST_NOTES = 2_000
_STORE_PAUSE_S = 1.0
_LOG_PAUSE_S = 60.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    """What all lanes work with.

    Attributes:
        tell: called with the Unix seconds at which a lane wants to be looked at.
        ended: set whenever a lane has come to rest.
    """

    outbox: PushOutbox
    backlog: PushBacklog
    maker: PushMaker
    graves: PushGraves
    counters: Counters
    clock: Clock
    tasks: Tasks
    random: Random
    tell: Callable[[float], None]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Held:
    """What a lane has claimed and not yet written down the end of.

    Attributes:
        entries: of them all. They are not taken a second time, though a clock that is set forward, or back
            (`PushBacklog.sweep`), makes them due.
        queue: claimed pushes, and when (Unix seconds) their try has to begin at the latest.
        under_way: tries.
        notes, gone: what became of others.
        write_by, bury_by: Unix seconds at which `notes` are to be written, and the devices of `gone` to be
            buried, at the latest.
    """

    entries: set[int] = field(default_factory=set)
    queue: deque[tuple[ClaimedPush, float]] = field(default_factory=deque)
    under_way: int = 0
    notes: list[PushNote] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    write_by: float = _NEVER
    bury_by: float = _NEVER

    @property
    def results(self) -> int:
        """How much there is to write."""
        return len(self.notes) + len(self.gone)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or about to be."""
        return not self.under_way and not self.queue


class PushLane:
    """The pushes to one destination. `PushLanes` makes one for each that has a sender."""

    def __init__(self, destination: str, sender: PushSender, parts: LaneParts) -> None:
        self.destination = destination
        self._kind = PushKind(destination.partition(":")[0])
        self._sender = sender
        self._parts = parts
        self._breaker = Breaker(parts.random)
        self._held = _Held()
        self._workers = 0
        self._due_at = _NEVER
        self._store_resumes_at = 0.0
        self._is_sure = False  # that nothing is due later, after what `_due_at` says
        self._logged_at: dict[str, float] = {}
        self._is_pumping = False
        self._is_stopping = False
        self._has_ended = False

    @property
    def is_quiet(self) -> bool:
        """Whether it has nothing in memory that has to be finished."""
        return self._held.is_idle and not self._held.results and not self._is_pumping

    @property
    def is_forgettable(self) -> bool:
        """Whether a new lane would be no worse."""
        return self.is_quiet and self._due_at == _NEVER and not self._breaker.is_open

    @property
    def next_at(self) -> float:
        """Unix seconds at which there is something to do that nothing else will start; infinity for never."""
        return self._next_at(self._parts.clock.now())

    def _next_at(self, now: float) -> float:
        """Return the first of those times after `now`: what was due then has been seen to already."""
        due_at = _NEVER if self._is_stopping else self._due_at
        if self._breaker.is_open:
            due_at = max(due_at, self._breaker.resumes_at)
        held = self._held
        write_by = min(held.write_by if held.notes else _NEVER, held.bury_by if held.gone else _NEVER)
        store_at = self._store_resumes_at
        return min(
            (at for at in (max(due_at, store_at), max(write_by, store_at)) if at > now), default=_NEVER
        )

    def expect(self, due_at: float) -> None:
        """Take notice that a push is due then (Unix seconds)."""
        self._due_at = min(self._due_at, due_at)
        self.look()

    def look(self) -> None:
        """Do what there is to do now; else tell when there will be something."""
        if self._is_pumping or self._has_ended:
            return
        now = self._parts.clock.now()
        if self._wants_to_write(now) or self._wanted(now):
            self._is_pumping = True
            self._parts.tasks.spawn(self._pump(), f"pushes to {self.destination}")
        else:
            self._rest(now)

    def stop(self) -> None:
        """Begin no more tries."""
        self._is_stopping = True
        self._put_back()
        self.look()

    def end(self) -> None:
        """Start nothing more, of whatever kind: whoever calls this ends what runs, then calls `finish`."""
        self.stop()
        self._has_ended = True

    async def finish(self) -> None:
        """Write what is known, once nothing runs any more.

        Raises:
            Unavailable: it is not written; the leases run out.
        """
        while self._held.results:
            self._held.bury_by = 0.0
            await self._write()

    async def _pump(self) -> None:
        clock = self._parts.clock
        now = clock.now()
        try:
            while True:
                if self._wants_to_write(now):
                    await self._write()
                elif limit := self._wanted(now):
                    await self._claim(limit)
                else:
                    break
                now = clock.now()
        except Unavailable as error:
            _log.warning("Pushes to %s wait: %s", self.destination, error.reason.name)
            now = clock.now()
            self._due_at = min(self._due_at, now)
            self._is_sure = False
            self._store_resumes_at = now + _STORE_PAUSE_S
        finally:
            self._is_pumping = False
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Tell when there will be something to do, after there was nothing left at `now`."""
        if self.is_quiet:
            self._parts.ended.set()
        if (next_at := self._next_at(now)) < _NEVER:
            self._parts.tell(next_at)

    def _wants_to_write(self, now: float) -> bool:
        held = self._held
        if self._is_store_away(now):
            return False
        has_notes = bool(held.notes) and (len(held.notes) >= _NOTES or held.is_idle or now >= held.write_by)
        return has_notes or self._wants_to_bury(now)

    def _wants_to_bury(self, now: float) -> bool:
        held = self._held
        return bool(held.gone) and (len(held.gone) >= _PIECE or held.is_idle or now >= held.bury_by)

    def _wanted(self, now: float) -> int:
        """Return how many pushes to claim now."""
        held, capacity = self._held, self._sender.capacity
        if self._is_stopping or self._due_at > now or self._is_store_away(now) or held.results > _MOST_NOTES:
            return 0
        if self._breaker.is_open:
            return 0 if held.queue or self._breaker.is_paused(now) else 1
        # As many again wait as are under way: the outbox is asked seldom, and nobody's lease runs out.
        ahead = min(capacity, _PIECE)
        if 2 * len(held.queue) > ahead:
            return 0
        return max(0, min(_PIECE, capacity + ahead - held.under_way - len(held.queue)))

    def _is_store_away(self, now: float) -> bool:
        return now < self._store_resumes_at <= now + _STORE_PAUSE_S

    async def _claim(self, limit: int) -> None:
        outbox, now, was_open = self._parts.outbox, self._parts.clock.now(), self._breaker.is_open
        self._due_at = _NEVER  # what is told while we wait is more recent than what we find
        claimed = await outbox.claim_pushes(self.destination, now, now + LEASE_S, limit)
        new = [one for one in claimed if one.entry not in self._held.entries]
        self._held.entries.update(one.entry for one in new)
        self._held.queue.extend((one, now + _BEGIN_WITHIN_S) for one in new)
        if self._is_stopping or (self._breaker.is_open and not was_open):  # that came while we waited
            self._put_back()
        self._hire()
        if len(claimed) == limit:
            self._due_at = min(self._due_at, now)
        elif not self._is_sure:
            self._is_sure = True
            if (next_at := await outbox.next_push(self.destination)) is not None:
                self._is_sure = False
                self._due_at = min(self._due_at, next_at)

    def _hire(self) -> None:
        """Have as many workers as there is work for."""
        held, capacity = self._held, self._sender.capacity
        while self._workers < min(capacity, held.under_way + len(held.queue)):
            self._workers += 1
            self._parts.tasks.spawn(self._work(), f"push to {self.destination}")

    async def _work(self) -> None:
        held = self._held
        try:
            while held.queue:
                await self._handle(*held.queue.popleft())
        finally:
            self._workers -= 1
            self._hire()  # if a mistake in the program has ended this one, another goes on with the rest
            self.look()

    async def _handle(self, claimed: ClaimedPush, begin_by: float) -> None:
        now = self._parts.clock.now()
        if not self._is_pumping and self._wanted(now):
            self.look()
        if now >= begin_by:
            self._note(again(claimed, claimed.reason, now, now, attempted=False))
            return
        is_seen_to = False
        try:
            found = self._parts.maker.make(claimed, self.destination, now)
            if isinstance(found, Push):
                await self._try(claimed, found)
            else:
                self._note(found)
            is_seen_to = True
        finally:
            if not is_seen_to:
                self._lose(claimed)

    async def _try(self, claimed: ClaimedPush, push: Push) -> None:
        held, clock = self._held, self._parts.clock
        begun, began_at = self._breaker.begin(), clock.monotonic()
        held.under_way += 1
        outcome: PushOutcome | None = None
        try:
            outcome = await self._sender.send(push)
        finally:
            held.under_way -= 1
            if outcome is None:
                self._breaker.interrupt(begun)
        self._take(claimed, push, outcome, begun, clock.monotonic() - began_at)

    def _lose(self, claimed: ClaimedPush) -> None:
        """Let go of a push whose try was cut off, at the end of the server or by a mistake in the program.

        Whether the service has seen it nobody knows; it is tried again when its lease ends, or with the next
        start.
        """
        self._held.entries.discard(claimed.entry)
        self._due_at = min(self._due_at, self._parts.clock.now() + LEASE_S)
        self._is_sure = False

    def _take(
        self, claimed: ClaimedPush, push: Push, outcome: PushOutcome, begun: int, seconds: float
    ) -> None:
        """Take in an answer."""
        counters, now = self._parts.counters, self._parts.clock.now()
        counters.pushes[self._kind.value, outcome.verdict.name.lower()] += 1
        counters.push_durations.observe(seconds)
        self._note_health(begun, outcome, now)
        if outcome.verdict is Verdict.GONE:
            self._bury(Gone(claimed, push.device, outcome), now)
            return
        note = judge(claimed, outcome, now, self._parts.random)
        if outcome.verdict is Verdict.REFUSED or (
            outcome.verdict is Verdict.TOO_LARGE and note.state is PushState.FAILED
        ):
            self._log(logging.ERROR, "A push of message %s was refused: %s", push.message.id, outcome.reason)
        self._note(note)

    def _note_health(self, begun: int, outcome: PushOutcome, now: float) -> None:
        breaker, paused = self._breaker, self._parts.counters.push_paused
        was_open, was_misconfigured = breaker.is_open, breaker.misconfigured
        breaker.note(begun, outcome, now)
        if breaker.misconfigured != was_misconfigured:
            if breaker.misconfigured:
                paused[self.destination] = breaker.misconfigured
                self._log(
                    logging.ERROR,
                    "Pushes wait for the operator: %s. Keys, certificates or names in the configuration"
                    " are wrong",
                    breaker.misconfigured,
                )
            else:
                paused.pop(self.destination, None)
        if breaker.is_open:
            if not was_open and not breaker.misconfigured:
                self._log(logging.WARNING, "Pushes wait: the service is not available (%s)", outcome.reason)
            self._put_back()
        elif was_open:
            self._log(logging.INFO, "Pushes go on")

    def _put_back(self) -> None:
        """Give back what is claimed and not begun."""
        now = self._parts.clock.now()
        while self._held.queue:
            claimed, _ = self._held.queue.popleft()
            self._note(again(claimed, claimed.reason, now, now, attempted=False))

    def _note(self, note: PushNote) -> None:
        self._held.notes.append(note)
        self._expect_write(note.at)

    def _expect_write(self, now: float) -> None:
        held = self._held
        if held.write_by == _NEVER:
            held.write_by = now + _NOTES_WAIT_S
            if not held.is_idle:  # else its worker is about to end, and looks
                self._parts.tell(held.write_by)
        if len(held.notes) >= _NOTES:
            self.look()

    def _bury(self, gone: Gone, now: float) -> None:
        held = self._held
        held.gone.append(gone)
        if held.bury_by == _NEVER:
            held.bury_by = now + _GRAVES_WAIT_S
            if not held.is_idle:
                self._parts.tell(held.bury_by)
        if len(held.gone) >= _PIECE:
            self.look()

    async def _write(self) -> None:
        held, parts = self._held, self._parts
        held.write_by = _NEVER
        try:
            if notes := held.notes[:_PIECE]:
                await parts.outbox.note_pushes(notes)
                del held.notes[: len(notes)]
                self._settle(notes)
            if self._wants_to_bury(parts.clock.now()):
                gone, held.bury_by = held.gone[:_PIECE], _NEVER
                buried = await parts.graves.bury(gone)
                del held.gone[: len(gone)]
                held.notes += buried
        finally:
            if held.notes:
                held.write_by = min(held.write_by, parts.clock.now() + _NOTES_WAIT_S)
            if held.gone:
                held.bury_by = min(held.bury_by, parts.clock.now() + _GRAVES_WAIT_S)

    def _settle(self, notes: Sequence[PushNote]) -> None:
        """Count what has ended, and know when the others are due."""
        self._held.entries.difference_update(note.entry for note in notes)
        ended = [note for note in notes if note.state is not PushState.PENDING]
        results = self._parts.counters.push_results
        results.update((self._kind.value, note.state.value) for note in ended)
        self._parts.backlog.give(len(ended))
        for note in notes:
            if note.state is PushState.PENDING:
                self._due_at = min(self._due_at, note.due_at)
                self._is_sure = False

    def _log(self, level: int, text: str, *values: object) -> None:
        """Write to the log, but not for each push."""
        now = self._parts.clock.monotonic()
        if now >= self._logged_at.get(text, float("-inf")) + _LOG_PAUSE_S:
            self._logged_at[text] = now
            _log.log(level, f"{self.destination}: {text}", *values)
