"""Native-format blocks: where one ends, and which columns it has, found by walking the column types.

A block in a packet carries no length, so its columns are walked: fixed-width ones are jumped over, strings are counted
through. The same walk splits what chdb answers into blocks and reads the header off the first.

Source: https://clickhouse.com/docs/interfaces/formats/Native
"""

from dataclasses import dataclass

from tickerplant.local.gateway.columns import Column, column_type
from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.wire import Buffer, Reader, string, varint

# What stands before every block in a packet: not an overflow row, bucket -1, end.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
NAME_LIMIT_BYTES = 64 * 1024
_COLUMNS_LIMIT = 10_000
_ANY_BYTES = 1 << 62  # these bytes are all here already
Columns = tuple[tuple[bytes, bytes], ...]
"""Name and type of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One block: its columns as (name, type), its row count, its bytes in Native format (without block info)."""

    columns: tuple[tuple[bytes, bytes], ...]
    rows: int
    data: bytes

    @property
    def is_end(self) -> bool:
        """Without columns and rows: the end of a series."""
        return not self.columns and not self.rows


def read_block_info(buffer: Buffer) -> Reader[None]:
    """Read the block info and forget it.

    Raises:
        ProtocolError: it has a field that this revision does not know.
    """
    field_bytes = {1: 1, 2: 4}
    while field := (yield from buffer.varint()):
        if field not in field_bytes:
            raise ProtocolError(f"block info with field {field}")
        yield from buffer.skip(field_bytes[field])


def read_block(buffer: Buffer) -> Reader[Block]:
    """Read one block in Native format.

    Raises:
        ProtocolError: it is larger than the buffer's limit, or has a column type that cannot be walked.
    """
    start = buffer.pos
    columns, rows = yield from _read_columns(buffer)
    return Block(columns=columns, rows=rows, data=buffer.between(start, buffer.pos))


def _read_columns(buffer: Buffer) -> Reader[tuple[Columns, int]]:
    """Move over a block; returns its columns and the number of its rows."""
    count = yield from buffer.varint()
    rows = yield from buffer.varint()
    if count > _COLUMNS_LIMIT:
        raise ProtocolError(f"a block of {count} columns")
    columns = []
    for _ in range(count):
        name = yield from buffer.string(NAME_LIMIT_BYTES)
        kind = yield from buffer.string(NAME_LIMIT_BYTES)
        columns.append((name, kind))
        if rows:
            yield from _walk(buffer, column_type(kind.decode(errors="replace")), rows)
    return tuple(columns), rows


def columns_of(data: bytes) -> Columns:
    """Read the columns of the first of complete blocks, without a copy of its content; raises as `split`."""
    buffer = Buffer(_ANY_BYTES)
    buffer.feed(data)
    try:
        next(read := _read_columns(buffer))
    except StopIteration as done:
        columns: Columns = done.value[0]
        return columns
    read.close()
    raise ProtocolError("bytes that end within a block")


def _walk(buffer: Buffer, column: Column, rows: int) -> Reader[None]:
    yield from column.prefix(buffer)
    yield from column.values(buffer, rows)


def split(data: bytes) -> list[Block]:
    """Cut complete Native bytes into blocks.

    Raises:
        ProtocolError: the bytes end within a block, or a type cannot be walked.
    """
    buffer = Buffer(_ANY_BYTES)
    buffer.feed(data)
    found = []
    while len(buffer):
        try:
            next(read := read_block(buffer))
        except StopIteration as done:
            found.append(done.value)
        else:
            read.close()
            raise ProtocolError("bytes that end within a block")
    return found


def header(columns: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Write a block of these columns without rows."""
    return varint(len(columns)) + b"\x00" + b"".join(string(name) + string(kind) for name, kind in columns)
