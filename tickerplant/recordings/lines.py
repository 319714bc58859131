"""A recording's file, plain, gzip or zstd → numbered lines."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from tickerplant.errors import UserError
from tickerplant.extras import need_library
from tickerplant.recordings.frames import OnDamage, RecordingError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
BROKEN: Final = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading raises where a compressed file is cut short or corrupt."""


class _Zstd(RawIOBase):
    """Unpacks a zstd file as it is read."""

    def __init__(self, path: Path) -> None:
        need_library("pyarrow")
        from pyarrow import input_stream  # noqa: PLC0415  # an optional part

        self._stream = input_stream(str(path), compression="zstd")

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read some bytes.

        Raises:
            EOFError: the file is cut short or corrupt.
        """
        view = memoryview(buffer)
        try:
            found = self._stream.read(len(view))
        except OSError as error:
            raise EOFError(str(error)) from error
        view[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def read_lines(path: Path, on_damage: OnDamage) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their number from 1, without line ends; empty ones are left out.

    Where a compressed file is cut short or corrupt, what stands before is yielded and on_damage is told.
    """
    number = 0
    with open_file(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if text := line.rstrip(b"\r\n"):
                    yield number, text
        except BROKEN as error:
            on_damage(RecordingError(path, number + 1, f"the compressed file ends or breaks here ({error})"))


def first_lines(path: Path, most: int) -> list[bytes]:
    """Read the first lines that are not empty, as far as they can be read.

    Raises:
        UserError: the file cannot be opened.
    """
    return [line for _, line in islice(read_lines(path, _ignore), most)]


def open_file(path: Path) -> BinaryIO:
    """Open a file, to be read unpacked.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read the recording {path}: {error.strerror}") from None
    start = file.peek(len(ZSTD_MAGIC))
    if start.startswith(GZIP_MAGIC):
        file.close()
        return cast("BinaryIO", gzip.open(path, "rb"))
    if start.startswith(ZSTD_MAGIC):
        file.close()
        return BufferedReader(_Zstd(path))
    return file


def _ignore(_error: RecordingError) -> None:
    """Sniffing looks at what can be read; reading tells of the rest."""
