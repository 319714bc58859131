"""Stock Faust from a raw topic to ticks, a message a record; runs until SIGTERM.

Run: python play_faust.py JOB

JSON by its own codec (orjson, which it takes where it is installed), ticks by a codec of fastavro as its documentation
shows, on uvloop; all else as it comes.
"""

import struct
import sys
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import fastavro
import faust
from faust.serializers import codecs
from peer_ticks import job, tick_of  # type: ignore[import-not-found]

TODO = job()


class Ticks(codecs.Codec):  # type: ignore[misc]  # of another environment
    """Ticks in Avro, behind the header of Confluent's wire format."""

    header = struct.pack(">bI", 0, TODO.tick_id)
    schema = fastavro.parse_schema(TODO.tick)

    def _dumps(self, obj: Any) -> bytes:
        stream = BytesIO()
        stream.write(self.header)
        fastavro.schemaless_writer(stream, self.schema, obj)
        return stream.getvalue()

    def _loads(self, s: bytes) -> Any:
        return fastavro.schemaless_reader(BytesIO(s[5:]), self.schema)


codecs.register("ticks", Ticks())
app = faust.App(TODO.group, broker=f"kafka://{TODO.broker}", datadir=Path(mkdtemp(prefix="faust")))
raw = app.topic(TODO.topic, value_serializer="json")
ticks = app.topic(TODO.out, key_serializer="raw", value_serializer="ticks")


@app.agent(raw)  # type: ignore[untyped-decorator]  # of another environment
async def normalise(stream: Any) -> None:
    """Turn messages into ticks."""
    async for event in stream.events():
        recv_time_us = int(event.message.timestamp * 1_000_000)
        tick = tick_of(event.value, recv_time_us, recv_time_us, TODO.names)
        if tick is not None:
            await ticks.send(key=f"{tick['venue']}|{tick['symbol']}".encode(), value=tick)


if __name__ == "__main__":
    sys.argv = ["faust", "--quiet", "--loop", "uvloop", "worker", "--without-web", "--loglevel", "error"]
    app.main()
