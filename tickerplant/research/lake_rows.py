"""Rows of a lake as Arrow: the objects of the days asked for, or the files that `tickerplant convert` wrote."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.parquet import DAY_US
from sinks.stored import SUFFIX, is_whole
from sinks.tables import TABLES as STORED
from tickerplant.errors import UserError
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import Liveness, Numbered
from tickerplant.research.rows import TABLES, Clock, Name, Only, Span, in_order, schema_of, with_id
from tickerplant.settings import ObjectStore

TEXTS: Final = ("symbol", "kind", "interval", "side", "flags", "asset_class", "source_topic")
"""Columns of a few words, which are read as such until rows that are not wanted are left out."""


class LakeRows:
    """Reads a lake on S3 or in a folder."""

    def __init__(self, settings: ObjectStore) -> None:
        self._lake = Lake(settings)
        found = self._lake.names("")
        if not found:
            raise UserError(f"nothing is stored in {self._lake.root or 'a lake without a name'}: see --lake")
        self._is_converted = f"tick{SUFFIX}" in found

    def read(
        self, name: Name, span: Span, columns: Sequence[str], by: Clock = "event_time_us", only: Only | None = None
    ) -> pa.Table:
        """Read rows; raises as `Rows`."""
        wanted = with_id(columns)
        schema = schema_of(name, wanted)
        conditions = {"symbol": span.symbol} | ({"venue": span.venue} if self._is_converted else {}) | dict(only or {})
        wish = pq.filters_to_expression(
            [(by, ">=", span.from_us), (by, "<", span.to_us), *((each, "==", conditions[each]) for each in conditions)]
        )
        paths = self._paths(name, span, is_open=by != "event_time_us")
        tables = [self._read(path, wanted, wish).cast(schema) for path in paths]
        return in_order(pa.concat_tables([schema.empty_table(), *tables]), columns)

    def close(self) -> None:
        """Do nothing: no connection is held."""

    def _paths(self, name: Name, span: Span, *, is_open: bool) -> Iterator[str]:
        """Find the objects of the days of a span; `is_open` = those of later days too."""
        if self._is_converted:
            yield f"{name}{SUFFIX}"
            return
        folder = next(each.folder for each in STORED.values() if each.record is TABLES[name])
        liveness = Liveness(Numbered.newest(self._lake).manifest)
        first, last = (f"date={_date(time_us)}" for time_us in (span.from_us, max(span.from_us, span.to_us - 1)))
        for day in self._lake.names(f"{folder}/venue={span.venue}"):
            if first <= day and (is_open or day <= last):
                path = f"{folder}/venue={span.venue}/{day}"
                names = liveness.live(path, self._lake.names(path))
                yield from (f"{path}/{each}" for each in names if is_whole(each))

    def _read(self, path: str, columns: Sequence[str], wish: pc.Expression) -> pa.Table:
        content = pa.BufferReader(self._lake.read(path))
        try:
            return pq.read_table(content, columns=list(columns), filters=wish, read_dictionary=TEXTS)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self._lake.root}/{path} cannot be read: {str(error).partition(chr(10))[0]}") from None


def _date(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // DAY_US * DAY_US // 1_000_000, UTC):%Y-%m-%d}"
