"""aiokafka alone from packed raw records to ticks, with orjson and fastavro, from now on; runs until SIGTERM.

Run: python play_aiokafka.py JOB NOTES

Notes of each record, five doubles: when it was done (steady clock, s), seconds since its fetch came back, how many
messages it held, seconds since the first of them was read from its socket, and seconds from that until it was packed.
Done = all its ticks are with the producer, which sends at once.
"""

import asyncio
import signal
import struct
import sys
import time
from array import array
from io import BytesIO
from pathlib import Path

import fastavro
import orjson  # type: ignore[import-not-found]  # of another environment
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from peer_ticks import Job, job, tick_of  # type: ignore[import-not-found]

WAIT_MS = 200


async def work(todo: Job, notes: "array[float]") -> None:
    """Turn records into ticks, and note how long each took."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    raw, schema = fastavro.parse_schema(todo.raw), fastavro.parse_schema(todo.tick)
    header = struct.pack(">bI", 0, todo.tick_id)
    consumer = AIOKafkaConsumer(
        todo.topic, bootstrap_servers=todo.broker, group_id=todo.group, auto_offset_reset="latest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=todo.broker, enable_idempotence=True)
    async with consumer, producer:
        while not stopping.is_set():
            found = await consumer.getmany(timeout_ms=WAIT_MS)
            fetched_s = time.monotonic()
            for place, records in found.items():
                for record in records:
                    stream = BytesIO(record.value)
                    stream.seek(5)
                    frames = fastavro.schemaless_reader(stream, raw)
                    for frame in frames["frames"]:
                        if frame["kind"] != "MESSAGE":
                            continue
                        message = orjson.loads(frame["payload"])
                        tick = (
                            tick_of(message, frame["recv_time_us"], frames["event_time_us"], todo.names)
                            if "stream" in message
                            else None
                        )
                        if tick is not None:
                            stream = BytesIO()
                            stream.write(header)
                            fastavro.schemaless_writer(stream, schema, tick)
                            key = f"{tick['venue']}|{tick['symbol']}".encode()
                            await producer.send(todo.out, stream.getvalue(), key, place.partition)
                    now_s, first_s = time.monotonic(), frames["frames"][0]["recv_time_us"] / 1e6
                    packed_s = frames["event_time_us"] / 1e6 - first_s
                    notes.extend((now_s, now_s - fetched_s, len(frames["frames"]), time.time() - first_s, packed_s))


def main() -> None:
    """Run."""
    todo, notes = job(), array("d")
    uvloop.run(work(todo, notes))
    Path(sys.argv[1]).write_bytes(notes.tobytes())


if __name__ == "__main__":
    main()
