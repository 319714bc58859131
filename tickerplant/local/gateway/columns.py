"""How many bytes the values of a column type take in Native format, for every type the gateway takes in.

Source: https://clickhouse.com/docs/interfaces/formats/Native and ClickHouse's Serialization*.cpp
"""

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.wire import Buffer, Reader

_DEPTH_LIMIT = 32
_RUN_ROWS = 1024
_LAST_U64 = struct.Struct("<Q")
_ADDITIONAL_KEYS = 1 << 9

_WIDTH_BYTES = {
    **dict.fromkeys(("Int8", "UInt8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Int16", "UInt16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Time", "Decimal32"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64", "DateTime64", "Time64", "Decimal64"), 8),
    **dict.fromkeys(("Int128", "UInt128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("Int256", "UInt256", "Decimal256"), 32),
}
_ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}


class Column(Protocol):
    """A column's serialization: a prefix once a block (only where there are rows), then the values."""

    def prefix(self, buffer: Buffer) -> Reader[None]:
        """Move over the state prefix."""

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Move over the values of `rows` rows."""


def _no_prefix() -> Reader[None]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Fixed:
    """Values of one width."""

    width_bytes: int

    def prefix(self, buffer: Buffer) -> Reader[None]:  # noqa: ARG002 - part of the protocol
        """Has none."""
        return _no_prefix()

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Jump."""
        return buffer.skip(rows * self.width_bytes)


@dataclass(frozen=True, slots=True)
class Strings:
    """A length and bytes per value: the one type that must be counted through."""

    def prefix(self, buffer: Buffer) -> Reader[None]:  # noqa: ARG002 - part of the protocol
        """Has none."""
        return _no_prefix()

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Count through, as far as bytes have arrived, until done."""
        while rows:
            rows = _hop(buffer, rows)
            yield from buffer.wait_until(buffer.pos if not rows else max(buffer.pos, len(buffer.data)) + 1)


def _hop(buffer: Buffer, rows: int) -> int:
    """Move over as many of `rows` strings as begin in the buffer; return how many are left. The hot loop of inserts.

    A run of equally long strings, as symbols and ids are, is seen at once: its lengths stand one stride apart.
    """
    data, pos = buffer.data, buffer.pos
    while rows and pos < len(data):
        before, stride = pos, data[pos] + 1
        lengths = data[pos : pos + stride * min(rows, _RUN_ROWS) : stride]
        if stride <= 0x80 and lengths.count(stride - 1) == len(lengths):
            pos += stride * len(lengths)
            rows -= len(lengths)
        else:
            pos, rows = _one_by_one(data, pos, rows)
        if pos == before:
            break  # a long length that has not arrived whole
    buffer.pos = pos
    return rows


def _one_by_one(data: bytearray, pos: int, rows: int) -> tuple[int, int]:
    last = max(0, rows - _RUN_ROWS)
    with suppress(IndexError):  # the next length has not arrived
        while rows > last:
            size = data[pos]
            pos = pos + size + 1 if size < 0x80 else _after_long(data, pos)
            rows -= 1
    return pos, rows


def _after_long(data: bytearray, pos: int) -> int:
    size = 0
    for index in range(5):
        byte = data[pos + index]
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return pos + index + 1 + size
    raise ProtocolError("a string of more than 32 GiB")


@dataclass(frozen=True, slots=True)
class Nullable:
    """A byte per row that says NULL, then the values."""

    nested: Column

    def prefix(self, buffer: Buffer) -> Reader[None]:
        """Move over the nested one's."""
        return self.nested.prefix(buffer)

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Jump the marks, walk the values."""
        yield from buffer.skip(rows)
        yield from self.nested.values(buffer, rows)


@dataclass(frozen=True, slots=True)
class Arrays:
    """An end offset per row, then all elements."""

    nested: Column

    def prefix(self, buffer: Buffer) -> Reader[None]:
        """Move over the nested one's."""
        return self.nested.prefix(buffer)

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Jump the offsets; the last is the number of elements."""
        if rows:
            yield from buffer.skip(8 * rows)
            yield from self.nested.values(buffer, _LAST_U64.unpack_from(buffer.data, buffer.pos - 8)[0])


@dataclass(frozen=True, slots=True)
class Tuples:
    """One column per element, one after the other."""

    elements: tuple[Column, ...]

    def prefix(self, buffer: Buffer) -> Reader[None]:
        """All prefixes stand before all values."""
        for element in self.elements:
            yield from element.prefix(buffer)

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Walk each; an empty tuple takes a byte a row."""
        if not self.elements:
            yield from buffer.skip(rows)
        for element in self.elements:
            yield from element.values(buffer, rows)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """LowCardinality: distinct values, then an index per row."""

    keys: Column

    def prefix(self, buffer: Buffer) -> Reader[None]:
        """Jump the version of the serialization."""
        return buffer.skip(8)

    def values(self, buffer: Buffer, rows: int) -> Reader[None]:
        """Walk dictionaries until all rows are covered."""
        while rows:
            flags = yield from buffer.u64()
            if flags & _ADDITIONAL_KEYS:
                yield from self.keys.values(buffer, (yield from buffer.u64()))
            covered = yield from buffer.u64()
            if not 0 < covered <= rows:
                raise ProtocolError(f"a LowCardinality column of {covered} rows where {rows} are left")
            yield from buffer.skip(covered << (flags & 3))
            rows -= covered


@lru_cache(maxsize=4096)
def column_type(text: str, depth: int = 0) -> Column:
    """Read a type as ClickHouse writes it.

    Raises:
        ProtocolError: a type that cannot be walked (JSON, Variant, Dynamic, AggregateFunction), or nested too deeply.
    """
    if depth > _DEPTH_LIMIT:
        raise ProtocolError("a column type nested too deeply")
    name, _, rest = text.partition("(")
    arguments = rest.removesuffix(")")
    if name in _WIDTH_BYTES or name.startswith("Interval"):
        return Fixed(_WIDTH_BYTES.get(name, 8))
    if name in _ALIASES:
        return column_type(_ALIASES[name], depth + 1)
    if name not in _PARAMETRIC:
        raise ProtocolError(f"columns of type {name} are not taken by this gateway; cast them to String")
    return _PARAMETRIC[name](arguments, depth + 1)


def _low_cardinality(arguments: str, depth: int) -> Column:
    keys = arguments.removeprefix("Nullable(").removesuffix(")") if arguments.startswith("Nullable(") else arguments
    return Dictionary(column_type(keys, depth))


def _tuple(arguments: str, depth: int) -> Tuples:
    return Tuples(tuple(column_type(_unnamed(element), depth) for element in split_arguments(arguments)))


def _decimal(arguments: str, _depth: int) -> Column:
    precision = _number(arguments.partition(",")[0])
    return Fixed(next(width for most, width in ((9, 4), (18, 8), (38, 16), (1 << 64, 32)) if precision <= most))


def _number(text: str) -> int:
    if not text.strip().isdigit():
        raise ProtocolError(f"a column type with {text!r} for a number")
    return min(int(text), 1 << 40)


_PARAMETRIC: dict[str, Callable[[str, int], Column]] = {
    "String": lambda _arguments, _depth: Strings(),
    "FixedString": lambda arguments, _depth: Fixed(_number(arguments)),
    "Decimal": _decimal,
    "Nullable": lambda arguments, depth: Nullable(column_type(arguments, depth)),
    "Array": lambda arguments, depth: Arrays(column_type(arguments, depth)),
    "Tuple": _tuple,
    "Map": lambda arguments, depth: Arrays(_tuple(arguments, depth)),
    "Nested": lambda arguments, depth: Arrays(_tuple(arguments, depth)),
    "LowCardinality": _low_cardinality,
    "SimpleAggregateFunction": lambda arguments, depth: column_type("".join(split_arguments(arguments)[-1:]), depth),
}

_NAMED = re.compile(r"(?:`(?:[^`\\]|\\.|``)*`|\w+)\s+(?=[A-Z])")


def _unnamed(element: str) -> str:
    """`bid Float64` → `Float64`: elements of tuples may be named."""
    return _NAMED.sub("", element, count=1) if _NAMED.match(element) else element


_PIECES = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[(),]|[^'`(),]+")


def split_arguments(text: str) -> list[str]:
    """Cut at the commas that stand outside parentheses and quotes."""
    found, depth = [""], 0
    for piece in _PIECES.findall(text):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            found.append("")
        else:
            found[-1] += piece
    return [argument.strip() for argument in found if argument.strip()]
