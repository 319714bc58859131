"""What a target is: bytes in, nothing out; documented errors are caught inside, everything else is a finding."""

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that reads bytes others made.

    Args:
        name: what `make fuzz TARGETS=...` and replays call it.
        run: reads the bytes; asserts what must hold; raises only for a finding.
        seeds: valid inputs, of our own encoders or written by hand from a venue's documents.
        peak_per_byte: bytes of memory that a byte of input may take at most, beside `peak_bytes`.
        examples: how many damaged inputs `make test` tries.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    peak_per_byte: int = 1000
    peak_bytes: int = 8 * 1024 * 1024
    examples: int = 100


def run_bounded(target: Target, data: bytes) -> None:
    """Run a target and measure what it allocates.

    Raises:
        AssertionError: what must hold does not, or too much memory was taken.
    """
    tracemalloc.start()
    try:
        target.run(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    most_bytes = target.peak_bytes + target.peak_per_byte * len(data)
    assert peak_bytes <= most_bytes, f"{len(data)} bytes of input took {peak_bytes} of memory, {most_bytes} may be"


class Cursor:
    """Takes structured values off the front of any bytes; beyond their end there are zeros and nothing."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        """Take a byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def piece(self) -> bytes:
        """Take a length of two bytes and as many bytes."""
        length = self.number() << 8 | self.number()
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """Take all that is left."""
        return self._data[self._at :]

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def packed(*pieces: bytes) -> bytes:
    """Write pieces as `Cursor.piece` takes them."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in pieces)
