"""Where a sink stands in a partition, as it is kept in Kafka: a committed offset and the metadata string beside it.

Metadata is JSON: `{"end": 99, "marks": [["raw.binance", 1, 1000, 3]], "unread": [2, 70, 5]}`; tallies (see `Tally`) are
there while dead letters are counted, `end` while a write is under way:
the range from the committed offset to `end`, both included, may or may not be in the store. So may all below `doubt`,
which is there after offsets were lost or set back, until that offset is passed; in ranges of other borders. `life` is
that of the topic: an offset of another life, as a sink may commit while its topic is made anew, means nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tickerplant.tally import Tally

Marks = Mapping[tuple[str, int], tuple[int, int]]
"""Source topic and partition → highest (offset, index) that was taken from it."""

METADATA_BYTES: Final = 4096
"""What a broker accepts beside an offset (`offset.metadata.max.bytes`); enough for 60 to 100 sources a partition."""


class PositionError(ValueError):
    """Commit metadata that is not ours, or would be too long for the broker."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in a partition.

    Args:
        offset: the first record that is not (or, with `pending_end`, not surely) in the store.
        pending_end: last offset of a write under way; None = none is.
        marks: what was taken from each source before `offset`.
        unread: records before `offset`, and those that could not be read.
        refused: rows before `offset`, and those that the store refused.
        doubtful_below: records from `offset` to here may be stored already, since offsets were lost or set back by
            hand; None = it is not told whether they were.
        life: of the topic that the offset belongs to; empty = not known.
    """

    offset: int
    pending_end: int | None = None
    marks: Marks = field(default_factory=dict)
    unread: Tally = field(default_factory=Tally)
    refused: Tally = field(default_factory=Tally)
    doubtful_below: int | None = 0
    life: str = ""

    def metadata(self) -> str:
        """Write all but the offset.

        Raises:
            PositionError: too many sources feed this partition.
        """
        marks = [[topic, partition, *mark] for (topic, partition), mark in sorted(self.marks.items())]
        values: dict[str, Any] = {"marks": marks}
        if self.pending_end is not None:
            values["end"] = self.pending_end
        if self.doubtful_below is not None and self.doubtful_below > self.offset:
            values["doubt"] = self.doubtful_below
        if self.life:
            values["life"] = self.life
        tallies = {"unread": self.unread, "refused": self.refused}
        values |= {
            name: tally for name, tally in tallies.items() if tally.bad
        }  # a window begins with the first bad one
        encoded = msgspec.json.encode(values)
        if len(encoded) > METADATA_BYTES:
            raise PositionError(
                f"marks of {len(marks)} sources take {len(encoded)} bytes, {METADATA_BYTES} are allowed"
            )
        return encoded.decode()


class _Metadata(msgspec.Struct, frozen=True):
    end: int | None = None
    marks: list[tuple[str, int, int, int]] = msgspec.field(default_factory=list)
    unread: Tally = msgspec.field(default_factory=Tally)
    refused: Tally = msgspec.field(default_factory=Tally)
    doubt: int = 0
    life: str = ""


def read_position(offset: int, metadata: str | None) -> Position:
    """Read a committed offset and its metadata; without metadata (another tool set it) nothing else is known.

    Raises:
        PositionError: the metadata is not ours.
    """
    if not metadata:
        return Position(offset=offset, doubtful_below=None)
    try:
        found = msgspec.json.decode(metadata, type=_Metadata)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PositionError(f"commit metadata is not ours: {error}") from None
    return Position(
        offset=offset,
        pending_end=found.end,
        marks=dict(_marks(found)),
        unread=found.unread,
        refused=found.refused,
        doubtful_below=found.doubt if found.doubt > offset else 0,
        life=found.life,
    )


def _marks(found: _Metadata) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    for topic, partition, offset, index in found.marks:
        yield (topic, partition), (offset, index)
