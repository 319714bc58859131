"""Which whole-numbered ids of a venue were seen: exact, in the memory of the holes among them."""

from bisect import bisect_right
from itertools import islice

import msgspec

MOST_INTERVALS = 512
MOST_HOLES = 64
MOST_COPIES = 256
MOST_RECENT = 2048
"""As many as another connection may be behind, and a venue repeats to one that is new."""
MOST_RESTORED = 10_000
"""The same of trades that came by REST, kept by themselves: a page of them would push all others out."""


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Ids that were left out, first to last."""

    first: int
    last: int


class SeenIds:
    """The set of seen ids as intervals: the highest grows with the stream, there are others where ids are missing.

    When there are more intervals than `most_intervals`, the lowest hole is forgotten: its ids then count as seen.
    Ids below the first one seen are new, once.
    """

    __slots__ = ("_ends", "_most", "_starts", "high")

    def __init__(self, intervals: list[tuple[int, int]] | None = None, most_intervals: int = MOST_INTERVALS) -> None:
        self._most = most_intervals
        self.restore(intervals or [])

    def restore(self, intervals: list[tuple[int, int]]) -> None:
        """Go on from what `intervals` told; empty = nothing was seen."""
        self._starts = [start for start, _ in intervals]
        self._ends = [end for _, end in intervals]
        self.high = self._ends[-1] if intervals else -1

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self._ends[at]

    def add(self, number: int) -> bool:
        """Note an id; True = it is new."""
        if number == self.high + 1 and self._ends:
            self.high = self._ends[-1] = number
            return True
        return self._add_elsewhere(number)

    def lies_in_hole(self, number: int) -> bool:
        """Tell whether an id was left out between the lowest and the highest one seen."""
        return bool(self._starts) and self._starts[0] < number < self.high and number not in self

    def hole_before(self, number: int) -> Hole | None:
        """Tell what is missing between the highest id seen and a higher one; None = nothing, or no id was seen yet."""
        if not self._ends or number <= self.high + 1:
            return None
        return Hole(self.high + 1, number - 1)

    def intervals(self) -> list[tuple[int, int]]:
        """List what was seen, in rising order, ends included."""
        return list(zip(self._starts, self._ends, strict=True))

    def _add_elsewhere(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        if at >= 0 and number <= self._ends[at]:
            return False
        joins_left = at >= 0 and self._ends[at] == number - 1
        joins_right = at + 1 < len(self._starts) and self._starts[at + 1] == number + 1
        if joins_left and joins_right:
            self._ends[at] = self._ends.pop(at + 1)
            del self._starts[at + 1]
        elif joins_left:
            self._ends[at] = number
        elif joins_right:
            self._starts[at + 1] = number
        else:
            self._starts.insert(at + 1, number)
            self._ends.insert(at + 1, number)
            self._forget_lowest_hole()
        self.high = self._ends[-1]
        return True

    def _forget_lowest_hole(self) -> None:
        if len(self._starts) > self._most:
            del self._starts[1]
            del self._ends[0]


class RecentIds:
    """The ids seen last, for venues whose ids only tell trades apart; the oldest are forgotten."""

    __slots__ = ("_fresh", "_most", "ids")

    def __init__(self, most: int = MOST_RECENT) -> None:
        self.ids: dict[int | str, None] = {}
        self._most = most
        self._fresh = 0  # added since `follow`

    def add(self, number: int | str) -> bool:
        """Note an id; True = it is new."""
        if number in self.ids:
            return False
        self.ids[number] = None
        self._fresh += 1
        if len(self.ids) > self._most:
            del self.ids[next(iter(self.ids))]
        return True

    def follow(self) -> None:
        """Note from now on what is added, for `fresh`."""
        self._fresh = 0

    def fresh(self) -> list[int | str]:
        """List what was added since `follow`, in order."""
        return list(islice(self.ids, max(0, len(self.ids) - self._fresh), None))


class Holes:
    """Ranges of ids that were left out, in the order in which that was found; the oldest are forgotten."""

    __slots__ = ("_most", "holes")

    def __init__(self, most: int = MOST_HOLES) -> None:
        self.holes: list[Hole] = []
        self._most = most

    def add(self, first: int, last: int) -> None:
        """Note that ids first to last were left out; none, where last is below first."""
        if first <= last:
            self.holes.append(Hole(first, last))
            del self.holes[: -self._most]

    def __contains__(self, number: int) -> bool:
        return any(hole.first <= number <= hole.last for hole in self.holes)

    def fill(self, first: int, last: int) -> None:
        """Note that ids first to last came after all."""
        before = self.holes
        self.holes = []
        for hole in before:
            self.add(hole.first, min(hole.last, first - 1))
            self.add(max(hole.first, last + 1), hole.last)


class Copies:
    """Counts equal items by connection: what one connection repeats is new, what another one brought is not.

    The items remembered are those that came last.
    """

    __slots__ = ("_most", "counts")

    def __init__(self, most: int = MOST_COPIES) -> None:
        self.counts: dict[bytes, dict[str, int]] = {}  # item, encoded → connection → how often
        self._most = most

    def is_first(self, item: bytes, connection: str) -> bool:
        """Note an item; True = no other connection has brought it as often."""
        counts = self.counts.pop(item, {})
        counts[connection] = count = counts.get(connection, 0) + 1
        self.counts[item] = counts
        if len(self.counts) > self._most:
            del self.counts[next(iter(self.counts))]
        return all(other < count for name, other in counts.items() if name != connection)
