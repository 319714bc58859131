"""A recorded session in every form in which we keep it, in bytes a frame, a tick and a depth update; beside others.

Run: python -m benchmarks.storage

The recorded USD-M session of one symbol: as it was recorded (gzip, a JSON message a line), as cryptofeed's recorder
keeps what it reads (text, a message a line), and as hftbacktest's converter keeps it (compressed npz: its events are
trades, quotes and single levels, each at the exchange and here, without ids and the bytes of messages). Ours: the
logs of the raw and cleaned topics on the broker's disk, objects of the lake, tables of ClickHouse; the cleaned ones
hold all fields of a record, its source and flags among them. Then Parquet with other codecs and encodings, with the
time that they take.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import peers
from benchmarks.ending import in_a_line
from benchmarks.inputs import FRAMES_PER_RECORD, listing, names_of, raw_frames, renamed, session
from benchmarks.sinks import keeping
from benchmarks.turns import Turns
from processors.pipeline import Pipeline
from schemas.codec import Encoder
from schemas.columnar import columns_decoder_of
from schemas.records import Depth, Derived, RawFrames, Tick
from schemas.topics import BY_RECORD, raw_topic
from sinks.chunk import Chunk, Span
from sinks.clickhouse import ClickHouseStore
from sinks.clickhouse_client import connect
from sinks.columns import columns, frame_rows
from sinks.parquet import ROW_GROUP_ROWS, ParquetStore
from sinks.tables import RAW, TABLES, Table
from tickerplant.deploy import deploy
from tickerplant.kafka import Publisher
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.local.server import Home
from tickerplant.registry import Registry
from tickerplant.settings import Settings

MARKET: Final = "usdm"
TOPIC: Final = "raw.binance@WW4E8a-_"
DECODED: Final = 4000
CLEANED: Final[dict[str, type[Derived]]] = {"tick": Tick, "depth update": Depth}
DELTA: Final = "DELTA_BINARY_PACKED"
CODECS: Final[dict[str, dict[str, Any]]] = {
    "zstd 3": {"compression": "zstd", "compression_level": 3},
    "zstd 1": {"compression": "zstd", "compression_level": 1},
    "zstd 9": {"compression": "zstd", "compression_level": 9},
    "lz4": {"compression": "lz4"},
    "snappy": {"compression": "snappy"},
}


@dataclass
class Session:
    """A session as raw records, and what comes of them."""

    raw: list[RawFrames] = field(default_factory=list)
    cleaned: dict[type[Derived], list[Any]] = field(default_factory=lambda: {kind: [] for kind in CLEANED.values()})

    @property
    def frames(self) -> int:
        """Count frames."""
        return sum(len(each.frames) for each in self.raw)

    def tables(self) -> Iterator[tuple[str, Table, pa.Table, int]]:
        """Give what a sink would store: its name, where it belongs, the rows, and how many are counted by."""
        frames = [row for offset, each in enumerate(self.raw) for row in frame_rows(_fields(each), (TOPIC, 0), offset)]
        yield "frame", RAW, pa.Table.from_batches([columns(RAW.schema, frames)]), self.frames
        for name, kind in CLEANED.items():
            yield name, TABLES[BY_RECORD[kind].name], table_of(self.cleaned[kind]), len(self.cleaned[kind])


def measure() -> dict[str, Any]:
    """Tell bytes of each form."""
    made = process()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stacked(Path(folder)) as settings:
        topics = in_topics(settings, made)
        tables, lake, codecs = {}, {}, {}
        with closing(ClickHouseStore(settings)) as clickhouse, closing(ParquetStore(settings)) as parquet:
            clickhouse.open()
            parquet.open()
            for name, table, rows, count in made.tables():
                span = Span(topic=name.replace(" ", "_"), partition=0, generation="", start=0, end=count - 1)
                chunk = Chunk(table=table, span=span, batches=rows.to_batches())
                clickhouse.write(chunk)
                parquet.write(chunk)
                tables[name] = in_parts(settings, table.name) / count
                lake[name] = in_files(Path(settings.object_store.root) / table.folder) / count
                if name != "frame":
                    codecs[f"Parquet of a {name}, by codec and encoding"] = by_codec(rows, count)
        events = converted(f"{folder}/events.npz")
    updates = sum(len(each) for each in made.cleaned.values())
    ours = sum(lake[name] * len(made.cleaned[kind]) for name, kind in CLEANED.items()) / updates
    return {
        "frames": made.frames,
        **{f"{name}s": len(made.cleaned[kind]) for name, kind in CLEANED.items()},
        "bytes_in_topics": rounded(topics),
        "bytes_in_the_lake": rounded(lake),
        "bytes_in_clickhouse": rounded(tables),
        **codecs,
        "raw, each frame untouched": Turns(
            unit="bytes a frame",
            sides={
                "tickerplant": [lake["frame"]],
                "gzip JSON": [session(MARKET).stat().st_size / made.frames],
                "cryptofeed": [as_text(made) / made.frames],
            },
            is_less_better=True,
        ),
        "cleaned, ticks and depth updates": Turns(
            unit="bytes an update",
            sides={"tickerplant": [ours], "hftbacktest": [events["bytes"] / updates] if events else []},
            is_less_better=True,
        ),
    }


def converted(path: str) -> dict[str, Any] | None:
    """Have the session converted by hftbacktest; None = it cannot."""
    try:
        return peers.run("hftbacktest", "convert_hftbacktest.py", str(session(MARKET)), path)
    except peers.PeerError as error:
        print(f"hftbacktest is left out: {error}", file=sys.stderr)
        return None


def process() -> Session:
    """Pack the session as producers do under load, and let the pipeline work on it."""
    made, pipeline = Session(), Pipeline("BINANCE", TOPIC, 0)
    symbol = names_of(MARKET)[0]
    frames = renamed(MARKET, symbol, symbol)
    records = [raw_frames(MARKET, "instruments", [listing(MARKET)])]
    while batch := list(islice(frames, FRAMES_PER_RECORD)):
        records.append(raw_frames(MARKET, symbol, batch))
    for offset, raw in enumerate(records):
        made.raw.append(raw)
        for record in pipeline.process(offset, raw).records:
            if type(record) in made.cleaned:
                made.cleaned[type(record)].append(record)
    return made


@contextmanager
def stacked(folder: Path) -> Iterator[Settings]:
    """Start a stack whose lake is a folder, and end it."""
    settings = keeping(with_local(Settings(), folder, keep_free_ports=False))
    place = settings.object_store.model_copy(update={"root": str(folder / "lake")})
    settings = settings.model_copy(update={"object_store": place})
    stack.up(settings, lambda line: print(line, file=sys.stderr))
    try:
        deploy(settings)
        yield settings
    finally:
        stack.down(settings, lambda _line: None)


def in_topics(settings: Settings, made: Session) -> dict[str, float]:
    """Write all to topics as our processes do; tells bytes of the broker's logs."""
    publisher, registry = Publisher(settings), Registry(settings)
    raw, found = raw_topic("binance"), {}
    for name, topic, records in (
        ("frame", raw, made.raw),
        *((name, BY_RECORD[kind], made.cleaned[kind]) for name, kind in CLEANED.items()),
    ):
        encoder: Encoder[Any] = registry.encoder(topic, topic.record)
        for number, each in enumerate(records):
            headers = [] if topic is raw else [("source", _source(each))]
            key = b"0" if topic is raw else f"{each.venue}|{each.symbol}".encode()
            publisher.send(topic.name, 0, key, encoder.encode(each), headers)
            if number % DECODED == 0:
                publisher.flush()
        publisher.flush()
        count = made.frames if topic is raw else len(records)
        found[name] = in_files(Home.of(settings).data("broker") / "data" / f"{topic.name}-0", "*.log") / count
    return found


def in_files(folder: Path, names: str = "**/*.parquet") -> int:
    """Add up the bytes of files."""
    return sum(each.stat().st_size for each in folder.glob(names))


def in_parts(settings: Settings, name: str) -> int:
    """Tell the bytes of a table's parts, with its indices and marks."""
    database, _, table = name.partition(".")
    query = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = %(database)s AND table = %(table)s"
    client = connect(settings.clickhouse)
    try:
        ((found,),) = client.execute(query, {"database": database, "table": table})
    finally:
        client.disconnect()
    return int(found)


def as_text(made: Session) -> int:
    """Tell how long the session is as cryptofeed's recorder writes it: `time: message`, a line each."""
    return sum(len(f"{each.recv_time_us / 1e6}: ") + len(each.payload) + 1 for raw in made.raw for each in raw.frames)


def by_codec(rows: pa.Table, count: int) -> dict[str, str]:
    """Encode rows in several ways; tells bytes a row and µs that writing and reading take."""
    body = rows.drop_columns(["venue"])
    texts = [each.name for each in body.schema if pa.types.is_string(each.type)]
    counters = dict.fromkeys((each.name for each in body.schema if pa.types.is_int64(each.type)), DELTA)
    floats = [each.name for each in body.schema if pa.types.is_float64(each.type)]
    lists = [f"{each.name}.list.element" for each in body.schema if pa.types.is_list(each.type)]
    ours = {"use_dictionary": [*texts, *lists], "column_encoding": counters}
    ways: dict[str, dict[str, Any]] = {name: codec | ours for name, codec in CODECS.items()}
    zstd = CODECS["zstd 3"]
    ways["zstd 3, no dictionaries of numbers"] = zstd | {"use_dictionary": texts, "column_encoding": counters}
    ways["zstd 3, dictionaries of all numbers"] = zstd | ours | {"use_dictionary": [*texts, *lists, *floats]}
    split = counters | dict.fromkeys([*floats, *lists], "BYTE_STREAM_SPLIT")
    ways["zstd 3, byte stream split"] = zstd | {"use_dictionary": texts, "column_encoding": split}
    ways["zstd 3, as pyarrow does by itself"] = zstd
    return {name: _encoded(body, count, how) for name, how in ways.items()}


def _encoded(body: pa.Table, count: int, how: Mapping[str, Any]) -> str:
    out, began_s = pa.BufferOutputStream(), time.process_time()
    pq.write_table(body, out, row_group_size=ROW_GROUP_ROWS, **how)
    written_s, content = time.process_time(), out.getvalue()
    pq.read_table(pa.BufferReader(content), use_threads=False)
    read_s = time.process_time()
    times = ((written_s - began_s) / count * 1e6, (read_s - written_s) / count * 1e6)
    return f"{len(content) / count:.1f} bytes, written in {times[0]:.2f} µs, read in {times[1]:.2f} µs"


def table_of(records: list[Any]) -> pa.Table:
    """Make rows of records, by way of their bytes as sinks do."""
    kind = type(records[0])
    decode, encoder = columns_decoder_of(kind), Encoder(kind, 1)
    values = [encoder.encode(each) for each in records]
    assert decode
    return pa.Table.from_batches(
        [decode(values[at : at + DECODED], {values[0][:5]}) for at in range(0, len(values), DECODED)]
    )


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Round for people."""
    return {name: round(value, 1) for name, value in values.items()}


def _fields(raw: RawFrames) -> dict[str, Any]:
    return dict(msgspec.to_builtins(raw, builtin_types=(bytes,)))


def _source(record: Derived) -> bytes:
    place = record.source_topic, record.source_partition, record.source_offset, record.source_index
    return ":".join(map(str, place)).encode()


if __name__ == "__main__":
    with in_a_line():
        for title, value in measure().items():
            print(title, value.sides if isinstance(value, Turns) else value)
