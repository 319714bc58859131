"""One raw partition: bytes in, records queued, metrics counted, state captured. No Faust here."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from time import perf_counter
from typing import Final, TypeVar

from prometheus_client import Counter as Counted
from prometheus_client import Histogram

from processors.batch import Batch
from processors.clock_offset import ClockOffset
from processors.errors import FrameError
from processors.flags import BACKFILL, CLOCK_STEP, PAST
from processors.latency import observe_ticks
from processors.outputs import Outputs
from processors.pieces import HEAD, HeadPiece, OutputsPiece, decode_piece
from processors.pipeline import Pipeline
from processors.silence import Mark, Marks, Silence, highest
from processors.start import Start
from processors.state_store import Loaded, StateStore
from schemas.codec import CodecError, Decoder, UnknownSchemaError
from schemas.records import DeadLetter, QualityEvent, RawFrames, Tick
from schemas.topics import DEAD_PROCESSOR
from tickerplant import metrics
from tickerplant.clock import NowUs, steady_us
from tickerplant.errors import TickerplantError, UserError
from tickerplant.tally import DeadLetterLimit

METRIC_STAGE: Final = "process"
US: Final = 1_000_000
LEASE_US: Final = 8 * US  # below the session: who was paused for longer than that does not go on as if nothing were
NAMED: Final = attrgetter("symbol", "asset_class")
UNTIMED: Final = frozenset({BACKFILL, CLOCK_STEP, PAST})
"""Flags of ticks whose exchange time tells no latency."""
K = TypeVar("K")


class OffsetError(TickerplantError):
    """Raw records were skipped, or are of another log than those before: going on would make the hole permanent."""


@dataclass(frozen=True)
class Captured:
    """A snapshot under way: the offset it is as of, its head, and the mark of the records up to it.

    `until_us` is by a clock that nobody sets.
    """

    next_offset: int
    head: bytes
    mark: dict[str, int]
    until_us: int


class Found(dict[K, Counted]):
    """Counters by labels, each found once: the library looks for one under a lock, for longer than it takes to add."""

    def __init__(self, find: Callable[[K], Counted]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: K) -> Counted:
        """Find it."""
        found = self[key] = self._find(key)
        return found


class Counts:
    """Metrics that are written to with each record of one raw partition; those of it show once there is one."""

    def __init__(self, topic: str, venue: str) -> None:
        self._topic, self._venue = topic, venue
        self.sent: Found[str] = Found(lambda name: metrics.SENT.labels(METRIC_STAGE, name))
        self.ticks: Found[tuple[str, str]] = Found(lambda named: metrics.TICKS.labels(venue, *named))
        self.seconds = metrics.BATCH_SECONDS.labels(METRIC_STAGE)
        # A counter that first shows as 1 was never seen to rise.
        self.dead_letters = metrics.DEAD_LETTERS.labels(METRIC_STAGE, venue)

    @cached_property
    def received(self) -> Counted:
        """Items."""
        return metrics.RECEIVED.labels(METRIC_STAGE, self._topic)

    @cached_property
    def received_bytes(self) -> Counted:
        """Bytes."""
        return metrics.RECEIVED_BYTES.labels(METRIC_STAGE, self._topic)

    @cached_property
    def latency(self) -> Histogram:
        """Seconds from socket to done."""
        return metrics.STAGE_LATENCY.labels(METRIC_STAGE, self._venue)


def outputs_of(loaded: Loaded) -> OutputsPiece | None:
    """Find how far the outputs had come as of a state; None = there is none, or it is of a program that kept none.

    Raises:
        StateError: it cannot be read.
    """
    head = loaded.pieces.get(HEAD)
    return None if head is None else decode_piece(HeadPiece, HEAD, head[-1]).outputs


class PartitionWorker:
    """Processes one raw partition and can tell its state.

    Args:
        decoder: of raw records.
        limit: of frames and records that cannot be used, at which `step` raises.
        takes_unknown_ids: records of an unknown schema id are dead letters, instead of an error.
        lease_us: for how long it may go on after a snapshot was taken, before the next one stands.
        steady_us: a clock that nobody sets, by which the lease is counted.
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
        limit: DeadLetterLimit,
        now_us: NowUs,
        steady_us: NowUs = steady_us,
        lease_us: int = LEASE_US,
        takes_unknown_ids: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.outputs = outputs
        self.captured_offset = 0  # up to which state was captured
        self.captured_pieces = 0  # of the last snapshot, so far
        self.clock_offset = ClockOffset()
        self.until_us = 0  # when it must wait for its next snapshot; 0 = none was written by this owner
        self._store = store
        self._decoder = decoder
        self._venue, self._topic, self._partition = venue, topic, partition
        self._limit = limit
        self._takes_unknown_ids = takes_unknown_ids
        self._now_us, self._steady_us, self._lease_us = now_us, steady_us, lease_us
        self._silence = Silence()
        self._counts = Counts(topic, venue)
        self._captured_us = 0
        self._expected_offset: int | None = None
        self._given_offset = -1  # of the last record that was given to us
        self.went_back = False  # a record came that is not above it: a repeat, or the topic was made anew
        self._captured: Captured | None = None
        self._is_whole = True  # False = the pipeline has taken in what was not sent: its state must not be kept

    @property
    def next_offset(self) -> int:
        """Offset of the raw record to be processed next, as far as state may be kept; 0 = nothing was processed."""
        return (self._expected_offset or 0) if self._is_whole else self.captured_offset

    @property
    def written(self) -> Marks:
        """What earlier owners have written of records that are to come; empty = nothing is left out any more."""
        return self._silence.marks

    @property
    def is_due(self) -> bool:
        """Tell whether a snapshot is wanted: something was processed, or the lease is to be renewed."""
        if not self._is_whole:
            return False
        return self.next_offset > self.captured_offset or self._steady_us() - self._captured_us > self._lease_us // 3

    @property
    def is_over(self) -> bool:
        """Tell whether it must wait for its next snapshot."""
        return self._steady_us() > self.until_us

    def resume(self, loaded: Loaded, written: Mapping[str, Mark] | None = None) -> None:
        """Go on from a loaded state, and leave out what was written since.

        Raises:
            StateError: it cannot be read.
        """
        for name, payloads in loaded.pieces.items():
            self.pipeline.restore(name, *payloads)
        self._store.resume(loaded)
        if loaded.next_offset:  # 0 = an owner ended before it processed anything: retention tells the first one
            self._expected_offset = self.captured_offset = loaded.next_offset
        head = outputs_of(loaded)
        self._silence = Silence(highest(head.written if head else {}, written or {}))
        self.pipeline.follow_written(self._silence.until)

    def start(self, start: Start, written: Mapping[str, Mark]) -> None:
        """Go on at another raw record than the state says, because those before are gone."""
        if start.loss is not None and start.offset is not None:
            self.pipeline.lose(start.offset, start.loss)
            self._expected_offset = start.offset
        if start.is_reborn:
            self.pipeline.touch_all()  # what is written of another life does not count
            self.captured_offset = -1  # a snapshot is due at once
            self._silence = Silence(written)

    def step(self, offset: int, value: bytes | None, timestamp_us: int) -> None:
        """Process one raw record, written to Kafka at a time; one that was processed before is skipped.

        Raises:
            OffsetError: records between the last one and this are missing.
            UserError: too many could not be used, or its schema id is unknown; the record was not taken then.
        """
        began_s = perf_counter()
        self.went_back = self.went_back or offset <= self._given_offset
        self._given_offset = offset
        if self._expected_offset is not None and offset != self._expected_offset:
            if offset < self._expected_offset:
                return
            raise OffsetError(f"{self._topic}:{self._partition} jumps from {self._expected_offset} to {offset}")
        was_reached = self._limit.is_reached(self.pipeline.tally)
        raw, batch = self._processed(offset, value or b"", timestamp_us)
        reached = self._reached(batch)
        if reached and was_reached:
            raise UserError(reached)
        if self._silence:
            batch = self._left(batch)
        sent = self.outputs.send(batch)
        self._expected_offset, self._is_whole = offset + 1, True
        self._count(raw, batch, sent, value or b"")
        self._counts.seconds.observe(perf_counter() - began_s)
        if reached:
            raise UserError(reached)

    def capture(self) -> Captured:
        """Begin a snapshot of the state as it is now, or go on with one that was begun and has no head yet.

        Records may be processed until `write_pieces` is through with it: it stays as of now.
        """
        if self._captured is None:
            self.pipeline.freeze()
            self.captured_pieces = 0
            self._captured_us, now_us = self._steady_us(), self._now_us()
            ends = self.outputs.ends()
            head = self.pipeline.head(OutputsPiece(now_us, now_us + self._lease_us, ends, self.written))
            until_us = self._captured_us + self._lease_us
            self._captured = Captured(self.next_offset, head, self.outputs.mark(), until_us)
        return self._captured

    def write_pieces(self, captured: Captured, budget_s: float) -> int:
        """Queue pieces of a snapshot for about so long; returns how many bytes they have, 0 = there are no more."""
        ends_s = perf_counter() + budget_s
        written_bytes = 0
        while (piece := self.pipeline.next_piece()) is not None:
            self._store.write(piece, captured.next_offset)
            self.captured_pieces += 1
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

    def stands(self, captured: Captured) -> None:
        """Go on for another while, now that a snapshot is delivered."""
        self.until_us = captured.until_us

    def clean(self) -> None:
        """Delete state that does not count any more; only once a snapshot stands, and the partition is ours since."""
        self._store.clean()

    def _left(self, batch: Batch) -> Batch:
        rest = self._silence.rest(batch)
        metrics.LEFT_OUT.labels(METRIC_STAGE).inc(len(batch.records) - len(rest.records))
        return rest

    def _processed(self, offset: int, value: bytes, timestamp_us: int) -> tuple[RawFrames | None, Batch]:
        raw = None
        try:
            raw = self._decoder.decode(value)
            self._is_whole = False  # until what it gives is sent
            batch = self.pipeline.process(offset, raw)
        except UnknownSchemaError as error:
            if not self._takes_unknown_ids:
                raise UserError(self._unknown_id(offset, error)) from None
            batch = self._bad_record(offset, value, timestamp_us, str(error))
        except (CodecError, FrameError) as error:
            batch = self._bad_record(offset, value, timestamp_us, str(error))
        return raw, batch

    def _unknown_id(self, offset: int, error: UnknownSchemaError) -> str:
        place = f"{self._topic}:{self._partition} offset {offset}"
        help_text = 'registry.unknown_id = "dead_letter" would pass over such records'
        return f"{place}: {error} Its subject would be {self._topic}-value; {help_text}"

    def _bad_record(self, offset: int, value: bytes, timestamp_us: int, reason: str) -> Batch:
        self._is_whole = False
        return self.pipeline.bury(offset, value, timestamp_us, reason)

    def _reached(self, batch: Batch) -> str:
        """Tell why to stop; "" = the limit is not reached, or not by this batch."""
        if not self._limit.is_reached(self.pipeline.tally):
            return ""
        reasons = [record.reason for record in batch.records if isinstance(record, DeadLetter)]
        if not reasons:
            return ""
        why = self._limit.reason(self.pipeline.tally, "frames", "processor")
        return f"{why}; the last at {self._topic}:{self._partition} offset {batch.offset}: {reasons[-1]}"

    def _count(self, raw: RawFrames | None, batch: Batch, sent: Counter[str], value: bytes) -> None:
        counts, frames = self._counts, raw.frames if raw is not None else []
        counts.received.inc(len(frames) if raw is not None else 1)
        counts.received_bytes.inc(len(value))
        for topic, count in sent.items():
            counts.sent[topic].inc(count)
        if sent[DEAD_PROCESSOR.name]:
            counts.dead_letters.inc(sent[DEAD_PROCESSOR.name])
        if batch.redundant:
            metrics.REDUNDANT.labels(self._venue).inc(sum(batch.redundant.values()))
        for frame in {id(each): each for each in (*frames[:1], *frames[-1:])}.values():
            counts.latency.observe((self._now_us() - frame.recv_time_us) / US)
        self._count_records(batch)

    def _count_records(self, batch: Batch) -> None:
        ticks = [each for each in batch.records if type(each) is Tick]
        if len(ticks) < len(batch.records):
            for event in batch.records:
                if isinstance(event, QualityEvent):
                    metrics.QUALITY.labels(self._venue, event.kind).inc(event.count)
        named, counters = Counter(map(NAMED, ticks)), self._counts.ticks
        for names, count in named.items():
            counters[names].inc(count)
        timed = [each for each in ticks if each.exchange_time_us]
        if flagged := [each.flags for each in ticks if each.flags]:
            for flag, count in Counter(",".join(flagged).split(",")).items():
                metrics.FLAGGED.labels(self._venue, flag).inc(count)
            timed = [each for each in timed if not each.flags or UNTIMED.isdisjoint(each.flags.split(","))]
        for asset_class in dict.fromkeys(asset_class for _, asset_class in named):
            if found := [each for each in timed if each.asset_class == asset_class]:
                observe_ticks(self._venue, asset_class, found, self.clock_offset)
