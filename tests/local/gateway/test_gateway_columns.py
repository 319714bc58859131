"""Blocks of every column type the engine writes are walked to their last byte, and damaged ones are refused."""

from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.local.gateway.blocks import header, read_block, split
from tickerplant.local.gateway.columns import column_type, split_arguments
from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.wire import Buffer, string, varint

EXPRESSIONS = [
    "toInt64(number)",
    "toUInt64(number)",
    "toInt32(number)",
    "toUInt8(number % 200)",
    "toInt128(number)",
    "toUInt256(number)",
    "number / 3",
    "toFloat32(number)",
    "number % 2 = 0 ? true : false",
    "repeat('x', number)",
    "repeat('long', number * 50)",
    "toFixedString(toString(number % 10), 3)",
    "toLowCardinality(toString(number % 5))",
    "toLowCardinality(toNullable(if(number % 3 = 0, NULL, toString(number))))",
    "toLowCardinality(toFixedString('ab', 2))",
    "arrayMap(x -> toLowCardinality(toString(x)), range(number % 4))",
    "CAST(number % 2, 'Enum8(\\'BUY (1)\\' = 0, \\'SELL, 2\\' = 1)')",
    "if(number % 2 = 0, NULL, number / 7)",
    "if(number % 2 = 0, NULL, toString(number))",
    "arrayMap(x -> (x / 2, x * 1.5), range(number % 9))",
    "CAST([(number / 2, 'x')], 'Array(Tuple(bid Float64, `odd, (name)` String))')",
    "arrayMap(x -> range(x), range(number % 5))",
    "map(toString(number), 'v', 'k', '')",
    "CAST(map('k', [number]), 'Map(LowCardinality(String), Array(UInt64))')",
    "toDateTime(number, 'UTC')",
    "toDateTime64(number, 6, 'UTC')",
    "toDate(number)",
    "toDate32(number)",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "toIPv4('127.0.0.1')",
    "toIPv6('::1')",
    "toDecimal32(number, 2)",
    "toDecimal64(number, 8)",
    "toDecimal128(number, 20)",
    "toDecimal256(number, 40)",
    "(number, 'x', [number])",
    "tuple()",
    "toIntervalSecond(number)",
    "NULL",
    "[]",
    "CAST((number / 2, 1), 'Point')",
    "CAST([[(1., 2.)]], 'Polygon')",
    "CAST(number, 'SimpleAggregateFunction(sum, UInt64)')",
]


def native(url: str, sql: str) -> bytes:
    with urlopen(f"{url}/?{urlencode({'query': sql + ' FORMAT Native'})}") as response:
        return bytes(response.read())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_column_is_walked_to_its_end(gateway: Any, expression: str) -> None:
    sql = f"SELECT {expression} AS c, 'end' AS e FROM numbers(300) SETTINGS max_block_size = 100"
    data = native(gateway.url, sql)

    blocks = split(data)

    assert (300, data) == (sum(block.rows for block in blocks), b"".join(block.data for block in blocks))
    assert {(b"c", b"e")} == {tuple(name for name, _ in block.columns) for block in blocks}


@pytest.mark.parametrize(
    "expression", ["repeat('long', number * 9)", "range(number)", "toLowCardinality('a')", "map(1, 'x')"]
)
def test_a_block_is_read_however_it_arrives(gateway: Any, expression: str) -> None:
    data = native(gateway.url, f"SELECT {expression} FROM numbers(40)")
    buffer = Buffer(len(data))
    reader = read_block(buffer)
    next(reader)
    for byte in data[:-1]:
        buffer.feed(bytes([byte]))
        next(reader)
    buffer.feed(data[-1:])

    with pytest.raises(StopIteration) as done:
        next(reader)

    assert data == done.value.value.data


def test_bytes_that_end_within_a_block_are_refused(gateway: Any) -> None:
    data = native(gateway.url, "SELECT toString(number), [number] FROM numbers(3)")

    for end in range(1, len(data)):
        with pytest.raises(ProtocolError):
            split(data[:end])


def test_a_header_is_a_block_without_rows() -> None:
    columns = ((b"a", b"UInt8"), (b"b", b"Array(String)"))

    (block,) = split(header(columns))

    assert (columns, 0, False) == (block.columns, block.rows, block.is_end)


@pytest.mark.parametrize(
    "name",
    [
        "JSON",
        "Variant(String, UInt8)",
        "AggregateFunction(sum, UInt8)",
        "Nonsense",
        "",
        "FixedString(x)",
        "Array(" * 40,
    ],
)
def test_a_type_that_cannot_be_walked_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        column_type(name)


def block_of(name: str, rows: int, data: bytes) -> bytes:
    return varint(1) + varint(rows) + string("c") + string(name) + data


@pytest.mark.parametrize(
    ("name", "rows", "data"),
    [
        ("UInt64", 1 << 62, b""),
        ("FixedString(999999999)", 1000, b""),
        ("String", 1, b"\xff\xff\xff\xff\xff\x0f"),
        ("String", 1, b"\xff\xff\xff\x7f"),
        ("Array(UInt8)", 1, b"\xff" * 8),
        ("LowCardinality(String)", 1, bytes(8) + bytes(8) + bytes(8)),
    ],
)
def test_a_block_that_promises_more_than_the_limit_is_refused(name: str, rows: int, data: bytes) -> None:
    buffer = Buffer(1 << 20)
    buffer.feed(block_of(name, rows, data))

    with pytest.raises(ProtocolError):
        next(read_block(buffer))


def test_a_block_of_too_many_columns_is_refused() -> None:
    buffer = Buffer(1 << 20)
    buffer.feed(varint(1 << 40) + varint(0))

    with pytest.raises(ProtocolError, match="columns"):
        next(read_block(buffer))


def test_arguments_are_cut_outside_of_quotes_and_parentheses() -> None:
    assert split_arguments("'a, (b', Tuple(x, y), `c,`") == ["'a, (b'", "Tuple(x, y)", "`c,`"]


@given(st.lists(st.binary(max_size=3) | st.binary(min_size=126, max_size=130), max_size=30), st.integers(1, 3000))
def test_strings_of_any_lengths_are_counted_through(values: list[bytes], repeated: int) -> None:
    values = [b"same"] * repeated + values + [b"" for _ in values] * 50
    data = block_of("String", len(values), b"".join(map(string, values)))

    (block,) = split(data)

    assert (len(values), data) == (block.rows, block.data)
