"""Ticks, bars, books and features of stored rows as frames: what `tickerplant.trades`, `tickerplant.book_at` ... give.

One call opens the store, reads, and closes it. Arrow comes without more; pandas and Polars where they are installed.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from numbers import Integral
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack, get_args

import numpy as np
import pyarrow as pa

from processors.bars import LENGTHS_US
from processors.features.stream import DEFAULT_WINDOWS_S
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_options, check_symbol, chosen_venue
from tickerplant.errors import UserError
from tickerplant.extras import need_library
from tickerplant.research.books import DEFAULT_LEVELS, BookView, book_before, books_of
from tickerplant.research.compute import Wish, check_labels, check_windows, compute
from tickerplant.research.rows import TIME, TIME_OF, Name, Rows, Span, Store, open_rows, time_of
from tickerplant.settings import Settings, load_settings
from tickerplant.since import since_us

Time = datetime | str | int | np.datetime64
"""With a zone; ISO 8601 (UTC where it names no zone); µs since the epoch."""
ENDS_US: Final = 253_402_300_800_000_000  # 10000-01-01
DAY_S: Final = 86_400.0

Library = Literal["arrow", "pandas", "polars"]
LIBRARIES: Final = get_args(Library)

TIMES: Final = (*TIME_OF, "event_time_us")
TRADE_COLUMNS: Final = (*TIMES, "price", "quantity", "side", "trade_id", "sequence_id", "flags")
BAR_COLUMNS: Final = (
    *("open_time_us", "interval", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "vwap"),
    *("trade_count", "first_trade_id", "last_trade_id", "revision", "flags"),
)
QUOTE_COLUMNS: Final = (*TIMES, "bid", "ask", "bid_size", "ask_size", "sequence_id", "flags")


class Options(TypedDict, total=False):
    """Where rows are read from, and as what they are given; each may be left out.

    Args:
        store: `clickhouse` (default), `parquet` or `duckdb`.
        lake: another lake than that of the settings, or a folder that `tickerplant convert` wrote; implies `parquet`.
        database: file of DuckDB.
        library: `arrow` (default: a `pyarrow.Table`), `pandas` or `polars`.
        columns: of `trades`, `quotes` and `bars`: these alone are read, besides `time`; left out = all.
        settings: or the path of a settings file; None = TICKERPLANT_CONFIG and the environment.
    """

    store: Store
    lake: Path | str | None
    database: Path | str | None
    library: Library
    columns: Sequence[str]
    settings: Settings | Path | str | None


OPTIONS: Final = frozenset(Options.__annotations__)


def trades(symbol: str, venue: str, start: Time, end: Time, **options: Unpack[Options]) -> Any:
    """Read trades that were taken in from one time up to another, in the venue's order.

    The first column, `time`, is the exchange's time, or that of reading where the venue sends none.

    Raises:
        UserError: a time, symbol or option is none, a library is not installed, or the store refuses.
        DependencyError: the store does not answer.
    """
    return _ticks("TRADE", TRADE_COLUMNS, _span(symbol, venue, start, end), options)


def quotes(symbol: str, venue: str, start: Time, end: Time, **options: Unpack[Options]) -> Any:
    """Read best quotes; otherwise as `trades`."""
    return _ticks("QUOTE", QUOTE_COLUMNS, _span(symbol, venue, start, end), options)


def bars(symbol: str, venue: str, start: Time, end: Time, *, interval: str = "1m", **options: Unpack[Options]) -> Any:
    """Read bars that open from one time up to another, the newest revision of each, in order; otherwise as `trades`.

    Args:
        interval: 1m, 5m, 15m, 1h, 4h or 1d.
    """
    _check(options, has_columns=True)
    if interval not in LENGTHS_US:
        raise UserError(f"there are no bars of {interval}: choose of {', '.join(LENGTHS_US)}")
    span = _span(symbol, venue, start, end)
    with _opened(options) as rows:
        columns = _chosen(BAR_COLUMNS, options)
        found = rows.read(
            "bar", span, [*{*columns, "open_time_us", "revision"}], "open_time_us", {"interval": interval}
        )
    order = np.lexsort((found["revision"].to_numpy(), found["open_time_us"].to_numpy()))
    opens_us = found["open_time_us"].to_numpy()[order]
    is_newest = np.append(opens_us[1:] != opens_us[:-1], [True] * bool(len(opens_us))).astype(bool)
    newest = found.combine_chunks().take(pa.array(order[is_newest]))
    return _given(_timed(newest, newest["open_time_us"]).select(["time", *columns]), options)


def book_at(
    symbol: str, venue: str, time: Time, *, levels: int | None = None, **options: Unpack[Options]
) -> BookView | None:
    """Tell the book as it stood at a time, by the exchange's clock; None = none stood, or none is stored.

    Args:
        levels: so many best levels a side; None = all.

    Raises:
        UserError: as `trades`.
        DependencyError: as `trades`.
    """
    _check(options)
    _check_place(symbol, venue)
    time_us = instant_us(time)
    if levels is not None and levels < 1:
        raise UserError(f"a book is told of one level or more, not of {levels}")
    with _opened(options) as rows:
        return book_before(rows, Span(venue=venue.upper(), symbol=symbol, from_us=0, to_us=time_us), levels)


def books(
    symbol: str,
    venue: str,
    start: Time,
    end: Time,
    *,
    every_s: float = 1.0,
    levels: int = DEFAULT_LEVELS,
    **options: Unpack[Options],
) -> Any:
    """Tell the book at each of evenly spaced times of a range, a row each; lists are null where no book stood.

    Args:
        every_s: from one row to the next; rows are at multiples of it.
        levels: so many best levels a side.

    Raises:
        UserError: as `trades`.
        DependencyError: as `trades`.
    """
    _check(options)
    if not 0.001 <= every_s <= DAY_S or levels < 1:
        raise UserError("books are told every 0.001 s or more, once a day at least, of one level or more")
    with _opened(options) as rows:
        found = books_of(rows, _span(symbol, venue, start, end), round(every_s * 1_000_000), levels)
    return _given(_timed(found, found["time_us"]), options)


def features(
    symbol: str,
    venue: str,
    start: Time,
    end: Time,
    *,
    windows_s: Sequence[int] = DEFAULT_WINDOWS_S,
    labels_s: Sequence[int] = (),
    has_book: bool = True,
    **options: Unpack[Options],
) -> Any:
    """Compute the features of each second of a range; docs/features.md tells what they are.

    Args:
        windows_s: lengths of windows.
        labels_s: how far ahead the mid is looked at, for training.
        has_book: False = without features of the book, which take longer.

    Raises:
        UserError: as `trades`.
        DependencyError: as `trades`.
    """
    _check(options)
    settings = _settings(options)
    wish = Wish(
        span=_span(symbol, venue, start, end),
        windows_s=check_windows(windows_s),
        labels_s=check_labels(labels_s),
        has_book=has_book,
        keyframe_s=settings.processor.keyframe_s,
    )
    with _opened(options) as rows:
        found = pa.concat_tables(list(compute(rows, wish)))
    return _given(_timed(found, found["time_us"]), options)


def instant_us(time: Time) -> int:
    """Turn a time into µs since the epoch; whole numbers are that, numpy's times are in UTC.

    >>> instant_us("2026-11-21T00:00:00")
    1795219200000000

    Raises:
        UserError: it is none, a datetime without a zone, or not of the years 1970 to 9999.
    """
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise UserError(f"{time} names no time zone: add tzinfo=UTC")
        time_us = since_us(time.isoformat(), 0)
    elif isinstance(time, str):
        time_us = since_us(time, 0)
    elif isinstance(time, np.datetime64) and not np.isnat(time):
        time_us = int(time.astype("datetime64[us]").astype(np.int64))
    elif isinstance(time, Integral):
        time_us = int(time)
    else:
        raise UserError(f"{time!r} is no time: give ISO 8601, a datetime with its zone, or whole µs since the epoch")
    if not 0 <= time_us < ENDS_US:
        raise UserError(f"{time} is not of the years 1970 to 9999: whole numbers are µs since the epoch")
    return time_us


def _check(options: Options, *, has_columns: bool = False) -> None:
    """Refuse what no option is; else a slip of the pen would be passed over."""
    check_options(options, OPTIONS if has_columns else OPTIONS - {"columns"})
    library = options.get("library", LIBRARIES[0])
    if library not in LIBRARIES:
        raise UserError(f"frames are of {', '.join(LIBRARIES)}, not of {library}")
    if library != LIBRARIES[0]:
        need_library(library)


def _check_place(symbol: str, venue: str) -> None:
    chosen_venue(venue, SYMBOLOGIES)
    check_symbol(symbol)


def _span(symbol: str, venue: str, start: Time, end: Time) -> Span:
    _check_place(symbol, venue)
    span = Span(venue=venue.upper(), symbol=symbol, from_us=instant_us(start), to_us=instant_us(end))
    if span.from_us >= span.to_us:
        raise UserError(f"{start} is not before {end}")
    return span


def _ticks(kind: str, columns: Sequence[str], span: Span, options: Options) -> Any:
    _check(options, has_columns=True)
    name: Name = "tick"
    with _opened(options) as rows:
        chosen = _chosen(columns, options)
        has_both = set(TIME_OF) <= set(chosen)
        found = rows.read(name, span, list(chosen) if has_both else [*chosen, TIME], only={"kind": kind})
    timed = _timed(found, time_of(found) if has_both else found[TIME])
    return _given(timed.select(["time", *chosen]), options)


def _chosen(columns: Sequence[str], options: Options) -> Sequence[str]:
    """Tell which columns are to be read; raises UserError for one that there is not."""
    chosen = options.get("columns", columns)
    unknown = [name for name in chosen if name not in columns]
    if unknown:
        raise UserError(f"there is no column {unknown[0]}: there are {', '.join(columns)}")
    return chosen


def _timed(table: pa.Table, time_us: pa.ChunkedArray) -> pa.Table:
    """Put a column `time` first."""
    return table.add_column(0, "time", time_us.cast(pa.timestamp("us", "UTC")))


def _given(table: pa.Table, options: Options) -> Any:
    library = options.get("library")
    if library == "pandas":
        return table.to_pandas()
    if library != "polars":
        return table
    import polars as pl  # noqa: PLC0415  # an extra

    return pl.from_arrow(table)


def _settings(options: Options) -> Settings:
    settings = options.get("settings")
    if not isinstance(settings, Settings):
        settings = load_settings(Path(settings) if settings is not None else None)
    lake = options.get("lake")
    if lake is None:
        return settings
    return settings.model_copy(update={"object_store": settings.object_store.model_copy(update={"root": str(lake)})})


@contextmanager
def _opened(options: Options) -> Iterator[Rows]:
    store: Store = "parquet" if options.get("lake") is not None else options.get("store", "clickhouse")
    database = options.get("database")
    with closing(open_rows(_settings(options), store, str(database) if database is not None else None)) as rows:
        yield rows


__all__ = ["BookView", "bars", "book_at", "books", "features", "instant_us", "quotes", "trades"]
