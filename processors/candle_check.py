"""The venue's own closed candles against our bars: where they differ; pure."""

from collections.abc import Callable, Iterator, Sequence
from math import isclose
from typing import Final

import msgspec

from processors.bars import GAP, LENGTHS_US, PARTIAL, Told

RELATIVE: Final = 1e-9
ABSOLUTE: Final = 1e-12
MOST_WAITING: Final = 16


class VenueCandle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a venue tells of a time that is over; `trade_count` 0 = it does not tell, volume None = it cannot serve."""

    interval: str
    open_time_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trade_count: int


class CandleCheck:
    """Waits with each candle until the bar of its time is told, then compares them, once.

    Bars that say themselves that trades may be missing are not compared, nor times of which we have no bar.
    """

    def __init__(self) -> None:
        self.waiting: list[VenueCandle] = []

    def add(self, candle: VenueCandle) -> None:
        """Take in a closed candle; lengths that we make no bars of are passed over, of too many the oldest."""
        if candle.interval in LENGTHS_US:
            self.waiting.append(candle)
            del self.waiting[:-MOST_WAITING]

    def correct(self, candle: VenueCandle) -> None:
        """Take in what a venue says anew of a closed candle; one that was compared stays compared."""
        place = (candle.interval, candle.open_time_us)
        self.waiting = [candle if (each.interval, each.open_time_us) == place else each for each in self.waiting]

    def compare(self, find: Callable[[str, int], Told | None], closed_us: int) -> Iterator[tuple[str, int, str]]:
        """Yield interval, number of figures that differ, and which, of each candle whose time is told.

        Args:
            find: the newest revision of a bar, by interval and open; None = there is none.
            closed_us: bars that end up to here are told.
        """
        waiting, self.waiting = self.waiting, []
        for candle in waiting:
            if candle.open_time_us + LENGTHS_US[candle.interval] > closed_us:
                self.waiting.append(candle)
                continue
            bar = find(candle.interval, candle.open_time_us)
            found = [] if bar is None or _is_doubtful(bar) else differences(bar, candle)
            if found:
                yield candle.interval, len(found), f"{candle.open_time_us}: {'; '.join(found)}"


def differences(bar: Told, candle: VenueCandle) -> Sequence[str]:
    """Tell which figures differ, ours first; prices of times without trades are anybody's."""
    pairs: list[tuple[str, float, float]] = []
    if bar.trade_count:
        pairs += [(name, getattr(bar, name), getattr(candle, name)) for name in ("open", "high", "low", "close")]
    if candle.volume is not None:
        pairs.append(("volume", bar.volume, candle.volume))
    if candle.trade_count:
        pairs.append(("trades", bar.trade_count, candle.trade_count))
    return [
        f"{name} {ours:.15g} venue {theirs:.15g}"
        for name, ours, theirs in pairs
        if not isclose(ours, theirs, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    ]


def _is_doubtful(bar: Told) -> bool:
    return any(flag in {GAP, PARTIAL} for flag in bar.flags.split(","))
