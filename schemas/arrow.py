"""Avro schema of a record class → Arrow schema of its rows, and rows of the raw archive → raw records.

Raw records are flattened to one row a frame; everything else keeps its fields, one row a record.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import pyarrow as pa

from schemas.codec import schema_text
from schemas.records import Frame, FrameKind, RawFrames, Record, Source

PRIMITIVES: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
}
FRAME_SOURCE: Final = {
    "source_topic": (pa.string(), "Raw topic the frame was read from, with its life: raw.binance@WW4E8a-_."),
    "source_partition": (pa.int32(), "Partition of the raw topic."),
    "source_offset": (pa.int64(), "Offset of the raw record in its partition."),
    "source_index": (pa.int32(), "Position of the frame within its raw record, 0-based."),
}
BATCH_ROWS: Final = 8192
ORDER: Final = [(name, "ascending") for name in FRAME_SOURCE]


class ArchiveError(ValueError):
    """Rows that are no whole raw records: a column is missing, or a frame."""


class ArchivedRecord(NamedTuple):
    """A raw record with its place in the raw topic."""

    topic: str
    partition: int
    offset: int
    record: RawFrames


class Row(NamedTuple):
    """A frame of the raw archive with its place; columns may have another order."""

    source_topic: str
    source_partition: int
    source_offset: int
    source_index: int
    venue: str
    event_time_us: int
    market: str
    connection: str
    number: int
    kind: FrameKind
    request: str
    recv_time_us: int
    payload: bytes


@cache
def arrow_schema(record: type[Record]) -> pa.Schema:
    """Make the Arrow schema of the rows of a record class; each field carries the Avro doc as metadata `doc`.

    Enums become strings, nullable fields stay nullable, `RawFrames` is flattened to one row a frame.
    """
    avro = json.loads(schema_text(record))
    fields = _frame_fields(avro) if record is RawFrames else [_field(each) for each in avro["fields"]]
    return pa.schema(fields, metadata={"record": record.__name__})


def raw_frames(table: pa.Table) -> Iterator[ArchivedRecord]:
    """Put raw records together again, in order of topic, partition and offset.

    Args:
        table: rows of the raw archive, in any order. `venue` may be a dictionary, as hive partitions are read.

    Raises:
        ArchiveError: a column is missing, or a frame of a record is missing or there twice.
    """
    missing = sorted(set(Row._fields) - set(table.column_names))
    if missing:
        raise ArchiveError(f"no raw archive: columns {', '.join(missing)} are missing")
    ordered = table.select(Row._fields).sort_by(ORDER)
    for (topic, partition, offset), frames in groupby(_rows(ordered), itemgetter(0, 1, 2)):
        yield ArchivedRecord(topic, partition, offset, _record(list(frames)))


def _rows(table: pa.Table) -> Iterator[Row]:
    """Yield rows, made column by column: several times as fast as a dict a row."""
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from map(Row, *(_values(column) for column in batch.columns))


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_integer(column.type):
        return list(column.to_numpy().tolist())
    if pa.types.is_string(column.type):  # of a few values: each is made once
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        return list(map(column.dictionary.to_pylist().__getitem__, column.indices.to_numpy().tolist()))
    return list(column.to_pylist())


def _record(rows: Sequence[Row]) -> RawFrames:
    first = rows[0]
    if [row.source_index for row in rows] != list(range(len(rows))):
        place = f"{first.source_topic}:{first.source_partition}:{first.source_offset}"
        raise ArchiveError(f"raw record {place} is not whole: a frame is missing, or there twice")
    index: dict[tuple[str, str], int] = {}
    frames = [
        Frame(
            source=index.setdefault((row.market, row.connection), len(index)),
            number=row.number,
            kind=row.kind,
            request=row.request,
            recv_time_us=row.recv_time_us,
            payload=row.payload,
        )
        for row in rows
    ]
    return RawFrames(
        venue=first.venue,
        event_time_us=first.event_time_us,
        sources=[Source(market=market, connection=connection) for market, connection in index],
        frames=frames,
    )


def _frame_fields(avro: dict[str, Any]) -> list[pa.Field]:
    """Flatten: fields of the record, of the frame and of its source, then the frame's place in the topic."""
    outer = {each["name"]: each for each in avro["fields"]}
    source = {each["name"]: each for each in outer["sources"]["type"]["items"]["fields"]}
    frame = {each["name"]: each for each in outer["frames"]["type"]["items"]["fields"]}
    flat = [outer["venue"], source["market"], source["connection"]]
    flat += [frame[name] for name in ("number", "kind", "request", "recv_time_us")]
    flat += [outer["event_time_us"], frame["payload"]]
    place = [pa.field(name, kind, nullable=False, metadata={"doc": doc}) for name, (kind, doc) in FRAME_SOURCE.items()]
    return [_field(each) for each in flat] + place


def _field(avro: dict[str, Any]) -> pa.Field:
    kind = avro["type"]
    nullable = isinstance(kind, list)
    return pa.field(avro["name"], _type(kind[1] if nullable else kind), nullable, {"doc": avro.get("doc", "")})


def _type(kind: Any) -> pa.DataType:
    """Tell the Arrow type of an Avro type; a named type that was defined earlier in the file is an enum."""
    if isinstance(kind, dict):
        return pa.list_(_type(kind["items"])) if kind["type"] == "array" else pa.string()
    if isinstance(kind, list):  # what may be null, in an array, whose items always may in Arrow
        return _type(kind[1])
    return PRIMITIVES.get(kind, pa.string())
