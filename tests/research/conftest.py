"""The same quarter of an hour of one symbol in ClickHouse, Parquet and DuckDB."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import arrow_schema
from schemas.records import Bar, Depth, Derived, QualityEvent, Tick
from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from sinks.parquet import partitions
from sinks.tables import TABLES
from tickerplant.research.rows import TABLES as NAMES
from tickerplant.settings import Settings

FROM_US = 1_800_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 86_100_000_000  # five minutes before midnight
SUFFIX = "_research"
ID = {"source_topic": "raw.v", "source_partition": 1}
SYMBOL = {"venue": "OKX", "symbol": "A/B"}
SECONDS = 900


def market() -> list[Derived]:
    """Make a quarter of an hour of one symbol, over midnight, and rows of another one."""
    random, records, price, snapshot_id = Random(3), [], 100.0, 0
    for offset in range(SECONDS * 4):
        recv_us = FROM_US + offset * 250_000
        exchange_us = recv_us - random.choice([0, 5_000, 300_000, 4_000_000])
        times = {"event_time_us": recv_us + 40_000, "exchange_time_us": exchange_us, "recv_time_us": recv_us}
        place = ID | {"source_offset": offset, "source_index": random.randrange(3)} | times
        price = round(price + random.choice([-0.5, 0, 0, 0.5]), 1)
        tick = {"asset_class": "CRYPTO", "price": price, "sequence_id": offset} | SYMBOL | place
        sides = {"bid": price - 0.5, "ask": price + 0.5, "bid_size": random.random(), "ask_size": None}
        if offset % 3 == 0:
            records.append(Tick(**tick, kind="TRADE", quantity=random.random(), side=random.choice(["BUY", "SELL"])))
        elif offset % 3 == 1:
            records.append(Tick(**tick, kind="QUOTE", quantity=0.0, **(sides | {"ask_size": random.random()})))
        elif random.random() < 0.02:
            records.append(QualityEvent(**(place | {"exchange_time_us": 0}), **SYMBOL, kind="BOOK_RESET"))
            snapshot_id += 1
        else:
            is_snapshot = offset % 30 == 2
            snapshot_id += is_snapshot
            records.append(depth(random, price, place, is_snapshot=is_snapshot, snapshot_id=snapshot_id))
        records.append(Tick(**(tick | {"symbol": "C/D", "source_index": 9}), kind="TRADE", quantity=1.0))
    return [*records, *(bar(number) for number in range(12))]


def bar(number: int) -> Bar:
    """Make a bar of the first minutes; each third is told again an hour later, in a second revision."""
    revision, minute = int(number >= 9), number if number < 9 else (number - 9) * 3
    return Bar(
        **ID,
        **SYMBOL,
        source_offset=100_000 + number,
        event_time_us=FROM_US + (minute + 1 + 60 * revision) * 60_000_000,
        asset_class="CRYPTO",
        interval="1m",
        open_time_us=FROM_US + minute * 60_000_000,
        open=1.0,
        high=3.0,
        low=0.5,
        close=2.0,
        volume=10.0 + revision,
        trade_count=7,
        first_trade_id="t",
        last_trade_id=f"t{number}",
        revision=revision,
    )


def depth(random: Random, price: float, place: dict[str, Any], **fields: Any) -> Depth:
    prices = [random.randrange(1, 40) / 2 for _ in range(12)]
    return Depth(
        **place,
        **SYMBOL,
        **fields,
        bid_prices=[price - each for each in prices],
        bid_sizes=[random.choice([0.0, 1.0, 2.5]) for _ in prices],
        ask_prices=[price + each for each in prices],
        ask_sizes=[random.choice([0.0, 1.0, 2.5]) for _ in prices],
    )


RECORDS = market()


@pytest.fixture(scope="session")
def records() -> list[Derived]:
    """What the stores hold, in the order of source ids."""
    return RECORDS


def tables() -> dict[str, pa.Table]:
    found = {}
    for name, record in NAMES.items():
        rows = [msgspec.structs.asdict(each) for each in RECORDS if isinstance(each, record)]
        Random(1).shuffle(rows)  # stores promise no order
        found[name] = pa.Table.from_pylist(rows, arrow_schema(record))
    return found


@pytest.fixture(scope="session")
def stores(gateway: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Fill each store; returns the options by which the command reads it."""
    folder = tmp_path_factory.mktemp("research")
    fill_folder(folder / "converted")
    fill_lake(folder / "lake")
    fill_duckdb(folder)
    fill_clickhouse(gateway.settings)
    config = folder / "settings.toml"
    clickhouse = gateway.settings.clickhouse
    config.write_text(
        f'[clickhouse]\nport = {clickhouse.port}\nhttp_port = {clickhouse.http_port}\ntable_suffix = "{SUFFIX}"\n'
        f'[object_store]\nroot = "{folder / "lake"}"\n'
    )
    return {
        "clickhouse": ["--config", str(config)],
        "parquet": ["--config", str(config), "--store", "parquet"],
        "converted": ["--lake", str(folder / "converted")],
        "duckdb": ["--store", "duckdb", "--database", str(folder / "research.duckdb")],
    }


def fill_folder(folder: Path) -> None:
    folder.mkdir()
    for name, table in tables().items():
        pq.write_table(table, folder / f"{name}.parquet")


def fill_lake(root: Path) -> None:
    for name, table in tables().items():
        base = next(each.folder for each in TABLES.values() if each.record is NAMES[name])
        for day, rows in partitions(table):
            path = root / base / day
            path.mkdir(parents=True)
            pq.write_table(rows.drop_columns(["venue"]), path / "raw.v-1-0-9.parquet")
            pq.write_table(rows.drop_columns(["venue"]).slice(5, 3), path / "raw.v-1-5-7.parquet")  # there twice


def fill_duckdb(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(folder / "research.duckdb")) as database:
        for name in NAMES:
            path = folder / "converted" / f"{name}.parquet"
            database.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")


def fill_clickhouse(settings: Settings) -> None:
    migrate(settings)
    client = connect(settings.clickhouse)
    for name, table in tables().items():
        stored = next(each.name for each in TABLES.values() if each.record is NAMES[name])
        client.execute(f"DROP TABLE IF EXISTS {stored}{SUFFIX}")
        client.execute(f"CREATE TABLE {stored}{SUFFIX} AS {stored}")
        if name != "bar":  # which are kept for ever
            client.execute(f"ALTER TABLE {stored}{SUFFIX} REMOVE TTL")
        rows = [paired(row) for row in table.to_pylist()]
        client.execute(f"INSERT INTO {stored}{SUFFIX} ({', '.join(rows[0])}) VALUES", rows)
    client.disconnect()


def paired(row: dict[str, Any]) -> dict[str, Any]:
    for side in ("bid", "ask"):
        if f"{side}_prices" in row:
            prices, sizes = row.pop(f"{side}_prices"), row.pop(f"{side}_sizes")
            row[f"{side}s"] = list(zip(prices, sizes, strict=True))
    return row
