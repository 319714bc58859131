"""A tick through all processes: the processor time that each spends on it, and its bytes in each store.

A backlog of raw records of one partition is worked off by one processor and one sink of each kind, which run at once,
on the local stack; raw frames are stored, too. Bytes are those on disk: of the broker's topics as producers compress
them, of ClickHouse's active parts, of the Parquet files as they were written, before they are compacted.

Run: python -m benchmarks.budget
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.load import GROUPS, backlog, load
from schemas.topics import RAW_PREFIX, STATE
from tickerplant.demo.stores import clickhouse
from tickerplant.deploy import deploy
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.local.server import Home
from tickerplant.settings import Settings

SIZES: Final = """
SELECT database || '.' || table, sum(bytes_on_disk) FROM system.parts
WHERE active AND database IN ('market_data', 'metadata', 'symbols') GROUP BY 1
"""
RAW_TABLE: Final = "market_data.tick_raw"


def measure() -> dict[str, Any]:
    """Measure in a stack of one's own."""
    tape = backlog(1)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        local = with_local(Settings(), Path(folder), keep_free_ports=False)
        settings = local.model_copy(update={"kafka": local.kafka.model_copy(update={"partitions": 1})})
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            found = load(settings, GROUPS, tape)
            sizes = bytes_in_stores(settings)
        finally:
            stack.down(settings, lambda _line: None)
    return {
        "us_per_tick": dict(found.us_per_tick),
        "us_per_tick_in_all": round(sum(found.us_per_tick.values()), 1),
        "bytes_per_tick": {name: round(size / found.all_ticks, 1) for name, size in sizes.items()},
        "ticks": found.ticks,
        "seconds": round(found.seconds, 1),
        "memory_mb": dict(found.memory_mb),
    }


def bytes_in_stores(settings: Settings) -> dict[str, int]:
    """Tell the bytes on disk, raw frames and all else apart."""
    home = Home.of(settings)
    topics = {folder.name: size_of(folder.glob("*.log")) for folder in (home.data("broker") / "data").glob("*-[0-9]*")}
    kept = {name: size for name, size in topics.items() if not name.startswith((STATE.name, "__"))}
    raw_topics = sum(size for name, size in kept.items() if name.startswith(RAW_PREFIX))
    with clickhouse(settings) as client:
        tables: dict[str, int] = dict(client.execute(SIZES))
    raw_table = tables.pop(RAW_TABLE, 0)
    files = {path: path.stat().st_size for path in (home.data("s3") / "data").rglob("*.parquet")}
    raw_files = sum(size for path, size in files.items() if "raw" in path.parts)
    return {
        "kafka_raw": raw_topics,
        "kafka_cleaned": sum(kept.values()) - raw_topics,
        "clickhouse_raw": raw_table,
        "clickhouse_cleaned": sum(tables.values()),
        "parquet_raw": raw_files,
        "parquet_cleaned": sum(files.values()) - raw_files,
    }


def size_of(paths: Iterable[Path]) -> int:
    """Add up sizes of files."""
    return sum(path.stat().st_size for path in paths)


if __name__ == "__main__":
    print("budget", measure())
