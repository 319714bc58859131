"""One worker from a raw topic to cleaned ticks, beside quixstreams, stock Faust and bare loops; broker on these cores.

All read the same trades and best quotes of a recorded session from one partition, repeats left out, and write the same
ticks with the same Avro schema: before anything is timed, the first ticks of each are compared by venue, symbol, kind,
exchange time, price, size, side, quote and trade id. Beyond that ours drops repeats, counts ids, notes gaps, flags,
makes bars, names the source of each tick in its headers, counts metrics, and keeps its state in Kafka once a second, so
that a crash doubles nothing; peers commit offsets, and repeat after a crash. Features and depth are off for all.

How often an output topic's end has moved within some seconds is the rate, seen from outside, for all alike, after the
first half second with output; the same by the processor time of the whole process.

- quixstreams and Faust, a message a record: as their documentation says, own deserializers, own Avro serializers.
- quixstreams, packed records: ours, 50 messages each, by its Avro deserializer and `expand`.
- confluent-kafka: a loop with orjson and fastavro, on both.
- unavoidable parts: packed records fetched and decoded, JSON parsed untyped, a tick encoded for each by our encoder
  (no normaliser), sent with key and source: a floor for what is written so. Its parts are told in µs a frame.

Run: python -m benchmarks.frameworks [ROUNDS]     (installs peers below .tickerplant/peers)
"""

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Producer

from benchmarks import peers
from benchmarks.ending import end, in_a_line
from benchmarks.inputs import (
    FRAMES_PER_RECORD,
    QUOTES,
    AbsentError,
    listing,
    names_of,
    raw_frames,
    renamed,
    session,
)
from benchmarks.jobs import KEPT_MS, SAMPLE, job
from benchmarks.page import rows
from benchmarks.processor import spent_s
from benchmarks.turns import SideError, Turns, in_turns
from schemas.records import Frame, RawFrames, Tick
from schemas.topics import TICK, Topic, catalogue, raw_topic
from schemas.venues import SYMBOLOGIES
from tickerplant.demo.options import write_settings
from tickerplant.kafka import (
    Consumer,
    Publisher,
    TopicPartition,
    common_config,
    consumer,
    create_topics,
    end_offsets,
    settled,
)
from tickerplant.local import stack
from tickerplant.local.broker import Broker
from tickerplant.local.ports import with_local
from tickerplant.local.registry import SchemaRegistry
from tickerplant.registry import Registry
from tickerplant.settings import Settings, load_settings

MARKET: Final = "spot"
FRAMES: Final = 200_000
ROUNDS: Final = 3
WARM_S: Final = 0.5
WINDOW_S: Final = 4.0
CHECKED: Final = 20_000
LEAST_FRAMES: Final = 100_000  # or sides are through before they are watched
PATIENCE_S: Final = 60.0
STOP_S: Final = 15.0
POLL_S: Final = 0.02
NEVER_S: Final = 3600.0
AT_ONCE: Final = 100
SERVERS: Final = (Broker, SchemaRegistry)
SINGLE: Final = Topic(name="bench.single", record=RawFrames, key="symbol", retention_ms=KEPT_MS)
PACKED: Final = Topic(name="bench.packed", record=RawFrames, key="partition", retention_ms=KEPT_MS)
CHANNELS: Final = {"trade": "t", "bookTicker": "u"}
OURS: Final = "tickerplant"
AIMS: Final = {
    "quixstreams, a message a record": 2.5,
    "stock Faust, a message a record": 5.0,
    "quixstreams, packed records": 1.0,
    "unavoidable parts": 0.6,
}
PARTS: Final = "unavoidable parts"


class Speed(NamedTuple):
    """Frames a second, by the clock and by the processor time of the process."""

    by_clock: float
    by_processor: float


class Work(NamedTuple):
    """A process that is to be watched, and where its output comes: a topic of one partition, from an offset on."""

    command: list[str]
    folder: Path
    out: str
    first: int


@dataclass
class Input:
    """The same messages twice: packed as a producer of ours does in a burst, and one by one with symbol and time."""

    packed: list[bytes] = field(default_factory=list)
    single: list[tuple[bytes, bytes, int]] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Count the messages."""
        return len(self.single)


class Bench:
    """A broker with the input in its topics, and what runs on it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.printed: dict[str, Any] = {}
        self._registry = Registry(settings)
        self._registry.register(catalogue(name.lower() for name in SYMBOLOGIES))
        self._decoder = self._registry.decoder(Tick)
        self._client: Consumer = consumer(settings, "bench")
        self._numbers = count(1)
        self.input = self._read()
        create_topics(settings, [SINGLE, PACKED])
        self._fill(settings, PACKED.name)
        self._fill_single()

    def ours(self, *, snapshot_s: float = 1.0) -> Work:
        """Make a processor, with topics and state of its own: state would lead it to where the last one ended."""
        number = next(self._numbers)
        settings = self.settings.model_copy(
            update={
                "kafka": self.settings.kafka.model_copy(update={"topic_suffix": f".{number}"}),
                "processor": self.settings.processor.model_copy(update={"snapshot_s": snapshot_s}),
            }
        )
        create_topics(settings, catalogue(name.lower() for name in SYMBOLOGIES))
        self._fill(settings, raw_topic("binance").name)
        config = self.folder / f"{number}.toml"
        write_settings(settings, config)
        command = [sys.executable, "-m", "tickerplant", "process", "--config", str(config)]
        return Work(command, peers.ROOT, f"{TICK.name}.{number}", 0)

    def peer(self, peer: str, script: str, topic: Topic, *arguments: str) -> Work:
        """Make a process of a peer."""
        out = f"bench.out.{script}{''.join(arguments)}"
        quote = QUOTES[MARKET]
        names = {name: f"{name.removesuffix(quote)}/{quote}" for name in names_of(MARKET)}
        told = job(self.settings, topic.name, out, f"bench.{next(self._numbers)}", names)
        path = Path(peers.__file__).with_name(f"{script}.py")
        command = [str(peers.python_of(peer)), str(path), told, *arguments]
        return Work(command, self.folder, out, self.end(out))

    def parts(self) -> Work:
        """Make the process that does the unavoidable parts alone."""
        out = Topic(name="bench.out.parts", record=Tick, key="any", retention_ms=KEPT_MS)
        create_topics(self.settings, [out])
        config = self.folder / "parts.toml"
        write_settings(self.settings, config)
        group = f"bench.{next(self._numbers)}"
        command = [sys.executable, "-m", "benchmarks.frameworks", "--parts", str(config), out.name, group]
        return Work(command, peers.ROOT, out.name, self.end(out.name))

    def end(self, topic: str) -> int:
        """Ask where a topic of one partition ends."""
        return settled(lambda: end_offsets(self._client, [TopicPartition(topic, 0)])[topic, 0])

    def speed(self, name: str, work: Work) -> Speed:
        """Let a process work for a while."""
        with self._running(name, work) as process:
            first = self._wait(process, work, 1)
            began_s = time.monotonic()
            self._watch(process, work, began_s + WARM_S)
            began_s, used_s, first = time.monotonic(), spent_s(process.pid), self.end(work.out) - work.first
            last = self._watch(process, work, began_s + WINDOW_S)
            past_s, used_s = time.monotonic() - began_s, spent_s(process.pid) - used_s
        if last <= first:
            raise SideError("nothing was written in time")
        return Speed(round((last - first) / past_s), round((last - first) / used_s))

    def digest(self, name: str, work: Work) -> str:
        """Let a process write some ticks, and tell what they say, shortened to what can be compared."""
        with self._running(name, work) as process:
            self._wait(process, work, CHECKED)
        place = TopicPartition(work.out, 0, work.first)
        self._client.assign([place])
        found, told = 0, hashlib.sha256()
        while found < CHECKED:
            for message in self._client.consume(min(1000, CHECKED - found), PATIENCE_S):
                value = message.value()
                assert value is not None, message.error()
                told.update(repr(what(self._decoder.decode(value))).encode())
                found += 1
        self._client.unassign()
        return told.hexdigest()

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()

    def _watch(self, process: subprocess.Popen[bytes], work: Work, until_s: float) -> int:
        """Wait until a time, or until all is written; returns how much is."""
        while (found := self.end(work.out) - work.first) < self.input.frames and time.monotonic() < until_s:
            self._check(process)
            time.sleep(POLL_S)
        return found

    def _wait(self, process: subprocess.Popen[bytes], work: Work, least: int) -> int:
        """Wait until so many ticks are written; returns how many are."""
        until_s = time.monotonic() + PATIENCE_S
        while (found := self.end(work.out) - work.first) < least:
            self._check(process)
            if time.monotonic() > until_s:
                raise SideError(f"{found} ticks were written in {PATIENCE_S} s")
            time.sleep(POLL_S)
        return found

    def _check(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            raise SideError(f"it ended with code {process.returncode}")

    @contextmanager
    def _running(self, name: str, work: Work) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process, and keep what it prints at its end.

        Raises:
            SideError: it ended by itself, or did not write in time; with the end of its log.
        """
        told, log = self.folder / "told", self.folder / "log"
        with told.open("wb") as out, log.open("wb") as errors:
            process = subprocess.Popen(work.command, stdout=out, stderr=errors, cwd=work.folder)
        try:
            yield process
        except SideError as error:
            raise SideError(f"{name}: {error}: {log.read_text(errors='replace')[-800:]}") from None
        finally:
            end(process, STOP_S)
        lines = told.read_text(errors="replace").splitlines()
        if lines and lines[-1].startswith("{"):
            self.printed[name] = json.loads(lines[-1])

    def _read(self) -> Input:
        """Read the session, once for each of its names."""
        encode = self._registry.encoder(raw_topic("binance"), RawFrames).encode
        found = Input([encode(raw_frames(MARKET, "instruments", [listing(MARKET)]))])
        names = names_of(MARKET)
        for name in names:
            frames = islice(ticks_alone(renamed(MARKET, names[0], name)), FRAMES // len(names))
            while batch := list(islice(frames, FRAMES_PER_RECORD)):
                found.packed.append(encode(raw_frames(MARKET, name, batch)))
                found.single += [(name.encode(), each.payload, each.recv_time_us) for each in batch]
        if found.frames < LEAST_FRAMES:
            raise AbsentError(f"{session(MARKET)} is too short: {found.frames:,} frames, {LEAST_FRAMES:,} are needed")
        return found

    def _fill(self, settings: Settings, topic: str) -> None:
        publisher = Publisher(settings)
        for value in self.input.packed:
            publisher.send(topic, 0, b"0", value)
        publisher.flush()

    def _fill_single(self) -> None:
        publisher = Publisher(self.settings)
        for key, value, time_us in self.input.single:
            publisher.send(SINGLE.name, 0, key, value, time_us=time_us)
        publisher.flush()


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare all sides, each checked before."""
    with running() as bench:
        sides = checked(bench, works_of(bench))
        by_processor: dict[str, list[float]] = {name: [] for name in sides}

        def once(name: str) -> float:
            speed = bench.speed(name, sides[name]())
            by_processor[name].append(speed.by_processor)
            print(name, *speed, file=sys.stderr)
            return speed.by_clock

        by_clock = in_turns({name: partial(once, name) for name in sides}, rounds)
        found = {"by the clock": by_clock, "by processor time": by_processor}
        names = list(works_of(bench))
        return {
            **{
                what: Turns(unit="frames/s", sides={name: each.get(name, []) for name in names}, aims=AIMS)
                for what, each in found.items()
            },
            "frames": bench.input.frames,
            "unavoidable_us_a_frame": bench.printed.get(PARTS, {}),
        }


def works_of(bench: Bench) -> dict[str, Callable[[], Work]]:
    """Name all sides, ours first."""
    return {
        OURS: bench.ours,
        f"{OURS} without snapshots": partial(bench.ours, snapshot_s=NEVER_S),
        "quixstreams, a message a record": partial(bench.peer, "quixstreams", "play_quixstreams", SINGLE),
        "stock Faust, a message a record": partial(bench.peer, "faust", "play_faust", SINGLE),
        "quixstreams, packed records": partial(bench.peer, "quixstreams", "play_quixstreams", PACKED, "--packed"),
        "confluent-kafka, a message a record": partial(bench.peer, "loop", "play_loop", SINGLE),
        "confluent-kafka, packed records": partial(bench.peer, "loop", "play_loop", PACKED, "--packed"),
        PARTS: bench.parts,
    }


def checked(bench: Bench, works: dict[str, Callable[[], Work]]) -> dict[str, Callable[[], Work]]:
    """Leave those sides that write what ours does; what is wrong with others is printed."""
    expected = bench.digest(OURS, works[OURS]())
    left = {}
    for name, make in works.items():
        try:
            is_equal = name in {OURS, PARTS} or bench.digest(name, make()) == expected
        except SideError as error:
            print(error, file=sys.stderr)
            continue
        if is_equal:
            left[name] = make
        else:
            print(f"{name}: its ticks differ from ours", file=sys.stderr)
    return left


@contextmanager
def running() -> Iterator[Bench]:
    """Start broker and registry, and fill topics; all is ended in the end.

    Raises:
        AbsentError: there is no session, or one that is too short.
    """
    session(MARKET)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        settings = with_local(Settings(), Path(folder), keep_free_ports=False)
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": 1})})
        stack.up(settings, lambda line: print(line, file=sys.stderr), servers=SERVERS)
        try:
            with closing(Bench(settings, Path(folder))) as bench:
                yield bench
        finally:
            stack.down(settings, lambda _line: None, servers=SERVERS)


def ticks_alone(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Leave out what is no trade and no best quote, and repeats, which ours alone would drop; number anew."""
    newest: Counter[str] = Counter()
    numbers = count()
    for frame in frames:
        if frame.kind == "MESSAGE":
            message = msgspec.json.decode(frame.payload)
            channel = message.get("stream", "").partition("@")[2]
            if channel in CHANNELS and (number := message["data"][CHANNELS[channel]]) > newest[channel]:
                newest[channel] = number
                yield msgspec.structs.replace(frame, number=next(numbers))


def what(tick: Tick) -> tuple[Any, ...]:
    """Take what all sides are to tell of a tick."""
    return (
        tick.venue,
        tick.symbol,
        tick.kind,
        tick.exchange_time_us,
        tick.price,
        tick.quantity,
        tick.side,
        tick.bid,
        tick.ask,
        tick.bid_size,
        tick.ask_size,
        tick.trade_id,
    )


def do_parts(config: Path, out: str, group: str) -> None:
    """Do the unavoidable parts until SIGTERM, in turn for some records at once; prints µs a frame of each."""
    settings, stopping = load_settings(config, {}), list[bool]()
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    registry = Registry(settings)
    decode, encode = registry.decoder(RawFrames).decode, registry.encoder(TICK, Tick).encode
    producer = Producer(
        {
            **common_config(settings),
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    client = consumer(settings, group)
    client.subscribe([PACKED.name])
    spent_s: Counter[str] = Counter()
    parse, frames = msgspec.json.Decoder().decode, 0
    while not stopping:
        times_s = [time.thread_time()]
        raws = [decode(each.value() or b"") for each in client.consume(AT_ONCE, 0.05)]
        payloads = [frame.payload for raw in raws for frame in raw.frames if frame.kind == "MESSAGE"]
        times_s.append(time.thread_time())
        for payload in payloads:
            parse(payload)
        times_s.append(time.thread_time())
        values = [encode(SAMPLE) for _ in payloads]
        times_s.append(time.thread_time())
        for number, value in enumerate(values):
            source = f"raw.binance@WW4E8a-_:0:{frames}:{number}".encode()
            producer.produce(out, value, b"BINANCE|BTC/USDT", 0, headers=[("source", source)])
        producer.poll(0)
        times_s.append(time.thread_time())
        frames += len(payloads)
        for name, begin_s, end_s in zip(("fetch", "json", "avro", "produce"), times_s, times_s[1:], strict=False):
            spent_s[name] += end_s - begin_s
    client.close()
    producer.flush()
    print(json.dumps({name: round(each / max(1, frames) * 1e6, 2) for name, each in spent_s.items()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--parts"]:
        do_parts(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        with in_a_line():
            for name, value in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
                print(name, *(rows(name, value) if isinstance(value, Turns) else [value]), sep="\n")
