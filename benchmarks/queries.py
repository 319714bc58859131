"""Queries of backtests: our research calls on Parquet and on ClickHouse, beside DuckDB and Polars on the same Parquet.

Run: python -m benchmarks.queries [ROUNDS]

A day of ticks of three symbols, a month of bars of twenty, and an hour of changes of a book are made by numpy from a
seed and written by our own stores: into a folder, as objects of a lake, and through the gateway into ClickHouse.
DuckDB (SQL over `read_parquet`, hive partitions, what describes files kept in memory) and Polars (`scan_parquet`, lazy
up to one `collect`) read that folder as their users do, with the filters pushed down; what each call gives is compared
before the clock starts. All run in one process, warm, in turns. Ours does more: it opens the store in each call, looks
for what swaps of replays have replaced, makes sure that rows come in the venue's order and each once (peers sort by
source ids, where the order counts, but take each object for whole and each row for one), and of books it follows ids,
resets and changes that were taken in late.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import tickerplant
from benchmarks.page import rows as table_rows
from benchmarks.turns import ROUNDS, Turns, in_turns
from schemas.records import Bar, Depth, Record, Tick
from sinks.chunk import Chunk, Span
from sinks.clickhouse import ClickHouseStore
from sinks.migrations import migrate
from sinks.parquet import ParquetStore
from sinks.store import Store
from sinks.tables import TABLES
from tickerplant.errors import DependencyError
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings

AIM: Final = 0.5
"""Nothing slower than twice the best."""
SEED: Final = 8
SYMBOLS: Final = tuple(f"S{number:02}/USDT" for number in range(20))
SYMBOL: Final = SYMBOLS[1]
TICK_SYMBOLS: Final = 3
TICKS: Final = 2_100_000
QUOTES_SHARE: Final = 0.7
DAY_US: Final = 86_400_000_000
MONTH_DAYS: Final = 31
DAY: Final = date(2026, 11, 1)
FROM_US: Final = 1_793_491_200_000_000  # of the day
DEPTHS: Final = 72_000  # of an hour
KEYFRAME_EVERY: Final = 200
LEVELS: Final = 200
CHANGED: Final = 4
CHUNK_ROWS: Final = 200_000
BOOK_US: Final = FROM_US + 2_345_678_901
STARTUP_S: Final = 60.0
POLL_S: Final = 0.1
TIMES: Final = ("exchange_time_us", "recv_time_us", "event_time_us")
QUOTE_COLUMNS: Final = (*TIMES, "bid", "ask", "bid_size", "ask_size", "sequence_id", "flags")
BAR_COLUMNS: Final = (
    *("open_time_us", "interval", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "vwap"),
    *("trade_count", "first_trade_id", "last_trade_id", "revision", "flags"),
)
TRADE_JOINED: Final = ("exchange_time_us", "price")
QUOTE_JOINED: Final = ("exchange_time_us", "bid", "ask")
Sides = dict[str, Callable[[], Any]]
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class DiffersError(AssertionError):
    """Two sides answer a query differently."""


@dataclass(frozen=True)
class Stored:
    """Where the rows are.

    Args:
        lake: folder of Parquet.
        settings: tell where ClickHouse is.
    """

    lake: Path
    settings: Settings

    def files(self, folder: str) -> str:
        """Name all objects of a folder of the lake."""
        return f"{self.lake}/{folder}/**/*.parquet"


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare milliseconds of each query, medians of turns."""
    duckdb.sql("SET parquet_metadata_cache = true")  # as ours remembers what statistics tell
    with stored() as where:
        found: dict[str, Any] = {"ticks": TICKS, "bars": MONTH_DAYS * 1440 * len(SYMBOLS), "book_changes": DEPTHS}
        for name, sides_of in QUERIES.items():
            sides = sides_of(where)
            check(name, sides)
            values = in_turns({side: timed(ask) for side, ask in sides.items()}, rounds)
            for store, ours in OURS.items():
                each = {"tickerplant": values[ours]} | {
                    side: values[side] for side in values if side not in OURS.values()
                }
                found[f"{name}, {store}"] = Turns(
                    unit="ms", sides=each, aims=dict.fromkeys(list(each)[1:], AIM), is_less_better=True
                )
        return found


def timed(ask: Callable[[], Any]) -> Callable[[], float]:
    """Make what asks once and tells the milliseconds."""

    def run() -> float:
        began_s = time.perf_counter()
        ask()
        return (time.perf_counter() - began_s) * 1000

    return run


def check(name: str, sides: Sides) -> None:
    """Make sure that all sides answer alike; the first calls, which warm them.

    Raises:
        DiffersError: they do not.
    """
    found = {side: digest(ask()) for side, ask in sides.items()}
    first = next(iter(found.values()))
    for side, values in found.items():
        if values.keys() != first.keys() or not all(np.isclose(values[key], first[key], rtol=1e-12) for key in first):
            raise DiffersError(f"{name}: {side} gives {values}, {next(iter(found))} {first}")


def digest(answer: Any) -> dict[str, float]:
    """Count rows, and for each column of numbers add the values, and the values by their place: order counts."""
    table: pa.Table = answer.to_arrow() if isinstance(answer, pl.DataFrame) else answer
    found = {"rows": float(table.num_rows)}
    for name in sorted(table.column_names):
        kind = table[name].type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = table[name].cast(pa.float64(), safe=False).to_numpy()
            found |= {name: float(values.sum()), f"{name} by place": float(values @ np.arange(len(values)))}
    return found


def quotes_of_a_day(where: Stored) -> Sides:
    """Ask for a day of quotes of a symbol, in the venue's order."""
    day = (SYMBOL, "binance", FROM_US, FROM_US + DAY_US)
    columns = ", ".join(QUOTE_COLUMNS)
    files = where.files("cleaned/tick")
    return {
        "tickerplant on Parquet": lambda: tickerplant.quotes(*day, lake=where.lake),
        "tickerplant on ClickHouse": lambda: tickerplant.quotes(*day, settings=where.settings),
        "DuckDB": lambda: duckdb.sql(
            f"SELECT {columns} FROM read_parquet('{files}', hive_partitioning = true) "  # our own names
            f"WHERE venue = 'BINANCE' AND date = '2026-11-01' AND symbol = '{SYMBOL}' AND kind = 'QUOTE' "
            "ORDER BY source_offset, source_index"
        ).to_arrow_table(),
        "Polars": lambda: (
            pl.scan_parquet(files, hive_partitioning=True)
            .filter(ticks_of_day("QUOTE"))
            .sort("source_offset", "source_index")
            .select(QUOTE_COLUMNS)
            .collect()
        ),
    }


def ticks_of_day(kind: str) -> pl.Expr:
    """Write the filter of a day's ticks."""
    return (
        (pl.col("venue") == "BINANCE")
        & (pl.col("date") == DAY)
        & (pl.col("symbol") == SYMBOL)
        & (pl.col("kind") == kind)
    )


def bars_of_a_month(where: Stored) -> Sides:
    """Ask for a month of one-minute bars of a symbol, the newest revision of each."""
    month = (SYMBOL, "binance", FROM_US, FROM_US + MONTH_DAYS * DAY_US)
    files = where.files("cleaned/bar")
    columns = ", ".join(BAR_COLUMNS)
    return {
        "tickerplant on Parquet": lambda: tickerplant.bars(*month, lake=where.lake),
        "tickerplant on ClickHouse": lambda: tickerplant.bars(*month, settings=where.settings),
        "DuckDB": lambda: duckdb.sql(
            f"SELECT {columns} FROM read_parquet('{files}', hive_partitioning = true) "
            f"WHERE venue = 'BINANCE' AND symbol = '{SYMBOL}' AND interval = '1m' "
            "QUALIFY row_number() OVER (PARTITION BY open_time_us ORDER BY revision DESC) = 1 ORDER BY open_time_us"
        ).to_arrow_table(),
        "Polars": lambda: (
            pl.scan_parquet(files, hive_partitioning=True)
            .filter((pl.col("venue") == "BINANCE") & (pl.col("symbol") == SYMBOL) & (pl.col("interval") == "1m"))
            .sort("open_time_us", "revision")
            .unique("open_time_us", keep="last", maintain_order=True)
            .select(BAR_COLUMNS)
            .collect()
        ),
    }


def book_at_a_time(where: Stored) -> Sides:
    """Ask for the book at a time; whole ones are stored every ten seconds, so the minute before is read."""
    what = (SYMBOL, "binance", BOOK_US)
    files = where.files("cleaned/depth")
    return {
        "tickerplant on Parquet": lambda: levels_of(tickerplant.book_at(*what, lake=where.lake)),
        "tickerplant on ClickHouse": lambda: levels_of(tickerplant.book_at(*what, settings=where.settings)),
        "DuckDB": lambda: duckdb.sql(
            "WITH changes AS (SELECT source_offset AS place, is_snapshot, bid_prices, bid_sizes, ask_prices, ask_sizes "
            f"FROM read_parquet('{files}', hive_partitioning = true) WHERE venue = 'BINANCE' AND date = '2026-11-01' "
            f"AND symbol = '{SYMBOL}' AND exchange_time_us BETWEEN {BOOK_US - 60_000_000} AND {BOOK_US}), "
            "begun AS (SELECT * FROM changes WHERE place >= (SELECT max(place) FROM changes WHERE is_snapshot)), "
            "lines AS (SELECT place, 1 AS side, unnest(bid_prices) AS price, unnest(bid_sizes) AS size FROM begun "
            "UNION ALL SELECT place, 2, unnest(ask_prices), unnest(ask_sizes) FROM begun) "
            "SELECT side, price, arg_max(size, place) AS size FROM lines GROUP BY side, price "
            "HAVING arg_max(size, place) > 0 ORDER BY side, if(side = 1, -price, price)"
        ).to_arrow_table(),
        "Polars": lambda: book_by_polars(files),
    }


def levels_of(book: Any) -> pa.Table:
    """Lay a book out as rows."""
    lines = [(1, *level) for level in book.bids] + [(2, *level) for level in book.asks]
    side, price, size = zip(*lines, strict=True)
    return pa.table({"side": side, "price": price, "size": size})


def book_by_polars(files: str) -> pl.DataFrame:
    """Rebuild a book as users of Polars do."""
    minute = pl.col("exchange_time_us").is_between(BOOK_US - 60_000_000, BOOK_US)
    changes = (
        pl.scan_parquet(files, hive_partitioning=True)
        .filter((pl.col("venue") == "BINANCE") & (pl.col("date") == DAY) & (pl.col("symbol") == SYMBOL) & minute)
        .select("source_offset", "is_snapshot", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
        .collect()
        .sort("source_offset")
    )
    begun = changes.filter(pl.col("source_offset") >= changes.filter("is_snapshot")["source_offset"].max())
    sides = []
    for side, (price, size) in enumerate((("bid_prices", "bid_sizes"), ("ask_prices", "ask_sizes")), 1):
        lines = begun.select(pl.col(price).alias("price"), pl.col(size).alias("size")).explode("price", "size")
        last = lines.group_by("price", maintain_order=True).last().filter(pl.col("size") > 0)
        ordered = last.sort("price", descending=side == 1)
        sides.append(ordered.select(pl.lit(side).cast(pl.Int64).alias("side"), "price", "size"))
    return pl.concat(sides)


def trades_beside_quotes(where: Stored) -> Sides:
    """Ask for each trade of a day beside the quote before it, by the exchange's clock."""
    day = (SYMBOL, "binance", FROM_US, FROM_US + DAY_US)
    files = where.files("cleaned/tick")
    rows = f"read_parquet('{files}', hive_partitioning = true) WHERE venue = 'BINANCE' AND date = '2026-11-01'"
    return {
        "tickerplant on Parquet": lambda: joined(
            tickerplant.trades(*day, lake=where.lake, library="polars", columns=TRADE_JOINED),
            tickerplant.quotes(*day, lake=where.lake, library="polars", columns=QUOTE_JOINED),
        ),
        "tickerplant on ClickHouse": lambda: joined(
            tickerplant.trades(*day, settings=where.settings, library="polars", columns=TRADE_JOINED),
            tickerplant.quotes(*day, settings=where.settings, library="polars", columns=QUOTE_JOINED),
        ),
        "DuckDB": lambda: duckdb.sql(
            f"WITH trades AS (SELECT exchange_time_us, price FROM {rows} AND symbol = '{SYMBOL}' AND kind = 'TRADE'), "
            f"quotes AS (SELECT exchange_time_us, bid, ask FROM {rows} AND symbol = '{SYMBOL}' AND kind = 'QUOTE') "
            "SELECT exchange_time_us, price, bid, ask FROM trades ASOF JOIN quotes USING (exchange_time_us) "
            "ORDER BY exchange_time_us"
        ).to_arrow_table(),
        "Polars": lambda: joined(by_polars(files, "TRADE"), by_polars(files, "QUOTE")).collect(),
    }


def by_polars(files: str, kind: str) -> pl.LazyFrame:
    """Plan to read what a join needs."""
    columns = TRADE_JOINED if kind == "TRADE" else QUOTE_JOINED
    return pl.scan_parquet(files, hive_partitioning=True).filter(ticks_of_day(kind)).select(columns)


def joined(trades: Frame, quotes: Frame) -> Frame:
    """Join by the exchange's time, as `examples/asof_join.py` does."""
    left = trades.select(TRADE_JOINED).sort("exchange_time_us", maintain_order=True)
    right = quotes.select(QUOTE_JOINED).sort("exchange_time_us", maintain_order=True)
    return left.join_asof(right, on="exchange_time_us", strategy="backward").filter(pl.col("bid").is_not_null())


OURS: Final = {"Parquet": "tickerplant on Parquet", "ClickHouse": "tickerplant on ClickHouse"}
QUERIES: Final[dict[str, Callable[[Stored], Sides]]] = {
    "a day of quotes of a symbol": quotes_of_a_day,
    "a month of bars of a symbol": bars_of_a_month,
    "the book at a time": book_at_a_time,
    "trades of a day beside quotes, as-of join": trades_beside_quotes,
}


@contextmanager
def stored() -> Iterator[Stored]:
    """Write all rows into a folder and into ClickHouse, and end that at last."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        lake = Path(folder) / "lake"
        settings = settings.model_copy(
            update={"object_store": settings.object_store.model_copy(update={"root": str(lake)})}
        )
        ports = ("--port", str(settings.clickhouse.port), "--http-port", str(settings.clickhouse.http_port))
        command = [sys.executable, "-m", "tickerplant.local.gateway", *ports, "--data", str(Path(folder) / "tables")]
        gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            begin(settings)
            fill(ClickHouseStore(settings), ParquetStore(settings))
            yield Stored(lake, settings)
        finally:
            gateway.terminate()
            gateway.wait(30)


def begin(settings: Settings) -> None:
    """Wait for the gateway, and make tables."""
    until_s = time.monotonic() + STARTUP_S
    while True:
        try:
            migrate(settings)
        except DependencyError:
            if time.monotonic() > until_s:
                raise
            time.sleep(POLL_S)
        else:
            return


def fill(*stores: Store) -> None:
    """Write all rows."""
    random = np.random.default_rng(SEED)
    for each in stores:
        each.open()
    for topic, batches in (
        ("cleaned.tick", ticks(random)),
        ("cleaned.bar", bars(random)),
        ("cleaned.depth", depths(random)),
    ):
        start = 0
        for batch in batches:
            span = Span(topic=topic, partition=0, generation="", start=start, end=start + batch.num_rows - 1)
            start += batch.num_rows
            for each in stores:
                each.write(Chunk(table=TABLES[topic], span=span, batches=[batch]))
    for each in stores:
        each.close()


def ticks(random: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Make a day of ticks: prices walk, quotes stand around them."""
    times_us = FROM_US + np.sort(random.integers(0, DAY_US, TICKS))
    owners = random.integers(0, TICK_SYMBOLS, TICKS)
    prices = np.round(1000.0 + np.cumsum(random.choice([-0.1, 0.0, 0.1], TICKS)), 1)
    is_quote = random.random(TICKS) < QUOTES_SHARE
    sizes = np.round(random.exponential(0.5, (3, TICKS)) + 0.001, 3)
    for first in range(0, TICKS, CHUNK_ROWS):
        part = slice(first, min(first + CHUNK_ROWS, TICKS))
        quote, price, time_us = is_quote[part], prices[part], times_us[part]
        numbers = np.arange(part.start, part.stop)
        yield batch_of(
            Tick,
            len(numbers),
            symbol=np.array(SYMBOLS)[owners[part]],
            asset_class="CRYPTO",
            kind=np.where(quote, "QUOTE", "TRADE"),
            side=np.where(quote, "UNKNOWN", np.where(numbers % 2, "BUY", "SELL")),
            price=price,
            quantity=np.where(quote, 0.0, sizes[0, part]),
            bid=pa.array(price - 0.1, mask=~quote),
            ask=pa.array(price + 0.1, mask=~quote),
            bid_size=pa.array(sizes[1, part], mask=~quote),
            ask_size=pa.array(sizes[2, part], mask=~quote),
            trade_id=np.where(quote, "", numbers.astype(str)),
            sequence_id=numbers,
            exchange_time_us=time_us,
            recv_time_us=time_us + 4_000,
            event_time_us=time_us + 5_000,
            source_offset=numbers // 10,
            source_index=numbers % 10,
        )


def bars(random: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Make a month of one-minute bars, each fiftieth told again."""
    minutes = np.arange(MONTH_DAYS * 1440)
    for day in range(MONTH_DAYS):
        opens_us = FROM_US + np.repeat(minutes[day * 1440 : (day + 1) * 1440], len(SYMBOLS)) * 60_000_000
        symbols = np.tile(np.array(SYMBOLS), 1440)
        told_again = np.flatnonzero(random.random(len(opens_us)) < 0.02)
        order = np.concatenate([np.arange(len(opens_us)), told_again])
        numbers = day * 100_000 + np.arange(len(order))
        price = np.round(random.uniform(90, 110, len(order)), 2)
        revision = np.concatenate([np.zeros(len(opens_us), int), np.ones(len(told_again), int)])
        yield batch_of(
            Bar,
            len(order),
            symbol=symbols[order],
            asset_class="CRYPTO",
            interval="1m",
            open_time_us=opens_us[order],
            event_time_us=opens_us[order] + 60_000_000 - 1,
            open=price,
            high=price + 1,
            low=price - 1,
            close=price + 0.5,
            volume=price,
            quote_volume=price * 2,
            buy_volume=price / 2,
            vwap=price,
            trade_count=numbers % 77,
            revision=revision,
            source_offset=numbers,
        )


def depths(random: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """Make an hour of changes around a price, with the whole book now and then."""
    book = [{1000.0 + side * (number + 1) / 10: 1.0 for number in range(LEVELS)} for side in (-1, 1)]
    lists: list[list[list[float]]] = [[], [], [], []]
    picks, sizes = random.integers(1, LEVELS + 1, (DEPTHS, 2, CHANGED)), random.random((DEPTHS, 2, CHANGED))
    for number in range(DEPTHS):
        for side, (sign, levels) in enumerate(zip((-1, 1), book, strict=True)):
            changes = {
                1000.0 + sign * int(pick) / 10: 0.0 if size < 0.2 else round(float(size), 3)
                for pick, size in zip(picks[number, side], sizes[number, side], strict=True)
            }
            levels.update(changes)
            for price in [price for price, size in changes.items() if not size]:
                del levels[price]
            shown = dict(sorted(levels.items(), reverse=not side)) if number % KEYFRAME_EVERY == 0 else changes
            lists[2 * side].append(list(shown))
            lists[2 * side + 1].append(list(shown.values()))
    numbers = np.arange(DEPTHS)
    times_us = FROM_US + numbers * 50_000
    yield batch_of(
        Depth,
        DEPTHS,
        symbol=SYMBOL,
        is_snapshot=numbers % KEYFRAME_EVERY == 0,
        is_keyframe=(numbers % KEYFRAME_EVERY == 0) & (numbers > 0),
        snapshot_id=np.ones(DEPTHS, int),
        bid_prices=pa.array(lists[0]),
        bid_sizes=pa.array(lists[1]),
        ask_prices=pa.array(lists[2]),
        ask_sizes=pa.array(lists[3]),
        exchange_time_us=times_us,
        recv_time_us=times_us + 4_000,
        event_time_us=times_us + 5_000,
        source_offset=numbers,
    )


def batch_of(record: type[Record], count: int, **values: Any) -> pa.RecordBatch:
    """Make rows of a record; what is not given is 0 or empty, what is one value stands in all rows."""
    schema = TABLES[{Tick: "cleaned.tick", Bar: "cleaned.bar", Depth: "cleaned.depth"}[record]].schema
    given = {"venue": "BINANCE", "source_topic": "raw.binance@WW4E8a-_", **values}
    arrays = [
        _array(given.get(field.name, "" if pa.types.is_string(field.type) else 0), field, count) for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(value: Any, field: pa.Field, count: int) -> pa.Array:
    if isinstance(value, pa.Array):
        return value.cast(field.type)
    if isinstance(value, np.ndarray):
        return pa.array(value).cast(field.type)
    return pc.cast(pa.repeat(value, count), field.type)


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    for title, value in measure(int(arguments[0]) if arguments else ROUNDS).items():
        print(*(table_rows(title, value) if isinstance(value, Turns) else (title, value)), sep="\n")
