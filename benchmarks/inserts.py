"""What a small insert costs in the local ClickHouse: by our store, one and four at a time, into one table.

Chunks of ticks, as a sink with a short `sink.flush_ms` makes them, by `ClickHouseStore.write` to a gateway that does
nothing else. Processor time of the gateway is that of inserts, of describing their columns, of the protocol, and of the
merges that small parts bring about; ours is that of encoding and of the driver.

Run: python -m benchmarks.inserts
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from schemas.records import Tick
from schemas.topics import TICK
from sinks.chunk import Buffer, Chunk, Limits
from sinks.clickhouse import ClickHouseStore
from sinks.migrations import migrate
from sinks.tables import TABLES
from sinks.together import Threads
from tickerplant.local import stack
from tickerplant.local.clickhouse import ClickHouse
from tickerplant.local.ports import with_local
from tickerplant.local.process import read_pid_file
from tickerplant.local.server import Home
from tickerplant.settings import Settings

INSERTS: Final = 80
WARM: Final = 8
ROWS: Final = (100, 500)
TOGETHER: Final = (1, 4)
NOW_US: Final = 1_795_248_000_000_000


def measure() -> dict[str, Any]:
    """Insert chunks of each size, so many at a time; milliseconds of an insert."""
    with gateway() as (settings, process), closing(ClickHouseStore(settings)) as store:
        first = 0
        found: dict[str, Any] = {}
        for rows in ROWS:
            for together in TOGETHER:
                chunks = [chunk(first + number * rows, rows) for number in range(WARM + INSERTS)]
                first += (WARM + INSERTS) * rows
                found[f"{rows} rows, {together} at a time"] = insert(store, process, chunks, Threads(together))
    return found


def insert(store: ClickHouseStore, process: psutil.Process, chunks: list[Chunk], write: Threads) -> dict[str, float]:
    """Insert chunks; the first ones warm up."""
    jobs = [partial(store.write, each) for each in chunks]
    write(jobs[:WARM])
    begun_s, theirs_s, ours_s = time.monotonic(), used_s(process), time.process_time()
    write(jobs[WARM:])
    spent = {
        "by the clock, ms": time.monotonic() - begun_s,
        "processor time of ClickHouse, ms": used_s(process) - theirs_s,
        "processor time of the sink, ms": time.process_time() - ours_s,
    }
    return {name: round(1000 * each / INSERTS, 1) for name, each in spent.items()}


def used_s(process: psutil.Process) -> float:
    """Tell what a process has used of its cores."""
    times = process.cpu_times()
    return float(times.user + times.system)


def chunk(first: int, rows: int) -> Chunk:
    """Make a chunk of so many ticks, from a source offset on, in no time of its own."""
    limits = Limits(rows=rows, size_bytes=2**40, age_s=1e9)
    buffer = Buffer(TABLES[TICK.name], (TICK.name, 0), limits=limits)
    for offset in range(first, first + rows):
        row = msgspec.structs.asdict(tick(offset))
        buffer.add(offset, [row], size_bytes=1, now_s=0.0)
    made = buffer.due(0.0)
    assert made is not None
    return made


def tick(offset: int) -> Tick:
    """Make a trade of one of 20 symbols."""
    return Tick(
        event_time_us=NOW_US + offset,
        exchange_time_us=NOW_US + offset - 2000,
        recv_time_us=NOW_US + offset - 1000,
        venue="BINANCE",
        symbol=f"S{offset % 20}/USDT",
        asset_class="CRYPTO",
        kind="TRADE",
        price=100.0 + offset % 500 / 100,
        quantity=1.0,
        side="BUY",
        sequence_id=offset,
        trade_id=str(offset),
        source_topic="raw.binance",
        source_partition=0,
        source_offset=offset,
    )


@contextmanager
def gateway() -> Iterator[tuple[Settings, psutil.Process]]:
    """Run the local ClickHouse with tables deployed; yields its process."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        stack.up(settings, lambda line: print(line, file=sys.stderr), servers=(ClickHouse,))
        try:
            migrate(settings)
            running = read_pid_file(Home.of(settings).pid_file("clickhouse"))
            assert running is not None
            yield settings, psutil.Process(running.pid)
        finally:
            stack.down(settings, lambda _line: None, servers=(ClickHouse,))


if __name__ == "__main__":
    for what, spent in measure().items():
        print(what, spent)
