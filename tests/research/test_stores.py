"""Features equal those of the stream, whatever store they are read from."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from processors.features.stream import FeatureStream
from schemas.records import Depth, Derived, QualityEvent, Tick
from tickerplant.cli import cli
from tickerplant.errors import UserError

FROM_US = 1_800_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 86_100_000_000  # five minutes before midnight
SECONDS = 900
EVERY = ["--venue", "okx", "--symbol", "A/B", "--window", "10", "--window", "60", "--label", "5"]


def streamed(records: Sequence[Derived]) -> dict[int, dict[str, float | None]]:
    """Tell features as the stream has them, by the end of their second."""
    stream, rows = FeatureStream((10, 60)), []
    for record in records:
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


def at(seconds: int) -> str:
    return datetime.fromtimestamp(FROM_US / 1_000_000 + seconds, UTC).isoformat()


def computed(out: Path, options: Sequence[str], first: int = 0, last: int = SECONDS) -> list[dict[str, Any]]:
    cli(["features", *EVERY, "--from", at(first), "--to", at(last), "--out", str(out), *options], standalone_mode=False)
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


@pytest.mark.parametrize("store", ["clickhouse", "parquet", "converted", "duckdb"])
def test_features_of_each_store_are_those_of_the_stream(
    store: str, records: list[Derived], stores: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = computed(tmp_path / "features.parquet", stores[store], first=400, last=800)
    expected = streamed(records)
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
        (["--from", "2h", "--to", "1h", "--window", "0"], "windows are 1 to 3600 whole seconds long"),
        (["--from", "2h", "--to", "1h", "--out", "x.xls"], "is neither .parquet nor .csv"),
        (["--from", "2h", "--to", "1h", "--store", "duckdb", "--database", "no.duckdb"], "no.duckdb does not exist"),
    ],
)
def test_what_cannot_be_computed_is_told_in_one_line(options: list[str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        cli(["features", "--venue", "okx", "--symbol", "A/B", *options], standalone_mode=False)


def test_a_duckdb_file_without_views_says_how_to_make_them(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    options = ["--from", "2h", "--to", "1h", "--store", "duckdb", "--database", str(path)]

    with pytest.raises(UserError, match="CREATE VIEW tick AS SELECT"):
        cli(["features", "--venue", "okx", "--symbol", "A/B", *options], standalone_mode=False)


def test_a_range_without_rows_gives_an_empty_file_with_all_columns(
    stores: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = computed(tmp_path / "features.parquet", stores["parquet"], first=90_000, last=91_000)

    assert rows == []
    assert "vwap_60s" in pq.read_schema(tmp_path / "features.parquet").names
