"""A log and a store in memory, with the contracts of Kafka and of ClickHouse, and faults on command."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from schemas import records
from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import DeadLetter, SinkCommit, Tick
from sinks.chunk import Buffer, Chunk, Limits
from sinks.columns import frame_rows
from sinks.drain import Assigned, Drain, Listener, Tools
from sinks.position import Position, read_position
from sinks.rows import RowReader, Run
from sinks.store import Refused, Store, StoreBusyError
from sinks.tables import table_of
from tickerplant.health import Health
from tickerplant.tally import DeadLetterLimit

Place = tuple[str, int]
TOPIC = "cleaned.tick"
NOW_US = 1_795_248_000_000_000


class Crash(Exception):  # noqa: N818  # not an error: the process is gone
    """The process died here."""


@dataclass
class Faults:
    """Calls `before:<what>` and `after:<what>` are counted; at the given count of one the process dies."""

    at: str = ""
    count: int = 1
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def reach(self, what: str) -> None:
        self.seen[what] += 1
        if what == self.at and self.seen[what] == self.count:
            raise Crash(what)


@dataclass
class Broker:
    """Partitions of values, and the committed offset and metadata of one group."""

    values: dict[Place, list[bytes | None]] = field(default_factory=dict)
    first: dict[Place, int] = field(default_factory=dict)
    committed: dict[Place, tuple[int, str]] = field(default_factory=dict)

    def append(self, place: Place, *values: bytes | None) -> None:
        self.values.setdefault(place, []).extend(values)


class MemoryLog:
    """One member of the group; owns all partitions of the broker from its first poll, until `revoke`."""

    def __init__(self, broker: Broker, clock: list[float], faults: Faults | None = None) -> None:
        self.broker = broker
        self.clock = clock
        self.faults = faults or Faults()
        self.is_held = False
        self.refused_commits = 0
        self.polls = 0
        self.on_poll: Callable[[], None] = lambda: None
        self._positions: dict[Place, int] = {}
        self._listener: Listener | None = None
        self._is_joined = False

    def subscribe(self, listener: Listener) -> None:
        self._listener = listener

    def poll(self, _most: int, timeout_s: float) -> list[Run]:
        self.polls += 1
        self.on_poll()
        if not self._is_joined:
            self._is_joined = True
            self.assign(self.broker.values)
        runs = [] if self.is_held else [run for place in sorted(self._positions) for run in self._take(place)]
        if not runs:
            self.clock[0] += timeout_s
        return runs

    def assign(self, places: Iterable[Place]) -> None:
        found = {}
        for place in places:
            offset, metadata = self.broker.committed.get(place, (-1, ""))
            position = read_position(offset, metadata) if offset >= 0 else None
            self._positions[place] = max(offset, self.broker.first.get(place, 0))
            end = len(self.broker.values[place])
            found[place] = Assigned(position=position, generation="", end_offset=end)
        assert self._listener
        self._listener.assigned(found)

    def revoke(self, places: Iterable[Place]) -> None:
        gone = list(places)
        for place in gone:
            self._positions.pop(place, None)
        assert self._listener
        self._listener.revoked(gone)

    def commit(self, positions: Mapping[Place, Position]) -> bool:
        what = "intent" if any(each.pending_end is not None for each in positions.values()) else "done"
        self.faults.reach(f"before:{what}")
        if self.refused_commits:
            self.refused_commits -= 1
            return False
        assert set(positions) <= set(self._positions), "committed a partition of somebody else"
        self.broker.committed.update({place: (each.offset, each.metadata()) for place, each in positions.items()})
        self.faults.reach(f"after:{what}")
        return True

    def hold(self) -> None:
        self.is_held = True

    def release(self) -> None:
        self.is_held = False

    def end_offset(self, place: Place) -> int | None:
        return len(self.broker.values[place])

    def _take(self, place: Place) -> list[Run]:
        start, values = self._positions[place], self.broker.values[place]
        self._positions[place] = len(values)
        return [Run(*place, range(start, len(values)), values[start:])] if len(values) > start else []


class MemoryStore:
    """Keeps rows by span: the same span a second time changes nothing, as a deduplication token does."""

    name = "memory"
    dependency = "memory"

    def __init__(self, kept: dict[Any, list[dict[str, Any]]], limits: Limits, faults: Faults | None = None) -> None:
        self.kept = kept
        self.limits = limits
        self.faults = faults or Faults()
        self.busy_times = 0
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _row: False
        self.writes: list[Chunk] = []

    def open(self) -> None: ...

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        self.faults.reach("before:write")
        if self.busy_times:
            self.busy_times -= 1
            raise StoreBusyError("asked to be busy")
        rows = chunk.rows.to_pylist()
        refused = [Refused(row=number, reason="refused") for number, row in enumerate(rows) if self.refuses(row)]
        self.kept.setdefault(chunk.span, [row for row in rows if not self.refuses(row)])
        self.writes.append(chunk)
        self.faults.reach("after:write")
        return refused

    def check(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...

    def rows(self) -> list[dict[str, Any]]:
        return [row for rows in self.kept.values() for row in rows]


class FaultyStore:
    """A real store, with limits and faults of a test."""

    def __init__(self, store: Store, limits: Limits, faults: Faults) -> None:
        self.store = store
        self.limits = limits
        self.faults = faults
        self.name = store.name

    def open(self) -> None: ...

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        self.faults.reach("before:write")
        refused = self.store.write(chunk)
        self.faults.reach("after:write")
        return refused

    def check(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


class MemoryLetters:
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    def send(self, letters: Iterable[DeadLetter], place: Place) -> None:  # the contract's
        self.letters.extend(letters)


class MemoryCommits:
    def __init__(self) -> None:
        self.told: list[SinkCommit] = []
        self.busy_times = 0

    def tell(self, commits: Iterable[SinkCommit]) -> None:
        if self.busy_times:
            self.busy_times -= 1
            raise StoreBusyError("asked to be busy")
        self.told.extend(commits)


@dataclass
class World:
    """What outlives a process: log, commits, stored rows, dead letters; and the clock."""

    broker: Broker = field(default_factory=Broker)
    kept: dict[Any, list[dict[str, Any]]] = field(default_factory=dict)
    letters: MemoryLetters = field(default_factory=MemoryLetters)
    commits: MemoryCommits = field(default_factory=MemoryCommits)
    clock: list[float] = field(default_factory=lambda: [0.0])
    limits: Limits = field(default_factory=lambda: Limits(rows=4, size_bytes=10_000, age_s=1.0))
    real_store: Store | None = None
    limit: DeadLetterLimit = field(default_factory=DeadLetterLimit)
    now_us: Callable[[], int] = lambda: NOW_US
    health: Health = field(default_factory=lambda: Health("sink-memory"))

    def start(self, faults: Faults | None = None, *, held_bytes: int = 10**9) -> tuple[Drain, MemoryLog, Any]:
        """Start a process, with the store in memory unless a real one is set."""
        log = MemoryLog(self.broker, self.clock, faults)
        store: Any = MemoryStore(self.kept, self.limits, faults)
        if self.real_store:
            store = FaultyStore(self.real_store, self.limits, faults or Faults())
        reader = RowReader(lambda record: Decoder(record, lambda _id: schema_text(record)), stage="sink.memory")
        tools = Tools(
            health=self.health,
            reader=reader,
            letters=self.letters,
            commits=self.commits,
            now_s=lambda: self.clock[0],
            now_us=self.now_us,
            held_bytes=held_bytes,
            together_least=2,  # so that both ways of decoding are gone
            limit=self.limit,
        )
        return Drain(log, store, tools), log, store

    def run(self, faults: Faults | None = None) -> None:
        """Run a process until all there is is committed, or it dies."""
        drain, log, _store = self.start(faults)
        while not self.is_drained():
            drain.step()
            assert log.polls < 1000

    def run_refusing(self, refuses: Callable[[dict[str, Any]], bool]) -> None:
        """Run a process whose store refuses some rows."""
        drain, _log, store = self.start()
        store.refuses = refuses
        while not self.is_drained():
            drain.step()

    def dies(self, faults: Faults) -> None:
        """Run a process that must die."""
        with pytest.raises(Crash):
            self.run(faults)

    @staticmethod
    def value(record: records.Record) -> bytes:
        """Encode a record as it lies in the log."""
        return encode(record)

    def is_drained(self) -> bool:
        ends = {place: len(values) for place, values in self.broker.values.items()}
        return all(self.broker.committed.get(place) is not None for place in ends) and all(
            read_position(*self.broker.committed[place]).pending_end is None and self.broker.committed[place][0] == end
            for place, end in ends.items()
        )

    def stored_ids(self) -> list[tuple[str, int, int, int]]:
        rows = [row for rows in self.kept.values() for row in rows]
        return sorted(
            (row["source_topic"], row["source_partition"], row["source_offset"], row["source_index"]) for row in rows
        )


def make_tick(offset: int, index: int = 0, *, partition: int = 0, topic: str = "raw.binance", **fields: Any) -> Tick:
    values = {
        "event_time_us": NOW_US,
        "recv_time_us": NOW_US - 1000,
        "venue": "BINANCE",
        "symbol": "BTC/USDT",
        "asset_class": "CRYPTO",
        "kind": "TRADE",
        "price": 100.0 + offset,
        "quantity": 1.0,
        "sequence_id": offset,
        "source_topic": topic,
        "source_partition": partition,
        "source_offset": offset,
        "source_index": index,
    }
    return Tick(**{**values, **fields})


def encode(record: records.Record) -> bytes:
    return Encoder(type(record), 1).encode(record)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def repeating(world: World) -> World:
    """Ten ticks, three of which a processor wrote twice."""
    world.broker.append((TOPIC, 0), *(encode(make_tick(offset)) for offset in [*range(8), *range(5, 10)]))
    return world


@pytest.fixture
def new_world() -> type[World]:
    return World


@pytest.fixture
def faults() -> type[Faults]:
    return Faults


@pytest.fixture
def crash() -> type[Crash]:
    return Crash


@pytest.fixture
def tick() -> Callable[..., Tick]:
    """Makes ticks of a source offset and index."""
    return make_tick


@pytest.fixture
def value() -> Callable[[records.Record], bytes]:
    """Encodes a record as it lies in Kafka."""
    return encode


@pytest.fixture
def chunk() -> Callable[..., Chunk]:
    """Makes a chunk of records at consecutive offsets."""
    return make_chunk


def make_chunk(
    values: Sequence[records.Record], *, topic: str = TOPIC, start: int = 0, doubtful: bool = False
) -> Chunk:
    limits = Limits(rows=10**9, size_bytes=10**12, age_s=1e9)
    doubtful_below = 10**18 if doubtful else 0
    buffer = Buffer(table_of(topic), (topic, 0), limits=limits, doubtful_below=doubtful_below)
    for offset, record in enumerate(values, start):
        row = msgspec.to_builtins(record, builtin_types=(bytes,))
        rows = frame_rows(row, (topic, 0), offset) if "frames" in row else [row]
        buffer.add(offset, rows, size_bytes=1, now_s=0.0)
    buffer.close()
    found = buffer.due(0.0)
    assert found
    return found
