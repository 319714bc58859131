"""Latencies of ticks: every one is observed, in the buckets in which the library would put it."""

from random import Random

import pytest
from prometheus_client import CollectorRegistry, Histogram

from processors.latency import NETWORK_US, observe_sorted
from tickerplant.metrics import NETWORK_BUCKETS_S, SignedHistogram


def samples(histogram: Histogram) -> dict[str, float]:
    return {each.name + str(each.labels): each.value for each in next(iter(histogram.collect())).samples
            if not each.name.endswith("_created")}  # fmt: skip


def made() -> SignedHistogram:
    return SignedHistogram("x_seconds", "x", buckets=NETWORK_BUCKETS_S, registry=CollectorRegistry())


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
@pytest.mark.parametrize("less_us", [0, -1_500_000, 2_000])
def test_each_value_is_observed_as_the_library_would(count: int, less_us: int) -> None:
    random, many, single = Random(count), made(), made()
    values = sorted(
        random.choice(
            (random.randrange(-3_000_000, 15_000_000), random.choice(NETWORK_US) + less_us + random.randrange(2))
        )
        for _ in range(count)
    )

    observe_sorted(many, NETWORK_US, values, less_us)
    for each in values:
        single.observe((each - less_us) / 1e6)

    assert samples(many) == pytest.approx(samples(single))
