"""Blocks as a ClickHouse server of today sends them: columns of zeros are sparse in some parts, and not in others."""

import struct
from collections.abc import Sequence
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_driver.block import BlockInfo
from clickhouse_driver.bufferedreader import BufferedReader
from clickhouse_driver.context import Context
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str, write_binary_uint8

from tickerplant.research.blocks import ArrowBlocks

REVISION = 54468
LAST = 1 << 62
CODES = {"Int32": "i", "Int64": "q", "Float64": "d", "Bool": "?", "UInt8": "B"}


class Received(BufferedReader):  # type: ignore[misc]  # of a module without types
    """A stream of bytes that are here."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        super().__init__(1 << 16)

    def read_into_buffer(self) -> None:
        if not self._data:
            raise EOFError
        self.buffer[: len(self._data)] = self._data
        self.current_buffer_size, self._data = len(self._data), b""


def block(kind: str, values: Sequence[Any], *, is_sparse: bool) -> bytes:
    out = BytesIO()
    BlockInfo().write(out)
    write_varint(1, out)
    write_varint(len(values), out)
    write_binary_str("column", out)
    write_binary_str(kind, out)
    write_binary_uint8(is_sparse, out)
    told, before = list(values), -1
    if is_sparse:
        write_varint(1, out)
        places = [place for place, value in enumerate(values) if value]
        for place in places:
            write_varint(place - before - 1, out)
            before = place
        write_varint((len(values) - before - 1) | LAST, out)
        told = [values[place] for place in places]
    out.write(struct.pack(f"<{len(told)}{CODES[kind]}", *told))
    return out.getvalue()


def read(data: bytes) -> pa.Array:
    context = Context()
    context.settings = {}
    context.client_settings = {"strings_as_bytes": False, "use_numpy": False, "strings_encoding": "utf-8"}
    context.server_info = SimpleNamespace(used_revision=REVISION)
    [[column]] = ArrowBlocks(SimpleNamespace(fin=Received(data), context=context)).read().get_columns()
    return column


@pytest.mark.parametrize("kind", list(CODES))
@pytest.mark.parametrize("values", [[0, 0, 1], [0, 0, 0], [0, 1, 0]])
def test_sparse_columns_join_those_that_are_not(kind: str, values: list[int]) -> None:
    of_kind = [struct.unpack(f"<{CODES[kind]}", struct.pack(f"<{CODES[kind]}", each))[0] for each in values]
    dense, sparse = (read(block(kind, of_kind, is_sparse=each)) for each in (False, True))

    assert pa.chunked_array([dense, sparse]).to_pylist() == [*of_kind, *of_kind]
