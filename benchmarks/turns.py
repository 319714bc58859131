"""Ours and peers in turns: a machine's pace changes by the minute, so sides are compared within a round only."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

ROUNDS: Final = 5


class SideError(Exception):
    """A side cannot do the work: it is left out, the others go on."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What each side reached in rounds that ran one after the other.

    Attributes:
        unit: of the values, as "frames/s" or "p99 ms".
        sides: values of each round by side, ours first. A side without values cannot do this.
        aims: by peer, how many times as good as it ours is to be.
        is_less_better: for times and bytes.
        goal: what ours is to reach by itself, in the unit; None = nothing is asked for.
    """

    unit: str
    sides: Mapping[str, list[float]]
    aims: Mapping[str, float] = field(default_factory=dict)
    is_less_better: bool = False
    goal: float | None = None

    @property
    def ours(self) -> str:
        """Name the side of ours."""
        return next(iter(self.sides))

    @property
    def peers(self) -> list[str]:
        """Name the others."""
        return list(self.sides)[1:]

    def ratios(self, peer: str) -> list[float]:
        """Tell, for each round, how many times as good as a peer ours was; empty = one of them cannot do this."""
        pairs = zip(self.sides[self.ours], self.sides[peer], strict=False)
        return [other / mine if self.is_less_better else mine / other for mine, other in pairs if mine and other]

    def ratio(self, peer: str) -> float | None:
        """Tell the median of the ratios; None = one of them cannot do this."""
        found = self.ratios(peer)
        return median(found) if found else None


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Run each side once a round; every second round begins at the other end, so that no side always comes first.

    Args:
        sides: what runs a side once and tells its value, by name, ours first; one warm-up each is theirs to do.

    Raises:
        SideError: ours failed; another that does is left without values.
    """
    ours, left = next(iter(sides)), dict(sides)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(left) if number % 2 == 0 else list(reversed(left)):
            try:
                found[name].append(left[name]())
            except SideError as error:
                if name == ours:
                    raise
                print(f"{name} is left out: {error}", file=sys.stderr)
                del left[name]
                found[name] = []
    return found
