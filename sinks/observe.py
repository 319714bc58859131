"""Metrics of a sink, updated per chunk."""

from typing import Final

from sinks.chunk import Chunk
from sinks.columns import Place
from tickerplant import metrics

SAMPLES: Final = 3
"""Rows of a chunk whose latency is observed: the oldest, the middle one, the newest."""


class Observer:
    """Counts what one sink does; labels carry its stage and store."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._stage = f"sink.{store}"

    def received(self, topic: str, records: int, size_bytes: int) -> None:
        """Count records taken in."""
        metrics.RECEIVED.labels(self._stage, topic).inc(records)
        metrics.RECEIVED_BYTES.labels(self._stage, topic).inc(size_bytes)

    def held(self, records: int) -> None:
        """Tell how many rows wait in buffers."""
        metrics.QUEUE.labels(self._stage).set(records)

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
        for venue, latency_s in latencies(chunk, now_us):
            metrics.STAGE_LATENCY.labels(self._stage, venue).observe(latency_s)

    def committed(self, chunk: Chunk, end_offset: int | None) -> None:
        """Count repeats that were dropped, and tell the lag (end offset None = not known)."""
        if chunk.repeats:
            metrics.REPEATS.labels(self._store, chunk.table.name).inc(chunk.repeats)
        if end_offset is not None:
            self.lag((chunk.span.topic, chunk.span.partition), end_offset - chunk.span.end - 1)

    def lag(self, place: Place, records: int) -> None:
        """Tell how far the sink is behind the end of a partition."""
        metrics.LAG.labels(self._stage, place[0], str(place[1])).set(max(0, records))


def latencies(chunk: Chunk, now_us: int) -> list[tuple[str, float]]:
    """Sample venue and seconds since the socket read; rows without a receive time are left out."""
    if "recv_time_us" not in chunk.table.schema.names or not chunk.row_count:
        return []
    rows = chunk.rows
    picks = sorted({0, chunk.row_count // 2, chunk.row_count - 1})[:SAMPLES]
    sample = [(rows["venue"][pick].as_py(), rows["recv_time_us"][pick].as_py()) for pick in picks]
    return [(venue, (now_us - recv_time_us) / 1e6) for venue, recv_time_us in sample if recv_time_us > 0]
