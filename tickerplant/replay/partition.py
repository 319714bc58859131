"""Replay of one raw partition, in a process of its own: raw records through the live pipeline, what is wanted out."""

import gc
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from processors.batch import Batch
from processors.errors import FrameError, StateError
from processors.outputs import Encoders, Outputs
from processors.pieces import LossPiece
from processors.pipeline import Pipeline
from processors.start import NOT_KEPT
from schemas.records import RawFrames
from schemas.topics import CLEANED, raw_topic
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.kafka import Consumer, Publisher, TopicPartition, consumer
from tickerplant.once import source_of
from tickerplant.registry import Registry
from tickerplant.replay import checkpoint
from tickerplant.replay.lake import Lake
from tickerplant.replay.selection import Marks, Selection
from tickerplant.replay.source import GROUP, ArchiveObjects, ArchiveSource, Order, Taken, TopicSource
from tickerplant.replay.wish import Wish
from tickerplant.settings import Settings

LINGER_MS: Final = 20.0
FLUSH_S: Final = 600.0
TELL_RECORDS: Final = 64
FORGET_RECORDS: Final = 16_384
TIMEOUT_S: Final = 10.0
GC_ALLOCATIONS: Final = 50_000

Tell = Callable[[int, int], None]
"""Told now and then: offsets done, and frames."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One raw partition to replay.

    Args:
        live, replay: settings to read under, and to write under.
        source: raw topic with its life, as the sources of records name it.
        partition_count: of the raw topic.
        place: the checkpoint to start at; None = from `start` with empty state.
        checkpoint_root: of the lake that holds it; None = the one of the settings.
        start, end: first raw offset to read, and the one after the last.
        objects: of the raw archive; None = the topic is read.
    """

    wish: Wish
    live: Settings
    replay: Settings
    source: str
    partition: int
    partition_count: int
    start: int
    end: int
    place: checkpoint.Place | None = None
    checkpoint_root: str | None = None
    objects: ArchiveObjects | None = None
    is_resumed: bool = False


@dataclass
class Done:
    """What became of a task.

    Args:
        frames: that were processed; `covered`: raw records within the range, or with records that are.
        symbols: canonical symbols of what was written.
        gaps: raw records that were missing, first and last of each range; `missing`: how many.
        error: why it ended early; empty = it did not.
    """

    partition: int
    frames: int = 0
    covered: int = 0
    records: int = 0
    missing: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    symbols: set[str] = field(default_factory=set)
    error: str = ""


def replay_partition(task: Task, tell: Tell) -> Done:
    """Replay one partition; blocks until all is with the broker.

    Errors of ours are told in the answer: they have to pass from one process to another.
    """
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 100)
    done = Done(task.partition)
    try:
        _replay(task, tell, done)
    except TickerplantError as error:
        done.error = str(error)
    return done


def _replay(task: Task, tell: Tell, done: Done) -> None:
    pipeline = _pipeline(task)
    order = Order(f"{task.wish.topic}:{task.partition}", task.start, allow_gaps=task.wish.allow_gaps)
    registry = Registry(task.replay)
    publisher = Publisher(task.replay, linger_ms=LINGER_MS)
    outputs = Outputs(publisher, Encoders(registry), topic=task.source, partition=task.partition)
    selection = Selection(
        from_us=task.wish.from_us,
        to_us=task.wish.to_us,
        symbols=task.wish.symbols,
        marks=written_marks(task.replay, task.partition, task.source) if task.is_resumed else {},
    )
    encode = registry.encoder(raw_topic(task.wish.venue), RawFrames).encode
    for taken in _source(task, order):
        gap = order.take_gap()
        if gap is not None:
            pipeline.lose(taken.offset, LossPiece(*gap, NOT_KEPT))
            done.gaps.append(gap)
        batch = process(pipeline, taken, encode)
        done.frames += len(taken.raw.frames) if taken.raw is not None else 0
        wanted = selection.of(batch)
        if wanted.records or selection.covers(batch.event_time_us):
            done.covered += 1
            outputs.send(wanted)
            done.records += len(wanted.records)
            done.symbols.update(getattr(each, "symbol", "") for each in wanted.records)
        publisher.poll()
        if taken.offset % TELL_RECORDS == 0:
            tell(taken.offset + 1 - task.start, done.frames)
        if taken.offset % FORGET_RECORDS == 0:
            pipeline.changed_states()  # kept for snapshots, of which there are none here
    done.missing = order.missing
    if publisher.flush(FLUSH_S):
        raise DependencyError("kafka", task.replay.kafka.bootstrap_servers, "it does not take what is replayed")
    tell(task.end - task.start, done.frames)


def _pipeline(task: Task) -> Pipeline:
    """Make the pipeline as the live processor does, with the state of the checkpoint."""
    pipeline = Pipeline(
        task.wish.venue,
        task.source,
        task.partition,
        partition_count=task.partition_count,
        keyframe_us=int(task.live.processor.keyframe_s * 1_000_000),
        windows_s=task.live.features.in_force,
        follows_trades=task.live.processor.follows_trades,
    )
    if task.place is not None:
        lake = Lake(task.live.object_store, task.checkpoint_root)
        found = checkpoint.read(lake, task.wish.topic, task.partition, task.place)
        try:
            for name, payloads in found.loaded().pieces.items():
                pipeline.restore(name, *payloads)
        except StateError as error:
            raise UserError(
                f"checkpoint {task.place.name} cannot be used: {error}; remove it to use the one before"
            ) from error
    return pipeline


def _source(task: Task, order: Order) -> Iterable[Taken]:
    if task.objects is None:
        return TopicSource(task.live, task.wish.topic, task.partition, task.start, task.end, order)
    return ArchiveSource(task.objects, task.partition, task.start, task.end, order)


def process(pipeline: Pipeline, taken: Taken, encode: Callable[[RawFrames], bytes]) -> Batch:
    """Process a raw record as the live processor does, those that cannot be used included."""
    if taken.raw is None:
        reason, value = taken.reason, taken.value
    else:
        try:
            return pipeline.process(taken.offset, taken.raw)
        except FrameError as error:
            reason, value = str(error), taken.value or encode(taken.raw)
    return pipeline.bury(taken.offset, value, taken.written_us, reason)


def written_marks(settings: Settings, partition: int, source: str) -> Marks:
    """Ask how far an earlier run of a replay came: the last source of each of its topics.

    Raises:
        UserError: they were made of another raw topic, or of another life of it, than `source`.
    """
    with closing(consumer(settings, GROUP)) as client:
        found = {
            topic.name: _last_source(client, topic.name + settings.kafka.topic_suffix, partition, source)
            for topic in CLEANED
        }
    return {name: mark for name, mark in found.items() if mark is not None}


def _last_source(client: Consumer, name: str, partition: int, topic: str) -> tuple[int, int] | None:
    place = TopicPartition(name, partition)
    first, end = client.get_watermark_offsets(place, timeout=TIMEOUT_S)
    if first == end:
        return None
    client.assign([TopicPartition(name, partition, end - 1)])
    for message in client.consume(1, TIMEOUT_S):
        source = source_of(message.headers())
        if message.error() is None and source is not None:
            if source.topic != topic:
                raise UserError(f"{name} was made of {source.topic}, not of {topic}: --again drops it first")
            return source.offset, source.index
    raise DependencyError("kafka", name, "the last record of an earlier run cannot be read")
