"""Records of a topic → Parquet on S3, by a loop as users write it: fastavro, a list of rows, pyarrow, s3fs.

Run: python play_pyarrow.py ADDRESSES ROWS     (ADDRESSES: JSON of `benchmarks/sinks.py`, with the types of columns)

Prints the rows and seconds (by the clock, of processor time) from the first batch of messages on.
"""

import io
import json
import sys
import time
import urllib.request

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs
from confluent_kafka import Consumer

BATCH = 200_000
POLL = 4000
HEADER = 5


def schema_of(where: dict, value: bytes) -> dict:
    """Ask the registry for the schema a value was written with."""
    schema_id = int.from_bytes(value[1:HEADER], "big")
    with urllib.request.urlopen(f"{where['registry']}/schemas/ids/{schema_id}") as answer:
        return fastavro.parse_schema(json.loads(json.loads(answer.read())["schema"]))


def main(where: dict, most: int) -> None:
    """Move so many records."""
    store = s3fs.S3FileSystem(**where["s3"])
    columns = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in where["columns"].items()])
    consumer = Consumer(
        {
            "bootstrap.servers": where["bootstrap"],
            "group.id": where["folder"].replace("/", "-"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([where["topic"]])
    taken, rows, schema, began = 0, [], None, None
    while taken < most:
        messages = consumer.consume(min(POLL, most - taken), 5.0)
        if schema is None and messages:
            schema = schema_of(where, messages[0].value())
            began = time.perf_counter(), time.process_time()
        for message in messages:
            stream = io.BytesIO(message.value())
            stream.seek(HEADER)
            rows.append(fastavro.schemaless_reader(stream, schema, None))
        taken += len(messages)
        if len(rows) >= BATCH or taken >= most:
            with store.open(f"{where['folder']}/{taken}.parquet", "wb") as file:
                pq.write_table(pa.Table.from_pylist(rows, schema=columns), file, compression="zstd")
            consumer.commit(asynchronous=False)
            rows = []
    clock_s, spent_s = time.perf_counter() - began[0], time.process_time() - began[1]
    print(json.dumps({"rows": taken, "clock_s": clock_s, "spent_s": spent_s}))
    consumer.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
