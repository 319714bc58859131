"""Owners of partitions that end, sleep and wake between any two calls of a sink: each row stands once in its store.

The sink's commit as a state machine: `Drain`, buffers and positions are the real ones, on a log and a store in memory.
A sink runs in a thread that stops at each call, before and after it takes effect, until the machine lets it go on,
kills it, or has the answer be an error. Long: `MODEL_EXAMPLES=5000 python -m pytest tests/model`.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.codec import Decoder, Encoder, schema_text
from schemas.records import DeadLetter, SinkCommit, Tick
from sinks import chunk as chunk_module
from sinks.chunk import Chunk, Limits
from sinks.drain import Assigned, Drain, Listener, Tools, Written
from sinks.position import Position, read_position
from sinks.rows import RowReader, Run
from sinks.store import Refused, StoreBusyError
from tickerplant.health import Health

TOPIC, OTHER = "cleaned.tick", "raw.binance"
PARTITIONS = (0, 1)
NOW_US = 1_795_248_000_000_000
MOST_ALIVE = 3
GATE_S = 30.0

Place = tuple[str, int]
Id = tuple[int, int, int]
"""Source partition, offset, index."""


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """What outlives a process.

    Args:
        rows: all that stands in the store, as `SELECT` gives them.
        tokens: of inserts, by which the store knows one that comes again.
        sources: by partition, the source offset of each record.
        told: partition and end of each chunk that was told of.
    """

    values: dict[Place, list[bytes]] = field(default_factory=dict)
    sources: dict[int, list[int]] = field(default_factory=dict)
    committed: dict[Place, tuple[int, str]] = field(default_factory=dict)
    rows: list[Id] = field(default_factory=list)
    tokens: set[Any] = field(default_factory=set)
    told: set[tuple[int, int]] = field(default_factory=set)
    can_be_asked: bool = True  # False = objects with names, as in a lake
    clock_s: float = 0.0
    generation: int = 0
    members: list["Sink"] = field(default_factory=list)

    def write(self, partition: int, offsets: Iterable[int]) -> None:
        """Write ticks of these source offsets; one that does not rise is a repeat."""
        for offset in offsets:
            self.sources.setdefault(partition, []).append(offset)
            self.values.setdefault((TOPIC, partition), []).append(ENCODER.encode(make_tick(partition, offset)))

    def wanted(self, partition: int, count: int) -> list[Id]:
        """Tell the rows that so many records of a partition give."""
        found: list[Id] = []
        for offset in self.sources.get(partition, [])[:count]:
            if not found or offset > found[-1][1]:
                found.append((partition, offset, 0))
        return found

    def join(self, sink: "Sink") -> None:
        self.members = [each for each in self.members if each is not sink] + [sink]
        self.generation += 1

    def leave(self, sink: "Sink") -> None:
        if sink in self.members:
            self.members.remove(sink)
            self.generation += 1

    def places_of(self, sink: "Sink") -> list[Place]:
        if sink not in self.members:
            return []
        number, count = self.members.index(sink), len(self.members)
        return [(TOPIC, each) for each in PARTITIONS if each % count == number]


def make_tick(partition: int, offset: int) -> Tick:
    return Tick(
        event_time_us=NOW_US,
        recv_time_us=NOW_US,
        venue="BINANCE",
        symbol="BTC/USDT",
        asset_class="CRYPTO",
        kind="TRADE",
        price=1.0 + offset,
        quantity=1.0,
        sequence_id=offset,
        source_topic=OTHER,
        source_partition=partition,
        source_offset=offset,
    )


ENCODER = Encoder(Tick, 1)


class Work:
    """A write of a process beside others, in a thread of its own: goes on from call to call as its process does."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self.at = ""  # the call that it stands before or after
        self.has_ended = self.is_dead = False
        self.result: Any = None
        self.failure: BaseException | None = None
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._thread.start()
        assert self._stands.acquire(timeout=GATE_S)

    def go_on(self) -> None:
        """Let it come to its next call, or to its end."""
        self._go.release()
        assert self._stands.acquire(timeout=GATE_S), self.at
        if self.failure is not None:
            raise self.failure

    def stand(self, at: str) -> None:
        """Stand still; called by the thread itself."""
        self.at = at
        self._stands.release()
        self._go.acquire()
        if self.is_dead:
            raise Killed

    def kill(self) -> None:
        if not self.has_ended:
            self.is_dead = True
            self._go.release()
            self._thread.join(GATE_S)

    def _run(self, job: Callable[[], Any]) -> None:
        HERE.work = self
        try:
            self.result = job()
        except Killed:
            return
        except BaseException as failure:  # noqa: BLE001  # raised where it is waited for
            self.failure = failure
        finally:
            self.has_ended = True
            self._stands.release()


HERE = threading.local()
"""`work` = what runs in this thread, where that is not the process itself."""


class Sink:
    """A sink process: the real `Drain` in a thread, which goes on from call to call when it is told to.

    Args:
        turn: which of several writes at the same time goes on next, counted among those that have not ended.
    """

    name = dependency = "memory"
    limits = Limits(rows=3, size_bytes=10_000, age_s=1.0, together=2)

    def __init__(self, world: World) -> None:
        self.world = world
        self.at = ""  # the call that it stands before or after
        self.is_dead = self.is_asleep = False
        self.answer = ""  # of the next call: `refused` = nothing is done, `lost` = it is done; an error both times
        self.failure: BaseException | None = None
        self._listener: Listener | None = None
        self._generation = -1
        self._positions: dict[Place, int] = {}
        self.turn = 0
        self._works: list[Work] = []
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._stands.acquire(timeout=GATE_S)

    @property
    def is_writing(self) -> bool:
        places = {self.at, *(each.at for each in self._works if not each.has_ended)}
        return not places.isdisjoint({"before write", "between question and insert"})

    # what the machine does

    def go_on(self, answer: str = "") -> None:
        """Let it come to its next call."""
        if self.is_dead:
            return
        self.answer = answer
        self._go.release()
        assert self._stands.acquire(timeout=GATE_S), self.at
        if self.failure is not None:
            raise self.failure

    def kill(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._go.release()
            self._thread.join(GATE_S)

    def _run(self) -> None:
        try:
            self._gate("start")
            store: Any = self
            log: Any = self
            reader = RowReader(lambda record: Decoder(record, lambda _id: schema_text(record)), stage="sink.memory")
            tools = Tools(
                reader=reader,
                letters=self,  # type: ignore[arg-type]  # there are none
                commits=self,
                health=Health("sink-memory"),
                now_s=lambda: self.world.clock_s,
                now_us=lambda: NOW_US,
                together=lambda _most: self.do_together,
            )
            drain = Drain(log, store, tools)
            while True:
                drain.step()
        except Killed:
            return
        except BaseException as failure:  # noqa: BLE001  # raised where it is waited for
            self.failure = failure
            self._stands.release()

    def _gate(self, at: str) -> None:
        """Stand still until the machine says what happens."""
        if (work := getattr(HERE, "work", None)) is not None:
            work.stand(at)
            return
        self.at = at
        self._stands.release()
        self._go.acquire()
        if self.is_dead:
            raise Killed

    def _call(self, what: str) -> str:
        """Stand before a call; returns how it is to be answered."""
        self._gate(f"before {what}")
        answer, self.answer = self.answer, ""
        return answer

    def do_together(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Write at the same time: in which order calls are made, the machine says."""
        if len(jobs) == 1:
            return [jobs[0]()]
        try:
            self._works = [Work(job) for job in jobs]
            while left := [each for each in self._works if not each.has_ended]:
                work = left[self.turn % len(left)]
                self._gate(work.at)
                work.go_on()
            return [each.result for each in self._works]
        finally:
            for each in self._works:
                each.kill()
            self._works = []

    # the log

    def subscribe(self, listener: Listener) -> None:
        self._listener = listener
        self.world.join(self)

    def poll(self, _most: int, timeout_s: float) -> Sequence[Run]:
        self._gate("before poll")
        assert self._listener
        if self not in self.world.members:
            self.world.join(self)
        if self._generation != self.world.generation:
            self._generation = self.world.generation
            self._listener.revoked(list(self._positions))
            self._positions = {}
            self._listener.assigned({place: self._assigned(place) for place in self.world.places_of(self)})
        if self.is_held:
            self.world.clock_s += timeout_s
            return []
        runs = [run for place in sorted(self._positions) for run in self._take(place)]
        if not runs:
            self.world.clock_s += timeout_s
        return runs

    is_held = False

    def commit(self, positions: Mapping[Place, Position]) -> bool:
        answer = self._call("commit")
        is_member = self in self.world.members and self._generation == self.world.generation
        if answer == "refused" or not is_member:
            return False
        self.world.committed.update({place: (each.offset, each.metadata()) for place, each in positions.items()})
        self._gate("after commit")
        return answer != "lost"

    def hold(self) -> None:
        self.is_held = True

    def release(self) -> None:
        self.is_held = False

    def end_offset(self, place: Place) -> int | None:
        return len(self.world.values.get(place, []))

    def _assigned(self, place: Place) -> Assigned:
        offset, metadata = self.world.committed.get(place, (-1, ""))
        position = read_position(offset, metadata) if offset >= 0 else None
        self._positions[place] = max(0, offset)
        return Assigned(position=position, generation="", end_offset=len(self.world.values.get(place, [])))

    def _take(self, place: Place) -> list[Run]:
        """Give some of what is there: polls end anywhere."""
        start = self._positions[place]
        values = self.world.values.get(place, [])[start : start + 2]
        self._positions[place] = start + len(values)
        return [Run(*place, range(start, start + len(values)), values)] if values else []

    # the store: a span that it knows changes nothing; ClickHouse forgets spans, and is asked for what is doubtful

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        answer = self._call("write")
        rows = [
            (each["source_partition"], each["source_offset"], each["source_index"]) for each in chunk.rows.to_pylist()
        ]
        if answer == "refused":
            raise StoreBusyError("asked to be busy")
        if chunk.is_doubtful and self.world.can_be_asked:
            known = set(self.world.rows)
            rows = [each for each in rows if each not in known]
            self._gate("between question and insert")
        if chunk.span not in self.world.tokens:
            self.world.tokens.add(chunk.span)
            self.world.rows += rows
        self._gate("after write")
        if answer == "lost":
            raise StoreBusyError("its answer is lost")
        return []

    def send(self, _letters: Iterable[DeadLetter], _place: Place) -> None: ...

    def tell(self, commits: Iterable[SinkCommit]) -> None:
        answer = self._call("tell")
        if answer == "refused":
            raise StoreBusyError("asked to be busy")
        self.world.told |= {(each.source_partition, each.end_offset) for each in commits}
        self._gate("after tell")
        if answer == "lost":
            raise StoreBusyError("its answer is lost")


class Commit(RuleBasedStateMachine):
    """What may happen to sinks, in any order."""

    can_be_asked = True

    def __init__(self) -> None:
        super().__init__()
        self.world = World(can_be_asked=self.can_be_asked)
        self.sinks: list[Sink] = []
        self.offsets = dict.fromkeys(PARTITIONS, 0)
        for partition in PARTITIONS:
            self.records_come(partition, 4, 0)
        self.another_starts()

    def alive(self) -> list[Sink]:
        return [each for each in self.sinks if not each.is_dead]

    def awake(self) -> list[Sink]:
        return [each for each in self.alive() if not each.is_asleep]

    @rule(partition=st.sampled_from(PARTITIONS), count=st.integers(1, 5), repeats=st.integers(0, 4))
    def records_come(self, partition: int, count: int, repeats: int) -> None:
        """Some of which a processor that was paused wrote before."""
        first = self.offsets[partition]
        self.offsets[partition] = first + count
        self.world.write(partition, range(max(0, first - repeats), first + count))

    @precondition(lambda self: self.awake())
    @rule(who=st.integers(0, 2), calls=st.integers(1, 12), turn=st.integers(0, 1))
    def one_goes_on(self, who: int, calls: int, turn: int) -> None:
        sink = self.awake()[who % len(self.awake())]
        sink.turn = turn
        for _ in range(calls):
            sink.go_on()

    @precondition(lambda self: self.awake())
    @rule(
        who=st.integers(0, 2),
        what=st.sampled_from(("commit", "write", "tell")),
        answer=st.sampled_from(("refused", "lost")),
    )
    def a_call_fails(self, who: int, what: str, answer: str) -> None:
        """The next call of that kind is answered with an error, whether it is done or not."""
        sink = self.awake()[who % len(self.awake())]
        self.bring(sink, f"before {what}")
        sink.go_on(answer if sink.at == f"before {what}" else "")

    @precondition(lambda self: self.awake())
    @rule(who=st.integers(0, 2), at=st.sampled_from(("before commit", "after commit", "before write", "after write")))
    def one_comes_to_a_call(self, who: int, at: str) -> None:
        self.bring(self.awake()[who % len(self.awake())], at)

    def bring(self, sink: Sink, at: str) -> None:
        for _ in range(30):
            if sink.at == at:
                return
            sink.go_on()

    @precondition(lambda self: self.alive())
    @rule(who=st.integers(0, 2))
    def one_is_killed(self, who: int) -> None:
        sink = self.alive()[who % len(self.alive())]
        sink.kill()
        self.world.leave(sink)

    @precondition(lambda self: len(self.alive()) < MOST_ALIVE)
    @rule()
    def another_starts(self) -> None:
        self.sinks.append(Sink(self.world))

    @precondition(lambda self: self.awake())
    @rule(who=st.integers(0, 2))
    def one_sleeps_past_its_session(self, who: int) -> None:
        sink = self.awake()[who % len(self.awake())]
        sink.is_asleep = True
        self.world.leave(sink)

    @precondition(lambda self: self.alive())
    @rule(who=st.integers(0, 2), calls=st.integers(0, 6))
    def one_wakes(self, who: int, calls: int) -> None:
        sink = self.alive()[who % len(self.alive())]
        sink.is_asleep = False
        for _ in range(calls):
            sink.go_on()

    @rule(seconds=st.sampled_from((0.5, 2.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.clock_s += seconds

    @precondition(lambda self: all(each.at == "before poll" for each in self.alive()))
    @rule()
    def tokens_are_forgotten(self) -> None:
        """The window of tokens is outlasted; it is longer than one may sleep with an insert under way."""
        self.world.tokens.clear()

    @precondition(lambda self: not any(each.is_writing for each in self.alive()))
    @rule()
    def committed_offsets_are_lost(self) -> None:
        """And the group with them: all join again.

        Not while a write is under way: one that wakes in it, and one that begins anew, would name what they write
        differently. FINAL, the last line, leaves one of the two then.
        """
        self.world.committed.clear()
        self.world.generation += 1

    @invariant()
    def no_row_stands_twice(self) -> None:
        assert len(self.world.rows) == len(set(self.world.rows))

    @invariant()
    def what_is_committed_is_stored(self) -> None:
        stored = set(self.world.rows)
        for (_, partition), (offset, _) in self.world.committed.items():
            assert stored.issuperset(self.world.wanted(partition, offset))

    def teardown(self) -> None:
        try:
            self.check()
        finally:
            for sink in self.sinks:
                sink.kill()

    def check(self) -> None:
        """All wake; then all goes on until nothing is left."""
        for sink in self.alive():
            sink.is_asleep = False
        if not self.alive():
            self.another_starts()
        for _ in range(3000):
            if self.is_done():
                break
            for sink in self.alive():
                sink.go_on()
            self.world.clock_s += 0.01
        else:
            raise RuntimeError("it never comes to an end")
        self.no_row_stands_twice()
        for partition, sources in self.world.sources.items():
            assert sorted(each for each in self.world.rows if each[0] == partition) == self.world.wanted(
                partition, len(sources)
            )
            assert max((end for number, end in self.world.told if number == partition), default=-1) >= 0

    def is_done(self) -> bool:
        positions = {place: read_position(*each) for place, each in self.world.committed.items()}
        return all(
            (TOPIC, partition) in positions
            and positions[TOPIC, partition].pending_end is None
            and positions[TOPIC, partition].offset == len(sources)
            for partition, sources in self.world.sources.items()
        )


class CommitOfObjects(Commit):
    """A lake: names are never forgotten, and nobody is asked, so offsets must not be lost."""

    can_be_asked = False

    def tokens_are_forgotten(self) -> None: ...

    def committed_offsets_are_lost(self) -> None: ...


@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", [Commit, CommitOfObjects])
def test_each_row_stands_once_whatever_happens_to_sinks(
    explore: Callable[[type[Commit]], None], machine: type[Commit]
) -> None:
    explore(machine)


def commit_first(self: Any) -> None:
    due = self._due()
    if due and self._announce(due) and self._log.commit({each.place: each.chunk.done() for each in due}):
        self._put(due)
        self._conclude([each for each in due if self._is_stored(each)])


def announce_nothing(_self: Any, due: Sequence[Any]) -> bool:
    for each in due:
        each.lane.intended = each.chunk.span
    return True


def take_errors_for_answers(self: Any, chunk: Chunk) -> Written:
    found = WRITE(self, chunk)
    return Written((), 0.0, NOW_US) if isinstance(found, StoreBusyError) else found


def give_answers_in_another_order(self: Any, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    return TOGETHER(self, jobs)[::-1]


def chunks_with(**changes: Any) -> Callable[..., Chunk]:
    return lambda **values: Chunk(**{**values, **changes})


WRITE, TOGETHER = Drain._write, Sink.do_together
MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "offsets are committed before the rows are written": (Drain, "_flush", commit_first),
    "no intent is committed": (Drain, "_announce", announce_nothing),
    "an intent does not tell its range": (
        Chunk,
        "intent",
        lambda self, _refused: Position(offset=self.span.start, marks=self.marks_before),
    ),
    "an intent has the marks after it": (
        Chunk,
        "intent",
        lambda self, _refused: Position(offset=self.span.start, pending_end=self.span.end, marks=self.marks_after),
    ),
    "marks are not kept": (chunk_module, "Chunk", chunks_with(marks_after={})),
    "an error is taken for an answer": (Drain, "_write", take_errors_for_answers),
    "answers of writes at the same time are confused": (Sink, "do_together", give_answers_in_another_order),
    "the store is not asked for what is doubtful": (chunk_module, "Chunk", chunks_with(is_doubtful=False)),
    "doubt is forgotten with the next commit": (chunk_module, "Chunk", chunks_with(doubtful_below=0)),
}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_model_finds(monkeypatch: pytest.MonkeyPatch, finds: Callable[[type[Commit]], bool], mistake: str) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])

    assert finds(CommitOfObjects if mistake == "no intent is committed" else Commit)  # the other store forgives it
