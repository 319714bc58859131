"""Tables, columns and types that others rely on: none may be dropped, renamed or change its type."""

from collections.abc import Iterator
from typing import Any

import pytest

from sinks.clickhouse_client import connect
from sinks.migrations import migrate

ASSET_CLASS = "Enum8('EQUITY' = 1, 'CRYPTO' = 2, 'FOREX' = 3, 'COMMODITY' = 4)"
VENUE = "LowCardinality(String)"
SOURCE = "source_topic, source_partition, source_offset, source_index"
BY_DAY = "toYYYYMMDD(toDateTime(event_time_us / 1000000))"
LEVELS = "Array(Tuple(Float64, Float64))"

COLUMNS = {
    "metadata.sink_commits": {
        "commit_time_us": "Int64",
        "stage": VENUE,
        "table_name": VENUE,
        "topic": VENUE,
        "partition": "Int32",
        "start_offset": "Int64",
        "end_offset": "Int64",
        "row_count": "Int64",
        "last_exchange_time_us": "Int64",
    },
    "market_data.tick": {
        "event_time_us": "Int64",
        "exchange_time_us": "Int64",
        "symbol": "String",
        "venue": VENUE,
        "asset_class": ASSET_CLASS,
        "price": "Float64",
        "quantity": "Float64",
        "side": "Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2)",
        "bid": "Nullable(Float64)",
        "ask": "Nullable(Float64)",
        "bid_size": "Nullable(Float64)",
        "ask_size": "Nullable(Float64)",
        "sequence_id": "Int64",
        "flags": "String",
        "recv_time_us": "Int64",
        "trade_id": "String",
    },
    "market_data.depth": {
        "event_time_us": "Int64",
        "exchange_time_us": "Int64",
        "symbol": "String",
        "venue": VENUE,
        "bids": LEVELS,
        "asks": LEVELS,
        "snapshot_id": "Int64",
        "is_snapshot": "Bool",
        "sequence": "Int64",
    },
    "market_data.bars": {
        "timestamp": "DateTime('UTC')",
        "symbol": "String",
        "venue": VENUE,
        "asset_class": ASSET_CLASS,
        "open": "Float64",
        "high": "Float64",
        "low": "Float64",
        "close": "Float64",
        "volume": "Float64",
        "vwap": "Nullable(Float64)",
        "trade_count": "Int32",
        "interval": VENUE,
    },
    "market_data.tick_raw": {"payload": "String", "recv_time_us": "Int64", "request": "String"},
    "market_data.trades": {"symbol": "String", "price": "Float64", "quantity": "Float64", "trade_id": "String"},
    "market_data.quotes": {"symbol": "String", "bid": "Nullable(Float64)", "ask": "Nullable(Float64)"},
    "market_data.bars_latest": {"timestamp": "DateTime('UTC')", "close": "Float64", "trade_count": "Int32"},
    "features.market_signals": {"symbol": "String", "microprice": "Nullable(Float64)", "vwap": "Nullable(Float64)"},
    "symbols.mapping": {"venue_symbol": "String", "symbol": "String", "contract_multiplier": "Float64"},
    "metadata.ingestion_runs": {"from_time_us": "Int64", "to_time_us": "Int64", "rows": "Int64"},
    "stocks.historical_eod": {"symbol": "String", "date": "Date", "close": "Float64"},
}
PLUMBING = {*SOURCE.split(", "), "recv_time_us"}
KEYS = {
    "market_data.tick": (BY_DAY, f"venue, symbol, event_time_us, {SOURCE}"),
    "market_data.depth": (BY_DAY, f"venue, symbol, event_time_us, {SOURCE}"),
    "market_data.tick_raw": (BY_DAY, f"venue, event_time_us, {SOURCE}"),
}


@pytest.fixture(scope="module")
def client(gateway: Any) -> Iterator[Any]:
    """A client of a ClickHouse with all tables."""
    found = connect(gateway.settings.clickhouse)
    found.execute("DROP TABLE IF EXISTS metadata.migrations")
    migrate(gateway.settings)
    yield found
    found.disconnect()


def columns(client: Any, table: str) -> dict[str, str]:
    return dict(row[:2] for row in client.execute(f"DESCRIBE TABLE {table}"))


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_have_the_names_and_types_promised(client: Any, table: str) -> None:
    found = columns(client, table)

    assert COLUMNS[table] == {name: found.get(name) for name in COLUMNS[table]}


@pytest.mark.parametrize("view", ["market_data.trades", "market_data.quotes", "market_data.bars_latest"])
def test_views_for_people_hide_the_plumbing(client: Any, view: str) -> None:
    assert PLUMBING.isdisjoint(columns(client, view))


@pytest.mark.parametrize("table", KEYS)
def test_rows_are_partitioned_by_day_and_told_apart_by_their_source(client: Any, table: str) -> None:
    database, name = table.split(".")
    query = "SELECT partition_key, sorting_key FROM system.tables WHERE database = %(database)s AND name = %(name)s"

    assert client.execute(query, {"database": database, "name": name}) == [KEYS[table]]


def test_ticks_are_found_by_exchange_time_without_reading_all(client: Any) -> None:
    query = "SELECT expr FROM system.data_skipping_indices WHERE database = 'market_data' AND table = 'tick'"

    assert ("exchange_time_us",) in client.execute(query)
