"""Frames of compressed blocks: checksum, method, sizes, payload.

Source: https://clickhouse.com/docs/native-protocol/compression
"""

import struct

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.wire import Buffer, Reader

LZ4, ZSTD, NONE = 0x82, 0x90, 0x02
SLICE_BYTES = 1024 * 1024

_CHECKSUM_BYTES = 16
_HEADER = struct.Struct("<BII")  # method, size of this header and the payload, size once decompressed
_FRAME_LIMIT_BYTES = 128 * 1024 * 1024
_LZ4_MOST_RATIO = 255
"""A byte of LZ4 stands for no more: what promises more would only make us reserve memory."""


def compress(data: bytes | memoryview) -> bytes:
    """Pack bytes into LZ4 frames of at most `SLICE_BYTES` of content; no bytes, no frame."""
    view = memoryview(data)
    return b"".join(_frame(view[start : start + SLICE_BYTES]) for start in range(0, len(view), SLICE_BYTES))


def _frame(content: memoryview) -> bytes:
    payload: bytes = lz4.block.compress(content, store_size=False)
    body = _HEADER.pack(LZ4, _HEADER.size + len(payload), len(content)) + payload
    return _checksum(body) + body


def read_frame(buffer: Buffer) -> Reader[bytes]:
    """Read one frame and return its content.

    Raises:
        ProtocolError: wrong checksum, unknown method, sizes that do not fit.
    """
    checksum = yield from buffer.take(_CHECKSUM_BYTES)
    header = yield from buffer.take(_HEADER.size)
    method, packed_bytes, content_bytes = _HEADER.unpack(header)
    if packed_bytes < _HEADER.size or max(packed_bytes, content_bytes) > _FRAME_LIMIT_BYTES:
        raise ProtocolError(f"a compressed frame of {packed_bytes} bytes for {content_bytes}")
    payload = yield from buffer.take(packed_bytes - _HEADER.size)
    if _checksum(header + payload) != checksum:
        raise ProtocolError("a compressed frame with a wrong checksum")
    return _content(method, payload, content_bytes)


def _content(method: int, payload: bytes, content_bytes: int) -> bytes:
    try:
        content = _decompress(method, payload, content_bytes)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise ProtocolError(f"a compressed frame that cannot be read: {error}") from error
    if len(content) != content_bytes:
        raise ProtocolError(f"a compressed frame of {len(content)} bytes that promised {content_bytes}")
    return content


def _decompress(method: int, payload: bytes, content_bytes: int) -> bytes:
    if method == LZ4 and content_bytes > _LZ4_MOST_RATIO * len(payload):
        raise ProtocolError(f"a compressed frame of {len(payload)} bytes that promises {content_bytes}")
    if method == LZ4:
        return bytes(lz4.block.decompress(payload, uncompressed_size=content_bytes))
    if method == ZSTD:
        # The size in the ZSTD frame itself is the sender's word: the reader stops at what our header promised.
        content = bytearray()
        with zstandard.ZstdDecompressor().stream_reader(payload) as stream:
            while piece := stream.read(min(SLICE_BYTES, content_bytes - len(content))):
                content += piece
        return bytes(content)
    if method == NONE:
        return payload
    raise ProtocolError(f"compression method {method:#x} is none of LZ4, ZSTD, NONE")


def _checksum(body: bytes) -> bytes:
    value: int = CityHash128(body)
    return struct.pack("<QQ", value >> 64, value & 0xFFFFFFFFFFFFFFFF)
