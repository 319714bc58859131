"""Columns that a ClickHouse table has → what of our rows would not fit, because somebody altered it by hand."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import pyarrow as pa

from sinks.tables import Table
from tickerplant.errors import UserError

PAIRS: Final = {"bids": ("bid_prices", "bid_sizes"), "asks": ("ask_prices", "ask_sizes")}
"""Columns that are arrays of (price, size) in ClickHouse, and two parallel arrays in the record."""
FITTING: Final[dict[pa.DataType, str]] = {
    pa.bool_(): r"Bool|UInt8",
    pa.int32(): r"Int32|Int64",
    pa.int64(): r"Int64",
    pa.float64(): r"Float64",
    pa.string(): r"String|Enum8\(.*\)|Enum16\(.*\)",
    pa.binary(): r"String",
    pa.list_(pa.int32()): r"Array\((?:Int32|Int64)\)",
    pa.list_(pa.float64()): r"Array\(Nullable\(Float64\)\)",
}
"""Which types of ClickHouse hold all values of an Arrow type; `Nullable` and `LowCardinality` around them are fine."""
WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
LEVELS: Final = re.compile(r"Array\(Tuple\((?:\w+ )?Float64, (?:\w+ )?Float64\)\)")
SHOWN: Final = 3


def check_columns(table: Table, name: str, found: Mapping[str, str]) -> None:
    """Make sure that rows of a table fit into its columns: name → type, as ClickHouse tells them.

    Raises:
        UserError: there is no such table (no columns), or a column is missing or of another type.
    """
    if not found:
        raise UserError(f"table {name} of ClickHouse is missing: run `tickerplant deploy`")
    misfits = list(_misfits(table, found))
    if misfits:
        rest = f" and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        what = "; ".join(misfits[:SHOWN]) + rest
        hint = "alter it back, or move it away and run `tickerplant deploy`"
        raise UserError(f"table {name} of ClickHouse was altered: {what}; {hint}")


def _misfits(table: Table, found: Mapping[str, str]) -> Iterator[str]:
    joined = {part for pair in PAIRS.values() for part in pair}
    for field in table.schema:
        if field.name not in joined:
            yield from _misfit(field.name, re.compile(FITTING[field.type]), found)
    for name, (prices, _sizes) in PAIRS.items():
        if prices in table.schema.names:
            yield from _misfit(name, LEVELS, found)


def _misfit(name: str, fitting: re.Pattern[str], found: Mapping[str, str]) -> Iterator[str]:
    kind = found.get(name)
    if kind is None:
        yield f"column {name} is missing"
    elif not fitting.fullmatch(_bare(kind)):
        yield f"column {name} is {kind}"


def _bare(kind: str) -> str:
    """Strip what may be around a type.

    >>> _bare("LowCardinality(Nullable(String))")
    'String'
    """
    while (match := WRAPPED.fullmatch(kind)) is not None:
        kind = match[1]
    return kind
