"""Rows of one symbol as arrays, cut into streams as the processor saw them: one raw partition, one run of its clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processors.features.formulas import LEAST, MOST
from processors.features.placing import AHEAD_US, LATENESS_US, SECOND_US, STEP_US
from processors.features.stream import is_left_out
from sinks.rising import ID

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

SIDES: Final = {"BUY": 1, "SELL": -1}
TICK_COLUMNS: Final = (
    *("kind", "exchange_time_us", "recv_time_us", "price", "quantity", "side", "bid", "ask", "bid_size", "ask_size"),
    *("flags", *ID),
)


@dataclass(frozen=True)
class Ticks:
    """Trades and quotes of one stream as parallel arrays, in the order of source ids; what is not used is left out.

    Args:
        place: (offset, index) of the source, as two arrays.
        side: 1 = bought, -1 = sold, 0 = not known.
        bid: NaN = there is none, as for ask and sizes.
    """

    place: tuple[Longs, Longs]
    is_quote: Mask
    exchange_us: Longs
    recv_us: Longs
    price: Floats
    size: Floats
    side: NDArray[np.int8]
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats

    def part(self, first: int, last: int) -> "Ticks":
        """Take the items from one up to another."""
        offsets, indexes = self.place
        each = slice(first, last)
        arrays = (getattr(self, name)[each] for name in list(self.__dataclass_fields__)[1:])
        return Ticks((offsets[each], indexes[each]), *arrays)


def ticks_of(rows: pa.Table) -> Ticks:
    """Make arrays of rows of ticks that are in the order of source ids; see `TICK_COLUMNS`."""
    kinds, price, size = _codes(rows["kind"], ("QUOTE", "TRADE")), _floats(rows, "price"), _floats(rows, "quantity")
    is_quote = kinds == 0
    with np.errstate(invalid="ignore"):
        is_good = (price > LEAST) & (price < MOST) & (size >= 0) & (size < MOST)
    is_used = is_quote | ((kinds == 1) & is_good & ~_left_out(rows["flags"]))
    each: Any = slice(None) if is_used.all() else is_used
    sides = _codes(rows["side"], ("BUY", "SELL"))
    return Ticks(
        (_longs(rows, "source_offset")[each], _longs(rows, "source_index")[each]),
        is_quote[each],
        _longs(rows, "exchange_time_us")[each],
        _longs(rows, "recv_time_us")[each],
        price[each],
        size[each],
        np.array((0, 1, -1), np.int8)[sides + 1][each],
        *(_floats(rows, name)[each] for name in ("bid", "ask", "bid_size", "ask_size")),
    )


def place_all(exchange_us: Longs, recv_us: Longs) -> Longs:
    """Place items in seconds, as `processors.features.placing.Placer` does."""
    newest_us = np.maximum.accumulate(recv_us)
    time_us = np.where(exchange_us == 0, recv_us, exchange_us)
    placed: Longs = np.clip(time_us, newest_us - LATENESS_US, newest_us + AHEAD_US) // SECOND_US
    return placed


def first_step(recv_us: Longs) -> int | None:
    """Find the first item that was read on a clock that had been set back; None = there is none."""
    newest_us = np.maximum.accumulate(recv_us)
    steps = np.flatnonzero(recv_us[1:] < newest_us[:-1] - STEP_US)
    return int(steps[0]) + 1 if len(steps) else None


def partitions(rows: pa.Table) -> Iterator[tuple[tuple[str, int], pa.Table]]:
    """Cut ordered rows where the raw topic or partition changes: what came another way is another stream."""
    keys = rows.select(list(ID[:2])).combine_chunks()
    topics, numbers = keys[ID[0]].combine_chunks().dictionary_encode().indices.to_numpy(), keys[ID[1]].to_numpy()
    cuts = (np.flatnonzero((np.diff(topics) != 0) | (np.diff(numbers) != 0)) + 1).tolist()
    for first, last in zip([0, *cuts], [*cuts, rows.num_rows], strict=True):
        if last > first:
            yield (str(keys[ID[0]][first].as_py()), int(numbers[first])), rows.slice(first, last - first)


def _codes(column: Any, names: tuple[str, ...]) -> NDArray[np.int32]:
    """Turn the values of a column into their places among names; -1 = none of them."""
    found = pc.index_in(column, pa.array(names, column.type))
    codes: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy()
    return codes


def _left_out(column: Any) -> Mask:
    flags = column.combine_chunks().dictionary_encode()
    names = flags.dictionary.to_pylist()
    out = np.array([is_left_out(name or "") for name in names], bool)
    mask: Mask = out[flags.indices.to_numpy()] if len(names) else np.zeros(len(column), bool)
    return mask


def _floats(rows: pa.Table, name: str) -> Floats:
    column: Floats = rows[name].to_numpy().astype(np.float64, copy=False)  # nulls are NaN
    return column


def _longs(rows: pa.Table, name: str) -> Longs:
    column: Longs = rows[name].to_numpy().astype(np.int64, copy=False)
    return column
