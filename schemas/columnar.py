"""Avro schema of a record class → a function that decodes many of its records at once, straight into Arrow columns.

`decoding.py` reads one record after the other; here all records of a batch are read field by field, each field by a few
operations of numpy over the places where the records stand. What is not as our own encoder writes it is not judged:
nothing is returned then, and the records are to be read one by one. Tests hold the result against `decoding.py`.
Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

import json
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.codec import HEADER, schema_text
from schemas.records import RawFrames, Record

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a batch: it is copied once, and places of long texts take up to 17 times as much. What is more is halved."""
PADDING: Final = bytes(32)
LAST_BYTE: Final = 0x80  # of a number: the first byte that is below
MOST_INT: Final = 2**31
WORD: Final = 8
ENDS: Final = np.uint64(0x8080_8080_8080_8080)
SEVENS: Final = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
HEADER_MASK: Final = np.uint64((1 << 8 * HEADER.size) - 1)
ONE: Final = np.uint64(1)
JOINED: Final = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00, 1),
        (0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000, 2),
        (0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000, 4),
    )
)
"""How eight groups of seven bits become four, two and one: masks of every second group, and how far the others move."""

Finish = Callable[[], pa.Array]
"""Makes a column once it is known that all records are whole."""
Decode = Callable[[Sequence[bytes], Collection[bytes]], pa.RecordBatch | None]


class _Places:
    """Where each record of a batch is read; reading a field moves all of them behind it.

    Places never go back, and those that run past their record are found at the end, so fields do not look for it.

    Attributes:
        is_bad: which records are to be read otherwise.
    """

    def __init__(self, data: bytes, starts: np.ndarray) -> None:
        self._octets = np.frombuffer(data, np.uint8)
        # At each byte begins a word: views of what lies there, aligned or not.
        self._words = np.ndarray((len(data) - WORD + 1,), "<u8", data, 0, (1,))
        self._doubles = np.ndarray((len(data) - WORD + 1,), "<f8", data, 0, (1,))
        self._most = len(data) - len(PADDING) + 1
        self.at = starts
        self.is_bad = np.zeros(len(starts), bool)

    def skip(self, headers: Collection[bytes]) -> None:
        """Pass over the headers; others than these are bad."""
        found = self._words[self.at] & HEADER_MASK
        known = [np.uint64(int.from_bytes(header, "little")) for header in headers]
        self.is_bad |= ~np.isin(found, np.array(known, np.uint64))
        self._move(HEADER.size)

    def longs(self) -> np.ndarray:
        """Read a number each."""
        first = self._octets[self.at]
        if first.max() < LAST_BYTE:
            self._move(1)
            return _signed(first.astype(np.int64))
        word = self._words[self.at]
        end = ~word & ENDS
        below = (end & (~end + ONE)) - ONE  # the bits below that of the first byte that ends a number; all = none does
        size = (np.bitwise_count(below) >> 3).astype(np.int64) + 1
        word &= below & SEVENS
        for low, high, shift in JOINED:
            word = (word & low) | ((word & high) >> shift)
        number = word.view(np.int64)
        if (long := np.flatnonzero(size > WORD)).size:
            ninth = self._octets[self.at[long] + WORD]
            self.is_bad[long[ninth >= LAST_BYTE]] = True
            number[long] |= ninth.astype(np.int64) << 7 * WORD
        self._move(size)
        return _signed(number)

    def ints(self) -> Finish:
        """Read a number of 32 bits each."""
        found = self.longs()
        self.is_bad |= (found < -MOST_INT) | (found >= MOST_INT)
        return lambda: pa.array(found.astype(np.int32))

    def doubles(self) -> np.ndarray:
        """Read a double each."""
        found: np.ndarray = self._doubles[self.at]
        self._move(WORD)
        return found

    def nullable_doubles(self) -> Finish:
        """Read a double, or that there is none, each."""
        mark = self._octets[self.at]
        is_there = mark == 2  # the second of a union
        self.is_bad |= ~is_there & (mark != 0)
        found = self._doubles[self.at + 1]
        self._move(np.where(is_there, 1 + WORD, 1))
        if is_there.all():
            return lambda: pa.array(found)
        return lambda: pa.array(found, mask=~is_there)

    def choices(self, values: np.ndarray) -> np.ndarray:
        """Read one byte each, that stands for a value: by the byte, -1 = for none."""
        found: np.ndarray = values[self._octets[self.at]]
        self.is_bad |= found < 0
        self._move(1)
        return found

    def texts(self, make: Callable[[int, pa.Buffer, pa.Buffer], pa.Array]) -> Finish:
        """Read a string or bytes each."""
        lengths = self._counts(1)
        begin = self.at
        self._move(lengths)
        return lambda: make(len(lengths), *self._sliced(begin, lengths))

    def double_lists(self) -> Finish:
        """Read an array of doubles each, in one block."""
        counts = self._counts(WORD)
        begin = self.at
        self._move(counts * WORD)
        is_filled = counts > 0
        self.is_bad |= is_filled & (self._octets[self.at] != 0)
        self._move(is_filled)
        return lambda: self._lists(begin, counts)

    def _counts(self, size: int) -> np.ndarray:
        """Read how many items of a size follow; more than there can be are bad."""
        found = self.longs()
        is_bad = (found < 0) | (found > self._most // size)
        self.is_bad |= is_bad
        found[is_bad] = 0
        return found

    def _move(self, by: Any) -> None:
        self.at = np.minimum(self.at + by, self._most)

    def _sliced(self, begin: np.ndarray, lengths: np.ndarray) -> tuple[pa.Buffer, pa.Buffer]:
        """Put slices one behind the other: Arrow's offsets and data."""
        offsets = _offsets(lengths)
        if (pattern := self._pattern(begin, lengths)) is not None:
            return pa.py_buffer(offsets), pa.py_buffer(pattern * len(lengths))
        places = np.repeat(begin - offsets[:-1], lengths)
        places += np.arange(len(places))
        return pa.py_buffer(offsets), pa.py_buffer(self._octets[places])

    def _pattern(self, begin: np.ndarray, lengths: np.ndarray) -> bytes | None:
        """Find the bytes that all slices hold, as nearly always of a venue; None = they differ."""
        length = int(lengths[0])
        if (lengths != length).any():
            return None
        for at in range(0, length, WORD):
            words = self._words[begin + at]
            left = length - at
            mask = np.uint64((1 << 8 * min(left, WORD)) - 1)
            if ((words ^ words[0]) & mask).any():
                return None
        return self._octets[begin[0] : begin[0] + length].tobytes()

    def _lists(self, begin: np.ndarray, counts: np.ndarray) -> pa.Array:
        offsets = _offsets(counts)
        places = np.repeat(begin - offsets[:-1].astype(np.int64) * WORD, counts)
        places += np.arange(len(places)) * WORD
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(self._doubles[places]))


def _signed(zigzag: np.ndarray) -> np.ndarray:
    signed: np.ndarray = (zigzag >> 1) ^ -(zigzag & 1)
    return signed


def _offsets(lengths: np.ndarray) -> np.ndarray:
    found = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=found[1:])
    return found


@cache
def columns_decoder_of(record: type[Record]) -> Decode | None:
    """Make the function that decodes records of a class into a batch with its Arrow schema, a row each, in their order.

    It takes framed values, and the headers that ours have; it returns None where one of them must be read otherwise.

    Returns:
        None = records of this class are to be read one by one.
    """
    if record is RawFrames:
        return None
    avro = json.loads(schema_text(record))
    try:
        steps = [_step(field["type"]) for field in avro["fields"]]
    except KeyError:
        return None
    schema = arrow_schema(record)

    def decode(values: Sequence[bytes], headers: Collection[bytes]) -> pa.RecordBatch | None:
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        if not headers or not len(values) or lengths.sum() > MOST_BYTES:
            return None
        ends = np.cumsum(lengths)
        places = _Places(b"".join((*values, PADDING)), ends - lengths)
        places.skip(headers)
        if places.is_bad.any():  # another schema's
            return None
        finishes = [step(places) for step in steps]
        if places.is_bad.any() or (places.at != ends).any():
            return None
        try:
            return pa.RecordBatch.from_arrays([finish() for finish in finishes], schema=schema)
        except pa.ArrowInvalid:  # a string that is no UTF-8
            return None

    return decode


def _step(kind: Any) -> Callable[[_Places], Finish]:
    """Tell how fields of a type are read; raises KeyError for a type that is not read here."""
    if isinstance(kind, dict) and kind["type"] == "enum":
        return _enum_step(kind["symbols"])
    return SIMPLE[json.dumps(kind)]


def _enum_step(symbols: Sequence[str]) -> Callable[[_Places], Finish]:
    values = np.full(256, -1, np.int16)
    values[: 2 * len(symbols) : 2] = np.arange(len(symbols))
    names = pa.array(symbols, pa.string())

    def step(places: _Places) -> Finish:
        found = places.choices(values)
        return lambda: names.take(pa.array(found))

    return step


def _booleans(places: _Places) -> Finish:
    found = places.choices(BOOLEANS)
    return lambda: pa.array(found.astype(bool))


def _array(found: np.ndarray) -> Finish:
    return lambda: pa.array(found)


def _strings(count: int, offsets: pa.Buffer, data: pa.Buffer) -> pa.Array:
    """Make strings; raises ArrowInvalid where they are no UTF-8."""
    found = pa.StringArray.from_buffers(count, offsets, data)
    octets = np.frombuffer(data, np.uint8)
    if octets.size and octets.max() >= LAST_BYTE:
        found.validate(full=True)
    return found


def _binaries(count: int, offsets: pa.Buffer, data: pa.Buffer) -> pa.Array:
    return pa.BinaryArray.from_buffers(pa.binary(), count, [None, offsets, data])


BOOLEANS: Final = np.full(256, -1, np.int8)
BOOLEANS[:2] = (0, 1)
SIMPLE: Final[dict[str, Callable[[_Places], Finish]]] = {
    '"long"': lambda places: _array(places.longs()),
    '"int"': _Places.ints,
    '"double"': lambda places: _array(places.doubles()),
    '["null", "double"]': _Places.nullable_doubles,
    '"boolean"': _booleans,
    '"string"': lambda places: places.texts(_strings),
    '"bytes"': lambda places: places.texts(_binaries),
    '{"type": "array", "items": "double"}': _Places.double_lists,
}
"""Type, as JSON → how fields of it are read."""
