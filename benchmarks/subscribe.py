"""Ticks that `tickerplant.subscribe` gives a loop, of all symbols and of one of twenty; the broker on the same cores.

Run: python -m benchmarks.subscribe
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

import tickerplant
from benchmarks.codec import TICK
from schemas.records import Tick
from schemas.topics import TICK as TOPIC
from tickerplant.deploy import deploy
from tickerplant.kafka import Publisher
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.registry import Registry
from tickerplant.settings import Settings

TICKS = 500_000
SYMBOLS = 20
EVERY_US = 137


def measure() -> dict[str, Any]:
    """Measure ticks a second, by the clock and by the processor time of the whole subscribing process."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            fill(settings)
            every, one = take(settings, []), take(settings, ["S07/USDT"])
        finally:
            stack.down(settings, lambda _line: None)
    return {"ticks": TICKS} | every | {f"{name}_one_of_{SYMBOLS}": value for name, value in one.items()}


def fill(settings: Settings) -> None:
    """Write ticks as processors do, into one partition."""
    encoder, publisher = Registry(settings).encoder(TOPIC, Tick), Publisher(settings)
    for number in range(TICKS):
        symbol = f"S{number % SYMBOLS:02}/USDT"
        tick = msgspec.structs.replace(
            TICK,
            symbol=symbol,
            event_time_us=TICK.event_time_us + number * EVERY_US,
            recv_time_us=TICK.recv_time_us + number * EVERY_US,
            sequence_id=number,
            source_offset=number // 8,
            source_index=number % 8,
        )
        source = f"raw.binance:0:{number // 8}:{number % 8}".encode()
        publisher.send(TOPIC.name, 0, f"BINANCE|{symbol}".encode(), encoder.encode(tick), [("source", source)])
    publisher.flush()


def take(settings: Settings, symbols: list[str]) -> dict[str, float]:
    """Take all that the topic holds; what is not wanted is passed over."""
    options: Any = {"from_": "earliest", "follow": False, "settings": settings, "symbols": symbols}
    with tickerplant.subscribe("cleaned.tick", **options) as ticks:
        began_s, spent_s = time.perf_counter(), time.process_time()
        count = sum(1 for _ in ticks)
        wall_s, spent_s = time.perf_counter() - began_s, time.process_time() - spent_s
    if count != TICKS // (SYMBOLS if symbols else 1):
        sys.exit(f"{count} ticks came")
    return {"ticks_per_s": round(TICKS / wall_s), "ticks_per_processor_s": round(TICKS / spent_s)}


if __name__ == "__main__":
    print("subscribe", measure())
