"""How many rows the stores hold, and how many of them are distinct by source id."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clickhouse_driver import Client

from tickerplant.lake import read_lake
from tickerplant.security import clickhouse_options
from tickerplant.settings import Settings

SOURCE = ("source_topic", "source_partition", "source_offset", "source_index")
TABLES = {"tick": "market_data.tick", "depth": "market_data.depth"}


@dataclass(frozen=True)
class StoreCount:
    """Rows of a table in a store, all and distinct by source id."""

    rows: int
    distinct: int


@contextmanager
def clickhouse(settings: Settings) -> Iterator[Client]:
    """Connect a client to ClickHouse, and disconnect it."""
    client = Client(**clickhouse_options(settings.clickhouse))
    try:
        yield client
    finally:
        client.disconnect()


def count_clickhouse(client: Client) -> dict[str, StoreCount]:
    """Count the rows of ticks and depth in ClickHouse."""
    counts = {}
    for name, table in TABLES.items():
        [(rows, distinct)] = client.execute(f"SELECT count(), uniqExact({', '.join(SOURCE)}) FROM {table}")  # noqa: S608  # constants
        counts[name] = StoreCount(rows, distinct)
    return counts


def count_parquet(settings: Settings) -> dict[str, StoreCount]:
    """Count the rows of ticks and depth in the Parquet files."""
    return {name: _count_files(settings, name) for name in TABLES}


def _count_files(settings: Settings, name: str) -> StoreCount:
    table = read_lake(f"cleaned/{name}", columns=SOURCE, settings=settings)
    if not table.num_rows:
        return StoreCount(0, 0)
    return StoreCount(table.num_rows, table.group_by(list(SOURCE)).aggregate([]).num_rows)
