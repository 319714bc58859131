"""Join rules with each of their boundaries, gaps, requests, keyframes."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from processors import book_keeper
from processors.book_keeper import UNJOINED, BookKeeper, PublishDelta, PublishSnapshot, Report, Resnapshot
from processors.book_rules import FirstIdRule, PreviousIdRule
from processors.items import BookDelta, BookSnapshot
from schemas.venues import binance

SECOND_US = 1_000_000
INSTRUMENT = binance.assumed_instrument("spot", "BTCUSDT", 0)
SNAPSHOT = PublishSnapshot(is_keyframe=False)


def delta(first: int, last: int, previous: int = 0, price: float = 1.0, size: float = 1.0) -> BookDelta:
    return BookDelta("X", last * 1000, first, last, previous, [price], [size], [], [])


def snapshot(sequence: int, price: float = 9.0) -> BookSnapshot:
    return BookSnapshot("X", 0, sequence, [price], [9.0], [], [])


@pytest.fixture
def spot() -> BookKeeper:
    return BookKeeper(FirstIdRule(), 10 * SECOND_US, INSTRUMENT)


@pytest.fixture
def futures() -> BookKeeper:
    return BookKeeper(PreviousIdRule(), 10 * SECOND_US, INSTRUMENT)


def feed(keeper: BookKeeper, *items: Any, now_us: int = SECOND_US) -> list[Any]:
    effects: list[Any] = []
    for item in items:
        if isinstance(item, BookDelta):
            effects += keeper.on_delta(item, now_us)
        else:
            effects += keeper.on_snapshot(item, now_us)
    return effects


@pytest.mark.parametrize(
    ("first", "last"),
    [(101, 105), (100, 105), (90, 101), (101, 101)],
    ids=["U == L+1", "U == L", "u == L+1", "one id"],
)
def test_spot_joins_where_a_delta_reaches_over_the_snapshot(spot: BookKeeper, first: int, last: int) -> None:
    effects = feed(spot, delta(first, last), snapshot(100))

    assert effects == [UNJOINED, SNAPSHOT, Report("BOOK_READY", to_sequence=last, count=1)]
    assert spot.book.levels()[0] == ([9.0, 1.0], [9.0, 1.0])
    assert (spot.sequence, spot.snapshot_id) == (last, 1)


def test_spot_does_not_join_where_an_id_is_missing(spot: BookKeeper) -> None:
    effects = feed(spot, delta(102, 105), snapshot(100), now_us=SECOND_US)

    assert effects == [UNJOINED, Resnapshot("snapshot 100 is older than the first delta 102")]
    assert not spot.is_valid


@pytest.mark.parametrize(
    ("first", "last", "previous"),
    [(90, 105, 80), (100, 105, 95), (103, 105, 100), (103, 105, 99)],
    ids=["U < L < u", "U == L", "pu == L", "pu < L < U"],
)
def test_futures_join_where_no_delta_lies_between(futures: BookKeeper, first: int, last: int, previous: int) -> None:
    effects = feed(futures, delta(first, last, previous), snapshot(100))

    assert effects == [UNJOINED, SNAPSHOT, Report("BOOK_READY", to_sequence=last, count=1)]


def test_futures_do_not_join_where_a_delta_is_missing(futures: BookKeeper) -> None:
    feed(futures, delta(103, 105, 101), snapshot(100))

    assert not futures.is_valid


@pytest.mark.parametrize("last", [99, 100], ids=["u < L", "u == L"])
def test_deltas_that_the_snapshot_contains_are_not_applied(spot: BookKeeper, last: int) -> None:
    effects = feed(spot, delta(98, last, price=5.0), snapshot(100))

    assert effects == [UNJOINED, SNAPSHOT, Report("BOOK_READY", to_sequence=100, count=0)]
    assert spot.book.bids == {9.0: 9.0}


def test_a_snapshot_ahead_of_the_stream_waits_for_it(spot: BookKeeper) -> None:
    feed(spot, snapshot(100))

    assert feed(spot, delta(95, 99), delta(100, 100)) == [UNJOINED, UNJOINED]
    assert feed(spot, delta(101, 103)) == [PublishDelta(1)]
    assert spot.sequence == 103


def test_a_snapshot_ahead_that_the_stream_does_not_meet_is_a_gap(spot: BookKeeper) -> None:
    feed(spot, snapshot(100))

    assert feed(spot, delta(102, 103)) == [
        Report("GAP", from_sequence=101, to_sequence=101),
        Report("BOOK_RESET", from_sequence=100, detail="updates 101 to 101 are missing"),
        Resnapshot("gap"),
        UNJOINED,
    ]


def test_a_gap_that_the_snapshot_bridges_is_told_and_resets_nothing(spot: BookKeeper) -> None:
    feed(spot, delta(90, 95), snapshot(100))

    assert feed(spot, delta(99, 103)) == [Report("GAP", from_sequence=96, to_sequence=98), PublishDelta(1)]


def test_a_chain_of_futures_deltas_names_the_one_before(futures: BookKeeper) -> None:
    feed(futures, snapshot(100), delta(103, 105, 100))

    assert feed(futures, delta(110, 112, 105), delta(120, 121, 112)) == [PublishDelta(1), PublishDelta(1)]


def test_a_gap_makes_the_book_invalid_and_asks_for_a_snapshot(futures: BookKeeper) -> None:
    feed(futures, snapshot(100), delta(103, 105, 100))

    assert feed(futures, delta(120, 121, 112)) == [
        Report("GAP", from_sequence=106, to_sequence=112),
        Report("BOOK_RESET", from_sequence=105, detail="updates 106 to 112 are missing"),
        Resnapshot("gap"),
        UNJOINED,
    ]
    assert not futures.is_valid
    assert len(futures.book) == 0


def test_after_a_gap_the_next_snapshot_joins_what_came_meanwhile(spot: BookKeeper) -> None:
    feed(spot, snapshot(100), delta(101, 101), delta(110, 111), delta(112, 112, price=2.0))
    effects = feed(spot, snapshot(111))

    assert effects == [SNAPSHOT, Report("BOOK_READY", to_sequence=112, count=1)]
    assert feed(spot, delta(113, 113)) == [PublishDelta(2)]


def test_a_gap_among_buffered_deltas_is_told_and_only_what_follows_is_kept(spot: BookKeeper) -> None:
    effects = feed(spot, delta(1, 2), delta(3, 4), delta(7, 8), snapshot(2))

    assert effects[:4] == [UNJOINED, UNJOINED, Report("GAP", from_sequence=5, to_sequence=6), UNJOINED]
    assert effects[4:] == [Resnapshot("snapshot 2 is older than the first delta 7")]
    assert not spot.is_valid


def test_a_stale_snapshot_is_followed_by_a_request_when_it_is_time(spot: BookKeeper) -> None:
    feed(spot, delta(200, 201))
    asked = [Resnapshot("snapshot 100 is older than the first delta 200")]

    assert feed(spot, snapshot(100)) == asked  # what was waited for has come
    assert feed(spot, snapshot(100), now_us=2 * SECOND_US) == []
    assert feed(spot, snapshot(100), now_us=3 * SECOND_US) == asked
    assert feed(spot, snapshot(100), now_us=3 * SECOND_US + 1) == []


def both_sides(sequence: int, bid: float | None, ask: float | None) -> BookSnapshot:
    bids, asks = [price for price in (bid,) if price], [price for price in (ask,) if price]
    return BookSnapshot("X", 0, sequence, bids, [1.0] * len(bids), asks, [1.0] * len(asks))


def test_a_crossed_snapshot_is_refused(spot: BookKeeper) -> None:
    effects = feed(spot, delta(101, 102), both_sides(101, 9.0, 8.0))

    assert effects == [UNJOINED, Resnapshot("snapshot 101 is crossed")]
    assert feed(spot, both_sides(101, 8.0, 9.0))[0] == SNAPSHOT


def test_a_snapshot_that_the_updates_cross_is_refused(spot: BookKeeper) -> None:
    """As that of another symbol does, whose price is another."""
    effects = feed(spot, delta(101, 102, price=50.0), both_sides(101, 8.0, 9.0))

    assert effects == [UNJOINED, Report("CROSSED"), Resnapshot("with snapshot 101 the book is crossed")]
    assert not spot.is_valid


def test_a_locked_book_is_told_apart_and_refused_as_well(spot: BookKeeper) -> None:
    effects = feed(spot, delta(101, 102, price=9.0), both_sides(101, 8.0, 9.0))

    assert effects == [UNJOINED, Report("LOCKED"), Resnapshot("with snapshot 101 the book is crossed")]
    assert not spot.is_valid


def test_a_book_that_is_crossed_when_a_keyframe_is_due_is_given_up(spot: BookKeeper) -> None:
    feed(spot, both_sides(100, 8.0, 9.0), delta(101, 102, price=50.0))
    given_up = [
        Report("CROSSED"),
        Report("BOOK_RESET", from_sequence=102, detail="the book is crossed"),
        Resnapshot("the book is crossed"),
    ]

    assert list(spot.on_clock(2 * SECOND_US)) == []
    assert list(spot.on_clock(11 * SECOND_US)) == given_up
    assert feed(spot, delta(103, 104, price=2.0), both_sides(103, 49.0, 51.0), now_us=12 * SECOND_US)[-1] == Report(
        "BOOK_READY", to_sequence=104, count=1
    )


def test_an_empty_snapshot_is_believed_when_the_venue_says_so_three_times(spot: BookKeeper) -> None:
    feed(spot, delta(101, 102))
    asked = [Resnapshot("snapshot 102 has no levels")]

    assert feed(spot, both_sides(102, None, None)) == asked
    assert feed(spot, both_sides(102, None, None), now_us=3 * SECOND_US) == asked
    assert feed(spot, both_sides(102, None, None), now_us=7 * SECOND_US)[0] == SNAPSHOT


def test_an_empty_snapshot_between_others_is_never_believed(spot: BookKeeper) -> None:
    feed(spot, delta(101, 102))

    for number in range(6):
        empty = number % 2 == 0
        feed(spot, both_sides(102, None, None) if empty else both_sides(99, 1.0, 2.0), now_us=number * 60 * SECOND_US)
    assert not spot.is_valid


def test_a_book_is_empty_at_once_where_no_update_ever_came(spot: BookKeeper) -> None:
    assert feed(spot, both_sides(102, None, None))[0] == SNAPSHOT


def test_a_wrong_snapshot_does_not_touch_a_book_that_stands(spot: BookKeeper) -> None:
    feed(spot, both_sides(100, 8.0, 9.0), delta(101, 102))

    assert feed(spot, both_sides(200, 9.0, 8.0), both_sides(200, None, None)) == []
    assert (spot.is_valid, spot.sequence) == (True, 102)


def test_a_snapshot_that_stays_ahead_of_the_stream_is_given_up(spot: BookKeeper) -> None:
    """As that of another symbol does, whose ids are higher."""
    feed(spot, snapshot(1000), delta(101, 102))
    late_us = SECOND_US + book_keeper.PATIENCE_US
    reason = "snapshot 1000 is ahead of the stream"

    assert feed(spot, delta(103, 104), now_us=late_us - 1) == [UNJOINED]
    assert feed(spot, delta(105, 106), now_us=late_us) == [
        Report("BOOK_RESET", from_sequence=1000, detail=reason), Resnapshot(reason), UNJOINED,
    ]  # fmt: skip
    assert feed(spot, snapshot(106), now_us=late_us + 1)[0] == SNAPSHOT


def test_requests_become_rarer(spot: BookKeeper) -> None:
    feed(spot, delta(1, 1))
    times = [second for second in range(380) if spot.on_clock(second * SECOND_US)]

    assert [after - before for before, after in pairwise(times)] == [2, 4, 8, 16, 32, *[60] * 4]


def test_seen_deltas_are_dropped(spot: BookKeeper) -> None:
    feed(spot, snapshot(100), delta(101, 103))

    assert feed(spot, delta(101, 103), delta(102, 102)) == []
    assert feed(spot, delta(103, 104)) == [PublishDelta(1)]


def test_an_older_snapshot_does_not_replace_a_book(spot: BookKeeper) -> None:
    feed(spot, snapshot(100), delta(101, 103))

    assert feed(spot, snapshot(103), snapshot(50)) == []
    assert feed(spot, snapshot(104))[0] == SNAPSHOT
    assert spot.snapshot_id == 2


def test_a_disconnect_resets_the_book_and_the_next_delta_is_no_gap(spot: BookKeeper) -> None:
    feed(spot, snapshot(100), delta(101, 103))

    assert list(spot.on_disconnect("gone", SECOND_US)) == [Report("BOOK_RESET", from_sequence=103, detail="gone")]
    assert feed(spot, delta(500, 501)) == [UNJOINED]
    assert list(spot.on_disconnect("gone", SECOND_US)) == []


def test_the_buffer_keeps_the_newest_deltas(spot: BookKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_keeper, "MOST_BUFFERED_DELTAS", 3)
    feed(spot, *(delta(number, number) for number in range(1, 11)))

    assert [each.sequence for each in spot.buffer] == [8, 9, 10]
    assert feed(spot, snapshot(6)) == [Resnapshot("snapshot 6 is older than the first delta 8")]
    assert feed(spot, snapshot(7))[1] == Report("BOOK_READY", to_sequence=10, count=3)


def test_the_buffer_is_bounded_in_levels(spot: BookKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_keeper, "MOST_BUFFERED_LEVELS", 5)
    feed(spot, *(delta(number, number) for number in range(1, 11)))

    assert len(spot.buffer) == 5


def test_keyframes_come_at_their_pace_by_deltas_and_clock(spot: BookKeeper) -> None:
    feed(spot, snapshot(100), now_us=0)

    assert feed(spot, delta(101, 101), now_us=5 * SECOND_US) == [PublishDelta(1)]
    assert feed(spot, delta(102, 102), now_us=10 * SECOND_US) == [PublishDelta(1), PublishSnapshot(is_keyframe=True)]
    assert feed(spot, delta(103, 103), now_us=11 * SECOND_US) == [PublishDelta(2)]
    assert list(spot.on_clock(19 * SECOND_US)) == []
    assert list(spot.on_clock(20 * SECOND_US)) == [PublishSnapshot(is_keyframe=True)]
    assert spot.snapshot_id == 3


def test_first_keyframes_of_books_that_began_together_are_spread_over_half_a_period() -> None:
    keepers = [
        BookKeeper(FirstIdRule(), 10 * SECOND_US, structs.replace(INSTRUMENT, symbol=f"S{number}/USDT"))
        for number in range(500)
    ]
    for each in keepers:
        feed(each, snapshot(100), now_us=0)

    seconds = Counter(each.next_keyframe_us // SECOND_US for each in keepers)

    assert set(seconds) <= set(range(5, 11))
    assert max(seconds.values()) < 150
