"""Names of objects in a folder of the lake → which offsets of a partition are in them already."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from sinks.chunk import Span

SUFFIX: Final = ".parquet"
NAME: Final = re.compile(r"(\d{19})-(\d{19})(?:-([A-Za-z0-9_-]{1,8}?))?(-s[a-z0-9]{8})?\.parquet")
"""First and last offset, generation, and the swap (of `tickerplant replay`) that wrote it in the place of others."""


def object_name(span: Span) -> str:
    """Name the object of a span; names sort as offsets do."""
    generation = f"-{span.generation}" if span.generation else ""
    return f"{name_prefix(span)}{span.start:019d}-{span.end:019d}{generation}.parquet"


def name_prefix(span: Span) -> str:
    """Tell what all names of a partition begin with."""
    return f"{span.topic}-{span.partition}-"


def is_whole(name: str) -> bool:
    """Tell whether an object was written to its end, as its name tells: drafts, and what was put aside, have others.

    >>> [is_whole(name) for name in ("a.parquet", "a.parquet.x-1", ".a.parquet", "_damaged-a.parquet")]
    [True, False, False, False]
    """
    return name.endswith(SUFFIX) and not name.startswith((".", "_"))


class Held(NamedTuple):
    """An object: first and last offset, its name, and whether a swap wrote it."""

    start: int
    end: int
    name: str
    is_swapped: bool = False


class Stored:
    """The objects of one partition and generation in one folder.

    Args:
        names: names in the folder that begin with `name_prefix`; those of other generations are passed over.
        like: topic, partition and generation.
    """

    def __init__(self, names: Iterable[str], like: Span) -> None:
        self._held = sorted(_held(names, like))
        self._index()

    def over(self, span: Span) -> list[Held]:
        """List the objects that hold offsets of a span."""
        numbers = np.flatnonzero((self._starts <= span.end) & (self._ends >= span.start))
        return [self._held[number] for number in numbers]

    def leave_out(self, held: Held) -> None:
        """Forget an object."""
        self._held.remove(held)
        self._index()

    def _index(self) -> None:
        self._starts = np.array([each.start for each in self._held], np.int64)
        self._ends = np.array([each.end for each in self._held], np.int64)


def missing(offsets: np.ndarray, stored: Iterable[Held]) -> np.ndarray:
    """Tell which offsets lie in none of the objects."""
    found = np.ones(len(offsets), bool)
    for held in stored:
        found &= (offsets < held.start) | (offsets > held.end)
    return found


def _held(names: Iterable[str], like: Span) -> Iterator[Held]:
    prefix = name_prefix(like)
    for name in names:
        match = NAME.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match is not None and (match[3] or "") == like.generation:
            yield Held(int(match[1]), int(match[2]), name, match[4] is not None)
