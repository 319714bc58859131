"""Compressed frames → bytes, within a bound."""

import zlib
from typing import Final

from processors.errors import FrameError

GZIP: Final = b"\x1f\x8b"
MOST_BYTES: Final = 64 * 1024 * 1024
_GZIP_WINDOW: Final = 31


def inflated(payload: bytes) -> bytes:
    """Unpack what is gzip; all else is given back as it is.

    Raises:
        FrameError: it is damaged, cut, or larger than 64 MiB.
    """
    if not payload.startswith(GZIP):
        return payload
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        unpacked = unpacker.decompress(payload, MOST_BYTES)
    except zlib.error as error:
        raise FrameError(f"gzip: {error}") from error
    if not unpacker.eof:
        raise FrameError("gzip: cut, or larger than 64 MiB")
    return unpacked
