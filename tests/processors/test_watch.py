"""What a processor's watchdog is told: only what the processor could do, and did not, counts."""

from dataclasses import replace

from processors.watch import ASSIGNMENT, LOOP, Facts, Position, works

PLACE = ("raw.binance", 0)
OTHER = ("raw.binance", 1)
MINE = Position(beat=1, turns=1, is_settled=True, is_loading=False, next_offsets={PLACE: 5})


def facts(end: int, committed: int | None = None, first: int = 0) -> Facts:
    return Facts({PLACE: (first, end), OTHER: (0, 100)}, {} if committed is None else {PLACE: committed})


def waiting(mine: Position, found: Facts | None) -> set[str]:
    return {name for name, work in (works(mine, found) or {}).items() if work.is_waiting} - {LOOP}


def test_raw_records_behind_the_position_wait() -> None:
    assert waiting(MINE, facts(end=6, committed=5)) == {"raw.binance:0"}


def test_at_the_end_of_a_partition_nothing_waits() -> None:
    assert waiting(MINE, facts(end=5, committed=5)) == set()


def test_the_partitions_of_others_are_not_ours_to_wait_for() -> None:
    assert "raw.binance:1" not in (works(MINE, facts(end=5)) or {})


def test_records_that_were_deleted_do_not_wait() -> None:
    """A topic whose records are all past their retention holds nothing, though its end is far."""
    assert waiting(replace(MINE, next_offsets={PLACE: 0}), facts(end=100, first=100)) == set()


def test_what_is_done_and_not_committed_waits() -> None:
    assert waiting(MINE, facts(end=5, committed=4)) == {"commits of raw.binance:0"}
    assert waiting(MINE, facts(end=5)) == {"commits of raw.binance:0"}


def test_while_the_broker_is_away_nothing_counts() -> None:
    assert works(MINE, None) is None


def test_while_state_is_loaded_the_event_loop_alone_counts() -> None:
    assert set(works(replace(MINE, is_loading=True), facts(end=50)) or {}) == {LOOP}


def test_a_rebalance_that_does_not_end_is_seen_where_records_wait() -> None:
    unsettled = replace(MINE, is_settled=False, next_offsets={})

    assert waiting(unsettled, facts(end=50, committed=5)) == {ASSIGNMENT}
    assert waiting(unsettled, Facts({PLACE: (0, 5)}, {PLACE: 5})) == set()


def test_a_rebalance_in_which_others_work_is_not_stuck() -> None:
    """What the group commits is progress for those who wait to be given partitions."""
    unsettled = replace(MINE, is_settled=False, next_offsets={})
    before, after = (works(unsettled, facts(end=50, committed=offset)) or {} for offset in (5, 6))

    assert before[ASSIGNMENT] != after[ASSIGNMENT]


def test_a_position_that_moves_is_progress() -> None:
    before, after = (
        works(replace(MINE, next_offsets={PLACE: offset}), facts(end=50, committed=1)) or {} for offset in (5, 6)
    )

    assert before["raw.binance:0"] != after["raw.binance:0"]
    assert before["commits of raw.binance:0"] == after["commits of raw.binance:0"]
