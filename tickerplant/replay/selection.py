"""Which derived records a replay writes, and how they are marked; pure."""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from processors.batch import Batch
from processors.flags import join_flags
from schemas.records import Candle, Depth, Derivative, Derived, Tick, Ticker
from schemas.topics import BY_RECORD

REPLAY: Final = "REPLAY"
FLAGGED: Final = (Tick, Depth, Ticker, Candle, Derivative)

Marks = dict[str, tuple[int, int]]
"""Topic (without suffix) → highest (source offset, source index) that it has."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Choose by the time and the symbol of each record, as a `Range` chooses rows.

    A record's time may be another than its raw record's: restored trades have the exchange's.

    Args:
        symbols: empty = all records. Else what has no symbol (connections, dead letters) is left out: it belongs
            to none of them.
        marks: what an earlier run of the same replay wrote, which is not written again.
    """

    from_us: int
    to_us: int
    symbols: frozenset[str]
    marks: Marks

    def covers(self, event_time_us: int) -> bool:
        """Tell whether what has this time is written."""
        return self.from_us <= event_time_us < self.to_us

    def of(self, batch: Batch) -> Batch:
        """Give what is written of a batch: marked, and without its commands, which were carried out long ago."""
        records = [marked(each) for each in batch.records if self._wants(each)]
        return replace(batch, records=records, commands=[])

    def _wants(self, record: Derived) -> bool:
        if not self.covers(record.event_time_us):  # type: ignore[attr-defined]  # each kind has it
            return False
        if self.symbols and getattr(record, "symbol", "") not in self.symbols:
            return False
        if not self.marks:
            return True
        mark = self.marks.get(BY_RECORD[type(record)].name)
        return mark is None or (record.source_offset, record.source_index) > mark


def marked(record: Derived) -> Derived:
    """Join REPLAY into the flags of a record that has flags."""
    if isinstance(record, FLAGGED):
        flags = join_flags(REPLAY, *record.flags.split(",")) if record.flags else REPLAY
        return msgspec.structs.replace(record, flags=flags)
    return record


def unmarked(flags: str) -> str:
    """Take REPLAY out of flags.

    >>> unmarked("LATE,REPLAY")
    'LATE'
    """
    return join_flags(*(flag for flag in flags.split(",") if flag != REPLAY))
