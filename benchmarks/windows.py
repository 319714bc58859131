"""Memory of 1,000 symbols with all windows full: a partition with outliers, bars and features, minus one without.

Two streams of Binance's messages through the pipeline, each in fresh processes with the stages and without, resident
memory compared at the end:

hour       66 minutes with five trades of each symbol in every minute: outliers have their whole past, every minute that
           may still change is kept, a bar of each interval up to a day is open
minutes    310 seconds with a trade and a best quote of each symbol in every second: the longest window of features
           (300 s) is full

Books have 200 levels a side; features keep a copy of them.

Run: python -m benchmarks.windows
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from random import Random
from typing import Any, Final, NamedTuple

from benchmarks.inputs import LISTING_URL, TERMS
from benchmarks.load import resident_mb
from benchmarks.market import SECOND_US, START_US
from benchmarks.stages import without_stages
from processors.bars import LENGTHS_US
from processors.features.stream import DEFAULT_WINDOWS_S
from processors.outliers import DEVIATIONS
from processors.pipeline import Pipeline
from schemas.records import Frame, FrameKind, RawFrames, Source

SYMBOLS: Final = [f"S{number}USDT" for number in range(1000)]
LEVELS: Final = 200  # a side
BIDS: Final = range(50_000 - LEVELS, 50_000)
ASKS: Final = range(50_001, 50_001 + LEVELS)
CHANGED: Final = 5  # levels a side and delta
MINUTES: Final = 66
FEW_SECONDS: Final = 310
FEWEST_MINUTES: Final = 60
AIM_MB: Final = 300


class Stream(NamedTuple):
    """How a symbol trades: for so many seconds, so many seconds between trades, quotes and changes of the book."""

    seconds: int
    trade_s: int
    quote_s: int
    depth_s: int


STREAMS: Final = {
    "hour": Stream(MINUTES * 60, 12, 60, 60),
    "minutes": Stream(FEW_SECONDS, 1, 1, 10),
}


def measure() -> dict[str, Any]:
    """Compare both streams."""
    found = {name: both(name) for name in STREAMS}
    more = {name: on - off for name, (on, off) in found.items()}
    return {
        "bars_and_outliers_mb": more["hour"],
        "features_mb": more["minutes"],
        "all_windows_mb": sum(more.values()),
        "aim_mb": AIM_MB,
        "process_mb": max(on for on, _ in found.values()),
        "symbols": len(SYMBOLS),
        "levels_a_side": LEVELS,
    }


def both(stream: str) -> tuple[int, int]:
    """Play a stream in fresh processes, with stages and without; returns their resident memory, megabytes."""
    command = [sys.executable, "-m", "benchmarks.windows", stream]
    children = [subprocess.Popen([*command, how], stdout=subprocess.PIPE) for how in ("with", "without")]
    told = [each.communicate()[0] for each in children]
    if any(each.returncode for each in children):
        sys.exit("windows are not full, or the stream cannot be played")
    on, off = map(int, told)
    return on, off


def play(name: str, how: str) -> int:
    """Play a stream; returns the resident memory of this process then, megabytes."""
    with_features = name == "minutes" and how == "with"
    without_all = name == "hour" and how == "without"
    pipeline = Pipeline("BINANCE", "raw.binance", 0, windows_s=DEFAULT_WINDOWS_S if with_features else ())
    with without_stages() if without_all else nullcontext():
        for offset, raw in enumerate(records(STREAMS[name])):
            pipeline.process(offset, raw)
    if not without_all:
        check(pipeline, name, with_features=with_features)
    gc.collect()
    return resident_mb(os.getpid())


def check(pipeline: Pipeline, name: str, *, with_features: bool) -> None:
    """Make sure that windows are full."""
    for state in pipeline.states():
        if name == "hour":
            spans = state.bars.capture(is_whole=True).spans
            assert len(spans["1m"]) >= FEWEST_MINUTES
            assert spans.keys() == LENGTHS_US.keys()
            assert len(state.outliers["TRADE"].capture(is_whole=True).deviations) == DEVIATIONS
        if with_features:
            assert state.features is not None
            assert len(state.features.capture(is_whole=True).seconds) > DEFAULT_WINDOWS_S[-1]


def records(stream: Stream) -> Iterator[RawFrames]:
    """Make raw records: instruments and books, then what a second holds, and a CLOCK."""
    messages = Messages()
    sources = [Source(market="spot", connection="c"), Source(market="", connection="clock")]
    for frame in (messages.listing(), *messages.books()):
        yield RawFrames(venue="BINANCE", event_time_us=START_US, sources=sources, frames=[frame])
    for second in range(1, stream.seconds + 1):
        frames = list(messages.second(second, stream))
        yield RawFrames(venue="BINANCE", event_time_us=time_us(second), sources=sources, frames=frames)


class Messages:
    """Frames of one connection, of prices that wander."""

    def __init__(self) -> None:
        self._random = Random(1)
        self._number = -1
        self._clock_number = -1
        self._prices = dict.fromkeys(SYMBOLS, BIDS[-1])
        self._update_ids = dict.fromkeys(SYMBOLS, 1)
        self._told_ids = dict.fromkeys(SYMBOLS, 1)  # by depth
        self._trade_ids = dict.fromkeys(SYMBOLS, 0)

    def listing(self) -> Frame:
        """List the symbols."""
        entries = [{"symbol": name, "baseAsset": name[:-4], "filters": []} | TERMS["spot"] for name in SYMBOLS]
        return self._frame(0, json.dumps({"symbols": entries}), "INSTRUMENTS", LISTING_URL)

    def books(self) -> Iterator[Frame]:
        """Give each symbol a delta, and the snapshot that it joins."""
        bids, asks = ([[str(price), "1.5"] for price in prices] for prices in (BIDS, ASKS))
        for name in SYMBOLS:
            yield self._depth(name, 0)
            body = {"lastUpdateId": self._update_ids[name], "bids": bids, "asks": asks}
            url = f"https://api.binance.com/api/v3/depth?symbol={name}&limit=1000"
            yield self._frame(0, json.dumps(body), "HTTP", url)

    def second(self, second: int, stream: Stream) -> Iterator[Frame]:
        """Make what happens in a second, with a CLOCK at its end."""
        for place, name in enumerate(SYMBOLS):
            turn = second + place
            if turn % stream.trade_s == 0:
                yield self._trade(name, second)
            if turn % stream.quote_s == 0:
                yield self._quote(name, second)
            if turn % stream.depth_s == 0:
                yield self._depth(name, second)
        self._clock_number += 1
        yield Frame(source=1, number=self._clock_number, kind="CLOCK", recv_time_us=time_us(second), payload=b"")

    def _trade(self, name: str, second: int) -> Frame:
        price = self._prices[name] = self._prices[name] + self._random.randint(-3, 3)
        number = self._trade_ids[name] = self._trade_ids[name] + 1
        at_ms, size, is_sell = time_us(second) // 1000 - 5, self._random.randint(1, 10**6) / 1000, number % 2
        return self._message(
            second,
            f"{name.lower()}@trade",
            f'{{"e":"trade","E":{at_ms},"s":"{name}","t":{number},"p":"{price}","q":"{size}","T":{at_ms},'
            f'"m":{"true" if is_sell else "false"},"M":true}}',
        )

    def _quote(self, name: str, second: int) -> Frame:
        update_id = self._update_ids[name] = self._update_ids[name] + 1
        price, sizes = self._prices[name], [self._random.randint(1, 10**6) / 1000 for _ in range(2)]
        return self._message(
            second,
            f"{name.lower()}@bookTicker",
            f'{{"u":{update_id},"s":"{name}","b":"{price}","B":"{sizes[0]}","a":"{price + 1}","A":"{sizes[1]}"}}',
        )

    def _depth(self, name: str, second: int) -> Frame:
        first = self._told_ids[name] + 1
        last = self._told_ids[name] = self._update_ids[name] = max(self._update_ids[name] + 1, first)
        sides = [
            ",".join(
                f'["{price}","{self._random.randint(1, 10**6) / 1000}"]'
                for price in self._random.sample(prices, CHANGED)
            )
            for prices in (BIDS, ASKS)
        ]
        return self._message(
            second,
            f"{name.lower()}@depth@100ms",
            f'{{"e":"depthUpdate","E":{time_us(second) // 1000},"s":"{name}","U":{first},"u":{last},'
            f'"b":[{sides[0]}],"a":[{sides[1]}]}}',
        )

    def _message(self, second: int, stream: str, data: str) -> Frame:
        return self._frame(second, f'{{"stream":"{stream}","data":{data}}}', "MESSAGE")

    def _frame(self, second: int, body: str, kind: FrameKind, request: str = "") -> Frame:
        self._number += 1
        return Frame(
            source=0,
            number=self._number,
            kind=kind,
            request=request,
            recv_time_us=time_us(second),
            payload=body.encode(),
        )


def time_us(second: int) -> int:
    """Tell the time of a second of a stream."""
    return START_US + second * SECOND_US


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(play(sys.argv[1], sys.argv[2]))
    else:
        print(measure())
