"""One partition of 1,000 symbols with books of 1,000 levels a side, 2,000 deltas/s: what its snapshots cost.

A message waits for all that runs on the processor's loop; its time is from when it is due until it is processed. Runs
without snapshots and with one a second take turns.

Run: python -m benchmarks.snapshots
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import uvloop
from faust.types import TP

from benchmarks.inputs import LISTING_URL, TERMS
from processors.app import Processor
from processors.outputs import Outputs
from processors.state_store import Loaded, load
from schemas.codec import Encoder
from schemas.records import Frame, FrameKind, RawFrames, Source, State
from schemas.topics import raw_topic
from tickerplant.clock import now_us
from tickerplant.deploy import deploy
from tickerplant.local import stack
from tickerplant.local.ports import with_local
from tickerplant.registry import Registry
from tickerplant.settings import Settings

SYMBOLS: Final = [f"S{number}USDT" for number in range(1000)]
LEVELS: Final = 1000  # a side
CHANGES: Final = 10  # a side and delta
RATE_HZ: Final = 2000
WARM_UP_S: Final = 3.0
RUN_S: Final = 20.0
TURNS: Final = 2
PARTITION: Final = TP(raw_topic("binance").name, 0)


def measure() -> dict[str, Any]:
    """Measure in a stack of one's own."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        local = with_local(Settings(), Path(folder), keep_free_ports=False)
        settings = local.model_copy(update={"kafka": local.kafka.model_copy(update={"partitions": 1})})
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        try:
            deploy(settings)
            loop = uvloop.new_event_loop()
            try:
                figures = loop.run_until_complete(_measure(settings))
            finally:
                loop.close()
            return figures | restoring(settings)
        finally:
            stack.down(settings, lambda _line: None)


async def _measure(settings: Settings) -> dict[str, Any]:
    processor = Processor(settings)
    worker = processor._worker(PARTITION, Loaded())  # noqa: SLF001  # as on assignment, without Faust
    processor._workers = {PARTITION: worker}  # noqa: SLF001
    processor._follow(processor._workers)  # noqa: SLF001
    counted = Counted(worker.outputs)
    worker.outputs.write = counted  # type: ignore[method-assign]
    messages = Messages(Registry(settings).encoder(raw_topic("binance"), RawFrames))
    for message in messages.books():
        await processor.take(message)
    await with_snapshots(processor, messages, WARM_UP_S)
    first_bytes, steady_bytes = counted.written, 0
    without: list[float] = []
    beside: list[float] = []
    for _ in range(TURNS):
        without += await paced(processor, messages, RUN_S)
        await with_snapshots(processor, messages, WARM_UP_S)  # what changed meanwhile
        before = counted.written
        beside += await with_snapshots(processor, messages, RUN_S)
        steady_bytes = counted.written - before
    await processor.snapshot(FAUST)
    processor.close()
    figures = {"first_snapshot_mb": round(first_bytes / 2**20, 1), "state_kb_per_s": round(steady_bytes / RUN_S / 1024)}
    for name, each in zip(("off", "on"), (without, beside), strict=True):
        figures |= {f"p{percent}_ms_{name}": percentile_ms(each, percent) for percent in (50, 99, 99.9)}
    return figures


async def with_snapshots(processor: Processor, messages: "Messages", run_s: float) -> list[float]:
    """Process for a while, with a snapshot a second beside."""

    async def for_ever() -> None:
        while True:
            await asyncio.sleep(processor.settings.processor.snapshot_s)
            await processor.snapshot(FAUST)

    task = asyncio.ensure_future(for_ever())
    try:
        return await paced(processor, messages, run_s)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def paced(processor: Processor, messages: "Messages", run_s: float) -> list[float]:
    """Process messages when they are due; returns the seconds from then until each was processed."""
    began_s, times = time.monotonic(), []
    for number in range(int(run_s * RATE_HZ)):
        message, due_s = messages.delta(), began_s + number / RATE_HZ
        while (left_s := due_s - time.monotonic()) > 0:  # noqa: ASYNC110  # this waits for a time
            await asyncio.sleep(left_s)
        await processor.take(message)
        times.append(time.monotonic() - due_s)
    return times


class Messages:
    """Kafka messages of one frame each."""

    def __init__(self, encoder: Encoder[RawFrames]) -> None:
        self._encoder = encoder
        self._random = random.Random(1)
        self._offset = self._number = -1
        self._update_ids = dict.fromkeys(SYMBOLS, LEVELS)

    def books(self) -> Iterator[Any]:
        """List the instruments, then give each symbol a delta and the snapshot that it joins."""
        entries = [{"symbol": name, "baseAsset": name[:-4], "filters": []} | TERMS["spot"] for name in SYMBOLS]
        yield self._message(json.dumps({"symbols": entries}), "INSTRUMENTS", LISTING_URL)
        for name in SYMBOLS:
            update_id = self._update_ids[name]
            yield self.delta(name)
            sides = [[[str(price), "1.5"] for price in prices] for prices in (range(1, LEVELS + 1), asks())]
            body = {"lastUpdateId": update_id, "bids": sides[0], "asks": sides[1]}
            url = f"https://api.binance.com/api/v3/depth?symbol={name}&limit={LEVELS}"
            yield self._message(json.dumps(body), "HTTP", url)

    def delta(self, name: str = "") -> Any:
        """Change some levels of a symbol, or of any."""
        name = name or self._random.choice(SYMBOLS)
        update_id = self._update_ids[name] = self._update_ids[name] + 1
        bids, asked = (self._random.sample(prices, CHANGES) for prices in (range(1, LEVELS + 1), asks()))
        sides = {
            side: [[str(price), str(self._random.randint(1, 99))] for price in prices]
            for side, prices in (("b", bids), ("a", asked))
        }
        data = {"e": "depthUpdate", "E": now_us() // 1000, "s": name, "U": update_id, "u": update_id} | sides
        return self._message(json.dumps({"stream": f"{name.lower()}@depth@100ms", "data": data}), "MESSAGE", "")

    def _message(self, body: str, kind: FrameKind, request: str) -> Any:
        self._offset += 1
        self._number += 1
        time_us = now_us()
        frame = Frame(
            source=0,
            number=self._number,
            kind=kind,
            request=request,
            recv_time_us=time_us,
            payload=body.encode(),
        )
        sources = [Source(market="spot", connection="c")]
        raw = RawFrames(venue="BINANCE", event_time_us=time_us, sources=sources, frames=[frame])
        value = self._encoder.encode(raw)
        return SimpleNamespace(tp=PARTITION, offset=self._offset, value=value, timestamp=time_us / 1_000_000)


def asks() -> range:
    """List the prices of asks."""
    return range(LEVELS + 1, 2 * LEVELS + 1)


class Uncommitted:
    """The part of a Faust application that a snapshot uses; offsets are committed nowhere."""

    def __init__(self) -> None:
        self.consumer = SimpleNamespace(_thread=self)

    async def commit(self, _offsets: Any) -> None:
        """Do nothing."""


FAUST: Final = Uncommitted()


class Counted:
    """Counts the bytes of state that are written."""

    def __init__(self, outputs: Outputs) -> None:
        self.written = 0
        self._write = outputs.write

    def __call__(self, topic: str, key: bytes, value: bytes) -> None:
        """Count and pass on."""
        self.written += len(key) + len(value)
        self._write(topic, key, value)


def restoring(settings: Settings) -> dict[str, Any]:
    """Measure how long it takes to load the state and to make books of it."""
    processor = Processor(settings)
    began_s = time.monotonic()
    loaded = load(settings, Registry(settings).decoder(State), PARTITION.topic, 0)
    loaded_s = time.monotonic()
    processor._worker(PARTITION, loaded)  # noqa: SLF001
    processor.close()
    return {"load_s": round(loaded_s - began_s, 2), "restore_s": round(time.monotonic() - loaded_s, 2)}


def percentile_ms(times_s: list[float], percent: float) -> float:
    """Tell the percentile of times."""
    return round(sorted(times_s)[int(len(times_s) * percent / 100)] * 1000, 2)


if __name__ == "__main__":
    print(measure())
