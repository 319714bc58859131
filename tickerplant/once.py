"""The reader's half of exactly once: drop what is not above what was seen of its source; pure.

A processor that was paused past its session and wakes up after another one took over writes some records a second time,
with the same source. Within a partition of a cleaned topic the sources of one raw partition rise strictly, so a
record whose source is not above the highest one seen is a repeat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

SOURCE_HEADER = "source"
NOTHING = (-1, -1)
LIFE_CHARS: Final = 8
LIFE_SIGN: Final = "@"  # stands in no topic's name


class SourceError(ValueError):
    """A source header that is not `topic:partition:offset:index`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cleaned record came from: index counts the records derived from one raw record.

    `topic` names the raw topic and its life: one that is deleted and made anew starts at offset 0 again.
    """

    topic: str
    partition: int
    offset: int
    index: int


def life_of(topic_id: str) -> str:
    """Shorten the id of a topic to what may stand in names of objects and sources.

    >>> life_of("WW4E8a+/QdmAf2Ub6vYhfQ")
    'WW4E8a-_'
    """
    return topic_id[:LIFE_CHARS].replace("+", "-").replace("/", "_")


def with_life(topic: str, life: str) -> str:
    """Name a topic of one life as a source; life empty = not known.

    >>> with_life("raw.binance", "WW4E8a-_")
    'raw.binance@WW4E8a-_'
    """
    return f"{topic}{LIFE_SIGN}{life}" if life else topic


def without_life(source_topic: str) -> str:
    """Tell the name of the topic alone.

    >>> without_life("raw.binance@WW4E8a-_")
    'raw.binance'
    """
    return source_topic.partition(LIFE_SIGN)[0]


def life_in(source_topic: str) -> str:
    """Tell the life; empty = none is named.

    >>> life_in("raw.binance@WW4E8a-_")
    'WW4E8a-_'
    """
    return source_topic.partition(LIFE_SIGN)[2]


def read_source(text: str) -> Source:
    """Read a source header.

    >>> read_source("raw.binance@WW4E8a-_:1:1000:3")
    Source(topic='raw.binance@WW4E8a-_', partition=1, offset=1000, index=3)

    Raises:
        SourceError: it is none.
    """
    try:
        topic, partition, offset, index = text.rsplit(":", 3)
        return Source(topic, int(partition), int(offset), int(index))
    except ValueError:
        raise SourceError(f"{text[:80]!r} is no source, topic:partition:offset:index") from None


@lru_cache(maxsize=10_000)
def origin_of(name: bytes) -> tuple[str, int]:
    """Read the first half of a source header, `topic:partition`.

    Raises:
        SourceError: it is none.
    """
    source = read_source(f"{name.decode('utf-8', 'replace')}:0:0")
    return source.topic, source.partition


Headers = Sequence[tuple[str, str | bytes | None]] | dict[str, str | bytes | None]


def source_of(headers: Headers | None) -> Source | None:
    """Find the source among the headers of a record; None = it has none, as records that are derived from nothing.

    Raises:
        SourceError: it cannot be read.
    """
    header = header_of(headers)
    return None if header is None else read_source(header.decode("utf-8", "replace"))


def header_of(headers: Headers | None) -> bytes | None:
    """Find the source header, as it is; None = there is none."""
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    for name, value in pairs:
        if name == SOURCE_HEADER and value is not None:
            return value.encode() if isinstance(value, str) else value
    return None


Place = tuple[str, int]
Marks = dict[Place, tuple[int, int]]
"""Source topic and partition → highest (offset, index) that was taken from it."""


class Once:
    """Remembers, for each partition that is read, how far each of its sources has come."""

    def __init__(self) -> None:
        self._marks: dict[Place, Marks] = {}

    def is_new(self, place: Place, source: Source) -> bool:
        """Note a record of a partition (topic, number); False = it is a repeat, to be dropped."""
        marks = self._marks.setdefault(place, {})
        mark = (source.offset, source.index)
        origin = (source.topic, source.partition)
        if mark <= marks.get(origin, NOTHING):
            return False
        marks[origin] = mark
        return True

    def is_new_header(self, place: Place, header: bytes) -> bool:
        """Note a record by its source header; as `is_new`, for those who read many.

        Raises:
            SourceError: it cannot be read.
        """
        try:
            name, offset, index = header.rsplit(b":", 2)
            mark = (int(offset), int(index))
        except ValueError:
            raise SourceError(f"{header[:80]!r} is no source, topic:partition:offset:index") from None
        marks, origin = self._marks.get(place), origin_of(name)
        if marks is None:
            marks = self._marks[place] = {}
        if mark <= marks.get(origin, NOTHING):
            return False
        marks[origin] = mark
        return True

    def marks(self, place: Place) -> Mapping[Place, tuple[int, int]]:
        """Tell how far the sources of a partition have come, to be kept beside its offset."""
        return dict(self._marks.get(place, {}))

    def resume(self, place: Place, marks: Mapping[Place, tuple[int, int]]) -> None:
        """Go on from marks that were kept."""
        self._marks[place] = dict(marks)
