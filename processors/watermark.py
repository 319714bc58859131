"""CLOCK frames of one raw partition → how far its time has come, and when nobody captured."""

from typing import Final

import msgspec

MINUTE_US: Final = 60_000_000
LATENESS_US: Final = 5_000_000
"""What comes so long after the end of its minute is not late."""
UNWATCHED_US: Final = 10_000_000
"""CLOCK frames come once a second from each producer; where none came for so long, none of them captured."""
BELIEVED: Final = 3


class WatermarkPiece(msgspec.Struct, array_like=True):
    """State of a `Watermark`."""

    clock_us: int = 0
    other_us: int = 0
    count: int = 0


class Watermark:
    """The time of one raw partition: that of its newest CLOCK frame.

    One that is over 10 s away is believed once three in a row tell so: after a stop of all producers, or where a clock
    was set. A single wrong one, or that of one producer among several, moves nothing.
    """

    __slots__ = ("_count", "_other_us", "clock_us", "edge_us")

    def __init__(self) -> None:
        self.clock_us = self.edge_us = 0  # 0 = there was no CLOCK frame yet; minutes before the edge are closed
        self._other_us = self._count = 0  # a time that was told lately, over 10 s away, and how often in a row

    def hear(self, clock_us: int) -> tuple[int, int] | None:
        """Take in a CLOCK frame; returns the time in which nobody captured, None = somebody did."""
        before = self.clock_us
        if not before or abs(clock_us - before) <= UNWATCHED_US:
            self._set(max(before, clock_us))
            return None
        self._count = self._count + 1 if abs(clock_us - self._other_us) <= UNWATCHED_US else 1
        self._other_us = clock_us
        if self._count < BELIEVED:
            return None
        self._set(clock_us)
        return (before, clock_us) if clock_us > before else None

    def capture(self) -> WatermarkPiece:
        """Tell all that is needed to go on elsewhere."""
        return WatermarkPiece(self.clock_us, self._other_us, self._count)

    def restore(self, piece: WatermarkPiece) -> None:
        """Go on from what `capture` told."""
        self._set(piece.clock_us)
        self._other_us, self._count = piece.other_us, piece.count

    def _set(self, clock_us: int) -> None:
        self.clock_us = clock_us
        self.edge_us = max(0, clock_us - LATENESS_US) // MINUTE_US * MINUTE_US
        self._other_us = self._count = 0
