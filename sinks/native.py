"""Arrow columns → blocks of ClickHouse's native format, without a Python object a value.

The driver writes numbers and strings one by one; here a column is a few operations over its buffers. What we have no
way for (a type that somebody altered, a null where none fits) is left to the driver, which writes it or says why not.
Source: https://clickhouse.com/docs/interfaces/formats/Native
"""

import re
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from clickhouse_driver import Client, defines
from clickhouse_driver.block import BlockInfo, ColumnOrientedBlock
from clickhouse_driver.columns.service import write_column
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_int64, write_binary_str, write_binary_uint8

from sinks.altered import LEVELS, PAIRS

NUMBERS: Final = {"Int64": "<i8", "Int32": "<i4", "Float64": "<f8", "Bool": "u1", "UInt8": "u1"}
"""Type → how its values lie in a block."""
NULLABLE: Final = re.compile(r"Nullable\((\w+)\)")
ARRAY: Final = re.compile(r"Array\((Nullable\()?(\w+)\)+")
ENUM: Final = re.compile(r"Enum8\((.*)\)")
MEMBER: Final = re.compile(r"'((?:[^'\\]|\\.)*)' = (-?\d+)")
LOW_CARDINALITY: Final = "LowCardinality(String)"
KEYS_VERSION: Final = 1
KEYS_LAYOUT: Final = 1 << 9 | 1 << 10  # keys follow, and are these alone
GROUP_BITS: Final = 7
LAST_BYTE: Final = 0x80

Column: TypeAlias = "pa.Array | tuple[pa.Array, pa.Array]"
"""Of one row each; two arrays are the prices and sizes of levels."""


class Written(NamedTuple):
    """A column as it stands in a block: its name, its type, its bytes; None = the driver is to write the values."""

    name: str
    kind: str
    content: bytes | None
    values: Sequence[Any] = ()


class ColumnClient(Client):  # type: ignore[misc]  # the driver has no types
    """A client whose inserts take Arrow columns: `execute(insert, [columns])`."""

    def send_data(
        self,
        sample_block: ColumnOrientedBlock,
        data: Sequence[Sequence[Column]],
        types_check: bool = False,  # noqa: ARG002  # as the driver calls it
        columnar: bool = False,  # noqa: ARG002
    ) -> int:
        """Send columns as one block, encoded before anything is sent; called from within `execute`."""
        (columns,) = data
        kinds = sample_block.columns_with_types
        written = [write(name, kind, column) for (name, kind), column in zip(kinds, columns, strict=True)]
        row_count = _length(columns[0])
        self._send_block(written, row_count)
        self.receive_profile_events()
        self.connection.send_data(ColumnOrientedBlock())
        self.receive_profile_events()
        return row_count

    def _send_block(self, columns: Sequence[Written], row_count: int) -> None:
        """Send what `Connection.send_data` and `BlockOutputStream.write` of the driver would."""
        connection, out = self.connection, self.connection.block_out
        revision = connection.server_info.used_revision
        write_varint(ClientPacketTypes.DATA, connection.fout)
        if revision >= defines.DBMS_MIN_REVISION_WITH_TEMPORARY_TABLES:
            write_binary_str("", connection.fout)
        if revision >= defines.DBMS_MIN_REVISION_WITH_BLOCK_INFO:
            BlockInfo().write(out.fout)
        write_varint(len(columns), out.fout)
        write_varint(row_count, out.fout)
        for column in columns:
            write_binary_str(column.name, out.fout)
            write_binary_str(column.kind, out.fout)
            if revision >= defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION:
                write_binary_uint8(0, out.fout)
            if column.content is None:
                write_column(connection.context, column.name, column.kind, list(column.values), out.fout)
            else:
                out.fout.write(column.content)
        out.finalize()


def insert_columns(rows: pa.Table) -> tuple[list[str], list[Column]]:
    """Name the columns of an insert, and give them."""
    joined = {part for pair in PAIRS.values() for part in pair}
    single = [name for name in rows.column_names if name not in joined]
    pairs = [name for name, (prices, _sizes) in PAIRS.items() if prices in rows.column_names]
    found: list[Column] = [_whole(rows[name]) for name in single]
    for name in pairs:
        prices, sizes = PAIRS[name]
        found.append((_whole(rows[prices]), _whole(rows[sizes])))
    return single + pairs, found


def write(name: str, kind: str, column: Column) -> Written:
    """Write a column of a type (as ClickHouse tells it).

    Raises:
        ValueError: prices and sizes of a row differ in number.
    """
    if isinstance(column, tuple):
        if LEVELS.fullmatch(kind):
            return Written(name, kind, levels(*column))
        return Written(name, kind, None, [_zipped(*each) for each in zip(*map(_values, column), strict=True)])
    content = encode(kind, column)
    return Written(name, kind, content, () if content is not None else _values(column))


def encode(kind: str, array: pa.Array) -> bytes | None:
    """Encode values of a type; None = not here."""
    if isinstance(array, pa.ListArray):
        return _array(kind, array)
    if isinstance(array, pa.StringArray | pa.BinaryArray):
        return None if array.null_count else _texts(kind, array)
    if match := NULLABLE.fullmatch(kind):
        numbers = _numbers(array, match[1])
        return None if numbers is None else _null_map(array) + numbers
    return None if array.null_count else _numbers(array, kind)


def _texts(kind: str, array: pa.Array) -> bytes | None:
    if kind == "String":
        return strings(array)
    if kind == LOW_CARDINALITY:
        return _low_cardinality(array)
    if match := ENUM.fullmatch(kind):
        return _enum(array, {name: int(value) for name, value in MEMBER.findall(match[1])})
    return None


def strings(array: pa.Array) -> bytes:
    """Write strings, or bytes: each behind its length in groups of seven bits."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = array.buffers()[2]
    content = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data else np.empty(0, np.uint8)
    lengths = np.diff(offsets)
    sizes = np.ones(len(lengths), np.int64)
    for bits in range(GROUP_BITS, 32, GROUP_BITS):
        longer = lengths >> bits > 0
        if not longer.any():
            break
        sizes += longer
    begins = np.cumsum(lengths + sizes) - lengths - sizes
    out = np.empty(len(content) + int(sizes.sum()), np.uint8)
    is_content = np.ones(len(out), bool)
    for number in range(int(sizes.max(initial=0))):
        mine = np.flatnonzero(sizes > number)
        group = lengths[mine] >> GROUP_BITS * number & LAST_BYTE - 1
        places = begins[mine] + number
        out[places] = group | np.where(sizes[mine] > number + 1, LAST_BYTE, 0)
        is_content[places] = False
    out[is_content] = content
    return out.tobytes()


def levels(prices: pa.ListArray, sizes: pa.ListArray) -> bytes | None:
    """Write prices and sizes as an array of tuples; None = not here. Raises as `write`."""
    ends = _ends(prices)
    if (ends != _ends(sizes)).any():
        raise ValueError("prices and sizes differ in number")
    return _joined(_whole_numbers(ends), *(_numbers(each.flatten(), "Float64") for each in (prices, sizes)))


def _array(kind: str, array: pa.ListArray) -> bytes | None:
    match, items = ARRAY.fullmatch(kind), array.flatten()
    if match is None or array.null_count or (items.null_count and not match[1]):
        return None
    nulls = _null_map(items) if match[1] else b""
    return _joined(_whole_numbers(_ends(array)), nulls, _numbers(items, match[2]))


def _joined(*parts: bytes | None) -> bytes | None:
    """Join parts; None = one of them is not written here."""
    found = [part for part in parts if part is not None]
    return b"".join(found) if len(found) == len(parts) else None


def _low_cardinality(array: pa.Array) -> bytes:
    found = array.dictionary_encode()
    words = found.dictionary
    width = next(number for number, most in enumerate((1 << 8, 1 << 16, 1 << 32)) if len(words) <= most)
    out = BytesIO()
    write_binary_int64(KEYS_VERSION, out)
    write_binary_int64(KEYS_LAYOUT | width, out)
    write_binary_int64(len(words), out)
    out.write(strings(words))
    write_binary_int64(len(array), out)
    out.write(found.indices.to_numpy().astype(f"<u{1 << width}").tobytes())
    return out.getvalue()


def _enum(array: pa.Array, members: dict[str, int]) -> bytes | None:
    found = array.dictionary_encode()
    names = found.dictionary.to_pylist()
    if any(name not in members for name in names):
        return None
    return bytes(np.array([members[name] for name in names], np.int8)[found.indices.to_numpy()].tobytes())


def _numbers(array: pa.Array, kind: str) -> bytes | None:
    """Write numbers, 0 where there is none; None = they may not fit, or are none."""
    layout = NUMBERS.get(kind)
    if layout is None:
        return None
    values = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    if not np.can_cast(values.dtype, layout, "safe"):
        return None
    return bytes(values.astype(layout, copy=False).tobytes())


def _whole_numbers(values: np.ndarray) -> bytes:
    return bytes(values.astype("<u8").tobytes())


def _null_map(array: pa.Array) -> bytes:
    if not array.null_count:
        return bytes(len(array))
    return bytes(array.is_null().to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())


def _ends(array: pa.ListArray) -> np.ndarray:
    offsets: np.ndarray = array.offsets.to_numpy()
    ends: np.ndarray = offsets[1:] - offsets[0]
    return ends


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _length(column: Column) -> int:
    return len(column[0]) if isinstance(column, tuple) else len(column)


def _zipped(prices: Sequence[float], sizes: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(prices, sizes, strict=True))


def _values(array: pa.Array) -> list[Any]:
    return list(array.to_pylist())
