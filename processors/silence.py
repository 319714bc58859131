"""What earlier owners of a raw partition have written of its records: left out, so that topics hold each once; pure.

A crash leaves the outputs at different ids, so silence is kept for each of them. Within an output, the ids
(offset of the raw record, index within it) of one raw partition rise strictly: what is not above the highest one found
is there already.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from processors.batch import Batch
from schemas.records import Derived
from schemas.topics import BY_RECORD

Mark = tuple[int, int]
"""Offset of a raw record, and the index of a record derived from it."""
Marks = dict[str, Mark]
"""Output topic, without suffix → highest mark that was found in it."""

NOTHING: Final[Mark] = (-1, -1)


class Silence:
    """Leaves out what was written before; false once all of that is passed.

    `until` is the highest offset of a raw record of which something was written, -1 = nothing was.
    """

    __slots__ = ("marks", "until")

    def __init__(self, marks: Mapping[str, Mark] | None = None) -> None:
        self.marks: Marks = dict(marks or {})
        self.until = max(self.marks.values(), default=NOTHING)[0]

    def __bool__(self) -> bool:
        return bool(self.marks)

    def rest(self, batch: Batch) -> Batch:
        """Keep of a batch what is to be written yet; batches come by rising offsets.

        Commands go out after the records of their batch: those of the last one that was written are sent again, since
        a request that is made twice does no harm.
        """
        records = [each for each in batch.records if self._is_new(batch.offset, each)]
        commands = batch.commands if batch.offset >= self.until else []
        self.marks = {topic: mark for topic, mark in self.marks.items() if mark[0] > batch.offset}
        return replace(batch, records=records, commands=commands)

    def _is_new(self, offset: int, record: Derived) -> bool:
        return (offset, record.source_index) > self.marks.get(BY_RECORD[type(record)].name, NOTHING)


def highest(*found: Mapping[str, Mark]) -> Marks:
    """Join what was found: of each output its highest mark.

    >>> highest({"cleaned.tick": (7, 2)}, {"cleaned.tick": (7, 10), "cleaned.depth": (6, 0)})
    {'cleaned.tick': (7, 10), 'cleaned.depth': (6, 0)}
    """
    marks: Marks = {}
    for each in found:
        for topic, mark in each.items():
            marks[topic] = max(mark, marks.get(topic, NOTHING))
    return marks
