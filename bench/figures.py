"""Samples, ratios and goals: what the measures deliver and how it is judged. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Sample = Mapping[str, float]
"""The figures of one run of one server, by name."""

OURS = "ntfyish"


@dataclass(frozen=True)
class Figure:
    """One kind of number that a measure yields."""

    name: str
    text: str
    unit: str


@dataclass(frozen=True)
class Goal:
    """A bound on a figure of ntfyish, or on its ratio to the same figure of a peer in the same round."""

    figure: str
    bound: float
    at_least: bool = False
    peer: str = ""

    @property
    def text(self) -> str:
        """Such as ``<= 0.3 x nchan``."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bound:,g}" + (f" x {self.peer}" if self.peer else "")


@dataclass(frozen=True)
class Verdict:
    """A goal and what came of it; `value` is None where it could not be measured."""

    goal: Goal
    value: float | None

    @property
    def reached(self) -> bool | None:
        """None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.goal.bound if self.goal.at_least else self.value <= self.goal.bound


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, with the least and the greatest."""

    median: float
    least: float
    greatest: float


@dataclass
class Result:
    """All rounds of one measure.

    Attributes:
        samples: by server, one for each round, in the same order for all.
    """

    measure: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def values(self, server: str, figure: str) -> list[float]:
        """Return the figure's values by round; [] if the server has none."""
        return [sample[figure] for sample in self.samples.get(server, ()) if figure in sample]

    def spread(self, server: str, figure: str) -> Spread | None:
        """Return what the rounds say about a figure, or None."""
        return _spread(self.values(server, figure))

    def ratio(self, figure: str, peer: str) -> Spread | None:
        """Return ntfyish's figure divided by the peer's, paired by round, or None."""
        ours, theirs = self.values(OURS, figure), self.values(peer, figure)
        if len(ours) != len(theirs):
            return None
        return _spread([mine / other for mine, other in zip(ours, theirs, strict=True) if other > 0])

    def judge(self, goal: Goal) -> Verdict:
        """Return whether the goal was reached."""
        found = self.ratio(goal.figure, goal.peer) if goal.peer else self.spread(OURS, goal.figure)
        return Verdict(goal, None if found is None else found.median)


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None
