"""Owners of a raw partition that end, sleep, are cut off and wake between any two steps: readers see each record once.

The processor's resume as a state machine: `Processor`, worker, state and search are the real ones, on a Kafka in memory
(`conftest.py`). Long: `SOAK_LONG=1 MODEL_EXAMPLES=5000 python -m pytest tests/model`.
"""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from processors import state_store
from processors.app import Processor
from processors.outputs import Outputs
from processors.silence import Silence
from processors.state_store import Place
from processors.worker import PartitionWorker
from processors.written import Written
from schemas.topics import DEAD_PROCESSOR, DEPTH, INSTRUMENT, QUALITY, STATE, TICK

PLACES = [(topic.name, 0) for topic in (TICK, DEPTH, QUALITY, DEAD_PROCESSOR, STATE)]
RAW_PLACE = ("raw.binance", 0)
MOST_ALIVE = 3
LAST_RECORDS = 12  # that each symbol has some of them: wrong state shows

Machine = type[RuleBasedStateMachine]


class Resume(RuleBasedStateMachine):
    """What may happen to processors, in any order."""

    new_world: ClassVar[Callable[[], Any]]
    expected: ClassVar[Callable[[int], dict[str, list[bytes]]]]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).new_world()
        self.may_repeat = False  # somebody may have written while another one owned the partition
        self.orphans: list[Any] = []  # of killed processes, what was under way to the broker
        self.world.write(2)
        self.world.start()

    def pick(self, number: int) -> Any:
        alive = self.world.alive()
        return alive[number % len(alive)]

    @rule(count=st.integers(1, 4))
    def raw_records_come(self, count: int) -> None:
        if self.world.broker.ends[RAW_PLACE] + count <= len(self.world.values) - LAST_RECORDS:
            self.world.write(count)

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2), turns=st.integers(1, 8))
    def a_loop_turns(self, who: int, turns: int) -> None:
        self.pick(who).turn(turns)

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2), places=st.sets(st.sampled_from(PLACES), min_size=1), most=st.integers(1, 4))
    def records_reach_the_broker(self, who: int, places: set[Any], most: int) -> None:
        self.pick(who).transmit(sorted(places), most)

    @rule(rounds=st.integers(1, 60))
    def all_goes_on(self, rounds: int) -> None:
        left = iter(range(rounds))
        self.world.run(lambda: next(left, None) is None)

    @rule(seconds=st.sampled_from((0.5, 3.0, 9.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2), leaves=st.booleans())
    def one_is_killed(self, who: int, leaves: bool) -> None:
        process = self.pick(who)
        process.kill()
        if leaves and process.publisher.waiting_records():
            self.orphans.append(process.publisher)
            self.may_repeat = True

    @precondition(lambda self: self.orphans)
    @rule(places=st.sets(st.sampled_from(PLACES), min_size=1), most=st.integers(1, 4))
    def what_a_killed_one_left_reaches_the_broker(self, places: set[Any], most: int) -> None:
        self.orphans[0].transmit(sorted(places), most)

    @precondition(lambda self: len(self.world.alive()) < MOST_ALIVE)
    @rule()
    def another_starts(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2))
    def one_is_drained(self, who: int) -> None:
        process = self.pick(who)
        if not (process.is_paused or process.is_cut or process.is_ending):
            process.stop()

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2), how=st.sampled_from(("is_paused", "is_cut", "is_deaf")))
    def one_sleeps_or_is_cut_off(self, who: int, how: str) -> None:
        setattr(self.pick(who), how, True)
        self.may_repeat = True

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2))
    def one_wakes(self, who: int) -> None:
        process = self.pick(who)
        process.is_paused = process.is_cut = process.is_deaf = False

    @precondition(lambda self: 0 < len(self.world.alive()) < MOST_ALIVE)
    @rule(how=st.sampled_from(("is_paused", "is_cut")), turns=st.integers(0, 12), rounds=st.integers(5, 120))
    def another_takes_over(self, how: str, turns: int, rounds: int) -> None:
        """Somebody has begun a snapshot; a session passes, and the next owner works for a while."""
        self.raw_records_come(2)
        self.world.wait(1.1)
        for process in self.world.alive():
            process.turn(turns)
            setattr(process, how, True)
        self.may_repeat = True
        self.world.wait(12.0)
        self.world.start()
        self.raw_records_come(2)
        self.all_goes_on(rounds)

    @precondition(lambda self: self.world.alive())
    @rule(
        who=st.integers(0, 2),
        turns=st.integers(0, 12),
        places=st.sets(st.sampled_from(PLACES)),
        most=st.integers(1, 6),
        rounds=st.integers(5, 60),
    )
    def one_dies_in_the_midst_of_a_snapshot(
        self, who: int, turns: int, places: set[Any], most: int, rounds: int
    ) -> None:
        """Some of what it wrote reaches the broker; the next owner works for a while."""
        self.all_goes_on(20)
        if not self.world.alive():  # all were about to end
            return
        self.raw_records_come(3)
        self.world.wait(1.1)
        process = self.pick(who)
        process.turn(turns)
        process.transmit(sorted(places), most)
        process.turn(2)
        process.kill()
        self.world.wait(12.0)
        self.world.start()
        self.all_goes_on(rounds)

    @precondition(lambda self: self.world.alive())
    @rule(who=st.integers(0, 2), times=st.integers(1, 6))
    def state_is_not_taken_for_a_while(self, who: int, times: int) -> None:
        """Its partition has no leader, while outputs have."""
        process = self.pick(who)
        for _ in range(times):
            self.raw_records_come(1)
            process.turn(8)
            process.transmit([*PLACES[:-1], (INSTRUMENT.name, 0)])
            self.world.wait(3.0)

    @rule()
    def state_is_compacted(self) -> None:
        self.world.broker.compact((STATE.name, 0))

    @rule()
    def committed_offsets_are_lost(self) -> None:
        self.world.broker.committed.clear()

    def teardown(self) -> None:
        try:
            self.check()
        finally:
            self.world.close()

    def check(self) -> None:
        """Those who slept wake, and what is under way arrives; then one that loads all of it goes on from there."""
        sleepers = [each for each in self.world.alive() if each.is_paused or each.is_cut or each.is_deaf]
        for process in sleepers:
            process.is_paused = process.is_cut = False
            process.transmit()
        for publisher in self.orphans:
            publisher.transmit()
        for process in 3 * sleepers:
            process.turn()
            process.transmit()
        for process in self.world.alive():
            process.kill()
        self.settle()
        self.world.write(LAST_RECORDS)
        self.settle()

    def settle(self) -> None:
        """Start one that takes over, and hold what readers see against a processor that never ended."""
        self.world.wait(12.0)
        process = self.world.start()
        self.world.run(lambda: process.is_flowing)
        self.world.run(self.world.is_done)
        outputs = self.world.outputs()
        wanted = type(self).expected(self.world.broker.ends[RAW_PLACE])
        for topic, values in wanted.items():
            assert outputs[topic] == values, topic
        if not self.may_repeat:
            assert self.world.counts() == {topic: len(values) for topic, values in wanted.items()}
        process.kill()


@pytest.fixture
def machine(new_world: Any, expected: Any) -> Machine:
    return type("Bound", (Resume,), {"new_world": staticmethod(new_world), "expected": staticmethod(expected)})


@pytest.mark.timeout(0)
def test_readers_see_each_record_once_and_in_order_whatever_happens_to_processors(
    machine: Machine, explore: Callable[[Machine], None]
) -> None:
    explore(machine)


async def at_once(self: Any, *_: Any) -> None:
    """Wait for nothing."""
    self._publisher.poll()


MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "a head is written before the records up to it are delivered": (Processor, "_delivered", at_once),
    "what was written is not searched for": (Written, "note", lambda *_: None),
    "what was written is not left out": (Silence, "rest", lambda _self, batch: batch),
    "what one output has is left out of all": (
        Silence,
        "_is_new",
        lambda self, offset, record: (offset, record.source_index) > max(self.marks.values(), default=(-1, -1)),
    ),
    "outputs are searched from where they end now": (
        Outputs,
        "ends",
        lambda self: {topic: offset + 1000 for topic, offset in self._first_ends.items()},
    ),
    "what was written by one that was taken for dead counts": (
        state_store,
        "_counting",
        lambda slots, limits: {
            slot: max(epochs.values(), key=lambda state: state.next_offset)
            for slot, epochs in slots.items()
            if max(epochs.values(), key=lambda state: state.next_offset).next_offset <= max(limits.values())
        },
    ),
    "one whose time is over goes on": (PartitionWorker, "is_over", property(lambda _self: False)),
}
if os.environ.get("SOAK_LONG"):  # these take a minute each
    MISTAKES |= {
        "a piece takes the place of the one before it": (
            Place,
            "after",
            lambda self, next_offset, epoch, *, is_whole: (
                Place(0, 0, next_offset, (epoch,))
                if is_whole
                else Place(0, self.changes + 1, next_offset, (*self.epochs, epoch))
            ),
        ),
        "owners have the same keys": (
            state_store,
            "_key",
            lambda state, slot: (
                f"{state.source_topic}|{state.source_partition}|{state.symbol}|{slot}|{state.part}".encode()
            ),
        ),
    }


@pytest.mark.timeout(0)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_model_finds(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, finds: Callable[[Machine], bool], mistake: str
) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])

    assert finds(machine)


def test_after_a_drain_nothing_is_searched_and_nothing_is_written_again(
    new_world: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after SIGTERM under load: what the raw topic holds by then is taken, state and offsets are as of its end."""
    noted: list[bytes] = []
    monkeypatch.setattr(Written, "note", lambda _self, _topic, source: noted.append(source))
    world = new_world()
    world.write(30)
    first = world.start()
    world.run(world.is_done)
    world.write(20)
    first.stop()
    world.run(lambda: first.has_ended)
    committed, before = world.broker.committed[RAW_PLACE], world.counts()
    second = world.start()
    world.run(lambda: second.is_flowing)
    left = world.broker.ends[RAW_PLACE] - committed
    world.run(world.is_done)
    after = world.counts()
    world.close()

    assert (left, noted) == (0, [])
    assert before == after == {topic: len(values) for topic, values in expected(50).items()}
