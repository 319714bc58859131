"""The rows that a replay rebuilds, as a condition on rows of either side: in SQL, and on Arrow tables; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas.records import DeadLetter
from sinks.tables import Table
from tickerplant.once import without_life
from tickerplant.replay.wish import Wish

STAGE: Final = "processor"


@dataclass(frozen=True, kw_only=True)
class Range:
    """What was replayed: the wish, and the raw records that were read for it.

    Args:
        source: names the raw topic with its life, as rows do; those of older programs name the topic alone.
        offsets: of each raw partition the first offset, and the one after the last.
        gaps: first and last of raw records that were missing: nothing can be said of their rows.
        has_unread: raw records that could not be decoded were read, too; an archive holds none.
    """

    wish: Wish
    source: str
    offsets: Mapping[int, tuple[int, int]]
    gaps: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)
    has_unread: bool = True

    @property
    def sources(self) -> tuple[str, str]:
        """The names that rows may have for where they came from."""
        return self.source, without_life(self.source)

    def concerns(self, table: Table) -> bool:
        """Tell whether rows of a table can belong to it: what has no symbol does not, where symbols are named."""
        return not self.wish.symbols or "symbol" in table.schema.names

    def sql(self, table: Table, *, is_read: bool = True) -> tuple[str, dict[str, Any]]:
        """Write the condition for a table, with its parameters.

        Args:
            is_read: False = rows of the wish whose raw records were not read.
        """
        wish = self.wish
        read = " OR ".join(f"({_sql_offsets(number, *span)})" for number, span in sorted(self.offsets.items()))
        gaps = "".join(
            f" AND NOT ({_sql_offsets(number, first, last + 1)})"
            for number, found in sorted(self.gaps.items())
            for first, last in found
        )
        conditions = [
            "venue = %(venue)s AND source_topic IN %(sources)s",
            "event_time_us >= %(from_us)s AND event_time_us < %(to_us)s",
            f"{'' if is_read else 'NOT '}(({read}){gaps})",
        ]
        values = {"venue": wish.venue, "sources": self.sources, "from_us": wish.from_us, "to_us": wish.to_us}
        if wish.symbols:
            conditions.append("symbol IN %(symbols)s")
            values["symbols"] = tuple(sorted(wish.symbols))
        if table.record is DeadLetter:
            conditions.append("stage = %(stage)s")
            values["stage"] = STAGE
            if not self.has_unread:
                conditions.append("frame_kind != ''")
        return " AND ".join(conditions), values

    def mask(self, rows: pa.Table) -> pa.ChunkedArray:
        """Tell for each row of a table of the lake of this venue whether it belongs to it."""
        wish = self.wish
        conditions = [
            pc.is_in(rows["source_topic"], pa.array(self.sources)),
            pc.greater_equal(rows["event_time_us"], wish.from_us),
            pc.less(rows["event_time_us"], wish.to_us),
            _any(_within(rows, number, *span) for number, span in sorted(self.offsets.items())),
        ]
        for number, gaps in self.gaps.items():
            conditions += [pc.invert(_within(rows, number, first, last + 1)) for first, last in gaps]
        if wish.symbols:
            names = pa.array(sorted(wish.symbols))
            known = rows["symbol"] if "symbol" in rows.column_names else pa.nulls(rows.num_rows, pa.string())
            conditions.append(pc.fill_null(pc.is_in(known, names), fill_value=False))
        if "stage" in rows.column_names:
            conditions.append(pc.equal(rows["stage"], STAGE))
            if not self.has_unread:
                conditions.append(pc.not_equal(rows["frame_kind"], ""))
        return reduce(pc.and_, conditions)


def _sql_offsets(number: int, first: int, end: int) -> str:
    return f"source_partition = {number} AND source_offset >= {first} AND source_offset < {end}"


def _within(rows: pa.Table, number: int, first: int, end: int) -> Any:
    is_after = pc.greater_equal(rows["source_offset"], first)
    is_before = pc.less(rows["source_offset"], end)
    return pc.and_(pc.equal(rows["source_partition"], number), pc.and_(is_after, is_before))


def _any(conditions: Any) -> Any:
    return reduce(pc.or_, conditions)
