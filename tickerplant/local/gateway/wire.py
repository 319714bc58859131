"""Bytes in, values out: a growing buffer read by generators, and the writers of the same primitives.

A reader is a generator that yields whenever it needs more bytes than have arrived and returns the value: no I/O here,
so tests can feed bytes one by one. Nothing is read beyond `limit_bytes`, whatever the bytes announce.
"""

import struct
from collections.abc import Generator
from typing import TypeVar

from tickerplant.local.gateway.faults import ProtocolError

T = TypeVar("T")
Reader = Generator[None, None, T]

_VARINT_BYTES = 10
_U64 = struct.Struct("<Q")


class Buffer:
    """Bytes that have arrived and a position in them.

    Args:
        limit_bytes: the most that one packet may hold; `ProtocolError` where one announces more.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.data = bytearray()
        self.pos = 0
        self.limit_bytes = limit_bytes

    def __len__(self) -> int:
        """Bytes that wait to be read; none while a reader is ahead of what has arrived."""
        return max(0, len(self.data) - self.pos)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append what has arrived."""
        self.data += data

    def forget(self) -> None:
        """Drop what has been read; positions held elsewhere become invalid."""
        del self.data[: self.pos]
        self.pos = 0

    def between(self, start: int, end: int) -> bytes:
        """Copy a stretch that has arrived."""
        with memoryview(self.data) as view:
            return bytes(view[start:end])

    def wait_until(self, end: int) -> Reader[None]:
        """Yield until the bytes before `end` are there.

        Raises:
            ProtocolError: `end` lies beyond the limit.
        """
        if end > self.limit_bytes:
            raise ProtocolError(f"a packet of more than {self.limit_bytes} bytes")
        while len(self.data) < end:
            yield

    def skip(self, count: int) -> Reader[None]:
        """Move over `count` bytes."""
        end = self.pos + count
        if len(self.data) < end or end > self.limit_bytes:
            yield from self.wait_until(end)
        self.pos = end

    def take(self, count: int) -> Reader[bytes]:
        """Read `count` bytes."""
        start = self.pos
        yield from self.skip(count)
        return self.between(start, self.pos)

    def u8(self) -> Reader[int]:
        """Read one byte as a number."""
        return (yield from self.take(1))[0]

    def u64(self) -> Reader[int]:
        """Read eight bytes, least significant first."""
        value: int = _U64.unpack((yield from self.take(8)))[0]
        return value

    def varint(self) -> Reader[int]:
        """Read an unsigned LEB128 number.

        Raises:
            ProtocolError: it does not end within ten bytes.
        """
        value = 0
        for index in range(_VARINT_BYTES):
            byte = yield from self.u8()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value
        raise ProtocolError("a number of more than ten bytes")

    def string(self, limit_bytes: int) -> Reader[bytes]:
        """Read a length and that many bytes.

        Raises:
            ProtocolError: the length is above `limit_bytes`.
        """
        length = yield from self.varint()
        if length > limit_bytes:
            raise ProtocolError(f"a string of {length} bytes where at most {limit_bytes} are expected")
        return (yield from self.take(length))

    def text(self, limit_bytes: int) -> Reader[str]:
        """Read a string as UTF-8; bytes that are none are replaced."""
        return (yield from self.string(limit_bytes)).decode(errors="replace")


def varint(value: int) -> bytes:
    """Write an unsigned LEB128 number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: str | bytes) -> bytes:
    """Write a length and the bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(len(raw)) + raw
