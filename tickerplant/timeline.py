"""When records of a partition were written, told by few (time, offset) points: no record is read for it.

A point says: records below this offset were written before this time. Each look at the end of a partition gives one;
the broker gives others, for any time in the past (ListOffsets by timestamp).
"""

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

MOST_POINTS: Final = 256
FIRST_AGE_MS: Final = 10_000
AGE_FACTOR: Final = 8
FINEST_MS: Final = 2_000
FINEST_SHARE: Final = 0.05  # of the age: a lag of an hour need not be known to the second


class Point(NamedTuple):
    """Records below `offset` were written before `time_ms` (UTC epoch), all others at it or later."""

    time_ms: int
    offset: int


class Timeline:
    """The points of one partition."""

    def __init__(self) -> None:
        self._points: list[Point] = []  # rising in both

    def add(self, time_ms: int, offset: int) -> None:
        """Add a point; one that contradicts the others (a clock was set back) is left out."""
        if self._points and time_ms > self._points[-1].time_ms and offset < self._points[-1].offset:
            self._points.clear()  # the topic was made anew
        at = bisect_left(self._points, time_ms, key=lambda point: point.time_ms)
        before, after = self._points[at - 1 : at], self._points[at : at + 1]
        if any(each.offset > offset for each in before) or any(each.offset < offset for each in after):
            return
        if after and after[0].time_ms == time_ms:
            return
        self._points.insert(at, Point(time_ms, offset))
        self._thin()

    def written_ms(self, offset: int) -> float | None:
        """Estimate when the record at an offset was written; None = before all points, or there is no later one."""
        before, after = self._around(offset)
        if before is None or after is None:
            return None
        share = (offset - before.offset) / (after.offset - before.offset)
        return before.time_ms + share * (after.time_ms - before.time_ms)

    def question_ms(self, offset: int, now_ms: int) -> int | None:
        """Tell for which time the broker should be asked to know better; None = it is known well enough."""
        before, after = self._around(offset)
        if after is None:
            return None
        if before is None:
            age_ms = max(FIRST_AGE_MS, AGE_FACTOR * (now_ms - after.time_ms))
            return now_ms - age_ms if now_ms > age_ms else None
        fine_ms = max(FINEST_MS, FINEST_SHARE * (now_ms - after.time_ms))
        if after.time_ms - before.time_ms <= fine_ms:
            return None
        return (before.time_ms + after.time_ms) // 2

    def forget_before(self, offset: int) -> None:
        """Drop points that only records below an offset need."""
        before, _ = self._around(offset)
        if before is not None:
            self._points = self._points[self._points.index(before) :]

    def _thin(self) -> None:
        """Drop the middle one of three last points at which nothing moved; of too many, half of the older half."""
        points = self._points
        if len(points) > 2 and points[-1].offset == points[-2].offset == points[-3].offset:
            del points[-2]
        if len(points) > MOST_POINTS:
            half = MOST_POINTS // 2
            self._points = points[:half:2] + points[half:]

    def __len__(self) -> int:
        return len(self._points)

    def _around(self, offset: int) -> tuple[Point | None, Point | None]:
        """Find the last point at or below an offset and the first one above."""
        at = bisect_right(self._points, offset, key=lambda point: point.offset)
        before = self._points[at - 1] if at else None
        after = self._points[at] if at < len(self._points) else None
        return before, after
