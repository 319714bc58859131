"""A recording's file, plain or gzip → numbered lines."""

import gzip
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from tickerplant.errors import UserError
from tickerplant.recordings.frames import OnDamage, RecordingError

GZIP_MAGIC = b"\x1f\x8b"


def read_lines(path: Path, on_damage: OnDamage) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their number from 1, without line ends; empty ones are left out.

    Where a compressed file is cut short or corrupt, what stands before is yielded and on_damage is told.
    """
    number = 0
    with _open(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if text := line.rstrip(b"\r\n"):
                    yield number, text
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            on_damage(RecordingError(path, number + 1, f"the compressed file ends or breaks here ({error})"))


def first_lines(path: Path, most: int) -> list[bytes]:
    """Read the first lines that are not empty, as far as they can be read.

    Raises:
        UserError: the file cannot be opened.
    """
    return [line for _, line in islice(read_lines(path, _ignore), most)]


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read the recording {path}: {error.strerror}") from None
    if file.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] != GZIP_MAGIC:
        return file
    file.close()
    return cast("BinaryIO", gzip.open(path, "rb"))


def _ignore(_error: RecordingError) -> None:
    """Sniffing looks at what can be read; reading tells of the rest."""
