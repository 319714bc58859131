import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.book import LOOKED_AT, Book

prices = st.integers(1, 12).map(float)
sizes = st.sampled_from([0.0, 0.0, 1.0, 2.5])
sides = st.lists(st.tuples(prices, sizes), max_size=8).map(lambda pairs: ([p for p, _ in pairs], [s for _, s in pairs]))
changes = st.lists(st.tuples(sides, sides), max_size=12)


@given(changes)
def test_a_book_is_what_its_deltas_add_up_to(deltas: list[tuple[tuple[list[float], list[float]], ...]]) -> None:
    book = Book()
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for bid_changes, ask_changes in deltas:
        book.apply(bid_changes, ask_changes)
        bids |= dict(zip(*bid_changes, strict=True))
        asks |= dict(zip(*ask_changes, strict=True))
    bids = {price: size for price, size in bids.items() if size}
    asks = {price: size for price, size in asks.items() if size}

    assert book.levels() == (
        (sorted(bids, reverse=True), [bids[price] for price in sorted(bids, reverse=True)]),
        (sorted(asks), [asks[price] for price in sorted(asks)]),
    )
    assert len(book) == len(bids) + len(asks)


@given(changes)
def test_a_snapshot_of_a_book_rebuilds_it(deltas: list[tuple[tuple[list[float], list[float]], ...]]) -> None:
    book, copy = Book(), Book()
    for bid_changes, ask_changes in deltas:
        book.apply(bid_changes, ask_changes)
    copy.apply(([1.0], [1.0]), ([2.0], [2.0]))
    copy.replace(*book.levels())

    assert copy.levels() == book.levels()


def test_a_removed_level_that_is_not_there_does_no_harm() -> None:
    book = Book()
    book.apply(([1.0], [0.0]), ([], []))

    assert book.levels() == (([], []), ([], []))


@given(st.lists(st.tuples(sides, sides, st.booleans()), max_size=3 * LOOKED_AT), st.integers(1, 4))
def test_whoever_looks_at_the_order_whenever_sees_the_same(
    deltas: list[tuple[tuple[list[float], list[float]], tuple[list[float], list[float]], bool]], most: int
) -> None:
    seen, unseen = Book(), Book()
    for bids, asks, looks in deltas:
        seen.apply(bids, asks)
        unseen.apply(bids, asks)
        if looks:
            best = (max(unseen.bids), min(unseen.asks)) if unseen.bids and unseen.asks else None
            assert seen.best() == best
            (bid_prices, bid_sizes), (ask_prices, ask_sizes) = seen.levels(most)
            assert bid_prices == sorted(unseen.bids, reverse=True)[:most]
            assert ask_prices == sorted(unseen.asks)[:most]
            assert bid_sizes == [unseen.bids[price] for price in bid_prices]
            assert ask_sizes == [unseen.asks[price] for price in ask_prices]

    assert seen.levels() == unseen.levels()


@pytest.mark.parametrize("looks", [False, True])
def test_prices_without_sizes_are_refused(*, looks: bool) -> None:
    book = Book()
    if looks:
        book.best()
    with pytest.raises(ValueError, match="2 prices have 1 sizes"):
        book.apply(([1.0, 2.0], [1.0]), ([], []))

    assert len(book) == 0
