"""The second stage as a role: `cleaned.tick` of all venues in, DIVERGENCE in `quality.event` out, each once.

What is told carries the tick that ended its minute as its source, so ids follow from the log. The position that is
kept is where the next owner has to begin to tell the minutes that come; what was told since is found in the output.
"""

import signal
from collections.abc import Iterable
from contextlib import closing
from threading import Event
from typing import Final

from processors.comparison import KIND, Comparison, Resume
from processors.divergence import band_of
from processors.silence import NOTHING, Mark
from processors.written import Written, read_spans
from schemas.codec import CodecError
from schemas.records import QualityEvent, Tick
from schemas.topics import QUALITY, TICK
from schemas.venues import SYMBOLOGIES
from tickerplant import metrics
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import Health, watched
from tickerplant.kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Publisher,
    TopicPartition,
    cached_end,
    consumer,
    end_offsets,
    partition_count,
    refusal,
    settled,
    source_name,
)
from tickerplant.logs import logger
from tickerplant.probes import common_probes
from tickerplant.progress import Progress
from tickerplant.registry import Registry
from tickerplant.settings import Settings

ROLE: Final = "compare"
GROUP: Final = "tickerplant.compare"
POLL_RECORDS: Final = 1000
POLL_S: Final = 0.2
FLUSH_S: Final = 5.0
TIMEOUT_S: Final = 10.0
PASSING: Final = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}  # noqa: SLF001  # the library's own errors all start so
)


def run(settings: Settings, *, stop: Event | None = None, is_patient: bool = False) -> None:
    """Compare venues until SIGTERM, SIGINT or `stop`; blocks.

    Args:
        is_patient: wait for servers as long as they are away, instead of raising.

    Raises:
        UserError: topics or schemas are missing, the broker refuses us, a record cannot be read.
        DependencyError: broker or registry does not answer.
    """
    stopping = stop or Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    health = Health(ROLE, is_patient=is_patient)
    health.starts()
    for venue in SYMBOLOGIES:
        metrics.QUALITY.labels(venue.upper(), KIND)  # a counter that first shows as 1 was never seen to rise
    with watched(settings, health, common_probes(settings)), closing(Stage(settings)) as stage:
        logger().info("comparison started", partitions=len(stage.comparisons))
        health.works()
        while not stopping.is_set():
            health.beat()
            stage.turn()
        logger().info("comparison stopped")


class Stage:
    """All partitions of `cleaned.tick`, read from where they were left, or from their ends.

    One process is enough, and two do no harm: they tell the same under the same ids, of which readers take one.

    Raises:
        UserError, DependencyError: as `run`; each method, too.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._suffix = settings.kafka.topic_suffix
        count = partition_count(settings, TICK.name)
        self._source = source_name(settings, TICK.name)
        registry = Registry(settings)
        self._decoder = registry.decoder(Tick)
        self._encoder = registry.encoder(QUALITY, QualityEvent)
        self._publisher = Publisher(settings)
        self._client: Consumer = consumer(settings, GROUP + self._suffix)
        self._written: dict[int, Mark] = {}  # highest id that was told before, by partition
        self._kept: dict[int, Resume] = {}
        self._progress: dict[int, Progress] = {}
        self.comparisons: dict[int, Comparison] = {}
        try:
            self._open(count)
        except KafkaException as error:
            self.close()
            raise self._failed(error) from error
        except (UserError, DependencyError):
            self.close()
            raise

    def turn(self) -> None:
        """Take in what has come, for a fraction of a second; keep the position where a minute has ended."""
        messages = self._client.consume(POLL_RECORDS, POLL_S)
        for message in messages:
            error = message.error()
            if error is None:
                self._take(message)
            elif error.code() not in PASSING:
                raise refusal(self._settings, error) or UserError(f"Kafka refuses {TICK.name}: {error.str()}")
        metrics.RECEIVED.labels(ROLE, TICK.name).inc(len(messages))
        for number, progress in self._progress.items():
            progress.hear(cached_end(self._client, TICK.name + self._suffix, number))
        self._publisher.poll()
        moved = {
            number: each.resume
            for number, each in self.comparisons.items()
            if each.resume is not None and each.resume != self._kept.get(number)
        }
        if moved:
            self._keep(moved)

    def close(self) -> None:
        """Let go of the connections; what is not kept is told again, and left out."""
        self._publisher.flush(FLUSH_S)
        self._client.close()
        for progress in self._progress.values():
            progress.close()

    def _open(self, count: int) -> None:
        places = [TopicPartition(TICK.name + self._suffix, number) for number in range(count)]
        kept = settled(lambda: self._client.committed(places, timeout=TIMEOUT_S))
        ends = end_offsets(self._client, places)
        told = {each.partition: read_metadata(each.metadata) for each in kept if each.offset >= 0}
        self._written = self._find_written({number: end for number, (_, end) in told.items()})
        band = band_of(self._settings.divergence)
        starts = []
        for each in kept:
            told_offset = told[each.partition][0] if each.offset >= 0 else -1
            self.comparisons[each.partition] = Comparison(self._source, each.partition, band, told_offset)
            offset = each.offset if each.offset >= 0 else ends[each.topic, each.partition]
            starts.append(TopicPartition(each.topic, each.partition, offset))
            progress = self._progress[each.partition] = Progress(ROLE, each.topic, each.partition)
            progress.next_offset = offset
            progress.hear(ends[each.topic, each.partition])
        self._client.assign(starts)

    def _find_written(self, since: dict[int, int]) -> dict[int, Mark]:
        """Find what was told after the kept positions."""
        topic = QUALITY.name + self._suffix
        places = [TopicPartition(topic, number) for number in since]
        ends = end_offsets(self._client, places)
        spans = {
            (topic, number): [(start, ends[topic, number])]
            for number, start in since.items()
            if start < ends[topic, number]
        }
        found = Written(marks={(self._source, number): {} for number in since})
        if spans:
            with closing(consumer(self._settings, GROUP + self._suffix, **{"enable.partition.eof": True})) as client:
                for _, source in read_spans(client, spans):
                    found.note(QUALITY.name, source)
        return {number: found.marks[self._source, number].get(QUALITY.name, NOTHING) for number in since}

    def _take(self, message: Message) -> None:
        number, offset, value = message.partition() or 0, message.offset() or 0, message.value()
        try:
            tick = self._decoder.decode(value if isinstance(value, bytes) else b"")
        except CodecError as error:
            raise UserError(f"{TICK.name} [{number}] offset {offset} cannot be read: {error}") from error
        progress = self._progress[number]
        progress.next_offset, progress.written_us = offset + 1, message.timestamp()[1] * 1000
        self._tell(number, self.comparisons[number].take(offset, tick))

    def _tell(self, number: int, events: Iterable[QualityEvent]) -> None:
        for event in events:
            if (event.source_offset, event.source_index) <= self._written.get(number, NOTHING):
                continue
            source = f"{event.source_topic}:{number}:{event.source_offset}:{event.source_index}"
            key = f"{event.venue}|{event.symbol}".encode()
            self._publisher.send(QUALITY.name, number, key, self._encoder.encode(event), [("source", source.encode())])
            metrics.QUALITY.labels(event.venue, KIND).inc(event.count)
            metrics.SENT.labels(ROLE, QUALITY.name).inc()

    def _keep(self, moved: dict[int, Resume]) -> None:
        """Keep positions once all that was told is with the broker; tried again at the next turn where it is not."""
        if self._publisher.flush(FLUSH_S):
            return
        try:
            ends = end_offsets(self._client, [TopicPartition(QUALITY.name + self._suffix, number) for number in moved])
            self._client.commit(
                offsets=[
                    TopicPartition(
                        TICK.name + self._suffix,
                        number,
                        each.offset,
                        metadata_of(each.told_offset, ends[QUALITY.name + self._suffix, number]),
                    )
                    for number, each in moved.items()
                ],
                asynchronous=False,
            )
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                raise self._failed(error) from error
            logger().warning("position not kept", reason=error.args[0].str())
        else:
            self._kept |= moved

    def _failed(self, error: KafkaException) -> UserError | DependencyError:
        reason = error.args[0]
        address = self._settings.kafka.bootstrap_servers
        return refusal(self._settings, reason) or DependencyError("kafka", address, reason.str())


def metadata_of(told_offset: int, end: int) -> str:
    """Write what is kept beside a position: up to which tick minutes are told, and where the output ended then."""
    return f"{told_offset}:{end}"


def read_metadata(text: str | None) -> tuple[int, int]:
    """Read what `metadata_of` wrote.

    >>> read_metadata(metadata_of(7, 120))
    (7, 120)

    Raises:
        UserError: it is none of ours.
    """
    try:
        told_offset, end = (text or "").split(":")
        return int(told_offset), int(end)
    except ValueError:
        raise UserError(f"group {GROUP} is somebody else's: its positions say {text!r}") from None
