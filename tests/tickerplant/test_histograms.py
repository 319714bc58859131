"""Many observations at once are the same as each in turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tickerplant.histograms import observe_all
from tickerplant.metrics import NETWORK_BUCKETS_S, WHOLE_WAY_BUCKETS_S, SignedHistogram


@given(
    st.lists(st.one_of(st.floats(-5, 30_000), st.sampled_from(WHOLE_WAY_BUCKETS_S + NETWORK_BUCKETS_S)), max_size=50),
    st.sampled_from([WHOLE_WAY_BUCKETS_S, NETWORK_BUCKETS_S]),
)
def test_many_at_once_are_counted_as_each_in_turn(values: list[float], buckets: tuple[float, ...]) -> None:
    registry = CollectorRegistry()
    each, many = (SignedHistogram(name, name, buckets=buckets, registry=registry) for name in ("each", "many"))

    for value in values:
        each.observe(value)
    observe_all(many, np.array(values))

    assert registry.get_sample_value("each_sum") == pytest.approx(registry.get_sample_value("many_sum"))
    bounds = [*map(float, buckets), float("inf")]
    for bound in bounds:
        le = {"le": "+Inf" if bound == float("inf") else str(bound)}
        assert registry.get_sample_value("each_bucket", le) == registry.get_sample_value("many_bucket", le)
    assert registry.get_sample_value("each_count") == registry.get_sample_value("many_count")
