"""A loop around confluent-kafka from a raw topic to ticks, with orjson and fastavro; runs until SIGTERM.

Run: python play_loop.py JOB [--packed]

Offsets are committed once a second, after what they stand for is delivered. --packed = records of ours that hold many
messages.
"""

import signal
import struct
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import fastavro
import orjson  # type: ignore[import-not-found]  # of another environment
from confluent_kafka import Consumer, Producer
from peer_ticks import Job, job, tick_of  # type: ignore[import-not-found]

AT_ONCE = 500
COMMIT_S = 1.0


def main() -> None:
    """Run."""
    todo, stopping = job(), list[bool]()
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    unpack = packed(todo) if sys.argv[1:] == ["--packed"] else single
    schema, header = fastavro.parse_schema(todo.tick), struct.pack(">bI", 0, todo.tick_id)
    consumer = Consumer(
        {
            "bootstrap.servers": todo.broker,
            "group.id": todo.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": todo.broker,
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([todo.topic])
    committed_s = time.monotonic()
    while not stopping:
        for record in consumer.consume(AT_ONCE, 0.05):
            for payload, recv_time_us, event_time_us in unpack(record):
                tick = tick_of(orjson.loads(payload), recv_time_us, event_time_us, todo.names)
                if tick is not None:
                    stream = BytesIO()
                    stream.write(header)
                    fastavro.schemaless_writer(stream, schema, tick)
                    key = f"{tick['venue']}|{tick['symbol']}".encode()
                    producer.produce(todo.out, stream.getvalue(), key)
        producer.poll(0)
        if time.monotonic() - committed_s > COMMIT_S:
            producer.flush()
            consumer.commit(asynchronous=True)
            committed_s = time.monotonic()
    consumer.close()


def single(record: Any) -> Iterator[tuple[bytes, int, int]]:
    """Give the message that a record is, with its times."""
    time_us = record.timestamp()[1] * 1000
    yield record.value(), time_us, time_us


def packed(todo: Job) -> Any:
    """Make what gives the messages of a packed record, with their times."""
    schema = fastavro.parse_schema(todo.raw)

    def unpack(record: Any) -> Iterator[tuple[bytes, int, int]]:
        stream = BytesIO(record.value())
        stream.seek(5)
        found = fastavro.schemaless_reader(stream, schema)
        event_time_us = found["event_time_us"]
        for frame in found["frames"]:
            if frame["kind"] == "MESSAGE":
                yield frame["payload"], frame["recv_time_us"], event_time_us

    return unpack


if __name__ == "__main__":
    main()
