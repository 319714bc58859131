"""Records of one topic partition → chunks: what a store writes at once, under a name made from its range.

A chunk is closed by rows, bytes or age. Its rows are a function of the log, the range and the marks before it, so a
range that was begun and not finished is built again exactly.

Repeats: a processor that restarts may write records again, with the ids they had (source topic, partition, offset,
index), and a paused one that wakes up too. Ids of a source rise within a partition, so what is not above the highest
seen is a repeat and dropped. These marks live in the metadata of the offset commit: they move with the offset, in one
atomic step, from one owner of the partition to the next, and need no answer from a store.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.records import DeadLetter
from sinks.columns import Row, columns
from sinks.position import Marks, Position
from sinks.tables import Table
from tickerplant.tally import DEFAULT_LIMIT, DeadLetterLimit, Tally

COMPACT_ROWS: Final = 512
"""Rows are turned into columns in groups of this size: as Python objects they take ten times the memory."""


NONE_REFUSED: Final = Tally()


class LogWentBackError(ValueError):
    """A partition gave an offset a second time: its topic was made anew under a running sink."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a chunk is full, whichever is first; a range that was begun before is built in full all the same.

    Args:
        together: so many chunks, of different partitions, may be written at the same time, by different threads.
    """

    rows: int
    size_bytes: int
    age_s: float
    together: int = 1


@dataclass(frozen=True, kw_only=True)
class Span:
    """The name of a chunk: offsets from `start` to `end`, both included.

    Args:
        generation: tells a topic from one of its name that was deleted and made anew; empty = not known.
    """

    topic: str
    partition: int
    generation: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Rows of a span in offset order; frozen.

    Args:
        letters: records of the span that could not be read.
        repeats: how many rows were dropped as repeats.
        is_doubtful: the store may have (a part of) it: a write was begun before, or no commit was found.
        doubtful_below: see `Position`.
        offsets: of each row's record in the log, where ranges of other borders may be stored; None = none are.
    """

    table: Table
    span: Span
    batches: Sequence[pa.RecordBatch]
    letters: Sequence[DeadLetter] = ()
    repeats: int = 0
    is_doubtful: bool = False
    offsets: np.ndarray | None = None
    doubtful_below: int = 0
    marks_before: Marks = field(default_factory=dict)
    marks_after: Marks = field(default_factory=dict)
    unread_before: Tally = field(default_factory=Tally)
    unread_after: Tally = field(default_factory=Tally)
    size_bytes: int = 0

    @cached_property
    def rows(self) -> pa.Table:
        """All rows as one table."""
        return pa.Table.from_batches(self.batches, schema=self.table.schema)

    @cached_property
    def row_count(self) -> int:
        """How many rows."""
        return sum(batch.num_rows for batch in self.batches)

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to write, only an offset to commit."""
        return not (self.row_count or self.letters)

    def intent(self, refused: Tally = NONE_REFUSED) -> Position:
        """Tell the position to commit before it is written; `refused`: rows of all before it."""
        return Position(
            offset=self.span.start,
            pending_end=self.span.end,
            marks=self.marks_before,
            unread=self.unread_before,
            refused=refused,
            doubtful_below=self.doubtful_below,
            life=self.span.generation,
        )

    def done(self, refused: Tally = NONE_REFUSED) -> Position:
        """Tell the position to commit once it is written; `refused`: rows of all before it and its own."""
        return Position(
            offset=self.span.end + 1,
            marks=self.marks_after,
            unread=self.unread_after,
            refused=refused,
            doubtful_below=self.doubtful_below,
            life=self.span.generation,
        )


def drop_repeats(rows: Sequence[Row], marks: dict[tuple[str, int], tuple[int, int]]) -> list[Row]:
    """Keep the rows that are above the mark of their source, and raise the marks to them."""
    fresh = []
    for row in rows:
        source = (row["source_topic"], row["source_partition"])
        place = (row["source_offset"], row["source_index"])
        if place > marks.get(source, (-1, -1)):
            marks[source] = place
            fresh.append(row)
    return fresh


def fresh_rows(rows: pa.RecordBatch, marks: Marks) -> np.ndarray:
    """Tell which rows are above the mark of their source and all of it before them: as `drop_repeats`, for columns."""
    offsets, indices = rows["source_offset"].to_numpy(), rows["source_index"].to_numpy()
    found = np.ones(len(offsets), bool)
    for source, places in _by_source(rows):
        mark = marks.get(source, (-1, -1))
        mine, inner = offsets[places], indices[places]
        steps = np.diff(mine)
        is_rising = (steps > 0) | ((steps == 0) & (np.diff(inner) > 0))
        if (mine[0], inner[0]) > mark and is_rising.all():
            continue
        for place, at in zip(places.tolist(), zip(mine.tolist(), inner.tolist(), strict=True), strict=True):
            found[place] = at > mark
            mark = max(mark, at)
    return found


def raise_marks(rows: pa.RecordBatch, marks: dict[tuple[str, int], tuple[int, int]]) -> None:
    """Raise marks to the last row of each source, all of them above it."""
    for source, places in _by_source(rows):
        last = int(places[-1])
        marks[source] = rows["source_offset"][last].as_py(), rows["source_index"][last].as_py()


def _by_source(rows: pa.RecordBatch) -> Iterator[tuple[tuple[str, int], np.ndarray]]:
    """Give the sources of rows, each with where its rows are: nearly always one."""
    topics, partitions = rows["source_topic"].dictionary_encode(), rows["source_partition"].to_numpy()
    names = topics.dictionary.to_pylist()
    codes = topics.indices.to_numpy().astype(np.int64) << 32 | partitions.astype(np.int64) & 0xFFFF_FFFF
    if len(codes) and (codes == codes[0]).all():
        yield (names[0], int(partitions[0])), np.arange(len(codes))
        return
    for code in np.unique(codes):
        places = np.flatnonzero(codes == code)
        yield (names[code >> 32], int(partitions[places[0]])), places


@dataclass
class _Open:
    """The chunk being filled."""

    start: int
    opened_s: float
    marks_before: Marks
    unread_before: Tally
    end: int = -1
    rows: list[Row] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    row_count: int = 0
    repeats: int = 0
    size_bytes: int = 0
    counts: list[tuple[int, int]] | None = None  # offset → rows, where they are asked for

    def offsets(self) -> np.ndarray | None:
        """Tell the offset of each row."""
        if self.counts is None:
            return None
        table = np.array(self.counts, np.int64).reshape(-1, 2)
        return np.repeat(table[:, 0], table[:, 1])


class Buffer:
    """Takes records of one topic partition in offset order and gives chunks in the same order; no I/O.

    Args:
        table: where its rows belong.
        place: topic (as the broker names it) and partition.
        generation: see `Span`.
        position: where the last owner stood; None = nothing was ever committed.
        doubtful_below: of chunks that start below this offset, rows may be stored in ranges of other borders.
        limits: when a chunk is full.
        dead_letter_limit: by which `unread` is counted; it is for others to stop at it.
    """

    def __init__(
        self,
        table: Table,
        place: tuple[str, int],
        *,
        limits: Limits,
        position: Position | None = None,
        generation: str = "",
        doubtful_below: int = 0,
        dead_letter_limit: DeadLetterLimit = DEFAULT_LIMIT,
    ) -> None:
        self.table = table
        self.unread = position.unread.copy() if position else Tally()
        self._dead_limit = dead_letter_limit
        self._place = place
        self._generation = generation
        self._limits = limits
        self._doubtful_below = doubtful_below
        self._marks = dict(position.marks) if position else {}
        self._pending_end = position.pending_end if position else None
        self._next_offset = position.offset if position else 0
        self._open: _Open | None = None
        self._closed: deque[Chunk] = deque()
        if self._pending_end is not None:
            self._open = self._begin(self._next_offset, 0.0)

    @property
    def size_bytes(self) -> int:
        """Encoded size of all that is held."""
        return sum(chunk.size_bytes for chunk in self._closed) + (self._open.size_bytes if self._open else 0)

    @property
    def row_count(self) -> int:
        """How many rows are held."""
        return sum(chunk.row_count for chunk in self._closed) + (self._open.row_count if self._open else 0)

    @property
    def old_s(self) -> float:
        """Tell when the chunk being filled is old enough; infinity = it is another that is to be stored, or none."""
        if self._open is None or self._closed or self._pending_end is not None:
            return inf
        return self._open.opened_s + self._limits.age_s

    def add(self, offset: int, rows: Sequence[Row], *, size_bytes: int, now_s: float) -> None:
        """Take one record: its rows (empty = nothing to store) and its encoded size.

        Raises:
            LogWentBackError: the offset is not above the last one.
        """
        chunk = self._chunk_for(offset, now_s)
        self.unread.good()
        fresh = drop_repeats(rows, self._marks) if self.table.drops_repeats else rows
        chunk.rows.extend(fresh)
        chunk.row_count += len(fresh)
        chunk.repeats += len(rows) - len(fresh)
        if chunk.counts is not None:
            chunk.counts.append((offset, len(fresh)))
        chunk.size_bytes += size_bytes
        if len(chunk.rows) >= COMPACT_ROWS:
            self._compact(chunk)
        self._close_if_full(chunk)

    def add_all(self, offsets: np.ndarray, rows: pa.RecordBatch, *, sizes: np.ndarray, now_s: float) -> None:
        """Take records of one row each, as `add` would one after the other: their offsets, rows and encoded sizes.

        Raises:
            LogWentBackError: an offset is not above the one before; those up to it are taken.
        """
        back = np.flatnonzero(np.diff(offsets) <= 0)
        count = int(back[0]) + 1 if back.size else len(offsets)
        is_fresh = fresh_rows(rows, self._marks) if self.table.drops_repeats else np.ones(len(offsets), bool)
        row_counts, byte_counts = np.cumsum(is_fresh), np.cumsum(sizes)
        at = 0
        while at < count:
            chunk = self._chunk_for(int(offsets[at]), now_s)
            if self._pending_end is not None:
                end = int(np.searchsorted(offsets[:count], self._pending_end, "right"))
            else:
                rows_left, bytes_left = self._limits.rows - chunk.row_count, self._limits.size_bytes - chunk.size_bytes
                rows_before, bytes_before = (int(each[at - 1]) if at else 0 for each in (row_counts, byte_counts))
                fullest = min(
                    int(np.searchsorted(row_counts, rows_before + rows_left)),
                    int(np.searchsorted(byte_counts, bytes_before + bytes_left)),
                )
                end = min(max(fullest, at) + 1, count)
            part = slice(at, end)
            self._take(chunk, offsets[part], rows[part], is_fresh=is_fresh[part], size_bytes=int(sizes[part].sum()))
            self._close_if_full(chunk)
            at = end
        if count < len(offsets):
            self._chunk_for(int(offsets[count]), now_s)

    def _take(
        self, chunk: _Open, offsets: np.ndarray, rows: pa.RecordBatch, *, is_fresh: np.ndarray, size_bytes: int
    ) -> None:
        """Put records into a chunk that has room for them."""
        fresh = rows if is_fresh.all() else rows.filter(pa.array(is_fresh))
        chunk.end = int(offsets[-1])
        self._next_offset = chunk.end + 1
        self.unread.good(len(offsets))
        if self.table.drops_repeats:
            raise_marks(fresh, self._marks)
        if chunk.counts is not None:
            chunk.counts += zip(offsets.tolist(), is_fresh.astype(int).tolist(), strict=True)
        chunk.row_count += fresh.num_rows
        chunk.repeats += rows.num_rows - fresh.num_rows
        chunk.size_bytes += size_bytes
        self._compact(chunk)
        if fresh.num_rows:
            chunk.batches.append(fresh)

    def add_letter(self, offset: int, letter: DeadLetter, *, now_s: float) -> None:
        """Take a record that could not be read; raises as `add`."""
        chunk = self._chunk_for(offset, now_s)
        self._dead_limit.add_bad(self.unread)
        chunk.letters.append(letter)
        chunk.size_bytes += len(letter.payload)
        self._close_if_full(chunk)

    def due(self, now_s: float) -> Chunk | None:
        """Tell the oldest chunk that is full or old enough; the same one until `drop_first`."""
        if now_s >= self.old_s and self._open:
            self._close(self._open)
        return self._closed[0] if self._closed else None

    def close(self) -> None:
        """Close the chunk being filled, however small; a range begun by the last owner stays open until complete."""
        if self._open and self._pending_end is None:
            self._close(self._open)

    def drop_first(self) -> None:
        """Forget the oldest closed chunk: it is stored and committed."""
        self._closed.popleft()

    def _chunk_for(self, offset: int, now_s: float) -> _Open:
        if offset < self._next_offset:
            topic, partition = self._place
            raise LogWentBackError(f"{topic} [{partition}] gave offset {offset} after {self._next_offset - 1}")
        if self._open and self._pending_end is not None and offset > self._pending_end:
            # Compaction or retention removed the last records of the range: what is left of it is all of it.
            self._close(self._open)
        if self._open is None:
            self._open = self._begin(offset, now_s)
        self._next_offset = offset + 1
        self._open.end = offset
        return self._open

    def _begin(self, offset: int, now_s: float) -> _Open:
        counts: list[tuple[int, int]] | None = [] if offset < self._doubtful_below else None
        return _Open(offset, now_s, dict(self._marks), self.unread.copy(), counts=counts)

    def _close_if_full(self, chunk: _Open) -> None:
        if self._pending_end is not None:
            if chunk.end >= self._pending_end:
                self._close(chunk)
        elif chunk.row_count >= self._limits.rows or chunk.size_bytes >= self._limits.size_bytes:
            self._close(chunk)

    def _close(self, chunk: _Open) -> None:
        self._compact(chunk)
        topic, partition = self._place
        is_pending = self._pending_end is not None
        end = chunk.end if self._pending_end is None else self._pending_end
        self._closed.append(
            Chunk(
                table=self.table,
                span=Span(topic=topic, partition=partition, generation=self._generation, start=chunk.start, end=end),
                batches=tuple(chunk.batches),
                letters=tuple(chunk.letters),
                repeats=chunk.repeats,
                is_doubtful=is_pending or chunk.counts is not None,
                offsets=chunk.offsets(),
                doubtful_below=self._doubtful_below,
                marks_before=chunk.marks_before,
                marks_after=dict(self._marks),
                unread_before=chunk.unread_before,
                unread_after=self.unread.copy(),
                size_bytes=chunk.size_bytes,
            )
        )
        self._open, self._pending_end = None, None

    def _compact(self, chunk: _Open) -> None:
        if chunk.rows:
            chunk.batches.append(columns(self.table.schema, chunk.rows))
            chunk.rows = []
