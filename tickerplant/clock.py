"""The wall clock, in the one unit used everywhere: µs since the UTC epoch."""

import time
from collections.abc import Callable

NowUs = Callable[[], int]


def now_us() -> int:
    """Tell the time, µs since the UTC epoch."""
    return time.time_ns() // 1000
