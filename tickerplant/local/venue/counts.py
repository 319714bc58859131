"""What left the venue, counted as it was written to sockets."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from tickerplant.local.venue.dialect import Stream

TradeIds = tuple[str, str, int, int]
"""(market, venue symbol, first and last trade id)."""

TradeNames = tuple[str, str, tuple[str, ...]]
"""(market, venue symbol, trade ids as text)."""


class IdRanges:
    """A set of ids that come mostly in order, kept as ranges; memory grows with holes, not with ids."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # inclusive, same order

    def add(self, number: int) -> None:
        """Take in an id; again = no change."""
        if self._ends and number == self._ends[-1] + 1:
            self._ends[-1] = number
            return
        at = bisect_right(self._starts, number)
        if at and number <= self._ends[at - 1]:
            return
        joins_left = at > 0 and self._ends[at - 1] == number - 1
        joins_right = at < len(self._starts) and self._starts[at] == number + 1
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends.pop(at)
            self._starts.pop(at)
        elif joins_left:
            self._ends[at - 1] = number
        elif joins_right:
            self._starts[at] = number
        else:
            self._starts.insert(at, number)
            self._ends.insert(at, number)

    def ranges(self) -> list[tuple[int, int]]:
        """List what is in the set, in rising order, ends included."""
        return list(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts) + len(self._starts)


@dataclass
class Counts:
    """Messages written so far.

    Args:
        frames: by key of their stream.
        streams: all that were ever listened to, by key.
        named_trades: ids of trades that are no numbers, by market and symbol.
    """

    frames: Counter[str] = field(default_factory=Counter)
    streams: dict[str, Stream] = field(default_factory=dict)
    trades: dict[tuple[str, str], IdRanges] = field(default_factory=dict)
    named_trades: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    answers: int = 0
    notices: int = 0
    damaged: int = 0  # of `frames`, those that were not written as they were made
    silent: int = 0  # of `frames`, those that tell nothing that others do not tell
    snapshots: int = 0
    instruments: int = 0
    refused: int = 0

    def add_trades(self, trades: list[TradeIds]) -> None:
        """Count trades, each once."""
        for market, symbol, first, last in trades:
            ranges = self.trades.get((market, symbol))
            if ranges is None:
                ranges = self.trades[market, symbol] = IdRanges()
            for number in range(first, last + 1):
                ranges.add(number)

    def add_names(self, trades: list[TradeNames]) -> None:
        """Count trades by the text of their ids, each once."""
        for market, symbol, names in trades:
            self.named_trades.setdefault((market, symbol), set()).update(names)

    def as_json(self) -> dict[str, Any]:
        """Sum up; `messages_served` = everything written to WebSockets, answers and notices included, pings not."""
        frames = self.frames.total()
        return {
            "frames_served": frames,
            "answers_served": self.answers,
            "notices_served": self.notices,
            "messages_served": frames + self.answers + self.notices,
            "frames_damaged": self.damaged,
            "frames_silent": self.silent,
            "by_channel": self._grouped(attrgetter("channel")),
            "by_market": self._grouped(attrgetter("market")),
            "distinct_trades": self._distinct_trades(),
            "snapshots_served": self.snapshots,
            "instruments_served": self.instruments,
            "requests_refused": self.refused,
        }

    def _distinct_trades(self) -> dict[str, int]:
        """Count by market."""
        totals: Counter[str] = Counter()
        for (market, _), ranges in self.trades.items():
            totals[market] += len(ranges)
        for (market, _), names in self.named_trades.items():
            totals[market] += len(names)
        return dict(totals)

    def trades_as_json(self) -> dict[str, list[Any]]:
        """List the ids of all trades by `market/SYMBOL`: [first, last] of numbers, names as they are."""
        found: dict[str, list[Any]] = {f"{market}/{name}": ids.ranges() for (market, name), ids in self.trades.items()}
        for (market, name), names in self.named_trades.items():
            found.setdefault(f"{market}/{name}", []).extend(sorted(names))
        return found

    def _grouped(self, by: Callable[[Stream], str]) -> dict[str, int]:
        """Sum up frames."""
        totals: Counter[str] = Counter()
        for key, count in self.frames.items():
            totals[by(self.streams[key])] += count
        return dict(totals)
