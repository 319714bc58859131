"""Avro schema of a record class → a function that encodes its records, made of plain Python for that schema alone.

fastavro walks the schema for every value; here it is walked once, and what is left are joins of bytes, with memory for
what repeats (symbols, high bits of instants). Tests hold the result against fastavro, byte by byte.
Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from schemas.records import Record

MEMORY_ENTRIES = 10_000
LOW_BITS = 14
LOW_MASK = (1 << LOW_BITS) - 1
LONG_BITS = 63
FROM_LARGE, MOST_LARGE = 1 << 27, 1 << 62
"""Numbers whose zigzag has more than two groups of 14 bits, and surely fits."""
LARGE = f"more[number << 1 & {LOW_MASK}]", f"more[number >> 13 & {LOW_MASK}]", "high[number >> 27]"
"""Expressions of such a number's bytes."""


def _plain_varint(number: int) -> bytes:
    """Encode an unsigned number in groups of seven bits, lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


LAST = [_plain_varint(number) for number in range(1 << LOW_BITS)]
MORE = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(1 << LOW_BITS)]
ONE_BYTE = 64  # so many symbols of an enum have one
FEW = 64
DOUBLES = [struct.Struct(f"<{count}d").pack for count in range(FEW)]
"""Pack so many doubles; to find the layout of more takes less than they do."""
DOUBLE = DOUBLES[1]
OPTIONAL = ["null", "double"]


class _Memory(dict[Any, bytes]):
    """Remembers encodings; forgets all when full, so that it stays bounded."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, value: Any) -> bytes:
        if len(self) >= MEMORY_ENTRIES:
            self.clear()
        encoded = self[value] = self._encode(value)
        return encoded


_HIGH = _Memory(_plain_varint)


def encode_long(number: int) -> bytes:
    """Encode a long: zigzag, then groups of seven bits.

    Raises:
        OverflowError: it does not fit into 64 bits.
    """
    zigzag = number << 1 if number >= 0 else ~number << 1 | 1
    if zigzag <= LOW_MASK:
        return LAST[zigzag]
    high = zigzag >> LOW_BITS
    if high <= LOW_MASK:
        return MORE[zigzag & LOW_MASK] + LAST[high]
    if zigzag >> (LONG_BITS + 1):
        raise OverflowError(f"{number} does not fit into a long")
    return MORE[zigzag & LOW_MASK] + MORE[high & LOW_MASK] + _HIGH[high >> LOW_BITS]


def encode_bytes(value: bytes) -> bytes:
    """Encode bytes: their length, then they."""
    return encode_long(len(value)) + value


def encode_doubles(values: Sequence[float]) -> bytes:
    """Encode an array of doubles: one block, then the empty one."""
    count = len(values)
    if not count:
        return b"\0"
    if count < FEW:
        return LAST[count << 1] + DOUBLES[count](*values) + b"\0"
    return encode_long(count) + struct.pack(f"<{count}d", *values) + b"\0"


_AGAIN = _Memory(encode_long)
REPEATED = frozenset({"record.event_time_us", "record.source_offset"})  # the same for all that a raw record gives
UNIQUE = "trade_id"  # how names of texts end that are new each time: to remember them would push out all others
_STRINGS = _Memory(lambda text: encode_bytes(text.encode()))


@cache
def encoder_of(schema: str, header: bytes = b"") -> Callable[[Record], bytes]:
    """Make the function that encodes the records of an Avro schema (JSON text, as registered), behind a header.

    It raises AttributeError, KeyError, TypeError, struct.error or OverflowError where a field does not fit the schema.
    """
    return _compile(json.loads(schema), header)


def _compile(avro: dict[str, Any], header: bytes = b"") -> Callable[[Any], bytes]:
    """Write the function's source and make it: longs one by one, then `return b"".join((field, field, ...))`."""
    names: dict[str, Any] = {
        "long": encode_long,
        "last": LAST,
        "more": MORE,
        "high": _HIGH,
        "again": _AGAIN,
        "strings": _STRINGS,
        "data": encode_bytes,
        "double": DOUBLE,
        "doubles": encode_doubles,
    }
    first = [repr(header)] if header else []
    parts = ", ".join([*first, *_parts(avro["fields"], names)])
    lines = [*_long_lines(avro["fields"]), f"return b''.join(({parts},))"]
    source = "def encode(record):\n" + "\n".join(f"    {line}" for line in lines)
    exec(source, names)  # noqa: S102  # made of our own schema files, never of input
    compiled: Callable[[Any], bytes] = names["encode"]
    return compiled


def _parts(fields: Sequence[Mapping[str, Any]], names: dict[str, Any]) -> Iterator[str]:
    """Write the expressions of fields; what has as many bytes in all records, or nearly, is packed by one call."""
    for is_fixed, run in groupby(fields, key=_is_fixed):
        each = [(field["type"], f"record.{field['name']}") for field in run]
        if is_fixed and len(each) > 1:
            yield _packed(each, names)
            continue
        for avro, value in each:
            if avro != "long":
                yield _part(avro, value, names)
            elif value in REPEATED:
                yield f"again[{value}]"
            else:
                yield from _pieces(value)


def _is_fixed(field: Mapping[str, Any]) -> bool:
    """Tell whether a field has one byte, eight, or nine unless it is null."""
    avro = field["type"]
    return avro in {"double", "boolean"} if isinstance(avro, str) else avro == OPTIONAL or _is_enum(avro)


def _is_enum(avro: Any) -> bool:
    return isinstance(avro, dict) and avro["type"] == "enum" and len(avro["symbols"]) <= ONE_BYTE


def _packed(fields: Sequence[tuple[Any, str]], names: dict[str, Any]) -> str:
    """Write the expression that packs fields together: with all that may be null, with none of them, or one by one."""
    optional = [value for avro, value in fields if avro == OPTIONAL]
    whole = _pack(fields, names)
    if not optional:
        return whole
    none = _pack([("null", value) if avro == OPTIONAL else (avro, value) for avro, value in fields], names)
    singles = ", ".join(_part(avro, value, names) for avro, value in fields)
    are_null, are_there = (" and ".join(f"{value} {test} None" for value in optional) for test in ("is", "is not"))
    return f"({none} if {are_null} else {whole} if {are_there} else b''.join(({singles},)))"


def _pack(fields: Sequence[tuple[Any, str]], names: dict[str, Any]) -> str:
    """Write the call that packs fields."""
    layout, values = "", list[str]()
    for avro, value in fields:
        if avro == OPTIONAL:
            layout += "Bd"
            values += ["2", value]
        elif avro == "null":
            layout += "x"
        elif isinstance(avro, dict):
            layout += "B"
            codes = f"{avro['name']}_codes"
            names[codes] = {symbol: 2 * index for index, symbol in enumerate(avro["symbols"])}
            values.append(f"{codes}[{value}]")
        else:
            layout += {"double": "d", "boolean": "?"}[avro]
            values.append(value)
    name = f"pack_{layout.replace('?', 'b')}"
    names[name] = struct.Struct(f"<{layout}").pack
    return f"{name}({', '.join(values)})"


def _pieces(value: str) -> tuple[str, str, str]:
    """Name the variables that hold the bytes of a long of a record."""
    name = value.replace("record.", "long_")
    return f"{name}_0", f"{name}_1", f"{name}_2"


def _long_lines(fields: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the statements that encode the longs of a record, each as up to three pieces, which the join puts together.

    Instants are large or 0, other longs of any size.
    """
    for field in fields:
        value = f"record.{field['name']}"
        if field["type"] != "long" or value in REPEATED:
            continue
        one, two, three = _pieces(value)
        yield f"number = {value}"
        yield f"if {FROM_LARGE} <= number < {MOST_LARGE}:"
        yield from (f"    {name} = {part}" for name, part in zip((one, two, three), LARGE, strict=True))
        if not value.endswith("_time_us"):
            yield f"elif 0 <= number <= {LOW_MASK >> 1}:"
            yield f"    {one} = last[number << 1]"
            yield f"    {two} = {three} = b''"
            yield f"elif 0 < number < {FROM_LARGE}:"
            yield f"    {one}, {two}, {three} = {LARGE[0]}, last[number >> 13], b''"
        yield "else:"
        yield f"    {one} = long(number) if number else b'\\0'"
        yield f"    {two} = {three} = b''"


def _part(avro: Any, value: str, names: dict[str, Any]) -> str:
    """Write the expression that encodes one value; what it needs is put into `names`."""
    if isinstance(avro, list):
        return f"(b'\\0' if {value} is None else b'\\2' + {_part(avro[1], value, names)})"
    if isinstance(avro, dict):
        return _named_part(avro, value, names)
    return {
        "boolean": f"(b'\\1' if {value} else b'\\0')",
        "int": _long_part(value),
        "long": _long_part(value),
        "double": f"double({value})",
        "string": f"(data({value}.encode()) if {value} else b'\\0')" if value.endswith(UNIQUE) else f"strings[{value}]",
        "bytes": f"data({value})",
    }[avro]


def _long_part(value: str) -> str:
    """Write the expression that encodes an int, or a long within a list: small ones by a look."""
    return f"(last[number << 1] if 0 <= (number := {value}) <= {LOW_MASK >> 1} else long(number))"


def _named_part(avro: dict[str, Any], value: str, names: dict[str, Any]) -> str:
    if avro["type"] == "enum":
        names[avro["name"]] = {symbol: encode_long(index) for index, symbol in enumerate(avro["symbols"])}
        return f"{avro['name']}[{value}]"
    if avro["type"] == "array" and avro["items"] == "double":
        return f"doubles({value})"
    if isinstance(avro["items"], dict):
        items = avro["items"]["name"]
        names[items] = _compile(avro["items"])
        each = f"map({items}, {value})"
    else:
        each = f"[{_part(avro['items'], 'item', names)} for item in {value}]"
    return f"(long(len({value})) + b''.join({each}) + b'\\0' if {value} else b'\\0')"
