"""To which second an item belongs: by the exchange's time, held close to when it was read, so that seconds can end.

A pure function of stored columns, `exchange_time_us` and `recv_time_us` in the order of source ids, so that it gives
the same offline as in the stream:

    newest = the highest `recv_time_us` so far
    time   = exchange_time_us, or recv_time_us where the venue sends none
    second = clamp(time, newest - LATENESS_US, newest + AHEAD_US) // 1 s

What comes later than `LATENESS_US` counts in the oldest second that may still be open; nothing is left out.
"""

from typing import Final

SECOND_US: Final = 1_000_000
LATENESS_US: Final = 1_000_000
AHEAD_US: Final = 1_000_000  # a venue's clock may run ahead: further, it is the time of reading and this
GRACE_US: Final = 500_000  # clocks of several producers of a partition may differ by this
STEP_US: Final = 60_000_000  # a clock that was set back by more is believed: all begins anew
CLOSE_AFTER_US: Final = SECOND_US + LATENESS_US + GRACE_US  # a second is closed this long after its start


class Placer:
    """Places the items of one stream of a symbol (trades and quotes, or its book)."""

    __slots__ = ("newest_us",)

    def __init__(self) -> None:
        self.newest_us = 0

    def second(self, exchange_time_us: int, recv_time_us: int) -> int:
        """Place an item; returns the number of its second since the epoch.

        >>> Placer().second(5_200_000, 5_900_000), Placer().second(0, 5_900_000), Placer().second(1, 5_900_000)
        (5, 5, 4)
        """
        if recv_time_us > self.newest_us:  # noqa: PLR1730  # for each item: max() costs a call
            self.newest_us = recv_time_us
        time_us, newest_us = exchange_time_us or recv_time_us, self.newest_us
        if time_us < newest_us - LATENESS_US:
            time_us = newest_us - LATENESS_US
        elif time_us > newest_us + AHEAD_US:
            time_us = newest_us + AHEAD_US
        return time_us // SECOND_US


def is_step(newest_us: int, recv_time_us: int) -> bool:
    """Tell whether the clock that items are read by was set back so far that the seconds before are over."""
    return recv_time_us < newest_us - STEP_US


def last_closed(watermark_us: int) -> int:
    """Tell the last second that is closed once a time was read on the clock of the raw log.

    >>> last_closed(2_499_999), last_closed(2_500_000)
    (-1, 0)
    """
    return (watermark_us - CLOSE_AFTER_US) // SECOND_US
