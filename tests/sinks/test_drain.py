import itertools
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from schemas.records import SinkCommit, Tick
from sinks.chunk import Limits
from sinks.position import read_position
from sinks.store import StoreBusyError
from tickerplant.errors import UserError
from tickerplant.tally import DeadLetterLimit

NOW_US = 1_795_248_000_000_000
A = ("cleaned.tick", 0)
B = ("cleaned.tick", 1)
PATIENCE_S = 30.0
POINTS = [f"{when}:{what}" for what in ("intent", "write", "done") for when in ("before", "after")]


def ids(count: int, partition: int = 0) -> list[tuple[str, int, int, int]]:
    return [("raw.binance", partition, offset, 0) for offset in range(count)]


@pytest.fixture
def filled(world: Any, tick: Any, value: Any) -> Any:
    """Ten ticks in each of two partitions; chunks hold four."""
    for partition in (0, 1):
        world.broker.append(
            ("cleaned.tick", partition), *(value(tick(offset, partition=partition)) for offset in range(10))
        )
    return world


def test_every_row_is_stored_once_and_committed(filled: Any) -> None:
    filled.run()

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()
    assert {place: offset for place, (offset, _) in filled.broker.committed.items()} == {A: 10, B: 10}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_each_row_once(
    filled: Any, faults: Any, crash: Any, point: str, count: int
) -> None:
    with pytest.raises(crash):
        filled.run(faults(at=point, count=count))
    filled.run()

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_a_crash_during_the_repair_of_a_crash_leaves_each_row_once(filled: Any, faults: Any, crash: Any) -> None:
    for point in ("after:intent", "after:write", "before:done"):
        with pytest.raises(crash):
            filled.run(faults(at=point))
    filled.run()

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_a_pending_range_is_written_again_under_the_same_name_whatever_the_limits(
    filled: Any, faults: Any, crash: Any
) -> None:
    with pytest.raises(crash):
        filled.run(faults(at="before:done"))
    before = set(filled.kept)
    filled.limits = type(filled.limits)(rows=1, size_bytes=1, age_s=0.001)
    filled.run()

    assert before <= set(filled.kept)
    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_repeats_of_a_restarted_processor_are_dropped_across_a_crash(
    world: Any, tick: Any, value: Any, faults: Any, crash: Any
) -> None:
    sources = [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7]
    world.broker.append(A, *(value(tick(offset)) for offset in sources))
    for point in POINTS:
        with pytest.raises(crash):
            world.run(faults(at=point))
    world.run()

    assert ids(8) == world.stored_ids()


def test_repeats_are_dropped_by_a_process_that_never_saw_the_originals(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(6)))
    world.run()
    world.broker.append(A, *(value(tick(offset)) for offset in range(3, 9)))
    world.run()

    assert ids(9) == world.stored_ids()


def test_sources_that_share_a_partition_are_told_apart(world: Any, tick: Any, value: Any) -> None:
    other = [tick(offset, topic="raw.okx", venue="OKX") for offset in range(3)]
    world.broker.append(A, *(value(tick(offset)) for offset in range(3)), *(value(each) for each in other))
    world.run()

    assert [*ids(3), *(("raw.okx", 0, offset, 0) for offset in range(3))] == world.stored_ids()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rewinds=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    crashes=st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 4)), max_size=6),
    rows=st.integers(1, 7),
)
def test_rows_are_exact_whatever_repeats_and_crashes_there_are(
    new_world: Any, faults: Any, crash: Any, tick: Any, value: Any, *, rewinds: Any, crashes: Any, rows: Any
) -> None:
    world = new_world()
    world.limits = type(world.limits)(rows=rows, size_bytes=10_000, age_s=1.0)
    offset, sources = 0, []
    for rewind in rewinds:
        offset = max(0, offset - rewind) if rewind % 5 == 0 else offset
        sources.append(offset)
        offset += 1
    world.broker.append(A, *(value(tick(each)) for each in sources))
    for point, count in crashes:
        try:
            world.run(faults(at=point, count=count))
        except crash:
            continue
    world.run()

    assert ids(max(sources) + 1) == world.stored_ids()


def test_a_chunk_of_nothing_but_repeats_is_committed_without_a_write(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(4)))
    world.run()
    world.broker.append(A, *(value(tick(offset)) for offset in range(4)))
    drain, _log, store = world.start()
    while not world.is_drained():
        drain.step()

    assert store.writes == []
    assert world.broker.committed[A][0] == 8


def test_age_flushes_a_chunk_that_is_not_full(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)))
    drain, _log, store = world.start()
    drain.step()
    early = len(store.writes)
    world.clock[0] += 1.0
    drain.step()

    assert (early, len(store.writes)) == (0, 1)


def test_what_came_while_chunks_were_written_is_as_old_as_that(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A)
    drain, _log, store = world.start()
    drain.step()
    world.clock[0] += 0.4  # as a write may take
    world.broker.append(A, value(tick(0)))
    drain.step()
    world.clock[0] += 0.61
    drain.step()

    assert len(store.writes) == 1


def test_what_came_in_a_long_write_has_half_of_its_time_left_to_become_more(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A)
    drain, _log, store = world.start()
    drain.step()
    world.clock[0] += 60.0
    world.broker.append(A, value(tick(0)))
    drain.step()
    early = len(store.writes)
    world.clock[0] += 0.5
    drain.step()

    assert (early, len(store.writes)) == (0, 1)


def test_records_are_waited_for_no_longer_than_until_a_chunk_is_old_enough(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)))
    drain, log, store = world.start()
    drain.step()
    world.clock[0] = 0.99
    while not store.writes:
        drain.step()

    assert world.clock[0] < 1.002
    assert log.polls < 20


def test_commits_are_stored_once_a_second_however_young_other_chunks_are(world: Any, tick: Any, value: Any) -> None:
    world.limits = Limits(rows=100, size_bytes=10_000, age_s=0.1)
    commit = SinkCommit(event_time_us=NOW_US, stage="sink.x", table_name="t", end_offset=1, row_count=1)
    world.broker.append(("metadata.sink_commit", 0), value(commit))
    world.broker.append(A, value(tick(0)))
    drain, _log, store = world.start()
    drain.step()
    tables = []
    for _ in range(2):
        world.clock[0] += 0.5
        drain.step()
        tables.append([chunk.table.record for chunk in store.writes])

    assert tables == [[Tick], [Tick, SinkCommit]]


def test_chunks_of_different_partitions_are_written_at_the_same_time(filled: Any) -> None:
    filled.limits = Limits(rows=4, size_bytes=10_000, age_s=1.0, together=2)
    drain, _log, store = filled.start()
    both, write = Barrier(2), store.write

    def write_beside_another(chunk: Any) -> Any:
        if chunk.span.start == 0:
            both.wait(PATIENCE_S)  # nobody passes alone
        return write(chunk)

    store.write = write_beside_another
    while not filled.is_drained():
        drain.step()

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_what_is_stored_is_not_written_again_for_another_partition_whose_write_fails(filled: Any) -> None:
    drain, _log, store = filled.start()
    write, failures = store.write, [1, 2, 3]

    def write_or_fail(chunk: Any) -> Any:
        if chunk.span.partition == 0 and failures:
            failures.pop()
            raise StoreBusyError("asked to be busy")
        return write(chunk)

    store.write = write_or_fail
    while not filled.is_drained():
        drain.step()
    spans = [chunk.span for chunk in store.writes]

    assert len(spans) == len(set(spans))
    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_the_largest_chunk_is_written_early_when_too_much_is_held(filled: Any) -> None:
    filled.limits = type(filled.limits)(rows=1000, size_bytes=10**9, age_s=1e9)
    drain, _log, store = filled.start(held_bytes=1500)
    drain.step()

    assert len(store.writes) == 1


def test_a_busy_store_is_waited_for_and_polling_goes_on(filled: Any) -> None:
    drain, log, store = filled.start()
    store.busy_times = 5
    drain.step()
    polls = log.polls
    while not filled.is_drained():
        drain.step()

    assert polls > 5
    assert not log.is_held
    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_nothing_is_fetched_while_a_store_is_busy(filled: Any, tick: Any, value: Any) -> None:
    drain, log, store = filled.start()
    store.busy_times = 3
    held: list[bool] = []
    log.on_poll = lambda: held.append(log.is_held)
    drain.step()

    assert held[0] is False
    assert all(held[1:])


def test_a_store_that_takes_long_for_each_chunk_keeps_the_membership_and_shows_that_the_sink_lives(
    world: Any, tick: Any, value: Any
) -> None:
    """Many chunks are due at once: all of them together take longer than a group, or a watchdog, has patience."""
    places = [("cleaned.tick", number) for number in range(6)]
    for place in places:
        world.broker.append(place, *(value(tick(offset, partition=place[1])) for offset in range(4)))
    drain, log, store = world.start()
    seen: list[tuple[int, object]] = []
    write = store.write

    def slowly(chunk: Any) -> Any:
        seen.append((log.polls, world.health.work()))
        world.clock[0] += 50.0
        return write(chunk)

    store.write = slowly
    drain.step()

    assert [polls for polls, _ in seen] == list(range(1, len(places) + 1))
    assert len({beat for _, beat in seen}) == drain.late == len(places)
    assert world.is_drained()


def test_a_clock_that_steps_back_changes_times_and_nothing_else(filled: Any) -> None:
    times_us = itertools.count(NOW_US, -3_600_000_000)
    filled.now_us = lambda: next(times_us)
    filled.run()
    told = [each.event_time_us for each in filled.commits.told]

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()
    assert told == sorted(told, reverse=True)
    assert sum(each.row_count for each in filled.commits.told) == 20


def test_a_resting_sink_stores_what_it_holds_takes_nothing_more_and_goes_on(filled: Any, tick: Any, value: Any) -> None:
    drain, log, store = filled.start()
    drain.step()
    drain.rest()
    written = len(store.writes)
    filled.broker.append(A, value(tick(10)))
    for _ in range(5):
        drain.rest()
    offsets = drain.offsets()
    while not filled.is_drained():
        drain.step()

    assert offsets == {"cleaned.tick": {0: 10, 1: 10}}
    assert len(store.writes) > written
    assert not log.is_held
    assert ids(11, 0) + ids(10, 1) == filled.stored_ids()


def test_a_resting_sink_holds_partitions_that_it_is_given(filled: Any) -> None:
    drain, log, _store = filled.start()
    drain.rest()
    log.revoke([A, B])
    log.assign([A, B])
    log.is_held = False  # as they are when they are given
    drain.rest()

    assert log.is_held


def test_partitions_lost_while_waiting_are_left_to_the_next_owner(filled: Any) -> None:
    drain, log, store = filled.start()
    store.busy_times = 10**6
    log.on_poll = lambda: log.revoke([A, B]) if log.polls == 4 else None
    drain.step()
    store.busy_times = 0
    drain.step()
    pending = read_position(*filled.broker.committed[A]).pending_end
    filled.run()

    assert pending == 3
    assert not log.is_held
    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_partitions_that_come_back_while_waiting_start_from_the_commit(filled: Any) -> None:
    drain, log, store = filled.start()
    store.busy_times = 4

    def rebalance() -> None:
        if log.polls == 3:
            log.revoke([A, B])
            log.assign([A, B])

    log.on_poll = rebalance
    while not filled.is_drained():
        drain.step()
        assert log.polls < 100

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


@pytest.mark.parametrize("refusals", [1, 2, 3])
def test_a_commit_that_is_not_accepted_is_repeated(filled: Any, refusals: int) -> None:
    drain, log, _store = filled.start()
    log.refused_commits = refusals
    while not filled.is_drained():
        drain.step()

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


@pytest.mark.parametrize("is_accepted", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_partitions_that_come_back_within_a_commit_of_unknown_end_start_from_what_was_accepted(
    filled: Any, number: int, *, is_accepted: bool
) -> None:
    drain, log, _store = filled.start()
    commit, commits = log.commit, itertools.count(1)

    def interrupted(positions: Any) -> bool:
        if next(commits) != number:
            return bool(commit(positions))
        if is_accepted:
            commit(positions)
        log.revoke([A, B])
        log.assign([A, B])
        return False

    log.commit = interrupted
    while not filled.is_drained():
        drain.step()
        assert log.polls < 100

    assert ids(10, 0) + ids(10, 1) == filled.stored_ids()


def test_a_write_is_not_repeated_for_a_commit_that_is_not_accepted(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(4)))
    drain, log, store = world.start()
    drain_commit = log.commit
    log.commit = lambda positions: drain_commit(positions) if not store.writes else False
    drain.step()
    drain.step()

    assert len(store.writes) == 1


def test_an_unreadable_record_becomes_a_dead_letter_and_the_rest_goes_on(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)), b"\x00\x00\x00\x00\x01junk", b"", value(tick(1)))
    world.run()
    letters = [(each.source_topic, each.source_offset, each.payload) for each in world.letters.letters]

    assert letters == [("cleaned.tick", 1, b"\x00\x00\x00\x00\x01junk"), ("cleaned.tick", 2, b"")]
    assert ids(2) == world.stored_ids()


def test_a_refused_row_becomes_a_dead_letter_and_the_rest_goes_on(filled: Any) -> None:
    drain, _log, store = filled.start()
    store.refuses = lambda row: row["source_offset"] == 2 and row["source_partition"] == 1
    while not filled.is_drained():
        drain.step()
    (letter,) = filled.letters.letters

    assert (letter.stage, letter.venue, letter.source_partition, letter.source_offset) == (
        "sink.memory",
        "BINANCE",
        1,
        2,
    )
    assert b'"price": 102.0' in letter.payload
    assert len(filled.stored_ids()) == 19


def test_too_many_unreadable_records_in_a_row_stop_the_sink(world: Any) -> None:
    world.limit = DeadLetterLimit(50)
    world.broker.append(A, *([b"junk?"] * 60))

    with pytest.raises(
        UserError, match=r"50 records in a row .* sink.dead_letter_limit; the last at cleaned\.tick \[0\] offset 49"
    ):
        world.run()


@pytest.mark.parametrize("refuse", [False, True])
def test_good_records_between_do_not_let_a_topic_be_emptied(world: Any, tick: Any, value: Any, *, refuse: bool) -> None:
    world.limit = DeadLetterLimit(1000, 0.5, 40)
    good = [value(tick(offset, price=-1.0 if refuse and offset % 2 else 1.0)) for offset in range(100)]
    world.broker.append(
        A, *(good if refuse else [each for pair in zip(good, [b"junk"] * 100, strict=True) for each in pair])
    )
    for _ in range(3):
        with pytest.raises(UserError, match=r"20 of [34][0-9] r.* sink\.dead_letter_share"):
            world.run_refusing(lambda row: row["price"] < 0)

    assert len(world.letters.letters) == (18 if refuse else 19)  # the chunk that reaches the limit is refused whole


def test_a_sink_started_again_stops_at_the_same_record_without_more_dead_letters(
    world: Any, tick: Any, value: Any
) -> None:
    world.limit = DeadLetterLimit(10)
    world.broker.append(A, *map(value, map(tick, range(4))), *([b"junk"] * 9))
    world.run()
    letters, place = len(world.letters.letters), world.broker.committed[A]
    world.broker.append(A, *([b"junk"] * 100))
    world.broker.append(B, value(tick(0, partition=1)))
    for _ in range(5):
        with pytest.raises(UserError, match="10 records in a row"):
            world.run()

    assert (letters, place) == (len(world.letters.letters), world.broker.committed[A])
    assert [*ids(4), *ids(1, 1)] == world.stored_ids()  # nothing else waits for it


def test_a_raised_limit_lets_a_stopped_sink_go_on(world: Any, tick: Any, value: Any) -> None:
    world.limit = DeadLetterLimit(10)
    world.broker.append(A, *([b"junk"] * 12), value(tick(0)))
    with pytest.raises(UserError):
        world.run()
    world.limit = DeadLetterLimit(100)
    world.run()

    assert len(world.letters.letters) == 12
    assert ids(1) == world.stored_ids()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.booleans(), min_size=1, max_size=60), cuts=st.integers(1, 9))
def test_the_tally_does_not_depend_on_chunks_or_restarts(
    new_world: Any, tick: Any, value: Any, data: list[bool], cuts: int
) -> None:
    by_one, by_many = new_world(), new_world()
    by_many.limits = Limits(rows=cuts, size_bytes=10_000, age_s=1.0)
    for world in (by_one, by_many):
        world.broker.append(A, *(value(tick(offset)) if good else b"junk" for offset, good in enumerate(data)))
    while not by_one.is_drained():
        drain, _log, _store = by_one.start()
        drain.step()
        drain.step()
        drain.finish(1.0)
    by_many.run()

    assert by_one.broker.committed.get(A) == by_many.broker.committed.get(A)


def test_tombstones_move_the_offset_only(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, None, value(tick(0)), None)
    world.run()

    assert ids(1) == world.stored_ids()


def test_a_pending_range_whose_records_are_gone_is_concluded(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(8)))
    world.broker.committed[A] = (2, '{"end":3,"marks":[["raw.binance",0,1,0]]}')
    world.broker.first[A] = 5
    world.run()

    assert ids(8)[5:] == world.stored_ids()


def lost() -> float:
    labels = {"stage": "sink.memory", "error_type": "lost_records"}
    return REGISTRY.get_sample_value("stage_errors_total", labels) or 0.0


@pytest.mark.parametrize(("topic", "holes"), [("cleaned.tick", 1), ("reference.instrument", 0)])
def test_records_that_expired_before_they_were_stored_are_told_but_not_of_what_is_compacted(
    world: Any, topic: str, holes: int
) -> None:
    place, before = (topic, 0), lost()
    world.broker.append(place, *[None] * 8)
    world.broker.first[place] = 3
    world.run()  # where it never was before, nothing is missed
    assert lost() == before
    world.broker.append(place, *[None] * 8)
    world.broker.first[place] = 12
    world.run()

    assert lost() == before + holes


def test_finish_writes_what_is_not_due_yet(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(6)))
    drain, _log, _store = world.start()
    drain.step()

    assert drain.finish(5.0)
    assert world.is_drained()
    assert ids(6) == world.stored_ids()


def test_before_it_finishes_a_sink_takes_what_is_there(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)))
    drain, _log, _store = world.start()
    drain.step()
    world.broker.append(A, *(value(tick(offset)) for offset in range(1, 6)))
    drain.take_rest(5.0)

    assert drain.finish(5.0)
    assert ids(6) == world.stored_ids()


def test_what_never_ends_is_taken_for_its_time_alone(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)))
    drain, log, _store = world.start()
    drain.step()

    def more() -> None:
        world.clock[0] += 0.5
        world.broker.append(A, value(tick(len(world.broker.values[A]))))

    log.on_poll = more
    drain.take_rest(5.0)

    assert len(world.broker.values[A]) == 11


def test_finish_gives_up_on_a_store_that_is_down(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, value(tick(0)))
    drain, _log, store = world.start()
    drain.step()
    store.busy_times = 10**6

    assert not drain.finish(0.0)
    assert world.broker.committed == {}


def shown(name: str, partition: int) -> float | None:
    labels = {"stage": "sink.memory", "topic": "cleaned.tick", "partition": str(partition)}
    return REGISTRY.get_sample_value(name, labels)


def test_the_position_is_ahead_of_the_commit_and_shown_until_the_partition_is_lost(filled: Any) -> None:
    drain, log, _store = filled.start()
    drain.step()

    assert (shown("stage_lag_records", 0), shown("stage_lag_seconds", 0)) == (0, 0)
    assert filled.broker.committed.get(A, (0, ""))[0] < 10
    log.revoke([A])
    assert (shown("stage_lag_records", 0), shown("stage_lag_records", 1)) == (None, 0)


def test_what_is_held_is_shown(world: Any, tick: Any, value: Any) -> None:
    world.broker.append(A, *(value(tick(offset)) for offset in range(3)))
    drain, _log, _store = world.start()

    drain.step()

    assert REGISTRY.get_sample_value("stage_queue_records", {"stage": "sink.memory"}) == 3
