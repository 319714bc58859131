"""Records of a topic → ClickHouse, by a loop as users write it: a row a record, inserted many at a time.

Run: python play_clickhouse_connect.py ADDRESSES ROWS     (ADDRESSES: JSON of `benchmarks/sinks.py`)

Prints the rows and seconds (by the clock, of processor time) from the first batch of messages on.
"""

import json
import sys
import time

import clickhouse_connect
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

BATCH = 100_000
POLL = 4000


def main(where: dict, most: int) -> None:
    """Move so many records."""
    client = clickhouse_connect.get_client(
        host=where["host"], port=where["port"], username=where["user"], password=where["password"]
    )
    decode = AvroDeserializer(SchemaRegistryClient({"url": where["registry"]}))
    context = SerializationContext(where["topic"], MessageField.VALUE)
    consumer = Consumer(
        {
            "bootstrap.servers": where["bootstrap"],
            "group.id": where["table"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([where["topic"]])
    taken, rows, names, began = 0, [], [], None
    while taken < most:
        messages = consumer.consume(min(POLL, most - taken), 5.0)
        if began is None and messages:
            names = list(decode(messages[0].value(), context))
            began = time.perf_counter(), time.process_time()
        rows += [list(decode(message.value(), context).values()) for message in messages]
        taken += len(messages)
        if len(rows) >= BATCH or taken >= most:
            client.insert(where["table"], rows, column_names=names)
            consumer.commit(asynchronous=False)
            rows = []
    clock_s, spent_s = time.perf_counter() - began[0], time.process_time() - began[1]
    print(json.dumps({"rows": taken, "clock_s": clock_s, "spent_s": spent_s}))
    consumer.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
