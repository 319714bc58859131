"""Times and checksums as several venues write them; pure."""

from datetime import UTC, datetime
from zlib import crc32


def iso(time_ms: int, digits: int = 6) -> str:
    """Write a time in UTC with so many digits of a second (3, 6 or 9).

    >>> iso(1_767_225_600_123), iso(1_767_225_600_123, 9)
    ('2026-01-01T00:00:00.123000Z', '2026-01-01T00:00:00.123000000Z')
    """
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03}{'0' * (digits - 3)}Z"


def signed_crc32(text: str) -> int:
    """Give the CRC32 as a signed number of 32 bits.

    >>> signed_crc32("3366.1:7:3366.8:9:3366:6:3368:8")
    -1881014294
    """
    number = crc32(text.encode())
    return number - (1 << 32) if number >> 31 else number
