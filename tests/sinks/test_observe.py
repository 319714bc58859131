"""Latencies of a chunk: every row, by venue, from each clock; what has no time is left out."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from sinks.observe import Observer, latencies

NOW_US = 1_800_000_000_000_000


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def rows(tick: Any) -> list[Any]:
    """Three ticks of two venues, 1, 2 and 3 s old at the exchange; and one whose venue sends no time."""
    ages = [("BINANCE", 1), ("BINANCE", 2), ("OKX", 3)]
    made = [
        tick(offset, venue=venue, exchange_time_us=NOW_US - age * 10**6, recv_time_us=NOW_US - age * 10**5)
        for offset, (venue, age) in enumerate(ages)
    ]
    return [*made, tick(3, venue="OKX", exchange_time_us=0, recv_time_us=NOW_US - 400_000)]


def test_each_row_tells_its_whole_way_by_venue(chunk: Any, rows: list[Any]) -> None:
    found = {venue: list(seconds) for venue, seconds in latencies(chunk(rows), "exchange_time_us", NOW_US)}

    assert found == {"BINANCE": [1.0, 2.0], "OKX": [3.0]}


def test_a_row_without_an_exchange_time_still_tells_its_processing(chunk: Any, rows: list[Any]) -> None:
    found = {venue: list(seconds) for venue, seconds in latencies(chunk(rows), "recv_time_us", NOW_US)}

    assert found == {"BINANCE": [0.1, 0.2], "OKX": [0.3, 0.4]}


def test_trades_that_were_fetched_later_tell_no_whole_way(chunk: Any, rows: list[Any], tick: Any) -> None:
    times = {"exchange_time_us": NOW_US - 90 * 10**6, "recv_time_us": NOW_US - 500_000}
    fetched = tick(4, venue="OKX", flags="BACKFILL,LATE", **times)
    whole, processing = (
        {venue: list(seconds) for venue, seconds in latencies(chunk([*rows, fetched]), name, NOW_US)} for name in times
    )

    assert whole == {"BINANCE": [1.0, 2.0], "OKX": [3.0]}
    assert processing == {"BINANCE": [0.1, 0.2], "OKX": [0.3, 0.4, 0.5]}


def test_a_table_without_that_time_tells_nothing(chunk: Any, rows: list[Any]) -> None:
    assert list(latencies(chunk(rows), "commit_time_us", NOW_US)) == []


def test_a_stored_chunk_is_observed_under_the_names_that_dashboards_ask_for(chunk: Any, rows: list[Any]) -> None:
    Observer("test_observe").stored(chunk(rows), seconds=0.1, now_us=NOW_US)

    whole = {"store": "test_observe", "table": "market_data.tick", "venue": "BINANCE"}
    assert sample("pipeline_latency_seconds_count", **whole) == 2
    # no sum: Prometheus has none of what may be negative
    assert [sample("pipeline_latency_seconds_bucket", le=each, **whole) for each in ("0.8", "1.0", "2.0")] == [0, 1, 2]
    assert sample("stage_latency_seconds_count", stage="sink.test_observe", venue="OKX") == 2
