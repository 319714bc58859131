"""Where the time of a tick goes within a processor: decoding, parsing, the pipeline, encoding and handing over, state.

A worker in memory (all that a processor does but for Faust, the broker's client and the broker) plays what a producer
wrote of a market of 100 symbols: trades, best quotes, depth. Each round does the same; stages are timed by raw record,
and of each the least of all rounds counts: what else runs on the machine makes single ones longer, never shorter.

Run: python -m benchmarks.anatomy
"""

import time
from typing import Final, NamedTuple

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


class Round(NamedTuple):
    """What was spent: seconds by stage and raw record, and on all snapshots."""

    ticks: int
    stages: dict[str, list[float]]
    snapshots_s: float


def measure() -> dict[str, dict[str, float]]:
    """Measure µs of processor time a tick."""
    tape = record(ONE, SYMBOLS, RATE)
    rounds = [played(tape) for _ in range(ROUNDS)]
    names, ticks = rounds[0].stages, rounds[0].ticks
    least_s = {name: sum(map(min, zip(*(each.stages[name] for each in rounds), strict=True))) for name in names}
    known_s = {
        "raw records decoded": least_s["decode"],
        "messages parsed": least_s["parse"],
        "the rest of the pipeline": least_s["process"] - least_s["parse"],
        "records encoded and handed over": least_s["send"],
    }
    found = known_s | {
        "metrics and the rest": least_s["step"] - sum(known_s.values()),
        OUTSIDE: least_s["step"],
        "snapshots": min(each.snapshots_s for each in rounds),
    }
    return {"us_per_tick": {name: cpu_us(seconds, ticks) for name, seconds in found.items()}}


def played(tape: Tape) -> Round:
    """Play a tape once."""
    worker = MemoryWorker(tape.place.venue)
    for time_us, value in tape.begin:
        worker.step(value, time_us)
    worker.snapshot()
    worker.nowhere.counts.clear()
    stages, steps_s = worker.timed(), list[float]()
    snapshots_s, due_us = 0.0, tape.records[0][0] + EACH_US
    for time_us, value in tape.records:
        began_s = time.process_time()
        worker.step(value, time_us)
        steps_s.append(time.process_time() - began_s)
        if time_us >= due_us:
            due_us += EACH_US
            snapshots_s += worker.snapshot()
    ticks = sum(worker.nowhere.counts.get(topic.name, 0) for topic in (TICK, DEPTH))
    return Round(ticks, stages | {"step": steps_s, "parse": parsed_s(tape)}, snapshots_s)


def parsed_s(tape: Tape) -> list[float]:
    """Parse all messages once more, alone; returns the seconds that each raw record takes."""
    decoder, parse = Decoder(RawFrames, lambda _: schema_text(RawFrames)), VENUES[tape.place.venue].parse
    memories, found = dict[str, Memory](), list[float]()
    for _, value in tape.records:
        raw = decoder.decode(value)
        frames = [
            (source.market, frame, memories.setdefault(source.connection, Memory()))
            for source, frame in ((raw.sources[each.source], each) for each in raw.frames)
            if frame.kind == "MESSAGE"
        ]
        began_s = time.process_time()
        for market, frame, memory in frames:
            parse(market, frame, memory)
        found.append(time.process_time() - began_s)
    return found


if __name__ == "__main__":
    for name, us in measure()["us_per_tick"].items():
        print(f"{name}: {us} µs")
