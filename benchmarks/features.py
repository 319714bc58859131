"""Features over arrays: ticks a second of one core, from Arrow rows to columns; those of books apart.

A made day of one symbol: 100 ticks a second, two quotes for each trade, prices that wander; the book has 500 levels a
side and 10 changes of 20 levels a second. Rows of the stream's own code over the same ticks, for the ratio.

Run: python -m benchmarks.features
"""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from processors.features.stream import DEFAULT_WINDOWS_S, FeatureStream
from schemas.records import Depth, Tick
from tickerplant.research.features import BookItem, features_of, table_of
from tickerplant.research.streams import TICK_COLUMNS, ticks_of

TICKS: Final = 4_000_000
TICKS_PER_S: Final = 100
STREAMED: Final = 300_000
CHANGES: Final = 20_000
CHANGES_PER_S: Final = 10
BOOK_LEVELS: Final = 500
START_US: Final = 1_800_000_000_000_000


def measure() -> dict[str, float]:
    """Measure the offline rate, the stream's, and that of books."""
    rows = ticks()
    offline_s = seconds_of(lambda: table_of(features_of(ticks_of(rows)), DEFAULT_WINDOWS_S))
    streamed = [Tick(**row, **REST) for row in rows.slice(0, STREAMED).to_pylist()]
    stream_s = seconds_of(lambda: stream(streamed))
    items = changes()
    book_s = seconds_of(lambda: table_of(features_of(ticks_of(rows.slice(0, 0)), items), DEFAULT_WINDOWS_S))
    offline, online = TICKS / offline_s, STREAMED / stream_s
    return {
        "offline_ticks_per_s": round(offline),
        "stream_ticks_per_s": round(online),
        "ratio": round(offline / online, 1),
        "book_changes_per_s": round(CHANGES / book_s),
    }


REST: Final[dict[str, Any]] = {
    "event_time_us": 0,
    "venue": "V",
    "symbol": "S",
    "asset_class": "CRYPTO",
    "sequence_id": 0,
}


def ticks() -> pa.Table:
    """Make rows of trades and quotes."""
    random = np.random.default_rng(7)
    number = np.arange(TICKS)
    is_trade = number % 3 == 0
    recv_us = START_US + number * (1_000_000 // TICKS_PER_S)
    price = np.round(50_000 + np.cumsum(random.normal(0, 0.5, TICKS)), 1)
    sizes = random.uniform(0.001, 5, (3, TICKS))
    none = {"mask": is_trade}
    columns = {
        "kind": np.where(is_trade, "TRADE", "QUOTE"),
        "exchange_time_us": recv_us - random.integers(1_000, 200_000, TICKS),
        "recv_time_us": recv_us,
        "price": price,
        "quantity": np.where(is_trade, sizes[0], 0.0),
        "side": np.where(is_trade, np.where(sizes[1] > 2.5, "BUY", "SELL"), "UNKNOWN"),
        "bid": pa.array(price - 0.1, **none),
        "ask": pa.array(price + 0.1, **none),
        "bid_size": pa.array(sizes[1], **none),
        "ask_size": pa.array(sizes[2], **none),
        "flags": pa.repeat("", TICKS),
        "source_topic": pa.repeat("raw.v", TICKS),
        "source_partition": np.zeros(TICKS, np.int32),
        "source_offset": number,
        "source_index": np.zeros(TICKS, np.int32),
    }
    return pa.table({name: columns[name] for name in TICK_COLUMNS})


def changes() -> list[BookItem]:
    """Make a book and changes of it."""
    random = np.random.default_rng(7)
    levels = np.arange(BOOK_LEVELS) / 10
    items = [change(0, (50_000 - levels, 50_000.1 + levels), np.ones(BOOK_LEVELS), is_snapshot=True)]
    for number in range(1, CHANGES):
        places = random.integers(0, BOOK_LEVELS, 10) / 10
        sizes = np.where(random.uniform(size=10) < 0.3, 0.0, random.uniform(0.001, 5, 10))
        items.append(change(number, (50_000 - places, 50_000.1 + places), sizes, is_snapshot=False))
    return items


def change(number: int, prices: tuple[Any, Any], sizes: Any, *, is_snapshot: bool) -> BookItem:
    """Make one change, the same of bids and asks."""
    recv_us = START_US + number * (1_000_000 // CHANGES_PER_S)
    depth = Depth(
        event_time_us=recv_us,
        exchange_time_us=recv_us,
        recv_time_us=recv_us,
        venue="V",
        symbol="S",
        is_snapshot=is_snapshot,
        snapshot_id=1,
        bid_prices=prices[0].tolist(),
        bid_sizes=sizes.tolist(),
        ask_prices=prices[1].tolist(),
        ask_sizes=sizes.tolist(),
    )
    return BookItem((number, 0), recv_us, depth)


def stream(items: list[Tick]) -> None:
    """Feed ticks to the stream's code, as the processor does."""
    features = FeatureStream()
    for tick in items:
        if tick.kind == "TRADE":
            features.on_trade(tick)
        else:
            features.on_quote(tick)


def seconds_of(work: Callable[[], object]) -> float:
    """Measure the processor time of this process: cores are shared."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


if __name__ == "__main__":
    print(measure())
