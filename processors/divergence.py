"""Prices of one pair at several venues → spells in which a venue lies outside of what the others agree on; pure.

With x = ln(mid) of each venue that has quoted within `fresh_s`, c = median(x), MAD = median(|x - c|):

    deviation = 10,000 * (x - c)                           bps; positive = dearer than the others
    band      = max(width * 1.4826 * MAD * 10,000, floor)  bps

A venue diverges while |deviation| > band. Neither median nor MAD moves by what fewer than half of the venues do; 1.4826
makes MAD the standard deviation of normal noise. The floor is what fees and the ways to the venues explain: venues that
agree to the last tick have a MAD of 0. Of two venues nobody can tell which one is wrong, and their MAD is their own
distance: both diverge while they lie further apart than the floor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from statistics import median
from typing import Final

import msgspec

from tickerplant.settings import Divergence

BPS: Final = 10_000.0
NORMAL: Final = 1.4826  # standard deviation of a normal distribution by its MAD
LEAST_VENUES: Final = 2


@dataclass(frozen=True, kw_only=True)
class Band:
    """What counts as apart.

    Args:
        width: half the band, in standard deviations estimated from the MAD.
        floor_bps: half the band at least.
        fresh_s: a venue that has not quoted for longer is left out.
        patience_s: what ends sooner is told by nobody: one venue was only later than the others.
    """

    width: float = 5.0
    floor_bps: float = 10.0
    fresh_s: int = 10
    patience_s: int = 3


def band_of(chosen: Divergence) -> Band:
    """Make the band of the settings."""
    return Band(width=chosen.width, floor_bps=chosen.floor_bps, fresh_s=chosen.fresh_s, patience_s=chosen.patience_s)


class Verdict(msgspec.Struct, frozen=True):
    """How venues lie at one instant.

    Args:
        deviation_bps: of each venue from the median.
        band_bps: half the band.
        outside: venues outside of it, in the order given.
    """

    deviation_bps: dict[str, float]
    band_bps: float
    outside: tuple[str, ...]


class Spell(msgspec.Struct, kw_only=True):
    """A time in which a venue diverged.

    Args:
        start_s, last_s: first and last second in which it was seen to, s since the UTC epoch.
        worst_bps: the largest deviation, with its sign; `band_bps` and `venues` (how many were compared) are of then.
    """

    symbol: str
    venue: str
    start_s: int
    last_s: int
    worst_bps: float
    band_bps: float
    venues: int

    @property
    def seconds(self) -> int:
        """How many seconds it lasted, the first and the last included."""
        return self.last_s - self.start_s + 1


def compare(mids: Mapping[str, float], band: Band) -> Verdict | None:
    """Hold the mids (above 0) of venues against one another; None = there are fewer than two."""
    if len(mids) < LEAST_VENUES:
        return None
    logs = {venue: log(mid) for venue, mid in mids.items()}
    center = median(logs.values())
    deviations = {venue: BPS * (each - center) for venue, each in logs.items()}
    if len(mids) == LEAST_VENUES:
        half_bps = band.floor_bps / 2
    else:
        half_bps = max(band.width * NORMAL * median(map(abs, deviations.values())), band.floor_bps)
    return Verdict(deviations, half_bps, tuple(venue for venue, bps in deviations.items() if abs(bps) > half_bps))


class Watch:
    """Follows one pair through time; seconds rise from step to step."""

    def __init__(self, symbol: str, band: Band) -> None:
        self._symbol = symbol
        self._band = band
        self._mids: dict[str, tuple[int, float]] = {}  # venue → second of its last quote, mid
        self._open: dict[str, Spell] = {}

    def step(self, second: int, mids: Mapping[str, float]) -> list[Spell]:
        """Take in the last mid of each venue that quoted in a second; returns the spells that ended by it."""
        self._mids.update({venue: (second, mid) for venue, mid in mids.items()})
        oldest = second - self._band.fresh_s
        self._mids = {venue: each for venue, each in self._mids.items() if each[0] >= oldest}
        verdict = compare({venue: self._mids[venue][1] for venue in sorted(self._mids)}, self._band)
        outside = verdict.outside if verdict else ()
        ended = [self._open.pop(venue) for venue in list(self._open) if venue not in outside]
        if verdict:
            for venue in outside:
                self._extend(venue, second, verdict)
        return [each for each in ended if each.seconds >= self._band.patience_s]

    def finish(self) -> list[Spell]:
        """Give the spells that are still open, in the order in which they began."""
        rest, self._open = list(self._open.values()), {}
        return [each for each in rest if each.seconds >= self._band.patience_s]

    def _extend(self, venue: str, second: int, verdict: Verdict) -> None:
        bps, count = verdict.deviation_bps[venue], len(verdict.deviation_bps)
        spell = self._open.get(venue)
        if spell is None:
            spell = self._open[venue] = Spell(
                symbol=self._symbol,
                venue=venue,
                start_s=second,
                last_s=second,
                worst_bps=bps,
                band_bps=verdict.band_bps,
                venues=count,
            )
        spell.last_s = second
        if abs(bps) > abs(spell.worst_bps):
            spell.worst_bps, spell.band_bps, spell.venues = bps, verdict.band_bps, count
