"""Many observations of a histogram at once, counted by numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import Histogram

Seconds = npt.NDArray[np.float64]


def observe_all(histogram: Histogram, seconds: Seconds) -> None:
    """Observe each of these values; as `observe` for each, some hundred times as fast.

    The library observes one value at a time (prometheus_client 0.22 to 0.26), hence its private parts.
    """
    inner: Any = histogram
    counts = np.bincount(np.searchsorted(inner._upper_bounds, seconds), minlength=len(inner._upper_bounds))  # noqa: SLF001
    for bucket, count in zip(inner._buckets, counts.tolist(), strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
    inner._sum.inc(float(seconds.sum()))  # noqa: SLF001
