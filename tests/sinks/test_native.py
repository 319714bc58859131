"""What we write for ClickHouse is, byte by byte, what its driver writes value by value."""

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_driver.block import ColumnOrientedBlock
from clickhouse_driver.bufferedwriter import CompressedBufferedWriter
from clickhouse_driver.columns.service import write_column
from clickhouse_driver.connection import Connection
from clickhouse_driver.context import Context
from clickhouse_driver.streams.native import BlockOutputStream
from hypothesis import given
from hypothesis import strategies as st

from sinks.native import Column, ColumnClient, encode, levels, write

LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False)
SIDES = "Enum8('BUY' = 1, 'SELL' = 2, 'UNKNOWN' = 0)"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
COLUMNS = {
    "Int64": (pa.int64(), LONGS),
    "Int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "Float64": (pa.float64(), DOUBLES),
    "Nullable(Float64)": (pa.float64(), st.none() | DOUBLES),
    "Bool": (pa.bool_(), st.booleans()),
    "String": (pa.string(), TEXTS),
    "LowCardinality(String)": (pa.string(), st.sampled_from(["", "raw.binance@WW4E8a-_", "x" * 300])),
    SIDES: (pa.string(), st.sampled_from(["BUY", "SELL", "UNKNOWN"])),
    "Array(Int32)": (pa.list_(pa.int32()), st.lists(st.integers(0, 99), max_size=4)),
    "Array(Nullable(Float64))": (pa.list_(pa.float64()), st.lists(st.none() | DOUBLES, max_size=4)),
}


def by_driver(kind: str, values: list[Any]) -> bytes:
    context, out = Context(), BytesIO()
    context.settings = {}
    context.client_settings = {"strings_as_bytes": False, "use_numpy": False, "strings_encoding": "utf-8"}
    out.write_strings = lambda items, encoding: [write_text(each.encode(encoding), out) for each in items]  # type: ignore[attr-defined]
    write_column(context, "name", kind, values, out)
    return out.getvalue()


def write_text(text: bytes, out: BytesIO) -> None:
    size = len(text)
    while size > 0x7F:
        out.write(bytes((size & 0x7F | 0x80,)))
        size >>= 7
    out.write(bytes((size,)) + text)


@pytest.mark.parametrize("kind", COLUMNS)
@given(data=st.data())
def test_a_column_is_written_as_the_driver_writes_it(kind: str, data: st.DataObject) -> None:
    arrow, values_of = COLUMNS[kind]
    values = data.draw(st.lists(values_of, min_size=1, max_size=9))
    padded = pa.array([*values[:1], *values], arrow)[1:]  # a slice, as chunks that were parted are

    assert encode(kind, padded) == by_driver(kind, list(values))


@given(rows=st.lists(st.lists(st.tuples(DOUBLES, DOUBLES), max_size=3), min_size=1, max_size=5))
def test_levels_are_written_as_the_driver_writes_them(rows: Any) -> None:
    prices, sizes = (
        pa.array([[each[part] for each in row] for row in rows], pa.list_(pa.float64())) for part in (0, 1)
    )

    assert levels(prices, sizes) == by_driver("Array(Tuple(Float64, Float64))", rows)


def test_levels_of_other_numbers_of_prices_and_sizes_are_refused() -> None:
    prices, sizes = (pa.array([each], pa.list_(pa.float64())) for each in ([1.0], [1.0, 2.0]))

    with pytest.raises(ValueError, match="differ in number"):
        write("bids", "Array(Tuple(Float64, Float64))", (prices, sizes))


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("Int64", pa.array([1.5])),
        ("Int32", pa.array([2**40])),
        ("String", pa.array([1.5])),
        ("Float64", pa.array([None], pa.float64())),
        ("Float64", pa.array(["x"])),
        (SIDES, pa.array(["NEITHER"])),
        ("Decimal(9, 2)", pa.array([1.5])),
        ("FixedString(2)", pa.array(["ab"])),
    ],
)
def test_what_may_not_fit_is_left_to_the_driver(kind: str, array: pa.Array) -> None:
    found = write("name", kind, array)

    assert (found.content, list(found.values)) == (None, array.to_pylist())


class Sent:
    """A connection to a server of a revision that keeps what is sent."""

    def __init__(self, revision: int) -> None:
        self.bytes = BytesIO()
        self.context = Context()
        self.context.settings = {}
        self.context.client_settings = {"strings_as_bytes": False, "use_numpy": False, "strings_encoding": "utf-8"}
        self.server_info = self.context.server_info = SimpleNamespace(used_revision=revision)
        self.fout = CompressedBufferedWriter(self.bytes, 1 << 20)
        self.block_out = BlockOutputStream(self.fout, self.context)


ROWS: dict[str, tuple[str, Column]] = {
    "event_time_us": ("Int64", pa.array([-(2**63), 2**63 - 1, 0])),
    "bid": ("Nullable(Float64)", pa.array([None, float("inf"), -0.0])),
    "is_snapshot": ("Bool", pa.array([True, False, True])),
    "venue": ("LowCardinality(String)", pa.array(["BINANCE", "OKX", "BINANCE"])),
    "side": (SIDES, pa.array(["SELL", "BUY", "UNKNOWN"])),
    "payload": ("String", pa.array([b"", b"\xff\x00" * 100, b"z" * 70_000])),
    "altered": ("Decimal(9, 2)", pa.array([1.5, 2.5, 3.5])),  # left to the driver
    "bids": ("Array(Tuple(Float64, Float64))", (pa.array([[1.0], [], [2.0, 3.0]]), pa.array([[4.0], [], [5.0, 6.0]]))),
}


@pytest.mark.parametrize("revision", [54429, 54453, 54454, 54468])
def test_a_block_is_sent_as_the_driver_sends_it_to_servers_of_each_age(revision: int) -> None:
    ours, drivers = Sent(revision), Sent(revision)
    client = object.__new__(ColumnClient)  # one that has connected
    client.connection = ours
    client._send_block([write(name, *each) for name, each in ROWS.items()], 3)
    values = [
        [list(zip(*pair, strict=True)) for pair in zip(*(part.to_pylist() for part in column), strict=True)]
        if isinstance(column, tuple)
        else column.to_pylist()
        for _kind, column in ROWS.values()
    ]
    block = ColumnOrientedBlock([(name, kind) for name, (kind, _column) in ROWS.items()], values)
    Connection.send_data(drivers, block)

    assert ours.bytes.getvalue() == drivers.bytes.getvalue() != b""
