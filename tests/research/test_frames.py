"""Ticks and books of stored rows as frames, from each store, and the examples that are built on them."""

import json
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

import tickerplant
from processors.book import Book
from schemas.records import Depth, Derived, QualityEvent, Tick
from tickerplant.cli import cli, main
from tickerplant.errors import UserError
from tickerplant.research.lake_rows import LakeRows
from tickerplant.research.rows import Name, Span

FROM_US = 1_800_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 86_100_000_000
EXAMPLES = Path(__file__).parents[2] / "examples"
STORES = ["clickhouse", "parquet", "converted", "duckdb"]


def options(stores: dict[str, list[str]], name: str) -> Any:
    given = dict(zip(stores[name][::2], stores[name][1::2], strict=True))
    names = {"--config": "settings", "--store": "store", "--lake": "lake", "--database": "database"}
    return {names[key]: value for key, value in given.items()}


def us(seconds: float) -> int:
    return FROM_US + round(seconds * 1_000_000)


def since(seconds: float) -> str:
    return datetime.fromtimestamp(us(seconds) / 1e6, UTC).isoformat()


def replayed(records: list[Derived], time_us: int) -> Book | None:
    """Apply what counts by a time, in the order of source ids."""
    book, snapshot_id, newest_us = Book(), 0, 0
    for record in records:
        if not isinstance(record, Depth | QualityEvent):
            continue
        if isinstance(record, Depth) and not record.is_snapshot and record.snapshot_id != snapshot_id:
            continue
        newest_us = max(newest_us, record.exchange_time_us or record.recv_time_us)
        if newest_us > time_us:
            break
        if isinstance(record, QualityEvent):
            book, snapshot_id = Book(), 0
            continue
        bids, asks = (record.bid_prices, record.bid_sizes), (record.ask_prices, record.ask_sizes)
        (book.replace if record.is_snapshot else book.apply)(bids, asks)
        snapshot_id = record.snapshot_id
    return book if snapshot_id else None


@pytest.mark.parametrize("store", STORES)
def test_trades_and_quotes_are_those_that_were_stored(
    store: str, stores: dict[str, list[str]], records: list[Derived]
) -> None:
    where = options(stores, store)
    trades = tickerplant.trades("A/B", "okx", us(100), us(500), **where)
    quotes = tickerplant.quotes("A/B", "OKX", us(100), us(500), **where)
    ticks = [each for each in records if isinstance(each, Tick) and each.symbol == "A/B"]
    wanted = [each for each in ticks if us(100) <= each.event_time_us < us(500)]

    assert trades["sequence_id"].to_pylist() == [each.sequence_id for each in wanted if each.kind == "TRADE"]
    assert trades["price"].to_pylist() == [each.price for each in wanted if each.kind == "TRADE"]
    assert quotes["ask_size"].to_pylist() == [each.ask_size for each in wanted if each.kind == "QUOTE"]
    assert trades["time"][0].as_py() == datetime.fromtimestamp(0, UTC) + timedelta(
        microseconds=trades["exchange_time_us"][0].as_py()
    )


@pytest.mark.parametrize("store", STORES)
def test_columns_that_are_chosen_come_alone_and_in_that_order(store: str, stores: dict[str, list[str]]) -> None:
    what, where = ("A/B", "okx", us(0), us(480)), options(stores, store)
    quotes = tickerplant.quotes(*what, columns=["flags", "bid"], **where)
    bars = tickerplant.bars(*what, columns=["flags", "volume"], **where)

    assert quotes.equals(tickerplant.quotes(*what, **where).select(["time", "flags", "bid"]))
    assert bars.equals(tickerplant.bars(*what, **where).select(["time", "flags", "volume"]))
    with pytest.raises(UserError, match="no column size: there are exchange_time_us, "):
        tickerplant.trades(*what, columns=["size"], **where)


@pytest.mark.parametrize("store", STORES)
def test_bars_are_told_once_in_their_newest_revision(store: str, stores: dict[str, list[str]]) -> None:
    bars = tickerplant.bars("A/B", "okx", us(0), us(480), **options(stores, store))

    assert bars["open_time_us"].to_pylist() == [us(60 * minute) for minute in range(8)]
    assert bars["revision"].to_pylist() == [1, 0, 0, 1, 0, 0, 1, 0]
    assert bars["last_trade_id"].to_pylist() == [f"t{number}" for number in (9, 1, 2, 10, 4, 5, 11, 7)]
    assert bars["volume"].to_pylist() == [10.0 + revision for revision in bars["revision"].to_pylist()]
    assert tickerplant.bars("A/B", "okx", us(0), us(480), interval="5m", **options(stores, store)).num_rows == 0


@pytest.mark.parametrize("store", STORES)
def test_a_book_at_a_time_is_what_its_changes_add_up_to(
    store: str, stores: dict[str, list[str]], records: list[Derived]
) -> None:
    where = options(stores, store)
    stood = 0
    for seconds in (60.1, 199.0, 305.0, 421.3, 777.7):
        found = tickerplant.book_at("A/B", "OKX", us(seconds), **where)
        expected = replayed(records, us(seconds))

        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            stood += 1
            assert dict(found.bids) == expected.bids
            assert [price for price, _ in found.asks] == sorted(expected.asks)
            assert found.changed_time_us <= us(seconds)
    assert stood >= 3


def test_there_is_no_book_before_its_first_snapshot_nor_after_it_was_given_up(
    stores: dict[str, list[str]], records: list[Derived]
) -> None:
    where = options(stores, "converted")
    reset_us = next(each.recv_time_us for each in records if isinstance(each, QualityEvent))

    assert tickerplant.book_at("A/B", "OKX", us(-10), **where) is None
    assert tickerplant.book_at("A/B", "OKX", reset_us + 1, **where) is None


def test_books_over_a_range_are_the_books_at_each_of_its_times(
    stores: dict[str, list[str]], records: list[Derived]
) -> None:
    where = options(stores, "converted")
    rows = tickerplant.books("A/B", "OKX", us(200), us(230), every_s=0.5, levels=3, **where).to_pylist()

    assert [row["time_us"] for row in rows] == [us(200 + number / 2) for number in range(60)]
    for row in rows:
        expected = replayed(records, row["time_us"])
        bids = None if expected is None else expected.levels()[0][0][:3]
        assert row["bid_prices"] == bids


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_come_as_the_library_asked_for(library: Any, stores: dict[str, list[str]]) -> None:
    pytest.importorskip(library)
    frame = tickerplant.quotes("A/B", "OKX", us(0), us(100), library=library, **options(stores, "converted"))

    assert type(frame).__module__.startswith(library)
    assert list(frame.columns)[:2] == ["time", "exchange_time_us"]
    assert len(frame) > 100


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [(5, 5, "is not before"), (datetime(2026, 1, 1), 5, "names no time zone"), ("noon", 5, "is no time")],  # noqa: DTZ001
)
def test_times_that_make_no_range_are_told(start: Any, end: Any, text: str, stores: dict[str, list[str]]) -> None:
    with pytest.raises(UserError, match=text):
        tickerplant.trades("A/B", "OKX", start, end, **options(stores, "converted"))


def test_the_backtest_trades_and_tells_what_it_gained(stores: dict[str, list[str]]) -> None:
    main = runpy.run_path(str(EXAMPLES / "backtest.py"))["main"]
    found = main([*stores["converted"], "--venue", "okx", "--symbol", "A/B", *example_range()])

    assert found["seconds"] > 850
    assert found["trades"] > 5
    assert 0 <= found["hit_rate"] <= 1


def test_the_as_of_join_finds_the_quote_before_each_trade(stores: dict[str, list[str]]) -> None:
    pytest.importorskip("polars")
    main = runpy.run_path(str(EXAMPLES / "asof_join.py"))["main"]
    found = main([*stores["converted"], "--venue", "okx", "--symbol", "A/B", *example_range()])

    assert found["side"].to_list() == ["BUY", "SELL"]
    assert found["trades"].sum() > 800
    assert found["effective_spread_bps"].min() >= 0


def example_range() -> list[str]:
    times = [datetime.fromtimestamp(us(seconds) / 1_000_000, UTC).isoformat() for seconds in (0, 900)]
    return ["--from", times[0], "--to", times[1]]


@pytest.fixture
def soon_after(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have it be ten minutes after the first bar for what writes bars: the next day has begun; tells when, µs."""
    monkeypatch.setattr("tickerplant.research.bar_files.epoch_us", lambda: us(600))
    return us(600)


@pytest.mark.usefixtures("soon_after")
@pytest.mark.parametrize("store", ["clickhouse", "parquet", "duckdb"])
def test_bars_are_written_by_exchange_symbol_and_timeframe_a_day_a_file(
    store: str, stores: dict[str, list[str]], tmp_path: Path
) -> None:
    """The third minute begins another day; what is written again is whole again."""
    arguments = ["bars", "--venue", "okx", "--symbol", "A/B", "--symbol", "N/ONE", "--json", *stores[store]]
    place = ["--from", since(0), "--to", since(480), "--out", str(tmp_path / "out")]
    done = [CliRunner().invoke(cli, [*arguments, *place]) for _ in range(2)]
    found = ds.dataset(tmp_path / "out", partitioning="hive").to_table().to_pylist()
    files = {str(each.relative_to(tmp_path / "out")) for each in (tmp_path / "out").rglob("*") if each.is_file()}

    assert [each.exit_code for each in done] == [0, 0], done[0].output
    assert json.loads(done[1].stdout) | {"out": "", "store": ""} == {
        "venue": "OKX", "symbols": 2, "store": "", "files": 2, "bars": len(found), "out": ""
    }  # fmt: skip
    days = sorted({f"{datetime.fromtimestamp(us(60 * minute) / 1e6, UTC):%Y-%m-%d}" for minute in range(9)})
    assert files == {f"exchange=OKX/symbol=A%2FB/timeframe=1m/{day}.parquet" for day in days}
    assert sorted((each["open_time_us"], each["revision"]) for each in found) == [
        (us(60 * minute), int(minute % 3 == 0)) for minute in range(9)
    ]
    assert {(each["exchange"], each["symbol"], each["timeframe"]) for each in found} == {("OKX", "A/B", "1m")}


def test_bars_of_many_days_are_read_once_a_symbol_and_up_to_today(
    stores: dict[str, list[str]], soon_after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spans, read = [], LakeRows.read

    def noted(rows: LakeRows, name: Name, span: Span, *more: Any) -> pa.Table:
        spans.append(span)
        return read(rows, name, span, *more)

    monkeypatch.setattr(LakeRows, "read", noted)
    arguments = ["bars", "--venue", "okx", "--symbol", "A/B", "--symbol", "N/ONE", "--json", *stores["parquet"]]
    arguments += ["--from", "2026-11-21", "--to", "9999-12-31", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)

    assert json.loads(done.stdout)["files"] == 2
    assert [each.symbol for each in spans] == ["A/B", "N/ONE"]
    assert {each.to_us - soon_after for each in spans} == {86_400_000_000 - 300_000_000}, "the midnight that comes"


@pytest.mark.usefixtures("soon_after")
@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("s3://bucket/bars", "object store does not answer at http://127.0.0.1:1: EndpointConnectionError"),
        ("s3://no bucket/bars", "--out s3://no bucket/bars at http://127.0.0.1:1 cannot be written: Parameter valid"),
        ("s3://", "--out s3:// names no bucket: give s3://bucket/prefix"),
        ("s3:///bars", "--out s3:///bars names no bucket: give s3://bucket/prefix"),
    ],
)
def test_bars_that_s3_does_not_take_end_in_a_line(
    stores: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    told: str,
) -> None:
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:1"), ("ACCESS_KEY", "key"), ("SECRET_KEY", "a-secret")):
        monkeypatch.setenv(f"TICKERPLANT_OBJECT_STORE__{name}", value)
    arguments = ["bars", "--venue", "okx", "--symbol", "A/B", *stores["parquet"]]
    monkeypatch.setattr("sys.argv", ["tickerplant", *arguments, "--from", since(0), "--to", since(480), "--out", out])

    with pytest.raises(SystemExit) as ended:
        main()

    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1), error
    assert error.startswith(f"tickerplant: {told}")


def test_bars_of_no_range_or_venue_are_refused_in_a_line() -> None:
    runner, rest = CliRunner(), ["--symbol", "A/B", "--out", "x"]
    backwards = runner.invoke(cli, ["bars", "--venue", "okx", "--from", "2024-11-21", "--to", "2024-11-20", *rest])
    unknown = runner.invoke(cli, ["bars", "--venue", "nowhere", "--from", "1d", *rest])
    to_come = runner.invoke(cli, ["bars", "--venue", "okx", "--from", "9999-01-01", "--to", "9999-01-02", *rest])

    assert isinstance(to_come.exception, UserError)
    assert "still to come" in str(to_come.exception)
    assert isinstance(backwards.exception, UserError)
    assert str(backwards.exception) == "--from 2024-11-21 is not before --to 2024-11-20"
    assert isinstance(unknown.exception, UserError)
