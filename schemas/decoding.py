"""Avro schema of a record class → a function that decodes its records, made of plain Python for that schema alone.

fastavro walks the schema for every value, and reads numbers byte by byte. Here the schema is walked once; instants
and sequences take what repeats, their high bits, from memory, and doubles that follow one another are taken at once.
What is not as our own encoder writes it (arrays in several blocks, numbers of ten bytes, damage) is left to fastavro:
it decodes it, or tells what is wrong. Tests hold the result against fastavro.
Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

import json
import struct
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from typing import Any, Final, get_args, get_type_hints

from msgspec import Struct
from msgspec.structs import replace

MEMORY_ENTRIES: Final = 10_000
FIELD: Final = "field_"  # before the names of the variables of fields
LAST_BYTE: Final = 0x80  # of a number: the first byte that is below
LOW_BITS: Final = 14
SEVEN_BITS: Final = 0x7F
INSTANT_BYTES: Final = 8  # of µs since the epoch: from 1987 to 2112
SEQUENCE_BYTES: Final = 6  # of many venues' numbers of updates: from 17 to 2,199 billions
MOST_BYTES: Final = 9  # of any number that our records have; ten are left to fastavro
MOST_INT: Final = 2**31
MOST_KEYWORDS: Final = 14  # beside one argument
UNSURE: Final = (IndexError, KeyError, UnicodeDecodeError, struct.error)
"""What a decoder raises for bytes that are to be left to fastavro."""

_HIGH: Final[dict[int, dict[bytes, int]]] = {INSTANT_BYTES: {}, SEQUENCE_BYTES: {}}
"""By the bytes of a positive number: all but the first two → what they add to it.

Apart from one another, since bytes that end too early for the one could be taken for the other.
"""


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """Read a number; returns it and where it ends. Raises IndexError where it is cut short, or is too long for us."""
    number, shift, end = data[at] & SEVEN_BITS, 7, at
    while data[end] >= LAST_BYTE:
        end += 1
        number |= (data[end] & SEVEN_BITS) << shift
        shift += 7
    end += 1
    if (high := _HIGH.get(end - at)) is not None and not number & 1:
        if len(high) >= MEMORY_ENTRIES:
            high.clear()
        high[data[at + 2 : end]] = number >> LOW_BITS << LOW_BITS >> 1
    if end - at > MOST_BYTES:
        raise IndexError(f"a number of {end - at} bytes")
    return (number >> 1) ^ -(number & 1), end


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """Read a string; raises IndexError where its length is odd, and UnicodeDecodeError."""
    length, begin = read_long(data, at)
    if length < 0:
        raise IndexError(f"a string of {length} bytes")
    return data[begin : begin + length].decode(), begin + length


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Read bytes; raises IndexError where their length is negative."""
    length, begin = read_long(data, at)
    if length < 0:
        raise IndexError(f"{length} bytes")
    return data[begin : begin + length], begin + length


def read_doubles(data: bytes, at: int) -> tuple[list[float], int]:
    """Read an array of doubles in one block; raises IndexError where it is none."""
    count, begin = read_long(data, at)
    end = begin + 8 * count
    if count == 0:
        return [], begin
    if count < 0 or end >= len(data) or data[end]:
        raise IndexError(f"no block of {count} doubles")
    return list(struct.unpack_from(f"<{count}d", data, begin)), end + 1


NUMBER: Final = f"""
first = data[at]
if first < {LAST_BYTE}:
    FIELD = SMALL[first]
    at += 1
elif (second := data[at + 1]) < {LAST_BYTE}:
    number = first & {SEVEN_BITS} | second << 7
    FIELD = (number >> 1) ^ -(number & 1)
    at += 2
elif (third := data[at + 2]) < {LAST_BYTE}:
    number = first & {SEVEN_BITS} | (second & {SEVEN_BITS}) << 7 | third << {LOW_BITS}
    FIELD = (number >> 1) ^ -(number & 1)
    at += 3
elif (fourth := data[at + 3]) < {LAST_BYTE}:
    number = first & {SEVEN_BITS} | (second & {SEVEN_BITS}) << 7 | (third & {SEVEN_BITS}) << {LOW_BITS} | fourth << 21
    FIELD = (number >> 1) ^ -(number & 1)
    at += 4
elif (high := high_of_instant(data[at + 2:at + {INSTANT_BYTES}])) is not None and not first & 1:
    FIELD = (first & {SEVEN_BITS}) >> 1 | (second & {SEVEN_BITS}) << 6 | high
    at += {INSTANT_BYTES}
elif (high := high_of_sequence(data[at + 2:at + {SEQUENCE_BYTES}])) is not None and not first & 1:
    FIELD = (first & {SEVEN_BITS}) >> 1 | (second & {SEVEN_BITS}) << 6 | high
    at += {SEQUENCE_BYTES}
else:
    FIELD, at = read_long(data, at)
"""
INSTANT: Final = f"""
first = data[at]
if (
    first >= {LAST_BYTE}
    and not first & 1
    and (second := data[at + 1]) >= {LAST_BYTE}
    and (high := high_of_instant(data[at + 2:at + {INSTANT_BYTES}])) is not None
):
    FIELD = (first & {SEVEN_BITS}) >> 1 | (second & {SEVEN_BITS}) << 6 | high
    at += {INSTANT_BYTES}
elif first:
    FIELD, at = read_long(data, at)
else:
    FIELD = 0
    at += 1
"""
"""The same number, where most are instants, or 0."""
INT: Final = f"""if not {-MOST_INT} <= FIELD < {MOST_INT}:
    raise IndexError(at)
"""
TEXT: Final = f"""
first = data[at]
if not first:
    FIELD = ""
    at += 1
elif first < {LAST_BYTE} and not first & 1:
    end = at + 1 + (first >> 1)
    FIELD = data[at + 1:end].decode()
    at = end
else:
    FIELD, at = read_text(data, at)
"""

BYTES: Final = f"""
first = data[at]
if first & 1:
    raise IndexError(at)
if first < {LAST_BYTE}:
    end = at + 1 + (first >> 1)
    FIELD = data[at + 1:end]
    at = end
elif (second := data[at + 1]) < {LAST_BYTE}:
    end = at + 2 + ((first & {SEVEN_BITS} | second << 7) >> 1)
    FIELD = data[at + 2:end]
    at = end
else:
    FIELD, at = read_bytes(data, at)
"""
CHOICE: Final = """
FIELD = CHOICES[data[at]]
at += 1
"""
SIMPLE: Final = {
    '"long"': NUMBER,
    '"int"': NUMBER + INT,
    '"string"': TEXT,
    '"bytes"': BYTES,
    '"boolean"': CHOICE.replace("CHOICES", "BOOLEANS"),
}
"""Type, as JSON → the statements that decode a field of it."""
NUMBERS: Final = '{"type": "array", "items": "double"}'


@cache
def decoder_of(schema: str, begin: int, make: type[Struct] | None = None) -> Callable[[bytes], Any] | None:
    """Make the function that decodes the records of an Avro schema (JSON text); None = it holds what needs fastavro.

    It raises one of UNSURE, or returns what fastavro would, field by field in the schema's order.

    Args:
        begin: where the body begins in the values.
        make: the class of the record; None = the fields come as a dictionary.
    """
    avro = json.loads(schema)
    names: dict[str, Any] = {
        "read_long": read_long,
        "read_text": read_text,
        "read_bytes": read_bytes,
        "read_doubles": read_doubles,
        "high_of_instant": _HIGH[INSTANT_BYTES].get,
        "high_of_sequence": _HIGH[SEQUENCE_BYTES].get,
        "SMALL": [(number >> 1) ^ -(number & 1) for number in range(LAST_BYTE)],
        "BOOLEANS": {0: False, 1: True},
        "IS_THERE": {0: False, 2: True},
    }
    try:
        body = [line for kind, names_ in _runs(avro) for line in _lines(kind, names_, names, make)]
    except KeyError:
        return None
    fields = [field["name"] for field in avro["fields"]]
    if make is None:
        result = _fields(fields)
    else:
        result, names["blank"], names["replace"] = _replaced(fields), make(**dict.fromkeys(fields)), replace
    lines = [f"at = {begin}", *body, "if at != len(data): raise IndexError(at)", f"return {result}"]
    source = "def decode(data):\n" + "\n".join(f"    {line}" for line in lines)
    exec(source, names)  # noqa: S102  # made of our own schema files, never of input
    made: Callable[[bytes], Any] = names["decode"]
    return made


def _fields(fields: list[str], prefix: str = FIELD) -> str:
    """Write the dictionary of fields."""
    return f"{{{', '.join(f'{name!r}: {prefix}{name}' for name in fields)}}}"


def _replaced(fields: list[str]) -> str:
    """Write how a record is made: of a blank one, some fields at a time.

    CPython passes more keywords by way of a dictionary, which takes longer than all these calls.
    """
    result = "blank"
    for at in range(0, len(fields), MOST_KEYWORDS):
        named = ", ".join(f"{name}=field_{name}" for name in fields[at : at + MOST_KEYWORDS])
        result = f"replace({result}, {named})"
    return result


def _runs(avro: dict[str, Any], prefix: str = FIELD) -> Iterator[tuple[Any, list[str]]]:
    """Give types with the variables of the fields that have them, neighbours together."""
    for text, fields in groupby(avro["fields"], lambda field: json.dumps(field["type"])):
        yield json.loads(text), [f"{prefix}{field['name']}" for field in fields]


def _lines(kind: Any, fields: list[str], names: dict[str, Any], make: type[Struct] | None) -> Iterator[str]:
    """Write the statements that decode neighbours of one type; raises KeyError for a type that is left to fastavro."""
    if kind == "double":
        yield from _doubles(fields, f"<{len(fields)}d", names)
    elif kind == ["null", "double"]:
        yield from _nullable_doubles(fields, names)
    elif isinstance(kind, dict) and isinstance(kind.get("items"), dict):
        for field in fields:
            yield from _records(kind["items"], field, names, make)
    else:
        for field in fields:
            yield from _line(kind, field, names)


def _records(avro: dict[str, Any], field: str, names: dict[str, Any], make: type[Struct] | None) -> Iterator[str]:
    """Take records in one block, of few plain fields each; they become what the field of `make` holds, or dictionaries.

    Raises:
        KeyError: they have many fields, or records in them.
    """
    inner, prefix = [each["name"] for each in avro["fields"]], f"{avro['name']}_"
    runs = list(_runs(avro, prefix))
    if len(inner) > MOST_KEYWORDS or any(isinstance(kind, dict) and "items" in kind for kind, _ in runs):
        raise KeyError(avro["name"])
    if make is None:
        made = _fields(inner, prefix)
    else:
        (names[avro["name"]],) = get_args(get_type_hints(make)[field.removeprefix(FIELD)])
        made = f"{avro['name']}({', '.join(f'{name}={prefix}{name}' for name in inner)})"
    yield f"{field} = []"
    yield "count, at = read_long(data, at)"
    yield "if count < 0: raise IndexError(at)"
    yield "if count:"
    yield "    for _ in range(count):"
    for kind, fields in runs:
        yield from (f"        {line}" for line in _lines(kind, fields, names, None))
    yield f"        {field}.append({made})"
    yield "    if data[at]: raise IndexError(at)"
    yield "    at += 1"


def _doubles(fields: list[str], layout: str, names: dict[str, Any]) -> Iterator[str]:
    taken = struct.Struct(layout)
    name = "take_" + "".join(each if each.isalnum() else "_" for each in layout)
    names[name] = taken.unpack_from
    yield f"{', '.join(fields)}, = {name}(data, at)"
    yield f"at += {taken.size}"


def _nullable_doubles(fields: list[str], names: dict[str, Any]) -> Iterator[str]:
    """All at once where all are there; one by one else."""
    marks = " == ".join(f"data[at + {9 * index}]" for index in range(len(fields)))
    yield f"if at + {9 * len(fields)} <= len(data) and {marks} == 2:"
    yield from (f"    {line}" for line in _doubles(fields, "<" + "xd" * len(fields), names))
    yield "else:"
    for field in fields:
        yield f"    {field} = None"
        yield "    is_there = IS_THERE[data[at]]"
        yield "    at += 1"
        yield "    if is_there:"
        yield from (f"        {line}" for line in _doubles([field], "<1d", names))


def _line(kind: Any, field: str, names: dict[str, Any]) -> Iterator[str]:
    name = json.dumps(kind)
    if isinstance(kind, dict) and kind["type"] == "enum":
        names[kind["name"]] = {2 * index: symbol for index, symbol in enumerate(kind["symbols"])}
        yield from _block(CHOICE.replace("CHOICES", kind["name"]), field)
    elif name == '"long"' and field.endswith("_time_us"):
        yield from _block(INSTANT, field)
    elif name == NUMBERS:
        yield f"{field}, at = read_doubles(data, at)"
    else:
        yield from _block(SIMPLE[name], field)


def _block(source: str, field: str) -> Iterator[str]:
    yield from source.replace("FIELD", field).strip().splitlines()
