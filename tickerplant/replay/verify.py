"""Rows of a replay against live rows, by source id, in both stores: every column, REPLAY in `flags` aside.

Both sides are read in the order of their source ids and walked together, so memory does not grow with the range.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_driver import Client

from schemas.records import Instrument
from schemas.topics import CLEANED
from sinks.clickhouse_client import connect
from sinks.tables import TABLES, Table
from tickerplant.once import without_life
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import Liveness, Numbered, ObjectName, read_name
from tickerplant.replay.selection import unmarked
from tickerplant.replay.span import Range
from tickerplant.settings import Settings

ID: Final = ("source_offset", "source_index")
OFFSETS_AT_ONCE: Final = 20_000
"""Raw offsets of one query: bounds what ClickHouse sorts."""

Row = Mapping[str, Any]


@dataclass
class Difference:
    """The first difference: rows (None = it is missing there) and the columns in which they differ."""

    store: str
    table: str
    partition: int
    columns: list[str]
    live: Row | None
    replayed: Row | None

    def line(self) -> str:
        """Say it in one line for people."""
        row = self.live or self.replayed or {}
        place = f"{row.get('source_topic')}:{self.partition}:{row.get('source_offset')}:{row.get('source_index')}"
        where = f"{self.store} {self.table} {place}"
        if self.live is None or self.replayed is None:
            return f"{where}: only in the {'replay' if self.live is None else 'live rows'}: {_shown(row)}"
        values = (f"{name} live {self.live[name]!r}, replayed {self.replayed[name]!r}" for name in self.columns)
        return f"{where}: {'; '.join(values)} | live {_shown(self.live)} | replayed {_shown(self.replayed)}"


@dataclass
class Verdict:
    """What a comparison found: rows that were compared, by store and table, and how many differ.

    Args:
        changes: by store and table what a swap would do: `added`, `removed`, `altered` rows; left out = nothing.
    """

    compared: dict[str, int] = field(default_factory=dict)
    differences: int = 0
    first: Difference | None = None
    changes: dict[str, Counter[str]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Make the part of the command's answer."""
        return {
            "compared": self.compared,
            "differences": self.differences,
            "changes": self.changes,
            "first_difference": self.first.line() if self.first else "",
        }

    def compare(self, store: str, table: str, partition: int, live: Iterable[Row], replayed: Iterable[Row]) -> None:
        """Walk along both sides, each in the order of source ids; rows there twice are a difference too."""
        compared = 0
        changes: Counter[str] = Counter()
        for left, right in paired(live, replayed):
            compared += 1
            columns = [] if left is None or right is None else differing(left, right)
            if left is None or right is None or columns:
                changes["added" if left is None else "removed" if right is None else "altered"] += 1
                self.first = self.first or Difference(store, table, partition, columns, left, right)
        name = f"{store} {table}"
        self.compared[name] = self.compared.get(name, 0) + compared
        self.differences += changes.total()
        if changes:
            self.changes[name] = self.changes.get(name, Counter()) + changes


def verify(live: Settings, replay: Settings, span: Range) -> Verdict:
    """Compare a replay with the live rows.

    `symbols.mapping` keeps the newest list alone, so instruments are compared in Parquet only.

    Raises:
        DependencyError: a store does not answer.
    """
    verdict = Verdict()
    with closing(_Tables(live)) as live_tables, closing(_Tables(replay)) as replay_tables:
        for table in (TABLES[topic.name] for topic in CLEANED):
            if table.record is Instrument:
                continue
            for number, offsets in span.offsets.items():
                left, right = (each.rows(table, span, number, offsets) for each in (live_tables, replay_tables))
                verdict.compare("clickhouse", table.name, number, left, right)
    for topic in CLEANED:
        table = TABLES[topic.name]
        for number in span.offsets:
            left, right = (lake_rows(each, topic.name, table, span, number) for each in (live, replay))
            verdict.compare("parquet", table.folder, number, left, right)
    return verdict


def paired(live: Iterable[Row], replayed: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Pair rows of the same source id of two sides that are ordered by it; None = it is missing on that side."""
    left_rows, right_rows = iter(live), iter(replayed)
    left, right = next(left_rows, None), next(right_rows, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _id(left) < _id(right)):
            yield left, None
            left = next(left_rows, None)
        elif left is None or _id(right) < _id(left):
            yield None, right
            right = next(right_rows, None)
        else:
            yield left, right
            left, right = next(left_rows, None), next(right_rows, None)


def differing(live: Row, replayed: Row) -> list[str]:
    """Name the columns in which two rows differ; REPLAY in `flags` is none."""
    names = [*live, *(name for name in replayed if name not in live)]
    return [name for name in names if not _same(name, live.get(name), replayed.get(name))]


def _same(name: str, left: Any, right: Any) -> bool:
    if left == right:
        return True
    if name == "flags" and isinstance(left, str) and isinstance(right, str):
        return unmarked(left) == unmarked(right)
    if name == "source_topic" and isinstance(left, str) and isinstance(right, str):
        return without_life(left) == right or without_life(right) == left
    if isinstance(left, float) and isinstance(right, float):
        return math.isnan(left) and math.isnan(right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        return all(_same("", one, other) for one, other in zip(left, right, strict=True))
    return False


def _id(row: Row) -> tuple[int, int]:
    return row["source_offset"], row["source_index"]


def _shown(row: Row) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in row.items())
    return text if len(text) <= 2000 else f"{text[:2000]} ..."  # a book has thousands of levels


class _Tables:
    """Rows of ClickHouse, in the order of their source ids."""

    def __init__(self, settings: Settings) -> None:
        self._client: Client = connect(settings.clickhouse)
        self._suffix = settings.clickhouse.table_suffix

    def rows(self, table: Table, span: Range, partition: int, offsets: tuple[int, int]) -> Iterator[Row]:
        """Read the rows that came of a raw partition, some thousand raw offsets at a time."""
        if not span.concerns(table):
            return
        condition, values = span.sql(table)
        query = (
            f"SELECT * FROM {table.name}{self._suffix} FINAL WHERE {condition} AND source_partition = %(partition)s "  # noqa: S608  # own names
            f"AND source_offset BETWEEN %(low)s AND %(high)s ORDER BY {', '.join(ID)}"
        )
        for low in range(offsets[0], offsets[1], OFFSETS_AT_ONCE):
            values |= {"partition": partition, "low": low, "high": min(low + OFFSETS_AT_ONCE, offsets[1]) - 1}
            rows = self._client.execute_iter(query, values, with_column_types=True)
            names = [name for name, _type in next(rows)]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()


def lake_rows(settings: Settings, topic: str, table: Table, span: Range, partition: int) -> Iterator[Row]:
    """Read the rows of a lake that came of a raw partition, in the order of their source ids.

    Each day's folder is in this order, of which an object at a time is held. A day may hold rows that came with a later
    one's, and after a swap its objects are of other offsets: those whose offsets overlap are read side by side.
    """
    lake = Lake(settings.object_store)
    liveness = Liveness(Numbered.newest(lake).manifest)
    base = f"{table.folder}/venue={span.wish.venue}"
    found: list[tuple[ObjectName, str]] = []
    for folder in (f"{base}/{day}" for day in lake.names(base)):
        for text in liveness.live(folder, lake.names(folder)):
            name = read_name(text)
            if name and (name.topic, name.partition) == (topic + settings.kafka.topic_suffix, partition):
                found.append((name, folder))

    def rows_of(objects: list[tuple[ObjectName, str]]) -> Iterator[Row]:
        for _start, same in groupby(objects, lambda each: each[0].start):
            rows = pa.concat_tables([lake.read_table(f"{folder}/{name}") for name, folder in same])
            yield from _wanted(rows, span, partition).to_pylist()

    for objects in overlapping(sorted(found)):
        series: dict[tuple[str, str], list[tuple[ObjectName, str]]] = {}
        for name, folder in objects:
            series.setdefault((folder, name.life), []).append((name, folder))
        yield from merge(*map(rows_of, series.values()), key=_id)


def overlapping(objects: Iterable[tuple[ObjectName, str]]) -> Iterator[list[tuple[ObjectName, str]]]:
    """Part objects, in order, into runs of which none shares offsets with another."""
    run: list[tuple[ObjectName, str]] = []
    for each in objects:
        if run and each[0].start > max(name.end for name, _ in run):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _wanted(rows: pa.Table, span: Range, partition: int) -> pa.Table:
    ours = pc.and_(span.mask(rows), pc.equal(rows["source_partition"], partition))
    return rows.filter(ours).sort_by([(name, "ascending") for name in ID])
