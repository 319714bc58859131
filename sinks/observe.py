"""Metrics of a sink, updated per chunk."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from pyarrow import compute

from schemas.records import Signal
from schemas.venues import SYMBOLOGIES
from sinks.chunk import Chunk
from tickerplant import metrics
from tickerplant.histograms import Seconds, observe_all
from tickerplant.progress import Progress

BACKFILL: Final = "BACKFILL"
OF_THE_PAST: Final = f"{BACKFILL}|PAST"
EXCHANGE: Final = "exchange_time_us"


class Observer:
    """Counts what one sink does; labels carry its stage and store."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._stage = f"sink.{store}"
        for venue in ("", *SYMBOLOGIES):
            metrics.DEAD_LETTERS.labels(self._stage, venue)  # a counter that first shows as 1 was never seen to rise

    def received(self, topic: str, records: int, size_bytes: int) -> None:
        """Count records taken in."""
        metrics.RECEIVED.labels(self._stage, topic).inc(records)
        metrics.RECEIVED_BYTES.labels(self._stage, topic).inc(size_bytes)

    def held(self, rows: int) -> None:
        """Tell how many rows wait in buffers."""
        metrics.QUEUE.labels(self._stage).set(rows)

    def progress(self, topic: str, partition: int) -> Progress:
        """Show the position in a partition, until it is closed."""
        return Progress(self._stage, topic, partition)

    def dead(self, venue: str) -> None:
        """Count a dead letter."""
        metrics.DEAD_LETTERS.labels(self._stage, venue).inc()

    def failed(self, error_type: str) -> None:
        """Count an error that was survived."""
        metrics.ERRORS.labels(self._stage, error_type).inc()

    def stored(self, chunk: Chunk, *, seconds: float, now_us: int, refused: int = 0) -> None:
        """Count a chunk that the store has acknowledged."""
        table = chunk.table.name
        metrics.ROWS.labels(self._store, table).inc(chunk.row_count - refused)
        metrics.WRITES.labels(self._store, table).inc()
        metrics.SENT.labels(self._stage, chunk.span.topic).inc(chunk.row_count - refused)
        metrics.BATCH_SECONDS.labels(self._stage).observe(seconds)
        for venue, seconds_each in latencies(chunk, "recv_time_us", now_us):
            observe_all(metrics.STAGE_LATENCY.labels(self._stage, venue), seconds_each)
        for venue, seconds_each in latencies(chunk, EXCHANGE, now_us):
            observe_all(metrics.WHOLE_WAY.labels(self._store, table, venue), seconds_each)

    def repeated(self, chunk: Chunk) -> None:
        """Count repeats that were dropped."""
        if chunk.repeats:
            metrics.REPEATS.labels(self._store, chunk.table.name).inc(chunk.repeats)


def latencies(chunk: Chunk, column: str, now_us: int) -> Iterator[tuple[str, Seconds]]:
    """Give, for each venue, the seconds from a time of each row till now; rows without that time are left out.

    From the exchange's time on, so are those whose time tells nothing about the way: see `_is_told_at_once`.
    """
    if column not in chunk.table.schema.names or not chunk.row_count:
        return
    times_us, venues = chunk.rows[column].to_numpy(), chunk.rows["venue"]
    is_timed = times_us > 0
    if column == EXCHANGE:
        is_timed &= _is_told_at_once(chunk)
    for venue in venues.unique().to_pylist():
        is_meant = is_timed & compute.equal(venues, venue).to_numpy()
        if is_meant.any():
            yield venue, (now_us - times_us[is_meant]) / 1e6


def _is_told_at_once(chunk: Chunk) -> npt.NDArray[np.bool_]:
    """Tell for each row whether the venue told it at its exchange time, as far as can be known.

    Trades of the past were not, nor were whole books that repeat one which changed long ago, nor features, which are
    told when their second can change no more.
    """
    rows, names = chunk.rows, chunk.table.schema.names
    is_told = np.full(chunk.row_count, chunk.table.record is not Signal)
    if "flags" in names:
        is_told &= ~compute.match_substring_regex(rows["flags"], OF_THE_PAST).to_numpy()
    if "is_keyframe" in names:
        is_told &= ~rows["is_keyframe"].to_numpy()
    return is_told
