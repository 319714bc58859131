"""Bodies of HTTP requests and answers: gzip, deflate, LZ4 and ZSTD frames, and ClickHouse's own compressed frames."""

import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame
import zstandard

from tickerplant.local.gateway.compression import compress, read_frame
from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.wire import Buffer

_GZIP_WINDOW = 31
_READ_BYTES = 1024 * 1024


def decode(encoding: str, body: bytes, limit_bytes: int) -> bytes:
    """Unpack a body; `encoding` as in Content-Encoding, empty for none.

    Raises:
        ProtocolError: unknown encoding, broken body, or more than `limit_bytes` once unpacked.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in _DECODERS:
        raise ProtocolError(f"Content-Encoding {encoding!r} is none of {', '.join(_DECODERS)}")
    try:
        return _DECODERS[encoding](body, limit_bytes)
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise ProtocolError(f"a body that is not {encoding}: {error}") from error


def _too_large(limit_bytes: int) -> ProtocolError:
    return ProtocolError(f"a body of more than {limit_bytes} bytes once unpacked")


def _zlib(window: int) -> Callable[[bytes, int], bytes]:
    def unpack(body: bytes, limit_bytes: int) -> bytes:
        content = bytearray()
        while body:  # a member after the other
            member = zlib.decompressobj(window)
            content += member.decompress(body, limit_bytes + 1 - len(content))
            if len(content) > limit_bytes:
                raise _too_large(limit_bytes)
            if not member.eof:
                raise EOFError("it ends too early")
            body = member.unused_data
        return bytes(content)

    return unpack


def _lz4(body: bytes, limit_bytes: int) -> bytes:
    content = bytearray()
    while body:  # a frame after the other
        frame = lz4.frame.LZ4FrameDecompressor()
        content += frame.decompress(body, max_length=limit_bytes + 1 - len(content))
        if len(content) > limit_bytes:
            raise _too_large(limit_bytes)
        if not frame.eof:
            raise EOFError("it ends too early")
        body = frame.unused_data or b""
    return bytes(content)


def _zstd(body: bytes, limit_bytes: int) -> bytes:
    content = bytearray()
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as stream:
        while piece := stream.read(_READ_BYTES):
            content += piece
            if len(content) > limit_bytes:
                raise _too_large(limit_bytes)
    return bytes(content)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _zlib(_GZIP_WINDOW),
    "deflate": _zlib(zlib.MAX_WBITS),
    "lz4": _lz4,
    "zstd": _zstd,
}


def decode_frames(body: bytes, limit_bytes: int) -> bytes:
    """Unpack ClickHouse's own frames (`decompress=1`).

    Raises:
        ProtocolError: a broken frame, or more than `limit_bytes` once unpacked.
    """
    buffer = Buffer(len(body) + limit_bytes)
    buffer.feed(body)
    content = bytearray()
    while len(buffer):
        reader = read_frame(buffer)
        try:
            next(reader)
        except StopIteration as done:
            content += done.value
        else:
            raise ProtocolError("compressed frames that end too early")
        if len(content) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(content)


class Encoder(Protocol):
    """Packs a body piece by piece."""

    def encode(self, piece: bytes) -> bytes:
        """Pack a piece; what comes out may be of earlier ones, or empty."""

    def finish(self) -> bytes:
        """Return the rest."""


class Plain:
    """Packs nothing."""

    def encode(self, piece: bytes) -> bytes:
        """Return the piece."""
        return piece

    def finish(self) -> bytes:
        """Return nothing."""
        return b""


class Frames(Plain):
    """Packs into ClickHouse's own frames (`compress=1`)."""

    def encode(self, piece: bytes) -> bytes:
        """Return the frames of this piece."""
        return compress(piece)


class _Zlib:
    def __init__(self, window: int) -> None:
        self._packer = zlib.compressobj(level=1, wbits=window)

    def encode(self, piece: bytes) -> bytes:
        return self._packer.compress(piece)

    def finish(self) -> bytes:
        return self._packer.flush()


class _Lz4:
    def __init__(self) -> None:
        self._packer = lz4.frame.LZ4FrameCompressor()
        self._begin: bytes = self._packer.begin()

    def encode(self, piece: bytes) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + bytes(self._packer.compress(piece))

    def finish(self) -> bytes:
        return self._begin + bytes(self._packer.flush())


class _Zstd:
    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor(level=1).compressobj()

    def encode(self, piece: bytes) -> bytes:
        return self._packer.compress(piece)

    def finish(self) -> bytes:
        return self._packer.flush()


# In the order of our liking: the fastest first.
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4,
    "zstd": _Zstd,
    "gzip": lambda: _Zlib(_GZIP_WINDOW),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
}


def choose(accepted: str) -> tuple[str, Encoder]:
    """Choose among what an Accept-Encoding names; an empty name and no packing where nothing fits."""
    names = {part.partition(";")[0].strip() for part in accepted.lower().split(",")}
    for name, encoder in _ENCODERS.items():
        if name in names:
            return name, encoder()
    return "", Plain()
