"""quixstreams from a raw topic to ticks, as its documentation says; runs until SIGTERM.

Run: python play_quixstreams.py JOB [--packed]

A message a record: JSON by its own deserializer. --packed = records of ours that hold many messages, by its Avro
deserializer, orjson and `expand`. Ticks by its Avro serializer, without the registry, which costs it more a record: the
header of the wire format is put before what it gives, and taken off before what it reads.
"""

import struct
import sys
from typing import Any

import orjson  # type: ignore[import-not-found]  # of another environment
from peer_ticks import job, tick_of  # type: ignore[import-not-found]
from quixstreams import Application  # type: ignore[import-not-found]
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer  # type: ignore[import-not-found]

TODO = job()
HEADER = struct.pack(">bI", 0, TODO.tick_id)


class Ticks(AvroSerializer):  # type: ignore[misc]  # of another environment
    """Ticks in Confluent's wire format."""

    def __call__(self, value: Any, ctx: Any) -> bytes:
        """Encode one."""
        return HEADER + bytes(super().__call__(value, ctx))


class Records(AvroDeserializer):  # type: ignore[misc]  # of another environment
    """Packed records in Confluent's wire format."""

    def __call__(self, value: bytes, ctx: Any) -> Any:
        """Decode one."""
        return super().__call__(value[len(HEADER) :], ctx)


def one(message: Any, _key: Any, timestamp_ms: int, _headers: Any) -> Any:
    """Turn a message into a tick."""
    return tick_of(message, timestamp_ms * 1000, timestamp_ms * 1000, TODO.names)


def many(record: Any) -> list[Any]:
    """Turn a packed record into ticks."""
    ticks = [
        tick_of(orjson.loads(frame["payload"]), frame["recv_time_us"], record["event_time_us"], TODO.names)
        for frame in record["frames"]
        if frame["kind"] == "MESSAGE"
    ]
    return [each for each in ticks if each is not None]


def main() -> None:
    """Run."""
    app = Application(
        broker_address=TODO.broker, consumer_group=TODO.group, auto_offset_reset="earliest", loglevel="WARNING"
    )
    out = app.topic(TODO.out, value_serializer=Ticks(TODO.tick))
    if sys.argv[1:] == ["--packed"]:
        raw = app.topic(TODO.topic, value_deserializer=Records(TODO.raw))
        ticks = app.dataframe(raw).apply(many, expand=True)
    else:
        raw = app.topic(TODO.topic, value_deserializer="json")
        ticks = app.dataframe(raw).apply(one, metadata=True).filter(lambda tick: tick is not None)
    ticks.to_topic(out, key=lambda tick: f"{tick['venue']}|{tick['symbol']}")
    app.run()


if __name__ == "__main__":
    main()
