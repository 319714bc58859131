"""Raw records of one partition in order: from the topic, or from the raw archive."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pyarrow as pa

from schemas.arrow import ArchiveError, raw_frames
from schemas.codec import CodecError, Decoder
from schemas.records import RawFrames
from sinks.tables import RAW
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import KafkaException, TopicPartition, consumer
from tickerplant.registry import Registry
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import read_name
from tickerplant.settings import Settings

GROUP: Final = "tickerplant.replay"  # names the connections; nothing is committed
POLL_RECORDS: Final = 500
POLL_S: Final = 0.2
SILENCE_S: Final = 30.0
DAY_US: Final = 24 * 3600 * 1_000_000
HOUR_US: Final = 3600 * 1_000_000
FETCH: Final = {"queued.max.messages.kbytes": 32 * 1024, "fetch.message.max.bytes": 4 * 1024 * 1024}


class Taken(NamedTuple):
    """A raw record; `raw` None = it could not be read, for `reason`, and `value` are its bytes."""

    offset: int
    written_us: int
    raw: RawFrames | None
    value: bytes = b""
    reason: str = ""


class GapError(UserError):
    """Raw records are missing."""


class Order:
    """Makes sure that no offset is missing."""

    def __init__(self, place: str, next_offset: int, *, allow_gaps: bool) -> None:
        self._place, self._next, self._allows = place, next_offset, allow_gaps
        self.missing = 0
        self._gap: tuple[int, int] | None = None

    def expect(self, start: int, end: int) -> None:
        """Note that offsets from `start` to `end`, both included, are there.

        Raises:
            GapError: those before are not, and that is not allowed.
        """
        if start > self._next:
            if not self._allows:
                gap = f"offsets {self._next} to {start - 1} of {self._place} are missing"
                raise GapError(f"{gap}: what follows would not be that of the live run; --allow-gaps goes on")
            self.missing += start - self._next
            self._gap = (self._next, start - 1)
        self._next = max(self._next, end + 1)

    def take_gap(self) -> tuple[int, int] | None:
        """Tell, once, which offsets are missing before the record at hand, first and last; None = none are."""
        gap, self._gap = self._gap, None
        return gap


@dataclass
class TopicSource:
    """Reads a partition of the raw topic, offsets from `start` up to and without `end`."""

    settings: Settings
    topic: str
    partition: int
    start: int
    end: int
    order: Order

    def __iter__(self) -> Iterator[Taken]:
        """Read; raises GapError, DependencyError where nothing comes for half a minute."""
        decoder: Decoder[RawFrames] = Registry(self.settings).decoder(RawFrames)
        name = self.topic + self.settings.kafka.topic_suffix
        client = consumer(self.settings, GROUP, **FETCH)
        try:
            client.assign([TopicPartition(name, self.partition, self.start)])
            position, heard_s = self.start, time.monotonic()
            while position < self.end:
                messages = client.consume(POLL_RECORDS, POLL_S)
                for message in messages:
                    if message.error() is not None:
                        continue  # what matters ends in silence
                    offset, value = message.offset() or 0, message.value()
                    if offset >= self.end:
                        return
                    self.order.expect(offset, offset)
                    position, heard_s = offset + 1, time.monotonic()
                    yield _decoded(decoder, offset, message.timestamp()[1] * 1000, value)
                if time.monotonic() - heard_s > SILENCE_S:
                    raise DependencyError("kafka", self.settings.kafka.bootstrap_servers, f"no more of {name} comes")
        except KafkaException as error:
            raise DependencyError("kafka", self.settings.kafka.bootstrap_servers, str(error.args[0])) from error
        finally:
            client.close()


def _decoded(decoder: Decoder[RawFrames], offset: int, written_us: int, value: bytes | str | None) -> Taken:
    content = value if isinstance(value, bytes) else b""
    try:
        return Taken(offset, written_us, decoder.decode(content), content)
    except CodecError as error:
        return Taken(offset, written_us, None, content, str(error))


@dataclass(frozen=True, order=True)
class Span:
    """The raw records of one object: offsets, both included, and the life of the topic that it belongs to."""

    start: int
    end: int
    life: str


@dataclass
class ArchiveObjects:
    """The objects of one raw partition, by span; the records of a span may lie in those of two days."""

    lake: Lake
    paths: dict[Span, list[str]] = field(default_factory=dict)

    @property
    def spans(self) -> list[Span]:
        """All spans, in order of offsets."""
        return sorted(self.paths)


def find_objects(
    lake: Lake, topic: str, venue: str, times_us: tuple[int, int], life: str | None = None
) -> dict[int, ArchiveObjects]:
    """Find the objects of a raw topic (full name) by partition, those of the days that matter.

    Args:
        times_us: first instant, and first one after the range.
        life: of the topic; None = any.

    Raises:
        UserError: there is no raw archive of this venue.
    """
    base = f"{RAW.folder}/venue={venue}"
    days = lake.names(base)
    if not days:
        raise UserError(f"there is no raw archive of {venue.lower()} at {lake.root}/{base}")
    first, last = f"date={_day(times_us[0] - HOUR_US)}", f"date={_day(times_us[1] + HOUR_US)}"
    found: dict[int, ArchiveObjects] = {}
    for day in days:
        if first <= day <= last:
            for text in lake.names(f"{base}/{day}"):
                name = read_name(text)
                if name and name.topic == topic and life in {None, name.life}:
                    objects = found.setdefault(name.partition, ArchiveObjects(lake))
                    objects.paths.setdefault(Span(name.start, name.end, name.life), []).append(f"{base}/{day}/{text}")
    return found


def choose_life(found: dict[int, ArchiveObjects], topic: str, wanted: str | None) -> str:
    """Tell which life of a topic to replay; wanted None = the only one there is; "" = an older program named none.

    Raises:
        UserError: it is not there, or there are several.
    """
    lives = sorted({span.life for objects in found.values() for span in objects.paths})
    if wanted is not None and wanted not in lives:
        raise UserError(f"the archive holds no topic {topic} of the life {wanted}; there are {', '.join(lives)}")
    if wanted is None and len(lives) > 1:
        raise UserError(
            f"the archive holds several topics that were called {topic}, whose offsets overlap: "
            f"choose one by --life, of {', '.join(lives)}"
        )
    return wanted if wanted is not None else next(iter(lives), "")


def _day(time_us: int) -> str:
    """UTC day of a time; what lies beyond the calendar is its first or last day."""
    bounded_us = min(max(time_us, 0), 253_402_300_799_000_000)
    return f"{datetime.fromtimestamp(bounded_us / 1_000_000, UTC):%Y-%m-%d}"


@dataclass
class ArchiveSource:
    """Reads a partition of the raw archive, offsets from `start` up to and without `end`, one object at a time."""

    objects: ArchiveObjects
    partition: int
    start: int
    end: int
    order: Order

    def __iter__(self) -> Iterator[Taken]:
        """Read, and fetch the next object meanwhile; raises GapError, UserError where an object is no raw archive."""
        spans = [each for each in self.objects.spans if each.end >= self.start and each.start < self.end]
        with ThreadPoolExecutor(1, "archive") as pool:
            ahead = [pool.submit(self._table, each) for each in spans[:1]]
            for number, span in enumerate(spans):
                self.order.expect(span.start, span.end)
                table = ahead.pop().result()
                ahead = [pool.submit(self._table, each) for each in spans[number + 1 : number + 2]]
                yield from self._records(span, table)

    def _table(self, span: Span) -> pa.Table:
        return pa.concat_tables([self._rows(path) for path in sorted(self.objects.paths[span])])

    def _records(self, span: Span, table: pa.Table) -> Iterator[Taken]:
        try:
            for archived in raw_frames(table):
                if self.start <= archived.offset < self.end:
                    yield Taken(archived.offset, archived.record.event_time_us, archived.record)
        except ArchiveError as error:
            raise UserError(f"{self.objects.lake.root}/{min(self.objects.paths[span])}: {error}") from error

    def _rows(self, path: str) -> pa.Table:
        table = self.objects.lake.read_table(path)
        venue = path.partition("venue=")[2].partition("/")[0]
        return table.append_column("venue", pa.array([venue] * table.num_rows, pa.string()))


def by_partition(objects: dict[int, ArchiveObjects]) -> dict[int, tuple[int, int]]:
    """Tell first offset, and the one after the last, of each partition of an archive."""
    return {number: (each.spans[0].start, max(span.end for span in each.spans) + 1) for number, each in objects.items()}
