"""What sinks read: values of every topic → rows → columns and Parquet, and the metadata beside committed offsets."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from fuzz.target import Target
from fuzz.targets.codec import ENCODERS, SCHEMA_ID, samples
from schemas.codec import HEADER, Decoder, schema_text
from schemas.records import DeadLetter, RawFrames, Record
from schemas.topics import catalogue
from sinks.chunk import Buffer, Limits
from sinks.parquet import encode, partitions
from sinks.position import PositionError, read_position
from sinks.rows import Entry, RowReader
from sinks.tables import RAW, TABLES, table_of

LIMITS: Final = Limits(rows=1000, size_bytes=10**9, age_s=1.0)
TOPICS: Final = [topic.name for topic in catalogue(["binance"]) if topic.name in TABLES or topic.record is RawFrames]
METADATA: Final = (
    b'{"marks":[["raw.binance",1,1000,3]],"end":99}', b"", b"{}", b'{"marks":[]}', b'{"end":-1}',
)  # fmt: skip


def targets() -> Iterator[Target]:
    """List the targets of this module."""
    by_record = {record.__name__: record for _, record in ((number, type(each)) for number, each in samples())}
    bodies = {type(record): ENCODERS[type(record)].encode(record)[HEADER.size :] for _, record in samples()}
    seeds = [bytes((number,)) + bodies[table_of(topic).record] for number, topic in enumerate(TOPICS)]
    assert RAW.record in by_record.values()
    yield Target(name="rows", run=read_rows, seeds=seeds, peak_bytes=64 * 1024 * 1024, examples=30)  # pyarrow's pages
    yield Target(name="position", run=read_metadata, seeds=METADATA)


def read_rows(data: bytes) -> None:
    """Read a value of the topic that the first byte names, put it into columns and write them as Parquet."""
    topic = TOPICS[(data[0] if data else 0) % len(TOPICS)]
    reader = RowReader(_decoder, stage="sink.parquet")
    found = reader.read(Entry(topic, 0, 0, HEADER.pack(0, SCHEMA_ID) + data[1:]))
    if isinstance(found, DeadLetter):
        return
    buffer = Buffer(table_of(topic), (topic, 0), limits=LIMITS)
    buffer.add(0, found, size_bytes=len(data), now_s=0.0)
    buffer.close()
    chunk = buffer.due(0.0)
    assert chunk is not None
    if chunk.row_count:
        assert sum(encode(rows, chunk.span).size > 0 for _, rows in partitions(chunk.rows)) > 0
    assert all(path for path, _ in partitions(chunk.rows))


def _decoder(record: type[Record]) -> Decoder[Any]:
    return Decoder(record, lambda _id: schema_text(record))


def read_metadata(data: bytes) -> None:
    """Metadata of a commit, by any tool; what is read is written as the same, or is too long for a broker."""
    try:
        position = read_position(5, data.decode(errors="replace"))
    except PositionError:
        return
    try:
        text = position.metadata()
    except PositionError:
        return
    known = position if position.doubtful_below is not None else dataclasses.replace(position, doubtful_below=0)
    assert read_position(5, text) == known
