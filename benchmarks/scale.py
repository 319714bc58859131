"""What a tick costs as symbols, venues, partitions and processes grow: processor time, in microseconds a tick.

A tick is a trade, a best quote or a change of a book: a record of cleaned.tick or cleaned.depth. What is measured is
processor time summed over processes, not the clock, so that two cores tell the same as many would.

symbols    the same 10,000 frames a second of one venue, spread over ever more symbols: a worker in memory (all that a
           processor does but for Faust and the broker: decoding, records encoded, metrics, snapshots), the
           end of a minute among what is played, so that bars close; features, and rarer snapshots, once each
venues     the streams of ever more venues in one process, beside the sum of what each costs alone
processes  the same raw records in 1, 2, 4, 8 partitions, worked off by as many processor processes on a local broker

Run: python -m benchmarks.scale [symbols] [venues] [processes]
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from heapq import merge
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.load import Load, backlog, load
from benchmarks.market import SECOND_US, START_US, Made, Place, QuietVenue
from benchmarks.worker import MemoryWorker, cpu_us, raw_encoder
from processors.app import GC_ALLOCATIONS, snapshot_every_s
from processors.features.stream import DEFAULT_WINDOWS_S
from schemas.topics import DEPTH, TICK, catalogue
from schemas.venues import SYMBOLOGIES
from tickerplant.kafka import create_topics
from tickerplant.local import stack
from tickerplant.local.broker import Broker
from tickerplant.local.ports import with_local
from tickerplant.local.registry import SchemaRegistry
from tickerplant.registry import Registry
from tickerplant.settings import Settings

ROUNDS: Final = 3
RATE: Final = 10_000
SECONDS: Final = 12
BEFORE_MINUTE_S: Final = 4
SYMBOLS: Final = (10, 100, 1000, 5000)
RARELY_S: Final = 5
HOW: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "features": {"windows_s": DEFAULT_WINDOWS_S},
    "rarely": {"snapshot_s": RARELY_S},
}
ONE: Final = Place("BYBIT", "linear")
PLACES: Final = (
    Place("BINANCE", "spot"),
    Place("BITFINEX", "spot"),
    Place("BYBIT", "linear"),
    Place("COINBASE", "exchange"),
    Place("DERIBIT", "futures"),
    Place("GATE", "futures"),
    Place("HTX", "linear"),
    Place("HYPERLIQUID", "perp"),
    Place("KRAKEN", "spot"),
    Place("KUCOIN", "spot"),
    Place("OKX", "swap"),
)
VENUES: Final = (1, 2, 4, 8, 11)
SYMBOLS_A_VENUE: Final = 50
RATE_A_VENUE: Final = 1000
PROCESSES: Final = (1, 2, 4, 8)


class Tape(NamedTuple):
    """What a producer has written of a market: raw records, each with its time.

    Args:
        begin: instruments, subscriptions and books.
    """

    place: Place
    begin: list[tuple[int, bytes]]
    records: list[tuple[int, bytes]]


class Cost(NamedTuple):
    """What was spent on so many ticks."""

    ticks: int
    seconds: float
    snapshots_s: float


def record(place: Place, symbols: int, rate: float, seconds: int = SECONDS) -> Tape:
    """Let a market run, a minute of it ending within."""
    encoder = raw_encoder()
    venue = QuietVenue(place, symbols, rate, start_us=START_US - BEFORE_MINUTE_S * SECOND_US)

    def encoded(made: Made) -> tuple[int, bytes]:
        return made.raw.event_time_us, encoder.encode(made.raw)

    return Tape(place, list(map(encoded, venue.begin())), list(map(encoded, venue.seconds(seconds))))


def play(tapes: Sequence[Tape], windows_s: Sequence[int] = (), snapshot_s: float = 1) -> Cost:
    """Process tapes side by side, each by a worker of its own, as one process does; first all books are made.

    Args:
        snapshot_s: how often state is written; where there is much of it, less, as a process does.
    """
    workers = [MemoryWorker(tape.place.venue, windows_s) for tape in tapes]
    for worker, tape in zip(workers, tapes, strict=True):
        for time_us, value in tape.begin:
            worker.step(value, time_us)
        worker.snapshot()
        worker.nowhere.counts.clear()
    lanes = [[(*each, worker) for each in tape.records] for worker, tape in zip(workers, tapes, strict=True)]
    everything = list(merge(*lanes, key=itemgetter(0)))
    with _settled():
        snapshots_s, due_us = 0.0, everything[0][0] + snapshot_s * SECOND_US
        began_s = time.process_time()
        for time_us, value, worker in everything:
            worker.step(value, time_us)
            if time_us >= due_us:
                snapshots_s += sum(each.snapshot() for each in workers)
                pieces = sum(each.pieces for each in workers)
                due_us += round(snapshot_every_s(snapshot_s, pieces) * SECOND_US)
        spent = time.process_time() - began_s
    ticks = sum(worker.nowhere.counts.get(topic.name, 0) for worker in workers for topic in (TICK, DEPTH))
    return Cost(ticks, spent, snapshots_s)


@contextmanager
def _settled() -> Iterator[None]:
    """Look for garbage as a processor does."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def symbols() -> dict[str, Any]:
    """Compare numbers of symbols, each in a process of its own, in turns; medians."""
    plain: dict[int, list[Cost]] = {count: [] for count in SYMBOLS}
    with ExitStack() as children:
        players = {count: children.enter_context(player(str(count))) for count in SYMBOLS}
        for each in players.values():
            hear(each)  # that it has recorded: from here on one works at a time
        for number in range(ROUNDS):
            for count in SYMBOLS if number % 2 == 0 else reversed(SYMBOLS):
                plain[count].append(ask(players[count], "plain"))
        features = {str(count): ask(each, "features") for count, each in players.items()}
        rarely = {str(count): ask(each, "rarely") for count, each in players.items()}
    costs = {str(count): median_us(found) for count, found in plain.items()}
    snapshots = {
        str(count): median(cpu_us(each.snapshots_s, each.ticks) for each in found) for count, found in plain.items()
    }
    return {
        "us_per_tick": costs,
        "of_it_snapshots": snapshots,
        "dearest_to_cheapest": dearest(costs),
        f"us_per_tick_with_snapshots_each_{RARELY_S}_s": {name: us_of(each) for name, each in rarely.items()},
        "us_per_tick_with_features": {name: us_of(each) for name, each in features.items()},
        "ticks": plain[SYMBOLS[0]][0].ticks,
    }


def venues() -> dict[str, Any]:
    """Compare numbers of venues in one process with what the same venues cost alone, in turns; medians."""
    tapes = [record(place, SYMBOLS_A_VENUE, RATE_A_VENUE) for place in PLACES]
    alone: dict[str, list[float]] = {place.venue: [] for place in PLACES}
    together: dict[int, list[float]] = {count: [] for count in VENUES}
    ratios: dict[int, list[float]] = {count: [] for count in VENUES}
    for _ in range(ROUNDS):
        costs = [play([tape]) for tape in tapes]
        for place, cost in zip(PLACES, costs, strict=True):
            alone[place.venue].append(cpu_us(cost.seconds, cost.ticks))
        for count in VENUES:
            cost = play(tapes[:count])
            together[count].append(cpu_us(cost.seconds, cost.ticks))
            ratios[count].append(cost.seconds / sum(each.seconds for each in costs[:count]))
    flat = {str(count): round(median(found), 2) for count, found in ratios.items()}
    return {
        "us_per_tick": {str(count): median(found) for count, found in together.items()},
        "times_what_they_cost_alone": flat,
        "dearest_to_cheapest": dearest(flat),
        "us_per_tick_alone": {venue: median(found) for venue, found in alone.items()},
    }


def median_us(found: Sequence[Cost]) -> float:
    """Tell the median of what a tick cost."""
    return median(us_of(each) for each in found)


def us_of(cost: Cost) -> float:
    """Tell what a tick cost."""
    return cpu_us(cost.seconds, cost.ticks)


def dearest(costs: dict[str, float]) -> float:
    """Tell how many times as dear as the cheapest the dearest is."""
    return round(max(costs.values()) / min(costs.values()), 2)


@contextmanager
def player(count: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that has recorded a market of so many symbols, and plays it when it is told to."""
    command = [sys.executable, "-m", "benchmarks.scale", "--player", count]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: "subprocess.Popen[bytes]", how: str) -> Cost:
    """Let it play once."""
    assert process.stdin
    process.stdin.write(f"{how}\n".encode())
    process.stdin.flush()
    return Cost(*hear(process))


def hear(process: "subprocess.Popen[bytes]") -> Any:
    """Wait for what it says."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        sys.exit("a player has ended")
    return json.loads(line)


def serve(count: int) -> None:
    """Play as often as is asked for, on stdin."""
    tape = record(ONE, count, RATE)
    print("[]", flush=True)
    for line in sys.stdin:
        print(json.dumps(play([tape], **HOW[line.strip()])), flush=True)


def processes() -> dict[str, Any]:
    """Let the same backlog be worked off by ever more processes, each with a partition."""
    tape = backlog(max(PROCESSES))
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        servers = (Broker, SchemaRegistry)
        stack.up(settings, lambda line: print(line, file=sys.stderr), servers=servers)
        try:
            Registry(settings).register(catalogue(name.lower() for name in SYMBOLOGIES))
            found = {count: _worked_off(settings, count, tape) for count in PROCESSES}
        finally:
            stack.down(settings, lambda _line: None)
    costs = {str(count): each.us_per_tick["process"] for count, each in found.items()}
    return {
        "us_per_tick": costs,
        "dearest_to_cheapest": dearest(costs),
        "broker_us_per_tick": {str(count): each.us_per_tick["broker"] for count, each in found.items()},
        "memory_mb_each": {str(count): each.memory_mb["process"] for count, each in found.items()},
        "ticks": found[PROCESSES[0]].ticks,
    }


def _worked_off(settings: Settings, count: int, tape: Sequence[Made]) -> Load:
    """Make topics of so many partitions and as many processors, and give them the backlog."""
    kafka = settings.kafka.model_copy(update={"partitions": count, "topic_suffix": f".{count}"})
    processor = settings.processor.model_copy(update={"workers": count})
    own = settings.model_copy(update={"kafka": kafka, "processor": processor})
    create_topics(own, catalogue(name.lower() for name in SYMBOLOGIES))
    return load(own, ("process",), tape)


if __name__ == "__main__":
    WORKS = {"symbols": symbols, "venues": venues, "processes": processes}
    if sys.argv[1:2] == ["--player"]:
        serve(int(sys.argv[2]))
    else:
        for name in sys.argv[1:] or WORKS:
            print(name, WORKS[name]())
