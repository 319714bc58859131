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
from operator import itemgetter
from typing import Any

from schemas.records import Record

MEMORY_ENTRIES = 10_000
LOW_BITS = 14
LOW_MASK = (1 << LOW_BITS) - 1
LONG_BITS = 63
FROM_LARGE, MOST_LARGE = 1 << 27, 1 << 62
"""Numbers whose zigzag has more than two groups of 14 bits, and surely fits."""


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
DOUBLE = struct.Struct("<d").pack
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
    return encode_long(count) + struct.pack(f"<{count}d", *values) + b"\0"


_AGAIN = _Memory(encode_long)
REPEATED = frozenset({"record.event_time_us", "record.source_offset"})  # the same for all that a raw record gives
_STRINGS = _Memory(lambda text: encode_bytes(text.encode()))


@cache
def encoder_of(schema: str, header: bytes = b"") -> Callable[[Record], bytes]:
    """Make the function that encodes the records of an Avro schema (JSON text, as registered), behind a header.

    It raises AttributeError, KeyError, TypeError, struct.error or OverflowError where a field does not fit the schema.
    """
    return _compile(json.loads(schema), header)


def _compile(avro: dict[str, Any], header: bytes = b"") -> Callable[[Any], bytes]:
    """Write the function's source and make it: `lambda record: b"".join((field, field, ...))`."""
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
    source = f"lambda record: b''.join(({parts},))"
    compiled: Callable[[Any], bytes] = eval(source, names)  # noqa: S307  # made of our own schema files, never of input
    return compiled


def _parts(fields: Sequence[Mapping[str, Any]], names: dict[str, Any]) -> Iterator[str]:
    """Write the expressions of fields; doubles that follow one another are packed by one call."""
    for avro, run in groupby(fields, key=itemgetter("type")):
        values = [f"record.{field['name']}" for field in run]
        count = len(values)
        singles = [_part(avro, value, names) for value in values]
        if count > 1 and avro == "double":
            names[f"double{count}"] = struct.Struct(f"<{count}d").pack
            yield f"double{count}({', '.join(values)})"
        elif count > 1 and avro == OPTIONAL:
            names[f"optional{count}"] = struct.Struct("<" + count * "Bd").pack
            none, whole = (" and ".join(f"{value} {test} None" for value in values) for test in ("is", "is not"))
            packed = f"optional{count}({', '.join(f'2, {value}' for value in values)})"
            yield f"({bytes(count)!r} if {none} else {packed} if {whole} else {' + '.join(singles)})"
        else:
            yield from (
                f"again[{value}]" if avro == "long" and value in REPEATED else single
                for value, single in zip(values, singles, strict=True)
            )


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
        "string": f"strings[{value}]",
        "bytes": f"data({value})",
    }[avro]


def _long_part(value: str) -> str:
    """Write the expression that encodes a long: small ones by a look, large ones in three, others by `encode_long`."""
    large = f"more[number << 1 & {LOW_MASK}] + more[number >> 13 & {LOW_MASK}] + high[number >> 27]"
    if value.endswith("_time_us"):
        return f"({large} if {FROM_LARGE} <= (number := {value}) < {MOST_LARGE} else long(number))"
    small = f"last[number << 1] if 0 <= (number := {value}) <= {LOW_MASK >> 1}"
    return f"({small} else {large} if {FROM_LARGE} <= number < {MOST_LARGE} else long(number))"


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
