"""What is neither ours nor kept: time, mail servers, push services, and whoever hears of messages."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from ntfyish.model.message import Published
from ntfyish.model.push import Push, PushDevice, PushOutcome


class Clock(Protocol):
    """All time comes from here; tests move it."""

    def now(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that never jump, from an arbitrary origin."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once if they are not positive."""


class MailOutcome(Enum):
    """What became of an e-mail."""

    ACCEPTED = auto()
    REFUSED = auto()  # for good: this letter to this recipient will never be taken
    FAILED = auto()  # for now: nobody answers, or whoever does has a trouble of its own


class MailSender(Protocol):
    """Hands e-mail to a mail server."""

    async def send(self, recipient: str, letter: bytes) -> MailOutcome:
        """Send a complete letter (RFC 5322) to one address, within half a minute."""


class PushSender(Protocol):
    """Pushes to the devices of some destinations. Never raises for what a service or network does."""

    @property
    def capacity(self) -> int:
        """How many pushes to one destination may be under way at once."""

    async def send(self, push: Push) -> PushOutcome:
        """Try once, within half a minute."""


class BrowserSender(PushSender, Protocol):
    """Pushes to browsers."""

    async def warn(self, device: PushDevice) -> PushOutcome:
        """Tell a browser that it will soon be pushed to no more. As `send`."""


class Bus(Protocol):
    """Carries visible messages to every hub."""

    def announce(self, published: Sequence[Published]) -> None:
        """Hand on, in order. Never blocks, never raises to the publisher."""
