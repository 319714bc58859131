"""Rows of a lake as Arrow: the objects of the days asked for, or the files that `tickerplant convert` wrote."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.parquet import DAY_US
from sinks.rising import Rising, heard, in_turn
from sinks.stored import SUFFIX, is_whole
from sinks.tables import TABLES as STORED
from tickerplant.errors import UserError
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import Liveness, Numbered
from tickerplant.research.parquet_rows import Outline, Wanted, may_hold, outline_of, read_rows
from tickerplant.research.rows import TABLES, Clock, Name, Only, Span, in_order, schema_of, with_id
from tickerplant.settings import ObjectStore

ANSWERS: Final = 16
"""So many objects of S3 are asked for at once; of files as many are read as there are processors."""
OUTLINES_MOST: Final = 20_000
"""Of some 2 KB each; a lake that is written every ten seconds has some 9,000 objects a day and partition."""
_outlines: dict[tuple[str, str], Outline] = {}


class Object(NamedTuple):
    """An object's path below the root, and what tells its content from another; empty = not known."""

    path: str
    version: str


class Part(NamedTuple):
    """Rows of an object.

    Args:
        rising: between which source ids they rise, as the object says; they come without ids then. None = with them.
    """

    found: Object
    tables: list[pa.Table]
    rising: Rising | None


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
        conditions = {"symbol": span.symbol} | ({"venue": span.venue} if self._is_converted else {}) | dict(only or {})
        wanted = Wanted(columns=columns, by=by, from_us=span.from_us, to_us=span.to_us, only=conditions)
        parts = self._parts(list(self._objects(name, span, is_open=by != "event_time_us")), wanted)
        told = [part.rising for part in parts if part.rising is not None]
        order = in_turn(told) if len(told) == len(parts) else None
        if order is not None:
            return _joined([table for number in order for table in parts[number].tables], schema_of(name, columns))
        unknown = self._parts([part.found for part in parts if part.rising is not None], wanted, is_told=False)
        tables = [table for part in (*parts, *unknown) if part.rising is None for table in part.tables]
        return in_order(_joined(tables, schema_of(name, with_id(columns))), columns)

    def close(self) -> None:
        """Do nothing: no connection is held."""

    def _objects(self, name: Name, span: Span, *, is_open: bool) -> Iterator[Object]:
        """Find the objects of the days of a span; `is_open` = those of later days too."""
        if self._is_converted:
            yield Object(f"{name}{SUFFIX}", self._lake.versions("").get(f"{name}{SUFFIX}", ""))
            return
        folder = next(each.folder for each in STORED.values() if each.record is TABLES[name])
        liveness = Liveness(Numbered.newest(self._lake).manifest)
        first, last = (f"date={_date(time_us)}" for time_us in (span.from_us, max(span.from_us, span.to_us - 1)))
        for day in self._lake.names(f"{folder}/venue={span.venue}"):
            if first <= day and (is_open or day <= last):
                path = f"{folder}/venue={span.venue}/{day}"
                versions = self._lake.versions(path)
                names = liveness.live(path, versions)
                yield from (Object(f"{path}/{each}", versions[each]) for each in names if is_whole(each))

    def _parts(self, objects: Sequence[Object], wanted: Wanted, *, is_told: bool = True) -> list[Part]:
        """Read several objects at once; those that hold none of the rows are left out.

        Args:
            is_told: that rows rise, where an object says so; False = ids are wanted of all.
        """
        at_once = min(len(objects), ANSWERS if self._lake.is_s3 else os.cpu_count() or 1)
        read = partial(self._read, wanted=wanted, is_alone=at_once <= 1, is_told=is_told)
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            return [part for part in pool.map(read, objects) if part.tables]

    def _read(self, found: Object, wanted: Wanted, *, is_alone: bool, is_told: bool) -> Part:
        """Read the rows of an object that are wanted; not even its end, where that was read before and told of none."""
        key = (self._lake.full_path(found.path), found.version)
        outline = _outlines.get(key)
        if outline is not None and not any(may_hold(bounds, wanted) for bounds in outline):
            return Part(found, [], None)
        try:
            with self._lake.open(found.path) as source:
                metadata = pq.read_metadata(source)
                if outline is None:
                    outline = outline_of(metadata)
                    _remember(key, outline)
                rising = heard(metadata.metadata) if is_told else None
                wish = wanted if rising else replace(wanted, columns=with_id(wanted.columns))
                return Part(found, read_rows(source, metadata, outline, wish, is_alone=is_alone), rising)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self._lake.root}/{found.path} cannot be read: {reason}") from None


def _joined(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    if any(each.schema != tables[0].schema for each in tables):  # of several writers
        tables = [each.cast(schema) for each in tables]
    return (pa.concat_tables(tables) if tables else schema.empty_table()).cast(schema)


def _remember(key: tuple[str, str], outline: Outline) -> None:
    if key[1]:
        if len(_outlines) >= OUTLINES_MOST:
            _outlines.pop(next(iter(_outlines)), None)
        _outlines[key] = outline


def _date(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // DAY_US * DAY_US // 1_000_000, UTC):%Y-%m-%d}"
