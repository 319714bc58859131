"""One partition of 1,000 symbols with books of 1,000 levels a side, 2,000 deltas/s: what its snapshots cost a message.

The clock is the processor time of the thread, so that other programs on the machine do not count: a message is due each
half millisecond, and waits for the messages before it and for what snapshots do on the same loop. Runs without
snapshots and with one a second take turns.

Run: python -m benchmarks.snapshots
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from faust.types import TP

import processors.worker
from benchmarks.inputs import LISTING_URL, TERMS
from processors.app import SLICE_S, YIELD_EVERY_S, Known, Processor
from processors.start import find_start
from processors.state_store import Loaded, load
from processors.worker import Captured, PartitionWorker
from processors.written import Written
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
SNAPSHOT_S: Final = 1.0
RUN_S: Final = 10.0
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
            with patch.object(processors.worker, "perf_counter", time.thread_time):
                return _measure(settings) | restoring(settings)
        finally:
            stack.down(settings, lambda _line: None)


def _measure(settings: Settings) -> dict[str, Any]:
    loop = Loop(Processor(settings))
    messages = Messages(Registry(settings).encoder(raw_topic("binance"), RawFrames))
    for message in messages.books():
        loop.take(message)
    loop.run([], wants_snapshots=True)
    first_bytes, steady_bytes = loop.written, 0
    spent_s = [0.0, 0.0]
    times: list[list[float]] = [[], []]
    for _ in range(TURNS):
        for wants_snapshots in (False, True):
            made = [messages.delta() for _ in range(int(RUN_S * RATE_HZ))]
            before, began_s = loop.written, time.thread_time()
            times[wants_snapshots] += loop.run(made, wants_snapshots=wants_snapshots)
            spent_s[wants_snapshots] += time.thread_time() - began_s
            steady_bytes = loop.written - before
            loop.run([], wants_snapshots=True)  # what changed meanwhile
    loop.processor.close()
    figures = {
        "first_snapshot_mb": round(first_bytes / 2**20, 1),
        "state_kb_per_s": round(steady_bytes / RUN_S / 1024),
    }
    for name, each, each_s in zip(("off", "on"), times, spent_s, strict=True):
        figures |= {f"p{percent}_ms_{name}": percentile_ms(each, percent) for percent in (50, 99, 99.9)}
        figures |= {f"us_per_frame_{name}": round(each_s / len(each) * 1_000_000)}
    return figures


def make_worker(processor: Processor, loaded: Loaded) -> PartitionWorker:
    """Make a worker as on assignment, without Faust."""
    log = processor._logs([PARTITION])[PARTITION]  # noqa: SLF001
    known = Known(loaded, find_start(loaded, log), log)
    return processor._worker(PARTITION, known, Written())  # noqa: SLF001


class Loop:
    """What `processors.app` does on its loop, on the clock of the thread."""

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self.worker = make_worker(processor, Loaded())
        self.written = 0
        self._write = self.worker.outputs.write
        self.worker.outputs.write = self._count  # type: ignore[method-assign]
        self._captured: Captured | None = None
        self._mark: dict[str, int] | None = None

    def run(self, messages: list[Any], *, wants_snapshots: bool) -> list[float]:
        """Process messages at their times, with a snapshot a second, or one at the end of none.

        Returns:
            The seconds from when each was due until it was processed.
        """
        times: list[float] = []
        now_s, snapshot_s = 0.0, 0.0
        while len(times) < len(messages) or (wants_snapshots and self._captured is not None) or not (messages or now_s):
            began_s, done = time.thread_time(), len(times)
            if wants_snapshots and now_s >= snapshot_s and self._go_on():
                snapshot_s = now_s + SNAPSHOT_S
            while len(times) < len(messages):
                at_s = now_s + time.thread_time() - began_s
                due_s = len(times) / RATE_HZ
                if due_s > at_s or at_s > now_s + YIELD_EVERY_S:
                    break
                self.take(messages[len(times)])
                times.append(now_s + time.thread_time() - began_s - due_s)
            self.processor._publisher.poll()  # noqa: SLF001
            now_s += time.thread_time() - began_s
            if done == len(times) < len(messages) and (self._captured is None or self._mark is not None):
                now_s = max(now_s, len(times) / RATE_HZ)  # nothing to do until then
        return times

    def take(self, message: Any) -> None:
        """Process a message."""
        self.worker.step(message.offset, message.value, int(message.timestamp * 1_000_000))

    def _go_on(self) -> bool:
        """Do the next step of a snapshot; True = it stands."""
        worker = self.worker
        if self._captured is None:
            self._captured = worker.capture()
        elif self._mark is not None:
            if worker.outputs.is_delivered(self._mark):
                self._captured = self._mark = None
                return True
        elif not worker.write_pieces(self._captured, SLICE_S) and worker.outputs.is_delivered(self._captured.mark):
            self._mark = worker.write_head(self._captured)
        return False

    def _count(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.written += len(key) + len(value or b"")
        self._write(topic, key, value)


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


def restoring(settings: Settings) -> dict[str, Any]:
    """Measure how long it takes to load the state and to make books of it."""
    processor = Processor(settings)
    began_s = time.thread_time()
    loaded = load(settings, Registry(settings).decoder(State), [PARTITION.topic], 0)[PARTITION.topic]
    read_s = time.thread_time() - began_s
    loaded_s = time.thread_time()
    make_worker(processor, loaded)
    processor.close()
    return {"load_s": round(read_s, 2), "restore_s": round(time.thread_time() - loaded_s, 2)}


def percentile_ms(times_s: list[float], percent: float) -> float:
    """Tell the percentile of times."""
    return round(sorted(times_s)[int(len(times_s) * percent / 100)] * 1000, 2)


if __name__ == "__main__":
    print(measure())
