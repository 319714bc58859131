"""Primitives, frames and packets: what is written is read, however it arrives, and nothing beyond the limits."""

from collections.abc import Generator
from typing import TypeVar

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.local.gateway import compression, packets, wire
from tickerplant.local.gateway.columns import column_type
from tickerplant.local.gateway.encodings import Frames, choose, decode, decode_frames
from tickerplant.local.gateway.faults import ProtocolError, QueryError
from tickerplant.local.gateway.wire import Buffer

T = TypeVar("T")
LIMIT_BYTES = 1 << 20


def drip(buffer: Buffer, reader: Generator[None, None, T], data: bytes) -> T:
    """Feed bytes one by one until the reader returns."""
    waiting = iter(data)
    while True:
        try:
            next(reader)
        except StopIteration as done:
            value: T = done.value
            return value
        buffer.feed(bytes([next(waiting)]))


def at_once(data: bytes, reader_name: str, *arguments: int) -> object:
    buffer = Buffer(LIMIT_BYTES)
    return drip(buffer, getattr(buffer, reader_name)(*arguments), data)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_comes_back_byte_by_byte(value: int) -> None:
    assert value == at_once(wire.varint(value), "varint")


@given(st.binary(max_size=300))
def test_a_string_comes_back_byte_by_byte(value: bytes) -> None:
    assert value == at_once(wire.string(value), "string", 300)


def test_a_varint_without_an_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="ten bytes"):
        at_once(b"\xff" * 20, "varint")


def test_a_string_above_its_limit_is_refused_before_it_arrives() -> None:
    with pytest.raises(ProtocolError, match="at most 10"):
        at_once(wire.varint(11), "string", 10)


def test_nothing_is_awaited_beyond_the_buffers_limit() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        next(Buffer(LIMIT_BYTES).skip(LIMIT_BYTES + 1))


def test_read_bytes_are_forgotten() -> None:
    buffer = Buffer(LIMIT_BYTES)
    buffer.feed(b"abc")
    with pytest.raises(StopIteration):
        next(buffer.take(2))
    buffer.forget()

    assert (bytearray(b"c"), 0, 1) == (buffer.data, buffer.pos, len(buffer))


def test_no_bytes_wait_while_a_column_is_ahead_of_what_has_arrived() -> None:
    buffer = Buffer(LIMIT_BYTES)
    buffer.feed(wire.varint(1000) + b"abc")
    next(column_type("String").values(buffer, 1))

    assert len(buffer) == 0


@given(st.binary(min_size=1, max_size=5000))
def test_a_frame_gives_its_content_byte_by_byte(content: bytes) -> None:
    buffer = Buffer(LIMIT_BYTES)

    assert content == drip(buffer, compression.read_frame(buffer), compression.compress(content))


def test_content_above_a_slice_becomes_several_frames() -> None:
    content = b"tick" * compression.SLICE_BYTES

    assert content == decode_frames(compression.compress(content), len(content))


def frame(method: int, payload: bytes, content_bytes: int) -> bytes:
    body = compression._HEADER.pack(method, compression._HEADER.size + len(payload), content_bytes) + payload
    return compression._checksum(body) + body


def test_zstd_and_plain_frames_are_read() -> None:
    content = b"tick" * 1000
    zstd = frame(compression.ZSTD, zstandard.compress(content), len(content))
    plain = frame(compression.NONE, content, len(content))

    assert content * 2 == decode_frames(zstd + plain, LIMIT_BYTES)


@pytest.mark.parametrize("position", [0, 16, 17, 21, 30])
def test_a_damaged_frame_is_refused(position: int) -> None:
    packed = bytearray(compression.compress(b"tick" * 100))
    packed[position] ^= 0x55

    with pytest.raises(ProtocolError):
        decode_frames(bytes(packed), LIMIT_BYTES)


@pytest.mark.parametrize(
    ("method", "payload", "content_bytes"),
    [
        (0x82, b"\xff\xff", 100),
        (0x90, b"\xff\xff", 100),
        (0x90, zstandard.compress(b"x" * 10), 100),
        (0x02, b"abc", 100),
        (0x77, b"abc", 3),
    ],
)
def test_a_frame_that_is_not_what_it_promises_is_refused(method: int, payload: bytes, content_bytes: int) -> None:
    with pytest.raises(ProtocolError):
        decode_frames(frame(method, payload, content_bytes), LIMIT_BYTES)


def test_a_frame_that_promises_gigabytes_is_refused() -> None:
    with pytest.raises(ProtocolError, match="compressed frame of"):
        decode_frames(bytes(16) + compression._HEADER.pack(0x82, 50, 2**32 - 1), LIMIT_BYTES)


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate", ""])
@given(pieces=st.lists(st.binary(max_size=200), max_size=5))
def test_an_http_body_comes_back(encoding: str, pieces: list[bytes]) -> None:
    name, encoder = choose(f"br, {encoding};q=0.5")
    packed = b"".join(map(encoder.encode, pieces)) + encoder.finish()

    assert (encoding, b"".join(pieces)) == (name, decode(name, packed, LIMIT_BYTES))


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_a_body_of_several_members_comes_back_whole(encoding: str) -> None:
    def member(content: bytes) -> bytes:
        _, encoder = choose(encoding)
        return encoder.encode(content) + encoder.finish()

    assert decode(encoding, member(b"one") + member(b"two"), LIMIT_BYTES) == b"onetwo"


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_a_small_body_that_unpacks_to_much_is_refused(encoding: str) -> None:
    _, encoder = choose(encoding)
    bomb = encoder.encode(bytes(8 * LIMIT_BYTES)) + encoder.finish()

    with pytest.raises(ProtocolError, match="more than"):
        decode(encoding, bomb, LIMIT_BYTES)


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate", "br"])
def test_a_broken_body_is_refused(encoding: str) -> None:
    with pytest.raises(ProtocolError):
        decode(encoding, b"no such thing", LIMIT_BYTES)


def test_native_frames_are_written_piece_by_piece() -> None:
    packed = Frames().encode(b"one") + Frames().encode(b"two") + Frames().finish()

    assert decode_frames(packed, LIMIT_BYTES) == b"onetwo"


def test_frames_that_end_too_early_are_refused() -> None:
    with pytest.raises(ProtocolError, match="too early"):
        decode_frames(compression.compress(b"tick")[:-1], LIMIT_BYTES)


def test_a_query_packet_is_read_byte_by_byte() -> None:
    text = [wire.string(word) for word in ("q1", "", "", "0.0.0.0:0")]
    info = b"".join(text[1:]) + b"\x01" + wire.string("me") + wire.string("host") + wire.string("driver")
    info += wire.varint(20) + wire.varint(10) + wire.varint(54468) + wire.string("") + wire.varint(2)
    setting = wire.string("max_threads") + b"\x01" + wire.string("2") + wire.string("")
    data = text[0] + b"\x01" + info + setting + b"\x02\x01" + wire.string("SELECT 1")
    buffer = Buffer(LIMIT_BYTES)

    query = drip(buffer, packets.read_query(buffer), data)

    assert (query.query_id, query.text, query.compressed) == ("q1", b"SELECT 1", True)
    assert {"max_threads": packets.Setting(value="2", important=True)} == query.settings


def test_a_client_older_than_the_revision_is_refused() -> None:
    data = wire.string("old") + wire.varint(1) + wire.varint(1) + wire.varint(54428)
    buffer = Buffer(LIMIT_BYTES)

    with pytest.raises(ProtocolError, match="54428"):
        drip(buffer, packets.read_hello(buffer), data)


def test_an_error_has_its_name_once_and_its_http_status() -> None:
    error = QueryError(497, "no")

    assert (str(error), error.status) == ("Code: 497. DB::Exception: no (ACCESS_DENIED)", 403)
    assert error.text == QueryError(497, error.text).text
