"""`tickerplant checkpoint`: the newest state of every raw partition → the lake, each hour; processors lose no time."""

import signal
import time
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

from processors.errors import StateError
from processors.pieces import HEAD, HeadPiece, decode_piece
from processors.state_store import LOAD_GROUP, Loaded, StateDamagedError, StateReadError, damaged, load_each
from schemas.codec import CodecError, Decoder
from schemas.records import RawFrames, State
from schemas.topics import STATE, raw_topic
from schemas.venues import SYMBOLOGIES
from sinks.store import StoreBusyError
from tickerplant import metrics
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import KAFKA, OBJECT_STORE, Health, watched
from tickerplant.kafka import KafkaException, OffsetReader, TopicPartition, consumer
from tickerplant.logs import logger
from tickerplant.registry import Registry
from tickerplant.replay import checkpoint
from tickerplant.replay.checkpoint import Checkpoint
from tickerplant.replay.lake import Lake
from tickerplant.settings import Settings

ROLE: Final = "checkpoint"
BEAT_S: Final = 1.0
AGAIN_S: Final = 30.0
READ_S: Final = 10.0
DAMAGED: Final = "damaged_state"
AWAY: Final = (DependencyError, StateReadError, StoreBusyError)


@dataclass
class Kept:
    """What became of the states of raw partitions.

    Args:
        written: topic, partition, offset, event time and number of pieces of each checkpoint.
        damaged: why there is none of a partition; the others are not concerned.
    """

    written: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[StateDamagedError] = field(default_factory=list)


def run(settings: Settings, *, stop: Event | None = None) -> None:
    """Keep checkpoints until SIGTERM, SIGINT or `stop`; blocks. What is away is asked again half a minute later.

    Raises:
        UserError: the metrics port is in use, or a server refuses us.
    """
    stopping = stop or Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    health = Health(ROLE, is_patient=True)
    metrics.ERRORS.labels(ROLE, KAFKA)  # a counter that first shows as 1 was never seen to rise
    with watched(settings, health, {}):
        health.works()
        due_s = time.monotonic()
        while not stopping.wait(BEAT_S):
            health.beat()
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + (settings.processor.checkpoint_s if _keep(settings, health) else AGAIN_S)


def _keep(settings: Settings, health: Health) -> bool:
    """Write checkpoints; False = something is away."""
    try:
        kept = keep(settings)
    except AWAY as error:
        missing = OBJECT_STORE if isinstance(error, StoreBusyError) else KAFKA
        metrics.ERRORS.labels(ROLE, missing).inc()
        health.down(missing, str(error))
        return False
    for dependency in (KAFKA, OBJECT_STORE):
        health.up(dependency)
    for each in kept.damaged:  # the processor that wrote it runs, or will say so itself
        metrics.ERRORS.labels(ROLE, DAMAGED).inc()
        logger().error("no checkpoint", reason=str(each))
    logger().info("checkpoints written", count=len(kept.written))
    return True


def keep_once(settings: Settings) -> Kept:
    """Write checkpoints as `keep`; what is away is told as a mistake that can be mended."""
    try:
        return keep(settings)
    except (StateReadError, StoreBusyError) as error:
        raise UserError(f"no checkpoint: {error}") from error


def keep(settings: Settings) -> Kept:
    """Write the newest state of each raw partition that has moved since its last checkpoint, unless it is damaged.

    Raises:
        StateReadError: the state cannot be read.
        StoreBusyError: the lake does not take it now.
        DependencyError: a server does not answer.
        UserError: a server refuses us.
    """
    existing, lives = _topics(settings)
    suffix = settings.kafka.topic_suffix
    if STATE.name + suffix not in existing:
        raise UserError(f"topic {STATE.name}{suffix} does not exist: run `tickerplant deploy`")
    registry, lake = Registry(settings), Lake(settings.object_store)
    states, frames = registry.decoder(State), registry.decoder(RawFrames)
    counts = {name: existing.get(name + suffix, 0) for name in (raw_topic(venue).name for venue in SYMBOLOGIES)}
    kept = Kept()
    for partition in range(max(counts.values(), default=0)):
        names = sorted(name for name, count in counts.items() if partition < count)
        for name, loaded in load_each(settings, states, names, partition).items():
            try:
                written = _keep_partition(settings, lake, frames, ((name, partition), lives[name + suffix]), loaded)
            except StateDamagedError as error:
                kept.damaged.append(error)
            else:
                kept.written += written
    return kept


def _topics(settings: Settings) -> tuple[dict[str, int], dict[str, str]]:
    """Ask for the partitions of all topics, and for the lives of the raw ones."""
    with closing(OffsetReader(settings)) as reader:
        existing = reader.partitions()
        raw = [raw_topic(venue).name + settings.kafka.topic_suffix for venue in SYMBOLOGIES]
        return existing, reader.lives(name for name in raw if name in existing)


def _keep_partition(
    settings: Settings,
    lake: Lake,
    decoder: Decoder[RawFrames],
    log: tuple[tuple[str, int], str],
    loaded: Loaded | StateDamagedError,
) -> list[dict[str, Any]]:
    """Write the checkpoint of a raw partition (topic and number, and its life); [] = there is nothing new.

    Raises:
        StateDamagedError: its state is damaged.
    """
    if isinstance(loaded, StateDamagedError):
        raise loaded
    (topic, partition), life = log
    known = {(each.next_offset, each.life) for each in checkpoint.places(lake, topic, partition)}
    is_of_before = loaded.life not in {"", life}  # the processor does not know yet that the topic was made anew
    if not loaded.next_offset or (loaded.next_offset, loaded.life) in known or is_of_before:
        return []
    time_us = _event_time_us(settings, decoder, log[0], loaded)
    found = Checkpoint(
        topic=topic,
        partition=partition,
        next_offset=loaded.next_offset,
        event_time_us=time_us,
        pieces=loaded.pieces,
        life=loaded.life,
    )
    checkpoint.write(lake, found)
    told = {
        "topic": topic,
        "partition": partition,
        "next_offset": found.next_offset,
        "event_time_us": time_us,
        "pieces": len(found.pieces),
    }
    return [told]


def _event_time_us(settings: Settings, decoder: Decoder[RawFrames], place: tuple[str, int], loaded: Loaded) -> int:
    """Ask when the last raw record of a state was taken in; for one that cannot be read, when it was written.

    Where it is past its retention, the state tells of the last one that could be read.

    Raises:
        DependencyError: it cannot be asked.
    """
    offset = loaded.next_offset - 1
    where = TopicPartition(place[0] + settings.kafka.topic_suffix, place[1], offset)
    address = settings.kafka.bootstrap_servers
    with closing(consumer(settings, LOAD_GROUP)) as client:
        try:
            if offset < client.get_watermark_offsets(where, timeout=READ_S)[0]:
                return _head_time_us(loaded, *place)
            client.assign([where])
            messages = [each for each in client.consume(1, READ_S) if each.error() is None]
        except KafkaException as error:
            raise DependencyError(KAFKA, address, str(error.args[0])) from error
    if not messages:
        raise DependencyError(KAFKA, address, f"{where.topic}:{where.partition} offset {offset} cannot be read")
    value = messages[0].value()
    try:
        return decoder.decode(value if isinstance(value, bytes) else b"").event_time_us
    except CodecError:
        return messages[0].timestamp()[1] * 1000


def _head_time_us(loaded: Loaded, topic: str, partition: int) -> int:
    try:
        return decode_piece(HeadPiece, HEAD, loaded.pieces[HEAD][-1]).event_time_us
    except StateError as error:
        raise damaged(str(error), topic, partition) from error
