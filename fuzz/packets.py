"""Captures of cryptofeed 3 as its recorder writes them: packets made up around what it read; for seeds and tests."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

SECOND: Final = 1_787_582_327
ADDRESS: Final = "wss://ws.kraken.com/v2"
SYN, ACK, DATA = 0x02, 0x10, 0x18
ACCEPTED: Final = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
Packet = tuple[int, int, bytes, bool]
"""The client's port, flags, what is said, and whether the client says it."""


def packet(number: int, port: int, flags: int, data: bytes = b"", *, is_client: bool) -> bytes:
    """Make a packet of a conversation, µs by its number after the first one."""
    ports = (port, 80) if is_client else (80, port)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    tcp = struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 65535, 0, 0)
    frame = b"\x02CFD\0\2\x02CFD\0\1\x08\x00" + ip + tcp + data
    return struct.pack("<IIII", SECOND, number * 1000 + 999, len(frame), len(frame)) + frame


def socket_frame(payload: bytes, opcode: int = 1, *, is_masked: bool = False, mask: bytes = bytes(4)) -> bytes:
    """Make a WebSocket frame."""
    size = len(payload)
    told = bytes([size]) if size < 126 else b"\x7f" + struct.pack("!Q", size)
    if 125 < size < 65_536:
        told = b"\x7e" + struct.pack("!H", size)
    if not is_masked:
        return bytes([0x80 | opcode]) + told + payload
    masked = bytes(each ^ mask[place % 4] for place, each in enumerate(payload))
    return bytes([0x80 | opcode, told[0] | 0x80]) + told[1:] + mask + masked


def opening(connection: str, ordinal: int = 1, more: str = "") -> bytes:
    """Make the request that opens a WebSocket."""
    head = (
        "GET /v2 HTTP/1.1\r\nHost: ws.kraken.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"X-Cryptofeed-Conn-Id: {connection}\r\nX-Cryptofeed-Address: {ADDRESS}\r\n"
        f"X-Cryptofeed-Connect-Ordinal: {ordinal}\r\n{more}\r\n"
    )
    return head.encode()


def conversation(port: int, said: Iterable[tuple[bool, bytes]]) -> list[Packet]:
    """Make the packets of a conversation: whether the client says it, and what."""
    return [(port, SYN, b"", True), (port, SYN | ACK, b"", False), *((port, DATA, data, who) for who, data in said)]


def pcap(*conversations: Sequence[Packet]) -> bytes:
    """Make a capture, not packed."""
    packets = [each for found in conversations for each in found]
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1) + b"".join(
        packet(number, port, flags, data, is_client=is_client)
        for number, (port, flags, data, is_client) in enumerate(packets)
    )
