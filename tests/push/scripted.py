"""A push service for tests: it does what the test says, and remembers what it was sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ntfyish.model.push import Push, PushOutcome, Verdict

DELIVERED = PushOutcome(verdict=Verdict.DELIVERED)

Answer = PushOutcome | Callable[[Push], PushOutcome]


@dataclass
class ScriptedSender:
    """Answers with the next of `answers`, then with `usual`; while `gate` is closed, not at all.

    An answer can be a function of the push, which is called once the gate is open.

    Attributes:
        pushes: all that began.
        under_way, most_under_way: how many at once, now and at most.
    """

    capacity: int = 8
    usual: Answer = DELIVERED
    answers: deque[Answer] = field(default_factory=deque)
    pushes: list[Push] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def send(self, push: Push) -> PushOutcome:
        self.pushes.append(push)
        answer = self.answers.popleft() if self.answers else self.usual
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        return answer if isinstance(answer, PushOutcome) else answer(push)

    def say(
        self, verdict: Verdict, reason: str = "", *, gone_at: float = 0, retry_after_s: float = 0
    ) -> None:
        """Answer so once."""
        self.answers.append(
            PushOutcome(verdict=verdict, reason=reason, gone_at=gone_at, retry_after_s=retry_after_s)
        )

    def always(self, verdict: Verdict, reason: str = "", *, retry_after_s: float = 0) -> None:
        """Answer so from now on."""
        self.usual = PushOutcome(verdict=verdict, reason=reason, retry_after_s=retry_after_s)

    @property
    def texts(self) -> list[str]:
        return [push.message.content.message for push in self.pushes]

    @property
    def tokens(self) -> list[str]:
        return [push.device.token for push in self.pushes]
