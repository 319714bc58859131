"""Ticks of a batch → histograms of their latencies: each tick is observed, at the price of a few."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import Histogram

from processors.clock_offset import ClockOffset
from schemas.records import Tick
from tickerplant import metrics

US: Final = 1_000_000


def bounds_us(buckets_s: Sequence[float]) -> list[int]:
    """Give the upper bounds of a histogram in µs, without the infinite one."""
    return [round(each * US) for each in buckets_s]


END_TO_END_US: Final = bounds_us(metrics.END_TO_END_BUCKETS_S)
NETWORK_US: Final = bounds_us(metrics.NETWORK_BUCKETS_S)
JITTER_US: Final = bounds_us(metrics.LATENCY_BUCKETS_S)


def observe_ticks(venue: str, asset_class: str, ticks: Sequence[Tick], offset: ClockOffset) -> None:
    """Observe end-to-end and network latency and jitter of ticks that tell the exchange's time; `offset` follows them.

    Jitter is what lies above the offset once all of them are known.
    """
    ends_us = sorted([each.event_time_us - each.exchange_time_us for each in ticks])
    observe_sorted(metrics.LATENCY.labels(venue, asset_class), END_TO_END_US, ends_us)
    ways_us = sorted([each.recv_time_us - each.exchange_time_us for each in ticks if each.recv_time_us])
    if not ways_us:
        return
    observe_sorted(metrics.NETWORK.labels(venue, asset_class), NETWORK_US, ways_us)
    recv_time_us = ticks[-1].recv_time_us
    offset_us = ways_us[0] - offset.add(recv_time_us, recv_time_us - ways_us[0])
    observe_sorted(metrics.JITTER.labels(venue), JITTER_US, ways_us, offset_us)


def observe_sorted(histogram: Histogram, bounds: Sequence[int], values_us: Sequence[int], less_us: int = 0) -> None:
    """Observe rising values, less something, in seconds; as `observe` for each, but once a bucket.

    The library observes one value at a time (prometheus_client 0.22 to 0.26), hence its private parts.

    Args:
        bounds: of the histogram.
    """
    inner: Any = histogram
    buckets = inner._buckets  # noqa: SLF001
    below, count, last = 0, len(values_us), len(bounds)
    while below < count:
        place = bisect_left(bounds, values_us[below] - less_us)
        upto = count if place == last else bisect_right(values_us, bounds[place] + less_us, below)
        buckets[place].inc(upto - below)
        below = upto
    inner._sum.inc((sum(values_us) - less_us * count) / US)  # noqa: SLF001
