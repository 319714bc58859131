"""An object of Parquet → the rows of it that are wanted; pure, but for reading what it is given.

Statistics of a row group may tell that none of its rows is wanted, or that all fulfil a condition. The columns of the
conditions that are left are decoded first, and the others only where a row fulfils them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tickerplant.research.rows import TIME, TIME_OF, time_of

TEXTS: Final = frozenset({"symbol", "kind", "interval", "side", "flags", "asset_class", "source_topic"})
"""Columns of a few words, which are read as such until rows that are not wanted are left out."""
TOLD: Final = (
    *("event_time_us", "open_time_us", "exchange_time_us", "venue", "symbol", "kind", "interval"),
    *("source_topic", "source_partition"),
)
"""Columns whose statistics are looked at."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Rows and columns.

    Args:
        columns: of the object, or `TIME`.
        by: a column of instants; rows are from `from_us` up to `to_us` by it.
        only: columns of text with the value that rows are to have.
    """

    columns: Sequence[str]
    by: str
    from_us: int
    to_us: int
    only: Mapping[str, str]


class Bounds(NamedTuple):
    """The least and the greatest value of a column in a row group, which has no nulls."""

    least: Any
    most: Any


class Group(NamedTuple):
    """A row group of an open object.

    Args:
        read: decodes columns of it, by name.
        kinds: of columns as they come.
    """

    read: Callable[[Sequence[str]], pa.Table]
    row_count: int
    bounds: Mapping[str, Bounds]
    kinds: pa.Schema


Outline = tuple[Mapping[str, Bounds], ...]
"""Of each row group, bounds by column, as far as they are told."""


def outline_of(metadata: pq.FileMetaData) -> Outline:
    """Tell what statistics say of the columns that are looked at."""
    paths = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    numbers = [(name, paths[name]) for name in TOLD if name in paths]
    return tuple(dict(_bounds(metadata.row_group(group), numbers)) for group in range(metadata.num_row_groups))


def may_hold(bounds: Mapping[str, Bounds], wanted: Wanted) -> bool:
    """Tell whether a row group may hold rows that are wanted."""
    by = bounds.get(wanted.by)
    if by is not None and (by.most < wanted.from_us or by.least >= wanted.to_us):
        return False
    return all(
        bounds[name].least <= value <= bounds[name].most for name, value in wanted.only.items() if name in bounds
    )


def read_rows(
    source: pa.NativeFile, metadata: pq.FileMetaData, outline: Outline, wanted: Wanted, *, is_alone: bool = True
) -> list[pa.Table]:
    """Read rows, a table a row group that has some, in their order; texts come as dictionaries.

    Args:
        is_alone: columns are decoded by several threads; False = other objects are read at the same time.

    Raises:
        pa.ArrowException: it is damaged, or a column is missing.
        OSError: it is damaged.
    """
    names = metadata.schema.to_arrow_schema().names
    needed = {wanted.by, *wanted.only, *wanted.columns} | (set(TIME_OF) if TIME in wanted.columns else set())
    missing = [name for name in needed if name not in names and name != TIME]
    if missing:
        raise pa.ArrowKeyError(f"column {min(missing)} is missing")
    file = pq.ParquetFile(source, metadata=metadata, read_dictionary=[name for name in names if name in TEXTS])
    groups = [number for number, bounds in enumerate(outline) if may_hold(bounds, wanted)]
    kinds = file.schema_arrow
    found = [
        _rows_of(
            Group(
                read=partial(file.read_row_group, number, use_threads=is_alone),
                row_count=metadata.row_group(number).num_rows,
                bounds=outline[number],
                kinds=kinds,
            ),
            wanted,
        )
        for number in groups
    ]
    return [rows for rows in found if rows is not None]


def _bounds(group: pq.RowGroupMetaData, numbers: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Bounds]]:
    for name, number in numbers:
        statistics = group.column(number).statistics
        if statistics is not None and statistics.has_min_max and statistics.null_count == 0:
            least, most = statistics.min, statistics.max
            if isinstance(least, int | str):
                yield name, Bounds(least, most)


def _rows_of(group: Group, wanted: Wanted) -> pa.Table | None:
    """Read the rows of a row group; None = there are none."""
    bounds = group.bounds
    texts = {name: value for name, value in wanted.only.items() if bounds.get(name) != (value, value)}
    by = bounds.get(wanted.by)
    is_within = by is not None and wanted.from_us <= by.least and by.most < wanted.to_us
    judged = group.read([*texts, *([] if is_within else [wanted.by])])
    is_wanted = np.ones(group.row_count, bool)
    for name, value in texts.items():
        is_wanted &= _is(judged[name], value)
    if not is_within:
        times_us = judged[wanted.by].cast(pa.int64()).to_numpy()
        is_wanted &= (times_us >= wanted.from_us) & (times_us < wanted.to_us)
    count = int(is_wanted.sum())
    if not count:
        return None
    same = {name: each.least for name, each in bounds.items() if each.least == each.most}
    names = _decoded(wanted.columns, bounds)
    others = [name for name in names if name not in same]
    rest = group.read([name for name in others if name not in judged.column_names])
    columns = [(judged if name in judged.column_names else rest)[name] for name in others]
    rows = pa.Table.from_arrays(columns, others)
    if others and count < group.row_count:
        rows = rows.filter(pa.array(is_wanted))
    told = {
        name: _repeated(same[name], group.kinds.field(name).type, count) if name in same else rows[name]
        for name in names
    }
    if TIME in wanted.columns:
        told[TIME] = told[TIME_OF[0]] if TIME_OF[1] not in told else time_of(pa.table(told))
    return pa.table({name: told[name] for name in wanted.columns})


def _decoded(columns: Sequence[str], bounds: Mapping[str, Bounds]) -> list[str]:
    """Name the columns that are to be had of a row group; the time of reading where an exchange's may be missing."""
    names = [name for name in columns if name != TIME]
    if TIME not in columns:
        return names
    exchange = bounds.get(TIME_OF[0])
    is_told = exchange is not None and exchange.least > 0
    return list(dict.fromkeys([*names, *(TIME_OF[:1] if is_told else TIME_OF)]))


def _is(column: pa.ChunkedArray, value: str) -> np.ndarray:
    """Tell where a text is a value; nulls are not."""
    if not pa.types.is_dictionary(column.type):
        mask: np.ndarray = pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False).to_numpy()
        return mask
    masks = [_is_word(chunk, value) for chunk in column.chunks]
    return masks[0] if len(masks) == 1 else np.concatenate([*masks, np.zeros(0, bool)])


def _is_word(column: pa.DictionaryArray, value: str) -> np.ndarray:
    words = pc.equal(column.dictionary, pa.scalar(value, column.dictionary.type))
    codes = np.flatnonzero(pc.fill_null(words, False).to_numpy(zero_copy_only=False))
    places = (pc.fill_null(column.indices, -1) if column.null_count else column.indices).to_numpy()
    mask: np.ndarray = places == codes[0] if len(codes) == 1 else np.isin(places, codes)
    return mask


def _repeated(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if pa.types.is_dictionary(kind):
        words = pa.array([value], kind.value_type)
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), words)
    return pa.repeat(pa.scalar(value, kind), count)
