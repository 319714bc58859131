"""Times of items → how far a venue's clock is from ours: the rolling minimum of the way from exchange to socket.

What an item takes is offset of the clocks + shortest way + jitter. The minimum of many is the first two: it may be
negative, where the venue's clock is ahead; what lies above it is jitter, never negative but where the minimum falls.
"""

from typing import Final

HALF_US: Final = 30_000_000
"""The minimum is that of the last 30 to 60 s: a clock that was set is believed after that."""


class ClockOffset:
    """Follows one venue, by the receive times of its items."""

    __slots__ = ("_before_us", "_half", "_least_us")

    def __init__(self) -> None:
        self._half = 0  # number of the half minute since the epoch; 0 = nothing came yet
        self._least_us: int | None = None  # of this half minute
        self._before_us: int | None = None  # of the one before

    @property
    def offset_us(self) -> int | None:
        """Least time from exchange to socket, as of the newest item; None = there was none."""
        known = [each for each in (self._least_us, self._before_us) if each is not None]
        return min(known, default=None)

    def lately_us(self, now_us: int) -> int | None:
        """Tell the offset at a time of the raw log; None = nothing came for a minute or so."""
        return self.offset_us if now_us // HALF_US - self._half <= 1 else None

    def add(self, recv_time_us: int, exchange_time_us: int) -> int:
        """Take in an item that tells both times; returns by how much it took longer than the least, 0 or more.

        >>> offset = ClockOffset()
        >>> offset.add(10_000_000, 11_500_000), offset.add(10_100_000, 11_590_000), offset.offset_us
        (0, 10000, -1500000)
        """
        passed = recv_time_us // HALF_US - self._half
        if passed not in {0, -1}:  # of two producers, records come a little out of order
            self._before_us = self._least_us if passed == 1 else None
            self._half, self._least_us = self._half + passed, None
        way_us = recv_time_us - exchange_time_us
        if self._least_us is None or way_us < self._least_us:
            self._least_us = way_us
        least_us = self._least_us if self._before_us is None else min(self._least_us, self._before_us)
        return way_us - least_us
