"""The store against a model of it in memory, through random histories."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ntfyish.core.ports import Post
from ntfyish.model.query import SINCE_ALL, SINCE_LATEST, SINCE_NONE, Since, SinceKind
from tests.clock import FakeClock

from .stage import START, Audience, ids, joined, opened, post

TOPICS = ("a", "b", "c")
topics = st.sampled_from(TOPICS)
sequences = st.sampled_from(("", "s1", "s2"))
spans = st.integers(0, 30)


@dataclass
class Row:
    id: str
    topic: str
    expires: int
    stored: int = 0
    due: int = 0
    sequence: str = ""


class Histories(RuleBasedStateMachine):
    """Posts, releases, prunes and restarts; after each, every kind of replay equals the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = FakeClock(START)
        self.audience = Audience()
        self.visible: list[Row] = []
        self.ever_visible: list[str] = []
        self.pending: list[Row] = []
        self.count = 0
        self.open()

    def open(self) -> None:
        async def enter() -> None:
            self.stack = AsyncExitStack()
            context = opened(Path(self.folder.name), self.clock, self.audience)
            self.store = await self.stack.enter_async_context(context)

        self.runner.run(enter())

    @property
    def now(self) -> int:
        return int(self.clock.now())

    @initialize()
    def begin(self) -> None:
        self.post_some([("a", "", 0, 30, False)])

    @rule(
        drafts=st.lists(
            st.tuples(topics, sequences, st.sampled_from((0, 0, 1, 10)), spans, st.booleans()), max_size=4
        )
    )
    def post_some(self, drafts: list[tuple[str, str, int, int, bool]]) -> None:
        posts = []
        for topic, sequence, delay, lifetime, replaces in drafts:
            self.count += 1
            row = Row(f"m{self.count}", topic, self.now + delay + lifetime, stored=self.now)
            row.due, row.sequence = (self.now + delay if delay else 0), sequence or row.id
            if replaces:
                self.pending = [p for p in self.pending if (p.topic, p.sequence) != (topic, row.sequence)]
            (self.pending if delay else self.visible).append(row)
            if not delay:
                self.ever_visible.append(row.id)
            posts.append(
                post(
                    row.id,
                    topic,
                    time=self.now,
                    expires=row.expires,
                    due_at=row.due,
                    sequence_id=sequence,
                    replaces=replaces,
                )
            )
        self.runner.run(self.send(posts))

    @rule(limit=st.integers(1, 3))
    def release(self, limit: int) -> None:
        due = sorted((row for row in self.pending if row.due <= self.now), key=lambda row: row.due)[:limit]
        self.pending = [row for row in self.pending if row not in due]
        for row in due:
            row.stored = self.now
        self.visible += due
        self.ever_visible += [row.id for row in due]
        assert self.runner.run(self.store.release_due(self.now, limit)) == len(due)

    @rule(limit=st.integers(1, 3))
    def prune(self, limit: int) -> None:
        expired = sorted((row for row in self.visible if row.expires <= self.now), key=lambda r: r.expires)
        cutoff = {row.expires for row in expired[limit - 1 : limit]}
        # of several that expire in the same second any may go
        if sum(row.expires in cutoff for row in expired) > 1:
            limit = len(expired) or 1
        gone = expired[:limit]
        self.visible = [row for row in self.visible if row not in gone]
        assert self.runner.run(self.store.prune(self.now, limit)) == len(gone)

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        self.clock.set_wall(self.now + seconds)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.stack.aclose())
        self.open()

    @invariant()
    def everything_was_announced_once_and_in_order(self) -> None:
        assert self.audience.ids == self.ever_visible
        assert self.audience.seqs == list(range(1, len(self.ever_visible) + 1))
        assert self.store.head == len(self.ever_visible)

    @invariant()
    def replays_equal_the_model(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        live = [row for row in self.visible if row.expires > self.now]
        known = [row.id for row in self.visible]
        kinds = [SINCE_ALL, SINCE_LATEST, SINCE_NONE, Since(SinceKind.ID, id="unknown")]
        kinds += [Since(SinceKind.ID, id=id_) for id_ in known[:: max(1, len(known) // 2)]]
        kinds += [Since(SinceKind.TIME, time=self.now - ago) for ago in (0, 7)]
        for since in kinds:
            for wanted in (("a",), TOPICS):
                mine = [row for row in live if row.topic in wanted]
                if since.kind is SinceKind.NONE:
                    mine = []
                elif since.kind is SinceKind.LATEST:
                    newest = {row.topic: row for row in mine}
                    mine = [row for row in mine if newest[row.topic] is row]
                elif since.kind is SinceKind.TIME:
                    mine = [row for row in mine if row.stored >= since.time]
                elif since.id in known:
                    after = known[known.index(since.id) + 1 :]
                    mine = [row for row in mine if row.id in after]
                expected = [row.id for row in mine]
                assert await ids(self.store, *wanted, since=since, now=self.now) == expected, since
                if len(wanted) == 1:
                    assert (await joined(self.store, "a", since, now=self.now)).count(b"\n") == len(expected)
                if since.kind not in (SinceKind.NONE, SinceKind.LATEST):
                    pending = [row for row in self.pending if row.topic in wanted]
                    if since.kind is SinceKind.TIME:
                        pending = [row for row in pending if row.due >= since.time]
                    expected += [row.id for row in sorted(pending, key=lambda row: row.due)]
                found = await ids(self.store, *wanted, since=since, now=self.now, scheduled=True)
                assert found == expected, since

    async def send(self, posts: list[Post]) -> None:
        await self.store.post(posts)

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()


Histories.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestHistories = Histories.TestCase
