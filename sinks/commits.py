"""What was stored when: a record of `metadata.sink_commit` for each chunk that a store has acknowledged."""

from collections.abc import Iterable
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from schemas.codec import Encoder
from schemas.records import SinkCommit
from schemas.topics import SINK_COMMIT
from sinks.chunk import Chunk
from sinks.observe import BACKFILL
from sinks.store import StoreBusyError
from tickerplant.kafka import Publisher

FLUSH_S: Final = 10.0


class Commits(Protocol):
    """Where commits are told."""

    def tell(self, commits: Iterable[SinkCommit]) -> None:
        """Deliver commits; blocks until they are safe.

        Raises:
            StoreBusyError: they are not, for now.
        """


class KafkaCommits:
    """Commits as records of `metadata.sink_commit`; one that is told twice has the same source, so its row is one."""

    def __init__(self, publisher: Publisher, encoder: Encoder[SinkCommit], *, partitions: int) -> None:
        self._publisher = publisher
        self._encoder = encoder
        self._partitions = partitions

    def tell(self, commits: Iterable[SinkCommit]) -> None:
        """Deliver commits; raises as `Commits.tell`."""
        for commit in commits:
            key = f"{commit.stage}|{commit.source_topic}|{commit.source_partition}".encode()
            partition = commit.source_partition % self._partitions
            self._publisher.send(SINK_COMMIT.name, partition, key, self._encoder.encode(commit))
        if self._publisher.flush(FLUSH_S):
            raise StoreBusyError("commits could not be told yet")


def is_told(chunk: Chunk) -> bool:
    """Tell whether a chunk's commit is to be told: those of commits are not, or there would be no end."""
    return chunk.table.record is not SinkCommit and not chunk.is_empty


def sink_commit(chunk: Chunk, *, stage: str, dead_letters: int, now_us: int) -> SinkCommit:
    """Describe a chunk that its store acknowledged at a time; rows it refused are among the dead letters."""
    first_event_us, last_event_us = _range_us(_live(chunk), "event_time_us")
    first_exchange_us, last_exchange_us = _range_us(chunk.rows, "exchange_time_us")
    venues = chunk.rows["venue"].unique() if chunk.row_count else pa.chunked_array([[]])
    return SinkCommit(
        event_time_us=now_us,
        venue=venues[0].as_py() if len(venues) == 1 else "",
        stage=stage,
        table_name=chunk.table.name,
        end_offset=chunk.span.end,
        row_count=chunk.row_count - (dead_letters - len(chunk.letters)),
        repeats=chunk.repeats,
        dead_letters=dead_letters,
        size_bytes=chunk.size_bytes,
        first_event_time_us=first_event_us,
        last_event_time_us=last_event_us,
        first_exchange_time_us=first_exchange_us,
        last_exchange_time_us=last_exchange_us,
        source_topic=chunk.span.topic,
        source_partition=chunk.span.partition,
        source_offset=chunk.span.start,
    )


def _live(chunk: Chunk) -> pa.Table:
    """Leave out what was fetched later: its event time is the exchange's, and no store lags behind by its age."""
    if "flags" not in chunk.rows.column_names:
        return chunk.rows
    times = chunk.rows.select([name for name in chunk.rows.column_names if name.endswith("time_us")])
    return times.filter(pc.invert(pc.match_substring(chunk.rows["flags"], BACKFILL)))


def _range_us(rows: pa.Table, name: str) -> tuple[int, int]:
    """Find the lowest and the highest time of a column, leaving out 0; (0, 0) = there is none."""
    if name not in rows.column_names or not rows.num_rows:
        return 0, 0
    times = rows[name]
    found = pc.min_max(times.filter(pc.not_equal(times, 0))).as_py()
    return found["min"] or 0, found["max"] or 0
