"""Where the time of a tick goes within a processor: decoding, parsing, the pipeline, encoding and handing over, state.

A worker in memory (all that a processor does but for Faust, the broker's client and the broker) plays what a producer
wrote of a market of 100 symbols: trades, best quotes, depth. Stages are timed by
raw record.

Run: python -m benchmarks.anatomy
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

from benchmarks.scale import ONE, RATE, Tape, record
from benchmarks.worker import MemoryWorker, cpu_us
from processors.memory import Memory
from processors.venues import VENUES
from schemas.codec import Decoder, schema_text
from schemas.records import RawFrames
from schemas.topics import DEPTH, TICK

SYMBOLS: Final = 100
ROUNDS: Final = 5
EACH_US: Final = 1_000_000
OUTSIDE: Final = "in all, but for Faust, the broker's client and snapshots"


def measure() -> dict[str, dict[str, float]]:
    """Measure µs of processor time a tick: medians of rounds."""
    tape = record(ONE, SYMBOLS, RATE)
    rounds = [played(tape) for _ in range(ROUNDS)]
    return {"us_per_tick": {name: round(median(each[name] for each in rounds), 2) for name in rounds[0]}}


def played(tape: Tape) -> dict[str, float]:
    """Play a tape once."""
    worker, decoder = MemoryWorker(tape.place.venue), Decoder(RawFrames, lambda _: schema_text(RawFrames))
    for time_us, value in tape.begin:
        worker.step(value, time_us)
    worker.snapshot()
    worker.nowhere.counts.clear()
    stages, snapshots_s, due_us = worker.timed(), 0.0, tape.records[0][0] + EACH_US
    with spent() as whole:
        for time_us, value in tape.records:
            worker.step(value, time_us)
            if time_us >= due_us:
                due_us += EACH_US
                snapshots_s += worker.snapshot()
    ticks = sum(worker.nowhere.counts.get(topic.name, 0) for topic in (TICK, DEPTH))
    parsing_s = parsed_s([decoder.decode(value) for _, value in tape.records], tape.place.venue)
    known_s = {
        "raw records decoded": stages["decode"],
        "messages parsed": parsing_s,
        "the rest of the pipeline": stages["process"] - parsing_s,
        "records encoded and handed over": stages["send"],
    }
    alone_s = whole[0] - snapshots_s
    found = known_s | {
        "metrics and the rest": alone_s - sum(known_s.values()),
        OUTSIDE: alone_s,
        "snapshots": snapshots_s,
    }
    return {name: cpu_us(seconds, ticks) for name, seconds in found.items()}


def parsed_s(records: list[RawFrames], venue: str) -> float:
    """Parse all messages once more, alone; returns the seconds that it takes."""
    parse, memories = VENUES[venue].parse, dict[str, Memory]()
    frames = [
        (raw.sources[frame.source].market, frame, memories.setdefault(raw.sources[frame.source].connection, Memory()))
        for raw in records
        for frame in raw.frames
        if frame.kind == "MESSAGE"
    ]
    with spent() as took:
        for market, frame, memory in frames:
            parse(market, frame, memory)
    return took[0]


@contextmanager
def spent() -> Iterator[list[float]]:
    """Tell, once it is over, the seconds of processor time within."""
    took = [0.0]
    began_s = time.process_time()
    yield took
    took[0] = time.process_time() - began_s


if __name__ == "__main__":
    for name, us in measure()["us_per_tick"].items():
        print(f"{name}: {us} µs")
