"""Names of objects in a folder of the lake → which offsets of a partition are in them already."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from sinks.chunk import Span

NAME: Final = re.compile(r"(\d{19})-(\d{19})(?:-([A-Za-z0-9_-]{1,8}))?\.parquet")


def object_name(span: Span) -> str:
    """Name the object of a span; names sort as offsets do."""
    generation = f"-{span.generation}" if span.generation else ""
    return f"{name_prefix(span)}{span.start:019d}-{span.end:019d}{generation}.parquet"


def name_prefix(span: Span) -> str:
    """Tell what all names of a partition begin with."""
    return f"{span.topic}-{span.partition}-"


class Stored:
    """The objects of one partition and generation in one folder.

    Args:
        names: names in the folder that begin with `name_prefix`; those of other generations are passed over.
        like: topic, partition and generation.
    """

    def __init__(self, names: Iterable[str], like: Span) -> None:
        self._like = like
        found = sorted(_ranges(names, like))
        self._starts = np.array([start for start, _ in found], np.int64)
        self._ends = np.array([end for _, end in found], np.int64)

    def over(self, span: Span) -> list[Span]:
        """List the objects that hold offsets of a span."""
        numbers = np.flatnonzero((self._starts <= span.end) & (self._ends >= span.start))
        return [self._span(int(self._starts[number]), int(self._ends[number])) for number in numbers]

    def leave_out(self, span: Span) -> None:
        """Forget an object."""
        kept = ~((self._starts == span.start) & (self._ends == span.end))
        self._starts, self._ends = self._starts[kept], self._ends[kept]

    def _span(self, start: int, end: int) -> Span:
        like = self._like
        return Span(topic=like.topic, partition=like.partition, generation=like.generation, start=start, end=end)


def missing(offsets: np.ndarray, stored: Iterable[Span]) -> np.ndarray:
    """Tell which offsets lie in none of the spans."""
    found = np.ones(len(offsets), bool)
    for span in stored:
        found &= (offsets < span.start) | (offsets > span.end)
    return found


def _ranges(names: Iterable[str], like: Span) -> Iterator[tuple[int, int]]:
    prefix = name_prefix(like)
    for name in names:
        match = NAME.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match is not None and (match[3] or "") == like.generation:
            yield int(match[1]), int(match[2])
