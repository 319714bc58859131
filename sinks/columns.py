"""Decoded fields of records → rows → Arrow columns."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

Row = dict[str, Any]
Place = tuple[str, int]
"""Topic and partition."""


def columns(schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """Turn rows into columns, in their order; NaN stays NaN, None is null only where the schema allows it."""
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def frame_rows(record: Row, place: Place, offset: int) -> list[Row]:
    """Flatten the fields of a `RawFrames` to one row a frame, in their order.

    Raises:
        IndexError: a frame names a source that is not there.
    """
    topic, partition = place
    sources = record["sources"]
    return [
        {
            "venue": record["venue"],
            **sources[frame["source"]],
            "number": frame["number"],
            "kind": frame["kind"],
            "request": frame["request"],
            "recv_time_us": frame["recv_time_us"],
            "event_time_us": record["event_time_us"],
            "payload": frame["payload"],
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
            "source_index": index,
        }
        for index, frame in enumerate(record["frames"])
    ]
