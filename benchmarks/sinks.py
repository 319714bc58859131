"""A cleaned topic → ClickHouse, and → Parquet on S3: our sink processes, beside what a user writes, on one stack.

Run: python -m benchmarks.sinks [ROUNDS]     (peers get Pythons of their own, below .tickerplant/peers)

The topic is filled once with ticks of recorded Binance sessions, as the pipeline makes them. The peers: rows decoded
by confluent-kafka's AvroDeserializer and inserted with clickhouse-connect, 100,000 at a time
(`play_clickhouse_connect.py`); rows decoded by fastavro and written with pyarrow, which is told the types of columns,
and s3fs (`play_pyarrow.py`). They take the first rows of the topic, since they are slower. All go to the same gateway
and the same S3, on the same cores as the broker; each is measured warm: ours from the first chunk that is committed to
the last, a peer from its first batch of messages on.

Before rates count, what each has stored is compared with what was written: rows by symbol and the sum of prices. Ours
does more: each row once, whatever is killed, repeats dropped, commits of its chunks told, metrics, dead letters.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import fsspec
import pyarrow.compute as pc
import pyarrow.dataset as ds
from clickhouse_driver import Client

from benchmarks import peers
from benchmarks.ending import in_a_line
from benchmarks.inputs import AbsentError, markets_there, packed
from benchmarks.page import rows as table_rows
from benchmarks.processor import spent_s
from benchmarks.turns import SideError, Turns, in_turns
from processors.pipeline import Pipeline
from schemas.records import Tick
from schemas.topics import TICK
from sinks.clickhouse_client import connect
from sinks.places import s3_options
from sinks.position import Position
from sinks.tables import RAW, TABLES
from tickerplant.demo.options import write_settings
from tickerplant.deploy import deploy
from tickerplant.kafka import Consumer, KafkaException, Publisher, TopicPartition, consumer
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.registry import Registry
from tickerplant.settings import Settings

TICKS: Final = 600_000
PEER_TICKS: Final = 100_000
LEAST_TICKS: Final = 2 * PEER_TICKS
ROUNDS: Final = 3
KEPT_DAYS: Final = 10_000
PEERS: Final = {"clickhouse": "clickhouse-connect", "parquet": "pyarrow"}
SESSIONS: Final = ("usdm", "spot")
TURN_S: Final = 90.0
POLL_S: Final = 0.02
FLUSH_EVERY: Final = 10_000


class WrongRowsError(SideError):
    """A side stored other rows than were written."""


@dataclass
class Expected:
    """What the first so many rows of the topic add up to."""

    count: int
    by_symbol: Counter[str] = field(default_factory=Counter)
    price: float = 0.0

    def add(self, tick: Tick) -> None:
        """Count a row."""
        if self.by_symbol.total() < self.count:
            self.by_symbol[tick.symbol] += 1
            self.price += tick.price

    def check(self, side: str, by_symbol: dict[str, tuple[int, float]]) -> None:
        """Compare with rows and sums of prices by symbol.

        Raises:
            WrongRowsError: they differ.
        """
        counts = {symbol: count for symbol, (count, _price) in by_symbol.items()}
        price = sum(price for _count, price in by_symbol.values())
        if counts != dict(self.by_symbol) or abs(price / self.price - 1) > 1e-9:
            raise WrongRowsError(f"{side} stored {counts} of {dict(self.by_symbol)}, prices {price} of {self.price}")


@dataclass
class Bench:
    """A stack with a topic of ticks."""

    settings: Settings
    ours: Expected
    peers: Expected
    turn: int = 0
    clock: dict[str, list[float]] = field(default_factory=dict)  # rows/s by the clock, by side

    def next_settings(self) -> Settings:
        """Give this turn tables and a folder of its own."""
        self.turn += 1
        suffix, root = f"_turn{self.turn}", f"{self.settings.object_store.root}-turn{self.turn}"
        settings = self.settings.model_copy(
            update={
                "clickhouse": self.settings.clickhouse.model_copy(update={"table_suffix": suffix}),
                "object_store": self.settings.object_store.model_copy(update={"root": root}),
            }
        )
        with connected(settings) as client:
            for name in {table.name for table in (RAW, *TABLES.values())}:
                client.execute(f"CREATE TABLE {name}{suffix} AS {name}")
        return settings

    def sink(self, store: str) -> float:
        """Let a sink store all ticks; returns rows a second of its processor time."""
        settings = self.next_settings()
        found = run_sink(settings, store, self.ours.count)
        self.ours.check(f"our sink to {store}", STORED[store](settings))
        self.clock.setdefault(f"tickerplant {store}", []).append(found["rows"] / found["clock_s"])
        return found["rows"] / found["spent_s"]

    def peer(self, name: str, store: str) -> float:
        """Let a peer store the first ticks; returns rows a second of its processor time.

        Raises:
            SideError: it failed.
        """
        settings = self.next_settings()
        found = peers.run(name, f"play_{name.replace('-', '_')}.py", json.dumps(addresses(settings)), str(PEER_TICKS))
        if found is None:
            raise SideError(f"{name} failed")
        self.peers.check(name, STORED[store](settings))
        self.clock.setdefault(f"{name} {store}", []).append(found["rows"] / found["clock_s"])
        return float(found["rows"] / found["spent_s"])


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare rows a second of both stores, by processor time and by the clock."""
    with benched() as bench:
        tables = in_turns(
            {
                "tickerplant": lambda: bench.sink("clickhouse"),
                PEERS["clickhouse"]: lambda: bench.peer(PEERS["clickhouse"], "clickhouse"),
            },
            rounds,
        )
        lake = in_turns(
            {
                "tickerplant": lambda: bench.sink("parquet"),
                PEERS["parquet"]: lambda: bench.peer(PEERS["parquet"], "parquet"),
            },
            rounds,
        )
    return {
        "ticks": bench.ours.count,
        "into ClickHouse, by processor time": Turns(unit="rows/s", sides=tables),
        "into ClickHouse, by the clock": by_clock(bench, "clickhouse"),
        "into Parquet, by processor time": Turns(unit="rows/s", sides=lake),
        "into Parquet, by the clock": by_clock(bench, "parquet"),
    }


def by_clock(bench: Bench, store: str) -> Turns:
    """Tell the same turns by the clock, of a machine whose cores carry all servers."""
    sides = {name: bench.clock.get(f"{name} {store}", []) for name in ("tickerplant", PEERS[store])}
    return Turns(unit="rows/s", sides=sides)


@contextmanager
def benched() -> Iterator[Bench]:
    """Start a stack, fill the topic, and end it all.

    Raises:
        AbsentError: the recorded sessions hold too few ticks.
    """
    markets_there(SESSIONS)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = keeping(with_local(Settings(), Path(folder), keep_free_ports=False))
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            bench = Bench(settings, Expected(TICKS), Expected(PEER_TICKS))
            fill(bench)
            yield bench
        finally:
            stack.down(settings, lambda _line: None)


def keeping(settings: Settings) -> Settings:
    """Keep rows of sessions that are years old, which ClickHouse would drop as it takes them."""
    return settings.model_copy(
        update={"clickhouse": settings.clickhouse.model_copy(update={"retention_days": KEPT_DAYS})}
    )


def ticks() -> Iterator[Tick]:
    """Give the ticks of the recorded sessions that are there, one after the other."""
    pipeline = Pipeline("BINANCE", "raw.binance@WW4E8a-_", 0)
    records = (record for market in markets_there(SESSIONS) for record in packed(market))
    for offset, raw in enumerate(records):
        yield from (each for each in pipeline.process(offset, raw).records if isinstance(each, Tick))


def fill(bench: Bench) -> None:
    """Write the ticks as processors do, into one partition: so many, or all that there are."""
    encoder, publisher = Registry(bench.settings).encoder(TICK, Tick), Publisher(bench.settings)
    for number, tick in enumerate(islice(ticks(), TICKS)):
        source = f"{tick.source_topic}:0:{tick.source_offset}:{tick.source_index}".encode()
        key = f"{tick.venue}|{tick.symbol}".encode()
        publisher.send(TICK.name, 0, key, encoder.encode(tick), [("source", source)])
        bench.ours.add(tick)
        bench.peers.add(tick)
        if number % FLUSH_EVERY == 0:
            publisher.flush()
    publisher.flush()
    bench.ours.count = bench.ours.by_symbol.total()
    if bench.ours.count < LEAST_TICKS:
        raise AbsentError(f"the recorded sessions hold {bench.ours.count} ticks, fewer than {LEAST_TICKS}")


def run_sink(settings: Settings, store: str, count: int) -> dict[str, float]:
    """Run a sink from the start of the topic to its end, as one that has been there from the start."""
    config = settings.local.home / f"sink{settings.clickhouse.table_suffix}.toml"
    write_settings(settings, config)
    command = [sys.executable, "-m", "tickerplant", "sink", store, "--config", str(config)]
    start = [TopicPartition(TICK.name, 0, 0, Position(offset=0).metadata())]
    with closing(consumer(settings, f"tickerplant.sink.{store}")) as group:
        begin(group, start)
        with config.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)
        try:
            return watch(process, lambda: group.committed(start, timeout=10)[0].offset, count)
        except WrongRowsError:
            print(config.with_suffix(".log").read_text(errors="replace")[-2000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(30)


def begin(group: Consumer, start: list[TopicPartition]) -> None:
    """Commit where a group starts; a broker that has just begun may need a while for its groups."""
    until_s = time.monotonic() + TURN_S
    while True:
        try:
            group.commit(offsets=start, asynchronous=False)
        except KafkaException:
            if time.monotonic() > until_s:
                raise
            time.sleep(POLL_S)
        else:
            return


def watch(process: subprocess.Popen[bytes], committed: Callable[[], int], count: int) -> dict[str, float]:
    """Measure a sink from its first commit to that of so many rows."""
    first: tuple[float, float, int] | None = None
    until_s = time.monotonic() + TURN_S
    while process.poll() is None and time.monotonic() < until_s:
        offset = committed()
        now = time.monotonic(), spent_s(process.pid), offset
        if offset >= count and first is not None:
            clock_s, used_s, rows = (last - begun for last, begun in zip(now, first, strict=True))
            return {"rows": rows, "clock_s": clock_s, "spent_s": used_s}
        if offset > 0 and first is None:
            first = now
        time.sleep(POLL_S)
    raise WrongRowsError(f"the sink stored up to {committed()} of {count}")


def addresses(settings: Settings) -> dict[str, Any]:
    """Tell a peer where everything is."""
    secret = settings.clickhouse.password
    return {
        "bootstrap": settings.kafka.bootstrap_servers,
        "registry": settings.registry.url,
        "topic": TICK.name,
        "host": settings.clickhouse.host,
        "port": settings.local.clickhouse_http_port,
        "user": settings.clickhouse.user,
        "password": secret.get_secret_value() if secret else "",
        "table": f"market_data.tick{settings.clickhouse.table_suffix}",
        "s3": s3_options(settings.object_store),
        "columns": {field.name: str(field.type) for field in TABLES[TICK.name].schema},
        "folder": f"{settings.object_store.root.removeprefix('s3://')}/cleaned/tick/venue=BINANCE/date=all",
    }


@contextmanager
def connected(settings: Settings) -> Iterator[Client]:
    """Connect to ClickHouse for a while."""
    client = connect(settings.clickhouse)
    try:
        yield client
    finally:
        client.disconnect()


def in_tables(settings: Settings) -> dict[str, tuple[int, float]]:
    """Ask ClickHouse for rows and the sum of prices by symbol."""
    query = (
        f"SELECT symbol, count(), sum(price) FROM market_data.tick{settings.clickhouse.table_suffix} GROUP BY symbol"
    )
    with connected(settings) as client:
        return {symbol: (rows, prices) for symbol, rows, prices in client.execute(query)}


def in_lake(settings: Settings) -> dict[str, tuple[int, float]]:
    """Read the same from Parquet."""
    files = fsspec.filesystem("s3", **s3_options(settings.object_store))
    folder = settings.object_store.root.removeprefix("s3://") + "/cleaned/tick"
    table = ds.dataset(folder, filesystem=files, format="parquet").to_table(columns=["symbol", "price"])
    found = table.group_by("symbol").aggregate([("price", "count"), ("price", "sum")])
    assert pc.sum(found["price_count"]).as_py() == table.num_rows
    return {each["symbol"]: (each["price_count"], each["price_sum"]) for each in found.to_pylist()}


STORED: Final[dict[str, Callable[[Settings], dict[str, tuple[int, float]]]]] = {
    "clickhouse": in_tables,
    "parquet": in_lake,
}

if __name__ == "__main__":
    with in_a_line():
        for name, value in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
            print(*(table_rows(name, value) if isinstance(value, Turns) else (name, value)), sep="\n")
