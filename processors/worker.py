"""One raw partition: bytes in, records queued, metrics counted, state captured. No Faust here."""

from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from processors.batch import Batch, bad_record
from processors.errors import FrameError
from processors.outputs import Outputs
from processors.pipeline import Pipeline
from processors.state_store import Loaded, StateStore
from schemas.codec import CodecError, Decoder
from schemas.records import DeadLetter, QualityEvent, RawFrames, Tick
from schemas.topics import DEAD_PROCESSOR
from tickerplant import metrics
from tickerplant.clock import NowUs
from tickerplant.errors import TickerplantError, UserError

METRIC_STAGE: Final = "process"
US: Final = 1_000_000


class OffsetError(TickerplantError):
    """Raw records were skipped: going on would make the hole permanent."""


@dataclass(frozen=True)
class Captured:
    """A snapshot under way: the offset it is as of, its head, and the mark of the records up to it."""

    next_offset: int
    head: bytes
    mark: dict[str, int]


class PartitionWorker:
    """Processes one raw partition and can tell its state.

    Args:
        decoder: of raw records.
        dead_letter_limit: consecutive bad frames or records after which `step` raises.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        outputs: Outputs,
        store: StateStore,
        *,
        decoder: Decoder[RawFrames],
        venue: str,
        topic: str,
        partition: int,
        dead_letter_limit: int,
        now_us: NowUs,
    ) -> None:
        self.pipeline = pipeline
        self.outputs = outputs
        self.captured_offset = 0  # up to which state was captured
        self._store = store
        self._decoder = decoder
        self._venue, self._topic, self._partition = venue, topic, partition
        self._limit = dead_letter_limit
        self._now_us = now_us
        self._expected_offset: int | None = None
        self._bad_records = 0
        self._captured: Captured | None = None
        metrics.DEAD_LETTERS.labels(METRIC_STAGE, venue)  # a counter that first shows as 1 was never seen to rise

    @property
    def next_offset(self) -> int:
        """Offset of the raw record to be processed next; 0 = nothing was processed."""
        return self._expected_offset or 0

    def resume(self, loaded: Loaded) -> None:
        """Go on from a loaded state.

        Raises:
            StateError: it cannot be read.
        """
        for name, payloads in loaded.pieces.items():
            self.pipeline.restore(name, *payloads)
        self._store.resume(loaded)
        if loaded.pieces:
            self._expected_offset = self.captured_offset = loaded.next_offset

    def skip_to(self, offset: int) -> None:
        """Accept that raw records before this offset are gone."""
        self._expected_offset = offset

    def step(self, offset: int, value: bytes | None, timestamp_us: int) -> None:
        """Process one raw record, written to Kafka at a time; one that was processed before is skipped.

        Raises:
            OffsetError: records between the last one and this are missing.
            UserError: too many in a row could not be used.
        """
        began_s = perf_counter()
        if self._expected_offset is not None and offset != self._expected_offset:
            if offset < self._expected_offset:
                return
            raise OffsetError(f"{self._topic}:{self._partition} jumps from {self._expected_offset} to {offset}")
        self._expected_offset = offset + 1
        raw, batch = self._processed(offset, value or b"", timestamp_us)
        sent = self.outputs.send(batch)
        self._count(raw, batch, sent, value or b"")
        metrics.BATCH_SECONDS.labels(METRIC_STAGE).observe(perf_counter() - began_s)
        self._check_limit(batch)

    def capture(self) -> Captured:
        """Begin a snapshot of the state as it is now, or go on with one that was begun and has no head yet.

        Records may be processed until `write_pieces` is through with it: it stays as of now.
        """
        if self._captured is None:
            self.pipeline.freeze()
            self._captured = Captured(self.next_offset, self.pipeline.head(), self.outputs.mark())
        return self._captured

    def write_pieces(self, captured: Captured, budget_s: float) -> int:
        """Queue pieces of a snapshot for about so long; returns how many bytes they have, 0 = there are no more."""
        ends_s = perf_counter() + budget_s
        written_bytes = 0
        while (piece := self.pipeline.next_piece()) is not None:
            self._store.write(piece, captured.next_offset)
            written_bytes += len(piece.payload)
            if perf_counter() >= ends_s:
                break
        return written_bytes

    def write_head(self, captured: Captured) -> dict[str, int]:
        """Queue the head, once all pieces are queued and all records up to the snapshot are delivered.

        Returns:
            The mark at whose delivery the snapshot stands.
        """
        self._store.write_head(captured.head, captured.next_offset)
        self._captured, self.captured_offset = None, captured.next_offset
        return self.outputs.mark()

    def _processed(self, offset: int, value: bytes, timestamp_us: int) -> tuple[RawFrames | None, Batch]:
        try:
            raw = self._decoder.decode(value)
            batch = self.pipeline.process(offset, raw)
        except (CodecError, FrameError) as error:
            self._bad_records += 1
            return None, self._bad_record(offset, value, timestamp_us, str(error))
        self._bad_records = 0
        return raw, batch

    def _bad_record(self, offset: int, value: bytes, timestamp_us: int, reason: str) -> Batch:
        batch = Batch(self._venue, self._topic, self._partition, offset, timestamp_us)
        bad_record(batch, value, reason)
        self.pipeline.next_offset = offset + 1
        return batch

    def _check_limit(self, batch: Batch) -> None:
        bad = max(self._bad_records, self.pipeline.bad_frames)
        if bad >= self._limit:
            reasons = [record.reason for record in batch.records if isinstance(record, DeadLetter)]
            last = reasons[-1] if reasons else "see " + DEAD_PROCESSOR.name
            raise UserError(f"{bad} frames in a row could not be used, up to {self._topic}:{batch.offset}: {last}")

    def _count(self, raw: RawFrames | None, batch: Batch, sent: Counter[str], value: bytes) -> None:
        frames = raw.frames if raw is not None else []
        metrics.RECEIVED.labels(METRIC_STAGE, self._topic).inc(len(frames) if raw is not None else 1)
        metrics.RECEIVED_BYTES.labels(METRIC_STAGE, self._topic).inc(len(value))
        for topic, count in sent.items():
            metrics.SENT.labels(METRIC_STAGE, topic).inc(count)
        if sent[DEAD_PROCESSOR.name]:
            metrics.DEAD_LETTERS.labels(METRIC_STAGE, self._venue).inc(sent[DEAD_PROCESSOR.name])
        if batch.redundant:
            metrics.REDUNDANT.labels(self._venue).inc(sum(batch.redundant.values()))
        latency = metrics.STAGE_LATENCY.labels(METRIC_STAGE, self._venue)
        for frame in {id(each): each for each in (*frames[:1], *frames[-1:])}.values():
            latency.observe((self._now_us() - frame.recv_time_us) / US)
        self._count_records(batch)

    def _count_records(self, batch: Batch) -> None:
        ticks: Counter[tuple[str, str]] = Counter()
        newest: dict[str, Tick] = {}
        for record in batch.records:
            if isinstance(record, Tick):
                ticks[record.symbol, record.asset_class] += 1
                if record.exchange_time_us:
                    newest[record.asset_class] = record
            elif isinstance(record, QualityEvent):
                metrics.QUALITY.labels(self._venue, record.kind).inc(record.count)
        for (symbol, asset_class), count in ticks.items():
            metrics.TICKS.labels(self._venue, symbol, asset_class).inc(count)
        for asset_class, tick in newest.items():
            seconds = (tick.event_time_us - tick.exchange_time_us) / US
            metrics.LATENCY.labels(self._venue, asset_class).observe(seconds)
            if tick.recv_time_us:
                network_s = (tick.recv_time_us - tick.exchange_time_us) / US
                metrics.NETWORK.labels(self._venue, asset_class).observe(network_s)
