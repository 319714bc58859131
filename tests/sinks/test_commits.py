"""`metadata.sink_commits`: each chunk that is in a store is told once, with what it holds and when it was there."""

import itertools
from typing import Any

import pytest

from schemas.records import SinkCommit
from sinks.commits import is_told, sink_commit
from sinks.drain import Drain

PLACE = ("cleaned.tick", 0)
POINTS = [f"{when}:{what}" for what in ("intent", "write", "done") for when in ("before", "after")]


@pytest.fixture
def ten(world: Any, tick: Any, value: Any) -> Any:
    """Ten ticks; chunks hold four."""
    world.broker.append(PLACE, *(value(tick(offset)) for offset in range(10)))
    return world


def spans(world: Any) -> list[tuple[int, int]]:
    return sorted({(each.source_offset, each.end_offset) for each in world.commits.told})


def test_a_commit_tells_range_rows_and_times(chunk: Any, tick: Any) -> None:
    rows = [tick(5, exchange_time_us=70), tick(6), tick(7, exchange_time_us=30, event_time_us=99)]

    found = sink_commit(chunk(rows, start=40), stage="sink.memory", dead_letters=0, now_us=1000)

    assert (found.source_topic, found.source_partition, found.source_offset, found.end_offset) == (*PLACE, 40, 42)
    assert (found.event_time_us, found.row_count, found.table_name) == (1000, 3, "market_data.tick")
    assert (found.first_exchange_time_us, found.last_exchange_time_us) == (30, 70)
    assert found.first_event_time_us == 99
    assert found.venue == "BINANCE"


def test_trades_that_were_fetched_later_are_no_lag_of_the_store(chunk: Any, tick: Any) -> None:
    rows = [tick(5, event_time_us=3, exchange_time_us=3, flags="BACKFILL,LATE"), tick(6, event_time_us=99)]

    found = sink_commit(chunk(rows), stage="sink.memory", dead_letters=0, now_us=1000)
    assert (found.first_event_time_us, found.row_count, found.first_exchange_time_us) == (99, 2, 3)

    found = sink_commit(chunk(rows[:1]), stage="sink.memory", dead_letters=0, now_us=1000)
    assert (found.first_event_time_us, found.last_event_time_us, found.row_count) == (0, 0, 1)


def test_a_chunk_of_several_venues_names_none(chunk: Any, tick: Any) -> None:
    rows = [tick(1), tick(2, venue="OKX")]

    assert not sink_commit(chunk(rows), stage="sink.memory", dead_letters=0, now_us=1).venue


def test_refused_rows_are_not_counted_as_written(chunk: Any, tick: Any) -> None:
    found = sink_commit(chunk([tick(1), tick(2), tick(3)]), stage="sink.memory", dead_letters=1, now_us=1)

    assert (found.row_count, found.dead_letters) == (2, 1)


def test_commits_of_commits_are_not_told(chunk: Any) -> None:
    commit = SinkCommit(event_time_us=1, stage="sink.memory", table_name="market_data.tick", end_offset=3, row_count=2)

    assert not is_told(chunk([commit], topic="metadata.sink_commit"))


def test_every_chunk_is_told_once(ten: Any) -> None:
    ten.run()

    assert [(each.source_offset, each.end_offset) for each in ten.commits.told] == [(0, 3), (4, 7), (8, 9)]
    assert sum(each.row_count for each in ten.commits.told) == 10


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_no_hole_in_what_is_told(ten: Any, faults: Any, point: str) -> None:
    ten.dies(faults(at=point, count=2))
    ten.run()

    told = spans(ten)
    assert told[0][0] == 0
    assert told[-1][1] == 9
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(told))


def test_what_cannot_be_told_yet_is_not_committed(ten: Any) -> None:
    ten.commits.busy_times = 1
    drain, _log, store = ten.start()
    step_until_written(drain, store)

    assert not ten.commits.told
    assert [offset for offset, _ in ten.broker.committed.values()] == [0]
    ten.run()
    assert spans(ten) == [(0, 3), (4, 7), (8, 9)]


def step_until_written(drain: Drain, store: Any) -> None:
    while not store.writes:
        drain.step()
