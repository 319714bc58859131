"""What was known of a symbol's prices at times that are over: by which trades are judged that come late; pure.

Marks a second apart tell the last minute, marks a minute apart the last hour; of symbols that trade more seldom,
as many trades.
"""

from bisect import bisect_right
from collections import deque
from math import log, sqrt
from operator import attrgetter
from typing import Final

import msgspec

EVERY_US: Final = 1_000_000
SELDOM_US: Final = 60_000_000
MOST: Final = 64
MOST_SELDOM: Final = 60
_TIME: Final = attrgetter("time_us")


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was known at a time: the price, sigma of a trade then, and the time in which it grows by the root of 2."""

    time_us: int
    price: float
    sigma: float
    took_us: int

    def is_far(self, price: float, time_us: int, sigmas: float) -> bool:
        """Tell whether a price of another time, before or after, lies further away than so many sigma."""
        sigma = self.sigma * sqrt(1 + abs(time_us - self.time_us) / self.took_us)
        return abs(log(price / self.price)) > sigmas * sigma


class TrailPiece(msgspec.Struct, array_like=True):
    """State of a `Trail`; in a change, `marks` are those that came since."""

    is_whole: bool = True
    marks: list[Mark] = []
    seldom: list[Mark] = []


class Trail:
    """Marks of one symbol, by rising time."""

    __slots__ = ("_fresh", "_marks", "_seldom", "next_us")

    def __init__(self) -> None:
        self.next_us = 0  # a mark is wanted from this time on
        self._marks: deque[Mark] = deque(maxlen=MOST)
        self._seldom: deque[Mark] = deque(maxlen=MOST_SELDOM)
        self._fresh: list[Mark] | None = []  # that came since `follow`; None = too many, or some were dropped

    def add(self, mark: Mark) -> None:
        """Take in a mark; where its time steps back, those of later times are dropped."""
        time_us = mark.time_us
        if self._marks and self._marks[-1].time_us > time_us:
            self._fresh = None
            for marks in (self._marks, self._seldom):
                while marks and marks[-1].time_us > time_us:
                    marks.pop()
        self._marks.append(mark)
        if not self._seldom or time_us - self._seldom[-1].time_us >= SELDOM_US:
            self._seldom.append(mark)
        self.next_us = time_us + EVERY_US
        if self._fresh is not None:
            self._fresh.append(mark)
            if len(self._fresh) > MOST:
                self._fresh = None

    def around(self, time_us: int) -> tuple[Mark, Mark | None] | None:
        """Find the last mark up to a time and the first after it; None = all that is known came later."""
        befores: list[Mark] = []
        afters: list[Mark] = []
        for marks in (self._marks, self._seldom):
            at = bisect_right(marks, time_us, key=_TIME)
            befores += [marks[at - 1]] if at else []
            afters += [marks[at]] if at < len(marks) else []
        if not befores:
            return None
        return max(befores, key=_TIME), min(afters, key=_TIME, default=None)

    def follow(self) -> None:
        """Note from now on what comes."""
        self._fresh = []

    def capture(self, *, is_whole: bool) -> TrailPiece:
        """Tell all that is needed to go on elsewhere, or what came since `follow`."""
        if is_whole or self._fresh is None:
            return TrailPiece(True, list(self._marks), list(self._seldom))
        return TrailPiece(False, list(self._fresh))

    def restore(self, piece: TrailPiece) -> None:
        """Go on from a whole capture, or add a change to it."""
        if not piece.is_whole:
            for mark in piece.marks:
                self.add(mark)
            return
        self._marks = deque(piece.marks, MOST)
        self._seldom = deque(piece.seldom, MOST_SELDOM)
        self.next_us = piece.marks[-1].time_us + EVERY_US if piece.marks else 0
