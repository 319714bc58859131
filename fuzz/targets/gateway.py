"""The gateway's native listener: packets, blocks, compressed frames, column types, statements; bytes of any client."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from fuzz.target import Cursor, Target, packed
from tickerplant.local.gateway import packets
from tickerplant.local.gateway.blocks import BLOCK_INFO, header, read_block, read_block_info, split
from tickerplant.local.gateway.columns import column_type
from tickerplant.local.gateway.compression import compress, read_frame
from tickerplant.local.gateway.faults import ProtocolError, QueryError
from tickerplant.local.gateway.statements import parse, require_read_only
from tickerplant.local.gateway.wire import Buffer, Reader, string, varint

LIMIT_BYTES: Final = 1024 * 1024
TYPES: Final = (
    b"UInt8", b"String", b"Nullable(Float64)", b"Array(Tuple(Float64, Float64))", b"LowCardinality(String)",
    b"DateTime64(6, 'UTC')", b"Decimal(38, 5)", b"Map(String, UInt64)", b"Enum8('BUY' = 1, 'SELL' = 2)",
    b"FixedString(16)", b"Tuple(bid Float64, `a b` Array(String))", b"LowCardinality(Nullable(String))",
    b"Nested(a UInt8, b String)", b"SimpleAggregateFunction(sum, UInt64)", b"MultiPolygon",
)  # fmt: skip
STATEMENTS: Final = (
    b"SELECT 1", b"SELECT * FROM market_data.tick WHERE symbol = 'BTC/USDT' FORMAT JSONEachRow",
    b"INSERT INTO t (a, b) SETTINGS x = 1 VALUES (1, 'it''s'), (2, '\\'')", b"INSERT INTO t FORMAT CSV\n1,2\n",
    b"/* a /* b */ */ SHOW TABLES -- end", b"WITH 1 AS x SELECT x FORMAT Native SETTINGS y = 2;", b"SET a = 1",
    b"CREATE TEMPORARY TABLE t (a UInt8) ENGINE = Memory", b"SELECT $tag$ any ' text $tag$, `a``b`, \"c\"",
    b"INSERT INTO FUNCTION null('a UInt8') SELECT 1", b"EXPLAIN SELECT 1 FORMAT", b'INSERT INTO `t`."u" VALUES',
)  # fmt: skip


def targets() -> Iterator[Target]:
    """List the targets of this module."""
    yield Target(name="gateway-packets", run=read_packets, seeds=list(_conversations()))
    yield Target(name="gateway-blocks", run=read_blocks, seeds=list(_blocks()))
    yield Target(name="gateway-frames", run=read_frames, seeds=[compress(b"tick" * 1000), compress(bytes(range(256)))])
    yield Target(name="gateway-types", run=read_type, seeds=TYPES)
    yield Target(name="gateway-statements", run=read_statement, seeds=STATEMENTS)


def _hello() -> bytes:
    numbers = varint(22) + varint(8) + varint(packets.REVISION)
    return string("driver") + numbers + string("market_data") + string("default") + string("")


def _query() -> bytes:
    client = b"\x01" + string("") * 3 + b"\x01" + string("me") + string("host") + string("driver")
    client += varint(22) + varint(8) + varint(packets.REVISION) + string("") + varint(3)
    settings = string("max_threads") + varint(1) + string("2") + string("")
    return string("id") + client + settings + varint(2) + varint(1) + string("SELECT 1")


def _conversations() -> Iterator[bytes]:
    yield packed(varint(packets.Client.HELLO) + _hello(), varint(packets.Client.QUERY) + _query())
    yield packed(varint(packets.Client.QUERY) + _query()[:20], _query()[20:])
    data = varint(packets.Client.DATA) + string("") + BLOCK_INFO + _block(b"String", string("a") + string("b"))
    yield packed(varint(packets.Client.PING), data, varint(packets.Client.CANCEL))


def _block(kind: bytes, values: bytes, rows: int = 2) -> bytes:
    return varint(1) + varint(rows) + string("column") + string(kind) + values


def _blocks() -> Iterator[bytes]:
    yield _block(b"UInt64", bytes(16))
    yield _block(b"String", string("BTC/USDT") * 2)
    yield _block(b"String", string("x" * 300) + string("ETH"))
    yield _block(b"Nullable(Float64)", bytes(18))
    yield _block(b"Array(String)", (1).to_bytes(8, "little") + (2).to_bytes(8, "little") + string("a") * 2)
    keys = (1 << 9).to_bytes(8, "little") + (2).to_bytes(8, "little") + string("a") + string("b")
    yield _block(b"LowCardinality(String)", (1).to_bytes(8, "little") + keys + (2).to_bytes(8, "little") + b"\0\1")
    yield header(((b"a", b"UInt8"), (b"b", b"Map(String, UInt64)")))


def _pull(reader: Reader[Any]) -> Any:
    """Read from what has arrived; None = more bytes are needed."""
    try:
        next(reader)
    except StopIteration as done:
        return done.value
    reader.close()
    return None


def read_packets(data: bytes) -> None:
    """Read a conversation in pieces, packet after packet, as the listener does."""
    cursor, buffer = Cursor(data), Buffer(LIMIT_BYTES)
    with suppress(ProtocolError):
        reader = _conversation(buffer)
        while cursor:
            buffer.feed(cursor.piece())
            next(reader)


def _conversation(buffer: Buffer) -> Reader[None]:
    while True:
        number = yield from buffer.varint()
        if number == packets.Client.HELLO:
            yield from packets.read_hello(buffer)
        elif number == packets.Client.QUERY:
            query = yield from packets.read_query(buffer)
            assert len(query.text) <= LIMIT_BYTES
        elif number == packets.Client.DATA:
            yield from buffer.string(LIMIT_BYTES)
            yield from read_block_info(buffer)
            block = yield from read_block(buffer)
            assert len(block.data) <= LIMIT_BYTES
        elif number not in {packets.Client.PING, packets.Client.CANCEL}:
            raise ProtocolError("unknown packet")
        buffer.forget()


def read_blocks(data: bytes) -> None:
    """Cut bytes into blocks: all at once and one by one give the same."""
    try:
        whole = split(data)
    except ProtocolError:
        whole = None
    buffer = Buffer(1 << 62)
    reader = read_block(buffer)
    found = None
    with suppress(ProtocolError):
        for byte in data[:2000]:
            buffer.feed(bytes((byte,)))
            try:
                next(reader)
            except StopIteration as done:
                found = done.value
                break
    if whole and len(whole[0].data) <= 2000:
        assert found == whole[0]
    assert whole is None or b"".join(block.data for block in whole) == data


def read_frames(data: bytes) -> None:
    """Unpack frames; the checksum of the first is set right, so that what is behind it is reached."""
    buffer = Buffer(LIMIT_BYTES)
    buffer.feed(_with_checksum(data))
    with suppress(ProtocolError):
        content = _pull(read_frame(buffer))
        assert content is None or isinstance(content, bytes)
    buffer = Buffer(LIMIT_BYTES)
    buffer.feed(data)
    with suppress(ProtocolError):
        while len(buffer) and _pull(read_frame(buffer)) is not None:
            pass


def _with_checksum(data: bytes) -> bytes:
    from tickerplant.local.gateway.compression import _checksum  # noqa: PLC0415  # as an attacker would

    size = int.from_bytes(data[17:21], "little")
    body = data[16 : 16 + size]
    return _checksum(body) + body


def read_type(data: bytes) -> None:
    """Read a column type as clients write it."""
    with suppress(ProtocolError):
        column_type.__wrapped__(data.decode(errors="replace"))


def read_statement(data: bytes) -> None:
    """Understand a statement, or refuse it as ClickHouse does."""
    with suppress(QueryError):
        statement = parse(data)
        statement.text.encode()
        require_read_only(statement)
