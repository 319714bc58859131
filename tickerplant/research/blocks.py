"""Blocks of ClickHouse's native format → Arrow, without a Python object a value where the type is one of our tables'.

Source: https://clickhouse.com/docs/interfaces/formats/Native
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from clickhouse_driver import Client, defines
from clickhouse_driver.block import BlockInfo
from clickhouse_driver.columns.service import read_column
from clickhouse_driver.reader import read_binary_str, read_binary_uint8, read_binary_uint64
from clickhouse_driver.varint import read_varint

from sinks.native import ENUM, LOW_CARDINALITY, MEMBER, NULLABLE, NUMBERS

ARROW: Final = {kind: pa.from_numpy_dtype(np.dtype(layout)) for kind, layout in NUMBERS.items()} | {"Bool": pa.bool_()}
ARRAY: Final = re.compile(r"Array\((.*)\)")
WIDTH_BITS: Final = 0xFF
BYTES: Final = 256
SETTINGS: Final = {"preferred_block_size_bytes": 8_000_000}
"""Blocks of a megabyte, which servers prefer, are some thousand ticks: what each costs by itself is most of it then."""
Read = Callable[[Any, int], pa.Array]
"""Reads so many values from a stream."""


class ArrowBlock:
    """A block as the driver's results take it: each column is a list of one array, and blocks are joined as lists."""

    def __init__(self, columns_with_types: list[tuple[str, str]], row_count: int, columns: list[pa.Array]) -> None:
        self.columns_with_types = columns_with_types
        self.num_columns = len(columns_with_types)
        self.num_rows = row_count
        self._columns = columns

    def get_columns(self) -> list[list[pa.Array]]:
        """Give each column as a list of one array."""
        return [[column] for column in self._columns]


class ArrowBlocks:
    """Reads blocks in the place of the driver's own reader, from which it is made."""

    def __init__(self, driver: Any) -> None:
        self._in = driver.fin
        self._context = driver.context

    def read(self, use_numpy: bool | None = None) -> ArrowBlock:  # noqa: ARG002  # as the driver calls it
        """Read a block; blocks."""
        stream, revision = self._in, self._context.server_info.used_revision
        if revision >= defines.DBMS_MIN_REVISION_WITH_BLOCK_INFO:
            BlockInfo().read(stream)
        column_count, row_count = read_varint(stream), read_varint(stream)
        kinds, columns = [], []
        for _ in range(column_count):
            name, kind = read_binary_str(stream), read_binary_str(stream)
            kinds.append((name, kind))
            has_own_form = revision >= defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION and bool(
                read_binary_uint8(stream)
            )
            if row_count:
                columns.append(self._column(kind, row_count, has_own_form=has_own_form))
        return ArrowBlock(kinds, row_count, columns)

    def _column(self, kind: str, count: int, *, has_own_form: bool) -> pa.Array:
        if not has_own_form and (read := _reader(kind)) is not None:
            return read(self._in, count)
        # A type, or a form of it, that we do not read: servers send columns of zeros sparse, those of some parts.
        values = read_column(self._context, kind, count, self._in, False, has_own_form)
        array = pa.array(map(bool, values) if kind == "Bool" else list(values), ARROW.get(kind))
        return array.dictionary_encode() if kind == LOW_CARDINALITY else array


def read_arrow(client: Client) -> None:
    """Have a client read blocks into Arrow from now on, over its next connections too; then ask by `select` alone."""
    connection = client.connection
    make = connection.get_block_in_stream
    connection.get_block_in_stream = lambda: ArrowBlocks(make())
    if connection.block_in is not None:
        connection.block_in = ArrowBlocks(connection.block_in)


def select(client: Client, query: str, values: Mapping[str, Any]) -> list[pa.ChunkedArray]:
    """Ask for columns; empty = no rows. Raises as `Client.execute`."""
    found = client.execute(query, dict(values), columnar=True, settings=SETTINGS)
    return [pa.chunked_array(list(column)) for column in found]


def _reader(kind: str) -> Read | None:
    """Tell how columns of a type are read; None = by the driver."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if match := ENUM.fullmatch(kind):
        return _enum({int(value): name for name, value in MEMBER.findall(match[1])})
    if (match := NULLABLE.fullmatch(kind)) and match[1] in NUMBERS:
        return partial(_nullable, kind=match[1])
    if (match := ARRAY.fullmatch(kind)) and (match[1] in NUMBERS or NULLABLE.fullmatch(match[1])):
        items = _reader(match[1])
        return None if items is None else partial(_array, items=items)
    return None


def _numbers(stream: Any, count: int, kind: str) -> np.ndarray:
    layout = np.dtype(NUMBERS[kind])
    found = np.frombuffer(stream.read(count * layout.itemsize), layout)
    return found.astype(bool) if kind == "Bool" else found


def _values(stream: Any, count: int, kind: str) -> pa.Array:
    return pa.array(_numbers(stream, count, kind))


def _nullable(stream: Any, count: int, kind: str) -> pa.Array:
    is_null = np.frombuffer(stream.read(count), np.uint8)
    values = _numbers(stream, count, kind)
    return pa.array(values, mask=is_null.astype(bool)) if is_null.any() else pa.array(values)


def _strings(stream: Any, count: int) -> pa.Array:
    quick = getattr(stream, "read_strings_arrow", None)  # since 0.2.11
    if quick is None:
        return pa.array(stream.read_strings(count), pa.binary()).cast(pa.string())
    offsets, data = quick(count)
    places = pa.py_buffer(np.frombuffer(offsets, np.int64).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), count, [None, places, pa.py_buffer(data)]).cast(pa.string())


def _low_cardinality(stream: Any, count: int) -> pa.Array:
    read_binary_uint64(stream)  # version of keys
    width = read_binary_uint64(stream) & WIDTH_BITS
    words = _strings(stream, read_binary_uint64(stream))
    read_binary_uint64(stream)  # rows
    layout = np.dtype(f"<u{1 << width}")
    codes = np.frombuffer(stream.read(count * layout.itemsize), layout)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), words)


def _enum(names: Mapping[int, str]) -> Read:
    places = np.zeros(BYTES, np.int16)
    for place, value in enumerate(names):
        places[value] = place  # negative ones from the end
    words = pa.array(list(names.values()), pa.string())
    return lambda stream, count: words.take(pa.array(places[np.frombuffer(stream.read(count), np.uint8)]))


def _array(stream: Any, count: int, items: Read) -> pa.Array:
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:] = np.frombuffer(stream.read(count * 8), "<u8")
    length = int(offsets[-1])
    return pa.ListArray.from_arrays(pa.array(offsets), items(stream, length) if length else pa.array([], pa.float64()))


SIMPLE: Final[dict[str, Read]] = {
    **{kind: partial(_values, kind=kind) for kind in NUMBERS},
    "String": _strings,
    LOW_CARDINALITY: _low_cardinality,
}
"""Type → how columns of it are read."""
