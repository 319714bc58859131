"""What topics and stores of a pipeline hold, id by id, and what raw records give to a pipeline that never ends."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from processors.pipeline import Pipeline
from schemas.codec import Encoder
from schemas.records import Bar, Depth, Derived, QualityEvent, RawFrames, Signal, Source, Tick
from schemas.topics import BY_RECORD, raw_topic
from sinks.tables import table_of
from tickerplant.demo.ids import Ids, cleaned_ids, clickhouse_ids, frame_ids, messages, parquet_ids
from tickerplant.demo.stores import clickhouse
from tickerplant.kafka import partition_count, source_name
from tickerplant.once import Once, source_of
from tickerplant.registry import Registry
from tickerplant.settings import Settings

SHAPES: tuple[type[Derived], ...] = (Tick, Depth, Bar, Signal, QualityEvent)
RAW = raw_topic("binance").name
STORES = ("clickhouse", "clickhouse FINAL", "parquet")


def read(settings: Settings) -> tuple[dict[str, Ids], dict[str, int]]:
    """Read the ids of topics, and how many repeats they hold."""
    wanted, repeats = {RAW: frame_ids(settings, RAW)}, {}
    for shape in SHAPES:
        topic = BY_RECORD[shape]
        wanted[topic.name], repeats[topic.name] = cleaned_ids(settings, topic)
    return wanted, repeats


def stored(settings: Settings, topics: Iterable[str]) -> dict[str, dict[str, Ids]]:
    """Read the ids of all rows, by store and topic."""
    tables = {topic: table_of(topic) for topic in topics}
    with clickhouse(settings) as client:
        found = {
            store: {topic: clickhouse_ids(client, table, is_final=is_final) for topic, table in tables.items()}
            for store, is_final in (("clickhouse", False), ("clickhouse FINAL", True))
        }
    found["parquet"] = {topic: parquet_ids(settings, table) for topic, table in tables.items()}
    return found


@dataclass
class Digest:
    """Values in order, of which a count and a sum are kept."""

    count: int = 0
    _hash: Any = field(default_factory=hashlib.blake2b)

    def add(self, value: bytes) -> None:
        self.count += 1
        self._hash.update(b"%d:" % len(value) + value)

    @property
    def told(self) -> tuple[int, str]:
        return self.count, self._hash.hexdigest()


def given(settings: Settings) -> Iterator[tuple[type[Derived], int, Digest, Digest]]:
    """Process the raw records again: by shape and partition what that gives, and what the topic holds, each once."""
    registry = Registry(settings)
    decoder = registry.decoder(RawFrames)
    encoders: dict[type, Encoder[Any]] = {shape: registry.encoder(BY_RECORD[shape], shape) for shape in SHAPES}
    count = partition_count(settings, RAW)
    source = source_name(settings, RAW)
    keyframe_us = int(settings.processor.keyframe_s * 1_000_000)
    for partition in range(count):
        pipeline = Pipeline(
            "BINANCE",
            source,
            partition,
            partition_count=count,
            keyframe_us=keyframe_us,
            windows_s=settings.features.in_force,
        )
        expected = {shape: Digest() for shape in SHAPES}
        for message in messages(settings, RAW, partition):
            for record in pipeline.process(message.offset() or 0, decoder.decode(message.value() or b"")).records:
                if type(record) in expected:
                    expected[type(record)].add(encoders[type(record)].encode(record))
        for shape, digest in expected.items():
            yield shape, partition, digest, _read_once(settings, BY_RECORD[shape].name, partition)


def jumps(settings: Settings) -> Iterator[str]:
    """Tell which frames do not follow the one before, by the numbers that producers gave them as they were read."""
    decoder = Registry(settings).decoder(RawFrames)
    for partition in range(partition_count(settings, RAW)):
        last: dict[Source, int] = {}
        for message in messages(settings, RAW, partition):
            record = decoder.decode(message.value() or b"")
            for frame in record.frames:
                source = record.sources[frame.source]
                if frame.number != last.get(source, -1) + 1:
                    place = f"{partition}:{message.offset()}"
                    yield f"{source.connection} {last.get(source)} to {frame.number} at {place}"
                last[source] = frame.number


def _read_once(settings: Settings, topic: str, partition: int) -> Digest:
    """Read the values of a partition, without repeats, as subscribers do."""
    once, digest = Once(), Digest()
    for message in messages(settings, topic, partition):
        source = source_of(message.headers())
        assert source is not None
        if once.is_new((topic, partition), source):
            digest.add(message.value() or b"")
    return digest
