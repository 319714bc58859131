"""Arrays of seconds → sums over windows, in the order of summation of `processors/features/windows.py`."""

from collections.abc import Sequence

import numpy as np

from tickerplant.research.streams import Floats, Longs, Mask


def per_second(seconds: Longs, count: int, values: Floats | None = None) -> Floats:
    """Add up values (None = count items) of each second from 0, in the order of items."""
    return np.bincount(seconds, values, count).astype(np.float64, copy=False)  # adds one by one, unlike np.add.reduceat


def over_windows(values: Floats, lengths_s: Sequence[int]) -> list[Floats]:
    """Add up the seconds of each window, from its newest to its oldest."""
    total, found = values.copy(), []
    for length_s in range(1, lengths_s[-1] + 1):
        back = length_s - 1
        if 0 < back < len(values):
            total[back:] += values[:-back]
        if length_s in lengths_s:
            found.append(total.copy())
    return found


def counts_over_windows(counts: Longs | Floats | Mask, lengths_s: Sequence[int]) -> list[Longs]:
    """Count over each window."""
    so_far = np.concatenate(([0], np.cumsum(counts.astype(np.int64))))
    now = np.arange(1, len(so_far))
    return [so_far[now] - so_far[np.maximum(now - length_s, 0)] for length_s in lengths_s]


def distinct(seconds: Longs) -> Longs:
    """List the different values, rising."""
    if not len(seconds):
        return seconds
    first = int(seconds.min())
    if int(seconds.max()) - first > len(seconds) + 1_000_000:  # few items, far apart
        found: Longs = np.unique(seconds)
        return found
    return np.flatnonzero(np.bincount(seconds - first)) + first


def last_in_seconds(seconds: Longs) -> Longs:
    """Find the last item of each second in which there is one; seconds never fall."""
    is_last = np.append(seconds[1:] != seconds[:-1], True) if len(seconds) else np.zeros(0, bool)
    return np.flatnonzero(is_last)


def held(seconds: Longs, count: int, most_s: int) -> Longs:
    """Tell for each second from 0 which of the rising `seconds` was last, by its place; -1 = none within `most_s`."""
    now = np.arange(count)
    place = np.searchsorted(seconds, now, side="right") - 1
    known = place >= 0
    known[known] = now[known] - seconds[place[known]] < most_s
    return np.where(known, place, -1)


def taken(values: Floats, places: Longs) -> Floats:
    """Take values by place; NaN where the place is -1."""
    if not len(values):
        return np.full(len(places), np.nan)
    return np.where(places >= 0, values[places], np.nan)
