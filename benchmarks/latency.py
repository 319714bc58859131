"""How long a frame takes at 1,000 to 20,000 frames/s: fetch → produced, socket → cleaned, socket → committed.

The simulated venue (Binance spot, 20 symbols: trades, best quotes, depth) feeds the real roles; broker, registry, S3,
ClickHouse and the venue itself share the cores. At each rate:

1. whole: producer, processor and both sinks, `sink.flush_ms = 100`, in windows that follow one another: socket →
   cleaned, and socket → committed as `stage_latency_seconds` of the ClickHouse sink tells it (every row, acknowledged
   by the store);
2. rounds on topics of their own, without sinks: the processor, and then in its place a loop of aiokafka
   (`peers/play_aiokafka.py`: the same records, parsed by orjson, ticks encoded by fastavro; depth is parsed and left):
   fetch → produced, and socket → cleaned. Ours comes first, since it would have to work off what came before it.

Fetch = a fetch came back with the raw record; produced, cleaned = all that follows from it is with the Kafka client, of
which `stage_latency_seconds{stage="process"}` is the histogram. Its buckets are coarse beside what is asked here, so
the processor notes the times of each raw record itself, by a hook around the count that it does of each; a record
counts as many times as it has frames. Records of the market's own pace: the venue makes its frames in steps of 10 ms.

Run: python -m benchmarks.latency [frames a second ...]
"""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import numpy as np
import numpy.typing as npt
import psutil
from confluent_kafka import KafkaException

from benchmarks import peers
from benchmarks.ending import end
from benchmarks.jobs import job
from benchmarks.page import rows, text
from benchmarks.recovery import Load, settings_in, start_venue
from benchmarks.symbols import Sample, sample
from benchmarks.turns import Turns
from schemas.records import RawFrames
from schemas.topics import raw_topic
from tickerplant.demo.options import write_settings
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.deploy import deploy
from tickerplant.errors import TickerplantError
from tickerplant.local import background, stack
from tickerplant.scrape import Scrape, bucket_quantile, scrape
from tickerplant.settings import Settings
from tickerplant.supervise import Supervisor, roles_of

RATES: Final = (1000, 5000, 10_000, 20_000)
WARM_S: Final = 6.0
SETTLE_S: Final = 3.0
WINDOW_S: Final = 5.0
ROUNDS: Final = 3
POLL_S: Final = 0.5
PATIENCE_S: Final = 90.0
PACE_S: Final = 20.0
BEHIND_S: Final = 1.5
LAG: Final = "stage_lag_seconds"
STOP_S: Final = 10.0
ALONE: Final = ("produce", "process")
ROLES: Final = (*ALONE, "sink-clickhouse", "sink-parquet")
STAGES: Final = {"sink-clickhouse": "sink.clickhouse", "sink-parquet": "sink.parquet"}
OURS, PEER = "tickerplant", "aiokafka alone"
FETCH_GOAL_MS, CLEANED_GOAL_MS, COMMITTED_GOAL_MS = 5.0, 20.0, 200.0
SHARES: Final = {"p50": 0.5, "p99": 0.99}
FLUSH_MS: Final = 100.0
USUAL: Final = 10_000
QUICK_LINGER_MS: Final = 3.0
NOTES: Final = "BENCH_NOTES"
FIELDS: Final = 5
DONE, FETCH, FRAMES, SOCKET, PACKED = range(FIELDS)  # of a note
MOST_NOTES: Final = 500 * FIELDS
HOOKED: Final = (sys.executable, "-m", "benchmarks.latency", "--role")
Table = npt.NDArray[np.float64]


class LatencyError(Exception):
    """Something did not come about in time."""


FAILURES: Final = (LatencyError, TickerplantError, KafkaException, OSError, httpx.HTTPError, psutil.Error)


class Window(NamedTuple):
    """Seconds of the steady clock."""

    begin_s: float
    end_s: float


def measure(rates: Collection[int] = RATES) -> dict[str, Any]:
    """Measure at each rate, and once more at the usual one with raw records that are closed sooner."""
    with suppress(peers.PeerError):
        peers.python_of("aiokafka")  # before anything is timed; each round says what is wrong
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = settings_in(Path(folder), load_of(0))
        stack.up(settings, lambda line: print(line, file=sys.stderr))
        found: dict[str, Any] = {}
        try:
            for rate, linger_ms in [*((each, None) for each in rates), (USUAL, QUICK_LINGER_MS)]:
                try:
                    found |= at_rate(settings, Path(folder), rate, linger_ms)
                except FAILURES as error:  # a rate too high for a machine shall not take the others with it
                    found[f"at {rate:,} frames/s"] = f"{type(error).__name__} {error}"
        finally:
            background.stop(settings, lambda _line: None)
            stack.down(settings, lambda _line: None)
    return found


def load_of(rate: int) -> Load:
    """Say what the venue is to make."""
    return Load("binance", "spot", ("trade", "quote", "depth"), 20, rate, is_rate_heard=True)


def at_rate(base: Settings, folder: Path, rate: int, linger_ms: float | None = None) -> dict[str, Any]:
    """Measure all windows at one rate; linger_ms: of the producer, None = the default."""
    told = f"{rate:,} frames/s" + (f", linger {linger_ms:g} ms" if linger_ms else "")
    producer = base.producer if linger_ms is None else base.producer.model_copy(update={"linger_ms": linger_ms})
    sink = base.sink.model_copy(update={"flush_ms": FLUSH_MS})
    settings = base.model_copy(update={"sink": sink, "producer": producer})
    name = f".{rate}.{linger_ms or 'usual'}"
    found = {f"at {told}: {what}": value for what, value in whole(settings, folder, f"{name}.whole", rate).items()}
    rounds = [round_of(settings, folder, f"{name}.{number}", rate) for number in range(ROUNDS)]
    goal = FETCH_GOAL_MS if rate <= USUAL else None
    found[f"fetch to produced, at {told}"] = turns(rounds, FETCH, goal)
    found[f"socket to cleaned without sinks, at {told}"] = turns(rounds, SOCKET)
    ours = np.concatenate([each[OURS] for each in rounds])
    return found | {f"at {told}, without sinks, {what}": value for what, value in ways(ours).items()}


def whole(base: Settings, folder: Path, suffix: str, rate: int) -> dict[str, Any]:
    """Run everything; returns the times of the way, of each window, and what the processes did and used."""
    settings = on_topics(base, suffix)
    with flow(settings, folder, suffix, rate, ROLES) as (notes, _):
        windows, samples = watched(settings)
    ours, seconds = read_notes(notes, "process"), windows[-1].end_s - windows[0].begin_s
    first, last = samples[0], samples[-1]
    cleaned = [quantiles(within(ours, each), SOCKET)["p99"] for each in windows]
    committed = [committed_ms(*pair).get("p99") for pair in pairwise(samples)]
    return {
        "frames_per_s": {
            "of the venue": round(received((first, last), "produce") / seconds),
            "processed": round(received((first, last), "process") / seconds),
        },
        "cores": {
            name: round((used - first.used_s[name]) / seconds, 2)
            for name, used in last.used_s.items()
            if name in first.used_s
        },
        "socket to cleaned": alone("p99 ms", cleaned, CLEANED_GOAL_MS),
        "socket to committed": alone("p99 ms", [each for each in committed if each], COMMITTED_GOAL_MS),
    }


def round_of(base: Settings, folder: Path, suffix: str, rate: int) -> dict[str, Table]:
    """Run the processor, then the loop of aiokafka in its place; returns the notes of each that are of its window."""
    settings = on_topics(base, suffix)
    with flow(settings, folder, suffix, rate, ALONE) as (notes, supervisor):
        windows, _ = watched(settings, windows=1)
        supervisor.stop(["process"])
        theirs = aiokafka(settings, names_of(settings), notes)
    found = {OURS: within(read_notes(notes, "process"), windows[0])}
    return found | {PEER: within(read_notes(notes, "aiokafka"), theirs)} if theirs else found


def turns(rounds: Sequence[Mapping[str, Table]], column: int, goal: float | None = None) -> Turns:
    """Compare the 99th percentiles of the rounds; a side that noted nothing is left without values."""
    sides = {
        side: [quantiles(each[side], column)["p99"] for each in rounds if side in each and len(each[side])]
        for side in (OURS, PEER)
    }
    return Turns(unit="p99 ms", sides=sides, is_less_better=True, goal=goal)


def alone(unit: str, values: Sequence[float], goal: float) -> Turns:
    """Hold what no peer does against its goal."""
    return Turns(unit=unit, sides={OURS: [each for each in values if not isnan(each)]}, is_less_better=True, goal=goal)


def on_topics(base: Settings, suffix: str) -> Settings:
    """Give a run topics of its own."""
    return base.model_copy(update={"kafka": base.kafka.model_copy(update={"topic_suffix": suffix})})


def names_of(settings: Settings) -> dict[str, str]:
    """Tell the canonical symbols by those of the venue."""
    venue = SimulatedVenue(settings, "BINANCE")
    return {each.venue_symbol: each.symbol for each in venue.instruments("spot")}


@contextmanager
def flow(
    settings: Settings, folder: Path, suffix: str, rate: int, roles: Collection[str]
) -> Iterator[tuple[Path, Supervisor]]:
    """Run the venue and roles until they are warm; yields where they write notes."""
    deploy(settings)
    notes = folder / f"notes{suffix}"
    notes.mkdir()
    try:
        start_venue(settings, load_of(rate))
        with running(settings, folder / f"bench{suffix}.toml", notes, roles) as supervisor:
            await_all(settings, roles)
            time.sleep(WARM_S)
            await_pace(settings)
            yield notes, supervisor
    finally:
        background.stop(settings, lambda _line: None)


def await_all(settings: Settings, roles: Collection[str]) -> None:
    """Wait until all roles take in what is written; ends the benchmark where they do not."""
    until_s = time.monotonic() + PATIENCE_S
    stages = [STAGES.get(each, each) for each in roles]
    while True:
        found = scrape(settings, ["stage_received_total"])
        if all(found.total("stage_received_total", stage=each) for each in stages):
            return
        if time.monotonic() > until_s:
            raise LatencyError("not all roles have begun")
        time.sleep(POLL_S)


def await_pace(settings: Settings) -> None:
    """Wait until nothing waits in Kafka for longer than a moment, or for a while: some rates are too high for that."""
    until_s = time.monotonic() + PACE_S
    while most_behind_s(scrape(settings, [LAG])) > BEHIND_S and time.monotonic() < until_s:
        time.sleep(POLL_S)


def most_behind_s(found: Scrape) -> float:
    """Tell how long what no role has taken waits in Kafka at most; what is not known counts as nothing."""
    behind_s = (value for (name, _), value in found.samples.items() if name == LAG and not isnan(value))
    return max(behind_s, default=0.0)


def ways(notes: Table) -> dict[str, dict[str, float]]:
    """Tell quantiles of the parts of the way to the cleaned topic, and of the whole."""
    on_the_way = notes.copy()
    on_the_way[:, FETCH] = notes[:, SOCKET] - notes[:, PACKED] - notes[:, FETCH]
    return {
        "socket to packed, ms": quantiles(notes, PACKED),
        "packed to fetched, ms": quantiles(on_the_way, FETCH),
        "fetch to produced, ms": quantiles(notes, FETCH),
        "socket to cleaned, ms": quantiles(notes, SOCKET),
    }


def watched(settings: Settings, windows: int = ROUNDS) -> tuple[list[Window], list[Sample]]:
    """Let windows pass, with what processes tell at the end of each, and before the first."""
    samples = [sample(settings)]
    for _ in range(windows):
        time.sleep(WINDOW_S)
        samples.append(sample(settings))
    return [Window(before.time_s, after.time_s) for before, after in pairwise(samples)], samples


def received(samples: tuple[Sample, Sample], role: str) -> float:
    """Count the frames that a role took in between."""
    before, after = (each.found.total("stage_received_total", stage=role) for each in samples)
    return after - before


def committed_ms(before: Sample, after: Sample) -> dict[str, float]:
    """Estimate quantiles of what the ClickHouse sink observed in between."""
    counts = [
        each.found.by_label("stage_latency_seconds_bucket", "le", stage="sink.clickhouse") for each in (before, after)
    ]
    buckets = sorted((float(bound), count - counts[0].get(bound, 0.0)) for bound, count in counts[1].items())
    found = {name: bucket_quantile(buckets, share) for name, share in SHARES.items()}
    return {name: round(1000 * each) for name, each in found.items() if each is not None}


def aiokafka(settings: Settings, names: dict[str, str], notes: Path) -> Window | None:
    """Let the loop of aiokafka work for a while; returns when it had settled until its end, None = it cannot be had."""
    suffix = settings.kafka.topic_suffix
    told = job(settings, raw_topic("binance").name + suffix, "bench.out", f"bench{suffix}", names)
    script = Path(peers.__file__).with_name("play_aiokafka.py")
    try:
        python = peers.python_of("aiokafka")
    except peers.PeerError as error:
        print(f"{PEER} is left out: {error}", file=sys.stderr)
        return None
    process = subprocess.Popen([python, script, told, notes / "aiokafka"])
    time.sleep(SETTLE_S)
    begin_s = time.monotonic()
    time.sleep(WINDOW_S)
    end_s = time.monotonic()
    end(process, STOP_S)
    return Window(begin_s, end_s)


def read_notes(folder: Path, name: str) -> Table:
    """Read what a process noted, a row a raw record; none = it was killed before it could."""
    data = b"".join(each.read_bytes() for each in folder.glob(f"{name}*"))
    return np.frombuffer(data, dtype=np.float64).reshape(-1, FIELDS)


def within(notes: Table, window: Window) -> Table:
    """Choose the notes of a window."""
    done_s = notes[:, DONE]
    return notes[(done_s >= window.begin_s) & (done_s < window.end_s)]


def quantiles(notes: Table, column: int) -> dict[str, float]:
    """Tell ms of which shares of the frames were quicker; NaN = there were none."""
    if not len(notes):
        return dict.fromkeys(SHARES, float("nan"))
    order = notes[:, column].argsort()
    past = notes[order, FRAMES].cumsum()
    return {
        name: round(1000 * float(notes[order[past.searchsorted(share * past[-1])], column]), 2)
        for name, share in SHARES.items()
    }


@contextmanager
def running(settings: Settings, config: Path, notes: Path, names: Collection[str]) -> Iterator[Supervisor]:
    """Run roles, which note what is to be noted in a folder; one that dies ends the benchmark."""
    write_settings(settings, config)
    os.environ[NOTES] = str(notes)
    roles = [each for each in roles_of(settings) if each.name in names]
    supervisor = Supervisor(config, roles, config.parent / "logs", HOOKED)
    supervisor.start()
    try:
        yield supervisor
        for child in supervisor.children:
            if child.process.poll() is not None:
                raise LatencyError(f"{child.role.name} ended with code {child.process.returncode}")
    finally:
        supervisor.stop()


def run_role(arguments: list[str]) -> None:
    """Run a role as `tickerplant` does; a processor notes the times of its raw records."""
    from tickerplant.cli import main  # noqa: PLC0415  # a role carries what it needs, as ever

    if arguments[0] == "process":
        note_records(Path(os.environ[NOTES]) / f"process-{os.getpid()}")
    sys.argv = ["tickerplant", *arguments]
    main()


def note_records(path: Path) -> None:
    """Note each raw record of Binance, a row each, see `FIELDS`."""
    from aiokafka.consumer.fetcher import Fetcher  # noqa: PLC0415  # see above

    from processors.worker import PartitionWorker  # noqa: PLC0415  # see above

    notes, file = array("d"), path.open("wb", buffering=0)
    fetches: defaultdict[int, deque[tuple[int, float]]] = defaultdict(deque)  # by partition: last offset, time
    fetched, counted = Fetcher.fetched_records, PartitionWorker._count  # noqa: SLF001  # where a record is done

    def write() -> None:
        file.write(notes.tobytes())
        del notes[:]

    async def fetched_records(self: Any, *args: Any, **more: Any) -> Any:
        found = await fetched(self, *args, **more)
        now_s = time.monotonic()
        for place, records in found.items():
            if place.topic.startswith("raw.binance"):
                fetches[place.partition].append((records[-1].offset, now_s))
        return found

    def count(self: Any, raw: RawFrames | None, *args: Any) -> None:
        if raw is not None and raw.venue == "BINANCE" and raw.frames:
            known = fetches[self._partition]
            while len(known) > 1 and known[0][0] < self._given_offset:
                known.popleft()
            now_s, first_s = time.monotonic(), raw.frames[0].recv_time_us / 1e6
            packed_s = raw.event_time_us / 1e6 - first_s
            notes.extend((now_s, now_s - known[0][1], len(raw.frames), time.time() - first_s, packed_s))
            if len(notes) > MOST_NOTES:
                write()
        counted(self, raw, *args)

    Fetcher.fetched_records = fetched_records
    PartitionWorker._count = count  # type: ignore[method-assign]  # noqa: SLF001
    atexit.register(write)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--role"]:
        run_role(sys.argv[2:])
    else:
        for name, value in measure([int(each) for each in sys.argv[1:]] or RATES).items():
            print(*(rows(name, value) if isinstance(value, Turns) else [f"{name}: {text(value)}"]), sep="\n")
