"""The same rows in ClickHouse, Parquet and DuckDB: features equal those of the stream, whatever they are read from."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processors.features.stream import FeatureStream
from schemas.arrow import arrow_schema
from schemas.records import Depth, Derived, QualityEvent, Tick
from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from sinks.parquet import partitions
from sinks.tables import TABLES
from tickerplant.cli import cli
from tickerplant.errors import UserError
from tickerplant.research.rows import TABLES as NAMES
from tickerplant.settings import Settings

FROM_US = 1_800_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 86_100_000_000  # five minutes before midnight
SUFFIX = "_research"
ID = {"source_topic": "raw.v", "source_partition": 1}
SYMBOL = {"venue": "V", "symbol": "A/B"}
SECONDS = 900
EVERY = ["--venue", "v", "--symbol", "A/B", "--window", "10", "--window", "60", "--label", "5"]


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
            records.append(QualityEvent(**place, **SYMBOL, kind="BOOK_RESET"))
            snapshot_id += 1
        else:
            is_snapshot = offset % 40 == 2
            snapshot_id += is_snapshot
            records.append(depth(random, price, place, is_snapshot=is_snapshot, snapshot_id=snapshot_id))
        records.append(Tick(**(tick | {"symbol": "C/D", "source_index": 9}), kind="TRADE", quantity=1.0))
    return records


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


def streamed() -> dict[int, dict[str, float | None]]:
    """Tell features as the stream has them, by the end of their second."""
    stream, rows = FeatureStream((10, 60)), []
    for record in RECORDS:
        if record.symbol != "A/B":  # type: ignore[attr-defined]
            continue
        if isinstance(record, Depth):
            rows += stream.on_depth(record)
        elif isinstance(record, QualityEvent):
            rows += stream.on_reset(record.recv_time_us)
        elif isinstance(record, Tick):
            rows += stream.on_quote(record) if record.kind == "QUOTE" else stream.on_trade(record)
    found = {}
    for row in rows:
        values: dict[str, float | None] = {"mid": row.mid, "spread": row.spread, "microprice": row.microprice}
        shape = row.shape
        values["depth_weighted_price"] = shape.weighted_price if shape else None
        values["book_imbalance_5"] = shape.imbalances[1] if shape else None
        for name in row.windows.__struct_fields__:
            values |= {f"{name}_{s}s": value for s, value in zip((10, 60), getattr(row.windows, name), strict=True)}
        found[(row.second + 1) * 1_000_000] = values
    return found


def tables() -> dict[str, pa.Table]:
    found = {}
    for name, record in NAMES.items():
        rows = [msgspec.structs.asdict(each) for each in RECORDS if isinstance(each, record)]
        Random(1).shuffle(rows)  # stores promise no order
        found[name] = pa.Table.from_pylist(rows, arrow_schema(record))
    return found


@pytest.fixture(scope="module")
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


def at(seconds: int) -> str:
    return datetime.fromtimestamp(FROM_US / 1_000_000 + seconds, UTC).isoformat()


def computed(out: Path, options: Sequence[str], first: int = 0, last: int = SECONDS) -> list[dict[str, Any]]:
    cli(["features", *EVERY, "--from", at(first), "--to", at(last), "--out", str(out), *options], standalone_mode=False)
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


@pytest.mark.parametrize("store", ["clickhouse", "parquet", "converted", "duckdb"])
def test_features_of_each_store_are_those_of_the_stream(
    store: str, stores: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = computed(tmp_path / "features.parquet", stores[store], first=400, last=800)
    expected = streamed()
    wanted = [(second + 1) * 1_000_000 + FROM_US for second in range(400, 800)]

    assert [row["time_us"] for row in rows] == wanted
    for row in rows:
        for name, value in expected[row["time_us"]].items():
            assert is_same(row[name], value), (name, row[name], value)
    assert any(row["depth_weighted_price"] for row in rows)


def is_same(actual: float | None, expected: float | None) -> bool:
    if actual is None or expected is None:
        return actual is expected
    return math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-15)


def test_labels_are_the_move_of_the_mid_that_follows(
    stores: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = computed(tmp_path / "features.parquet", stores["converted"], last=300)
    later = computed(tmp_path / "later.parquet", stores["converted"], first=5, last=305)

    for row, after in zip(rows, later, strict=True):
        if row["label_mid_return_5s"] is not None:
            assert is_same(row["label_mid_return_5s"], math.log(after["mid"] / row["mid"]))
    assert sum(row["label_mid_return_5s"] is not None for row in rows) > 290


def test_rows_are_written_as_csv_to_standard_output_where_no_file_is_named(
    stores: dict[str, list[str]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    cli(["features", *EVERY, "--from", at(0), "--to", at(9), *stores["converted"]], standalone_mode=False)
    lines = capfdbinary.readouterr().out.decode().splitlines()

    assert lines[0].startswith('"time_us","spread"')
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--from", "2h", "--to", "2h"], "is not before"),
        (["--from", "yesterday", "--to", "1h"], "is no time"),
        (["--from", "2h", "--to", "1h", "--window", "0"], "windows are 1 to 3600 s long"),
        (["--from", "2h", "--to", "1h", "--out", "x.xls"], "is neither .parquet nor .csv"),
        (["--from", "2h", "--to", "1h", "--store", "duckdb", "--database", "no.duckdb"], "no.duckdb does not exist"),
    ],
)
def test_what_cannot_be_computed_is_told_in_one_line(options: list[str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        cli(["features", "--venue", "v", "--symbol", "A/B", *options], standalone_mode=False)


def test_a_duckdb_file_without_views_says_how_to_make_them(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    options = ["--from", "2h", "--to", "1h", "--store", "duckdb", "--database", str(path)]

    with pytest.raises(UserError, match="CREATE VIEW tick AS SELECT"):
        cli(["features", "--venue", "v", "--symbol", "A/B", *options], standalone_mode=False)


def test_a_range_without_rows_gives_an_empty_file_with_all_columns(
    stores: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = computed(tmp_path / "features.parquet", stores["parquet"], first=90_000, last=91_000)

    assert rows == []
    assert "vwap_60s" in pq.read_schema(tmp_path / "features.parquet").names
