"""Clocks, in the one unit used everywhere: µs; of the wall since the UTC epoch."""

import time
from collections.abc import Callable

NowUs = Callable[[], int]


def now_us() -> int:
    """Tell the time, µs since the UTC epoch."""
    return time.time_ns() // 1000


def steady_us() -> int:
    """Tell a time that nobody sets, µs since some instant: for how long something has lasted."""
    return time.monotonic_ns() // 1000
