"""Kafka in memory, as processors see it: logs, producers' queues, a consumer group, and event loops that tests turn.

Nothing happens by itself: a test says whose event loop turns, which queued records reach the broker, how time passes.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from processors import app as processor_app
from processors import increments, state_store, written
from processors.app import Processor, Tools
from processors.errors import ProcessorError
from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import Frame, RawFrames, Source
from schemas.topics import CLEANED, STATE
from tickerplant.errors import TickerplantError
from tickerplant.kafka import KafkaError, TopicPartition
from tickerplant.once import Once, source_of
from tickerplant.settings import Settings

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "100"))
MOST_EXAMPLES = 1000
"""So many are tried to find a mistake; it takes a few hundred at most."""
STEPS = 20
RAW = "raw.binance"
HOME: tuple[str, int] = (RAW, 0)
STATE_PLACE = (STATE.name, 0)
SESSION_S = processor_app.SESSION_S
SCHEMA_ID = 1
START_US = 1_723_161_260_000_000
NAMES = ("BTC", "ETH", "SOL")
Place = tuple[str, int]


class Record(NamedTuple):
    """A record in a log, as a message of the library's: read by methods."""

    place: Place
    at: int
    name: bytes | None
    content: bytes | None
    pairs: Any
    time_ms: int
    problem: KafkaError | None = None

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.content

    def headers(self) -> Any:
        return self.pairs

    def error(self) -> KafkaError | None:
        return self.problem


@dataclass
class Broker:
    """Logs, what a group committed, the time of day, and the life of the raw topic."""

    now_us: int = START_US
    life: str = "firstlif"
    logs: dict[Place, list[Record]] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    committed: dict[Place, int] = field(default_factory=dict)

    def append(self, record: Record) -> int:
        """Take a record; returns its offset."""
        offset = self.ends.get(record.place, 0)
        self.ends[record.place] = offset + 1
        self.logs.setdefault(record.place, []).append(record._replace(at=offset))
        return offset

    def compact(self, place: Place) -> None:
        """Keep the newest record of each key."""
        newest = {record.name: record for record in self.logs.get(place, [])}
        self.logs[place] = sorted(newest.values(), key=lambda record: record.at)

    def make_anew(self, life: str) -> None:
        """Delete the raw topic and make another one of its name; what the group committed of it goes as well."""
        self.life = life
        for each in (self.logs, self.ends, self.committed):
            each.pop(HOME, None)  # type: ignore[attr-defined]  # dicts by place

    def sources(self, topic: str) -> list[bytes]:
        return [dict(record.pairs)["source"] for record in self.logs.get((topic, 0), [])]

    def read_once(self, topic: str) -> list[bytes]:
        """Read the values of an output as subscribers do, which drop repeats."""
        once = Once()
        found = [(source_of(record.pairs), record.content) for record in self.logs.get((topic, 0), [])]
        return [value for source, value in found if source and value and once.is_new((topic, 0), source)]


class MemoryConsumer:
    """Reads partitions that are assigned by hand."""

    def __init__(self, broker: Broker, *, tells_ends: bool) -> None:
        self._broker, self._tells_ends = broker, tells_ends
        self._positions: dict[Place, int] = {}

    def get_watermark_offsets(self, place: TopicPartition, **_: Any) -> tuple[int, int]:
        return 0, self._broker.ends.get((place.topic, place.partition), 0)

    def assign(self, places: Iterable[TopicPartition]) -> None:
        self._positions = {(each.topic, each.partition): max(0, each.offset) for each in places}

    def incremental_unassign(self, places: Iterable[TopicPartition]) -> None:
        for each in places:
            self._positions.pop((each.topic, each.partition), None)

    def consume(self, _most: int, _timeout_s: float) -> list[Record]:
        found = []
        for place, position in self._positions.items():
            records = [each for each in self._broker.logs.get(place, []) if each.at >= position]
            self._positions[place] = self._broker.ends.get(place, 0)
            found += records
            if self._tells_ends:
                over = KafkaError(KafkaError._PARTITION_EOF)
                found.append(Record(place, 0, None, None, None, 0, over))
        return found

    def close(self) -> None: ...


class MemoryOffsets:
    """Tells where partitions end, and where a time is."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def watermarks(self, counts: Mapping[str, int]) -> dict[Place, tuple[int, int]]:
        places = [(name, number) for name, count in counts.items() for number in range(count)]
        return {place: (0, self._broker.ends.get(place, 0)) for place in places}

    def lives(self, topics: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(topics, self._broker.life)

    def offsets_at(self, times_ms: Mapping[Place, int]) -> dict[Place, int | None]:
        return {place: self._at(place, time_ms) for place, time_ms in times_ms.items()}

    def close(self) -> None: ...

    def _at(self, place: Place, time_ms: int) -> int | None:
        return next((each.at for each in self._broker.logs.get(place, []) if each.time_ms >= time_ms), None)


class MemoryPublisher:
    """Keeps records until they are let through to the broker, in order for each partition; then answers at `poll`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.queues: dict[Place, deque[tuple[Record, Any]]] = {}
        self._answers: deque[tuple[Any, int]] = deque()

    def send(self, *values: Any) -> None:
        topic, partition, key, value, headers, on_delivered, *_ = (*values, None, None)
        place = (topic, partition)
        record = Record(place, 0, key, value, headers, self._broker.now_us // 1000)
        self.queues.setdefault(place, deque()).append((record, on_delivered))

    def poll(self, _timeout_s: float = 0.0) -> None:
        while self._answers:
            on_delivered, offset = self._answers.popleft()
            if on_delivered is not None:
                on_delivered(None, SimpleNamespace(offset=lambda offset=offset: offset))

    def flush(self, _timeout_s: float = 0.0) -> int:
        return self.waiting_records()

    def waiting_records(self) -> int:
        return self.queued_records() + len(self._answers)

    def queued_records(self) -> int:
        """Tell how many have not reached the broker."""
        return sum(map(len, self.queues.values()))

    def transmit(self, places: Iterable[Place] | None = None, most: int = 2**31) -> None:
        """Let so many records of each of these partitions through; None = of all."""
        for place in list(self.queues) if places is None else places:
            queue = self.queues.get(place, deque())
            for _ in range(min(most, len(queue))):
                record, on_delivered = queue.popleft()
                self._answers.append((on_delivered, self._broker.append(record)))


class MemoryRegistry:
    """Knows the schemas of this program, all by one id."""

    def encoder(self, _topic: Any, record: Any) -> Encoder[Any]:
        return Encoder(record, SCHEMA_ID)

    def decoder(self, record: Any) -> Decoder[Any]:
        return Decoder(record, lambda _id: schema_text(record))


class Loop(asyncio.SelectorEventLoop):
    """An event loop that is turned by hand, on the broker's clock."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        super().__init__()

    def time(self) -> float:
        return self._broker.now_us / 1_000_000

    def run_in_executor(self, _executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        future.set_result(function(*args))
        return future

    def turn(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()


@dataclass
class Group:
    """A consumer group over one partition: who is in, who has it, and who has been silent for too long."""

    broker: Broker
    generation: int = 0
    members: dict["Process", int] = field(default_factory=dict)  # when it was heard last
    owner: "Process | None" = None
    rejoined: set["Process"] = field(default_factory=set)
    is_rebalancing: bool = False

    def join(self, process: "Process") -> None:
        self.members[process] = self.broker.now_us
        self.is_rebalancing = True
        self.rejoined.add(process)
        self.look()

    def leave(self, process: "Process") -> None:
        self.members.pop(process, None)
        self.rejoined.discard(process)
        self.is_rebalancing = True
        self.look()

    def hear(self, process: "Process") -> None:
        if process in self.members:
            self.members[process] = self.broker.now_us

    def look(self) -> None:
        """Put out whoever is silent; once all others have joined again, give the partition to the newest."""
        for process, heard_us in list(self.members.items()):
            if self.broker.now_us - heard_us > SESSION_S * 1_000_000:
                del self.members[process]
                self.rejoined.discard(process)
                self.is_rebalancing = True
        if self.is_rebalancing and self.members and self.rejoined >= set(self.members):
            self.generation += 1
            self.owner = list(self.members)[-1]
            for process in self.members:
                process.generation = self.generation
            self.rejoined, self.is_rebalancing = set(), False

    def must_rejoin(self, process: "Process") -> bool:
        return process not in self.members or (self.is_rebalancing and process not in self.rejoined)

    def commit(self, process: "Process", offsets: Mapping[Any, int]) -> bool:
        if process not in self.members or process.generation != self.generation:
            return False
        self.hear(process)
        self.broker.committed.update({(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        return True


class MemberConsumer:
    """Faust's consumer, as far as the processor uses it."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        fetcher = SimpleNamespace(_get_actions_per_node=None)
        self.wait_first = None
        self._thread = SimpleNamespace(commit=self._commit, _ensure_consumer=lambda: SimpleNamespace(_fetcher=fetcher))

    def assignment(self) -> set[Any]:
        return {processor_app.TP(*HOME)} if self._process.has_partition else set()

    async def earliest_offsets(self, *places: Any) -> dict[Any, int]:
        return dict.fromkeys(places, 0)

    def highwater(self, _place: Any) -> int:
        return self._process.broker.ends.get(HOME, 0)

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        await asyncio.sleep(0)
        while self._process.is_cut:  # noqa: ASYNC110  # tests set it
            await asyncio.sleep(0.01)
        return self._process.group.commit(self._process, offsets)


class Process:
    """A processor process: the real `Processor`, and around it what Faust does with it.

    Args:
        is_cut: from the network: what it sends waits.
        is_deaf: has not been told of a rebalance yet.
    """

    def __init__(self, broker: Broker, group: Group) -> None:
        self.broker, self.group = broker, group
        self.publisher = MemoryPublisher(broker)
        self.generation = self.position = 0
        self.is_cut = self.is_ending = self.is_deaf = self.is_paused = self.has_ended = self.has_partition = (
            self.is_flowing
        ) = False
        registry: Any = MemoryRegistry()
        publisher: Any = self.publisher
        offsets: Any = MemoryOffsets(broker)
        self.processor = Processor(
            Settings(),
            Tools(
                publisher=publisher,
                offsets=offsets,
                registry=registry,
                partition_counts={RAW: 1},
                connect=lambda *_, **config: MemoryConsumer(broker, tells_ends=bool(config)),
                now_us=lambda: broker.now_us,
                steady_us=lambda: broker.now_us,
            ),
        )
        self.app = SimpleNamespace(
            should_stop=False,
            consumer=MemberConsumer(self),
            crash=self._crash,
        )
        self.loop = Loop(broker)
        self.loop.set_exception_handler(self._failed)
        self.failures: list[Any] = []
        self._assigning: asyncio.Task[None] | None = None
        self._tasks = [
            self.loop.create_task(each)
            for each in (self._follow_group(), self._agent(), self.processor.snapshot_for_ever(self.app))
        ]

    @property
    def is_running(self) -> bool:
        return not (self.is_paused or self.has_ended)

    def turn(self, times: int = 1) -> None:
        """Turn the event loop."""
        for _ in range(times):
            if self.is_running:
                self.app.consumer_generation_id = self.generation
                self.loop.turn()
            for task in self._tasks:
                if task.done() and not task.cancelled() and task.exception():
                    raise task.exception()  # type: ignore[misc]  # it was asked for

    def transmit(self, places: Iterable[Place] | None = None, most: int = 2**31) -> None:
        """Let records through to the broker; those of a process that was killed may be under way."""
        if not (self.is_cut or self.is_paused):
            self.publisher.transmit(places, most)

    def kill(self) -> None:
        """End it as by SIGKILL."""
        self.has_ended = True
        if self.loop.is_closed():
            return
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be left so
            task.get_coro().close()  # type: ignore[union-attr]  # ours are coroutines
        self._tasks, self._assigning = [], None
        self.loop.close()

    def stop(self) -> None:
        """End it as by SIGTERM; turn it until it `has_ended`."""
        self.is_ending = True
        self._tasks.append(self.loop.create_task(self._drain()))

    async def _drain(self) -> None:
        await self.processor.catch_up(self.app)
        self.app.should_stop = True
        await self.processor.revoke(self.app)
        self.has_partition = False
        self.group.leave(self)
        self.has_ended = True

    async def _follow_group(self) -> None:
        """Take part in rebalances: give the partition away, join again, load state, seek, go on."""
        self.group.join(self)
        while not self.app.should_stop:
            if not self.is_deaf and self.group.must_rejoin(self):
                self.is_flowing = False
                await self.processor.revoke(self.app)
                self.has_partition = False
                self.group.join(self)
            if self.group.owner is self and not self.group.is_rebalancing and not self.has_partition:
                self.has_partition = True
                before, self._assigning = self._assigning, None
                self._assigning = self.loop.create_task(self._assign(before))
                self._tasks.append(self._assigning)
            await asyncio.sleep(0)

    async def _assign(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await before
        generation = self.generation
        self.app.consumer_generation_id = generation
        await self.processor.assign(self.app)
        if self.generation == generation and self.has_partition and not self.group.must_rejoin(self):
            self.position = self.broker.committed.get(HOME, 0)
            self.is_flowing = True

    async def _agent(self) -> None:
        """Give raw records to the processor, as the stream of the agent does."""
        while not self.app.should_stop:
            log = self.broker.logs.get(HOME, [])
            if self.is_flowing and not self.is_cut and self.position < len(log):
                record = log[self.position]
                self.position += 1
                message = SimpleNamespace(
                    tp=processor_app.TP(*HOME),
                    offset=record.at,
                    value=record.content,
                    timestamp=record.time_ms / 1000,
                )
                await self.processor.take(message)
            await asyncio.sleep(0)

    async def _crash(self, error: Exception) -> None:
        raise error

    def _failed(self, _loop: Any, context: dict[str, Any]) -> None:
        self.failures.append(context)


def frame(number: int, payload: str, *, kind: Any = "MESSAGE", request: str = "") -> Frame:
    time_us = START_US + number * 1000
    return Frame(source=0, number=number, kind=kind, request=request, recv_time_us=time_us, payload=payload.encode())


def _payloads(number: int) -> Iterator[tuple[str, str, str]]:
    """Make what is in one raw record: trades (each twice), deltas, a snapshot now and then, garbage."""
    for index, base in enumerate(NAMES):
        if number % (index + 1):
            continue
        name, count = f"{base}USDT", number // (index + 1)
        trade = f'{{"e":"trade","E":1,"s":"{name}","t":{count},"p":"{count}.5","q":"1","T":1,"m":false}}'
        stream = f"{base.lower()}usdt@trade"
        yield f'{{"stream":"{stream}","data":{trade}}}', "MESSAGE", ""
        if number % 3 == 0:
            yield f'{{"stream":"{stream}","data":{trade}}}', "MESSAGE", ""
        delta = f'{{"e":"depthUpdate","E":1,"s":"{name}","U":{count},"u":{count},"b":[["{count}.5","1"]],"a":[]}}'
        yield f'{{"stream":"{base.lower()}usdt@depth@100ms","data":{delta}}}', "MESSAGE", ""
        if number % 7 == 6:
            request = f"https://api.example/api/v3/depth?symbol={name}&limit=1000"
            yield f'{{"lastUpdateId":{count},"bids":[["1.0","1"]],"asks":[]}}', "HTTP", request
    if number % 5 == 4:
        yield "{", "MESSAGE", ""


def raw_values(count: int) -> list[bytes]:
    """Make raw records: a list of instruments, then some of each symbol, the last of them rarely."""
    encoder, source = Encoder(RawFrames, SCHEMA_ID), Source(market="spot", connection="c")
    names = ",".join(
        f'{{"symbol":"{base}USDT","status":"TRADING","baseAsset":"{base}","quoteAsset":"USDT"}}' for base in NAMES
    )
    contents: list[list[tuple[str, str, str]]] = [[(f'{{"symbols":[{names}]}}', "INSTRUMENTS", "")]]
    contents += [list(_payloads(number)) for number in range(1, count)]
    values, made = [], 0
    for content in contents:
        frames = []
        for payload, kind, request in content:
            frames.append(frame(made, payload, kind=kind, request=request))
            made += 1
        values.append(
            encoder.encode(RawFrames(venue="BINANCE", event_time_us=START_US, sources=[source], frames=frames))
        )
    return values


@dataclass
class World:
    """A broker, its group, and the raw records that are to come."""

    values: list[bytes]
    broker: Broker = field(default_factory=Broker)
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.group = Group(self.broker)

    def start(self) -> Process:
        process = Process(self.broker, self.group)
        self.processes.append(process)
        return process

    def write(self, count: int) -> None:
        """Write the next raw records."""
        written_count = self.broker.ends.get(HOME, 0)
        for value in self.values[written_count : written_count + count]:
            self.broker.append(Record(HOME, 0, None, value, None, self.broker.now_us // 1000))

    def wait(self, seconds: float) -> None:
        """Let time pass, in which those who can are heard by their group."""
        self.broker.now_us += int(seconds * 1_000_000)
        for process in self.processes:
            if process.is_running and not process.is_cut:
                self.group.hear(process)
        self.group.look()

    def alive(self) -> list[Process]:
        return [each for each in self.processes if not each.has_ended]

    def run(self, until: Callable[[], bool], most: int = 3000) -> None:
        """Let everything go on as it does, until something holds."""
        for _ in range(most):
            if until():
                return
            for process in self.alive():
                process.turn()
                process.transmit()
            self.wait(0.02)
        raise RuntimeError("it never comes to that")

    def is_done(self) -> bool:
        """Tell whether all raw records are processed, delivered, and kept."""
        end = self.broker.ends.get(HOME, 0)
        waiting = sum(each.publisher.queued_records() for each in self.alive())
        return not waiting and self.broker.committed.get(HOME, 0) == end

    def outputs(self) -> dict[str, list[bytes]]:
        """Read all outputs as subscribers do."""
        return {topic.name: self.broker.read_once(topic.name) for topic in CLEANED}

    def counts(self) -> dict[str, int]:
        return {topic.name: self.broker.ends.get((topic.name, 0), 0) for topic in CLEANED}

    def close(self) -> None:
        for process in self.processes:
            process.kill()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all limits small, so that short stories reach them, and slices as small as they can be."""
    monkeypatch.setattr(processor_app, "SLICE_S", 0.0)
    monkeypatch.setattr(processor_app, "YIELD_EVERY_S", -1.0)
    monkeypatch.setattr(processor_app, "LAST_SNAPSHOT_S", 1e9)
    monkeypatch.setattr(increments, "FEWEST_CHANGES", 2)
    monkeypatch.setattr(increments, "MORE_CHANGES", 2)
    monkeypatch.setattr(written, "SHORT_RECORDS", 0)
    monkeypatch.setattr(written, "MARGIN_US", 1_000_000)  # all have one clock here
    monkeypatch.setattr(state_store, "PART_BYTES", 200)


@pytest.fixture(scope="session")
def raw() -> list[bytes]:
    return raw_values(80)


@pytest.fixture
def new_world(small: None, raw: list[bytes]) -> Callable[[], World]:
    return lambda: World(raw)


@pytest.fixture(scope="session")
def expected(raw: list[bytes]) -> Callable[[int], dict[str, list[bytes]]]:
    """What a processor that never stops gives for so many raw records, by output."""
    found: dict[int, dict[str, list[bytes]]] = {}

    def give(count: int) -> dict[str, list[bytes]]:
        if count not in found:
            world = World(raw)
            world.write(count)
            world.start()
            world.run(world.is_done)
            found[count] = world.outputs()
            world.close()
        return found[count]

    return give


Machine = type[RuleBasedStateMachine]


def _explore(machine: Machine, examples: int, **options: Any) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            **options,
        ),
    )


@pytest.fixture
def explore() -> Callable[[Machine], None]:
    """Run a machine through so many stories; `MODEL_EXAMPLES=5000` for the long version."""
    return lambda machine: _explore(machine, EXAMPLES)


@pytest.fixture
def finds() -> Callable[[Machine], bool]:
    """Tell whether a machine comes upon something that is not as it must be, in the same stories first, then in others.

    The same stories are not quite the same each time where sets are iterated: their order differs from run to run.
    """

    def run(machine: Machine) -> bool:
        return any(is_found(machine, is_same) for is_same in (True, False, False, False))

    def is_found(machine: Machine, is_same: bool) -> bool:
        try:
            _explore(machine, MOST_EXAMPLES, phases=[Phase.generate], derandomize=is_same)
        except (AssertionError, ProcessorError, TickerplantError):
            return True
        return False

    return run
