"""What is asked of stored rows: one table, one symbol of one venue, a range of time; answered as Arrow, in order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import records
from schemas.arrow import arrow_schema
from sinks.rising import ID, is_rising, keys_of
from tickerplant.errors import UserError
from tickerplant.settings import Settings

Name = Literal["tick", "depth", "quality", "bar"]
Clock = Literal["event_time_us", "open_time_us"]
Store = Literal["clickhouse", "parquet", "duckdb"]
STORES: Final = get_args(Store)
Only = Mapping[str, str]
"""Columns of text with the value that rows are to have."""

TABLES: Final[dict[Name, type[records.Derived]]] = {
    "tick": records.Tick,
    "depth": records.Depth,
    "quality": records.QualityEvent,
    "bar": records.Bar,
}
"""Name of a table for research → record of its rows."""
TIME: Final = "time_us"
"""A column that any table of records with both clocks has for readers: the exchange's time, else that of reading."""
TIME_OF: Final = ("exchange_time_us", "recv_time_us")
TIME_SQL: Final = "if(exchange_time_us = 0, recv_time_us, exchange_time_us) AS time_us"


@dataclass(frozen=True, kw_only=True)
class Span:
    """Rows of one symbol that were taken into the platform from one time up to another, µs since the epoch."""

    venue: str
    symbol: str
    from_us: int
    to_us: int

    def between(self, from_us: int, to_us: int) -> "Span":
        """Ask for another time."""
        return replace(self, from_us=from_us, to_us=to_us)


class Rows(Protocol):
    """A store that can be read.

    Raises:
        DependencyError: from each method, where the store does not answer.
        UserError: from each method, where it refuses, or there is no such table.
    """

    def read(
        self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us", only: Only | None = None
    ) -> pa.Table:
        """Read columns of the rows of a span, in the order of source ids; each row once.

        Args:
            columns: of the record, or `TIME`.
            by: the column that the span is of; of bars their opening, which lies before they are taken in.
            only: rows with these values; None = all.
        """

    def close(self) -> None:
        """Let go of connections."""


def open_rows(settings: Settings, store: Store, database: str | None = None) -> Rows:
    """Open a store for reading.

    Args:
        database: of `duckdb`, its file.

    Raises:
        DependencyError: it does not answer.
        UserError: there is no such store, it refuses us, or the file is missing.
    """
    if store not in STORES:
        raise UserError(f"there is no store {store}: choose of {', '.join(STORES)}")
    if database is not None and store != "duckdb":
        raise UserError(f"{database} is a file of DuckDB, and {store} was to be read: choose the store duckdb")
    if store == "clickhouse":
        from tickerplant.research.clickhouse_rows import ClickHouseRows  # noqa: PLC0415  # each reads by other libraries

        return ClickHouseRows(settings.clickhouse)
    if store == "parquet":
        from tickerplant.research.lake_rows import LakeRows  # noqa: PLC0415

        return LakeRows(settings.object_store)
    from tickerplant.research.duck_rows import DuckRows  # noqa: PLC0415

    return DuckRows(database)


def with_id(columns: Sequence[str]) -> list[str]:
    """Add the columns of the source id, where they are not asked for."""
    return [*columns, *(name for name in ID if name not in columns)]


def schema_of(name: Name, columns: Sequence[str]) -> pa.Schema:
    """Make the schema of some columns; all may be null, since stores differ in what they say of that."""
    every = arrow_schema(TABLES[name])
    return pa.schema([pa.field(each, pa.int64() if each == TIME else every.field(each).type) for each in columns])


def time_of(rows: pa.Table) -> pa.ChunkedArray:
    """Tell the exchange's time of rows, or that of reading where the venue sends none."""
    exchange_us, recv_us = (rows[name] for name in TIME_OF)
    is_none = pc.equal(exchange_us, 0)
    return pc.if_else(is_none, recv_us, exchange_us) if pc.any(is_none).as_py() else exchange_us


def in_order(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Sort rows by source id, leave out what is there twice, and keep the columns asked for."""
    keys = keys_of(rows)
    if not is_rising(keys):
        rows = rows.combine_chunks()
        order = np.lexsort(keys[::-1])
        repeats = _repeats([key[order] for key in keys])
        rows = rows.take(pa.array(order[~repeats]))
    return rows.select(list(columns))


def chunks(from_us: int, to_us: int, length_us: int) -> Iterator[tuple[int, int]]:
    """Cut a range of time at multiples of a length.

    >>> list(chunks(5, 25, 10))
    [(5, 10), (10, 20), (20, 25)]
    """
    while from_us < to_us:
        end_us = min(to_us, (from_us // length_us + 1) * length_us)
        yield from_us, end_us
        from_us = end_us


def _repeats(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Tell which of sorted rows have the source id of the one before."""
    repeats = np.zeros(len(keys[0]), bool)
    repeats[1:] = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    return repeats
