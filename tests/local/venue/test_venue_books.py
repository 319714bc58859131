"""The matching book, the book kept from a recording, candles and id ranges, each against something simpler."""

from collections import defaultdict
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.local.venue.candles import CandleSeries
from tickerplant.local.venue.counts import IdRanges
from tickerplant.local.venue.dialect import Book
from tickerplant.local.venue.kept_book import Delta, KeptBook
from tickerplant.local.venue.matching import DeltaFeed, OrderBook, merged

prices = st.integers(90, 110)
lots = st.integers(1, 20)
orders = st.one_of(
    st.tuples(st.just("limit"), prices, lots, st.booleans()),
    st.tuples(st.just("take"), prices, lots, st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 50), lots, st.booleans()),
)


def new_book() -> OrderBook:
    return OrderBook(count(1).__next__)


def play(book: OrderBook, order: tuple[str, int, int, bool]) -> list[tuple[int, int]]:
    kind, number, size, is_buy = order
    if kind == "limit":
        return list(book.limit(number, size, is_buy=is_buy))
    if kind == "take":
        return list(book.take(size, is_buy=is_buy))
    if book.orders:
        book.cancel(number % len(book.orders))
    return []


@given(st.lists(orders, max_size=80))
def test_book_is_never_crossed_and_its_levels_are_the_sum_of_its_orders(
    sequence: list[tuple[str, int, int, bool]],
) -> None:
    book = new_book()
    for order in sequence:
        play(book, order)

        for side in (book.bids, book.asks):
            sums: dict[int, int] = defaultdict(int)
            for each in book.orders:
                if each.side is side:
                    sums[each.key] += each.left
            assert side.sizes == sums
            assert side.keys == sorted(sums)
        if book.bids.keys and book.asks.keys:
            assert book.bids.best() < book.asks.best()
    assert [each.place for each in book.orders] == list(range(len(book.orders)))


@given(st.lists(orders, max_size=80), st.integers(1, 7))
def test_deltas_rebuild_the_book(sequence: list[tuple[str, int, int, bool]], every: int) -> None:
    book = new_book()
    feed = DeltaFeed(book.update_id)
    book.feeds.append(feed)
    copies: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, order in enumerate(sequence):
        play(book, order)
        if number % every == 0:
            changes = feed.take()
            for side, copy in zip((book.bids, book.asks), copies, strict=True):
                copy.update(merged(changes, is_bid=side.is_bid))
                assert {p: s for p, s in copy.items() if s} == dict(side.levels(1000))


@given(st.lists(orders, min_size=1, max_size=40), st.data())
def test_snapshot_taken_between_two_deltas_is_made_right_by_the_second(
    sequence: list[tuple[str, int, int, bool]], data: st.DataObject
) -> None:
    book = new_book()
    feed = DeltaFeed(book.update_id)
    book.feeds.append(feed)
    moment = data.draw(st.integers(0, len(sequence) - 1))
    snapshots: list[dict[int, int]] = []
    for number, order in enumerate(sequence):
        if number == moment:
            snapshots = [dict(side.levels(1000)) for side in (book.bids, book.asks)]
        play(book, order)

    changes = feed.take()
    for side, snapshot in zip((book.bids, book.asks), snapshots, strict=True):
        snapshot.update(merged(changes, is_bid=side.is_bid))
        assert {p: s for p, s in snapshot.items() if s} == dict(side.levels(1000))


@given(st.lists(orders, max_size=60))
def test_every_lot_that_is_bought_was_for_sale(sequence: list[tuple[str, int, int, bool]]) -> None:
    book = new_book()
    for order in sequence:
        before = {side.is_bid: sum(side.sizes.values()) for side in (book.bids, book.asks)}
        filled = sum(size for _, size in play(book, order))
        after = {side.is_bid: sum(side.sizes.values()) for side in (book.bids, book.asks)}

        if order[0] == "take":
            assert before[not order[3]] - after[not order[3]] == filled == min(order[2], before[not order[3]])
        if order[0] == "limit":
            assert before[not order[3]] - after[not order[3]] == filled
            assert after[order[3]] - before[order[3]] == order[2] - filled


def test_older_orders_of_a_level_are_filled_first_at_their_own_price() -> None:
    book = new_book()
    book.limit(101, 5, is_buy=False)
    book.limit(101, 7, is_buy=False)
    book.limit(102, 9, is_buy=False)

    fills = book.limit(103, 14, is_buy=True)

    assert fills == [(101, 5), (101, 7), (102, 2)]
    assert book.asks.levels(9) == [(102, 7)]


SNAPSHOT = b'{"lastUpdateId": 20, "bids": [["10.0","1"],["9.0","2"]], "asks": [["11.0","3"]]}'


def delta(first: int, last: int, bids: list[tuple[str, str]], *, previous: int = 0) -> Delta:
    return Delta(U=first, u=last, b=bids, a=[], pu=previous)


def test_snapshot_ahead_of_the_stream_is_answered_byte_for_byte() -> None:
    book = KeptBook("AB", first=delta(11, 15, []), snapshot=SNAPSHOT)
    book.see_delta(delta(11, 15, [("5.0", "1")]))

    assert book.book(100).recorded == SNAPSHOT


def test_snapshot_is_cut_to_the_limit() -> None:
    book = KeptBook("AB", first=None, snapshot=SNAPSHOT).book(1)

    assert book == Book("AB", 20, 20, [("10.0", "1")], [("11.0", "3")], 0)


def test_deltas_past_the_snapshot_are_applied_to_it() -> None:
    book = KeptBook("AB_PERP", first=None, snapshot=SNAPSHOT)
    book.see_delta(delta(11, 20, [("5.0", "1")], previous=10))
    book.see_delta(delta(19, 22, [("9.0", "0.000"), ("10.5", "4")], previous=20))

    whole = book.book(1000)

    assert (whole.symbol, whole.last_id) == ("AB_PERP", 22)
    assert whole.bids == [("10.5", "4"), ("10.0", "1")]


@pytest.mark.parametrize(("previous", "joins_at"), [(0, 10), (7, 7)])
def test_book_without_snapshot_begins_empty_right_before_the_first_delta(previous: int, joins_at: int) -> None:
    book = KeptBook("AB", first=delta(11, 15, [], previous=previous), snapshot=None)

    assert book.book(5).last_id == joins_at


def test_snapshot_behind_the_stream_is_of_no_use() -> None:
    book = KeptBook("AB", first=None, snapshot=None)
    book.see_delta(delta(25, 30, [("1.0", "1")]))
    book.see_snapshot(SNAPSHOT)

    assert book.book(5).bids == [("1.0", "1")]


@given(st.lists(st.integers(0, 60)))
def test_id_ranges_count_like_a_set(numbers: list[int]) -> None:
    ranges = IdRanges()
    for number in numbers:
        ranges.add(number)

    assert len(ranges) == len(set(numbers))


def test_candles_of_five_minutes_are_those_of_one_minute_together() -> None:
    series = CandleSeries()
    for minute, price in enumerate((5.0, 9.0, 1.0, 4.0, 6.0, 7.0)):
        series.minute(minute * 60_000, minute, price).add(minute, price, 2.0, price * 2, is_buy=price > 5)

    five, one = series.merged(300_000)

    assert (five.open, five.high, five.low, five.close, five.volume, five.bought) == (5.0, 9.0, 1.0, 6.0, 10.0, 4.0)
    assert (one.open_ms, one.open, one.count, one.first_id) == (300_000, 7.0, 1, 5)
