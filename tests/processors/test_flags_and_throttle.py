from dataclasses import replace

import pytest

from processors.batch import Batch
from processors.flags import AHEAD_US, CLOCK_STEP, LATE, Lateness, join_flags
from processors.throttle import Throttle, What

CROSSED = What("CROSSED", channel="bookTicker")
SECOND_US = 1_000_000
NOW_US = 1_700_000_000 * SECOND_US
BATCH = Batch("BINANCE", "raw.binance", 0, 0, NOW_US, recv_time_us=NOW_US)


def test_flags_are_in_alphabetical_order() -> None:
    assert join_flags("OFF_BOOK", "", "CROSSED", "LATE") == "CROSSED,LATE,OFF_BOOK"
    assert join_flags("", "") == ""


@pytest.mark.parametrize(("behind_us", "flag"), [(0, ""), (SECOND_US, ""), (SECOND_US + 1, "LATE"), (-SECOND_US, "")])
def test_late_is_more_than_a_second_behind_the_newest(behind_us: int, flag: str) -> None:
    lateness = Lateness()
    lateness.flag("TRADE", 50 * SECOND_US, BATCH)

    assert lateness.flag("TRADE", 50 * SECOND_US - behind_us, BATCH) == flag


def test_kinds_are_late_by_themselves_and_no_time_is_never_late() -> None:
    lateness = Lateness()
    lateness.flag("TRADE", 50 * SECOND_US, BATCH)

    assert lateness.flag("QUOTE", 1, BATCH) == ""
    assert lateness.flag("TRADE", 0, BATCH) == ""


def test_a_time_far_ahead_of_the_receipt_is_wrong_and_no_measure() -> None:
    lateness = Lateness()

    assert lateness.flag("TRADE", NOW_US + AHEAD_US + 1, BATCH) == CLOCK_STEP
    assert lateness.flag("TRADE", NOW_US, BATCH) == ""
    assert lateness.flag("TRADE", NOW_US + AHEAD_US, BATCH) == ""


def test_a_wrong_measure_of_before_is_forgotten() -> None:
    lateness = Lateness({"TRADE": NOW_US + 2 * AHEAD_US})

    assert lateness.flag("TRADE", NOW_US, BATCH) == ""
    assert lateness.flag("TRADE", NOW_US - 2 * SECOND_US, BATCH) == LATE


def test_a_newest_time_that_nothing_comes_up_to_for_seconds_is_believed_no_longer() -> None:
    lateness = Lateness()
    lateness.flag("TRADE", NOW_US + 500 * SECOND_US, BATCH)

    flags = [
        lateness.flag("TRADE", NOW_US + n * SECOND_US, replace(BATCH, recv_time_us=NOW_US + n * SECOND_US))
        for n in range(10)
    ]
    assert flags == [LATE] * 5 + [""] * 5


def test_late_items_of_an_instant_or_between_others_prove_nothing() -> None:
    lateness = Lateness()
    page = [lateness.flag("TRADE", NOW_US + n * SECOND_US, BATCH) for n in (100, *range(50))]
    assert page == ["", *[LATE] * 50]

    for n in range(20):
        batch = replace(BATCH, recv_time_us=NOW_US + n * SECOND_US)
        assert lateness.flag("TRADE", NOW_US + (101 + n) * SECOND_US, batch) == ""
        assert lateness.flag("TRADE", NOW_US + n * SECOND_US, batch) == LATE


def test_restored_items_are_late_and_no_measure() -> None:
    lateness = Lateness()
    lateness.flag("TRADE", NOW_US, BATCH)
    later = replace(BATCH, recv_time_us=NOW_US + 100 * SECOND_US)
    times_us = (NOW_US - 2 * SECOND_US, NOW_US, NOW_US + 50 * SECOND_US, NOW_US + 2 * AHEAD_US, 0)

    assert [lateness.flag_restored("TRADE", each, later) for each in times_us] == [LATE, "", "", CLOCK_STEP, ""]
    assert lateness.newest_us == {"TRADE": NOW_US}


def test_without_a_receive_time_no_time_is_ahead() -> None:
    batch = Batch("BINANCE", "raw.binance", 0, 0, 0)

    assert Lateness().flag("TRADE", NOW_US, batch) == ""


def test_the_first_is_told_at_once_and_the_rest_as_a_count() -> None:
    throttle = Throttle()

    told = [throttle.note(CROSSED, time_us) for time_us in (0, 1, 2, SECOND_US, SECOND_US + 1)]
    assert told == [1, 0, 0, 3, 0]


def test_what_waits_is_told_when_due_and_then_forgotten() -> None:
    throttle = Throttle()
    for _ in range(3):
        throttle.note(CROSSED, 0)

    assert list(throttle.due(SECOND_US - 1)) == []
    assert list(throttle.due(SECOND_US)) == [(CROSSED, 2)]
    assert list(throttle.due(2 * SECOND_US)) == []
    assert len(throttle) == 0


def test_nothing_is_counted_twice_or_lost() -> None:
    throttle = Throttle()
    told = sum(throttle.note(CROSSED, time_us) for time_us in range(0, 5 * SECOND_US, 300_000))

    assert told + sum(count for _, count in throttle.rest()) == 17
    assert list(throttle.rest()) == []


def test_a_throttle_goes_on_where_another_ended() -> None:
    throttle, heir = Throttle(), Throttle()
    throttle.note(CROSSED, 0)
    throttle.note(CROSSED, 1)
    heir.restore(throttle.capture())

    assert heir.note(CROSSED, SECOND_US) == throttle.note(CROSSED, SECOND_US) == 2
