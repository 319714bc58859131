"""Latencies of a chunk: every row, by venue, from each clock; what has no time is left out."""

from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from schemas.records import Depth, Signal
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


def test_trades_of_before_the_connection_tell_no_whole_way(chunk: Any, rows: list[Any], tick: Any) -> None:
    past = tick(4, venue="OKX", flags="PAST", exchange_time_us=NOW_US - 10**12)
    found = {venue: list(seconds) for venue, seconds in latencies(chunk([*rows, past]), "exchange_time_us", NOW_US)}

    assert found == {"BINANCE": [1.0, 2.0], "OKX": [3.0]}


def test_a_book_that_is_repeated_tells_no_whole_way_however_long_ago_it_changed(chunk: Any) -> None:
    times = {"event_time_us": NOW_US, "exchange_time_us": NOW_US - 2 * 10**6, "recv_time_us": NOW_US - 10**6}
    sides = {name: [1.0] for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")}
    place = {"venue": "OKX", "symbol": "A/B", "source_topic": "raw.okx"}
    change = Depth(**times, **place, **sides, is_snapshot=False, snapshot_id=1)
    keyframe = msgspec.structs.replace(
        change, is_snapshot=True, is_keyframe=True, exchange_time_us=NOW_US - 600 * 10**6, source_offset=1
    )
    stored = chunk([change, keyframe], topic="cleaned.depth")

    assert {venue: list(each) for venue, each in latencies(stored, "exchange_time_us", NOW_US)} == {"OKX": [2.0]}
    assert {venue: list(each) for venue, each in latencies(stored, "recv_time_us", NOW_US)} == {"OKX": [1.0, 1.0]}


def test_features_tell_no_whole_way_for_they_wait_until_their_second_is_over(chunk: Any) -> None:
    empty: dict[str, Any] = {each.name: [] for each in msgspec.structs.fields(Signal) if each.required}
    times = {"event_time_us": NOW_US, "exchange_time_us": NOW_US - 10**6, "recv_time_us": NOW_US - 5 * 10**5}
    signal = Signal(**empty | times | {"venue": "OKX", "symbol": "A/B"})
    whole, processing = (
        {venue: list(seconds) for venue, seconds in latencies(chunk([signal], topic="features.signal"), name, NOW_US)}
        for name in ("exchange_time_us", "recv_time_us")
    )

    assert (whole, processing) == ({}, {"OKX": [0.5]})


def test_the_first_dead_letter_of_a_sink_is_seen_to_rise() -> None:
    Observer("test_letters")

    for venue in ("OKX", ""):
        labels = {"stage": "sink.test_letters", "venue": venue}
        assert REGISTRY.get_sample_value("stage_dead_letters_total", labels) == 0.0


def test_a_table_without_that_time_tells_nothing(chunk: Any, rows: list[Any]) -> None:
    assert list(latencies(chunk(rows), "commit_time_us", NOW_US)) == []


def test_a_stored_chunk_is_observed_under_the_names_that_dashboards_ask_for(chunk: Any, rows: list[Any]) -> None:
    Observer("test_observe").stored(chunk(rows), seconds=0.1, now_us=NOW_US)

    whole = {"store": "test_observe", "table": "market_data.tick", "venue": "BINANCE"}
    assert sample("pipeline_latency_seconds_count", **whole) == 2
    # no sum: Prometheus has none of what may be negative
    assert [sample("pipeline_latency_seconds_bucket", le=each, **whole) for each in ("0.8", "1.0", "2.0")] == [0, 1, 2]
    assert sample("stage_latency_seconds_count", stage="sink.test_observe", venue="OKX") == 2
