"""Chunks → Parquet objects in the lake, on S3 or in a folder.

`<root>/cleaned/tick/venue=BINANCE/date=2026-11-21/<topic>-<partition>-<start>-<end>-<generation>.parquet`: zstd, rows
in offset order, `venue` and `date` (UTC day of `event_time_us`) in the path alone, as hive readers expect. A name is
made from the range it holds and never written twice: an object that exists is done.

Where the group's offsets were lost, ranges have other borders than before: then the names in the folders of a chunk
tell which of its offsets are stored. What is named so and is no Parquet is set aside, its rows are written again.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sinks.chunk import Chunk, Limits, Span
from sinks.places import Bucket, Folder, Place
from sinks.rising import rising, said
from sinks.store import Refused
from sinks.stored import Held, Stored, missing, name_prefix, object_name
from tickerplant.health import OBJECT_STORE
from tickerplant.logs import logger
from tickerplant.settings import Settings

DAY_US: Final = 24 * 3600 * 1_000_000
NO_VENUE: Final = "__HIVE_DEFAULT_PARTITION__"
ROW_GROUP_ROWS: Final = 128 * 1024
BOOK_ROW_GROUP_ROWS: Final = 16 * 1024
"""Of rows with levels, of which whoever wants the book at a time needs a few: docs/decisions/0102."""
ZSTD_LEVEL: Final = 3
FRAMES_ZSTD_LEVEL: Final = 1
"""Of the texts of venues, which come out larger at 3; docs/decisions/0090-codecs-by-measurement.md."""
TAIL_BYTES: Final = 64 * 1024
"""Of an object's end, that is read to tell whether it is whole: what describes our columns takes less than 20 KB."""
LISTINGS: Final = 64
OFFSET: Final = "offset in the log"


class ParquetStore:
    """Writes chunks as Parquet; one object for each venue and day in a chunk, nearly always one."""

    name: ClassVar = "parquet"
    dependency: ClassVar = OBJECT_STORE

    def __init__(self, settings: Settings) -> None:
        sink = settings.sink
        rows, size_bytes, age_s = sink.parquet_roll_rows, sink.parquet_roll_bytes, sink.parquet_roll_s
        self._limits = Limits(rows=rows, size_bytes=size_bytes, age_s=age_s)
        root = settings.object_store.root
        is_s3 = root.startswith("s3://")
        local = Path(root.removeprefix("file://"))
        self._place: Place = Bucket(settings.object_store) if is_s3 else Folder(local)
        self._listings: dict[tuple[str, str, int], Stored] = {}  # by folder, topic, partition
        self._listed_to: dict[tuple[str, int], int] = {}  # topic and partition → last offset that was asked for
        self._logger = logger()

    @property
    def limits(self) -> Limits:
        """Rolled by age and encoded bytes, as set."""
        return self._limits

    def open(self) -> None:
        """Make sure that the lake can be written to; raises as `Store.open`."""
        self._place.open()

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Write the objects of a chunk; nothing is ever refused. Raises as `Store.write`."""
        name = object_name(chunk.span)
        for folder, rows in self._to_write(chunk):
            path, content = f"{chunk.table.folder}/{folder}/{name}", encode(rows, chunk.span)
            while not self._place.create(path, content) and not self._is_whole(path):
                self._set_aside(path)
        return []

    def check(self, timeout_s: float) -> None:
        """Ask for the bucket or look at the folder; raises as `Store.check`."""
        self._place.check(timeout_s)

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()

    def _to_write(self, chunk: Chunk) -> Iterator[tuple[str, pa.Table]]:
        """Split a chunk by folder, without what is stored where that is not known."""
        self._forget_listings(chunk)
        if chunk.offsets is None:
            yield from partitions(chunk.rows)
            return
        for folder, rows in partitions(chunk.rows.append_column(OFFSET, pa.array(chunk.offsets))):
            stored = self._stored(f"{chunk.table.folder}/{folder}", chunk.span)
            is_missing = missing(rows[OFFSET].to_numpy(), stored)
            if is_missing.any():
                yield folder, rows.filter(pa.array(is_missing)).drop_columns([OFFSET])

    def _forget_listings(self, chunk: Chunk) -> None:
        """Forget what was listed for a partition once offsets are known again, or where it is read anew."""
        place = (chunk.span.topic, chunk.span.partition)
        if chunk.offsets is None or chunk.span.start <= self._listed_to.get(place, -1):
            for key in [key for key in self._listings if key[1:] == place]:
                del self._listings[key]
            self._listed_to.pop(place, None)
        if chunk.offsets is not None:
            self._listed_to[place] = chunk.span.end

    def _stored(self, folder: str, span: Span) -> list[Held]:
        """Tell which objects of a folder hold offsets of a span; it is listed once while offsets are not known.

        Those of swaps are not doubted: what is written again in their place would not count.
        """
        key = (folder, span.topic, span.partition)
        if key not in self._listings:
            if len(self._listings) >= LISTINGS:
                self._listings.pop(next(iter(self._listings)))
            self._listings[key] = Stored(self._place.names(folder, name_prefix(span)), span)
        found, listing = [], self._listings[key]
        for each in listing.over(span):
            path = f"{folder}/{each.name}"
            if each.is_swapped or self._is_whole(path):
                found.append(each)
            else:
                listing.leave_out(each)
                self._set_aside(path)
        return found

    def _is_whole(self, path: str) -> bool:
        """Tell whether an object is Parquet to its end: one that was cut off has nothing that describes it."""
        for most_bytes in (TAIL_BYTES, None):
            tail = self._place.tail(path, most_bytes)
            try:
                pq.read_metadata(pa.BufferReader(tail))
            except (pa.ArrowException, OSError):
                continue
            return True
        return False

    def _set_aside(self, path: str) -> None:
        aside = self._place.set_aside(path)
        self._logger.warning("a damaged object is set aside, its rows are written again", path=path, aside=aside)


def partitions(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split rows by venue and UTC day of `event_time_us`, in order of first appearance; rows keep their order."""
    venues = rows["venue"].combine_chunks().dictionary_encode()
    codes = venues.indices.to_numpy()
    days = rows["event_time_us"].to_numpy() // DAY_US
    for code, day in dict.fromkeys(zip(*_changes(codes, days), strict=True)):
        mine = (codes == code) & (days == day)
        venue = quote(venues.dictionary[code].as_py(), safe="") or NO_VENUE
        yield f"venue={venue}/date={_date(day)}", rows if mine.all() else rows.filter(pa.array(mine))


def encode(rows: pa.Table, span: Span) -> pa.Buffer:
    """Encode rows as one Parquet file: the same rows give the same bytes."""
    body = rows.drop_columns(["venue"])
    texts = [field.name for field in body.schema if pa.types.is_string(field.type)]
    levels = [f"{field.name}.list.element" for field in body.schema if pa.types.is_list(field.type)]
    is_raw = any(pa.types.is_binary(field.type) for field in body.schema)
    counters = [field.name for field in body.schema if pa.types.is_int64(field.type)]
    order = rising(rows)
    metadata = {"topic": span.topic, "partition": str(span.partition), "start": str(span.start), "end": str(span.end)}
    metadata |= said(order) if order else {}
    out = pa.BufferOutputStream()
    pq.write_table(
        body.replace_schema_metadata({**(body.schema.metadata or {}), **metadata}),
        out,
        compression="zstd",
        compression_level=FRAMES_ZSTD_LEVEL if is_raw else ZSTD_LEVEL,
        use_dictionary=[*texts, *levels],
        column_encoding=dict.fromkeys(counters, "DELTA_BINARY_PACKED"),
        row_group_size=BOOK_ROW_GROUP_ROWS if levels else ROW_GROUP_ROWS,
        write_statistics=True,
    )
    return out.getvalue()


def _changes(codes: np.ndarray, days: np.ndarray) -> tuple[list[int], list[int]]:
    """Keep the pairs at which one of both changes: nearly always the first one alone."""
    starts = np.flatnonzero((np.diff(codes, prepend=-1) != 0) | (np.diff(days, prepend=days[:1] - 1) != 0))
    return codes[starts].tolist(), days[starts].tolist()


def _date(day: int) -> str:
    """Days since the epoch → ISO date; days beyond the calendar keep their number."""
    try:
        return f"{datetime.fromtimestamp(day * DAY_US // 1_000_000, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"day{day}"
